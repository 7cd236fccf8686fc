package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// entityHost is what package actors' Host is to a node, in one of its process's lives: activations of the entities whose
// partitions it owns. Turns, encodings and the gate are the real ones; goroutines, time-outs and mailboxes are the world's.
type entityHost struct {
	app       *entities
	n         *Node
	live      map[persistence.Key]*liveEntity // loading ones too
	transfers map[holdName]*transferring
	asking    int // for steps, and pauses before them
}

// entityCall is a request on its way to an entity.
type entityCall struct {
	key     persistence.Key
	request *skerryv1.Request
	op      *clientOp             // whose request it is; nil: nobody's
	step    *storev1.TransferStep // what a transfer's coordinator asks for
	reply   func(entityAnswer)
}

// entityAnswer is what a call is answered with.
type entityAnswer struct {
	response *skerryv1.Response
	transfer *storev1.TransferAnswer
	err      error
}

// The bounds and times of an activation, small, so that a run meets them often.
const (
	maxWaitingCalls    = 64
	maxChangeEntries   = 8
	journalInterval    = 400 * time.Millisecond
	autosaveInterval   = 3 * time.Second
	passivateAfter     = 900 * time.Millisecond
	entityProposePause = 20 * time.Millisecond
)

// local makes a time of the node's clock one of the world's.
func (h *entityHost) local(d time.Duration) time.Duration {
	return time.Duration(float64(d) * h.n.rate)
}

// now is the node's monotonic clock.
func (h *entityHost) now() time.Duration { return time.Duration(float64(h.n.w.now) / h.n.rate) }

// after calls f when d has passed on the node's clock.
func (h *entityHost) after(d time.Duration, f func()) { h.n.After(h.local(d), f) }

// do sends a call to its entity, which is activated when it is not live.
func (h *entityHost) do(c *entityCall) {
	p := h.app.partitionOf(c.key)
	epoch, ok := h.n.Owns(p)
	if !ok {
		c.reply(entityAnswer{err: persistence.ErrNotOwner})
		return
	}
	a := h.live[c.key]
	if a == nil {
		a = h.activate(c.key, p, epoch)
	}
	switch {
	case a.mode == entityRunning:
		a.turn(c)
	case len(a.waiting) >= maxWaitingCalls:
		c.reply(entityAnswer{err: errEntityBusy})
	default:
		a.waiting = append(a.waiting, c)
	}
}

// activate begins the load of an entity.
func (h *entityHost) activate(key persistence.Key, p persistence.Partition, epoch persistence.Epoch) *liveEntity {
	a := &liveEntity{h: h, key: key, partition: p, epoch: epoch}
	h.live[key] = a
	h.app.counts.Activations++
	h.n.After(h.app.w.Between(0, 3*time.Millisecond), a.load)
	return a
}

// lost ends the activations of a partition: what waits for one is answered, and none of them saves.
func (h *entityHost) lost(p persistence.Partition) {
	var ends []*liveEntity
	for _, a := range h.live {
		if a.partition == p {
			ends = append(ends, a)
		}
	}
	slices.SortFunc(ends, func(a, b *liveEntity) int { return compareKeys(a.key, b.key) })
	for _, a := range ends {
		waiting := a.waiting
		a.waiting = nil
		a.wrong(persistence.ErrNotOwner)
		a.dropped()
		for _, c := range waiting {
			c.reply(entityAnswer{err: persistence.ErrNotOwner})
		}
	}
	h.abandonTransfers(p)
}

// String is the node's.
func (h *entityHost) String() string { return fmt.Sprint(h.n) }
