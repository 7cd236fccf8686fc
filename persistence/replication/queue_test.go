package replication

import (
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: the memory of a partition that is never quite done is bounded by what waits, and order stays.
// Method: add as much as each loop takes, for many loops.
func TestQueueOfABusyPartitionDoesNotGrow(t *testing.T) {
	const waits = 8000
	q := newQueue(1, 1<<16, 64<<20)
	q.own(0, persistence.Epoch{})
	change, next := &persistence.Change{}, 0
	add := func(n int) {
		for range n {
			next++
			if err := q.add(0, waiting{change: change, bytes: next}); err != nil {
				t.Fatal(err)
			}
		}
	}
	q.maxBytes = 1 << 62
	add(waits)
	var dst []taken
	seen := 0
	for range 500 {
		dst, _ = q.take(dst[:0])
		for _, w := range dst[0].waiting {
			if seen++; w.bytes != seen {
				t.Fatalf("change %d comes after change %d", w.bytes, seen-1)
			}
		}
		n := len(dst[0].waiting)
		q.release(n, dst[0].bytes)
		q.recycle(dst[0].waiting)
		add(n)
	}
	if got := cap(q.mu.slots[0].list); got > 4*waits {
		t.Errorf("%d changes wait, the list has %d places", waits, got)
	}
}
