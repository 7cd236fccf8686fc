package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

type (
	entity = storev1.Entity
	entry  = storev1.Entry
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// lines is a log handler that remembers the messages.
type lines struct {
	mu   sync.Mutex
	said []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, r.Message)
	return nil
}

func (l *lines) has(message string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.said, message)
}

// A MEMORY command's event is in the journal after the journal interval.
func TestMemoryReachesJournalInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		ask(t, h, "p1", earn(session, 1, 1, memory))
		time.Sleep(900 * time.Millisecond)
		ask(t, h, "p1", earn(session, 2, 1, memory))
		if last, _ := s.head(playerKey("p1")); last != 1 {
			t.Fatalf("journal at %d: it did not wait for the interval", last)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if last, _ := s.head(playerKey("p1")); last != 3 {
			t.Fatalf("journal at %d after the interval, want 3", last)
		}
	})
}

func TestMemoryGoesWithTheNextDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		ask(t, h, "p1", earn(session, 1, 1, memory))
		ask(t, h, "p1", earn(session, 2, 1, durable))
		if last, _ := s.head(playerKey("p1")); last != 3 || len(s.changes) != 2 {
			t.Fatalf("journal at %d after %d changes, want 3 after 2", last, len(s.changes))
		}
	})
}

// When the journal does not take events any more, the loss window must not grow.
func TestStalledJournalRefusesMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		s.set(func() { s.held = true })
		ask(t, h, "p1", earn(session, 1, 1, memory))
		time.Sleep(1900 * time.Millisecond)
		ask(t, h, "p1", earn(session, 2, 1, memory))
		time.Sleep(200 * time.Millisecond)
		if _, err := try(h, "p1", earn(session, 3, 1, memory)); !errors.Is(err, ErrStalled) {
			t.Fatalf("after two intervals: %v", err)
		}
		s.set(func() { s.held = false })
		synctest.Wait()
		ask(t, h, "p1", earn(session, 3, 1, memory))
		if got := coins(t, h, "p1"); got != 103 {
			t.Fatalf("%d coins: a refused command left a trace", got)
		}
	})
}

func TestAutosaveSavesWhatIsDirty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{PassivateAfter: time.Hour})
		session := open(t, h, "p1")
		time.Sleep(2 * time.Minute)
		if _, snapshot := s.head(playerKey("p1")); snapshot != 0 {
			t.Fatalf("saved at %d after less than half the interval", snapshot)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if _, snapshot := s.head(playerKey("p1")); snapshot != 1 {
			t.Fatalf("snapshot %d after the interval, want 1", snapshot)
		}
		changes := len(s.changes)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if len(s.changes) != changes || h.Stats().Dirty != 0 {
			t.Fatalf("a clean entity was saved: %d changes, %d before", len(s.changes), changes)
		}
		ask(t, h, "p1", earn(session, 1, 1, memory))
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if _, snapshot := s.head(playerKey("p1")); snapshot != 2 {
			t.Fatalf("snapshot %d after another interval, want 2", snapshot)
		}
	})
}

// Many that became dirty at once are not saved at once.
func TestAutosaveIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var mu sync.Mutex
		saves := map[time.Duration]int{}
		begun := time.Now()
		h := startHost(t, s, Options{PassivateAfter: time.Hour, Events: Events{Saved: func(persistence.Key, int, time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			saves[time.Since(begun)]++
		}}})
		const n = 512
		for i := range n {
			open(t, h, fmt.Sprint("p", i))
		}
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		all := 0
		for at, count := range saves {
			all += count
			if count > 3*n/autosaveTicks+1 {
				t.Errorf("%d saves at %s", count, at)
			}
		}
		if all != n {
			t.Fatalf("%d saved in the interval, want %d", all, n)
		}
	})
}

// An edit during a save is not covered by it: it stays dirty.
func TestEditDuringSaveStaysDirty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{PassivateAfter: time.Hour})
		session := open(t, h, "p1")
		s.set(func() { s.held = true })
		save := send(h, "p1", saveRequest(session))
		synctest.Wait()
		ask(t, h, "p1", earn(session, 1, 1, memory))
		s.set(func() { s.held = false })
		if r, err := answered(t, save); err != nil || r.GetSavePlayer().GetSeq() != 1 {
			t.Fatal(r, err)
		}
		if h.Stats().Dirty != 1 {
			t.Fatal("the edit is not dirty any more")
		}
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if _, snapshot := s.head(playerKey("p1")); snapshot != 2 || h.Stats().Dirty != 0 {
			t.Fatalf("snapshot %d after the next interval, want 2", snapshot)
		}
	})
}

// A forced save is answered when its snapshot was accepted.
func TestSaveReplyWaitsForSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		s.set(func() { s.held = true })
		save := send(h, "p1", saveRequest(session))
		pendingStill(t, save, "no snapshot was accepted")
		s.set(func() { s.held = false })
		if _, err := answered(t, save); err != nil {
			t.Fatal(err)
		}
		if last, snapshot := s.head(playerKey("p1")); last != snapshot {
			t.Fatalf("snapshot %d of %d", snapshot, last)
		}
		if _, err := answered(t, send(h, "p1", saveRequest(session))); err != nil { // clean: at once
			t.Fatal(err)
		}
	})
}

func TestFailingSaveRetriesAndWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var critical []bool
		h := startHost(t, s, Options{PassivateAfter: time.Hour, Events: Events{Critical: func(c bool) { critical = append(critical, c) }}})
		session := open(t, h, "p1")
		// A fault of the snapshot alone, as when pieces are missing: the entries go first, so that they are not in its change.
		s.set(func() {
			s.refuse = func(c *persistence.Change) error {
				if c.Snapshot != nil {
					return persistence.ErrIncomplete
				}
				return nil
			}
		})
		for range 2 {
			save := send(h, "p1", saveRequest(session))
			time.Sleep(time.Second / 2)
			pendingStill(t, save, "it is tried again")
			time.Sleep(5 * time.Second)
			if _, err := answered(t, save); !errors.Is(err, ErrSave) || !errors.Is(err, persistence.ErrIncomplete) {
				t.Fatal(err)
			}
		}
		if !h.Stats().Critical || len(critical) != 1 || !critical[0] {
			t.Fatalf("6 failures: critical %v, events %v", h.Stats().Critical, critical)
		}
		s.set(func() { s.refuse = nil })
		ask(t, h, "p1", saveRequest(session))
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if h.Stats().Critical || len(critical) != 2 {
			t.Fatalf("two minutes later: critical %v, events %v", h.Stats().Critical, critical)
		}
	})
}

// A large snapshot goes in pieces, and comes back whole.
func TestLargeSnapshotGoesInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h, kill := runHost(t, s, Options{Partitions: 1})
		// Documents are held far smaller by the rules; unknown fields are not, and survive.
		evolve := h.evolve
		h.evolve = func(e *entity, seq persistence.Seq, entry *entry) error {
			err := evolve(e, seq, entry)
			if seq == 1 {
				noise := make([]byte, 1_000_000)
				for i := range noise {
					noise[i] = byte(rand.Uint32())
				}
				e.GetPlayer().Name = ""
				e.GetPlayer().ProtoReflect().SetUnknown(append([]byte{0xfa, 0x3f, 0xc0, 0x84, 0x3d}, noise...))
			}
			return err
		}
		const n = 4
		for i := range n {
			open(t, h, fmt.Sprint("p", i))
		}
		s.set(func() { s.held = true })
		var saves []<-chan answer
		for i := range n {
			saves = append(saves, send(h, fmt.Sprint("p", i), saveRequest(s.entities[playerKey(fmt.Sprint("p", i))].marks["session/s1"])))
		}
		synctest.Wait()
		if len(s.queue) != maxPieces {
			t.Fatalf("%d pieces on their way, want %d", len(s.queue), maxPieces)
		}
		s.set(func() { s.held = false })
		for i, save := range saves {
			if _, err := answered(t, save); err != nil {
				t.Fatalf("p%d: %v", i, err)
			}
		}
		kill()
		got := s.entities[playerKey("p1")].snapshots[0]
		whole, err := codec.DecodeEntity(got.Data)
		if got.Pieces != 4 || err != nil || len(whole.GetPlayer().ProtoReflect().GetUnknown()) < 1_000_000 {
			t.Fatalf("%d pieces, %v", got.Pieces, err)
		}
	})
}

// A long journal without a snapshot makes activation slow: it forces one.
func TestLongJournalForcesSnapshot(t *testing.T) {
	s := newStore(t)
	h := startHost(t, s, Options{})
	session := open(t, h, "p1")
	for i := range int64(maxJournalEntries + 10) {
		ask(t, h, "p1", earn(session, i+1, 1, memory))
	}
	coins(t, h, "p1")
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, snapshot := s.head(playerKey("p1")); snapshot >= maxJournalEntries {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no snapshot: %s", s)
		}
		coins(t, h, "p1")
	}
}

// When the forced snapshot cannot be stored, it is not tried with every command that comes.
func TestLongJournalGivesUpOnAFailingSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		failed := 0
		h := startHost(t, s, Options{Tries: 1, PassivateAfter: time.Hour, Events: Events{
			SaveFailed: func(persistence.Key, error, bool) { failed++ },
		}})
		evolve := h.evolve
		h.evolve = func(e *entity, seq persistence.Seq, entry *entry) error {
			if seq == 2 {
				find(h, "p1").sinceSaved = maxJournalBytes + 1 // as after very many commands
			}
			return evolve(e, seq, entry)
		}
		session := open(t, h, "p1")
		s.set(func() {
			s.refuse = func(c *persistence.Change) error {
				if c.Snapshot != nil && len(c.Entries) == 0 {
					return persistence.ErrIncomplete
				}
				return nil
			}
		})
		for i := range int64(100) {
			ask(t, h, "p1", earn(session, i+1, 1, durable))
			synctest.Wait()
		}
		if failed != 1 {
			t.Fatalf("%d saves failed, want one", failed)
		}
	})
}
