package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// maxStaged bounds the snapshots that are staged in one partition at a time.
const maxStaged = 256

// rangeTrim is the number of entries from which a trim is one range delete: range deletes slow down every read of
// memory that has many of them, so the usual short trim deletes its keys one by one.
const rangeTrim = 1024

// staged is what is there of a snapshot that no Snapshot has counted yet.
type staged struct {
	seq   persistence.Seq
	sizes []int // by index; 0 is missing
	base  int   // as in kept
}

// total is the size of the first count pieces, and false when one is missing.
func (s *staged) total(count int) (int, bool) {
	if len(s.sizes) != count || slices.Contains(s.sizes, 0) {
		return 0, false
	}
	total := 0
	for _, size := range s.sizes {
		total += size
	}
	return total, true
}

// plan is what checkParts found and writeParts does.
type plan struct {
	partHead   *cachedHead // of a part that is not the main one
	partNext   head
	staged     staged
	stage      bool // write the piece
	snapshot   bool // write the snapshot
	stagedKey  string
	hadStaged  bool
	clearFirst bool // what was staged before is of an older seq
}

// checkParts decides what c's piece and snapshot do, with main as the entity's head after c's entries. It writes nothing.
func (a *applier) checkParts(p *partition, c *persistence.Change, main *head) (do plan, refusal, err error) {
	if c.Piece == nil && c.Snapshot == nil {
		return plan{}, nil, nil
	}
	part := partOf(c)
	if c.Piece != nil && c.Snapshot != nil && (c.Piece.Part != part || c.Piece.Seq != c.Snapshot.Seq) {
		return plan{}, fmt.Errorf("%w: a piece and a snapshot of different parts or seqs", persistence.ErrBadChange), nil
	}
	newest := main.snapshots[0]
	if part != "" {
		a.key = append(appendPartHeads(a.key[:0], p.number, c.Key), part...)
		if do.partHead, err = a.heads.get(a.key, nil); err != nil {
			return plan{}, nil, err
		}
		do.partNext = do.partHead.head
		newest = do.partNext.snapshots[0]
	}
	do.stagedKey = string(appendStaged(a.key[:0], p.number, c.Key, part))
	do.staged, do.hadStaged = p.staged[do.stagedKey]
	if c.Piece != nil {
		if refusal = do.checkPiece(p, c, main.last, newest); refusal != nil {
			return plan{}, refusal, nil
		}
	}
	if c.Snapshot != nil {
		if refusal = do.checkSnapshot(c, main.last, newest); refusal != nil {
			return plan{}, refusal, nil
		}
	}
	return do, nil, nil
}

func partOf(c *persistence.Change) persistence.Part {
	if c.Snapshot != nil {
		return c.Snapshot.Part
	}
	return c.Piece.Part
}

func (do *plan) checkPiece(p *partition, c *persistence.Change, last persistence.Seq, newest kept) error {
	piece := c.Piece
	switch {
	case piece.Seq > last:
		return fmt.Errorf("%w: a piece at %d of %s, which has %d entries", persistence.ErrGap, piece.Seq, c.Key, last)
	case piece.Seq < newest.seq || do.hadStaged && piece.Seq < do.staged.seq:
		return fmt.Errorf("%w: a piece at %d of %s", persistence.ErrOldSnapshot, piece.Seq, c.Key)
	case !do.hadStaged && len(p.staged) >= maxStaged:
		return fmt.Errorf("%w: %d snapshots are staged in partition %d", persistence.ErrQueueFull, len(p.staged), p.number)
	}
	do.stage = true
	do.clearFirst = do.hadStaged && do.staged.seq < piece.Seq
	if do.clearFirst {
		do.staged = staged{}
	}
	do.staged.seq = piece.Seq
	if do.staged.base = 0; piece.Seq == newest.seq {
		do.staged.base = otherBase - newest.base // beside the copy that is there, until all of this one is
	}
	do.staged.sizes = slices.Clone(do.staged.sizes)
	for len(do.staged.sizes) <= piece.Index {
		do.staged.sizes = append(do.staged.sizes, 0)
	}
	do.staged.sizes[piece.Index] = len(piece.Data)
	return nil
}

func (do *plan) checkSnapshot(c *persistence.Change, last persistence.Seq, newest kept) error {
	s := c.Snapshot
	switch {
	case s.Seq > last:
		return fmt.Errorf("%w: a snapshot at %d of %s, which has %d entries", persistence.ErrGap, s.Seq, c.Key, last)
	case s.Seq < newest.seq:
		return fmt.Errorf("%w: at %d of %s, %d is stored", persistence.ErrOldSnapshot, s.Seq, c.Key, newest.seq)
	case s.Seq == newest.seq && s.Pieces > 0 && do.staged.seq != s.Seq && !newest.gone:
		return nil // asked again, after its pieces were counted
	}
	if s.Pieces > 0 {
		total, whole := do.staged.total(s.Pieces)
		if do.staged.seq != s.Seq || !whole {
			return fmt.Errorf("%w: at %d of %s, %d pieces are wanted", persistence.ErrIncomplete, s.Seq, c.Key, s.Pieces)
		}
		if total > persistence.MaxValueBytes {
			return fmt.Errorf("%w: the pieces of %s have %d bytes, at most %d", persistence.ErrBadChange, c.Key, total, persistence.MaxValueBytes)
		}
	}
	do.snapshot = true
	return nil
}

// writeParts does what checkParts decided.
func (a *applier) writeParts(p *partition, c *persistence.Change, main *head, do plan) error {
	if do.clearFirst {
		if err := a.dropStaged(p, do.stagedKey, true); err != nil {
			return err
		}
	}
	if do.stage {
		a.key = appendSnapshot(a.key[:0], p.number, c.Key, c.Piece.Part, c.Piece.Seq)
		a.key[len(a.key)-1] = byte(do.staged.base + c.Piece.Index)
		if err := a.batch.Set(a.key, c.Piece.Data, nil); err != nil {
			return fmt.Errorf("write a piece: %w", err)
		}
		p.staged[do.stagedKey] = do.staged
		if err := a.batch.Set([]byte(do.stagedKey), encodeStaged(&do.staged), nil); err != nil {
			return fmt.Errorf("write what is staged: %w", err)
		}
	}
	if !do.snapshot {
		return nil
	}
	h := main
	if do.partHead != nil {
		h = &do.partNext
	}
	if err := a.writeSnapshot(p, c, h, do.stagedKey); err != nil {
		return err
	}
	if do.partHead != nil {
		a.setHead(p, do.partHead, h)
		return nil
	}
	to := h.snapshots[1].seq
	if c.Key.Kind == persistence.KindWorld { // its entries may be of parts that have no snapshot yet
		to = min(to, c.TrimTo)
	}
	return a.trim(p, c.Key, h, to)
}

// writeSnapshot stores c's snapshot in h, dropping the third newest and what is staged for nothing. One at the seq of the
// newest is written again: that is one state, but the copy that is there may be damaged on this disk, and whoever is told
// that it is stored lets the older one go with the next.
func (a *applier) writeSnapshot(p *partition, c *persistence.Change, h *head, stagedKey string) error {
	s := c.Snapshot
	next := kept{seq: s.Seq, epoch: c.Epoch, savedMs: s.SavedAt.UnixMilli(), pieces: s.Pieces, gone: s.Gone}
	if old, ok := p.staged[stagedKey]; ok && old.seq <= s.Seq {
		inUse := s.Pieces > 0 && old.seq == s.Seq
		if inUse {
			next.base = old.base
		}
		if err := a.dropStaged(p, stagedKey, !inUse); err != nil {
			return err
		}
	}
	dropped, drops := h.push(next)
	if drops {
		if err := a.dropSnapshot(p, c, &dropped); err != nil {
			return err
		}
	}
	if s.Gone { // also the older one goes: nobody may step around to it
		if h.count == 2 {
			if err := a.dropSnapshot(p, c, &h.snapshots[1]); err != nil {
				return err
			}
		}
		h.snapshots[1], h.count = kept{}, 1
		return nil
	}
	if s.Pieces > 0 {
		return nil
	}
	a.key = appendSnapshot(a.key[:0], p.number, c.Key, s.Part, s.Seq)
	if err := a.batch.Set(a.key, s.Data, nil); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	return nil
}

// dropSnapshot deletes what is stored of a snapshot of c's part.
func (a *applier) dropSnapshot(p *partition, c *persistence.Change, k *kept) error {
	a.key = appendSnapshot(a.key[:0], p.number, c.Key, c.Snapshot.Part, k.seq)
	return a.deletePieces(a.key, k.base, k.values())
}

// trim deletes the entries up to one that is not above the seq of the older of two snapshots.
func (a *applier) trim(p *partition, k persistence.Key, h *head, to persistence.Seq) error {
	if h.count < 2 || to <= h.trimmed {
		return nil
	}
	a.key = appendJournal(a.key[:0], p.number, k)
	prefix := len(a.key)
	from := binary.BigEndian.AppendUint64(a.key, uint64(h.trimmed+1))
	if to-h.trimmed > rangeTrim {
		upTo := binary.BigEndian.AppendUint64(slices.Clone(a.key[:prefix]), uint64(to+1))
		if err := a.batch.DeleteRange(from, upTo, nil); err != nil {
			return fmt.Errorf("trim: %w", err)
		}
	} else {
		for seq := h.trimmed + 1; seq <= to; seq++ {
			binary.BigEndian.PutUint64(from[prefix:], uint64(seq))
			if err := a.batch.Delete(from, nil); err != nil {
				return fmt.Errorf("trim: %w", err)
			}
		}
	}
	a.key = from
	if to == h.snapshots[1].seq {
		h.trimmed, h.tailBytes = to, h.snapshots[1].afterBytes
		return nil
	}
	h.tailBytes = h.tailBytes * int64(h.last-to) / int64(h.last-h.trimmed) //nolint:gosec // numbers of entries
	h.trimmed = to
	return nil
}

// dropStaged forgets what is staged under this key, and deletes the pieces too when nothing uses them.
func (a *applier) dropStaged(p *partition, stagedKey string, pieces bool) error {
	s := p.staged[stagedKey]
	delete(p.staged, stagedKey)
	if err := a.batch.Delete([]byte(stagedKey), nil); err != nil {
		return fmt.Errorf("drop what is staged: %w", err)
	}
	if !pieces {
		return nil
	}
	k, part, err := parseStaged([]byte(stagedKey))
	if err != nil {
		return err
	}
	return a.deletePieces(appendSnapshot(nil, p.number, k, part, s.seq), s.base, len(s.sizes))
}

// deletePieces deletes count pieces, from base, of the snapshot with this key; key is overwritten.
func (a *applier) deletePieces(key []byte, base, count int) error {
	for i := range count {
		key[len(key)-1] = byte(base + i)
		if err := a.batch.Delete(key, nil); err != nil {
			return fmt.Errorf("delete a snapshot: %w", err)
		}
	}
	return nil
}

func encodeStaged(s *staged) []byte {
	b := appendUvarints(nil, uint64(s.seq), uint64(len(s.sizes)+s.base)) //nolint:gosec // at most MaxPieces and otherBase
	for _, size := range s.sizes {
		b = binary.AppendUvarint(b, uint64(size)) //nolint:gosec // at most MaxPieceBytes
	}
	return b
}

// readStaged returns what is staged in p.
func readStaged(r pebble.Reader, p persistence.Partition) (map[string]staged, error) {
	prefix := appendOwn(nil, p, partStaged)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, fmt.Errorf("read what is staged in partition %d: %w", p, readError(err))
	}
	all := map[string]staged{}
	for it.First(); it.Valid() && err == nil; it.Next() {
		f := fields{left: it.Value()}
		s := staged{seq: persistence.Seq(f.uvarint())}
		sizes := f.uvarint()
		s.base = int(sizes & otherBase) //nolint:gosec // 0 or otherBase
		for range min(sizes&^otherBase, persistence.MaxPieces) {
			s.sizes = append(s.sizes, int(f.uvarint())) //nolint:gosec // was at most MaxPieceBytes
		}
		if f.bad || len(f.left) > 0 {
			err = fmt.Errorf("%w: the record at %q", persistence.ErrCorrupt, it.Key())
		}
		all[string(it.Key())] = s
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return nil, fmt.Errorf("read what is staged in partition %d: %w", p, readError(err))
	}
	return all, nil
}

// parseStaged returns the entity and part of a staged record.
func parseStaged(key []byte) (persistence.Key, persistence.Part, error) {
	// [partition] 0 's' space 0 kind id 0 part
	b := key[4:]
	space := slices.Index(b, 0)
	if space < 0 || len(b) < space+2 {
		return persistence.Key{}, "", fmt.Errorf("%w: unknown key %q", persistence.ErrCorrupt, key)
	}
	k := persistence.Key{Space: string(b[:space]), Kind: persistence.Kind(b[space+1])}
	b = b[space+2:]
	id := slices.Index(b, 0)
	if id < 0 {
		return persistence.Key{}, "", fmt.Errorf("%w: unknown key %q", persistence.ErrCorrupt, key)
	}
	k.ID = string(b[:id])
	return k, persistence.Part(b[id+1:]), nil
}
