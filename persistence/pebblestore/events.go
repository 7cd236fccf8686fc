package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// ErrFailed says that the disk has failed, or Apply met what must not be. Nothing more is applied; the process must stop.
var ErrFailed = errors.New("the store has failed")

// fail records the first fatal error and tells the owner of the process.
func (s *Store) fail(cause error) {
	s.fatal.once.Do(func() {
		s.fatal.err = fmt.Errorf("%w: %w", ErrFailed, cause)
		close(s.fatal.failed)
		if s.opts.OnFatal != nil {
			s.opts.OnFatal(s.fatal.err)
		}
	})
}

// failure is the first fatal error, nil while there is none.
func (s *Store) failure() error {
	select {
	case <-s.fatal.failed:
		return s.fatal.err
	default:
		return nil
	}
}

// emptyFlush is what FlushEnd is told of a flush that had nothing to write. Pebble does not export it.
const emptyFlush = "pebble: empty table"

// failUnlessMinor is told how a flush or compaction ended. One that fails is tried again for ever by Pebble; we stop
// instead, as for a failed fsync. But a block that a compaction cannot read stops nothing: the rest is fine, and loads of
// what is in it say so.
func (s *Store) failUnlessMinor(err error) {
	if err != nil && err.Error() != emptyFlush && !errors.Is(err, pebble.ErrCancelledCompaction) && !pebble.IsCorruptionError(err) {
		s.fail(err)
	}
}

// listener hears what Pebble does by itself.
func (s *Store) listener() *pebble.EventListener {
	log := s.opts.Logger
	ctx := context.Background() // Pebble's goroutines have no caller
	return &pebble.EventListener{
		// What fails besides flushes and compactions is statistics, which do without.
		BackgroundError: func(err error) {
			log.LogAttrs(ctx, slog.LevelError, "background work of pebble failed", slog.Any("err", err))
		},
		DataCorruption: func(found pebble.DataCorruptionInfo) {
			s.corruptions.Add(1)
			log.LogAttrs(ctx, slog.LevelError, "stored block is corrupt", slog.String("file", found.Path), slog.Any("err", found.Details))
		},
		FlushEnd: func(done pebble.FlushInfo) {
			log.LogAttrs(ctx, slog.LevelDebug, "flushed", slog.Duration("duration", done.TotalDuration),
				slog.Int("tables", len(done.Output)), slog.Any("err", done.Err))
			s.failUnlessMinor(done.Err)
		},
		CompactionEnd: func(done pebble.CompactionInfo) { s.failUnlessMinor(done.Err) },
		WriteStallBegin: func(stall pebble.WriteStallBeginInfo) {
			log.LogAttrs(ctx, slog.LevelWarn, "writes wait for flush or compaction", slog.String("reason", stall.Reason))
		},
		WriteStallEnd: func() { log.LogAttrs(ctx, slog.LevelInfo, "writes go on") },
	}
}

// pebbleLogger is where Pebble logs by itself.
type pebbleLogger struct{ store *Store }

// Infof drops Pebble's chatter; the listener says what matters.
func (pebbleLogger) Infof(string, ...any) {}

// Errorf logs.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.store.opts.Logger.LogAttrs(context.Background(), slog.LevelError, "pebble", slog.String("err", fmt.Sprintf(format, args...)))
}

// Fatalf tells the owner of the process and does not return: Pebble counts on that.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	l.store.fail(err)
	panic(err)
}

// Metrics are counts since Open, and sizes now.
type Metrics struct {
	// FlushedBytes went from memory to tables; CompactedBytes were written when tables were merged. There is no log.
	FlushedBytes, CompactedBytes uint64
	Flushes                      int64
	// TableBytes is the size of the tables, MemTableBytes what is not yet in any.
	TableBytes, MemTableBytes uint64
	Tables                    int64
	// ReadAmplification is how many places a read may have to look into.
	ReadAmplification int
	CacheHits         int64
	CacheMisses       int64
	// Quarantined counts the values put into quarantine, Corruptions the blocks that Pebble could not read.
	Quarantined, Corruptions int64
}

// Metrics returns the store's own numbers, or [persistence.ErrClosed].
func (s *Store) Metrics() (Metrics, error) {
	if err := s.enter(); err != nil {
		return Metrics{}, err
	}
	defer s.leave()
	m := s.db.Metrics()
	total := m.Total() // its flushed bytes count what a log would have had
	var flushed uint64
	for i := range m.Levels {
		flushed += m.Levels[i].TableBytesFlushed
	}
	return Metrics{
		FlushedBytes:      flushed,
		CompactedBytes:    total.TableBytesCompacted,
		Flushes:           m.Flush.Count,
		TableBytes:        uint64(total.TablesSize), //nolint:gosec // a size
		MemTableBytes:     m.MemTable.Size,
		Tables:            total.TablesCount,
		ReadAmplification: m.ReadAmp(),
		CacheHits:         m.BlockCache.Hits,
		CacheMisses:       m.BlockCache.Misses,
		Quarantined:       s.quarantined.Load(),
		Corruptions:       s.corruptions.Load(),
	}, nil
}

// Applied is the newest applied index of p with its term, flushed or not; zeros when nothing was applied.
func (s *Store) Applied(p persistence.Partition) (index, term uint64, err error) {
	if err = s.enter(); err != nil {
		return 0, 0, err
	}
	defer s.leave()
	return s.applied(p)
}

// Durable is the applied index of p that a crash leaves behind. The log may drop entries up to it, and no further.
func (s *Store) Durable(p persistence.Partition) (uint64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	return s.durable(p)
}

func (s *Store) durable(p persistence.Partition) (uint64, error) {
	key := appendOwn(nil, p, partApplied)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: key, UpperBound: after(key), OnlyReadGuaranteedDurable: true})
	if err != nil {
		return 0, fmt.Errorf("read the durable index of partition %d: %w", p, readError(err))
	}
	var index uint64
	if it.First() {
		index, _, err = decodeApplied(it.Value())
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return 0, fmt.Errorf("read the durable index of partition %d: %w", p, readError(err))
	}
	return index, nil
}

// Conf implements [persistence.StateMachine].
func (s *Store) Conf(p persistence.Partition) ([]byte, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	return readOwn(s.db, p, partConf)
}
