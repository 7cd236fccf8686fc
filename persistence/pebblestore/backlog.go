package pebblestore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// backlogBytes is how much may be applied and not be in Pebble yet, over all partitions. More puts more neighbours into one
// sorted batch and fewer heads beside them, which is what makes it cheap, and keeps more in memory.
const backlogBytes = 16 << 20

// blockBytes is the size of the pieces of memory that entries are copied into: small, since thousands of partitions may have one each.
const blockBytes = 4 << 10

// maxFree is how many blocks are kept to be used again: as many as a full backlog has.
const maxFree = backlogBytes / blockBytes

// entryOverhead is what an entry in the backlog takes beside its bytes, about.
const entryOverhead = 32

// batchBytes is how much memory a batch keeps for the next one: as much as a partition's share of a full backlog takes.
const batchBytes = 4 << 20

// backlog is what was applied and is not in Pebble yet: entries that nobody reads as long as their entity is live, the heads that
// belong to them, and with them the applied index of their partitions. A partition's backlog reaches Pebble whole, in one batch, before
// anything else of the partition is written or read there. So Pebble always has a partition as it was at some
// index, which is all that a crash asks of it: the log has the rest.
//
// Its fields belong to who holds applier.mu, but for keys.
type backlog struct {
	bytes  int64    // of all partitions
	free   [][]byte // blocks to be used again, at most maxFree
	begun  uint64   // backlogs of partitions, so far
	prefix []byte   // scratch
	// settled are the keys of heads that are late no more once the batch is committed.
	settled []string

	keys struct { // of the heads that are late: whoever loads one of these entities settles its partition first
		sync.Mutex
		late map[string]struct{}
	}
}

// lateness is a partition's part of the backlog.
type lateness struct {
	late   []*cachedHead // with something in the backlog
	blocks [][]byte      // that its entries were copied into; all but the last are full
	order  uint64        // of backlogs: one that began earlier has a smaller
}

// isFull reports whether it is time to settle something.
func (l *backlog) isFull() bool { return l.bytes >= backlogBytes }

// copy returns a copy of b that is good until p's backlog is settled.
func (l *backlog) copy(p *lateness, b []byte) []byte {
	if len(b) > blockBytes/4 {
		return slices.Clone(b)
	}
	if n := len(p.blocks); n == 0 || len(b) > blockBytes-len(p.blocks[n-1]) {
		p.blocks = append(p.blocks, l.block())
	}
	block := &p.blocks[len(p.blocks)-1]
	from := len(*block)
	*block = append(*block, b...)
	return (*block)[from:len(*block):len(*block)]
}

// block returns an empty one.
func (l *backlog) block() []byte {
	last := len(l.free) - 1
	if last < 0 {
		return make([]byte, 0, blockBytes)
	}
	block := l.free[last]
	l.free[last], l.free = nil, l.free[:last]
	return block[:0]
}

// release ends p's backlog: its entries are in a batch. One Apply may have made more blocks than are used again.
func (l *backlog) release(p *lateness) {
	l.free = append(l.free, p.blocks[:min(len(p.blocks), maxFree-len(l.free))]...)
	clear(p.blocks)
	clear(p.late)
	p.late, p.blocks = p.late[:0], p.blocks[:0]
}

// isLate reports whether the entity with this head has something in the backlog.
func (l *backlog) isLate(headKey []byte) bool {
	l.keys.Lock()
	defer l.keys.Unlock()
	_, late := l.keys.late[string(headKey)]
	return late
}

// beLate notes that something of h is in the backlog.
func (a *applier) beLate(p *partition, h *cachedHead) {
	if h.late {
		return
	}
	h.late = true
	if len(p.late) == 0 {
		a.backlog.begun++
		p.order = a.backlog.begun
	}
	p.late = append(p.late, h)
	a.backlog.keys.Lock()
	a.backlog.keys.late[h.key] = struct{}{}
	a.backlog.keys.Unlock()
}

// delay puts the change's entries into the backlog.
func (a *applier) delay(p *partition, h *cachedHead, c *persistence.Change) {
	if len(c.Entries) == 0 {
		return
	}
	a.beLate(p, h)
	for i := range c.Entries {
		data := c.Entries[i].Data
		h.entries = append(h.entries, a.backlog.copy(&p.lateness, data))
		a.backlog.bytes += int64(len(data)) + entryOverhead
	}
}

// goDirect is called before the batch gets anything of p but its backlog, which goes first; what follows in this batch
// goes directly, too.
func (a *applier) goDirect(p *partition) error {
	if p.direct {
		return nil
	}
	p.direct = true
	return a.settleInto(a.batch, p)
}

// settleInto puts p's backlog into batch, sorted, all but the applied index.
func (a *applier) settleInto(batch *pebble.Batch, p *partition) error {
	slices.SortFunc(p.late, func(x, y *cachedHead) int { return cmp.Compare(x.key, y.key) })
	for _, h := range p.late {
		if err := a.heads.write(batch, h); err != nil {
			return err
		}
	}
	for _, h := range p.late {
		if err := a.writeLate(batch, h); err != nil {
			return err
		}
	}
	for _, h := range p.late {
		h.late = false
		a.backlog.settled = append(a.backlog.settled, h.key)
	}
	a.backlog.release(&p.lateness)
	return nil
}

// committed is called when what was settled is in the database, and not before: only then loads may look there.
func (l *backlog) committed() {
	if len(l.settled) == 0 {
		return
	}
	l.keys.Lock()
	for _, key := range l.settled {
		delete(l.keys.late, key)
	}
	l.keys.Unlock()
	clear(l.settled)
	l.settled = l.settled[:0]
}

// writeLate writes the entries of h that are in the backlog: the last ones up to h.last.
func (a *applier) writeLate(batch *pebble.Batch, h *cachedHead) error {
	if len(h.entries) == 0 {
		return nil
	}
	a.backlog.prefix = journalOf(a.backlog.prefix[:0], h.key)
	seq := uint64(h.last) - uint64(len(h.entries)) + 1
	for i, data := range h.entries {
		if err := setEntry(batch, a.backlog.prefix, seq+uint64(i), data); err != nil { //nolint:gosec // an index
			return err
		}
		a.backlog.bytes -= int64(len(data)) + entryOverhead
	}
	clear(h.entries)
	if h.entries = h.entries[:0]; cap(h.entries) > 2*headLag {
		h.entries = nil
	}
	return nil
}

// setEntry writes one entry under its entity's prefix.
func setEntry(batch *pebble.Batch, journal []byte, seq uint64, data []byte) error {
	op := batch.SetDeferred(len(journal)+8, len(data))
	copy(op.Key, journal)
	binary.BigEndian.PutUint64(op.Key[len(journal):], seq)
	copy(op.Value, data)
	if err := op.Finish(); err != nil {
		return fmt.Errorf("write an entry: %w", err)
	}
	return nil
}

// finish puts into the batch what is left of p's backlog, and the applied index: with the batch Pebble has p as it is.
func (a *applier) finish(batch *pebble.Batch, p *partition) error {
	if err := a.settleInto(batch, p); err != nil {
		return err
	}
	a.key = appendOwn(a.key[:0], p.number, partApplied)
	if err := batch.Set(a.key, encodeApplied(p.applied, p.term), nil); err != nil {
		return fmt.Errorf("write the applied index: %w", err)
	}
	p.direct, p.behind = false, false
	return nil
}

// makeRoom does so for those partitions whose backlogs began first, until the backlog is not full: none stays for long, and what is done
// at once is little. Those without one, which got nothing but what leaves no entry (a canary, the entry of an election), come along, for a small key
// each: else the log could not be cut behind theirs.
func (a *applier) makeRoom(batch *pebble.Batch) error {
	if !a.backlog.isFull() {
		return nil
	}
	for a.backlog.isFull() {
		if err := a.finishOldest(batch); err != nil {
			return err
		}
	}
	for _, p := range a.behind() {
		if len(p.late) > 0 {
			continue
		}
		if err := a.finish(batch, p); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) finishOldest(batch *pebble.Batch) error {
	var oldest *partition
	for _, p := range a.partitions {
		if len(p.late) > 0 && (oldest == nil || p.order < oldest.order) {
			oldest = p
		}
	}
	if oldest == nil {
		return fmt.Errorf("a backlog of %d bytes is nobody's", a.backlog.bytes)
	}
	return a.finish(batch, oldest)
}

// finishAll does so for every partition that is behind in Pebble, in order.
func (a *applier) finishAll(batch *pebble.Batch) error {
	for _, p := range a.behind() {
		if err := a.finish(batch, p); err != nil {
			return err
		}
	}
	return nil
}

// behind are the partitions that are behind in Pebble, in order.
func (a *applier) behind() []*partition {
	var behind []*partition
	for _, p := range a.partitions {
		if p.behind {
			behind = append(behind, p)
		}
	}
	slices.SortFunc(behind, func(x, y *partition) int { return cmp.Compare(x.number, y.number) })
	return behind
}

// settle makes Pebble have p as it is: whoever reads p there, but a single entity that is not late, calls it first.
func (s *Store) settle(p persistence.Partition) error {
	return s.settleBy(func(a *applier, batch *pebble.Batch) error {
		if of := a.partitions[p]; of != nil && of.behind {
			return a.finish(batch, of)
		}
		return nil
	})
}

// settleAll does so for all partitions, one after the other, so that Apply does not wait for all.
func (s *Store) settleAll() error {
	s.apply.mu.Lock()
	behind := s.apply.behind()
	s.apply.mu.Unlock()
	for _, p := range behind {
		if err := s.settle(p.number); err != nil {
			return err
		}
	}
	return nil
}

// newBatch returns a batch with memory of earlier ones.
func (s *Store) newBatch() *pebble.Batch {
	return s.db.NewBatch(pebble.WithMaxRetainedSizeBytes(batchBytes))
}

// settleBy commits what put gathers.
func (s *Store) settleBy(put func(*applier, *pebble.Batch) error) error {
	a := &s.apply
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := s.failure(); err != nil {
		return err
	}
	batch := s.newBatch()
	defer batch.Close()
	err := put(a, batch)
	if err == nil && !batch.Empty() {
		if err = batch.Commit(pebble.NoSync); err == nil {
			a.backlog.committed()
		}
	}
	if err != nil {
		s.fail(fmt.Errorf("write what was applied: %w", err))
		return errors.Join(err, s.failure())
	}
	return nil
}

// applied is p's applied index and its term, wherever they are.
func (s *Store) applied(p persistence.Partition) (index, term uint64, err error) {
	if err := s.settle(p); err != nil {
		return 0, 0, err
	}
	return readApplied(s.db, p)
}
