package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// applier is what Apply works with. It belongs to who holds mu: Apply, or whoever settles a backlog.
type applier struct {
	mu         sync.Mutex
	store      *Store
	backlog    backlog
	heads      *heads
	partitions map[persistence.Partition]*partition // loaded when first applied to; at most one for each partition
	batch      *pebble.Batch
	key        []byte // scratch
	journal    []byte // scratch: the prefix of the entries of the change under way
}

// partition is what Apply knows of a partition. What is stored may be behind it by the backlog.
type partition struct {
	number        persistence.Partition
	applied, term uint64
	epoch         persistence.Epoch
	staged        map[string]staged // by key of the staged record
	behind        bool              // the stored applied index is an older one
	direct        bool              // this batch writes more than p's backlog
	lateness
}

// Apply implements [persistence.StateMachine]: at most one Pebble batch, unsynced, for all of batch. Of an entry that was applied
// before, results say nothing (nil). It returns [ErrFailed] when it failed once, whatever the reason: what is in memory
// is then not what is stored, and the process must stop.
func (s *Store) Apply(batch []persistence.Committed) (results [][]error, err error) {
	if err = s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err = s.failure(); err != nil {
		return nil, err
	}
	if s.opts.ReadOnly {
		return nil, fmt.Errorf("apply: the store was opened to look at it: %w", pebble.ErrReadOnly)
	}
	s.apply.mu.Lock()
	defer s.apply.mu.Unlock()
	if results, err = s.apply.run(batch); err != nil {
		s.fail(err)
		return nil, s.failure()
	}
	return results, nil
}

func (a *applier) run(batch []persistence.Committed) ([][]error, error) {
	a.batch = a.store.newBatch()
	defer a.batch.Close()
	results := make([][]error, len(batch))
	var direct []*partition
	for i := range batch {
		c := &batch[i]
		p, err := a.partition(c.Partition)
		if err != nil {
			return nil, err
		}
		if c.Index <= p.applied {
			continue
		}
		if len(c.Conf) > 0 {
			err = a.conf(p, c)
		} else if len(c.Data) > 0 {
			results[i], err = a.proposal(p, c)
		}
		if err != nil {
			return nil, fmt.Errorf("apply entry %d of partition %d: %w", c.Index, c.Partition, err)
		}
		p.applied, p.term, p.behind = c.Index, c.Term, true
		if p.direct && !slices.Contains(direct, p) {
			direct = append(direct, p)
		}
	}
	if err := a.commit(direct); err != nil {
		return nil, err
	}
	return results, nil
}

// commit ends the batch, in which more than the backlog of these partitions was written.
func (a *applier) commit(direct []*partition) error {
	for _, p := range direct {
		if err := a.finish(a.batch, p); err != nil {
			return err
		}
	}
	if err := a.makeRoom(a.batch); err != nil {
		return err
	}
	if a.heads.full() {
		if err := a.finishAll(a.batch); err != nil {
			return err
		}
	}
	if !a.batch.Empty() {
		if err := a.batch.Commit(pebble.NoSync); err != nil {
			return fmt.Errorf("commit a batch: %w", err)
		}
	}
	a.backlog.committed()
	a.heads.committed()
	return nil
}

// proposal applies one log entry. An error means that the store is broken; refusals are in the results.
func (a *applier) proposal(p *partition, c *persistence.Committed) ([]error, error) {
	proposal, err := persistence.DecodeProposal(c.Data)
	if err != nil {
		return nil, err
	}
	if proposal.Claim {
		if err = a.claim(p, persistence.Epoch{Generation: proposal.Generation, Term: c.Term}); err != nil {
			return nil, err
		}
	}
	var results []error
	for j, change := range proposal.Changes {
		refusal, err := a.change(p, change)
		if err != nil {
			return nil, err
		}
		if refusal != nil {
			if results == nil {
				results = make([]error, len(proposal.Changes))
			}
			results[j] = refusal
		}
	}
	return results, nil
}

// conf stores who the partition's replicas are.
func (a *applier) conf(p *partition, c *persistence.Committed) error {
	if len(c.Data) > 0 || len(c.Conf) > persistence.MaxConfBytes {
		return fmt.Errorf("a configuration of %d bytes beside %d of data", len(c.Conf), len(c.Data))
	}
	if err := a.goDirect(p); err != nil {
		return err
	}
	a.key = appendOwn(a.key[:0], p.number, partConf)
	if err := a.batch.Set(a.key, c.Conf, nil); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// claim makes epoch the partition's, if it is newer, and drops what older owners staged.
func (a *applier) claim(p *partition, epoch persistence.Epoch) error {
	if epoch.Compare(p.epoch) <= 0 {
		return nil
	}
	if err := a.goDirect(p); err != nil {
		return err
	}
	p.epoch = epoch
	a.key = appendOwn(a.key[:0], p.number, partEpoch)
	if err := a.batch.Set(a.key, appendUvarints(nil, uint64(epoch.Generation), epoch.Term), nil); err != nil {
		return fmt.Errorf("write the epoch: %w", err)
	}
	for key := range p.staged {
		if err := a.dropStaged(p, key, true); err != nil {
			return err
		}
	}
	return nil
}

// change applies one change whole, or refuses it whole. Everything is checked before anything is written.
func (a *applier) change(p *partition, c *persistence.Change) (refusal, err error) {
	if refusal = c.Validate(); refusal != nil {
		return refusal, nil
	}
	if c.Epoch != p.epoch {
		return fmt.Errorf("%w: %s at epoch %s, partition %d is at %s", persistence.ErrFenced, c.Key, c.Epoch, p.number, p.epoch), nil
	}
	switch {
	case c.EraseSpace != "":
		return nil, a.eraseSpace(p, c.EraseSpace)
	case c.IsCanary():
		return nil, nil
	case (c.Record != nil) != (p.number == persistence.MetaPartition):
		return fmt.Errorf("%w: records, and nothing else, are in the meta partition", persistence.ErrBadChange), nil
	case c.Record != nil:
		if err = a.goDirect(p); err != nil {
			return nil, err
		}
		return nil, a.setOrDelete(append(appendOwn(a.key[:0], p.number, partRecord), c.Record.Name...), c.Record.Value)
	}
	a.key = appendHead(a.key[:0], p.number, c.Key)
	a.journal = appendJournal(a.journal[:0], p.number, c.Key)
	h, err := a.heads.get(a.key, a.journal)
	if err != nil {
		return nil, err
	}
	next := h.head
	if refusal = checkEntries(&next, c); refusal != nil {
		return refusal, nil
	}
	parts, refusal, err := a.checkParts(p, c, &next)
	if refusal != nil || err != nil {
		return refusal, err
	}
	if err = a.writeEntries(p, h, c); err != nil {
		return nil, err
	}
	if err = a.writeMarks(p, c); err != nil {
		return nil, err
	}
	if err = a.writeParts(p, c, &next, parts); err != nil {
		return nil, err
	}
	if next != h.head {
		a.setHead(p, h, &next)
	}
	return nil, nil
}

// checkEntries counts c's entries in h, or refuses them.
func checkEntries(h *head, c *persistence.Change) error {
	if len(c.Entries) == 0 {
		return nil
	}
	switch first := c.Entries[0].Seq; {
	case first <= h.last:
		return fmt.Errorf("%w: %s has %d entries, this is %d", persistence.ErrDuplicate, c.Key, h.last, first)
	case first > h.last+1:
		return fmt.Errorf("%w: %s has %d entries, this is %d", persistence.ErrGap, c.Key, h.last, first)
	}
	var size int64
	for i := range c.Entries {
		size += int64(len(c.Entries[i].Data))
	}
	h.append(len(c.Entries), size)
	return nil
}

// writeMarks sets and deletes c's marks.
func (a *applier) writeMarks(p *partition, c *persistence.Change) error {
	for _, m := range c.Marks {
		a.key = append(appendMarks(a.key[:0], p.number, c.Key.Space, m.Name), byte(c.Key.Kind))
		if err := a.setOrDelete(append(a.key, c.Key.ID...), m.Value); err != nil {
			return err
		}
	}
	return nil
}

// writeEntries writes c's entries under the prefix a.journal, or lets them wait when c has nothing else.
func (a *applier) writeEntries(p *partition, h *cachedHead, c *persistence.Change) error {
	if len(c.Marks) > 0 || c.Piece != nil || c.Snapshot != nil {
		if err := a.goDirect(p); err != nil {
			return err
		}
	}
	if !p.direct {
		a.delay(p, h, c)
		return nil
	}
	for i := range c.Entries {
		if err := setEntry(a.batch, a.journal, uint64(c.Entries[i].Seq), c.Entries[i].Data); err != nil {
			return err
		}
	}
	return nil
}

// setHead changes a head that heads.get returned.
func (a *applier) setHead(p *partition, h *cachedHead, to *head) {
	if a.heads.set(h, to); h.dirty {
		a.beLate(p, h)
	}
}

// setOrDelete sets key to value, or deletes it when value is nil. key becomes the scratch.
func (a *applier) setOrDelete(key, value []byte) error {
	a.key = key
	var err error
	if value == nil {
		err = a.batch.Delete(key, nil)
	} else {
		err = a.batch.Set(key, value, nil)
	}
	if err != nil {
		return fmt.Errorf("write a mark or record: %w", err)
	}
	return nil
}

// eraseSpace removes a space from p: one range, and what is staged for it.
func (a *applier) eraseSpace(p *partition, space string) error {
	p.direct = true
	if err := a.settleInto(a.batch, p); err != nil { // before the range delete, which covers it
		return err
	}
	prefix := appendSpace(nil, p.number, space)
	a.heads.erase(prefix)
	if err := a.batch.DeleteRange(prefix, after(prefix), nil); err != nil {
		return fmt.Errorf("erase space %s of partition %d: %w", space, p.number, err)
	}
	ofSpace := append(append(appendOwn(nil, p.number, partStaged), space...), 0)
	for key := range p.staged {
		if strings.HasPrefix(key, string(ofSpace)) {
			if err := a.dropStaged(p, key, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// partition returns what is known of p, reading it the first time.
func (a *applier) partition(number persistence.Partition) (*partition, error) {
	if p, ok := a.partitions[number]; ok {
		return p, nil
	}
	if err := a.store.checkPartition(number); err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	p := &partition{number: number}
	var err error
	if p.applied, p.term, err = readApplied(a.store.db, number); err != nil {
		return nil, err
	}
	if p.epoch, err = readEpoch(a.store.db, number); err != nil {
		return nil, err
	}
	if p.staged, err = readStaged(a.store.db, number); err != nil {
		return nil, err
	}
	a.partitions[number] = p
	return p, nil
}

// forget forgets what is known of p: its whole range was replaced, after its backlog was settled.
func (a *applier) forget(p persistence.Partition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.partitions, p)
	a.heads.forget(appendPartition(nil, p))
}

func encodeApplied(index, term uint64) []byte { return appendUvarints(nil, index, term) }

func decodeApplied(value []byte) (index, term uint64, err error) {
	r := fields{left: value}
	index, term = r.uvarint(), r.uvarint()
	if r.bad || len(r.left) > 0 {
		return 0, 0, fmt.Errorf("%w: the applied index %x", persistence.ErrCorrupt, value)
	}
	return index, term, nil
}

func readApplied(r pebble.Reader, p persistence.Partition) (index, term uint64, err error) {
	value, err := readOwn(r, p, partApplied)
	if value == nil || err != nil {
		return 0, 0, err
	}
	return decodeApplied(value)
}

func readEpoch(r pebble.Reader, p persistence.Partition) (persistence.Epoch, error) {
	value, err := readOwn(r, p, partEpoch)
	if value == nil || err != nil {
		return persistence.Epoch{}, err
	}
	f := fields{left: value}
	epoch := persistence.Epoch{Generation: uint32(f.uvarint()), Term: f.uvarint()} //nolint:gosec // was a uint32
	if f.bad || len(f.left) > 0 {
		return persistence.Epoch{}, fmt.Errorf("%w: the epoch of partition %d: %x", persistence.ErrCorrupt, p, value)
	}
	return epoch, nil
}

// readOwn returns one of p's own records, nil when there is none.
func readOwn(r pebble.Reader, p persistence.Partition, what byte) ([]byte, error) {
	value, err := get(r, appendOwn(nil, p, what))
	if err != nil {
		return nil, fmt.Errorf("read record %q of partition %d: %w", what, p, err)
	}
	return value, nil
}

// get returns a copy of the value at key, nil when Pebble says that there is none. No stored value is empty but a mark's
// and a record's; an empty one is returned as not nil.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	stored, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, readError(err)
	}
	value := slices.Grow([]byte{}, len(stored))
	return append(value, stored...), closer.Close()
}

func appendUvarints(b []byte, values ...uint64) []byte {
	for _, v := range values {
		b = binary.AppendUvarint(b, v)
	}
	return b
}
