package persistencetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// World is the key of a world of the default space.
func World(id string) persistence.Key {
	return persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindWorld, ID: id}
}

// PartState is a snapshot of a part at seq.
func PartState(tb testing.TB, part persistence.Part, seq persistence.Seq) *persistence.Snapshot {
	tb.Helper()
	return &persistence.Snapshot{Part: part, Seq: seq, SavedAt: SavedAt, Data: Frame(tb, fmt.Sprintf("%s at %d", part, seq))}
}

func testWorldTrimsWhatItSays(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := World("1001")
	for _, step := range []struct {
		what                       string
		first, last, snapshot, cut persistence.Seq
		trimmed                    persistence.Seq
	}{
		{"one snapshot: whatever it says", 1, 4, 4, 4, 0},
		{"not said", 5, 6, 6, 0, 0},
		{"said", 7, 8, 8, 3, 3},
		{"never back", 9, 9, 9, 2, 3},
		{"never beyond the older one", 10, 20, 20, 20, 9},
		{"stored again: the older one is still the older", 0, 0, 20, 20, 9},
		{"many", 21, 3000, 3000, 20, 20},
		{"a long trim", 3001, 3001, 3001, 2990, 2990},
	} {
		c := persistence.Change{Key: k, Snapshot: State(t, step.snapshot), TrimTo: step.cut}
		if step.last > 0 {
			c.Entries = Entries(t, step.first, step.last)
		}
		d.Must(c)
		got, err := engine.Load(t.Context(), 0, k)
		if err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if got.Head.Trimmed != step.trimmed || got.Snapshot.Seq != step.snapshot {
			t.Errorf("%s: head %+v, want %d trimmed", step.what, got.Head, step.trimmed)
		}
		if want := Entries(t, step.trimmed+1, got.Head.Last); !reflect.DeepEqual(got.Entries, want) {
			t.Errorf("%s: %d entries, want all %d that are kept", step.what, len(got.Entries), len(want))
		}
	}
	got, err := engine.Load(t.Context(), 0, k)
	if err != nil {
		t.Fatal(err)
	}
	if size := int64(len(Frame(t, "entry 3000")) * 11); got.Head.TailBytes < size/2 || got.Head.TailBytes > size*2 {
		t.Errorf("tail of %d bytes, want about %d", got.Head.TailBytes, size)
	}
}

func testPartIsGone(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := World("1001")
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 9), Snapshot: State(t, 9)})
	gone := func(seq persistence.Seq) persistence.Change {
		return persistence.Change{Key: k, Snapshot: &persistence.Snapshot{Part: "c/0/0", Seq: seq, SavedAt: SavedAt, Gone: true}}
	}
	piece := persistence.Change{Key: k, Piece: &persistence.Piece{Part: "c/0/0", Seq: 4, Data: []byte("x")}}
	d.Must(persistence.Change{Key: k, Snapshot: PartState(t, "c/0/0", 2)})
	d.Must(persistence.Change{Key: k, Snapshot: PartState(t, "c/0/0", 3)})
	d.Must(piece)
	d.Must(gone(5))
	got, _, err := engine.LoadPart(t.Context(), 0, k, "c/0/0")
	if !errors.Is(err, persistence.ErrAbsent) || got.Seq != 5 || !got.Gone {
		t.Errorf("a part that is gone: %+v, %v; want ErrAbsent at 5", got, err)
	}
	d.Must(gone(5)) // again
	wantRefusal(t, "an older snapshot", d.Change(persistence.Change{Key: k, Snapshot: PartState(t, "c/0/0", 4)}), persistence.ErrOldSnapshot)
	wantRefusal(t, "an older piece", d.Change(piece), persistence.ErrOldSnapshot)
	wantRefusal(t, "gone earlier", d.Change(gone(4)), persistence.ErrOldSnapshot)
	whole := persistence.Change{Key: k, Snapshot: &persistence.Snapshot{Part: "c/0/0", Seq: 5, SavedAt: SavedAt, Pieces: 1}}
	wantRefusal(t, "pieces that nobody sent", d.Change(whole), persistence.ErrIncomplete)

	// Nothing is left of it: a store that never had the data is the same.
	never := open(t)
	d2 := NewDriver(t, never, 0)
	d2.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 9), Snapshot: State(t, 9)})
	d2.Must(gone(5))
	for d2.Index < d.Index {
		d2.Must(gone(5))
	}
	if digest(t, engine, 0) != digest(t, never, 0) {
		t.Error("something is left of the part that is gone")
	}

	d.Must(persistence.Change{Key: k, Snapshot: PartState(t, "c/0/0", 7)})
	if got, _, err = engine.LoadPart(t.Context(), 0, k, "c/0/0"); err != nil || got.Seq != 7 || got.Gone {
		t.Errorf("stored again: %+v, %v; want the snapshot at 7", got, err)
	}
	if _, _, err = engine.LoadPart(t.Context(), 0, k, "c/0/1"); !errors.Is(err, persistence.ErrAbsent) {
		t.Errorf("a part that never was: %v, want ErrAbsent", err)
	}
}

func testPartsAreListed(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	for _, k := range []persistence.Key{World("1001"), World("1001~2"), World("100")} {
		d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 3), Snapshot: State(t, 3)})
	}
	for _, part := range []persistence.Part{"c/0/1", "c/-1/0", "d/0/1", "c/0/0", "c/10/0"} {
		d.Must(persistence.Change{Key: World("1001"), Snapshot: PartState(t, part, 2)})
	}
	d.Must(persistence.Change{Key: World("1001~2"), Snapshot: PartState(t, "c/5/5", 2)})
	d.Must(persistence.Change{Key: World("1001"), Snapshot: &persistence.Snapshot{Part: "c/0/0", Seq: 3, SavedAt: SavedAt, Gone: true}})
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []persistence.Part
	}{
		{"c/", "", 10, []persistence.Part{"c/-1/0", "c/0/1", "c/10/0"}},
		{"c/", "c/-1/0", 10, []persistence.Part{"c/0/1", "c/10/0"}},
		{"c/", "c/0/0", 1, []persistence.Part{"c/0/1"}},
		{"c/", "c/9", 10, nil},
		{"d/", "c/9", 10, []persistence.Part{"d/0/1"}},
		{"c/", "d/0/1", 10, nil},
		{"", "", 10, []persistence.Part{"c/-1/0", "c/0/1", "c/10/0", "d/0/1"}},
	} {
		got, err := engine.Parts(t.Context(), 0, World("1001"), c.prefix, c.after, c.limit)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q after %q: %v, %v; want %v", c.prefix, c.after, got, err, c.want)
		}
	}
}
