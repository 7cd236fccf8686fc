package simulation

import (
	"context"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
)

// quiet is the smallest app: it writes one entry for each claim.
type quiet struct {
	w     *World
	wrote int
}

func (q *quiet) Begin(w *World) { q.w = w }
func (q *quiet) Started(*Node)  {}
func (q *quiet) Died(*Node)     {}
func (q *quiet) Claimed(n *Node, p persistence.Partition, e persistence.Epoch) {
	data, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, []byte("x"))
	if err != nil {
		panic(err)
	}
	if p == persistence.MetaPartition {
		return
	}
	key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "a"}
	next := persistence.Seq(1)
	if found, loadErr := n.Storage().Load(context.Background(), p, key); loadErr == nil {
		next = found.Head.Last + 1
	}
	change := &persistence.Change{Key: key, Epoch: e, Entries: []persistence.Entry{{Seq: next, Data: data}}}
	err = n.Propose(p, change, func(err error) {
		if err == nil {
			q.wrote++
		}
	})
	if err != nil {
		q.w.Fail("quiet", p, "propose: %v", err)
	}
}
func (q *quiet) Lost(*Node, persistence.Partition, persistence.Epoch) {}
func (q *quiet) Idle() bool                                           { return q.wrote > 0 && q.w.Now() > 20*time.Second }
func (q *quiet) Healed()                                              {}
func (q *quiet) Settled() bool                                        { return true }
func (q *quiet) Check() error                                         { return nil }

// Goal: a seed elects, writes, breaks and heals, and does the same again.
func TestSeedReplays(t *testing.T) {
	for seed := range uint64(20) {
		var traces [2]uint64
		for i := range traces {
			cryptotest.SetGlobalRandom(t, seed)
			config := NewConfig(seed, 10)
			config.Store = false
			q := &quiet{}
			w := New(config, q)
			if err := w.Run(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			traces[i] = w.Trace()
			if i == 0 {
				t.Logf("seed %d: %v, %+v", seed, w.Now(), w.Counts)
			}
		}
		if traces[0] != traces[1] {
			t.Errorf("seed %d does something else when it is replayed", seed)
		}
	}
}
