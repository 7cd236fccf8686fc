package pebblestore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// benchStore opens a store with production settings on the machine's disk.
func benchStore(b *testing.B) *pebblestore.Store {
	b.Helper()
	s, err := pebblestore.Open(pebblestore.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// feed makes log entries of many players' durable 50-byte commands.
type feed struct {
	rng   *rand.Rand
	keys  []persistence.Key
	last  []persistence.Seq
	index [pebblestore.DefaultPartitions]uint64
	parts [][]int // players by partition
}

func newFeed(b *testing.B, players int) *feed {
	b.Helper()
	f := &feed{rng: rand.New(rand.NewPCG(1, 1)), last: make([]persistence.Seq, players), parts: make([][]int, pebblestore.DefaultPartitions)}
	for i := range players {
		k := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: fmt.Sprintf("1%07d", i)}
		f.keys = append(f.keys, k)
		p := persistence.PartitionOf(k, pebblestore.DefaultPartitions)
		f.parts[p] = append(f.parts[p], i)
	}
	return f
}

// next is one loop's worth: a proposal for each partition, size changes in all, each of 50 random bytes and their frame.
func (f *feed) next(b *testing.B, size int) []persistence.Committed {
	b.Helper()
	var batch []persistence.Committed
	for p, players := range f.parts {
		proposal := &persistence.Proposal{Claim: f.index[p] == 0}
		f.index[p]++
		for range size / len(f.parts) {
			i := players[f.rng.IntN(len(players))]
			payload := make([]byte, 50)
			for j := range payload {
				payload[j] = byte(f.rng.Uint32()) //nolint:gosec // any byte
			}
			framed, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, payload)
			if err != nil {
				b.Fatal(err)
			}
			f.last[i]++
			entry := persistence.Entry{Seq: f.last[i], Data: framed}
			proposal.Changes = append(proposal.Changes, &persistence.Change{Key: f.keys[i], Epoch: persistence.Epoch{Term: 1}, Entries: []persistence.Entry{entry}})
		}
		data, err := persistence.AppendProposal(nil, proposal)
		if err != nil {
			b.Fatal(err)
		}
		batch = append(batch, persistence.Committed{Partition: persistence.Partition(p), Index: f.index[p], Term: 1, Data: data}) //nolint:gosec // small
	}
	return batch
}

// BenchmarkApply is the time of one small change, in a batch of 512 of 10,000 players over 32 partitions; and what it
// costs on disk until its table is flushed, beside the log's own bytes.
func BenchmarkApply(b *testing.B) {
	const size = 512
	s, f := benchStore(b), newFeed(b, 10_000)
	b.ReportAllocs()
	batches, proposed := 0, 0
	for b.Loop() {
		b.StopTimer()
		batch := f.next(b, size)
		for _, c := range batch {
			proposed += len(c.Data)
		}
		b.StartTimer()
		results, err := s.Apply(batch)
		if err != nil || results[0] != nil {
			b.Fatal(results[0], err)
		}
		batches++
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	m, err := s.Metrics()
	if err != nil {
		b.Fatal(err)
	}
	changes := float64(batches * size)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/changes, "ns/change")
	b.ReportMetric(float64(m.FlushedBytes)/changes, "flushed-B/change")
	b.ReportMetric(float64(proposed)/changes, "proposed-B/change")
}

// BenchmarkLoad is a cold player of 4 KiB in a store much larger than its cache, against one bare Get of the same bytes.
func BenchmarkLoad(b *testing.B) {
	const players = 50_000
	s, f := benchStore(b), newFeed(b, players)
	for p, members := range f.parts {
		for _, i := range members {
			payload := make([]byte, 4096)
			for j := range payload[:2048] {
				payload[j] = byte(f.rng.Uint32()) //nolint:gosec // any byte
			}
			framed, err := codec.AppendFrame(nil, codec.FormatEntity, codec.Plain, payload)
			if err != nil {
				b.Fatal(err)
			}
			f.index[p]++
			data, err := persistence.AppendProposal(nil, &persistence.Proposal{Claim: f.index[p] == 1, Changes: []*persistence.Change{{
				Key: f.keys[i], Epoch: persistence.Epoch{Term: 1}, Entries: []persistence.Entry{{Seq: 1, Data: framed[:20]}},
				Snapshot: &persistence.Snapshot{Seq: 1, Data: framed},
			}}})
			if err != nil {
				b.Fatal(err)
			}
			if _, err = s.Apply([]persistence.Committed{{Partition: persistence.Partition(p), Index: f.index[p], Term: 1, Data: data}}); err != nil { //nolint:gosec // small
				b.Fatal(err)
			}
		}
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := s.DB().Compact(b.Context(), []byte{0}, []byte{0xFF, 0xFF}, false); err != nil {
		b.Fatal(err)
	}
	random := func(pb *testing.PB, read func(p persistence.Partition, k persistence.Key) error) {
		rng := rand.New(rand.NewPCG(rand.Uint64(), 2))
		for pb.Next() {
			k := f.keys[rng.IntN(players)]
			if err := read(persistence.PartitionOf(k, pebblestore.DefaultPartitions), k); err != nil {
				b.Error(err)
			}
		}
	}
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			random(pb, func(p persistence.Partition, k persistence.Key) error {
				_, err := s.Load(b.Context(), p, k)
				return err
			})
		})
	})
	b.Run("bare get", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			random(pb, func(p persistence.Partition, k persistence.Key) error {
				_, closer, err := s.DB().Get(pebblestore.SnapshotKey(p, k, "", 1))
				if err != nil {
					return err
				}
				return closer.Close()
			})
		})
	})
}
