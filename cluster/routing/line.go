package routing

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// minPause is the first pause before an owner that refused is asked again while nothing newer is known; it doubles up to maxPause. An
	// election takes a second.
	minPause = 5 * time.Millisecond
	maxPause = 200 * time.Millisecond
)

// line is where the calls of one partition wait for its owner, in the order in which they were asked.
type line struct {
	// busy: something is in line, or on its way from it. Whoever put something in line sees it until that has been dispatched.
	busy atomic.Bool

	mu      sync.Mutex
	waiting []*request // by sequence; bounded by MaxWaiting
	refused bool       // the last that was tried came back, so only one is tried at a time, to keep the order
	probe   *request   // that one, while it is on its way
	tried   Place      // what the table said when it was sent
	next    time.Time  // when it is tried again although nothing newer is known
	pause   time.Duration
	closed  bool
}

// queue puts a request in line, unless there is too much.
func (r *Router) queue(q *request) {
	if r.waiting.Add(1) > int64(r.opts.MaxWaiting) {
		r.waiting.Add(-1)
		q.fail(actors.ErrOverloaded)
		return
	}
	now := time.Now()
	if q.deadline.IsZero() {
		q.deadline = now.Add(r.opts.Patience)
	}
	l := &r.lines[q.partition]
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		r.waiting.Add(-1)
		q.fail(actors.ErrDraining)
		return
	}
	if q.tries > 0 {
		l.refused, l.tried = true, q.place
		l.next = now.Add(pauseOf(q.tries))
		if l.probe == q {
			l.probe = nil
		}
	}
	i := len(l.waiting)
	for i > 0 && l.waiting[i-1].sequence > q.sequence {
		i--
	}
	l.waiting = slices.Insert(l.waiting, i, q)
	l.busy.Store(true)
	l.mu.Unlock()
	notify(r.lineWake)
}

func pauseOf(tries int) time.Duration { return min(minPause<<min(tries-1, 10), maxPause) }

// runLines brings what waits to its owners until ctx ends.
func (r *Router) runLines(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var seen <-chan struct{}
	var stale time.Time
	for {
		changed := r.opts.Table.Changed()
		if now := time.Now(); changed != seen || !stale.IsZero() && !stale.After(now) {
			seen, stale = changed, r.expireStale(now)
		}
		next := stale
		for i := range r.lines {
			next = earlier(next, r.flush(&r.lines[i], persistence.Partition(i))) //nolint:gosec // at most 4096
		}
		if next.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-r.lineWake:
		case <-timer.C:
		}
	}
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// flush dispatches a line in order, if there is an owner to try, and answers who has waited too long. It returns when it wants to be
// called again, zero for when something changes. Only the loop calls it.
func (r *Router) flush(l *line, p persistence.Partition) time.Time {
	if !l.busy.Load() {
		return time.Time{}
	}
	now := time.Now()
	l.mu.Lock()
	expired := l.expireLocked(now)
	l.mu.Unlock()
	r.waiting.Add(-int64(len(expired)))
	for _, q := range expired {
		q.fail(q.noOwner())
	}
	for q := r.take(l, p); q != nil; q = r.take(l, p) {
		r.waiting.Add(-1)
		r.dispatch(q)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy.Store(false)
		l.pause = 0
		return time.Time{}
	}
	next := l.next
	if l.probe != nil {
		next = time.Time{}
	}
	for _, q := range l.waiting {
		next = earlier(next, q.deadline)
	}
	return next
}

// readyLocked reports whether there is somebody to try. When there is not, it says when to look again.
func (r *Router) readyLocked(l *line, p persistence.Partition, now time.Time) bool {
	if len(l.waiting) == 0 {
		return false
	}
	place, known := r.opts.Table.Owner(p)
	if here := r.opts.Local.Owns(p); !here && (!known || place.Node == r.opts.Self) {
		if !l.next.After(now) { // the claim may be a moment away
			l.pause = min(max(2*l.pause, minPause), maxPause)
			l.next = now.Add(l.pause)
		}
		return false
	}
	if known && place != l.tried {
		l.refused, l.probe = false, nil
		return true
	}
	return l.probe == nil && !l.next.After(now)
}

// expireLocked takes out what has waited for its patience.
func (l *line) expireLocked(now time.Time) []*request {
	var expired []*request
	l.waiting = slices.DeleteFunc(l.waiting, func(q *request) bool {
		if q.deadline.After(now) {
			return false
		}
		expired = append(expired, q)
		return true
	})
	return expired
}

// take returns the head of a line, nil when there is none, or nobody to try. The line stays busy: the head is not dispatched yet.
func (r *Router) take(l *line, p persistence.Partition) *request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !r.readyLocked(l, p, time.Now()) {
		return nil
	}
	q := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	if l.refused {
		l.probe, q.probes = q, true
	}
	return q
}

// accepted lets the others of a line go on after one that was tried alone and did not come back.
func (l *line) accepted(q *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.probe == q {
		l.refused, l.probe, l.next = false, nil, time.Time{}
		notify(q.router.lineWake)
	}
}

// close ends a line and returns what was in it.
func (l *line) close() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	left := l.waiting
	l.waiting = nil
	l.busy.Store(false)
	return left
}

// noOwner is why a request has waited in vain.
func (q *request) noOwner() error {
	if q.refused != nil {
		return q.refused
	}
	return persistence.ErrNotOwner
}
