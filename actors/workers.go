package actors

import (
	"runtime"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// workers run the mailboxes that have messages: protoactor's dispatcher. Its own starts a goroutine for each run of a
// mailbox, and growing the new goroutine's stack costs more than the turn (see DESIGN.md). Turns never wait, so a few
// workers are enough.
type workers struct {
	mu      sync.Mutex
	wake    sync.Cond // on mu: there is work, or the end
	queue   []func()  // from head on; bounded by the activations, each is in it once
	head    int
	waiting int // workers without work
	ended   bool
}

var _ actor.Dispatcher = (*workers)(nil)

func newWorkers() *workers {
	w := &workers{}
	w.wake.L = &w.mu
	return w
}

// Schedule implements actor.Dispatcher. It never blocks.
func (w *workers) Schedule(run func()) {
	w.mu.Lock()
	if w.head > 64 && w.head > len(w.queue)/2 { // make room instead of growing
		n := copy(w.queue, w.queue[w.head:])
		clear(w.queue[n:])
		w.queue, w.head = w.queue[:n], 0
	}
	w.queue = append(w.queue, run)
	wake := w.waiting > 0
	w.mu.Unlock()
	if wake {
		w.wake.Signal()
	}
}

// Throughput implements actor.Dispatcher: how many messages of one activation run before other
// goroutines get a chance.
func (w *workers) Throughput() int { return 300 }

// workerCount is how many workers a host needs: all processors, also while some turn is a long one.
func workerCount() int { return max(4, 2*runtime.GOMAXPROCS(0)) }

// run is one worker. It returns after end, when no work is left.
func (w *workers) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for w.head == len(w.queue) {
			if w.ended {
				return
			}
			w.queue, w.head = w.queue[:0], 0
			w.waiting++
			w.wake.Wait()
			w.waiting--
		}
		next := w.queue[w.head]
		w.queue[w.head] = nil
		w.head++
		w.mu.Unlock()
		next()
		w.mu.Lock()
	}
}

// end lets the workers return when nothing is left to do.
func (w *workers) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.wake.Broadcast()
}
