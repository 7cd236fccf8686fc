package peers

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Goal: the queue keeps its bounds and its order, and drops the oldest.
// Method: any puts and takes, against a list.

func TestQueueDropsTheOldest(t *testing.T) {
	q := newQueue(3, 100)
	for number := range uint64(5) {
		q.put(numbered(number, 8))
	}
	got := q.take(nil, 1<<20)
	if len(got) != 3 || got[0][0] != 2 || got[2][0] != 4 {
		t.Errorf("kept %v, want the last three", got)
	}
}

func TestQueueIsAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const maxBatches, maxBytes = 8, 500
		q := newQueue(maxBatches, maxBytes)
		var model []int // lengths
		sum := func() (bytes int) {
			for _, length := range model {
				bytes += length
			}
			return bytes
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				length := rapid.IntRange(1, maxBytes).Draw(t, "length")
				dropped := 0
				for len(model) >= maxBatches || len(model) > 0 && sum()+length > maxBytes {
					model = model[1:]
					dropped++
				}
				model = append(model, length)
				if batches, _ := q.put(make([]byte, length)); batches != dropped {
					t.Fatalf("dropped %d, want %d", batches, dropped)
				}
			},
			"take": func(t *rapid.T) {
				limit := rapid.IntRange(1, maxBytes).Draw(t, "limit")
				var want, got []int
				for bytes := 0; len(model) > 0 && bytes < limit; model = model[1:] {
					want = append(want, model[0])
					bytes += model[0]
				}
				for _, batch := range q.take(nil, limit) {
					got = append(got, len(batch))
				}
				if !slices.Equal(got, want) {
					t.Fatalf("took %v, want %v", got, want)
				}
			},
			"drop": func(t *rapid.T) {
				if batches, bytes := q.drop(); batches != len(model) || bytes != sum() {
					t.Fatalf("dropped %d with %d bytes, want %d with %d", batches, bytes, len(model), sum())
				}
				model = nil
			},
			"": func(t *rapid.T) {
				if batches, bytes := q.size(); batches != len(model) || bytes != sum() || bytes > maxBytes {
					t.Fatalf("size %d with %d bytes, want %d with %d", batches, bytes, len(model), sum())
				}
				if room := cap(q.mu.batches); room > 4*maxBatches {
					t.Fatalf("room for %d batches", room)
				}
			},
		})
	})
}
