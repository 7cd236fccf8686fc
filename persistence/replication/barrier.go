package replication

import (
	"encoding/binary"
	"sync"

	"go.etcd.io/raft/v3"

	"github.com/skerry-dev/skerry/persistence"
)

// The bounds of what waits.
const (
	maxBarriers = 1 << 16 // callers, of all partitions together
	maxRounds   = 4       // of one partition, begun and not confirmed; who comes later shares the next one
)

// barriers are the callers who wait to hear whether this node owns their partition. All who came before a loop share
// one round of a partition: a round that was begun before a caller came proves nothing to that caller.
type barriers struct {
	mu struct {
		sync.Mutex
		slots  []barrierSlot
		listed []int // slots in which callers wait for a round to begin
		count  int
		closed bool
	}
}

// barrierSlot is one partition's part.
type barrierSlot struct {
	coming []barrier      // wait for a round to begin
	rounds []barrierRound // begun, oldest first
}

type barrier struct {
	epoch persistence.Epoch
	done  func(error)
}

type barrierRound struct {
	id      uint64
	waiting []barrier
}

func newBarriers(slots int) *barriers {
	b := &barriers{}
	b.mu.slots = make([]barrierSlot, slots)
	return b
}

// add makes a caller wait, or says why not.
func (b *barriers) add(slot int, w barrier) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.closed:
		return persistence.ErrClosed
	case b.mu.count >= maxBarriers:
		return persistence.ErrQueueFull
	}
	b.mu.count++
	s := &b.mu.slots[slot]
	if len(s.coming) == 0 {
		b.mu.listed = append(b.mu.listed, slot)
	}
	s.coming = append(s.coming, w)
	return nil
}

// begin makes a round of each partition in which callers wait; ask starts it, by its id, and is false when the partition
// is not owned any more.
func (b *barriers) begin(nextID func() uint64, ask func(slot int, id uint64) bool) (lost []barrier) {
	b.mu.Lock()
	defer b.mu.Unlock()
	later := b.mu.listed[:0]
	for _, slot := range b.mu.listed {
		s := &b.mu.slots[slot]
		switch id := nextID(); {
		case len(s.coming) == 0:
		case len(s.rounds) >= maxRounds:
			later = append(later, slot)
		case ask(slot, id):
			s.rounds = append(s.rounds, barrierRound{id: id, waiting: s.coming})
			s.coming = nil
		default:
			lost = append(lost, b.loseLocked(slot)...)
		}
	}
	b.mu.listed = later
	return lost
}

// pass returns those who waited for the round id of slot and for the ones before it: what is true of a later moment
// serves them too.
func (b *barriers) pass(slot int, id uint64) []barrier {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.mu.slots[slot]
	var passed []barrier
	n := 0
	for n < len(s.rounds) && s.rounds[n].id <= id {
		passed = append(passed, s.rounds[n].waiting...)
		n++
	}
	s.rounds = append(s.rounds[:0], s.rounds[n:]...)
	b.mu.count -= len(passed)
	return passed
}

// lose returns everybody who waits in slot.
func (b *barriers) lose(slot int) []barrier {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loseLocked(slot)
}

func (b *barriers) loseLocked(slot int) []barrier {
	s := &b.mu.slots[slot]
	lost := s.coming
	for _, r := range s.rounds {
		lost = append(lost, r.waiting...)
	}
	b.mu.count -= len(lost)
	*s = barrierSlot{}
	return lost
}

// end returns everybody who waits, and lets nobody in any more.
func (b *barriers) end() (lost []barrier) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.closed = true
	for slot := range b.mu.slots {
		lost = append(lost, b.loseLocked(slot)...)
	}
	return lost
}

// readPassed says that a majority confirmed the leadership after the round id was begun.
type readPassed struct {
	slot int
	id   uint64
}

// read begins a round by which a majority confirms that this node leads the group. It is false when this node does not
// own the partition. Raft drops a round when the leadership ends, and so does the caller.
func (c *core) read(slot int, id uint64) bool {
	g := c.groups[slot]
	if g.owner {
		g.node.ReadIndex(binary.BigEndian.AppendUint64(nil, id))
		c.touch(g)
	}
	return g.owner
}

// takeReads adds the rounds that Raft confirmed.
func (g *group) takeReads(states []raft.ReadState, out *output) {
	for _, s := range states {
		if g.owner && len(s.RequestCtx) == 8 {
			out.reads = append(out.reads, readPassed{slot: g.slot, id: binary.BigEndian.Uint64(s.RequestCtx)})
		}
	}
}

// Barrier implements [persistence.Journal]. A sole voter cannot have been deposed without knowing: it answers at once.
// Others ask a majority, in rounds that all callers of a partition share. When the partition is lost meanwhile, done is
// called with [persistence.ErrNotOwner].
func (h *Host) Barrier(p persistence.Partition, epoch persistence.Epoch, done func(error)) error {
	slot, ok := h.slot(p)
	if !ok {
		return persistence.ErrNotOwner
	}
	switch now, owned, closed := h.queue.owner(slot); {
	case closed:
		return persistence.ErrClosed
	case !owned || now != epoch:
		return persistence.ErrNotOwner
	}
	if h.sole[slot].Load() || h.opts.Faults.NoBarrier {
		done(nil)
		return nil
	}
	if err := h.barriers.add(slot, barrier{epoch: epoch, done: done}); err != nil {
		return err
	}
	h.queue.signal()
	return nil
}

// beginBarriers starts a round for everybody who came since the last loop.
func (h *Host) beginBarriers() {
	for _, w := range h.barriers.begin(h.core.newProposalID, h.core.read) {
		w.done(persistence.ErrNotOwner)
	}
}

// passBarriers answers the callers whose round a majority confirmed.
func (h *Host) passBarriers() {
	for _, r := range h.out.reads {
		for _, w := range h.barriers.pass(r.slot, r.id) {
			h.answerBarrier(r.slot, w)
		}
	}
}

// answerBarrier says yes only when the caller's epoch is still the owner's: a leadership may have ended and another begun.
func (h *Host) answerBarrier(slot int, w barrier) {
	if now, owned, _ := h.queue.owner(slot); !owned || now != w.epoch {
		w.done(persistence.ErrNotOwner)
		return
	}
	w.done(nil)
}

// loseBarriers answers everybody who waits in a partition that is not owned any more.
func (h *Host) loseBarriers(slot int) {
	for _, w := range h.barriers.lose(slot) {
		w.done(persistence.ErrNotOwner)
	}
}
