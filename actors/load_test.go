package actors

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

var errDisk = errors.New("the disk is on fire")

// A load that fails never makes a new player, and the old one comes back with the disk.
func TestFailingLoadMakesNoPlayer(t *testing.T) {
	for _, c := range []struct {
		fault error
		tries int
	}{
		{errDisk, 3},
		{fmt.Errorf("load p1: %w", persistence.ErrCorrupt), 1}, // tried again, it would be the same
		{persistence.ErrNewer, 1},
	} {
		t.Run(c.fault.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t)
				h, kill := runHost(t, s, Options{})
				session := open(t, h, "p1")
				ask(t, h, "p1", earn(session, 1, 50, durable))
				kill()
				before := len(s.changes)

				s.loads = 0
				s.set(func() { s.loadFault = func(persistence.Key) error { return c.fault } })
				h = startHost(t, s, Options{})
				for _, request := range []*skerryv1.Request{get(), openRequest("s2")} {
					answers := send(h, "p1", request)
					time.Sleep(10 * time.Second)
					if _, err := answered(t, answers); !errors.Is(err, ErrLoad) || !errors.Is(err, c.fault) {
						t.Fatal(err)
					}
				}
				if len(s.changes) != before || s.loads != 2*c.tries || h.Stats().Activations != 0 {
					t.Fatalf("%d changes, %d loads, %+v", len(s.changes)-before, s.loads, h.Stats())
				}
				s.set(func() { s.loadFault = nil })
				if got := coins(t, h, "p1"); got != 150 {
					t.Fatalf("%d coins after the fault", got)
				}
			})
		})
	}
}

func TestLoadIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		faults := 2
		s.loadFault = func(persistence.Key) error {
			if faults--; faults >= 0 {
				return errDisk
			}
			return nil
		}
		h := startHost(t, s, Options{})
		opening := send(h, "p1", openRequest("s1"))
		pendingStill(t, opening, "the first load failed")
		time.Sleep(6 * time.Second)
		if _, err := answered(t, opening); err != nil {
			t.Fatal(err)
		}
	})
}

// A load that does not reach the head, or skips an entry, has failed: the state would be an old one.
func TestLoadMustReachTheHead(t *testing.T) {
	for name, damage := range map[string]func(*stored){
		"short journal":   func(e *stored) { e.entries = e.entries[:1] },
		"gap":             func(e *stored) { e.entries[1].Seq = 7 },
		"flipped bit":     func(e *stored) { e.entries[1].Data[9] ^= 1 },
		"absent snapshot": func(e *stored) { e.last = 9 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t)
				h, kill := runHost(t, s, Options{})
				session := open(t, h, "p1")
				ask(t, h, "p1", earn(session, 1, 50, durable))
				kill()
				damage(s.entities[playerKey("p1")])
				h = startHost(t, s, Options{})
				if r, err := try(h, "p1", get()); !errors.Is(err, ErrLoad) {
					t.Fatal(r, err)
				}
			})
		})
	}
}

// An entity that was whole only because a damaged snapshot could be stepped around is saved at once, before a command: the
// next save would drop the good copy and keep the damaged one.
func TestDamagedSnapshotIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h, stop := runHost(t, s, Options{})
		session := open(t, h, "p1")
		ask(t, h, "p1", earn(session, 1, 50, durable))
		ask(t, h, "p1", &skerryv1.Request{Request: &skerryv1.Request_SavePlayer{SavePlayer: &skerryv1.SavePlayerRequest{Player: "p1", Session: session}}})
		stop()
		s.damaged, s.changes = true, nil
		h = startHost(t, s, Options{})
		if got := coins(t, h, "p1"); got != 150 {
			t.Fatalf("%d coins", got)
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if last := s.entities[playerKey("p1")].last; len(s.changes) != 1 || s.changes[0].Snapshot == nil || s.changes[0].Snapshot.Seq != last {
			t.Fatalf("after loading around the damage, %d changes: %+v", len(s.changes), s.changes)
		}
	})
}

// After ten idle minutes an entity leaves memory; before, it only shrinks.
func TestIdleActivationPassivates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var reasons []string
		h := startHost(t, s, Options{Events: Events{Passivated: func(_ persistence.Key, reason string) { reasons = append(reasons, reason) }}})
		session := open(t, h, "p1")
		time.Sleep(30*time.Second + h.ScanInterval())
		synctest.Wait()
		if a := find(h, "p1"); a == nil || !a.isPacked.Load() || a.entity != nil {
			t.Fatal("it is not packed after half a minute")
		}
		if got := coins(t, h, "p1"); got != 100 || s.loads != 1 {
			t.Fatalf("%d coins, %d loads", got, s.loads)
		}
		time.Sleep(9 * time.Minute)
		if !h.Active(playerKey("p1")) {
			t.Fatal("passivated too early")
		}
		ask(t, h, "p1", earn(session, 1, 1, memory)) // starts the idle time again
		time.Sleep(10*time.Minute + h.ScanInterval())
		synctest.Wait()
		if h.Active(playerKey("p1")) || h.Stats().Activations != 0 || h.Stats().HeldBytes != 0 {
			t.Fatalf("still in memory: %+v", h.Stats())
		}
		if last, snapshot := s.head(playerKey("p1")); last != snapshot || last != 2 {
			t.Fatalf("snapshot %d of %d: it left without saving", snapshot, last)
		}
		if fmt.Sprint(reasons) != "[idle]" {
			t.Fatal(reasons)
		}
		if got := coins(t, h, "p1"); got != 101 {
			t.Fatalf("%d coins", got)
		}
	})
}

// Beyond the memory limit the least recently used leave.
func TestMemoryLimitPassivatesTheLeastUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		const n, limit = 20, 2500
		h := startHost(t, s, Options{MemoryLimitBytes: limit})
		for i := range n {
			open(t, h, fmt.Sprint("p", i))
			time.Sleep(time.Millisecond)
		}
		coins(t, h, "p0") // used again
		if held := h.Stats().HeldBytes; held < limit*3/2 {
			t.Fatalf("only %d bytes are held: make the limit smaller", held)
		}
		time.Sleep(h.ScanInterval())
		synctest.Wait()
		if stats := h.Stats(); stats.HeldBytes > limit || stats.Activations < n/4 {
			t.Fatalf("%+v of %d", stats, limit)
		}
		if !h.Active(playerKey("p0")) || !h.Active(playerKey("p19")) || h.Active(playerKey("p1")) {
			t.Fatal("the wrong ones left")
		}
	})
}

// A call that comes while an entity leaves waits, and is answered by the next activation.
func TestLateCallWaitsForTheNextActivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		open(t, h, "p1")
		s.set(func() { s.heldBarriers = true })
		read := send(h, "p1", get())
		synctest.Wait()
		h.evict(0)
		synctest.Wait()
		if !h.Active(playerKey("p1")) {
			t.Fatal("it left while a call waited")
		}
		s.set(func() { s.heldBarriers, s.held = false, true })
		s.passBarriers(1)
		if _, err := answered(t, read); err != nil {
			t.Fatal(err)
		}
		h.evict(0)
		synctest.Wait()
		late := send(h, "p1", get())
		pendingStill(t, late, "the entity is leaving")
		s.set(func() { s.held = false })
		if _, err := answered(t, late); err != nil || s.loads != 2 {
			t.Fatalf("%v, %d loads", err, s.loads)
		}
	})
}

func find(h *Host, id string) *activation {
	s := h.shardOf(h.partitionOf(playerKey(id)), id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.activations[playerKey(id)]
}
