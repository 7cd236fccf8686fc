package actors

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// A durable reply must not leave before its entry was applied; a read must not show what may yet be lost.
func TestDurableReplyWaitsForApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		s.set(func() { s.held = true })
		write, read := send(h, "p1", earn(session, 1, 50, durable)), send(h, "p1", get())
		retry := send(h, "p1", earn(session, 1, 50, durable))
		pendingStill(t, write, "its entry is not applied")
		pendingStill(t, read, "it shows what is not applied")
		pendingStill(t, retry, "the first try is not applied")
		s.set(func() { s.held = false })
		for _, answers := range []<-chan answer{write, read, retry} {
			if _, err := answered(t, answers); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What was handed to the journal is not shown before the journal has it.
func TestReadWaitsForWhatWasProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		s.set(func() { s.held = true })
		ask(t, h, "p1", earn(session, 1, 1, memory))
		time.Sleep(time.Second) // its event is on its way
		synctest.Wait()
		read := send(h, "p1", get())
		pendingStill(t, read, "it shows what is on its way")
		s.set(func() { s.held = false })
		if _, err := answered(t, read); err != nil {
			t.Fatal(err)
		}
	})
}

// A MEMORY command that is retried as a DURABLE one is durable when that is answered, and not later.
func TestDurableRetryOfMemoryCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		ask(t, h, "p1", earn(session, 1, 1, memory))
		s.set(func() { s.held = true })
		retry := send(h, "p1", earn(session, 1, 1, durable))
		pendingStill(t, retry, "the first try is in memory only")
		s.set(func() { s.held = false })
		if _, err := answered(t, retry); err != nil {
			t.Fatal(err)
		}
		if last, _ := s.head(playerKey("p1")); last != 2 {
			t.Fatalf("the journal ends at %d", last)
		}
	})
}

func TestMemoryReplyOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		s.set(func() { s.held = true })
		write := send(h, "p1", earn(session, 1, 50, durable))
		if r, err := answered(t, send(h, "p1", earn(session, 2, 1, memory))); err != nil || r.GetExecutePlayer().GetDurable() {
			t.Fatal(r, err)
		}
		pendingStill(t, write, "its entry is not applied")
		s.set(func() { s.held = false })
	})
}

// Reads and MEMORY replies wait for a barrier that began after they arrived.
func TestBarrierHoldsReadsAndMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		s.set(func() { s.heldBarriers = true })
		read, write := send(h, "p1", get()), send(h, "p1", earn(session, 1, 1, memory))
		pendingStill(t, read, "no barrier passed")
		pendingStill(t, write, "no barrier passed")
		s.passBarriers(1) // begun before the second call came
		if _, err := answered(t, read); err != nil {
			t.Fatal(err)
		}
		pendingStill(t, write, "only an earlier barrier passed")
		s.passBarriers(1)
		if _, err := answered(t, write); err != nil {
			t.Fatal(err)
		}
	})
}

// Durable and read replies leave in the order of their turns, whatever goroutine lets them go.
func TestRepliesLeaveInOrder(t *testing.T) {
	s := newStore(t)
	h := startHost(t, s, Options{})
	session := open(t, h, "p1")
	const n = 250 // within the mailbox
	for range 10 {
		var mu sync.Mutex
		var order []int
		var replies sync.WaitGroup
		base := coins(t, h, "p1") // ids go on from the coins
		for i := range n {
			request := earn(session, base+int64(i), 1, durable)
			if i%3 == 0 {
				request = get()
			}
			replies.Add(1)
			h.Do(&Call{Key: playerKey("p1"), Request: request, Reply: func(_ *skerryv1.Response, err error) {
				defer replies.Done()
				if i%7 == 0 {
					runtime.Gosched() // let another goroutine overtake, if one may
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("call %d: %v", i, err)
				}
				order = append(order, i)
			}})
		}
		replies.Wait()
		for i := range order {
			if order[i] != i {
				t.Fatalf("reply %d left as number %d", order[i], i)
			}
		}
		if ask(t, h, "p1", earn(session, base+n, int64(n), durable)) == nil { // the ids stay ahead
			t.Fatal("no reply")
		}
	}
}

// An entry that storage refuses means that this activation is not the truth: it stops at once, and the next one is right.
func TestRefusedEntryStopsActivation(t *testing.T) {
	for _, refusal := range []error{persistence.ErrFenced, persistence.ErrDuplicate, persistence.ErrGap, persistence.ErrOutcomeUnknown} {
		t.Run(refusal.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t)
				h := startHost(t, s, Options{})
				session := open(t, h, "p1")
				s.set(func() {
					s.held = true
					s.refuse = func(*persistence.Change) error { return refusal }
				})
				write, read := send(h, "p1", earn(session, 1, 50, durable)), send(h, "p1", get())
				synctest.Wait()
				s.set(func() { s.held = false })
				for _, answers := range []<-chan answer{write, read} {
					if _, err := answered(t, answers); !errors.Is(err, persistence.ErrOutcomeUnknown) {
						t.Fatalf("%v, want the outcome unknown", err)
					}
				}
				if h.Active(playerKey("p1")) {
					t.Fatal("it is still active")
				}
				s.set(func() { s.refuse = nil })
				if got := coins(t, h, "p1"); got != 100 || s.loads != 2 {
					t.Fatalf("%d coins after %d loads: want what storage has", got, s.loads)
				}
			})
		})
	}
}

func TestLostPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{Partitions: 1})
		session := open(t, h, "p1")
		ask(t, h, "p1", earn(session, 1, 5, memory))
		s.set(func() { s.held = true })
		write := send(h, "p1", earn(session, 2, 50, durable))
		synctest.Wait()
		h.Lost(0, s.epoch)
		if _, err := answered(t, write); !errors.Is(err, persistence.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
		if _, err := answered(t, send(h, "p1", get())); !errors.Is(err, persistence.ErrNotOwner) {
			t.Fatal(err)
		}
		if h.Stats().Activations != 0 {
			t.Fatalf("%+v", h.Stats())
		}
		s.loseAll(persistence.ErrOutcomeUnknown)
		s.set(func() { s.held, s.epoch = false, persistence.Epoch{Term: 2} })
		h.Claimed(0, persistence.Epoch{Term: 2})
		if got := coins(t, h, "p1"); got != 100 {
			t.Fatalf("%d coins, want what storage has", got)
		}
		ask(t, h, "p1", earn(session, 2, 50, durable))
	})
}

// Lost while loading: the load must not come alive under the old epoch.
func TestLostWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		wait := make(chan struct{})
		s.loadFault = func(persistence.Key) error { <-wait; return nil }
		h := startHost(t, s, Options{Partitions: 1})
		read := send(h, "p1", get())
		synctest.Wait()
		h.Lost(0, s.epoch)
		if _, err := answered(t, read); !errors.Is(err, persistence.ErrNotOwner) {
			t.Fatal(err)
		}
		close(wait)
		synctest.Wait()
		if h.Stats().Activations != 0 || h.Active(playerKey("p1")) {
			t.Fatalf("%+v", h.Stats())
		}
	})
}

// A full journal queue delays durable replies and loses nothing.
func TestFullJournalQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		s.set(func() { s.full = true })
		first, second := send(h, "p1", earn(session, 1, 1, durable)), send(h, "p1", earn(session, 2, 2, durable))
		time.Sleep(5 * time.Second)
		pendingStill(t, first, "nothing was proposed")
		s.set(func() { s.full = false })
		time.Sleep(2 * proposePause)
		for _, answers := range []<-chan answer{first, second} {
			if _, err := answered(t, answers); err != nil {
				t.Fatal(err)
			}
		}
		if got := coins(t, h, "p1"); got != 103 {
			t.Fatalf("%d coins", got)
		}
	})
}

// Storage refuses now and then, turns panic now and then: activations stop under many callers, who all get an answer, and
// what was answered with success is there.
func TestCallsAgainstBrokenActivations(t *testing.T) {
	s := newStore(t)
	h := startHost(t, s, Options{Partitions: 1})
	evolve, turns := h.evolve, atomic.Int64{}
	h.evolve = func(e *entity, seq persistence.Seq, entry *entry) error {
		if entry.GetOutcome() != nil && turns.Add(1)%40 == 0 {
			panic("a mistake")
		}
		return evolve(e, seq, entry)
	}
	const entities, callers, rounds = 4, 16, 100
	var sessions [entities]string
	var ids, earned [entities]atomic.Int64
	for i := range entities {
		sessions[i] = open(t, h, fmt.Sprint("p", i))
	}
	s.set(func() {
		n := 0
		s.refuse = func(*persistence.Change) error {
			if n++; n%30 == 0 {
				return persistence.ErrFenced
			}
			return nil
		}
	})
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			i := c % entities
			for range rounds {
				switch _, err := try(h, fmt.Sprint("p", i), earn(sessions[i], ids[i].Add(1), 1, durable)); {
				case err == nil:
					earned[i].Add(1)
				case !errors.Is(err, persistence.ErrOutcomeUnknown) && !errors.Is(err, ErrPanicked) && !errors.Is(err, ErrLoad):
					t.Errorf("p%d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	s.set(func() { s.refuse = nil })
	h.evolve = evolve
	for i := range entities {
		if got, least := coins(t, h, fmt.Sprint("p", i)), 100+earned[i].Load(); got != least {
			t.Errorf("p%d has %d coins, %d were acknowledged", i, got, least)
		}
	}
}

// While one goroutine lets replies go, another one must not let a later reply go before them.
func TestRepliesDoNotOvertakeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		var order []int // written by one goroutine at a time, or the test is right to fail
		hold := make(chan struct{})
		do := func(i int, request *skerryv1.Request) {
			h.Do(&Call{Key: playerKey("p1"), Request: request, Reply: func(_ *skerryv1.Response, err error) {
				if err != nil {
					t.Errorf("call %d: %v", i, err)
				}
				if i == 1 {
					<-hold // it takes its time
				}
				order = append(order, i)
			}})
		}
		s.set(func() { s.full = true }) // so that the three go in one change
		for i := 1; i <= 3; i++ {
			do(i, earn(session, int64(i), 1, durable))
		}
		synctest.Wait()
		s.set(func() { s.full = false })
		time.Sleep(2 * proposePause)
		synctest.Wait()
		do(4, get())
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if fmt.Sprint(order) != "[1 2 3 4]" {
			t.Fatalf("replies left in the order %v", order)
		}
	})
}

// An activation that stops while its partition stays owned leaves changes on their way. The next one must find them, else its
// own entries would be refused as repeated up to where those end, and be accepted after that.
func TestNextActivationWaitsForChangesOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		s.set(func() { s.held = true })
		before := []<-chan answer{send(h, "p1", earn(session, 1, 1, durable)), send(h, "p1", earn(session, 2, 10, durable))}
		synctest.Wait()
		h.Forget(t.Context(), "main") // any reason to stop will do
		for _, answers := range before {
			if _, err := answered(t, answers); !errors.Is(err, persistence.ErrOutcomeUnknown) {
				t.Fatal(err)
			}
		}
		var after []<-chan answer
		for i := int64(3); i < 6; i++ {
			after = append(after, send(h, "p1", earn(session, i, 100, durable)))
		}
		synctest.Wait()
		s.set(func() { s.held = false })
		for _, answers := range after {
			if _, err := answered(t, answers); err != nil {
				t.Fatal(err)
			}
		}
		h.Forget(t.Context(), "main")
		if got := coins(t, h, "p1"); got != 411 {
			t.Fatalf("%d coins, want 411", got)
		}
	})
}

// When the partition is lost, nothing of what is on its way counts, and nobody waits for it.
func TestStoppedActivationDoesNotOutliveOwnership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{Partitions: 1})
		session := open(t, h, "p1")
		s.set(func() { s.held = true })
		write := send(h, "p1", earn(session, 1, 1, durable))
		synctest.Wait()
		h.Forget(t.Context(), "main")
		if _, err := answered(t, write); !errors.Is(err, persistence.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
		read := send(h, "p1", get())
		pendingStill(t, read, "a change is on its way")
		h.Lost(0, s.epoch)
		if _, err := answered(t, read); !errors.Is(err, persistence.ErrNotOwner) {
			t.Fatal(err)
		}
		synctest.Wait()
		if h.Stats().Activations != 0 {
			t.Fatalf("%+v", h.Stats())
		}
		s.loseAll(persistence.ErrOutcomeUnknown)
	})
}
