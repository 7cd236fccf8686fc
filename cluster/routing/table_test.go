package routing

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Goal: of all that was said the newest place is kept, whoever said it in whatever order.
// Method: random sayings against a map; malformed bytes.

func at(node persistence.NodeID, term uint64) Place {
	return Place{Node: node, Epoch: persistence.Epoch{Term: term}}
}

func TestNewestPlaceIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const partitions = 3
		tables := []*Table{NewTable(partitions), NewTable(partitions)}
		models := []map[persistence.Partition]Place{{}, {}}
		learn := func(i int, p persistence.Partition, place Place) bool {
			known, ok := models[i][p]
			if ok && known.Epoch.Compare(place.Epoch) >= 0 {
				return false
			}
			models[i][p] = place
			return true
		}
		t.Repeat(map[string]func(*rapid.T){
			"learn": func(t *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(t, "table")
				p := rapid.SampledFrom([]persistence.Partition{0, 1, 2, persistence.MetaPartition}).Draw(t, "partition")
				place := Place{
					Node:  persistence.NodeID(rapid.Uint32Range(1, 3).Draw(t, "node")),
					Epoch: persistence.Epoch{Generation: rapid.Uint32Range(0, 1).Draw(t, "generation"), Term: rapid.Uint64Range(1, 9).Draw(t, "term")},
				}
				changed := tables[i].Changed()
				want := learn(i, p, place)
				if news := tables[i].Learn(p, place); news != want || isClosed(changed) != want {
					t.Fatalf("news %v and told %v, want %v", news, isClosed(changed), want)
				}
			},
			"merge": func(t *rapid.T) {
				from := rapid.IntRange(0, 1).Draw(t, "from")
				to := 1 - from
				var want []persistence.Partition
				for p, place := range models[from] {
					if learn(to, p, place) {
						want = append(want, p)
					}
				}
				changed := tables[to].Changed()
				got, err := tables[to].Merge(tables[from].Encode())
				slices.Sort(got)
				slices.Sort(want)
				if err != nil || !slices.Equal(got, want) || isClosed(changed) != (len(want) > 0) {
					t.Fatalf("changed %v, %v, want %v", got, err, want)
				}
			},
			"": func(t *rapid.T) {
				for i, table := range tables {
					if got := table.All(); !maps.Equal(got, models[i]) {
						t.Fatalf("table %d has %v, want %v", i, got, models[i])
					}
					for _, p := range []persistence.Partition{0, 1, 2, 3, 99, persistence.MetaPartition} {
						place, ok := table.Owner(p)
						if want, known := models[i][p]; ok != known || place != want {
							t.Fatalf("owner of %d is %v, want %v", p, place, want)
						}
					}
				}
			},
		})
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestWhatCannotBeIsNotLearned(t *testing.T) {
	table := NewTable(2)
	if table.Learn(0, at(0, 1)) || table.Learn(2, at(1, 1)) {
		t.Error("learned a place that cannot be")
	}
	b, err := (&peerv1.Gossip{Places: []*peerv1.Place{
		{Partition: 0, Term: 1},
		{Partition: 7, Node: 1, Term: 1},
		{Partition: 1 << 16, Node: 1, Term: 1},
		{Partition: 1<<16 + 1, Node: 1, Term: 1},
		nil,
		{Partition: 1, Node: 3, Term: 1},
	}}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	changed, err := table.Merge(b)
	if want := map[persistence.Partition]Place{1: at(3, 1)}; err != nil || !slices.Equal(changed, []persistence.Partition{1}) || !maps.Equal(table.All(), want) {
		t.Errorf("changed %v, %v: %v", changed, err, table.All())
	}
}

func FuzzMerge(f *testing.F) {
	table := NewTable(3)
	table.Learn(1, at(2, 7))
	f.Add(table.Encode())
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		table := NewTable(3)
		changed, err := table.Merge(b)
		if err != nil && (!errors.Is(err, codec.ErrMalformed) || len(table.All()) > 0) {
			t.Fatalf("%v, and learned %v", err, table.All())
		}
		again := NewTable(3)
		if _, err := again.Merge(table.Encode()); err != nil || !maps.Equal(again.All(), table.All()) || len(again.All()) > len(changed) {
			t.Fatalf("%v became %v, %v", table.All(), again.All(), err)
		}
	})
}
