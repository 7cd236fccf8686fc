package replication

import (
	"fmt"
	"sync"

	"github.com/skerry-dev/skerry/persistence"
)

// maxHints bounds the hints that wait for the loop.
const maxHints = 1024

// hints are what this node was asked to do about leaders, until the loop does it.
type hints struct {
	mu struct {
		sync.Mutex
		suspected []persistence.NodeID
		handOvers []handOver
	}
}

type handOver struct {
	slot int
	to   persistence.NodeID
}

// Suspect says that a node seems to be gone: its connection was lost, or the members say that it left or does not
// answer. The groups that it led elect another leader at once instead of after their time-out. It is only a hint: a
// wrong one costs an election. It never blocks, and may be called from any goroutine.
func (h *Host) Suspect(node persistence.NodeID) {
	h.hints.mu.Lock()
	if len(h.hints.mu.suspected) < maxHints {
		h.hints.mu.suspected = append(h.hints.mu.suspected, node)
	}
	h.hints.mu.Unlock()
	h.queue.signal()
}

// HandOver asks for a planned change of p's owner to another voter, which begins when that one has all entries. Nil means
// that it was asked: the change is seen by [persistence.Ownership]'s Lost, and does not come when the other does not answer
// within an election time-out. Changes on their way are finished here first, or have an unknown outcome. It returns
// [persistence.ErrNotOwner] when p is not owned here, and [persistence.ErrQueueFull]. It never blocks.
func (h *Host) HandOver(p persistence.Partition, to persistence.NodeID) error {
	slot, ok := h.slot(p)
	if !ok {
		return fmt.Errorf("partition %d: %w", p, persistence.ErrNotOwner)
	}
	if _, owned, _ := h.queue.owner(slot); !owned {
		return fmt.Errorf("partition %d: %w", p, persistence.ErrNotOwner)
	}
	h.hints.mu.Lock()
	defer h.hints.mu.Unlock()
	if len(h.hints.mu.handOvers) >= maxHints {
		return persistence.ErrQueueFull
	}
	h.hints.mu.handOvers = append(h.hints.mu.handOvers, handOver{slot, to})
	h.queue.signal()
	return nil
}

// followHints does what was asked since the last loop.
func (h *Host) followHints() error {
	h.hints.mu.Lock()
	suspected, handOvers := h.hints.mu.suspected, h.hints.mu.handOvers
	h.hints.mu.suspected, h.hints.mu.handOvers = nil, nil
	h.hints.mu.Unlock()
	for _, node := range suspected {
		if err := h.core.suspect(node); err != nil {
			return err
		}
	}
	for _, w := range handOvers {
		h.core.handOver(w.slot, w.to)
	}
	return nil
}
