package routing

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication/peers"
)

var (
	_ gateway.Entities = (*Router)(nil)
	_ peers.Handler    = (*wired)(nil)
)

// Goal: the same over real connections.
// Method: two routers on peers on loopback; one of them ends with calls on their way.

// wired is a router on peers, as a node wires them.
type wired struct {
	*fakeNode
	peers   *peers.Peers
	address string
	end     func() // ends all of it
}

func (w *wired) Receive(persistence.NodeID, []byte) {}
func (w *wired) Up(persistence.NodeID)              {}
func (w *wired) Down(persistence.NodeID)            {}

func (w *wired) Serve(context.Context, persistence.NodeID, []byte, func([]byte) error) error {
	return errors.New("nothing here")
}

func (w *wired) Calls(from persistence.NodeID, frame []byte) { w.Router.Receive(from, frame) }

// wire runs two nodes that know each other, of which 2 owns all.
func wire(tb testing.TB) (a, b *wired) {
	tb.Helper()
	var nodes []*wired
	addresses := map[persistence.NodeID]string{}
	for id := persistence.NodeID(1); id <= 2; id++ {
		listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		w := &wired{address: listener.Addr().String()}
		if w.peers, err = peers.New(peers.Options{Node: id, Cluster: "test", Insecure: true, Listener: listener, Handler: w}); err != nil {
			tb.Fatal(err)
		}
		w.fakeNode = &fakeNode{id: id, table: NewTable(testPartitions), owned: map[persistence.Partition]bool{}}
		w.Router, err = New(Options{
			Self: id, Partitions: testPartitions, Table: w.table, Local: fakeLocal{w.fakeNode}, Describe: describe, Send: w.peers.SendCalls,
			Answer: func(context.Context, persistence.NodeID, *peerv1.Ask) *peerv1.Answer { return nil },
		})
		if err != nil {
			tb.Fatal(err)
		}
		nodes = append(nodes, w)
		addresses[id] = w.address
	}
	for _, w := range nodes {
		for p := range persistence.Partition(testPartitions) {
			w.owned[p] = w.id == 2
			w.table.Learn(p, at(2, 1))
		}
		w.peers.SetAddresses(addresses)
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() {
			if err := errors.Join(w.peers.Run(ctx)); err != nil {
				tb.Error(err)
			}
		})
		running.Go(func() { _ = w.Run(ctx) })
		w.end = sync.OnceFunc(func() { cancel(); running.Wait() })
		tb.Cleanup(w.end)
	}
	return nodes[0], nodes[1]
}

func TestOverRealConnections(t *testing.T) {
	a, b := wire(t)
	var all []*asking
	for i := range 1000 {
		all = append(all, a.ask(entity(persistence.Partition(i%testPartitions), 0), i)) //nolint:gosec // small
	}
	for i, asked := range all {
		if _, err := asked.outcome(t); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	b.hold()
	all = all[:0]
	for i := range 100 {
		all = append(all, a.ask(entity(0, 0), i))
	}
	for deadline := time.Now().Add(10 * time.Second); b.tries() < 1100; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the calls did not come")
		}
	}
	b.end()
	for i, asked := range all {
		if _, err := asked.outcome(t); !errors.Is(err, persistence.ErrOutcomeUnknown) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	b.release(nil)
}

// BenchmarkCall is calls from one node to another over loopback, both in this process, with so many in flight.
func BenchmarkCall(b *testing.B) {
	for _, c := range []struct {
		name     string
		inFlight int
		local    bool
	}{{"here/inflight=1", 1, true}, {"elsewhere/inflight=1", 1, false}, {"elsewhere/inflight=512", 512, false}} {
		b.Run(c.name, func(b *testing.B) {
			from, to := wire(b)
			if c.local {
				from = to
			}
			key := entity(0, 0)
			tokens := make(chan struct{}, c.inFlight)
			var waiting sync.WaitGroup
			b.ReportAllocs()
			for b.Loop() {
				tokens <- struct{}{}
				waiting.Add(1)
				from.Do(callOf(key, 1, func(err error) {
					if err != nil {
						b.Error(err)
					}
					<-tokens
					waiting.Done()
				}))
			}
			waiting.Wait()
		})
	}
}
