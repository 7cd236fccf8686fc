// Package skerrytest runs a real node in memory for the tests of programs that use Skerry: everything is there, store and
// log too, on a file system in memory and on free ports of this machine.
//
//	func TestShop(t *testing.T) {
//		node := skerrytest.Start(t)
//		ann, err := node.Client(t).OpenPlayer(t.Context(), "1001", client.OpenOptions{Server: "s1"})
//		…
//	}
//
// Start at [Start].
package skerrytest

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// Node is a running node. Its methods are for the goroutine of the test.
type Node struct {
	config node.Config
	opts   node.Options

	ready   node.Ready
	stop    context.CancelFunc
	running sync.WaitGroup
	err     error // of Run; read after running
}

// Start runs a node until the end of the test. change may adjust its settings before it starts, such as shorter intervals
// or other rules. It ends the test when the node does not start.
func Start(tb testing.TB, change ...func(*node.Config)) *Node {
	tb.Helper()
	config := node.DefaultConfig()
	config.Name, config.Data = "test", "/data"
	for _, port := range []*string{&config.HTTP, &config.GRPC, &config.Peer, &config.Gossip, &config.Admin} {
		*port = "127.0.0.1:0"
	}
	config.Partitions = 4
	config.StoreCache, config.StoreMemTable, config.LogSegment, config.LogMax = 8<<20, 4<<20, 1<<20, 4<<20
	for _, f := range change {
		f(&config)
	}
	n := &Node{config: config, opts: node.Options{
		FS: pebblestore.MemFS(), Version: "test",
		Logger: slog.New(slog.NewTextHandler(output{tb}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}}
	n.start(tb)
	tb.Cleanup(func() { n.Stop(tb) })
	return n
}

// start runs the node, until stop.
func (n *Node) start(tb testing.TB) {
	tb.Helper()
	ready := make(chan node.Ready, 1)
	n.opts.OnReady = func(r node.Ready) { ready <- r }
	opened, err := node.Open(context.Background(), n.config, n.opts)
	if err != nil {
		tb.Fatalf("start a node: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.err = stop, nil
	ended := make(chan struct{})
	n.running.Go(func() {
		defer close(ended)
		n.err = opened.Run(ctx)
	})
	select {
	case n.ready = <-ready:
	case <-ended:
		tb.Fatalf("start a node: %v", n.err)
	}
	// The next start is at the same addresses, so that clients find it.
	n.config.HTTP, n.config.GRPC, n.config.Admin = n.ready.HTTP, n.ready.GRPC, n.ready.Admin
	n.config.Peer, n.config.Gossip = n.ready.Peer, n.ready.Gossip
}

// GRPC is the address for the Go client.
func (n *Node) GRPC() string { return n.ready.GRPC }

// HTTP is the JSON API's address, such as "http://127.0.0.1:41234".
func (n *Node) HTTP() string { return "http://" + n.ready.HTTP }

// Admin is the address of health and metrics, such as "http://127.0.0.1:41235".
func (n *Node) Admin() string { return "http://" + n.ready.Admin }

// Client returns a new connection to the node, closed at the end of the test.
func (n *Node) Client(tb testing.TB) *client.Client {
	tb.Helper()
	c, err := client.Dial(context.Background(), n.GRPC(), client.Options{})
	if err != nil {
		tb.Fatalf("connect to the node: %v", err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Restart stops the node gracefully and starts it again on the same data and the same ports. Clients reconnect.
func (n *Node) Restart(tb testing.TB) {
	tb.Helper()
	n.Stop(tb)
	n.start(tb)
}

// Stop stops the node gracefully: everything is saved. A second Stop does nothing.
func (n *Node) Stop(tb testing.TB) {
	tb.Helper()
	n.stop()
	n.running.Wait()
	if n.err != nil {
		tb.Errorf("stop the node: %v", n.err)
		n.err = nil
	}
}

// output passes the node's log to the test.
type output struct{ tb testing.TB }

// Write logs one line.
func (o output) Write(line []byte) (int, error) {
	o.tb.Log(string(line))
	return len(line), nil
}
