package pebblestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
)

// copiesDir is the directory in the store's own where copies wait for their Commit, each in one of its own.
const copiesDir = "copies"

// copyTableBytes is where a table of a copy ends and the next begins, counted uncompressed.
const copyTableBytes = 64 << 20

// copySyncBytes is how much of a table is written before the disk is asked to begin: one great fsync at the end would
// hold up those of the log.
const copySyncBytes = 512 << 10

// errCopyDone says that a copy was committed or aborted.
var errCopyDone = errors.New("the partition copy was ended")

// copyIn implements [persistence.CopyWriter].
type copyIn struct {
	store  *Store
	dir    string
	frames copyReading
	tables []string        // written whole and synced
	table  *sstable.Writer // nil, or the last of tables
	bytes  int             // in table
	err    error           // the first error, or errCopyDone
}

// CopyIn implements [persistence.Copier].
func (s *Store) CopyIn(p persistence.Partition) (persistence.CopyWriter, error) {
	if err := s.enter(); err != nil {
		return nil, fmt.Errorf("take a copy of partition %d: %w", p, err)
	}
	defer s.leave()
	err := s.checkPartition(p)
	if err == nil && s.opts.ReadOnly {
		err = pebble.ErrReadOnly
	}
	if err == nil {
		err = s.failure()
	}
	c := &copyIn{store: s, dir: s.opts.FS.PathJoin(s.opts.Dir, copiesDir, rand.Text()), frames: copyReading{of: s.subject(p)}}
	if err == nil {
		err = s.opts.FS.MkdirAll(c.dir, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("take a copy of partition %d: %w", p, err)
	}
	return c, nil
}

// removeCopies removes what copies a crash left behind.
func removeCopies(o Options) error {
	if err := o.FS.RemoveAll(o.FS.PathJoin(o.Dir, copiesDir)); err != nil {
		return fmt.Errorf("remove unfinished partition copies: %w", err)
	}
	return nil
}

// Write implements [persistence.CopyWriter].
func (c *copyIn) Write(frame []byte) error {
	if err := c.store.enter(); err != nil {
		return err
	}
	defer c.store.leave()
	if c.err != nil {
		return c.err
	}
	c.err = c.frames.read(frame, c.add)
	if c.err == nil && c.frames.ended {
		c.err = c.endTable()
	}
	if c.err != nil {
		c.err = fmt.Errorf("take a copy of partition %d: %w", c.frames.of.partition, c.err)
	}
	return c.err
}

func (c *copyIn) add(key, value []byte) error {
	if c.table == nil {
		if err := c.beginTable(); err != nil {
			return err
		}
	}
	if err := c.table.Set(key, value); err != nil {
		return fmt.Errorf("write a table: %w", err)
	}
	if c.bytes += len(key) + len(value); c.bytes >= c.store.copies.tableBytes {
		return c.endTable()
	}
	return nil
}

func (c *copyIn) beginTable() error {
	fs := c.store.opts.FS
	path := fs.PathJoin(c.dir, fmt.Sprintf("%06d.sst", len(c.tables)))
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("write a table: %w", err)
	}
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: copySyncBytes})
	c.table = sstable.NewWriter(objstorageprovider.NewFileWritable(file), c.store.copies.tables)
	c.tables, c.bytes = append(c.tables, path), 0
	return nil
}

// endTable writes the rest of the table and syncs it.
func (c *copyIn) endTable() error {
	if c.table == nil {
		return nil
	}
	table := c.table
	c.table = nil
	if err := table.Close(); err != nil {
		return fmt.Errorf("write a table: %w", err)
	}
	return nil
}

// Commit implements [persistence.CopyWriter].
func (c *copyIn) Commit() (index, term uint64, err error) {
	of := c.frames.of
	if err = c.store.enter(); err == nil {
		err = c.commit()
		c.store.leave()
	}
	if removeErr := c.Abort(); removeErr != nil { // what is there stays until the next Open, and harms nothing
		c.store.opts.Logger.LogAttrs(context.Background(), slog.LevelWarn, "files of a partition copy were not removed", slog.Any("err", removeErr))
	}
	if err != nil {
		return of.index, of.term, fmt.Errorf("commit a copy of partition %d: %w", of.partition, err)
	}
	return of.index, of.term, nil
}

func (c *copyIn) commit() error {
	s, of := c.store, c.frames.of
	switch applied, _, err := s.applied(of.partition); {
	case c.err != nil:
		return c.err
	case s.failure() != nil:
		return s.failure()
	case err != nil:
		return err
	case !c.frames.ended:
		return badCopy("the last frame is missing")
	case of.index <= applied:
		return fmt.Errorf("%w: it is of %d, %d is applied", persistence.ErrOldCopy, of.index, applied)
	}
	if err := s.replace(of.partition, c.tables, of.index); err != nil {
		return err
	}
	level := slog.LevelInfo
	if c.frames.damaged > 0 {
		level = slog.LevelError
	}
	s.opts.Logger.LogAttrs(context.Background(), level, "took a copy of a partition", slog.Int("partition", int(of.partition)),
		slog.Uint64("index", of.index), slog.Uint64("keys", c.frames.keys), slog.Uint64("damaged", c.frames.damaged))
	return nil
}

// Abort implements [persistence.CopyWriter].
func (c *copyIn) Abort() error {
	if errors.Is(c.err, errCopyDone) {
		return nil
	}
	c.err = errCopyDone
	err := c.endTable() // only so that the file is closed
	if removeErr := c.store.opts.FS.RemoveAll(c.dir); removeErr != nil {
		return fmt.Errorf("remove a partition copy: %w", removeErr)
	}
	_ = err // the file is gone
	return nil
}

// Drop implements [persistence.Copier].
func (s *Store) Drop(p persistence.Partition) error {
	if err := s.enter(); err != nil {
		return fmt.Errorf("drop partition %d: %w", p, err)
	}
	defer s.leave()
	err := s.checkPartition(p)
	if err == nil {
		err = s.failure()
	}
	if err == nil {
		err = s.replace(p, nil, 0)
	}
	if err != nil {
		return fmt.Errorf("drop partition %d: %w", p, err)
	}
	return nil
}

// replace puts tables, of which index was applied, in the place of everything of p, durably, or fails the store. The
// caller is the goroutine that calls Apply.
//
// It flushes first. Pebble would have to flush anyway what memory holds of p, since tables that are put below it would be
// older; but it would wait for that with its commits blocked, and for ever on a full disk. (That it may put them above
// instead, in memory, is switched off in openPebble: there is no log to find them again.)
func (s *Store) replace(p persistence.Partition, tables []string, index uint64) error {
	if err := s.flush(); err != nil {
		return err
	}
	lower, upper := partitionRange(p)
	_, err := s.db.IngestAndExcise(context.Background(), tables, nil, nil, pebble.KeyRange{Start: lower, End: upper})
	if err == nil {
		var durable uint64
		if durable, err = s.durable(p); err == nil && durable != index {
			err = fmt.Errorf("%d is durable after a copy of %d", durable, index)
		}
	}
	if err != nil {
		s.fail(fmt.Errorf("replace partition %d: %w", p, err))
		return s.failure()
	}
	s.apply.forget(p)
	return nil
}
