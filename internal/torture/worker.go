package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

const (
	// patience is how long an answer is waited for before another voter is asked.
	patience = 400 * time.Millisecond
	// retryPause is between two questions when nobody was the owner.
	retryPause = 5 * time.Millisecond
	// stuckAfter is when an entity without an answer is a failure: longer than any fault and its healing.
	stuckAfter = time.Minute
)

// worker writes the entities of one partition that are its own, one entry at a time.
type worker struct {
	cluster   *cluster
	tally     *tally
	partition persistence.Partition
	entities  []*ledger
	rng       *rand.Rand
	pace      time.Duration // between two entries, on average
}

// run writes until ctx ends. What is on its way then is settled by the reading back.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		l := w.entities[w.rng.IntN(len(w.entities))]
		if !w.write(ctx, l) && ctx.Err() == nil { // a violation, noted: what comes after it would say nothing new
			return
		}
		if w.pace > 0 {
			pause(ctx, time.Duration(w.rng.Int64N(int64(2*w.pace))))
		}
	}
}

// write settles one more entry of l.
func (w *worker) write(ctx context.Context, l *ledger) bool {
	begin := time.Now()
	for ctx.Err() == nil {
		if time.Since(begin) > stuckAfter {
			w.tally.violation("stuck", fmt.Errorf("entity %d: no answer for %v", l.entity, stuckAfter))
			return false
		}
		node := w.cluster.pick(w.partition)
		q, attempt := l.try()
		r, err := w.cluster.links[node].call(ctx, q, patience, nil)
		switch {
		case err == errNotSent: //nolint:errorlint // never wrapped
			pause(ctx, retryPause)
		case err != nil || r.code == codeUnknown || r.code == codeRefused:
			w.tally.unknown.Add(1)
			if err != nil || r.code == codeUnknown {
				w.cluster.missed(w.partition, node)
			}
			if done, ok := w.resolve(ctx, l); done || !ok {
				return ok
			}
		case r.code == codeOK:
			w.cluster.found(w.partition, node)
			w.tally.acknowledged(w.partition)
			if err := l.settle(attempt); err != nil {
				w.tally.violation("doubled", err)
				return false
			}
			return true
		case r.code == codeNotOwner:
			w.cluster.missed(w.partition, node)
			pause(ctx, retryPause)
		case r.code == codeBusy:
			pause(ctx, retryPause)
		default:
			w.tally.violation("failed", fmt.Errorf("node %d, entity %d: %s", node+1, l.entity, r.body))
			return false
		}
	}
	return false
}

// resolve reads until it knows whether the next entry of l is there; then it is settled. ok is false when ctx ended or
// something is wrong, which was noted.
func (w *worker) resolve(ctx context.Context, l *ledger) (done, ok bool) {
	begin := time.Now()
	for ctx.Err() == nil && time.Since(begin) < stuckAfter {
		f, floor, answered := ask(ctx, w.cluster, l, opRead, w.cluster.pick(w.partition), w.tally)
		if !answered {
			pause(ctx, retryPause)
			continue
		}
		v, next, _ := l.check(f, floor) // ask counts what is wrong
		if v != fine {
			return false, false
		}
		if next == 0 {
			return false, true
		}
		w.tally.resolved.Add(1)
		if err := l.settle(next); err != nil {
			w.tally.violation("doubled", err)
			return false, false
		}
		return true, true
	}
	return false, false
}

// ask reads an entity from a voter. An answer that comes too late is held against the ledger all the same: it was asked when
// floor was known.
func ask(ctx context.Context, c *cluster, l *ledger, o op, node int, t *tally) (found, persistence.Seq, bool) {
	floor := l.floor()
	p := partitionOf(l.entity, len(c.route))
	r, err := c.links[node].call(ctx, request{op: o, entity: l.entity}, patience, func(r response) {
		if r.code != codeOK || o != opRead {
			return
		}
		t.reads.Add(1)
		f, err := decodeFound(r.body)
		if err != nil {
			t.violation("failed", err)
			return
		}
		if v, _, err := l.check(f, floor); v != fine {
			t.wrong(v, fmt.Errorf("node %d: %w", node+1, err))
		}
	})
	switch {
	case err != nil || r.code == codeBusy:
		return found{}, floor, false
	case r.code == codeNotOwner:
		c.missed(p, node)
		return found{}, floor, false
	case r.code != codeOK:
		t.violation("failed", fmt.Errorf("node %d, read of entity %d: %s", node+1, l.entity, r.body))
		return found{}, floor, false
	}
	f, err := decodeFound(r.body)
	if err != nil {
		t.violation("failed", err)
		return found{}, floor, false
	}
	return f, floor, true
}

// reader asks one voter, whoever owns what: so a voter that was frozen or cut off while others went on is asked when it
// wakes, and finds questions that came meanwhile.
type reader struct {
	cluster *cluster
	tally   *tally
	node    int
	ledgers []*ledger
	rng     *rand.Rand
	pace    time.Duration
}

// maxUnread bounds the reads that wait in a frozen voter's socket.
const maxUnread = 2000

func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		l := r.ledgers[r.rng.IntN(len(r.ledgers))]
		if link := r.cluster.links[r.node]; link.waiting() < maxUnread {
			floor := l.floor()
			link.send(request{op: opRead, entity: l.entity}, func(a response, err error) { r.answered(l, floor, a, err) })
		}
		pause(ctx, r.pace)
	}
}

// answered holds an answer, however late, against what was settled when it was asked for.
func (r *reader) answered(l *ledger, floor persistence.Seq, a response, err error) {
	if err != nil || a.code == codeNotOwner || a.code == codeBusy {
		return
	}
	if a.code != codeOK {
		r.tally.violation("failed", fmt.Errorf("node %d, read of entity %d: %s", r.node+1, l.entity, a.body))
		return
	}
	f, err := decodeFound(a.body)
	if err != nil {
		r.tally.violation("failed", err)
		return
	}
	r.tally.reads.Add(1)
	if v, _, err := l.check(f, floor); v != fine {
		r.tally.wrong(v, fmt.Errorf("node %d: %w", r.node+1, err))
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
