package peers

import "sync"

// queue holds the batches, or the frames of calls, that wait for one peer. Its methods may be called from any goroutine and never wait.
type queue struct {
	maxBatches, maxBytes int
	// wake, of capacity 1, holds a token when something was put in since it was last taken.
	wake chan struct{}

	mu struct {
		sync.Mutex
		batches [][]byte // from head on
		head    int
		bytes   int
	}
}

func newQueue(maxBatches, maxBytes int) *queue {
	return &queue{maxBatches: maxBatches, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// put adds a batch, at most maxBytes long, and drops as many of the oldest as must go for it. It returns what was dropped.
func (q *queue) put(batch []byte) (batches, bytes int) {
	q.mu.Lock()
	for q.fullLocked(batch) {
		bytes += len(q.popLocked())
		batches++
	}
	q.pushLocked(batch)
	q.mu.Unlock()
	notify(q.wake)
	return batches, bytes
}

// offer adds a batch, or says that there is no room for it.
func (q *queue) offer(batch []byte) bool {
	q.mu.Lock()
	full := q.fullLocked(batch)
	if !full {
		q.pushLocked(batch)
	}
	q.mu.Unlock()
	if !full {
		notify(q.wake)
	}
	return !full
}

// fullLocked says that something must go before batch can come. An empty queue takes anything.
func (q *queue) fullLocked(batch []byte) bool {
	return q.lenLocked() >= q.maxBatches || q.lenLocked() > 0 && q.mu.bytes+len(batch) > q.maxBytes
}

func (q *queue) pushLocked(batch []byte) {
	if q.mu.head > 0 && len(q.mu.batches) == cap(q.mu.batches) { // use the room at the front again
		n := copy(q.mu.batches, q.mu.batches[q.mu.head:])
		clear(q.mu.batches[n:])
		q.mu.batches, q.mu.head = q.mu.batches[:n], 0
	}
	q.mu.batches = append(q.mu.batches, batch)
	q.mu.bytes += len(batch)
}

// take appends to into what waits, in order, until it is maxBytes or more.
func (q *queue) take(into [][]byte, maxBytes int) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	for bytes := 0; q.lenLocked() > 0 && bytes < maxBytes; {
		batch := q.popLocked()
		into = append(into, batch)
		bytes += len(batch)
	}
	return into
}

// drop empties the queue and returns what was in it.
func (q *queue) drop() (batches, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batches, bytes = q.lenLocked(), q.mu.bytes
	q.mu.batches, q.mu.head, q.mu.bytes = nil, 0, 0
	return batches, bytes
}

// size returns what waits.
func (q *queue) size() (batches, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lenLocked(), q.mu.bytes
}

func (q *queue) lenLocked() int { return len(q.mu.batches) - q.mu.head }

// popLocked takes the oldest; there must be one.
func (q *queue) popLocked() []byte {
	batch := q.mu.batches[q.mu.head]
	q.mu.batches[q.mu.head] = nil
	q.mu.head++
	if q.mu.head == len(q.mu.batches) {
		q.mu.batches, q.mu.head = q.mu.batches[:0], 0
	}
	q.mu.bytes -= len(batch)
	return batch
}

// notify puts a token into a channel of capacity 1, if there is none.
func notify(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
