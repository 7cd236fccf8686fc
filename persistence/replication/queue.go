package replication

import (
	"sync"

	"github.com/skerry-dev/skerry/persistence"
)

// waiting is an accepted change and who wants to know its outcome.
type waiting struct {
	change *persistence.Change
	done   func(error)
	bytes  int
}

// taken is what the loop makes one proposal of.
type taken struct {
	slot    int
	waiting []waiting
	bytes   int
}

// queue holds the changes that were accepted, from Propose until they are done. Its methods may be called from any
// goroutine; none calls out.
type queue struct {
	maxChanges, maxBytes int
	// wake holds one token when there is something for the loop to look at.
	wake chan struct{}

	mu struct {
		sync.Mutex
		slots   []queueSlot
		listed  []int       // slots in which changes wait, each once, the longest waiting first
		changes int         // accepted and not done
		bytes   int         // of those
		closed  bool        // accepts nothing
		spare   [][]waiting // emptied, to be used again
	}
}

// queueSlot is one partition's part of the queue.
type queueSlot struct {
	owned  bool
	epoch  persistence.Epoch
	list   []waiting // from head on
	head   int
	bytes  int
	listed bool
}

// maxSpare bounds the emptied slices that are kept.
const maxSpare = 128

func newQueue(slots, maxChanges, maxBytes int) *queue {
	q := &queue{maxChanges: maxChanges, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
	q.mu.slots = make([]queueSlot, slots)
	return q
}

// signal makes the loop look. It never blocks.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// add accepts a change, or says why not.
func (q *queue) add(slot int, w waiting) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &q.mu.slots[slot]
	switch {
	case q.mu.closed:
		return persistence.ErrClosed
	case !s.owned:
		return persistence.ErrNotOwner
	case q.mu.changes >= q.maxChanges || q.mu.bytes+w.bytes > q.maxBytes:
		return persistence.ErrQueueFull
	}
	q.mu.changes++
	q.mu.bytes += w.bytes
	if len(s.list) == cap(s.list) && s.head > len(s.list)/2 { // else a slot that is never empty would grow for ever
		n := copy(s.list, s.list[s.head:])
		clear(s.list[n:])
		s.list, s.head = s.list[:n], 0
	}
	s.list = append(s.list, w)
	s.bytes += w.bytes
	if !s.listed {
		s.listed = true
		if len(q.mu.listed) == 0 {
			q.signal()
		}
		q.mu.listed = append(q.mu.listed, slot)
	}
	return nil
}

// take moves what waits into dst, at most one proposal for each slot and about maxLoopBytes in all. What is left is
// first in line the next time, and a slot that had too much goes to the end. It reports whether something is left.
func (q *queue) take(dst []taken) (_ []taken, left bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	turn, bytes := len(q.mu.listed), 0
	for turn > 0 && bytes < maxLoopBytes {
		slot := q.mu.listed[0]
		q.mu.listed = append(q.mu.listed[:0], q.mu.listed[1:]...)
		turn--
		t := q.takeLocked(slot)
		bytes += t.bytes
		dst = append(dst, t)
		if s := &q.mu.slots[slot]; s.head < len(s.list) {
			q.mu.listed = append(q.mu.listed, slot)
		} else {
			s.list, s.head, s.listed = s.list[:0], 0, false
		}
	}
	return dst, len(q.mu.listed) > 0
}

// takeLocked takes one proposal's worth from a slot.
func (q *queue) takeLocked(slot int) taken {
	s := &q.mu.slots[slot]
	t := taken{slot: slot}
	if n := len(q.mu.spare); n > 0 {
		t.waiting, q.mu.spare = q.mu.spare[n-1], q.mu.spare[:n-1]
	}
	if s.head == 0 && len(s.list) <= maxProposalChanges && s.bytes <= maxProposalBytes {
		t.waiting, s.list, t.bytes = s.list, t.waiting, s.bytes
		s.bytes = 0
		return t
	}
	for s.head < len(s.list) && len(t.waiting) < maxProposalChanges && t.bytes < maxProposalBytes {
		w := s.list[s.head]
		s.list[s.head] = waiting{}
		s.head++
		t.waiting = append(t.waiting, w)
		t.bytes += w.bytes
	}
	s.bytes -= t.bytes
	return t
}

// own lets changes of slot in.
func (q *queue) own(slot int, epoch persistence.Epoch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.slots[slot].owned, q.mu.slots[slot].epoch = true, epoch
}

// disown lets no more changes of slot in and returns those that wait. They still count until release.
func (q *queue) disown(slot int) []waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &q.mu.slots[slot]
	left := s.list[s.head:]
	*s = queueSlot{listed: s.listed}
	return left
}

// owner returns the epoch under which slot is owned here, and whether it is; closed says that nothing is accepted.
func (q *queue) owner(slot int) (epoch persistence.Epoch, owned, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &q.mu.slots[slot]
	return s.epoch, s.owned, q.mu.closed
}

// release forgets changes that are about to be answered.
func (q *queue) release(changes, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.changes -= changes
	q.mu.bytes -= bytes
	if q.mu.closed && q.mu.changes == 0 {
		q.signal()
	}
}

// recycle takes back a slice whose changes were answered.
func (q *queue) recycle(list []waiting) {
	clear(list)
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.mu.spare) < maxSpare && cap(list) <= 2*maxProposalChanges {
		q.mu.spare = append(q.mu.spare, list[:0])
	}
}

// close lets no more changes in, of any partition.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.closed = true
}

// drained reports whether nothing more will come and everything accepted was answered.
func (q *queue) drained() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.closed && q.mu.changes == 0
}

// usage returns how many changes, of how many bytes, are accepted and not done.
func (q *queue) usage() (changes, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.changes, q.mu.bytes
}

// changeBytes estimates what a change takes in memory and in the log.
func changeBytes(c *persistence.Change) int {
	n := 64 + len(c.Key.Space) + len(c.Key.ID) + len(c.EraseSpace)
	for i := range c.Entries {
		n += len(c.Entries[i].Data) + 8
	}
	for i := range c.Marks {
		n += len(c.Marks[i].Name) + len(c.Marks[i].Value) + 8
	}
	if c.Piece != nil {
		n += len(c.Piece.Data) + len(c.Piece.Part)
	}
	if c.Snapshot != nil {
		n += len(c.Snapshot.Data) + len(c.Snapshot.Part) + 16
	}
	if c.Record != nil {
		n += len(c.Record.Name) + len(c.Record.Value)
	}
	return n
}
