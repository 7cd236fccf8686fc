package replication

import (
	"fmt"
	"slices"
	"sync"

	"github.com/skerry-dev/skerry/persistence"
)

// maxHints bounds the hints that wait for the loop.
const maxHints = 1024

// hint is one thing that this node was asked to do; what is set says what.
type hint struct {
	suspected persistence.NodeID
	slot      int
	handTo    persistence.NodeID
	changes   []ReplicaChange
	decided   func(error) // of changes
	hold      int
	done      func(here bool) // of hold; may be nil
	run       func()          // with the applier
}

// hints are what this node was asked to do, until the loop does it.
type hints struct {
	mu struct {
		sync.Mutex
		list   []hint
		closed bool
	}
}

// add returns [persistence.ErrQueueFull] when too many wait, unless it ends a hold that was added, and
// [persistence.ErrClosed] when nobody will look.
func (h *hints) add(one hint) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.mu.closed:
		return persistence.ErrClosed
	case len(h.mu.list) >= maxHints && one.hold >= 0: // the end of a hold has its place from its begin on
		return persistence.ErrQueueFull
	}
	h.mu.list = append(h.mu.list, one)
	return nil
}

// take empties the list, for the last time when it is closed by it.
func (h *hints) take(last bool) []hint {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.mu.list
	h.mu.list, h.mu.closed = nil, last
	return list
}

// Suspect says that a node seems to be gone: its connection was lost, or the members say that it left or does not
// answer. The groups that it led elect another leader at once instead of after their time-out. It is only a hint: a
// wrong one costs an election. It never blocks, and may be called from any goroutine.
func (h *Host) Suspect(node persistence.NodeID) {
	if h.hints.add(hint{suspected: node}) == nil {
		h.queue.signal()
	}
}

// HandOver asks for a planned change of p's owner to another voter, which begins when that one has all entries. Nil means
// that it was asked: the change is seen by [persistence.Ownership]'s Lost, and does not come when the other does not answer
// within an election time-out. Changes on their way are finished here first, or have an unknown outcome. It returns
// [persistence.ErrNotOwner] when p is not owned here, and [persistence.ErrQueueFull]. It never blocks.
func (h *Host) HandOver(p persistence.Partition, to persistence.NodeID) error {
	slot, err := h.ownedSlot(p)
	if err != nil {
		return err
	}
	if err := h.hints.add(hint{slot: slot, handTo: to}); err != nil {
		return err
	}
	h.queue.signal()
	return nil
}

// ChangeReplicas asks for a change of who has partition p; several changes are made in one joint step, so that at no time
// fewer count than before or after. Nil means that decided will be called once, without blocking the loop, with nil when the
// change was proposed or nothing is to be done, or with [ErrReplicaChange]. What holds is in Status; Raft makes one
// change at a time and drops one that comes too early or with a lost leadership, so look and ask again. A node must be a
// learner, and should have caught up, before it votes. It returns [persistence.ErrNotOwner] and [persistence.ErrQueueFull].
func (h *Host) ChangeReplicas(p persistence.Partition, changes []ReplicaChange, decided func(error)) error {
	slot, err := h.ownedSlot(p)
	if err != nil {
		return err
	}
	if err := h.hints.add(hint{slot: slot, changes: slices.Clone(changes), decided: decided}); err != nil {
		return err
	}
	h.queue.signal()
	return nil
}

func (h *Host) ownedSlot(p persistence.Partition) (int, error) {
	slot, ok := h.slot(p)
	if ok {
		_, ok, _ = h.queue.owner(slot)
	}
	if !ok {
		return 0, fmt.Errorf("partition %d: %w", p, persistence.ErrNotOwner)
	}
	return slot, nil
}

// followHints does what was asked since the last loop.
func (h *Host) followHints() error {
	for _, w := range h.hints.take(false) {
		switch {
		case w.suspected != 0:
			if err := h.core.suspect(w.suspected); err != nil {
				return err
			}
		case w.handTo != 0:
			h.core.handOver(w.slot, w.handTo)
		case w.decided != nil:
			w.decided(h.core.changeReplicas(w.slot, w.changes))
		case w.run != nil:
			h.handOn([]commit{{slot: w.slot, run: w.run}})
		case w.hold != 0:
			if here := h.core.hold(w.slot, w.hold); w.done != nil {
				w.done(here)
			}
		}
	}
	return nil
}

// endHints answers those who still wait, at the end of Run.
func (h *Host) endHints() {
	for _, w := range h.hints.take(true) {
		if w.decided != nil {
			w.decided(persistence.ErrNotOwner)
		}
		if w.done != nil {
			w.done(false)
		}
	}
}
