package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// maxPending bounds what is asked of one voter and not answered: what a frozen one would find when it wakes.
const maxPending = 8192

// The ways in which asking ends without an answer.
var (
	errNotSent = errors.New("not sent")        // the voter never heard of it
	errBroken  = errors.New("connection lost") // it may have
	errTooLong = errors.New("no answer in time")
)

// link is the driver's connection to one voter. It dials again by itself. Its methods are for any goroutine.
type link struct {
	address string
	mu      struct {
		sync.Mutex
		out     *writer // nil while there is no connection
		pending map[uint64]func(response, error)
		nextID  uint64
		since   time.Time // when something began to wait, or was answered last
	}
}

func newLink(address string) *link { return &link{address: address} }

// run keeps a connection until ctx ends.
func (l *link) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", l.address)
		if err != nil {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		l.hold(conn)
		stop()
	}
}

// hold uses conn until it breaks.
func (l *link) hold(conn net.Conn) {
	out := newWriter(conn)
	var writing sync.WaitGroup
	writing.Go(out.run)
	l.mu.Lock()
	l.mu.out, l.mu.pending = out, map[uint64]func(response, error){}
	l.mu.Unlock()
	reader := bufio.NewReaderSize(conn, 1<<16)
	for {
		body, err := readFrame(reader)
		if err != nil {
			break
		}
		r, err := decodeResponse(body)
		if err != nil {
			break
		}
		l.mu.Lock()
		done := l.mu.pending[r.id]
		delete(l.mu.pending, r.id)
		l.mu.since = time.Now()
		l.mu.Unlock()
		if done != nil {
			done(r, nil)
		}
	}
	l.mu.Lock()
	pending := l.mu.pending
	l.mu.out, l.mu.pending = nil, nil
	l.mu.Unlock()
	out.close()
	writing.Wait()
	for _, done := range pending {
		done(response{}, errBroken)
	}
}

// send asks q; done is called once, from another goroutine or before send returns, and must not block. An answer has no
// time-out: that of a frozen voter comes when it wakes.
func (l *link) send(q request, done func(response, error)) {
	l.mu.Lock()
	if l.mu.out == nil || len(l.mu.pending) >= maxPending {
		l.mu.Unlock()
		done(response{}, errNotSent)
		return
	}
	if len(l.mu.pending) == 0 {
		l.mu.since = time.Now()
	}
	l.mu.nextID++
	q.id = l.mu.nextID
	l.mu.pending[q.id] = done
	l.mu.out.write(q.encode)
	l.mu.Unlock()
}

// call asks q and waits for the answer until the time-out. late, when not nil, sees the answer whenever it comes.
func (l *link) call(ctx context.Context, q request, timeout time.Duration, late func(response)) (response, error) {
	answered := make(chan answer, 1)
	l.send(q, func(r response, err error) {
		if err == nil && late != nil {
			late(r)
		}
		answered <- answer{r, err}
	})
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case a := <-answered:
		return a.response, a.err
	case <-timer.C:
		return response{}, errTooLong
	case <-ctx.Done():
		return response{}, errTooLong
	}
}

// usable reports whether the voter can be asked: it is connected, and did not leave everybody without an answer for so long.
func (l *link) usable(silence time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.out != nil && (len(l.mu.pending) == 0 || time.Since(l.mu.since) < silence)
}

// waiting is how much was asked and not answered.
func (l *link) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.pending)
}
