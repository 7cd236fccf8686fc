package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/skerry-dev/skerry/persistence"
)

var _ persistence.Copier = (*Store)(nil)

// copySizes are the same in every store but those of tests. Immutable after Open.
type copySizes struct {
	frameBytes, tableBytes int
	tables                 sstable.WriterOptions
}

// copyFrameBytes is about the size of a frame; one with a greater value has that value alone.
const copyFrameBytes = 1 << 20

// loggedDamages bounds how many damaged values one copy names in the log.
const loggedDamages = 10

// checkPartition returns an error when the store has no partition p.
func (s *Store) checkPartition(p persistence.Partition) error {
	if int(p) >= s.info.partitions && p != persistence.MetaPartition {
		return fmt.Errorf("partition %d: the store has %d", p, s.info.partitions)
	}
	return nil
}

func (s *Store) subject(p persistence.Partition) copySubject {
	return copySubject{partition: p, partitions: s.info.partitions, format: storeFormat}
}

// CopyOut implements [persistence.Copier].
func (s *Store) CopyOut(ctx context.Context, p persistence.Partition, send func(frame []byte) error) (uint64, error) {
	if err := s.enterContext(ctx); err != nil {
		return 0, fmt.Errorf("copy partition %d: %w", p, err)
	}
	defer s.leave()
	if err := s.checkPartition(p); err != nil {
		return 0, fmt.Errorf("copy: %w", err)
	}
	view, err := s.view(p)
	defer func() { _ = view.Close() }() // it only forgets the view
	if err != nil {
		return 0, fmt.Errorf("copy partition %d: %w", p, err)
	}
	c := copyOut{store: s, view: view, of: s.subject(p), send: send}
	if err := c.run(ctx); err != nil {
		return 0, fmt.Errorf("copy partition %d: %w", p, err)
	}
	return c.of.index, nil
}

// copyOut is one CopyOut.
type copyOut struct {
	store   *Store
	view    pebble.Reader
	of      copySubject
	send    func(frame []byte) error
	frames  copyWriting
	staged  map[string]staged
	damaged uint64

	// The snapshot whose pieces are passing, if any.
	snapshot []byte // its key without the piece's index
	high     bool   // its pieces are from otherBase
	whole    bool   // all its pieces have to be there
	data     []byte // at most MaxValueBytes and a piece
}

func (c *copyOut) run(ctx context.Context) error {
	var err error
	if c.of.index, c.of.term, err = readApplied(c.view, c.of.partition); err != nil {
		return err
	}
	if _, err = readEpoch(c.view, c.of.partition); err != nil { // only so that a damaged one goes no further
		return err
	}
	if c.staged, err = readStaged(c.view, c.of.partition); err != nil {
		return err
	}
	if err = c.send(c.frames.first(c.of)); err != nil {
		return err
	}
	lower, upper := partitionRange(c.of.partition)
	for lower != nil {
		c.frames.begin(copyValues)
		if lower, err = c.fill(ctx, lower, upper); err != nil {
			return err
		}
		if err = c.send(c.frames.seal()); err != nil {
			return err
		}
	}
	c.endSnapshot(ctx)
	if c.damaged > 0 {
		c.store.opts.Logger.LogAttrs(ctx, slog.LevelError, "copied a partition with damaged values",
			slog.Int("partition", int(c.of.partition)), slog.Uint64("values", c.damaged))
	}
	return c.send(c.frames.last(c.damaged))
}

// fill puts into the frame what fits of [lower, upper), and returns the first key that did not, nil when all did. No
// iterator stays open while the frame is sent.
func (c *copyOut) fill(ctx context.Context, lower, upper []byte) (next []byte, err error) {
	if err = ctx.Err(); err != nil {
		return nil, err
	}
	empty := true
	err = scan(ctx, c.view, lower, upper, func(key, value []byte) (bool, error) {
		if !empty && len(c.frames.frame)+len(key)+len(value) > c.store.copies.frameBytes {
			next = bytes.Clone(key)
			return false, nil
		}
		if len(value) > persistence.MaxValueBytes {
			return false, fmt.Errorf("%w: %q has %d bytes", persistence.ErrCorrupt, key, len(value))
		}
		empty = false
		c.frames.add(key, value)
		return true, c.look(ctx, key, value)
	})
	return next, err
}

// look judges a value. Only a head that does not verify is an error: Apply needs it, and would stop the replica that
// gets it. Entries and snapshots carry their own checksum: they are as detectable there as here.
func (c *copyOut) look(ctx context.Context, key, value []byte) error {
	if key[2] == 0 {
		return nil
	}
	switch tableOf(key) {
	case tableHeads, tablePartHeads:
		if _, err := decodeHead(value); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	case tableJournal:
		c.judge(ctx, key, verify(value))
	case tableSnapshots:
		c.piece(ctx, key, value)
	}
	return nil
}

// piece adds a piece to the snapshot that is passing; the piece of another one ends it.
func (c *copyOut) piece(ctx context.Context, key, value []byte) {
	at, err := parsePlace(key)
	if err != nil {
		c.judge(ctx, key, err)
		return
	}
	if high := at.index >= otherBase; high != c.high || !bytes.Equal(c.snapshot, key[:len(key)-1]) {
		c.endSnapshot(ctx)
		c.snapshot, c.high, c.data = append(c.snapshot[:0], key[:len(key)-1]...), high, c.data[:0]
		s, isStaged := c.staged[string(appendStaged(nil, at.partition, at.key, at.part))]
		c.whole = !isStaged || s.seq != at.seq || (s.base == otherBase) != high
	}
	if len(c.data) <= persistence.MaxValueBytes {
		c.data = append(c.data, value...)
	}
}

func (c *copyOut) endSnapshot(ctx context.Context) {
	if len(c.snapshot) > 0 && c.whole {
		c.judge(ctx, c.snapshot, verify(c.data))
	}
	c.snapshot = c.snapshot[:0]
}

// judge counts what err says is corrupt.
func (c *copyOut) judge(ctx context.Context, key []byte, err error) {
	if !errors.Is(err, persistence.ErrCorrupt) {
		return
	}
	if c.damaged++; c.damaged <= loggedDamages {
		c.store.opts.Logger.LogAttrs(ctx, slog.LevelError, "a damaged value is copied as it is",
			slog.String("key", fmt.Sprintf("%q", key)), slog.Any("err", err))
	}
}
