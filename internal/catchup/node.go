package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
	"github.com/skerry-dev/skerry/persistence/replication/peers"
)

// node is a store, a log and its connections, in this process: what a real node has below its actors.
type node struct {
	id      persistence.NodeID
	dir     string
	address string

	store *pebblestore.Store
	host  *replication.Host
	peers *peers.Peers

	mu      sync.Mutex
	epochs  map[persistence.Partition]persistence.Epoch
	running sync.WaitGroup
	stop    context.CancelFunc
	broken  error
}

// listen takes the node's address, which its peers must know before it starts.
func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// start opens what is in the node's directory and runs it. voters are those of a new log.
func (n *node) start(listener net.Listener, addresses map[persistence.NodeID]string, voters []persistence.NodeID, rate int) (err error) {
	n.epochs = map[persistence.Partition]persistence.Epoch{}
	logger := slog.New(slog.DiscardHandler)
	if n.store, err = pebblestore.Open(pebblestore.Options{Dir: filepath.Join(n.dir, "state"), Partitions: 1, Logger: logger}); err != nil {
		return err
	}
	if n.peers, err = peers.New(peers.Options{
		Node: n.id, Cluster: "catchup", Listener: listener, Handler: n, Insecure: true, Logger: logger, CopyBytesPerSecond: rate,
	}); err != nil {
		return errors.Join(err, n.store.Close())
	}
	n.peers.SetAddresses(addresses)
	if n.host, err = replication.Open(replication.Options{
		FS: vfs.Default, Dir: filepath.Join(n.dir, "log"), Partitions: 1, StateMachine: n.store, Ownership: n,
		Node: n.id, Voters: voters, Transport: n.peers, Fetcher: n.peers, Logger: logger,
	}); err != nil {
		return errors.Join(err, n.store.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.running.Go(func() { n.note(n.host.Run(ctx)) })
	n.running.Go(func() { n.note(n.peers.Run(ctx)) })
	return nil
}

// close ends the node and waits for it.
func (n *node) close() error {
	n.stop()
	n.running.Wait()
	return errors.Join(n.broken, n.store.Close())
}

func (n *node) note(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.broken = errors.Join(n.broken, fmt.Errorf("node %d: %w", n.id, err))
	}
}

// Claimed implements [persistence.Ownership].
func (n *node) Claimed(p persistence.Partition, e persistence.Epoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.epochs[p] = e
}

// Lost implements [persistence.Ownership].
func (n *node) Lost(p persistence.Partition, _ persistence.Epoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.epochs, p)
}

func (n *node) epoch(p persistence.Partition) (persistence.Epoch, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.epochs[p]
	return e, ok
}

// Receive implements [peers.Handler]. What is dropped here Raft sends again.
func (n *node) Receive(from persistence.NodeID, batch []byte) { _ = n.host.Receive(from, batch) }

// Serve implements [peers.Handler].
func (n *node) Serve(ctx context.Context, _ persistence.NodeID, request []byte, send func([]byte) error) error {
	return n.host.Serve(ctx, request, send)
}

// Up and Down implement [peers.Handler].
func (n *node) Up(persistence.NodeID)        {}
func (n *node) Down(peer persistence.NodeID) { n.host.Suspect(peer) }

// Calls and CallsLost implement [peers.Handler]: there are none here.
func (n *node) Calls(persistence.NodeID, []byte) {}

// CallsLost implements [peers.Handler].
func (n *node) CallsLost(persistence.NodeID) {}
