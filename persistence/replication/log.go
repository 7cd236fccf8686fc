package replication

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// segmentLog is the node's log, open for writing. Its methods belong to the host's loop, but for truncate and size.
type segmentLog struct {
	opts logOptions
	dir  *directory
	lock io.Closer

	groups []groupCheckpoint // by slot, as written; Truncated is in mu
	file   vfs.File          // of active
	active segment
	id     segmentID
	offset int64
	number uint64 // of the next record
	count  uint32 // number of the active segment
	buf    []byte
	err    error // the first failure; nothing is written after it
	syncs  int   // for Faults

	mu struct {
		sync.Mutex
		closed    []segment // oldest first
		free      []string  // files that wait to be used again; only begin takes one out, the first
		truncated []uint64  // by slot
		bytes     int64     // of the closed ones and the active one
	}
}

// logOptions are what the log needs to know.
type logOptions struct {
	FS           vfs.FS
	Dir          string
	SegmentBytes int64
	MaxBytes     int64
	Events       Events
	// Random makes the random half of segment ids.
	Random func() uint32
	Faults Faults
}

// openLog takes the directory, replays what is there into r, and begins a new segment: a torn tail stays behind in the
// old one and is never written over.
func openLog(opts logOptions, r *replay) (_ *segmentLog, err error) {
	dir, err := openDirectory(opts.FS, opts.Dir)
	if err != nil {
		return nil, err
	}
	l := &segmentLog{opts: opts, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.lock, err = dir.lock(); err != nil {
		return nil, err
	}
	live, free, err := dir.list()
	if err != nil {
		return nil, err
	}
	begun, err := r.readAll(dir, live)
	if err != nil {
		return nil, err
	}
	if err := r.check(opts.Dir); err != nil {
		return nil, err
	}
	for _, number := range free {
		l.count = max(l.count, number)
		name := fmt.Sprintf("%08x%s", number, freeSuffix)
		if slices.Contains(live, number) { // a release that a crash cut in the middle; released again it has this name
			if err := opts.FS.Remove(dir.join(name)); err != nil {
				return nil, fmt.Errorf("drop the half released segment %s: %w", name, err)
			}
			continue
		}
		l.mu.free = append(l.mu.free, name)
	}
	for _, number := range live {
		l.count = max(l.count, number)
	}
	unused := ""
	if begun == 0 {
		unused = r.unused()
	} else {
		unused = fmt.Sprintf("%08x%s", begun, liveSuffix)
	}
	if unused != "" {
		name, err := dir.release(unused)
		if err != nil {
			return nil, err
		}
		l.mu.free = append(l.mu.free, name)
	}
	l.adopt(r)
	return l, l.begin()
}

// adopt takes over what was replayed.
func (l *segmentLog) adopt(r *replay) {
	l.number = max(r.next, 1)
	l.mu.closed = r.segments
	l.mu.truncated = make([]uint64, len(r.groups))
	for i := range r.groups {
		l.groups = append(l.groups, r.groups[i].groupCheckpoint)
		l.mu.truncated[i] = r.groups[i].Truncated
	}
	for i := range l.mu.closed {
		l.mu.bytes += l.mu.closed[i].size
	}
}

// append writes the batches as one record. They are durable after [segmentLog.sync].
func (l *segmentLog) append(batches []groupBatch) error {
	if l.err != nil {
		return l.err
	}
	l.buf = appendBatch(beginRecord(l.buf), batches)
	if l.offset+int64(len(l.buf)) > l.active.size {
		if err := l.rotate(); err != nil {
			return err
		}
		l.buf = appendBatch(beginRecord(l.buf), batches) // the checkpoint was made in the same buffer
	}
	if err := l.write(); err != nil {
		return err
	}
	for i := range batches {
		b := &batches[i]
		g := &l.groups[b.slot]
		if b.Replica != nil {
			*g = groupCheckpoint{Partition: g.Partition, Replica: *b.Replica, Gone: b.Gone, Conf: &raftpb.ConfState{}}
			l.forget(b.slot, 0)
		}
		g.Copying = g.Copying || b.Copying
		if b.Restored != nil {
			g.Copying = false
			g.Last, g.LastTerm = b.Restored.Index, b.Restored.Term
			l.forget(b.slot, g.Last)
		}
		if b.Hard != nil {
			g.Hard = *b.Hard
		}
		if n := len(b.Entries); n > 0 {
			g.Last, g.LastTerm = b.Entries[n-1].GetIndex(), b.Entries[n-1].GetTerm()
			l.active.last[b.slot] = max(l.active.last[b.slot], g.Last)
		}
	}
	return nil
}

// forget says that nothing above index was written of a group: its log began anew there. Else the segments before would
// wait for a state that never comes.
func (l *segmentLog) forget(slot int, index uint64) {
	l.active.last[slot] = min(l.active.last[slot], index)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.mu.closed {
		l.mu.closed[i].last[slot] = min(l.mu.closed[i].last[slot], index)
	}
	if index == 0 {
		l.mu.truncated[slot] = 0
	}
}

// write seals the record in buf and writes it at the end.
func (l *segmentLog) write() error {
	sealRecord(l.buf, l.id, l.number)
	if _, err := l.file.WriteAt(l.buf, l.offset); err != nil {
		l.err = failed("write segment "+l.active.name, err)
		return l.err
	}
	l.offset += int64(len(l.buf))
	l.number++
	l.opts.Events.written(len(l.buf))
	if cap(l.buf) > maxKeptBuffer {
		l.buf = nil
	}
	return nil
}

// maxKeptBuffer bounds the memory that one great record leaves behind.
const maxKeptBuffer = 16 << 20

// sync makes everything written durable. After an error the disk's content is unknown and nothing is tried again.
func (l *segmentLog) sync() error {
	if l.err != nil {
		return l.err
	}
	if l.opts.Faults.SkipSync {
		return nil
	}
	start := time.Now()
	err := l.file.SyncData()
	if l.syncs++; l.opts.Faults.FailSyncAfter > 0 && l.syncs > l.opts.Faults.FailSyncAfter {
		err = syscall.EIO
	}
	if err != nil {
		l.err = failed("sync segment "+l.active.name, err)
		return l.err
	}
	l.opts.Events.synced(time.Since(start))
	return nil
}

// rotate closes the active segment, all of which is synced, and begins the next.
func (l *segmentLog) rotate() error {
	if err := l.file.Close(); err != nil {
		l.err = failed("close segment "+l.active.name, err)
		return l.err
	}
	l.file = nil
	closed := l.active
	grown := max(0, l.offset-closed.size) // by a record larger than a segment
	closed.size += grown
	if err := l.begin(); err != nil {
		return err
	}
	l.mu.Lock() // not before the next segment's checkpoint is synced: from here on truncate may drop the closed one
	l.mu.bytes += grown
	l.mu.closed = append(l.mu.closed, closed)
	l.mu.Unlock()
	return nil
}

// begin makes the next segment, with a synced checkpoint in it.
func (l *segmentLog) begin() error {
	l.mu.Lock()
	free := ""
	if len(l.mu.free) > 0 {
		free = l.mu.free[0] // it stays in the list while it has this name, so that prepare does not make another
	}
	for i := range l.groups {
		l.groups[i].Truncated = l.mu.truncated[i]
	}
	l.mu.Unlock()

	l.count++
	name := fmt.Sprintf("%08x%s", l.count, liveSuffix)
	file, err := l.dir.create(name, free, l.opts.SegmentBytes)
	if err != nil {
		l.err = failed("begin a segment", err)
		return l.err
	}
	l.file, l.offset = file, 0
	l.id = newSegmentID(l.count, l.opts.Random())
	l.active = segment{name: name, size: l.opts.SegmentBytes, last: make([]uint64, len(l.groups))}
	l.mu.Lock()
	if free != "" {
		l.mu.free = slices.Delete(l.mu.free, 0, 1)
	}
	l.mu.bytes += l.active.size
	l.mu.Unlock()

	l.buf, err = appendCheckpoint(beginRecord(l.buf), l.groups)
	if err != nil {
		l.err = failed("begin a segment", err)
		return l.err
	}
	if err := l.write(); err != nil {
		return err
	}
	return l.sync()
}

// size is the length of all live segments, and whether it is more than it should be.
func (l *segmentLog) size() (size int64, tooLarge bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.bytes, l.mu.bytes > l.opts.MaxBytes
}

// truncate drops the oldest segments as long as every entry in them is durable in the state machine: durable[slot] is
// how far it is. It may be called from one goroutine while another writes. It returns how many were dropped.
func (l *segmentLog) truncate(durable []uint64) (dropped int, err error) {
	for {
		l.mu.Lock()
		if len(l.mu.closed) == 0 || !l.opts.Faults.TruncateTooFar && !l.mu.closed[0].droppable(durable) {
			l.mu.Unlock()
			return dropped, nil
		}
		oldest := l.mu.closed[0]
		keep := oldest.size == l.opts.SegmentBytes && int64(len(l.mu.free)+2)*l.opts.SegmentBytes <= l.opts.MaxBytes
		l.mu.Unlock()

		name, err := l.dir.release(oldest.name)
		if err == nil && !keep {
			err = l.opts.FS.Remove(l.dir.join(name))
		}
		if err != nil {
			return dropped, failed("drop segment "+oldest.name, err)
		}

		l.mu.Lock()
		l.mu.closed = l.mu.closed[1:]
		l.mu.bytes -= oldest.size
		if keep {
			l.mu.free = append(l.mu.free, name)
		}
		for slot, last := range oldest.last { // not what is durable: that may be of a replica that is about to go
			l.mu.truncated[slot] = max(l.mu.truncated[slot], last)
		}
		l.mu.Unlock()
		dropped++
	}
}

// prepare sees to a file for the next segment, so that beginning it is only a rename. It may be called from one goroutine,
// the one that truncates, while another writes.
func (l *segmentLog) prepare() error {
	l.mu.Lock()
	needed := len(l.mu.free) == 0
	l.mu.Unlock()
	if !needed {
		return nil
	}
	name, err := l.dir.prepare(l.opts.SegmentBytes)
	if err != nil {
		return failed("prepare a segment", err)
	}
	l.mu.Lock()
	l.mu.free = append(l.mu.free, name)
	l.mu.Unlock()
	return nil
}

// droppable reports whether every entry of the segment is durable in the state machine.
func (s *segment) droppable(durable []uint64) bool {
	for slot, last := range s.last {
		if last > durable[slot] {
			return false
		}
	}
	return true
}

// close gives the files and the lock back. It writes nothing.
func (l *segmentLog) close() error {
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(append(errs, l.dir.file.Close())...)
}
