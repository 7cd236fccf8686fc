package pebblestore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// Goal: a save at the seq of a damaged newest snapshot mends it, so that the save after that may drop the older one.
// Method: harm the newest, save again, and harm the next one too.
func TestRepairOfTheNewestSnapshot(t *testing.T) {
	k := persistencetest.Player("1001")
	p := persistence.PartitionOf(k, 2)
	s := open(t, vfs.NewMem())
	d := persistencetest.NewDriver(t, s, p)
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 4), Snapshot: persistencetest.State(t, 4)})
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 5, 7), Snapshot: persistencetest.State(t, 7)})
	harm(t, s, pebblestore.SnapshotKey(p, k, "", 7), flip)
	got, err := s.Load(t.Context(), p, k)
	if err != nil || got.Snapshot.Seq != 4 || got.Quarantined != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	// The activation is dirty (saved 4 < seq 7) and saves at 7; it is told nil: stored.
	d.Must(persistence.Change{Key: k, Snapshot: persistencetest.State(t, 7)})
	got, err = s.Load(t.Context(), p, k)
	if err != nil || got.Snapshot.Seq != 7 {
		t.Errorf("after a save at 7 that was acknowledged: state from %d, %d in quarantine, %v", got.Snapshot.Seq, got.Quarantined, err)
	}
	// The next save drops the good snapshot at 4 and the journal up to 7, and keeps the damaged one.
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 8, 8), Snapshot: persistencetest.State(t, 8)})
	harm(t, s, pebblestore.SnapshotKey(p, k, "", 8), flip)
	if _, err = s.Load(t.Context(), p, k); err != nil {
		t.Errorf("two damages, each of which was met alone with an acknowledged save between them: %v", err)
	}
}

// Goal: a large snapshot is stored again beside the copy that is there, which stays whole until the new one is.
// Method: stage pieces at the newest seq, drop them by a claim, stage them again, count them, twice; look at each step.
func TestRepairInPieces(t *testing.T) {
	k := persistencetest.Player("1001")
	p := persistence.PartitionOf(k, 2)
	s := open(t, vfs.NewMem())
	d := persistencetest.NewDriver(t, s, p)
	value := persistencetest.Frame(t, strings.Repeat("large ", 1000))
	whole := &persistence.Snapshot{Seq: 7, SavedAt: persistencetest.SavedAt, Pieces: 2}
	piece := func(index int) *persistence.Piece {
		return &persistence.Piece{Seq: 7, Index: index, Data: value[index*len(value)/2 : (index+1)*len(value)/2]}
	}
	want := func(when string, seq persistence.Seq) {
		t.Helper()
		got, err := s.Load(t.Context(), p, k)
		if err != nil || got.Snapshot.Seq != seq || seq == 7 && string(got.Snapshot.Data) != string(value) {
			t.Errorf("%s: %+v, %v; want the state at %d", when, got, err, seq)
		}
		if seq != 7 {
			return
		}
		if _, err = s.Verify(t.Context(), func(p pebblestore.Problem) { t.Errorf("%s: %s: %v", when, p.Key, p.Err) }); err != nil {
			t.Error(err)
		}
	}
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 7), Snapshot: persistencetest.State(t, 4)})
	d.Must(persistence.Change{Key: k, Piece: piece(0)})
	d.Must(persistence.Change{Key: k, Piece: piece(1), Snapshot: whole})
	d.Must(persistence.Change{Key: k, Snapshot: whole}) // asked again without pieces: it is there
	want("after the first save", 7)

	for round, base := range []byte{0, 128, 0} {
		d.Must(persistence.Change{Key: k, Piece: piece(0)})
		if err := d.Change(persistence.Change{Key: k, Snapshot: whole}); !errors.Is(err, persistence.ErrIncomplete) {
			t.Errorf("one of two pieces: %v, want ErrIncomplete", err)
		}
		want("with one piece staged", 7)
		d.Claim(persistence.Epoch{Term: uint64(round) + 2}) //nolint:gosec // small
		want("after a claim", 7)
		d.Must(persistence.Change{Key: k, Piece: piece(1)})
		key := pebblestore.SnapshotKey(p, k, "", 7)
		key[len(key)-1] = base
		harm(t, s, key, flip)
		want("after the damage", 4)
		d.Must(persistence.Change{Key: k, Piece: piece(0), Snapshot: whole})
		want("after the repair", 7)
	}
	whole = &persistence.Snapshot{Seq: 7, SavedAt: persistencetest.SavedAt, Data: value}
	d.Must(persistence.Change{Key: k, Snapshot: whole})
	want("after the repair in one", 7)
}
