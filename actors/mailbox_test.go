package actors

import (
	"slices"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// heard is the actor's side of a mailbox: it notes what it is told. What it is told by one mailbox it is told by one
// goroutine at a time: it has no lock, so the race detector sees it.
type heard struct {
	messages  []any
	escalated []any
	on        func(message any) // may be nil
}

func (h *heard) InvokeUserMessage(message any) {
	h.messages = append(h.messages, message)
	if h.on != nil {
		h.on(message)
	}
}
func (h *heard) InvokeSystemMessage(message any) { h.messages = append(h.messages, message) }
func (h *heard) EscalateFailure(reason, _ any)   { h.escalated = append(h.escalated, reason) }
func (h *heard) Self() *actor.PID                { return nil }

func newMailbox(w *workers) (*mailbox, *heard) {
	h := &heard{}
	m := &mailbox{workers: w}
	m.RegisterHandlers(h, nil)
	return m, h
}

// runWorkers starts n of them; wait ends them when there is nothing left to do.
func runWorkers(w *workers, n int) (wait func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(w.run)
	}
	return func() {
		w.end()
		all.Wait()
	}
}

// Each message arrives once, those of one sender in order, however many mailboxes a worker takes together.
func TestMailboxesLoseNothing(t *testing.T) {
	const mailboxes, senders, each = 20, 4, 2000
	w := newWorkers()
	wait := runWorkers(w, 4)
	var all [mailboxes]*mailbox
	var ears [mailboxes]*heard
	for i := range all {
		all[i], ears[i] = newMailbox(w)
	}
	var sending sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			for n := range each {
				for _, m := range all {
					m.post([2]int{s, n})
				}
			}
		})
	}
	sending.Wait()
	wait()
	for i, h := range ears {
		var next [senders]int
		for _, m := range h.messages {
			said := m.([2]int)
			if said[1] != next[said[0]] {
				t.Fatalf("mailbox %d: message %d of sender %d, %d was next", i, said[1], said[0], next[said[0]])
			}
			next[said[0]]++
		}
		if next != [senders]int{each, each, each, each} {
			t.Fatalf("mailbox %d: %v messages of %d each", i, next, each)
		}
		if room := cap(all[i].more); room > keptRoom {
			t.Errorf("mailbox %d keeps room for %d messages, at most %d are asked for", i, room, keptRoom)
		}
	}
}

// A suspended mailbox hears the system only, and goes on where it stopped.
func TestMailboxSuspended(t *testing.T) {
	w := newWorkers()
	m, h := newMailbox(w)
	h.on = func(message any) {
		if message == 1 {
			m.PostSystemMessage(&actor.SuspendMailbox{})
			m.PostSystemMessage("system")
		}
	}
	for i := 1; i <= 3; i++ {
		m.post(i)
	}
	if n := m.UserMessageCount(); n != 3 {
		t.Errorf("%d messages wait, 3 were posted", n)
	}
	runWorkers(w, 1)()
	m.post(4)
	if want := []any{1, "system"}; !slices.Equal(h.messages, want) {
		t.Fatalf("heard %v, want %v", h.messages, want)
	}
	m.PostSystemMessage(&actor.ResumeMailbox{})
	w.ended = false
	runWorkers(w, 1)()
	if want := []any{1, "system", 2, 3, 4}; !slices.Equal(h.messages, want) {
		t.Errorf("heard %v, want %v", h.messages, want)
	}
}

// A panic is the supervisor's; the next message is heard.
func TestMailboxPanic(t *testing.T) {
	w := newWorkers()
	m, h := newMailbox(w)
	h.on = func(message any) {
		if message == 1 {
			panic("broken")
		}
	}
	m.post(1)
	m.post(2)
	runWorkers(w, 1)()
	if !slices.Equal(h.messages, []any{1, 2}) || !slices.Equal(h.escalated, []any{"broken"}) {
		t.Errorf("heard %v, escalated %v", h.messages, h.escalated)
	}
}

// One mailbox that never runs dry does not keep the others from being run.
func TestMailboxMakesWay(t *testing.T) {
	w := newWorkers()
	busy, ears := newMailbox(w)
	other, quiet := newMailbox(w)
	ears.on = func(any) {
		if len(quiet.messages) == 0 && len(ears.messages) < 10*throughput {
			busy.post("more")
		}
	}
	busy.post("more")
	other.post("word")
	runWorkers(w, 1)()
	if n := len(ears.messages); n > 2*throughput {
		t.Errorf("%d messages of one mailbox ran before the other's", n)
	}
}

// A worker takes several mailboxes, and leaves some to the others.
func TestWorkersShare(t *testing.T) {
	for waiting, want := range map[int]int{1: 1, 2: 1, 3: 2, 8: 4, 15: 8, 100: together} {
		w := newWorkers()
		for range waiting {
			w.schedule(&mailbox{})
		}
		var room [together]*mailbox
		if n := len(w.takeLocked(room[:])); n != want {
			t.Errorf("of %d mailboxes that wait a worker takes %d, want %d", waiting, n, want)
		}
		if left := len(w.queue) - w.head; left != waiting-want {
			t.Errorf("%d of %d are left, want %d", left, waiting, waiting-want)
		}
	}
}
