package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/cluster"
	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/routing"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication/peers"
)

// openGossip begins to hear of others, and to be heard of.
func (n *Node) openGossip() error {
	key, err := readGossipKey(n.config.GossipKey)
	if err != nil {
		return err
	}
	n.ears = cluster.NewEars()
	n.members, err = members.Open(members.Options{
		Self: n.self(), Bind: n.config.Gossip, Advertise: n.config.Advertise, Key: key, Handler: n.ears, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("listen for gossip (another address: --gossip HOST:PORT, port 0 picks a free one): %w", err)
	}
	return nil
}

// self is what this node says of itself.
func (n *Node) self() members.Member {
	return members.Member{
		Name: n.config.Name, Node: persistence.NodeID(n.identity.GetNode()), Cluster: n.identity.GetCluster(),
		Nonce: n.identity.GetNonce(), Life: n.life, State: members.Joining, Generation: n.identity.GetGeneration(), Feature: codec.FeatureLevel, Version: n.opts.Version,
		Peer: n.advertised(n.listeners.peer), GRPC: n.advertised(n.listeners.GRPC), HTTP: n.advertised(n.listeners.HTTP),
	}
}

// advertised is the address under which others reach a listener.
func (n *Node) advertised(l net.Listener) string {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return l.Addr().String()
	}
	switch ip := net.ParseIP(host); {
	case n.config.Advertise != "":
		host = n.config.Advertise
	case ip != nil && ip.IsUnspecified():
		host = machineAddress()
	}
	return net.JoinHostPort(host, port)
}

// machineAddress is the machine's first address that is not loopback, or loopback when it has no other.
func machineAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			return network.IP.String()
		}
	}
	return "127.0.0.1"
}

// maxKeyFileBytes is more than any key has.
const maxKeyFileBytes = 1 << 10

func readGossipKey(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator's file
	if err != nil {
		return nil, fmt.Errorf("gossip-key-file: %w", err)
	}
	if len(text) > maxKeyFileBytes {
		return nil, fmt.Errorf("gossip-key-file: %s has %d bytes, no key has so many", path, len(text))
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 16 && len(key) != 24 && len(key) != 32 {
		return nil, fmt.Errorf("gossip-key-file: %s does not hold 16, 24 or 32 bytes in base64; make one with: head -c 32 /dev/urandom | base64", path)
	}
	return key, nil
}

// enter makes this node one of the cluster that it joins, when its directory is new: it waits until it is admitted.
func (n *Node) enter(ctx context.Context) error {
	if n.identity.GetNode() != 0 {
		return n.greet(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, n.config.JoinTimeout)
	defer cancel()
	if err := n.joinAny(ctx, n.config.joins()); err != nil {
		return fmt.Errorf("join %s: %w", n.config.Join, err)
	}
	n.log.LogAttrs(ctx, slog.LevelInfo, "joined the gossip, waits to be admitted")
	admit, err := n.ears.Apply(ctx, n.members, n.config.Name, n.identity.GetNonce(), codec.FeatureLevel)
	if err != nil {
		return fmt.Errorf("join %s: %w", n.config.Join, err)
	}
	id := n.identity
	id.Cluster, id.Node, id.Partitions, id.Generation = admit.GetCluster(), admit.GetNode(), admit.GetPartitions(), admit.GetGeneration()
	if err := writeIdentity(n.opts.FS, n.config.Data, id); err != nil {
		return err
	}
	n.log.LogAttrs(ctx, slog.LevelInfo, "admitted", slog.Uint64("id", uint64(id.GetNode())), slog.String("cluster", id.GetCluster()))
	return n.members.Set(n.self())
}

// A node that starts looks for those it knows for so long: longer when they take its last process for alive, because then they
// answer as soon as they know better.
const (
	greetTimeout  = time.Second
	formerTimeout = 5 * time.Second
)

// greet meets those that this node knows before it looks at its data: when they are of a newer generation it is fenced, and
// nothing of it may be seen or changed. Who cannot be reached is met later.
func (n *Node) greet(ctx context.Context) error {
	var greeting sync.WaitGroup
	taken := make(chan error, 1)
	for _, address := range slices.Concat(n.config.joins(), n.remembered()) {
		greeting.Go(func() {
			err := n.greetOne(ctx, address, greetTimeout)
			if errors.Is(err, members.ErrNameTaken) && errors.Is(err, context.DeadlineExceeded) { // by its last process
				err = n.greetOne(ctx, address, formerTimeout)
			}
			if errors.Is(err, members.ErrNameTaken) && !errors.Is(err, context.DeadlineExceeded) {
				select {
				case taken <- err:
				default:
				}
			}
		})
	}
	greeting.Wait()
	if err := cluster.Fenced(n.self(), n.members.List()); err != nil {
		n.sayGoodbye(ctx) // else its next process, which a service manager starts at once, is not heard
		return err
	}
	select {
	case err := <-taken:
		return fmt.Errorf("%w: the data directory %s is another one: it was replaced, or two nodes are called %s",
			err, n.config.Data, n.config.Name)
	default:
		return nil
	}
}

func (n *Node) greetOne(ctx context.Context, address string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return n.members.Join(ctx, []string{address})
}

// joinPause is the time between two tries to join.
const joinPause = 500 * time.Millisecond

// joinAny tries until one of the addresses answers, ctx ends, or the answer is a no that will not change.
func (n *Node) joinAny(ctx context.Context, addresses []string) error {
	for {
		err := n.members.Join(ctx, addresses)
		if err == nil || errors.Is(err, members.ErrNameTaken) || errors.Is(err, members.ErrOtherCluster) {
			return err
		}
		timer := time.NewTimer(joinPause/2 + rand.N(joinPause)) //nolint:gosec // jitter
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// keepJoined joins again whom this node knows of and does not see: gossip alone does not find those again that were long away.
func (n *Node) keepJoined(ctx context.Context) error {
	ticker := time.NewTicker(rejoinEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		seen := map[string]bool{}
		for _, m := range n.members.List() {
			seen[m.Gossip] = true
			if m.Name != n.config.Name {
				n.remember(ctx, m.Gossip)
			}
		}
		for _, address := range slices.Concat(n.config.joins(), n.remembered()) {
			if seen[address] || address == n.members.Addr() {
				continue
			}
			trying, cancel := context.WithTimeout(ctx, rejoinEvery)
			err := n.members.Join(trying, []string{address})
			cancel()
			if errors.Is(err, members.ErrTwice) {
				n.log.LogAttrs(ctx, slog.LevelWarn, "another process runs as this node: it takes no part while that one is there", slog.Any("err", err))
			}
			if errors.Is(err, members.ErrOtherCluster) {
				n.log.LogAttrs(ctx, slog.LevelDebug, "another cluster is where a node of this one was", slog.Any("err", err))
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	return nil
}

const (
	rejoinEvery = 2 * time.Second
	// maxRemembered is how many addresses of members are remembered.
	maxRemembered = 64
	membersFile   = "members"
)

// remember keeps the gossip address of a member in the data directory: after a restart it is tried.
func (n *Node) remember(ctx context.Context, address string) {
	if slices.Contains(n.known, address) {
		return
	}
	n.known = append(n.known, address)
	n.known = n.known[max(0, len(n.known)-maxRemembered):]
	if err := writeDurably(n.opts.FS, n.config.Data, n.path(membersFile), []byte(strings.Join(n.known, "\n")+"\n")); err != nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "where a member is could not be written down", slog.Any("err", err))
	}
}

// remembered are the addresses of earlier lives too.
func (n *Node) remembered() []string {
	if n.known == nil {
		n.known = []string{}
		if data, err := readAll(n.opts.FS, n.path(membersFile)); err == nil {
			n.known = append(n.known, strings.Fields(string(data))...)
		}
	}
	return n.known
}

// openPeers makes the connections to other nodes; who they are is said later.
func (n *Node) openPeers() (err error) {
	options := peers.Options{
		Node: n.id(), Cluster: n.lineage(), Features: codec.FeatureLevel, Listener: n.listeners.peer,
		Handler: &wire{n}, Logger: n.log,
	}
	if options.TLS, err = n.peerTLS(); err != nil {
		return err
	}
	options.Insecure = options.TLS == nil
	if n.peers, err = peers.New(options); err != nil {
		return fmt.Errorf("connect to other nodes: %w", err)
	}
	return nil
}

// lineage is the cluster's id and generation: nodes of an older generation are strangers.
func (n *Node) lineage() string {
	if generation := n.identity.GetGeneration(); generation > 0 {
		return fmt.Sprintf("%s/%d", n.identity.GetCluster(), generation)
	}
	return n.identity.GetCluster()
}

// peerTLS is the mutual TLS between nodes, nil without.
func (n *Node) peerTLS() (*peers.TLS, error) {
	if n.config.PeerCert == "" {
		return nil, nil //nolint:nilnil // without
	}
	certificate := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(n.config.PeerCert, n.config.PeerKey)
		return &pair, err
	}
	roots := func() (*x509.CertPool, error) {
		text, err := os.ReadFile(n.config.PeerCA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", n.config.PeerCA)
		}
		return pool, nil
	}
	_, err := certificate()
	if err == nil {
		_, err = roots()
	}
	if err != nil {
		return nil, fmt.Errorf("peer-cert, peer-key, peer-ca: %w", err)
	}
	return &peers.TLS{Certificate: certificate, Roots: roots}, nil
}

// openCluster makes what decides where requests go and who should own what.
func (n *Node) openCluster() (err error) {
	n.table = routing.NewTable(n.store.Partitions())
	n.table.Follow(n.learned)
	n.router, err = routing.New(routing.Options{
		Self: n.id(), Partitions: n.store.Partitions(), Table: n.table, Local: &local{n}, Send: n.peers.SendCalls,
		Answer: n.answer, Describe: gateway.Describe, MaxWaiting: n.config.MaxCalls, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("start routing: %w", err)
	}
	return nil
}

func (n *Node) openMembership() (err error) {
	n.cluster, err = cluster.New(cluster.Options{
		Self: n.self(), Partitions: n.store.Partitions(), Generation: n.identity.GetGeneration(), Ears: n.ears, Gossip: n.members,
		Log: n.journal, Entities: n.actors, Records: &records{n}, Table: n.table, Connect: n.peers.SetAddresses, Announce: n.router.Announce,
		Connected: n.connected, Replicas: n.replicasOf, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.owners.follow(n.cluster)
	return nil
}

// learned has the actors look after the servers whose sessions moved to another node.
func (n *Node) learned(p persistence.Partition, place routing.Place) {
	if p != persistence.MetaPartition && place.Node != n.id() {
		n.actors.Moved(p)
	}
}

// featureLevel is that of the cluster, as this node knows it.
func (n *Node) featureLevel() uint32 { return n.cluster.FeatureLevel() }

// connected reports whether the log's messages flow to and from a node.
func (n *Node) connected(node persistence.NodeID) bool {
	for _, s := range n.peers.Status() {
		if s.Peer == node {
			return s.Sending && s.Receiving
		}
	}
	return false
}

// replicasOf asks a node how many replicas it has.
func (n *Node) replicasOf(ctx context.Context, node persistence.NodeID) (int, error) {
	answer, err := n.router.AskNode(ctx, node, &peerv1.Ask{Ask: &peerv1.Ask_Own{Own: &peerv1.Own{}}})
	if err != nil {
		return 0, err
	}
	return int(answer.GetOwn().GetReplicas()), nil
}

// id is this node's.
func (n *Node) id() persistence.NodeID { return persistence.NodeID(n.identity.GetNode()) }

// records are the meta partition's, for the cluster.
type records struct{ node *Node }

// Records implements [cluster.Records].
func (r *records) Records(ctx context.Context, prefix string, limit int) ([]persistence.Record, error) {
	return r.node.store.Records(ctx, prefix, limit)
}

// Put implements [cluster.Records].
func (r *records) Put(ctx context.Context, name string, value []byte) error {
	return r.node.propose(ctx, persistence.MetaPartition, &persistence.Change{Record: &persistence.Record{Name: name, Value: value}})
}
