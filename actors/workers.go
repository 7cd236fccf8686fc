package actors

import (
	"runtime"
	"sync"
)

// workers run the mailboxes that have messages. Protoactor's dispatcher starts a goroutine for each run of a mailbox, and
// growing the new goroutine's stack costs more than the turn (see DESIGN.md). Turns never wait, so a few workers are enough.
type workers struct {
	mu      sync.Mutex
	wake    sync.Cond  // on mu: there is work, or the end
	queue   []*mailbox // from head on; bounded by the activations, each is in it once
	head    int
	waiting int // workers without work
	ended   bool
}

func newWorkers() *workers {
	w := &workers{}
	w.wake.L = &w.mu
	return w
}

// schedule puts a mailbox into the queue. It never blocks.
func (w *workers) schedule(m *mailbox) {
	w.mu.Lock()
	if w.head > 64 && w.head > len(w.queue)/2 { // make room instead of growing
		n := copy(w.queue, w.queue[w.head:])
		clear(w.queue[n:])
		w.queue, w.head = w.queue[:n], 0
	}
	w.queue = append(w.queue, m)
	wake := w.waiting > 0
	w.mu.Unlock()
	if wake {
		w.wake.Signal()
	}
}

// workerCount is how many workers a host needs: all processors, also while some turn is a long one, which only the few
// mailboxes that its worker took together wait for.
func workerCount() int { return max(4, 2*runtime.GOMAXPROCS(0)) }

// run is one worker. It returns after end, when no work is left.
func (w *workers) run() {
	var room [together]*mailbox
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
		taken := w.takeLocked(room[:])
		w.mu.Unlock()
		readAhead(taken)
		for _, m := range taken {
			m.run()
		}
		clear(taken) // an idle worker keeps nothing alive
		w.mu.Lock()
	}
}

// takeLocked takes mailboxes into room, at most half of those that wait, and less when other workers have nothing to do.
func (w *workers) takeLocked(room []*mailbox) []*mailbox {
	waiting, share := w.queue[w.head:], max(w.waiting+1, 2)
	n := copy(room, waiting[:(len(waiting)+share-1)/share])
	clear(waiting[:n])
	w.head += n
	return room[:n]
}

// end lets the workers return when nothing is left to do.
func (w *workers) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.wake.Broadcast()
}
