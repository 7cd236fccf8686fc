// Package gate holds an activation's replies until they are as durable as they claim: the one place that decides when a
// reply leaves. It knows no actors, hosts, journals or messages, so that a test and a simulation can drive it as they like.
//
// # Guarantees
//
//   - A reply leaves when the entries up to its seq were applied and accepted, and the barrier that began with it passed.
//   - Ordered replies (durable ones and reads) leave in the order in which they were added. Early ones (MEMORY) wait
//     for their barrier only, and overtake.
//   - Each reply leaves exactly once, outside of the lock, and no two at the same time.
//   - After a failure everything that waits, and whatever comes later, leaves with [persistence.ErrOutcomeUnknown].
//
// Start at [Gate].
package gate

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// Owner is whose replies a gate holds. Its methods are called without the gate's lock, from whatever goroutine opened it,
// one at a time.
type Owner[R any] interface {
	// LetGo sends a reply. failed is nil, or wraps [persistence.ErrOutcomeUnknown]: then the reply must not claim more.
	LetGo(reply R, failed error)
	// Emptied says that the gate is empty, after [Gate.Empty] was asked to watch for it.
	Emptied()
}

// Gate holds replies of type R. There are as many as live entities, so it does not keep its owner: what may let a reply go
// is told of it, and it must always be the same one. Its methods may be called from any goroutine; Hold, HoldBarrier,
// Departed, Returned, Empty and Shrink are for the goroutine that runs the turns, in their order. It must not be copied.
type Gate[R any] struct {
	mu       sync.Mutex
	ordered  fifo[R]         // durable and read replies
	early    fifo[R]         // MEMORY replies
	flights  []flight        // changes that are neither applied nor refused, in order; bounded by the waiting replies
	applied  persistence.Seq // entries up to it were applied and accepted
	started  uint64          // barriers begun
	passed   uint64          // barriers done. With n done, one of number n or higher is: all up to n hold
	failed   error           // set once: nothing is applied any more
	releases bool            // a goroutine is letting replies go, and will look again before it stops
	watched  bool            // tell the owner when the gate is empty
}

// waiter is a reply that waits.
type waiter[R any] struct {
	reply   R
	seq     persistence.Seq // must be applied; 0: nothing
	barrier uint64          // must be passed; 0: none
}

// flight is a change on its way, as far as its entries are concerned.
type flight struct {
	last persistence.Seq
	at   time.Duration // when its oldest event happened
}

// Start says up to which seq everything is applied already.
func (g *Gate[R]) Start(applied persistence.Seq) {
	g.mu.Lock()
	g.applied = max(g.applied, applied)
	g.mu.Unlock()
}

// Hold adds an ordered reply that needs the entries up to seq applied. Call it before they are proposed: it leaves when
// they land, not by itself.
func (g *Gate[R]) Hold(owner Owner[R], reply R, seq persistence.Seq) {
	g.mu.Lock()
	g.ordered.push(waiter[R]{reply: reply, seq: seq})
	failed := g.failed != nil
	g.mu.Unlock()
	if failed {
		g.release(owner)
	}
}

// HoldBarrier adds a reply that needs the entries up to seq applied (0: none) and a barrier that begins now, and, when
// ordered, its turn among the others. It reports whether the caller has to begin that barrier, and to call [Gate.Passed]
// when it is done; if not, the gate had failed and the reply has left.
func (g *Gate[R]) HoldBarrier(owner Owner[R], reply R, seq persistence.Seq, ordered bool) bool {
	g.mu.Lock()
	g.started++
	w := waiter[R]{reply: reply, seq: seq, barrier: g.started}
	if ordered {
		g.ordered.push(w)
	} else {
		g.early.push(w)
	}
	failed := g.failed != nil
	g.mu.Unlock()
	if failed {
		g.release(owner)
	}
	return !failed
}

// Passed notes that one more barrier is done: whichever of them it was, all replies of as many holds may go.
func (g *Gate[R]) Passed(owner Owner[R]) {
	g.mu.Lock()
	g.passed++
	g.mu.Unlock()
	g.release(owner)
}

// Departed notes a change that is about to be proposed, whose last entry is last and whose oldest event happened at since;
// its outcome may come before Propose returns.
func (g *Gate[R]) Departed(last persistence.Seq, since time.Duration) {
	g.mu.Lock()
	g.flights = append(g.flights, flight{last, since})
	g.mu.Unlock()
}

// Returned takes back the newest flight: it was not proposed.
func (g *Gate[R]) Returned() {
	g.mu.Lock()
	g.flights = g.flights[:len(g.flights)-1]
	g.mu.Unlock()
}

// Landed opens the gate for everything up to last, which was applied and accepted.
func (g *Gate[R]) Landed(owner Owner[R], last persistence.Seq) {
	g.mu.Lock()
	n := 0
	for n < len(g.flights) && g.flights[n].last <= last {
		n++
	}
	g.flights = append(g.flights[:0], g.flights[n:]...) // seldom more than a few
	g.applied = max(g.applied, last)
	g.mu.Unlock()
	g.release(owner)
}

// Crashed notes that the change whose last entry is last was refused, or that its outcome is unknown, after [Gate.Fail]: it
// is not on its way any more. Others, also earlier ones, may be.
func (g *Gate[R]) Crashed(owner Owner[R], last persistence.Seq) {
	g.mu.Lock()
	g.flights = slices.DeleteFunc(g.flights, func(f flight) bool { return f.last == last })
	g.mu.Unlock()
	g.release(owner)
}

// Applied reports whether everything up to seq was applied and accepted, and the gate has not failed since.
func (g *Gate[R]) Applied(seq persistence.Seq) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.applied >= seq && g.failed == nil
}

// Oldest is when the oldest event happened that is neither applied nor refused; false when there is none.
func (g *Gate[R]) Oldest() (time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.flights) == 0 {
		return 0, false
	}
	return g.flights[0].at, true
}

// Fail answers everything that waits, and whatever comes later, with [persistence.ErrOutcomeUnknown]. It reports whether
// it was the first to say so.
func (g *Gate[R]) Fail(owner Owner[R], reason error) bool {
	g.mu.Lock()
	if g.failed != nil {
		g.mu.Unlock()
		return false
	}
	g.failed = fmt.Errorf("%w: %v", persistence.ErrOutcomeUnknown, reason) //nolint:errorlint // the caller may only act on the unknown outcome
	g.mu.Unlock()
	g.release(owner)
	return true
}

// Empty reports whether nothing waits and nothing is on its way. With watch, the owner hears Emptied later when not.
func (g *Gate[R]) Empty(watch bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watched = watch && !g.emptyLocked()
	return g.emptyLocked()
}

// Shrink frees the memory of an empty gate's queues.
func (g *Gate[R]) Shrink() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.emptyLocked() {
		g.ordered, g.early, g.flights = fifo[R]{}, fifo[R]{}, nil
	}
}

// release lets go what may go, outside the lock and in order: one goroutine at a time.
func (g *Gate[R]) release(owner Owner[R]) {
	var ready [4]waiter[R]
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
		failed := g.failed
		g.mu.Unlock()
		for i := range n {
			owner.LetGo(ready[i].reply, failed)
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
		owner.Emptied()
	}
}

// takeLocked moves waiters that may leave into ready and returns how many.
func (g *Gate[R]) takeLocked(ready []waiter[R]) int {
	n := 0
	for _, queue := range []*fifo[R]{&g.ordered, &g.early} {
		for n < len(ready) && queue.len() > 0 {
			w := queue.front()
			if g.failed == nil && (w.seq > g.applied || w.barrier > g.passed) {
				break
			}
			ready[n] = queue.pop()
			n++
		}
	}
	return n
}

func (g *Gate[R]) emptyLocked() bool { return g.ordered.len()+g.early.len()+len(g.flights) == 0 }
