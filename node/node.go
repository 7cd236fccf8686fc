package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/cluster"
	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/routing"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
	"github.com/skerry-dev/skerry/persistence/replication/peers"
)

// Options are what a node is made of beside its [Config]. The zero value is right for production.
type Options struct {
	// Logger gets everything that the node says. Default: silence.
	Logger *slog.Logger
	// Version is shown in the cluster's status. Default: "dev".
	Version string
	// FS holds the data directory. Default: the machine's.
	FS pebblestore.FS
	// OnReady is called once, when the node serves.
	OnReady func(Ready)
	// Faults switch off what a test wants to see missed. Never set them elsewhere.
	Faults replication.Faults
	// ActorFaults are those of the actors.
	ActorFaults actors.Faults
	// BudgetClock, when set, is the clock of game servers' budgets; see [actors.Options]. It is for tests, which step it.
	BudgetClock func() time.Duration
}

// Ready is what the ready line says: where the node serves.
type Ready struct {
	Ready  bool   `json:"ready"`
	Name   string `json:"name"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
	Peer   string `json:"peer"`
	Gossip string `json:"gossip"` // what other nodes are given as --join
	Admin  string `json:"admin"`
	Data   string `json:"data"`
}

// Node is one running Skerry. Make it with [Open], then call Run.
type Node struct {
	config Config // immutable after Open
	opts   Options
	log    *slog.Logger

	identity *storev1.Identity // immutable after Open
	life     uint64            // of this process: drawn
	known    []string          // gossip addresses of members, of this life and earlier ones; keepJoined's alone after Open

	ears      *cluster.Ears
	members   *members.Members
	peers     *peers.Peers
	store     *pebblestore.Store
	journal   *replication.Host
	table     *routing.Table
	router    *routing.Router
	actors    *actors.Host
	charges   charges
	partners  *partners
	cluster   *cluster.Cluster
	gateway   *gateway.Server
	health    *health
	owners    *owners
	listeners listeners

	asking sync.WaitGroup // questions of the health check
	fatal  chan error     // 1: the store's disk failed in the background
}

// listeners are where a node listens; gossip has its own.
type listeners struct {
	gateway.Listeners

	peer net.Listener
}

// Open listens on every port, then reads the store and the log of the data directory, or makes them; nothing is served
// before Run. With a new directory and Join it waits until the cluster admits the node, JoinTimeout or ctx ends. It returns every problem of the configuration at once, an error that wraps [ErrOpenDoor] when anybody could
// do anything, [pebblestore.ErrLocked] when another process has the directory, and [persistence.ErrNewer] when a newer
// Skerry wrote it. A Node that was opened must be run.
func Open(ctx context.Context, config Config, opts Options) (_ *Node, err error) {
	if err = config.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.FS == nil {
		opts.FS = pebblestore.DiskFS()
	}
	if opts.Version == "" {
		opts.Version = "dev"
	}
	n := &Node{
		config: config, opts: opts, log: opts.Logger.With(slog.String("node", config.Name)),
		fatal: make(chan error, 1), life: rand.Uint64(),
	}
	n.owners, n.health = newOwners(), &health{node: n}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.closeAll())
		}
	}()
	if err = n.openDoor(); err != nil { // before anything is written: a start that fails leaves no files behind
		return nil, err
	}
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	for _, step := range []func() error{
		n.identify,
		n.openGossip,
		func() error { return n.enter(ctx) },
		n.openPeers,
		func() error { return n.openStorage(m) }, //nolint:contextcheck // opening is not interrupted
		n.checkKeys,
		n.openCluster,
		func() error { return n.openActors(m) }, //nolint:contextcheck // as above
		n.openMembership,
		func() error { return m.watch(n) },
		func() error { return n.openGateway(registry) }, //nolint:contextcheck // as above
	} {
		if err = step(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// The directories in the data directory.
const (
	storeDir = "store"
	logDir   = "log"
)

func (n *Node) openStorage(m *metrics) (err error) {
	n.store, err = pebblestore.Open(pebblestore.Options{
		FS: n.opts.FS, Dir: n.path(storeDir), Partitions: n.partitions(),
		CacheBytes: int64(n.config.StoreCache), MemTableBytes: uint64(n.config.StoreMemTable), //nolint:gosec // validated: positive
		Logger: n.log,
		OnFatal: func(err error) {
			select {
			case n.fatal <- err:
			default: // the first one ends the process already
			}
		},
	})
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.config.Data, err)
	}
	if got := n.store.Partitions(); got != n.config.Partitions && n.id() == 1 {
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "the store keeps its number of partitions",
			slog.Int("partitions", got), slog.Int("asked", n.config.Partitions))
	}
	n.journal, err = replication.Open(replication.Options{
		FS: n.opts.FS, Dir: n.path(logDir), Partitions: n.store.Partitions(),
		StateMachine: n.store, Ownership: n.owners, Logger: n.log, Events: m.logEvents(),
		Node: n.id(), Voters: []persistence.NodeID{1}, Transport: n.peers, Fetcher: n.peers, Generation: n.identity.GetGeneration(),
		SegmentBytes: int64(n.config.LogSegment), MaxLogBytes: int64(n.config.LogMax), Faults: n.opts.Faults,
	})
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.config.Data, err)
	}
	return nil
}

func (n *Node) openActors(m *metrics) (err error) {
	n.partners = newPartners(n)
	n.actors, err = actors.New(actors.Options{
		Journal: n.journal, Storage: &mending{n.store, n.journal, n.replicasIn, n.log}, Partitions: n.store.Partitions(), Rules: n.config.rulesOf,
		Describe: gateway.Describe, Logger: n.log, Events: m.actorEvents(&n.charges),
		AutosaveInterval: n.config.AutosaveAfter, JournalInterval: n.config.JournalAfter,
		PassivateAfter: n.config.PassivateAfter, EncodeIdleAfter: n.config.EncodeIdleAfter,
		MemoryLimitBytes: int64(n.config.MemoryLimit), MailboxSize: n.config.MailboxSize, MaxCalls: n.config.MaxCalls,
		MaxLoads: n.config.MaxLoads, ServerTimeout: n.config.ServerTimeout,
		Minute: n.config.Minute, Naive: n.config.Autosave == naive, Faults: n.opts.ActorFaults, BudgetClock: n.opts.BudgetClock,
		Router: &routed{n}, Partners: n.partners, FeatureLevel: n.featureLevel,
	})
	if err != nil {
		return fmt.Errorf("start actors: %w", err)
	}
	n.owners.follow(n.actors)
	return nil
}

func (n *Node) openGateway(registry *prometheus.Registry) (err error) {
	n.gateway, err = gateway.New(gateway.Options{
		Entities: n.router, Admin: &admin{node: n}, Routes: &routes{n},
		AllowAnonymous: n.config.Insecure || n.private(),
		Certificate:    n.config.TLSCert, PrivateKey: n.config.TLSKey,
		Health: n.health.check, Ready: n.health.ready, Registry: registry, Logger: n.log, Debug: map[string]http.HandlerFunc{"/debug/replicas": n.serveDigests, "/debug/charges": n.serveCharges},
		MaxInFlight: n.config.StreamInFlight, MaxConnections: n.config.MaxConnections, MaxCalls: n.config.MaxCalls,
		RequestsPerSecond: n.config.RequestsPerSecond, Burst: n.config.RequestBurst, Timeout: n.config.RequestTimeout,
		DrainTimeout: n.config.ShutdownTimeout / 4, // the rest is for saving
	})
	if err != nil {
		return fmt.Errorf("start the front door: %w", err)
	}
	return nil
}

// Ready says where the node listens.
func (n *Node) Ready() Ready {
	data, err := filepath.Abs(n.config.Data)
	if err != nil {
		data = n.config.Data
	}
	return Ready{
		Ready: true, Name: n.config.Name, Data: data, HTTP: n.listeners.HTTP.Addr().String(),
		GRPC: n.listeners.GRPC.Addr().String(), Admin: n.listeners.Admin.Addr().String(),
		Peer: n.listeners.peer.Addr().String(), Gossip: n.members.Addr(),
	}
}

// closeAll gives back what Open took, in the reverse order.
func (n *Node) closeAll() error {
	var problems []error
	if n.members != nil {
		problems = append(problems, n.members.Close())
	}
	for _, l := range []net.Listener{n.listeners.HTTP, n.listeners.GRPC, n.listeners.Admin, n.listeners.peer} {
		if l != nil {
			_ = l.Close() // the front door, or the peers, may have closed it
		}
	}
	for _, c := range []io.Closer{n.journal, n.store} {
		switch c := c.(type) {
		case *replication.Host:
			if c != nil {
				problems = append(problems, c.Close())
			}
		case *pebblestore.Store:
			if c != nil {
				problems = append(problems, c.Close())
			}
		}
	}
	return errors.Join(problems...)
}

// path is a name in the data directory.
func (n *Node) path(name string) string { return filepath.Join(n.config.Data, name) }

// partitions is the number that a new store gets.
func (n *Node) partitions() int {
	if p := n.identity.GetPartitions(); p > 0 {
		return int(p)
	}
	return n.config.Partitions
}

// elapsed is for logs: whole milliseconds.
func elapsed(since time.Time) time.Duration { return time.Since(since).Round(time.Millisecond) }
