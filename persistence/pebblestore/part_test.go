package pebblestore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// Goal: a part has snapshots of its own, two kept, loaded alone; and no snapshot trims the entries of other parts.
func TestPartsAreStoredAlone(t *testing.T) {
	s := open(t, vfs.NewMem())
	k := persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: "1001"}
	p := persistence.PartitionOf(k, 2)
	d := persistencetest.NewDriver(t, s, p)
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 8), Snapshot: persistencetest.State(t, 8)})
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 9, 9), Snapshot: persistencetest.State(t, 9)})
	chunk := func(part persistence.Part, seq persistence.Seq) persistence.Change {
		return persistence.Change{Key: k, Snapshot: &persistence.Snapshot{
			Part: part, Seq: seq, SavedAt: persistencetest.SavedAt, Data: persistencetest.Frame(t, fmt.Sprintf("%s at %d", part, seq)),
		}}
	}
	for _, c := range []persistence.Change{chunk("c/0/0", 2), chunk("c/0/0", 5), chunk("c/0/0", 7), chunk("c/0/1", 3)} {
		d.Must(c)
	}
	if err := d.Change(chunk("c/0/0", 6)); !errors.Is(err, persistence.ErrOldSnapshot) {
		t.Errorf("an older snapshot of a part: %v, want ErrOldSnapshot", err)
	}
	if err := d.Change(chunk("c/0/1", 10)); !errors.Is(err, persistence.ErrGap) {
		t.Errorf("a snapshot beyond the last entry: %v, want ErrGap", err)
	}
	want := func(part persistence.Part, seq persistence.Seq, quarantined int) {
		t.Helper()
		got, stepped, err := s.LoadPart(t.Context(), p, k, part)
		if err != nil || got.Seq != seq || stepped != quarantined {
			t.Errorf("part %q: found %+v, %d, %v; want the snapshot at %d", part, got, stepped, err, seq)
		}
	}
	want("c/0/0", 7, 0)
	want("c/0/1", 3, 0)
	want("", 9, 0)
	if _, _, err := s.LoadPart(t.Context(), p, k, "c/0"); !errors.Is(err, persistence.ErrAbsent) {
		t.Errorf("a part that was never stored: %v, want ErrAbsent", err)
	}
	if got, err := s.Load(t.Context(), p, k); err != nil || got.Head.Trimmed != 0 {
		t.Errorf("found %+v, %v; want nothing trimmed", got, err)
	}
	sum, err := s.Verify(t.Context(), func(p pebblestore.Problem) { t.Errorf("%s: %v", p.Key, p.Err) })
	if err != nil || sum.Snapshots != 5 || sum.Entries != 9 { // the third oldest of c/0/0 is gone
		t.Errorf("verify: %+v, %v", sum, err)
	}
	harm(t, s, pebblestore.SnapshotKey(p, k, "c/0/0", 7), flip)
	want("c/0/0", 5, 1)
	harm(t, s, pebblestore.SnapshotKey(p, k, "c/0/0", 5), flip)
	if _, _, err = s.LoadPart(t.Context(), p, k, "c/0/0"); !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("both snapshots of a part harmed: %v, want ErrCorrupt", err)
	}
}

// Goal: a part that came back after it was gone is never absent because its bytes are damaged.
func TestDamageIsNotGone(t *testing.T) {
	s := open(t, vfs.NewMem())
	k := persistencetest.World("1001")
	p := persistence.PartitionOf(k, 2)
	d := persistencetest.NewDriver(t, s, p)
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 9), Snapshot: persistencetest.State(t, 9)})
	d.Must(persistence.Change{Key: k, Snapshot: &persistence.Snapshot{Part: "c/0/0", Seq: 2, SavedAt: persistencetest.SavedAt, Gone: true}})
	d.Must(persistence.Change{Key: k, Snapshot: persistencetest.PartState(t, "c/0/0", 5)})
	d.Must(persistence.Change{Key: k, Snapshot: persistencetest.PartState(t, "c/0/1", 5)})
	d.Must(persistence.Change{Key: k, Snapshot: &persistence.Snapshot{Part: "c/0/1", Seq: 6, SavedAt: persistencetest.SavedAt, Gone: true}})
	sum, err := s.Verify(t.Context(), func(p pebblestore.Problem) { t.Errorf("%s: %v", p.Key, p.Err) })
	if err != nil || sum.Snapshots != 2 {
		t.Errorf("verify: %+v, %v", sum, err)
	}
	harm(t, s, pebblestore.SnapshotKey(p, k, "c/0/0", 5), flip)
	if _, _, err := s.LoadPart(t.Context(), p, k, "c/0/0"); !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("damaged, and gone before: %v, want ErrCorrupt", err)
	}
}
