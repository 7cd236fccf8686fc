package client

// maxAhead is how far command ids may run ahead of the oldest one without an answer. The node remembers the last 128
// outcomes of an entity; a retry must find its own among them.
const maxAhead = 100

// window counts the command ids of a session and remembers which have no answer yet. It needs the lock of session.held.
type window struct {
	next     int64 // the id of the next turn
	oldest   int64 // the oldest id without an answer, or next
	answered [128]bool
	room     chan struct{} // closed when oldest moves; then there is a new one
}

func newWindow() window { return window{next: 1, oldest: 1, room: make(chan struct{})} }

// reserve returns the next id, or 0 and a channel that is closed when it is worth another try.
func (w *window) reserve() (id int64, room <-chan struct{}) {
	if w.next-w.oldest >= maxAhead {
		return 0, w.room
	}
	id = w.next
	w.next++
	w.answered[id%int64(len(w.answered))] = false
	return id, nil
}

// settle notes that id needs no retry any more.
func (w *window) settle(id int64) {
	w.answered[id%int64(len(w.answered))] = true
	full := w.next-w.oldest >= maxAhead
	for w.oldest < w.next && w.answered[w.oldest%int64(len(w.answered))] {
		w.oldest++
	}
	if full && w.next-w.oldest < maxAhead {
		close(w.room)
		w.room = make(chan struct{})
	}
}
