package persistencetest

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

func testSnapshotsNeverGoBackwards(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := Player("1001")
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 9), Snapshot: State(t, 6)})
	before := load(t, engine, 0, k)
	wantRefusal(t, "an older snapshot", d.Change(persistence.Change{Key: k, Snapshot: State(t, 5)}), persistence.ErrOldSnapshot)
	wantRefusal(t, "an older piece", d.Change(persistence.Change{Key: k, Piece: &persistence.Piece{Seq: 5, Data: []byte("x")}}), persistence.ErrOldSnapshot)
	d.Claim(persistence.Epoch{Term: 2})
	wantRefusal(t, "an older snapshot of a newer epoch", d.Change(persistence.Change{Key: k, Snapshot: State(t, 5)}), persistence.ErrOldSnapshot)
	d.Must(persistence.Change{Key: k, Snapshot: State(t, 6)}) // the state at a seq is one state: accepted, and stored again
	d.Must(persistence.Change{Key: k, Piece: &persistence.Piece{Seq: 6, Data: []byte("x")}})
	before.Snapshot.Epoch, before.Head.Snapshots[0].Epoch = d.Epoch, d.Epoch
	if after := load(t, engine, 0, k); !reflect.DeepEqual(after, before) {
		t.Errorf("found %+v, want %+v", after, before)
	}
}

func testTwoSnapshotsAreKept(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := Player("1001")
	seqs := func(head persistence.Head) (out []persistence.Seq) {
		for _, s := range head.Snapshots {
			out = append(out, s.Seq)
		}
		return out
	}
	for _, step := range []struct {
		first, last, snapshot persistence.Seq
		kept                  []persistence.Seq
		trimmed               persistence.Seq
	}{
		{1, 3, 3, []persistence.Seq{3}, 0}, // one snapshot trims nothing: it may be corrupt
		{4, 6, 5, []persistence.Seq{5, 3}, 3},
		{7, 9, 9, []persistence.Seq{9, 5}, 5},
		{10, 3000, 2999, []persistence.Seq{2999, 9}, 9},
		{3001, 3001, 3001, []persistence.Seq{3001, 2999}, 2999}, // a long trim
	} {
		d.Must(persistence.Change{Key: k, Entries: Entries(t, step.first, step.last), Snapshot: State(t, step.snapshot)})
		got, err := engine.Load(t.Context(), 0, k)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(seqs(got.Head), step.kept) || got.Head.Trimmed != step.trimmed || got.Head.Last != step.last {
			t.Errorf("after the snapshot at %d: head %+v, want %v kept and %d trimmed", step.snapshot, got.Head, step.kept, step.trimmed)
		}
		if got.Snapshot.Seq != step.snapshot || persistence.Seq(len(got.Entries)) != step.last-step.snapshot {
			t.Errorf("after the snapshot at %d: found the one at %d and %d entries", step.snapshot, got.Snapshot.Seq, len(got.Entries))
		}
	}
	got, err := engine.Load(t.Context(), 0, k)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(Frame(t, "entry 3000")) * 2)
	if got.Head.TailBytes < size/2 || got.Head.TailBytes > size*2 {
		t.Errorf("tail of %d bytes, want about %d", got.Head.TailBytes, size)
	}
}

func testPiecesBecomeVisibleTogether(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := Player("1001")
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 5), Snapshot: State(t, 2)})
	value := Frame(t, strings.Repeat("large ", 1000))
	piece := func(index int) *persistence.Piece {
		return &persistence.Piece{Seq: 5, Index: index, Data: value[index*len(value)/3 : (index+1)*len(value)/3]}
	}
	whole := &persistence.Snapshot{Seq: 5, SavedAt: SavedAt, Pieces: 3}
	d.Must(persistence.Change{Key: k, Piece: piece(0)})
	wantRefusal(t, "two pieces missing", d.Change(persistence.Change{Key: k, Snapshot: whole}), persistence.ErrIncomplete)
	d.Must(persistence.Change{Key: k, Piece: piece(2)})
	wantRefusal(t, "one piece missing", d.Change(persistence.Change{Key: k, Snapshot: whole}), persistence.ErrIncomplete)
	if got := load(t, engine, 0, k); got.Snapshot.Seq != 2 || len(got.Head.Snapshots) != 1 {
		t.Errorf("before the snapshot that counts them: found %+v", got)
	}
	d.Must(persistence.Change{Key: k, Piece: piece(1), Snapshot: whole}) // the last one may come with it
	got := load(t, engine, 0, k)
	if got.Snapshot.Seq != 5 || string(got.Snapshot.Data) != string(value) || got.Snapshot.Pieces != 3 {
		t.Errorf("found the snapshot at %d with %d pieces and %d bytes, want 5, 3, %d", got.Snapshot.Seq, got.Snapshot.Pieces, len(got.Snapshot.Data), len(value))
	}
	// Two more push it out, and nothing is left of it.
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 6, 7), Snapshot: State(t, 6)})
	d.Must(persistence.Change{Key: k, Snapshot: State(t, 7)})
	other := NewDriver(t, engine, 1)
	other.Index = d.Index - 4
	other.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 5), Snapshot: State(t, 2)})
	other.Must(persistence.Change{Key: k, Snapshot: State(t, 5)})
	other.Must(persistence.Change{Key: k, Entries: Entries(t, 6, 7), Snapshot: State(t, 6)})
	other.Must(persistence.Change{Key: k, Snapshot: State(t, 7)})
	if a, b := load(t, engine, 0, k), load(t, engine, 1, k); !reflect.DeepEqual(a, b) {
		t.Errorf("with pieces %+v, without %+v", a, b)
	}
}

func testClaimDropsStagedPieces(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := Player("1001")
	data := Frame(t, "state at 3")
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 3)})
	d.Must(persistence.Change{Key: k, Piece: &persistence.Piece{Seq: 3, Data: data}})
	d.Claim(persistence.Epoch{Term: 2})
	whole := &persistence.Snapshot{Seq: 3, SavedAt: SavedAt, Pieces: 1}
	wantRefusal(t, "pieces of an older epoch", d.Change(persistence.Change{Key: k, Snapshot: whole}), persistence.ErrIncomplete)

	// A store that never had the pieces is the same, byte for byte.
	never := open(t)
	d2 := NewDriver(t, never, 0)
	d2.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 3)})
	d2.Index++
	d2.Claim(persistence.Epoch{Term: 2})
	wantRefusal(t, "no pieces", d2.Change(persistence.Change{Key: k, Snapshot: whole}), persistence.ErrIncomplete)
	if digest(t, engine, 0) != digest(t, never, 0) {
		t.Error("something is left of the pieces of an older epoch")
	}
}

func testMarksAreListed(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	for _, id := range []string{"a", "b", "c"} {
		d.Must(persistence.Change{Key: Player(id), Entries: Entries(t, 1, 1), Marks: []persistence.Mark{
			{Name: "session/s1", Value: []byte("token " + id)}, {Name: "session/s10", Value: []byte{}},
		}})
	}
	d.Must(persistence.Change{Key: Player("b"), Marks: []persistence.Mark{{Name: "session/s1"}}})
	got, err := engine.Marks(t.Context(), 0, "main", "session/s1", persistence.Key{}, 10)
	want := []persistence.MarkOf{{Key: Player("a"), Value: []byte("token a")}, {Key: Player("c"), Value: []byte("token c")}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("marks %v, %v; want %v", got, err, want)
	}
	if got, err = engine.Marks(t.Context(), 0, "main", "session/s1", Player("a"), 10); err != nil || !reflect.DeepEqual(got, want[1:]) {
		t.Errorf("after a: %v, %v", got, err)
	}
	if got, err = engine.Marks(t.Context(), 0, "main", "session/s10", persistence.Key{}, 2); err != nil || len(got) != 2 {
		t.Errorf("two at most: %v, %v", got, err)
	}
}

func testRecordsAreInMeta(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	meta := NewDriver(t, engine, persistence.MetaPartition)
	record := func(name, value string) persistence.Change {
		return persistence.Change{Record: &persistence.Record{Name: name, Value: []byte(value)}}
	}
	for _, c := range []persistence.Change{record("key/a", "1"), record("key/b", "2"), record("space/a", "3"), record("key/b", "")} {
		meta.Must(c)
	}
	got, err := engine.Records(t.Context(), "key/", 10)
	want := []persistence.Record{{Name: "key/a", Value: []byte("1")}, {Name: "key/b", Value: []byte{}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("records %v, %v; want %v", got, err, want)
	}
	meta.Must(persistence.Change{Record: &persistence.Record{Name: "key/a"}})
	if _, err = engine.Record(t.Context(), "key/a"); !errors.Is(err, persistence.ErrAbsent) {
		t.Errorf("a removed record: %v, want ErrAbsent", err)
	}
	if value, err := engine.Record(t.Context(), "space/a"); string(value) != "3" || err != nil {
		t.Errorf("record %q, %v", value, err)
	}
	wantRefusal(t, "an entity in meta", meta.Change(persistence.Change{Key: Player("1"), Entries: Entries(t, 1, 1)}), persistence.ErrBadChange)
	wantRefusal(t, "a record elsewhere", NewDriver(t, engine, 0).Change(record("key/a", "1")), persistence.ErrBadChange)
}

func testSpaceIsErased(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	staging := persistence.Key{Space: "staging", Kind: persistence.KindPlayer, ID: "1"}
	near := persistence.Key{Space: "staging-2", Kind: persistence.KindPlayer, ID: "1"}
	for _, k := range []persistence.Key{staging, near, Player("1")} {
		d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 5), Snapshot: State(t, 4), Marks: []persistence.Mark{{Name: "m", Value: []byte("v")}}})
		d.Must(persistence.Change{Key: k, Piece: &persistence.Piece{Seq: 5, Data: []byte("piece")}})
	}
	erase := persistence.Change{Epoch: d.Epoch, EraseSpace: "staging"}
	again := persistence.Change{Epoch: d.Epoch, Key: staging, Entries: Entries(t, 1, 1)}
	beyond := persistence.Change{Epoch: d.Epoch, Key: staging, Entries: Entries(t, 6, 6)}
	got := d.Changes(&persistence.Change{Epoch: d.Epoch, Key: staging, Entries: Entries(t, 6, 6)}, &erase, &beyond, &again)
	if got[0] != nil || got[1] != nil || !errors.Is(got[2], persistence.ErrGap) || got[3] != nil {
		t.Errorf("in one log entry before and after the erasing: %v, want nil, nil, ErrGap, nil", got)
	}
	if found := load(t, engine, 0, staging); found == nil || found.Head.Last != 1 || len(found.Head.Snapshots) != 0 {
		t.Errorf("found %+v, want a new entity", found)
	}
	wantRefusal(t, "pieces from before", d.Change(persistence.Change{Key: staging, Snapshot: &persistence.Snapshot{Seq: 1, Pieces: 1}}), persistence.ErrIncomplete)
	d.Must(erase)
	spaces, err := engine.Spaces(t.Context(), 0)
	if err != nil || !reflect.DeepEqual(spaces, []string{"main", "staging-2"}) {
		t.Errorf("spaces %v, %v", spaces, err)
	}
	if found := load(t, engine, 0, near); found == nil || found.Head.Last != 5 {
		t.Errorf("a space with a similar name: %+v", found)
	}
	d.Must(persistence.Change{Key: near, Snapshot: &persistence.Snapshot{Seq: 5, SavedAt: SavedAt, Pieces: 1}}) // its piece is there
}
