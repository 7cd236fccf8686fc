// Package pebblestore keeps what was applied: it is the state machine and the storage of one node, on one Pebble whose own
// write-ahead log is off, because the partitions' log is one already.
//
// # Guarantees
//
//   - Deterministic: the same log gives the same bytes in a partition's range and the same refusals, however it is cut
//     into batches and however often the store is opened between them.
//   - Atomic: a batch is there whole or not at all, with the applied index of its partitions; after a crash the store
//     is a prefix of what was applied, and [Store.Applied] says which.
//   - Honest: a load ends in found, proven absent or failed. What does not verify is copied to quarantine.
//
// Start at [Open], [Store.Apply] and [Store.Load]. DESIGN.md draws every key.
package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
)

// The two that this package keeps the promises of.
var (
	_ persistence.StateMachine = (*Store)(nil)
	_ persistence.Storage      = (*Store)(nil)
)

// pebbleFormat is the newest format with virtual sstables that we know; a later Pebble does not raise it by itself.
const pebbleFormat = pebble.FormatValueSeparation

// DefaultPartitions is the number of partitions of a store that is made without one.
const DefaultPartitions = 32

// ErrLocked says that another process, or another store of this one, has the directory open.
var ErrLocked = errors.New("the data directory is in use")

// Options say where and how. The zero value of every field but Dir is right for production.
type Options struct {
	// FS is the file system; nil is the machine's.
	FS vfs.FS
	// Dir is the directory; it is made when missing.
	Dir string
	// Partitions is how many a new store gets, 1 to 4096, for ever; an existing store keeps its own. 0 means 32.
	Partitions int
	// CacheBytes is the size of the cache of blocks. More means fewer reads of cold entities. 0 means 128 MiB.
	CacheBytes int64
	// MemTableBytes is how much is gathered in memory before it is flushed. More means fewer bytes written for each change,
	// since a head that changes often is written once; and a longer log, thus a longer start. 0 means 16 MiB.
	MemTableBytes uint64
	// CachedHeads is how many heads Apply keeps in memory, about 250 bytes each. 0 means 65,536.
	CachedHeads int
	// ReadOnly opens an existing store to look at it: Apply, Flush and Load's quarantine fail.
	ReadOnly bool
	// Logger hears of flushes and troubles. nil discards.
	Logger *slog.Logger
	// OnFatal is called once, when the disk has failed in the background (an I/O error, no space left): nothing applied
	// since can be made durable and the process must stop. It is called from a goroutine of Pebble and must neither block
	// nor call the store.
	OnFatal func(error)
	// Now is the clock that quarantine notes; nil is time.Now. It never touches what is replicated.
	Now func() time.Time
}

func (o *Options) setDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Partitions == 0 {
		o.Partitions = DefaultPartitions
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 128 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 16 << 20
	}
	if o.CachedHeads == 0 {
		o.CachedHeads = 1 << 16
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// validate reports every problem at once.
func (o *Options) validate() error {
	var problems []error
	if o.Dir == "" {
		problems = append(problems, errors.New("no directory is given"))
	}
	if o.Partitions < 0 || o.Partitions > maxPartitions {
		problems = append(problems, fmt.Errorf("%d partitions: 1 to %d are possible", o.Partitions, maxPartitions))
	}
	if o.CacheBytes < 0 || o.CachedHeads < 0 {
		problems = append(problems, errors.New("the size of a cache is negative"))
	}
	return errors.Join(problems...)
}

// Store is a node's state on disk. The methods of [persistence.Storage] may be called from any goroutine, also during
// Apply; those of [persistence.StateMachine] from one at a time.
type Store struct {
	opts   Options // immutable after Open
	db     *pebble.DB
	info   info // immutable after Open
	copies copySizes
	apply  applier

	// open is held for reading by every call, and for writing by Close.
	open struct {
		sync.RWMutex
		closed bool
	}
	fatal struct {
		once   sync.Once
		err    error         // set before failed is closed
		failed chan struct{} // closed at the first fatal error
	}
	quarantineMu sync.Mutex // one quarantine at a time
	quarantined  atomic.Int64
	corruptions  atomic.Int64
}

// Open opens the store in o.Dir, or makes it. It returns [ErrLocked] when the directory is in use,
// [persistence.ErrNewer] when a newer Skerry made it, [persistence.ErrCorrupt] when it is something else.
func Open(o Options) (*Store, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{opts: o, copies: copySizes{frameBytes: copyFrameBytes, tableBytes: copyTableBytes}}
	s.fatal.failed = make(chan struct{})
	if o.ReadOnly {
		if _, err := o.FS.Stat(o.Dir); err != nil {
			return nil, fmt.Errorf("open store in %s: %w", o.Dir, err)
		}
	} else if err := o.FS.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("open store in %s: %w", o.Dir, err)
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w (%w): stop the other process, or give this one a directory of its own", o.Dir, ErrLocked, err)
	}
	defer func() { _ = lock.Close() }() // Pebble holds it from here on
	if err = s.openPebble(lock); err != nil {
		return nil, err
	}
	if s.info, err = openInfo(s.db, o); err != nil {
		return nil, errors.Join(fmt.Errorf("open store in %s: %w", o.Dir, err), s.db.Close())
	}
	if !o.ReadOnly {
		if err = removeCopies(o); err != nil {
			return nil, errors.Join(fmt.Errorf("open store in %s: %w", o.Dir, err), s.db.Close())
		}
	}
	s.apply.store, s.apply.heads, s.apply.partitions = s, newHeads(s.db, o.CachedHeads), map[persistence.Partition]*partition{}
	s.apply.backlog.keys.late = map[string]struct{}{}
	return s, nil
}

// l0Tables is how many layers of flushed tables gather before they are merged, three times Pebble's default: the journal's keys
// are spread over the whole range, so each merge rewrites a level, and merging was a quarter of a busy node's work. A
// read of one key asks the tables' filters, not the tables.
const l0Tables = 12

// lowestLevel is where a copy's tables are put.
const lowestLevel = 6

func (s *Store) openPebble(lock *pebble.Lock) error {
	desc, err := pebble.Peek(s.opts.Dir, s.opts.FS)
	if err != nil {
		return fmt.Errorf("open store in %s: %w", s.opts.Dir, err)
	}
	if desc.Exists && desc.FormatMajorVersion > pebbleFormat {
		return fmt.Errorf("open store in %s: %w: Pebble format %d", s.opts.Dir, persistence.ErrNewer, desc.FormatMajorVersion)
	}
	cache := pebble.NewCache(s.opts.CacheBytes)
	defer cache.Unref()
	po := &pebble.Options{
		Cache:                      cache,
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, 2 },
		DisableWAL:                 true,
		ErrorIfNotExists:           s.opts.ReadOnly,
		EventListener:              s.listener(),
		FormatMajorVersion:         pebbleFormat,
		L0CompactionThreshold:      l0Tables,
		L0StopWritesThreshold:      4 * l0Tables,
		FS:                         s.opts.FS,
		Lock:                       lock,
		Logger:                     pebbleLogger{s},
		MemTableSize:               s.opts.MemTableBytes,
		ReadOnly:                   s.opts.ReadOnly,
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // about 1 % of absent keys are looked for in a table in vain
	}
	// Tables that are put in below what memory holds wait for its flush. Pebble's other way is to put them above it, in
	// memory too, for its log to keep; there is none.
	po.Experimental.DisableIngestAsFlushable = func() bool { return true }
	// Snappy-like everywhere: what is large comes compressed already.
	po.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	if s.db, err = pebble.Open(s.opts.Dir, po); err != nil {
		return fmt.Errorf("open store in %s: %w", s.opts.Dir, readError(err))
	}
	po.EnsureDefaults()
	s.copies.tables = po.MakeWriterOptions(lowestLevel, s.db.TableFormat())
	return nil
}

// Partitions is how many partitions the store was made with.
func (s *Store) Partitions() int { return s.info.partitions }

// ID is a random name that the store got when it was made: a wiped disk comes back with another one.
func (s *Store) ID() string { return s.info.id }

// Flush makes everything applied so far durable. It returns at once when the disk has failed.
func (s *Store) Flush() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.flush()
}

func (s *Store) flush() error {
	if err := s.failure(); err != nil {
		return err
	}
	if err := s.settleAll(); err != nil {
		return err
	}
	done, err := s.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-s.fatal.failed:
		return s.failure()
	}
}

// Close flushes and closes. It waits for calls that are under way; later ones return [persistence.ErrClosed]. A second
// Close does nothing.
func (s *Store) Close() error {
	s.open.Lock()
	defer s.open.Unlock()
	if s.open.closed {
		return nil
	}
	s.open.closed = true
	var flushErr error
	if !s.opts.ReadOnly {
		flushErr = s.flush()
	}
	if err := errors.Join(flushErr, s.db.Close()); err != nil {
		return fmt.Errorf("close store in %s: %w", s.opts.Dir, err)
	}
	return nil
}

// enter begins a call; leave ends it.
func (s *Store) enter() error {
	s.open.RLock()
	if s.open.closed {
		s.open.RUnlock()
		return persistence.ErrClosed
	}
	return nil
}

func (s *Store) leave() { s.open.RUnlock() }

// enterContext is enter for a caller who may have given up.
func (s *Store) enterContext(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.enter()
}

// readError gives an error of Pebble our word when it says that stored bytes are corrupt.
func readError(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
	}
	return err
}
