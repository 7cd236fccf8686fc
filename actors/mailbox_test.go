package actors

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
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

// A mailbox in which two or three messages wait all the time does not grow.
func TestMailboxRoomIsBounded(t *testing.T) {
	w := newWorkers()
	m, h := newMailbox(w)
	most := 0
	h.on = func(any) {
		if len(h.messages) < 100_000 {
			m.post("more")
		}
		most = max(most, cap(m.more))
	}
	for range 3 {
		m.post("more")
	}
	runWorkers(w, 1)()
	if most > 4*keptRoom {
		t.Errorf("%d messages ran, never more than 3 waited: room for %d", len(h.messages), most)
	}
}

// A worker takes several mailboxes, and leaves some to the others.
func TestWorkersShare(t *testing.T) {
	for _, c := range []struct{ queued, idle, want int }{
		{1, 0, 1}, {2, 0, 1}, {3, 0, 2}, {8, 0, 4}, {15, 0, 8}, {100, 0, together}, {8, 1, 4}, {8, 3, 2}, {2, 3, 1}, {100, 3, together},
	} {
		w := newWorkers()
		for range c.queued {
			w.schedule(&mailbox{})
		}
		w.waiting = c.idle
		var room [together]*mailbox
		if n := len(w.takeLocked(room[:])); n != c.want {
			t.Errorf("of %d mailboxes a worker takes %d while %d are idle, want %d", c.queued, n, c.idle, c.want)
		}
		if left := len(w.queue) - w.head; left != c.queued-c.want {
			t.Errorf("%d of %d are left, want %d", left, c.queued, c.queued-c.want)
		}
	}
}

// An idle worker does not keep what it ran last from being collected.
func TestIdleWorkersKeepNothing(t *testing.T) {
	w := newWorkers()
	collected := make(chan struct{})
	func() {
		m, _ := newMailbox(w)
		runtime.AddCleanup(m, func(done chan struct{}) { close(done) }, collected)
		m.post("word")
	}()
	wait := runWorkers(w, 1)
	defer wait()
	for range 1000 {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("a mailbox that was run is still held")
}

// What is read ahead may be missing, in every way.
func TestReadAheadOfOddStates(t *testing.T) {
	w := newWorkers()
	player := storedPlayer(t, 500)
	noSession := storedPlayer(t, 500)
	noSession.Sessions, noSession.Outcomes = nil, nil
	var all []*mailbox
	for _, a := range []*activation{
		nil, // before its first message
		{},  // packed, or broken off
		{entity: &storev1.Entity{}},
		{entity: player},
		{entity: noSession, tail: make([]tailEntry, 0, 4)},
		{entity: &storev1.Entity{Document: &storev1.Entity_Player{}, Sessions: []*storev1.Session{{}}}},
		{entity: &storev1.Entity{Document: &storev1.Entity_Server{Server: &storev1.Server{}}}},
		{entity: &storev1.Entity{Document: &storev1.Entity_World{World: &skerryv1.World{}}}},
	} {
		m, _ := newMailbox(w)
		m.activation.Store(a)
		all = append(all, m)
	}
	for n := range len(all) + 1 {
		readAhead(all[:n])
	}
}
