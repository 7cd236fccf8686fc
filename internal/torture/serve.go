package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
)

// maxLoads bounds the loads of one connection that are under way.
const maxLoads = 4

// serve answers the driver's connections until ctx ends, and waits for them.
func (v *voter) serve(ctx context.Context, listener net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		running.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			v.serveConn(ctx, conn)
		})
	}
}

// session is one connection of the driver. Answers are gathered and written together.
type session struct {
	v     *voter
	out   *writer
	loads chan request // passed their barrier
}

func (v *voter) serveConn(ctx context.Context, conn net.Conn) {
	s := &session{v: v, out: newWriter(conn), loads: make(chan request, 1<<16)}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(s.out.run)
	for range maxLoads {
		running.Go(func() { s.load(ctx) })
	}
	reader := bufio.NewReaderSize(conn, 1<<16)
	for {
		body, err := readFrame(reader)
		if err != nil {
			break
		}
		q, err := decodeRequest(body)
		if err != nil {
			break
		}
		s.take(q)
	}
	cancel()
	s.out.close()
	_ = conn.Close()
	running.Wait()
}

// take begins what is asked; it never waits for the log.
func (s *session) take(q request) {
	switch q.op {
	case opAppend:
		s.append(q)
	case opRead:
		s.read(q)
	case opLocal:
		s.passed(q)
	case opStatus:
		s.status(q)
	case opMove:
		s.fail(q, s.v.host.HandOver(persistence.Partition(q.entity), persistence.NodeID(q.seq))) //nolint:gosec // a partition and a node
	default:
		s.answer(q, codeFailed, fmt.Appendf(nil, "no such op: %d", q.op))
	}
}

func (s *session) append(q request) {
	key := keyOf(q.entity)
	p := persistence.PartitionOf(key, s.v.opts.partitions)
	epoch, owned := s.v.owners.epoch(p)
	if !owned {
		s.answer(q, codeNotOwner, nil)
		return
	}
	data, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, q.entry)
	if err != nil {
		s.fail(q, err)
		return
	}
	change := &persistence.Change{Key: key, Epoch: epoch, Entries: []persistence.Entry{{Seq: q.seq, Data: data}}}
	if len(q.snapshot) > 0 {
		state, err := codec.AppendFrame(nil, codec.FormatEntity, codec.Plain, q.snapshot)
		if err != nil {
			s.fail(q, err)
			return
		}
		change.Snapshot = &persistence.Snapshot{Seq: q.seq, Data: state}
	}
	if err := s.v.host.Propose(p, change, func(err error) { s.fail(q, err) }); err != nil {
		s.fail(q, err)
	}
}

func (s *session) read(q request) {
	p := partitionOf(q.entity, s.v.opts.partitions)
	epoch, owned := s.v.owners.epoch(p)
	if !owned {
		s.answer(q, codeNotOwner, nil)
		return
	}
	err := s.v.host.Barrier(p, epoch, func(err error) {
		if err != nil {
			s.fail(q, err)
			return
		}
		s.passed(q)
	})
	if err != nil {
		s.fail(q, err)
	}
}

// passed hands a read to those who load, without waiting.
func (s *session) passed(q request) {
	select {
	case s.loads <- q:
	default:
		s.answer(q, codeBusy, nil)
	}
}

// load reads what is stored, until ctx ends.
func (s *session) load(ctx context.Context) {
	for {
		select {
		case q := <-s.loads:
			f, err := s.v.load(ctx, q.entity)
			if err != nil {
				s.fail(q, err)
				continue
			}
			s.answer(q, codeOK, f.encode(nil))
		case <-ctx.Done():
			return
		}
	}
}

func (v *voter) load(ctx context.Context, entity uint64) (found, error) {
	key := keyOf(entity)
	loaded, err := v.store.Load(ctx, persistence.PartitionOf(key, v.opts.partitions), key)
	if errors.Is(err, persistence.ErrAbsent) {
		return found{}, nil
	}
	if err != nil {
		return found{}, err
	}
	if loaded.Quarantined > 0 {
		return found{}, fmt.Errorf("%d values are in quarantine", loaded.Quarantined)
	}
	f := found{last: loaded.Head.Last, snapSeq: loaded.Snapshot.Seq}
	if f.snapSeq > 0 {
		if f.snapshot, err = payload(loaded.Snapshot.Data); err != nil {
			return found{}, err
		}
	}
	for _, e := range loaded.Entries {
		entry, err := payload(e.Data)
		if err != nil {
			return found{}, err
		}
		f.entries = append(f.entries, entry)
	}
	return f, nil
}

func payload(framed []byte) ([]byte, error) {
	frame, err := codec.OpenFrame(framed)
	if err != nil {
		return nil, err
	}
	return frame.Payload(nil)
}

func (s *session) status(q request) {
	var status []partitionStatus
	for _, p := range s.v.host.Status() {
		if p.Partition != persistence.MetaPartition {
			status = append(status, partitionStatus{owner: p.Owner, term: p.Epoch.Term, applied: p.Applied, last: p.Last})
		}
	}
	s.answer(q, codeOK, encodeStatus(status))
}

// fail says what an error of the log means for the one who asked; nil means that it was done.
func (s *session) fail(q request, err error) {
	switch {
	case err == nil:
		s.answer(q, codeOK, nil)
	case errors.Is(err, persistence.ErrNotOwner), errors.Is(err, persistence.ErrClosed):
		s.answer(q, codeNotOwner, nil)
	case errors.Is(err, persistence.ErrQueueFull):
		s.answer(q, codeBusy, nil)
	case errors.Is(err, persistence.ErrOutcomeUnknown):
		s.answer(q, codeUnknown, nil)
	case errors.Is(err, persistence.ErrDuplicate), errors.Is(err, persistence.ErrGap), errors.Is(err, persistence.ErrFenced),
		errors.Is(err, persistence.ErrOldSnapshot):
		s.answer(q, codeRefused, []byte(err.Error()))
	default:
		s.answer(q, codeFailed, []byte(err.Error()))
	}
}

func (s *session) answer(q request, c code, body []byte) {
	r := response{id: q.id, code: c, body: body}
	s.out.write(r.encode)
}

// writer writes frames to a connection, all that gathered at a time in one call. What waits is bounded by what the other
// side has asked and not been answered.
type writer struct {
	conn net.Conn
	mu   struct {
		sync.Mutex
		buf    []byte
		closed bool
	}
	wake chan struct{} // capacity 1: a token when there is something to write, or it was closed
}

func newWriter(conn net.Conn) *writer { return &writer{conn: conn, wake: make(chan struct{}, 1)} }

// write adds the frame that encode appends. It never waits.
func (w *writer) write(encode func([]byte) []byte) {
	w.raw(func(b []byte) []byte { return appendFramed(b, encode) })
}

// raw adds what add appends.
func (w *writer) raw(add func([]byte) []byte) {
	w.mu.Lock()
	if !w.mu.closed {
		w.mu.buf = add(w.mu.buf)
	}
	w.mu.Unlock()
	w.signal()
}

func (w *writer) close() {
	w.mu.Lock()
	w.mu.closed = true
	w.mu.Unlock()
	w.signal()
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes until it is closed or the connection breaks; then it closes the connection, so that the reading end hears of it.
func (w *writer) run() {
	defer w.conn.Close()
	var buf []byte
	for range w.wake {
		w.mu.Lock()
		buf, w.mu.buf = w.mu.buf, buf[:0]
		closed := w.mu.closed
		w.mu.Unlock()
		if closed {
			return
		}
		if len(buf) == 0 {
			continue
		}
		if _, err := w.conn.Write(buf); err != nil {
			w.close()
			return
		}
	}
}
