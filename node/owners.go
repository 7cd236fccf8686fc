package node

import (
	"fmt"
	"sync"

	"github.com/skerry-dev/skerry/persistence"
)

// owners passes ownership on to everybody who must hear of it, in order, and knows the epochs. The log is opened before those
// who listen, which need it.
type owners struct {
	mu struct {
		sync.Mutex
		epochs map[persistence.Partition]persistence.Epoch
	}
	listeners []persistence.Ownership // immutable once the log runs
}

func newOwners() *owners {
	o := &owners{}
	o.mu.epochs = make(map[persistence.Partition]persistence.Epoch)
	return o
}

// follow adds a listener; to be called before the log runs.
func (o *owners) follow(next persistence.Ownership) { o.listeners = append(o.listeners, next) }

// Claimed implements [persistence.Ownership]. Those who serve hear of it before those who tell others.
func (o *owners) Claimed(p persistence.Partition, epoch persistence.Epoch) {
	o.mu.Lock()
	o.mu.epochs[p] = epoch
	o.mu.Unlock()
	for _, l := range o.listeners {
		l.Claimed(p, epoch)
	}
}

// Lost implements [persistence.Ownership].
func (o *owners) Lost(p persistence.Partition, epoch persistence.Epoch) {
	o.mu.Lock()
	if o.mu.epochs[p] == epoch {
		delete(o.mu.epochs, p)
	}
	o.mu.Unlock()
	for _, l := range o.listeners {
		l.Lost(p, epoch)
	}
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

// owns reports whether this node owns p.
func (o *owners) owns(p persistence.Partition) bool {
	_, err := o.epoch(p)
	return err == nil
}
