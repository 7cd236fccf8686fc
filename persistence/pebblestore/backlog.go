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
// sorted batch, which is what makes it cheap, and keeps more in memory.
const backlogBytes = 4 << 20

// blockBytes is the size of the pieces of memory that entries are copied into.
const blockBytes = 64 << 10

// entryOverhead is what an entry in the backlog takes beside its bytes, about.
const entryOverhead = 32

// backlog is what was applied and is not in Pebble yet: entries that nobody reads as long as their entity is live, the heads that
// belong to them, and with them the applied index of their partitions. A partition's backlog reaches Pebble whole, in one batch, before
// anything else of the partition is written or read there. So Pebble always has a partition as it was at some
// index, which is all that a crash asks of it: the log has the rest.
//
// Its fields belong to who holds applier.mu, but for keys.
type backlog struct {
	bytes  int64
	blocks [][]byte // that entries are copied into; used again once the backlog is empty
	full   int      // of blocks
	prefix []byte   // scratch
	// settled are the keys of heads that are late no more once the batch is committed.
	settled []string

	keys struct { // of the heads that are late: whoever loads one of these entities settles its partition first
		sync.Mutex
		late map[string]struct{}
	}
}

// isFull reports whether it is time to settle everything: also when much was settled meanwhile, since blocks are used again only
// when all is.
func (l *backlog) isFull() bool { return l.bytes >= backlogBytes || l.full >= backlogBytes/blockBytes }

// copy returns a copy of b that is good until the backlog is empty.
func (l *backlog) copy(b []byte) []byte {
	if len(b) > blockBytes/4 {
		return slices.Clone(b)
	}
	if l.full < len(l.blocks) && len(b) > blockBytes-len(l.blocks[l.full]) {
		l.full++
	}
	if l.full == len(l.blocks) {
		l.blocks = append(l.blocks, make([]byte, 0, blockBytes))
	}
	block := &l.blocks[l.full]
	from := len(*block)
	*block = append(*block, b...)
	return (*block)[from:len(*block):len(*block)]
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
		h.entries = append(h.entries, a.backlog.copy(data))
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
	clear(p.late)
	p.late = p.late[:0]
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
	if l.bytes == 0 {
		for i := range l.blocks {
			l.blocks[i] = l.blocks[i][:0]
		}
		l.full = 0
	}
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

// finishAll does so for every partition that is behind in Pebble, in order.
func (a *applier) finishAll(batch *pebble.Batch) error {
	var behind []*partition
	for _, p := range a.partitions {
		if p.behind {
			behind = append(behind, p)
		}
	}
	slices.SortFunc(behind, func(x, y *partition) int { return cmp.Compare(x.number, y.number) })
	for _, p := range behind {
		if err := a.finish(batch, p); err != nil {
			return err
		}
	}
	return nil
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

// settleAll does so for all partitions.
func (s *Store) settleAll() error { return s.settleBy((*applier).finishAll) }

// settleBy commits what put gathers.
func (s *Store) settleBy(put func(*applier, *pebble.Batch) error) error {
	a := &s.apply
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := s.failure(); err != nil {
		return err
	}
	batch := s.db.NewBatch()
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
