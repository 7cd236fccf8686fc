package actors

import (
	"fmt"
	"sync"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// gate holds an activation's replies until they are as durable as they claim. The activation adds them; the journal's
// goroutines open it. Durable and read replies leave in the order of their turns; MEMORY replies wait only for the barrier.
type gate struct {
	mu       sync.Mutex
	ordered  fifo            // durable and read replies
	early    fifo            // MEMORY replies
	flights  []flight        // changes that are neither applied nor refused, in order; bounded by the waiting replies
	applied  persistence.Seq // entries up to it were applied and accepted
	started  uint64          // barriers begun
	passed   uint64          // barriers done. With n done, one of number n or higher is: all up to n hold
	failed   error           // set once: nothing is applied any more
	releases bool            // a goroutine is letting replies go, and will look again before it stops
	watched  bool            // tell the activation when the gate is empty
}

// waiter is a reply that waits.
type waiter struct {
	call     *Call // nil: only effects wait
	response *skerryv1.Response
	err      error
	effects  []turn.Effect
	seq      persistence.Seq // must be applied; 0: nothing
	barrier  uint64          // must be passed; 0: none
}

// flight is a change on its way, as far as its entries are concerned.
type flight struct {
	last persistence.Seq
	at   instant // when its oldest event happened
}

// await adds a reply that needs its seq applied.
func (a *activation) await(w waiter) {
	a.gate.mu.Lock()
	a.gate.ordered.push(w)
	failed := a.gate.failed != nil
	a.gate.mu.Unlock()
	if failed {
		a.release()
	}
}

// awaitBarrier adds a reply that needs a barrier, begun now, and, when ordered, its turn among the others.
func (a *activation) awaitBarrier(w waiter, ordered bool) {
	g := &a.gate
	g.mu.Lock()
	g.started++
	w.barrier = g.started
	if ordered {
		g.ordered.push(w)
	} else {
		g.early.push(w)
	}
	failed := g.failed != nil
	g.mu.Unlock()
	if failed {
		a.release()
		return
	}
	if err := a.host.opts.Journal.Barrier(a.partition, a.epoch, a.barrierDone); err != nil {
		a.wrong(err)
	}
}

func (a *activation) barrierDone(err error) {
	if err != nil {
		a.wrong(err)
		return
	}
	a.gate.mu.Lock()
	a.gate.passed++
	a.gate.mu.Unlock()
	a.release()
}

// departed notes a change that is about to be proposed; its outcome may come before Propose returns.
func (g *gate) departed(f flight) {
	g.mu.Lock()
	g.flights = append(g.flights, f)
	g.mu.Unlock()
}

// returned takes back the newest flight: it was not proposed.
func (g *gate) returned() {
	g.mu.Lock()
	g.flights = g.flights[:len(g.flights)-1]
	g.mu.Unlock()
}

// landed opens the gate for everything up to last.
func (a *activation) landed(last persistence.Seq) {
	g := &a.gate
	g.mu.Lock()
	n := 0
	for n < len(g.flights) && g.flights[n].last <= last {
		n++
	}
	g.flights = append(g.flights[:0], g.flights[n:]...) // seldom more than a few
	g.applied = max(g.applied, last)
	g.mu.Unlock()
	a.release()
}

// oldest is when the oldest event happened that is neither applied nor refused.
func (g *gate) oldest() (instant, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.flights) == 0 {
		return 0, false
	}
	return g.flights[0].at, true
}

// fail answers everything that waits, and whatever comes later, with [persistence.ErrOutcomeUnknown]. It reports whether
// it was the first to say so.
func (a *activation) fail(reason error) bool {
	g := &a.gate
	g.mu.Lock()
	if g.failed != nil {
		g.mu.Unlock()
		return false
	}
	g.failed = fmt.Errorf("%w: %v", persistence.ErrOutcomeUnknown, reason) //nolint:errorlint // the caller may only act on the unknown outcome
	g.mu.Unlock()
	a.release()
	return true
}

// release lets go what may go, outside the lock and in order: one goroutine at a time.
func (a *activation) release() {
	g := &a.gate
	var ready [4]waiter
	g.mu.Lock()
	if g.releases {
		g.mu.Unlock()
		return
	}
	g.releases = true
	for {
		n := g.takeLocked(ready[:])
		if n == 0 {
			break
		}
		g.mu.Unlock()
		for i := range n {
			a.letGo(&ready[i])
		}
		g.mu.Lock()
	}
	g.releases = false
	empty := g.watched && g.emptyLocked()
	if empty {
		g.watched = false
	}
	g.mu.Unlock()
	if empty {
		a.host.tell(a, drained)
	}
}

// takeLocked moves waiters that may leave into ready and returns how many.
func (g *gate) takeLocked(ready []waiter) int {
	n := 0
	for _, queue := range []*fifo{&g.ordered, &g.early} {
		for n < len(ready) && queue.len() > 0 {
			w := queue.front()
			if g.failed == nil && (w.seq > g.applied || w.barrier > g.passed) {
				break
			}
			ready[n] = queue.pop()
			if g.failed != nil {
				ready[n].err, ready[n].effects = g.failed, nil
			}
			n++
		}
	}
	return n
}

func (a *activation) letGo(w *waiter) {
	if len(w.effects) > 0 && a.host.hooks.effects != nil {
		a.host.hooks.effects(w.effects, a.key.Space)
	}
	if w.call != nil {
		a.host.answer(a, w.call, w.response, w.err)
	}
}

func (g *gate) emptyLocked() bool { return g.ordered.len()+g.early.len()+len(g.flights) == 0 }

// empty reports whether nothing waits and nothing is on its way. With watch, the activation is told drained later when not.
func (g *gate) empty(watch bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watched = watch && !g.emptyLocked()
	return g.emptyLocked()
}

// shrink frees the memory of an empty gate's queues.
func (g *gate) shrink() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.emptyLocked() {
		g.ordered, g.early, g.flights = fifo{}, fifo{}, nil
	}
}

// fifo is a queue of waiters. Its bound is its user's: as many as calls may wait for one entity.
type fifo struct {
	items []waiter
	head  int
}

func (q *fifo) len() int       { return len(q.items) - q.head }
func (q *fifo) front() *waiter { return &q.items[q.head] }

func (q *fifo) push(w waiter) {
	if q.head > 32 && q.head > len(q.items)/2 { // make room instead of growing
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, w)
}

func (q *fifo) pop() waiter {
	w := q.items[q.head]
	q.items[q.head] = waiter{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return w
}
