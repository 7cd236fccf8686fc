package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/skerry-dev/skerry/persistence"
)

// owners passes ownership on to the actors, and knows the epochs. The log is opened before the actors, which need it.
type owners struct {
	mu struct {
		sync.Mutex
		epochs   map[persistence.Partition]persistence.Epoch
		expected int
		complete bool // all is closed, or is about to be
		next     persistence.Ownership
	}
	log *slog.Logger
	all chan struct{} // closed when every partition was claimed once
}

func newOwners(log *slog.Logger) *owners {
	o := &owners{log: log, all: make(chan struct{})}
	o.mu.epochs = make(map[persistence.Partition]persistence.Epoch)
	return o
}

// expect says how many partitions there are beside the meta partition.
func (o *owners) expect(partitions int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.expected = partitions + 1
}

// follow says who hears of ownership; to be called before the log runs.
func (o *owners) follow(next persistence.Ownership) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.next = next
}

// Claimed implements [persistence.Ownership].
func (o *owners) Claimed(p persistence.Partition, epoch persistence.Epoch) {
	o.next().Claimed(p, epoch)
	count, first := o.claimed(p, epoch)
	if first {
		o.log.LogAttrs(context.Background(), slog.LevelInfo, "partitions claimed", slog.Int("count", count))
		close(o.all)
	}
}

// claimed remembers the epoch. It returns how many partitions are claimed, and whether that is all of them, for the
// first time.
func (o *owners) claimed(p persistence.Partition, epoch persistence.Epoch) (count int, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.epochs[p] = epoch
	first = len(o.mu.epochs) == o.mu.expected && !o.mu.complete
	o.mu.complete = o.mu.complete || first
	return len(o.mu.epochs), first
}

// Lost implements [persistence.Ownership].
func (o *owners) Lost(p persistence.Partition, epoch persistence.Epoch) {
	count, last := o.lost(p, epoch)
	o.next().Lost(p, epoch)
	if last {
		o.log.LogAttrs(context.Background(), slog.LevelInfo, "partitions given up", slog.Int("count", count))
	}
}

// lost forgets the epoch. It returns how many partitions there are, and whether none of them is left.
func (o *owners) lost(p persistence.Partition, epoch persistence.Epoch) (count int, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.epochs[p] != epoch {
		return o.mu.expected, false
	}
	delete(o.mu.epochs, p)
	return o.mu.expected, len(o.mu.epochs) == 0
}

func (o *owners) next() persistence.Ownership {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.next
}

// epoch returns the ownership under which to propose in p, or persistence.ErrNotOwner.
func (o *owners) epoch(p persistence.Partition) (persistence.Epoch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	epoch, ok := o.mu.epochs[p]
	if !ok {
		return epoch, fmt.Errorf("partition %d: %w", p, persistence.ErrNotOwner)
	}
	return epoch, nil
}
