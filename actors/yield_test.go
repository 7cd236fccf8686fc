// Goal: a partition goes to another node with everything that was answered, and soon, whatever is on its way.
// Method: the host on a store in memory; the next owner is another host on the same store.
package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// slowSaves is a journal that takes its time with snapshots.
type slowSaves struct {
	*store
	pause time.Duration
	began atomic.Int64 // snapshots that were proposed
}

func (s *slowSaves) Propose(p persistence.Partition, c *persistence.Change, done func(error)) error {
	if c.Snapshot == nil {
		return s.store.Propose(p, c, done)
	}
	s.began.Add(1)
	time.AfterFunc(s.pause, func() {
		if err := s.store.Propose(p, c, done); err != nil {
			done(err)
		}
	})
	return nil
}

// earnings sends commands for a player, one after the other, until done is closed, and counts what was answered.
type earnings struct {
	id, session    string
	earned         int64
	after, refused int // commands that were applied after the handover, and that were refused
}

func (e *earnings) run(t *testing.T, h *Host, over *atomic.Bool, done <-chan struct{}) {
	t.Helper()
	for command := int64(1); ; command++ {
		select {
		case <-done:
			return
		default:
		}
		durability := memory
		if command%3 == 0 {
			durability = durable
		}
		wasOver := over.Load()
		switch _, err := try(h, e.id, earn(e.session, command, 1, durability)); {
		case err == nil && wasOver:
			e.after++
			fallthrough
		case err == nil:
			e.earned++
		case errors.Is(err, persistence.ErrNotOwner):
			e.refused++
			time.Sleep(time.Millisecond) // fake
		default:
			t.Errorf("%s: %v", e.id, err)
		}
	}
}

// What was answered before a handover is there for the next owner, MEMORY commands too; what comes after is refused.
func TestYieldKeepsWhatWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h, kill := runHost(t, s, Options{Partitions: 1})
		const players = 600 // more than are told at a time
		var over atomic.Bool
		var callers sync.WaitGroup
		done := make(chan struct{})
		all := make([]*earnings, players)
		for i := range all {
			all[i] = &earnings{id: fmt.Sprint("p", i)}
			all[i].session = open(t, h, all[i].id)
			callers.Go(func() { all[i].run(t, h, &over, done) })
		}
		// MEMORY commands answered and not in the journal yet, of players whom nobody calls any more.
		quiet := open(t, h, "quiet")
		ask(t, h, "quiet", earn(quiet, 1, 50, memory))

		if err := h.Yield(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		over.Store(true)
		if stats := h.Stats(); stats.Activations != 0 {
			t.Errorf("after the handover: %+v", stats)
		}
		s.mu.Lock()
		applied, waiting := len(s.changes), len(s.queue)
		s.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		close(done)
		callers.Wait()
		s.mu.Lock()
		if later := len(s.changes); later != applied || waiting != 0 {
			t.Errorf("%d changes after the handover, and %d on their way at its end", later-applied, waiting)
		}
		s.mu.Unlock()
		kill()

		next, _ := runHost(t, s, Options{Partitions: 1})
		for _, e := range all {
			if got := coins(t, next, e.id); got != 100+e.earned || e.after > 0 || e.refused == 0 {
				t.Errorf("%s has %d coins, want %d, %d of them answered after the handover; %d refused", e.id, got, 100+e.earned, e.after, e.refused)
			}
		}
		if got := coins(t, next, "quiet"); got != 150 {
			t.Errorf("quiet has %d coins, want 150", got)
		}
	})
}

// Nothing waits for snapshots on their way: calls that do are answered, and the partition is taken up again only after them.
func TestYieldDoesNotWaitForSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowSaves{store: newStore(t), pause: 1500 * time.Millisecond}
		h, _ := runHost(t, s.store, Options{Partitions: 1}, func(o *Options) { o.Journal = s })
		sessions := map[string]string{}
		for _, id := range []string{"saves", "ends", "auto"} {
			sessions[id] = open(t, h, id)
			ask(t, h, id, earn(sessions[id], 1, 50, memory))
		}
		worldToken := openedWorld(t, h)
		askWorld(t, h, onWorld(worldToken, 1, memory, block(0, 0, 0, 7)))
		saves := send(h, "saves", saveRequest(sessions["saves"]))
		ends := send(h, "ends", endRequestOf("ends", sessions["ends"]))
		world := sendWorld(h, saveWorld())
		h.tell(find(h, "auto"), beginSave)
		synctest.Wait()
		if s.began.Load() != 4 {
			t.Fatalf("%d snapshots are on their way, want 4", s.began.Load())
		}
		ask(t, h, "auto", earn(sessions["auto"], 2, 5, memory)) // during its save

		began := time.Now()
		if err := h.Yield(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("the handover took %s", took)
		}
		if _, err := answered(t, saves); !errors.Is(err, persistence.ErrNotOwner) {
			t.Errorf("the save was answered %v, the next owner should do it", err)
		}
		if _, err := answered(t, world); !errors.Is(err, persistence.ErrNotOwner) {
			t.Errorf("the world's save was answered %v, the next owner should do it", err)
		}
		if _, err := answered(t, ends); err != nil {
			t.Errorf("the end of a session: %v", err)
		}

		h.Resume(0)
		if _, err := try(h, "auto", get()); !errors.Is(err, persistence.ErrNotOwner) {
			t.Errorf("while snapshots of stopped activations are on their way: %v", err)
		}
		time.Sleep(2 * time.Second)
		if got := coins(t, h, "auto"); got != 155 {
			t.Errorf("%d coins, want 155", got)
		}
		if got := coins(t, h, "saves"); got != 150 {
			t.Errorf("%d coins, want 150", got)
		}
		askWorld(t, h, onWorld(worldToken, 2, durable, block(0, 1, 0, 8)))
		if edits := askWorld(t, h, getChunk(0, 0)).GetGetChunk().GetChunk().GetEdits(); fmt.Sprint(edits) != "[0 0 0 7 0 1 0 8]" {
			t.Errorf("the chunk is %v", edits)
		}
		askWorld(t, h, saveWorld())
	})
}

// What waits for a load is finished with it; what waits for another try of one is refused.
func TestYieldWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		gate := make(chan struct{})
		s.loadFault = func(key persistence.Key) error {
			switch key.ID {
			case "slow":
				<-gate
			case "bad":
				return errDisk
			}
			return nil
		}
		h, _ := runHost(t, s, Options{Partitions: 1})
		slow, bad := send(h, "slow", openRequest("s1")), send(h, "bad", openRequest("s1"))
		synctest.Wait()
		began := time.Now()
		yielded := make(chan error, 1)
		go func() { yielded <- h.Yield(t.Context(), 0) }()
		if _, err := answered(t, bad); !errors.Is(err, persistence.ErrNotOwner) || time.Since(began) > 10*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		pendingStill(t, slow, "it is being loaded")
		close(gate)
		if _, err := answered(t, slow); err != nil {
			t.Error(err)
		}
		if err := <-yielded; err != nil {
			t.Error(err)
		}
		if last, snapshot := s.head(playerKey("slow")); last != 1 || snapshot != 0 {
			t.Errorf("the journal ends at %d, the snapshot is at %d", last, snapshot)
		}
	})
}

// Calls of a world that wait for chunks are finished; those whose chunks cannot be loaded now are refused.
func TestYieldWhileChunksAreLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h, kill := runHost(t, s, Options{Partitions: 1})
		token := openedWorld(t, h)
		askWorld(t, h, onWorld(token, 1, durable, block(0, 0, 0, 7), block(16, 0, 0, 8)))
		askWorld(t, h, saveWorld())
		kill()

		gate := make(chan struct{})
		s.partFault = func(part persistence.Part) error {
			if strings.HasSuffix(string(part), "/0/0") {
				<-gate
				return nil
			}
			return errDisk
		}
		h, _ = runHost(t, s, Options{Partitions: 1})
		good := sendWorld(h, onWorld(token, 2, memory, block(0, 1, 0, 9)))
		bad := sendWorld(h, getChunk(1, 0))
		synctest.Wait()
		yielded := make(chan error, 1)
		began := time.Now()
		go func() { yielded <- h.Yield(t.Context(), 0) }()
		synctest.Wait()
		close(gate)
		if _, err := answered(t, good); err != nil {
			t.Error(err)
		}
		if _, err := answered(t, bad); !errors.Is(err, persistence.ErrNotOwner) {
			t.Error(err)
		}
		if err := <-yielded; err != nil || time.Since(began) > 10*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if last, _ := s.head(worldKey()); last != 3 {
			t.Errorf("the journal ends at %d, want 3", last)
		}
	})
}

// A call that waits for the end of one activation is finished by the next.
func TestYieldWhilePassivating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowSaves{store: newStore(t), pause: 1500 * time.Millisecond}
		h, _ := runHost(t, s.store, Options{Partitions: 1}, func(o *Options) { o.Journal = s })
		token := open(t, h, "p1")
		ask(t, h, "p1", earn(token, 1, 50, memory))
		h.tell(find(h, "p1"), leaveMemory)
		synctest.Wait()
		waits := send(h, "p1", earn(token, 2, 5, memory))
		pendingStill(t, waits, "the snapshot before is slow")
		began := time.Now()
		if err := h.Yield(t.Context(), 0); err != nil || time.Since(began) > 10*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if _, err := answered(t, waits); err != nil {
			t.Error(err)
		}
		if last, _ := s.head(playerKey("p1")); last != 3 {
			t.Errorf("the journal ends at %d, want 3", last)
		}
	})
}

// A handover and what the log says of the partition, in any order.
func TestYieldAgainstOwnership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h, _ := runHost(t, s, Options{Partitions: 1})
		token := open(t, h, "p1")
		command := int64(0)
		dirty := func() { command++; ask(t, h, "p1", earn(token, command, 1, memory)) }
		begin := func(ctx context.Context) <-chan error {
			dirty()
			s.set(func() { s.held = true })
			yielded := make(chan error, 1)
			go func() { yielded <- h.Yield(ctx, 0) }()
			synctest.Wait()
			select {
			case err := <-yielded:
				t.Fatalf("the handover ended with %v before the journal had everything", err)
			default:
			}
			return yielded
		}
		release := func() { s.set(func() { s.held = false }); synctest.Wait() }
		refused := func(when string) {
			if _, err := try(h, "p1", get()); !errors.Is(err, persistence.ErrNotOwner) {
				t.Errorf("%s: %v", when, err)
			}
		}

		// It does not come about.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		yielded := begin(ctx)
		refused("during a handover")
		if err := <-yielded; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the deadline: %v", err)
		}
		cancel()
		refused("before it is taken up again")
		h.Resume(0)
		release()
		if got := coins(t, h, "p1"); got != 100+command {
			t.Errorf("taken up again: %d coins, want %d", got, 100+command)
		}

		// It is claimed under a newer epoch.
		yielded = begin(t.Context())
		epoch := persistence.Epoch{Term: 2}
		h.Claimed(0, epoch)
		if err := <-yielded; !errors.Is(err, persistence.ErrFenced) {
			t.Errorf("claimed again: %v", err)
		}
		release()
		coins(t, h, "p1")

		// It is lost.
		yielded = begin(t.Context())
		h.Lost(0, epoch)
		release()
		if err := <-yielded; err != nil {
			t.Errorf("lost: %v", err)
		}
		if err := h.Yield(t.Context(), 0); err != nil {
			t.Errorf("a partition that is not owned: %v", err)
		}
		h.Resume(0)
		refused("after it was lost")
		h.Claimed(0, persistence.Epoch{Term: 3})
		coins(t, h, "p1")

		// It comes about, and the partition comes back.
		dirty()
		if err := h.Yield(t.Context(), 0); err != nil {
			t.Error(err)
		}
		h.Lost(0, persistence.Epoch{Term: 3})
		h.Claimed(0, persistence.Epoch{Term: 4})
		coins(t, h, "p1")
	})
}

// Handovers that come about, and such that do not, against calls and saves: each call is answered once, and what was
// answered is there.
func TestCallsAgainstHandovers(t *testing.T) {
	s := newStore(t)
	h := startHost(t, s, Options{Partitions: 2, PassivateAfter: 2 * time.Millisecond, AutosaveInterval: 5 * time.Millisecond})
	const players, callers, handovers = 6, 12, 40
	var sessions [players]string
	for i := range players {
		sessions[i] = open(t, h, fmt.Sprint("p", i))
	}
	done := make(chan struct{})
	var handing sync.WaitGroup
	handing.Go(func() {
		defer close(done)
		rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
		epochs := [2]persistence.Epoch{s.epoch, s.epoch}
		for range handovers {
			for h.Stats().Activations < 2 {
				runtime.Gosched()
			}
			p := persistence.Partition(rng.IntN(2)) //nolint:gosec // 0 or 1
			if err := h.Yield(context.Background(), p); err != nil {
				t.Errorf("yield: %v", err)
			}
			if rng.IntN(2) == 0 {
				h.Resume(p)
				continue
			}
			h.Lost(p, epochs[p])
			epochs[p].Term++
			h.Claimed(p, epochs[p])
		}
	})
	var group sync.WaitGroup
	var earned [players]atomic.Int64
	var ids [players]struct { // a caller who took an id sends it before the next is taken
		sync.Mutex
		newest int64
	}
	for c := range callers {
		group.Go(func() {
			i := c % players
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				durability := memory
				if n%3 == 0 {
					durability = durable
				}
				for {
					ids[i].Lock()
					ids[i].newest++
					sent := send(h, fmt.Sprint("p", i), earn(sessions[i], ids[i].newest, 1, durability))
					ids[i].Unlock()
					got := <-sent
					if errors.Is(got.err, persistence.ErrNotOwner) { // nothing was applied
						runtime.Gosched()
						continue
					}
					if got.err != nil {
						t.Errorf("p%d: %v", i, got.err)
					} else {
						earned[i].Add(1)
					}
					break
				}
			}
		})
	}
	handing.Wait()
	group.Wait()
	for i := range players {
		if got, want := coins(t, h, fmt.Sprint("p", i)), 100+earned[i].Load(); got != want {
			t.Errorf("p%d has %d coins, want %d", i, got, want)
		}
	}
}

// Before a handover those are saved that have much to replay, while they go on; the others are left alone, and nobody is waited for
// longer than the caller wants.
func TestPrepareSavesLongJournals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowSaves{store: newStore(t), pause: 20 * time.Millisecond}
		h, _ := runHost(t, s.store, Options{Partitions: 1}, func(o *Options) { o.Journal = s })
		sessions := map[string]string{"long": open(t, h, "long"), "short": open(t, h, "short")}
		for command := int64(1); command <= shortJournalEntries+10; command++ {
			ask(t, h, "long", earn(sessions["long"], command, 1, durable))
		}
		ask(t, h, "short", earn(sessions["short"], 1, 1, durable))
		snapshot := func(id string) persistence.Seq {
			_, at := s.head(persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: id})
			return at
		}
		before := snapshot("short")

		began := time.Now()
		h.Prepare(t.Context(), 0)
		if took := time.Since(began); took < 20*time.Millisecond || took > 40*time.Millisecond {
			t.Errorf("it took %s, the save takes 20 ms", took)
		}
		if at := snapshot("long"); at < shortJournalEntries {
			t.Errorf("the newest snapshot of a long journal is at %d", at)
		}
		if at := snapshot("short"); at != before {
			t.Errorf("a short journal was saved, at %d", at)
		}
		ask(t, h, "long", earn(sessions["long"], shortJournalEntries+11, 1, durable)) // it goes on

		s.pause = time.Hour
		for command := int64(shortJournalEntries + 12); command <= 2*shortJournalEntries+30; command++ {
			ask(t, h, "long", earn(sessions["long"], command, 1, durable))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began = time.Now()
		h.Prepare(ctx, 0)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("with saves that do not end it took %s", took)
		}
		if err := h.Yield(t.Context(), 0); err != nil {
			t.Error(err)
		}
		h.Prepare(t.Context(), 0) // nothing is here
		h.Prepare(t.Context(), 7) // nor is there such a partition
		time.Sleep(2 * time.Hour) // the save that was on its way
	})
}
