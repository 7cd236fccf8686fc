package peers

import (
	"context"
	"sync/atomic"
	"time"
)

// window keeps inflight operations going through one pipelined connection. send starts operation id, from the goroutine
// that calls drive; done is called with the id, by any one goroutine at a time, when it was answered.
type window struct {
	slots   chan uint64 // free operation ids, as many as are in flight at most
	started []time.Time // by id; owned by whoever holds the id
	count   atomic.Int64
	sum     Window
}

func newWindow(inflight int) *window {
	w := &window{slots: make(chan uint64, inflight), started: make([]time.Time, inflight)}
	for id := range uint64(inflight) {
		w.slots <- id
	}
	w.sum.Latency = newHistogram()
	return w
}

// drive sends until the duration has passed, then waits for every answer. flush is called when no slot is free, and at the end.
func (w *window) drive(ctx context.Context, duration time.Duration, send func(id uint64) error, flush func() error) (Window, error) {
	begin := time.Now()
	for time.Since(begin) < duration && ctx.Err() == nil {
		var id uint64
		select {
		case id = <-w.slots:
		default:
			if err := flush(); err != nil {
				return Window{}, err
			}
			select {
			case id = <-w.slots:
			case <-ctx.Done():
				return Window{}, ctx.Err()
			case <-time.After(30 * time.Second):
				return Window{}, context.DeadlineExceeded
			}
		}
		w.started[id] = time.Now()
		if err := send(id); err != nil {
			return Window{}, err
		}
	}
	if err := flush(); err != nil {
		return Window{}, err
	}
	for range cap(w.slots) {
		select {
		case <-w.slots:
		case <-time.After(30 * time.Second):
			return Window{}, context.DeadlineExceeded
		}
	}
	w.sum.Operations, w.sum.Elapsed = w.count.Load(), time.Since(begin)
	return w.sum, ctx.Err()
}

// done notes the answer to operation id. Called by one goroutine at a time.
func (w *window) done(id uint64) {
	_ = w.sum.Latency.RecordValue(max(1, time.Since(w.started[id]).Microseconds())) // a minute is the most it records
	w.count.Add(1)
	w.slots <- id
}
