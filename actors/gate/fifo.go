package gate

// fifo is a queue of waiters. Its bound is its user's: as many as calls may wait for one entity.
type fifo[R any] struct {
	items []waiter[R]
	head  int
}

func (q *fifo[R]) len() int          { return len(q.items) - q.head }
func (q *fifo[R]) front() *waiter[R] { return &q.items[q.head] }

func (q *fifo[R]) push(w waiter[R]) {
	if q.head > 32 && q.head > len(q.items)/2 { // make room instead of growing
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, w)
}

func (q *fifo[R]) pop() waiter[R] {
	w := q.items[q.head]
	q.items[q.head] = waiter[R]{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return w
}
