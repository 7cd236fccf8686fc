package persistencetest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Run holds an engine to the promises. open returns an empty engine of at least two partitions, closed by the test's
// cleanup; it is called several times.
func Run(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	for _, promise := range []struct {
		name string
		test func(t *testing.T, open func(t *testing.T) Engine)
	}{
		{"FoundAsWritten", testFoundAsWritten},
		{"DuplicateIsRefused", testDuplicateIsRefused},
		{"GapIsRefused", testGapIsRefused},
		{"OldEpochIsFenced", testOldEpochIsFenced},
		{"RefusedChangesNothing", testRefusedChangesNothing},
		{"IndexIsAppliedOnce", testIndexIsAppliedOnce},
		{"ConfIsKept", testConfIsKept},
		{"SnapshotsNeverGoBackwards", testSnapshotsNeverGoBackwards},
		{"TwoSnapshotsAreKept", testTwoSnapshotsAreKept},
		{"PiecesBecomeVisibleTogether", testPiecesBecomeVisibleTogether},
		{"ClaimDropsStagedPieces", testClaimDropsStagedPieces},
		{"WorldTrimsWhatItSays", testWorldTrimsWhatItSays},
		{"PartIsGone", testPartIsGone},
		{"PartsAreListed", testPartsAreListed},
		{"AbsentOnlyWhenAbsent", testAbsentOnlyWhenAbsent},
		{"EntitiesAndSpacesAreListed", testEntitiesAndSpacesAreListed},
		{"MarksAreListed", testMarksAreListed},
		{"RecordsAreInMeta", testRecordsAreInMeta},
		{"SpaceIsErased", testSpaceIsErased},
		{"SameLogSameBytes", testSameLogSameBytes},
		{"LikeTheModel", testLikeTheModel},
	} {
		t.Run(promise.name, func(t *testing.T) { promise.test(t, open) })
	}
}

// load returns what is found of k, without TailBytes.
func load(tb testing.TB, engine Engine, p persistence.Partition, k persistence.Key) *persistence.Loaded {
	tb.Helper()
	found, err := engine.Load(tb.Context(), p, k)
	if errors.Is(err, persistence.ErrAbsent) {
		return nil
	}
	if err != nil {
		tb.Fatal(err)
	}
	found.Head.TailBytes = 0
	return found
}

func wantRefusal(tb testing.TB, what string, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Errorf("%s: %v, want %v", what, got, want)
	}
}

func testFoundAsWritten(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 1)
	k := Player("1001")
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 3)})
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 4, 5), Snapshot: State(t, 5)})
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 6, 7)})
	kept := *State(t, 5)
	kept.Epoch = d.Epoch
	bare := kept
	bare.Data = nil
	want := &persistence.Loaded{
		Head:     persistence.Head{Last: 7, Snapshots: []persistence.Snapshot{bare}},
		Snapshot: kept,
		Entries:  Entries(t, 6, 7),
	}
	if got := load(t, engine, 1, k); !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v, want %+v", got, want)
	}
	if index, term, err := engine.Applied(1); index != 4 || term != 1 || err != nil {
		t.Errorf("applied %d at term %d (%v), want 4 at 1", index, term, err)
	}
}

func testDuplicateIsRefused(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := Player("1001")
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 3)})
	before := load(t, engine, 0, k)
	wantRefusal(t, "the same entry again", d.Change(persistence.Change{Key: k, Entries: Entries(t, 3, 3)}), persistence.ErrDuplicate)
	wantRefusal(t, "an older entry", d.Change(persistence.Change{Key: k, Entries: Entries(t, 1, 1)}), persistence.ErrDuplicate)
	wantRefusal(t, "an overlap", d.Change(persistence.Change{Key: k, Entries: Entries(t, 3, 5)}), persistence.ErrDuplicate)
	other := []persistence.Entry{{Seq: 3, Data: Frame(t, "another")}}
	wantRefusal(t, "another entry of that seq", d.Change(persistence.Change{Key: k, Entries: other}), persistence.ErrDuplicate)
	if got := load(t, engine, 0, k); !reflect.DeepEqual(got, before) {
		t.Errorf("found %+v, want %+v", got, before)
	}
	twice := persistence.Change{Key: k, Epoch: d.Epoch, Entries: Entries(t, 4, 4)}
	if got := d.Changes(&twice, &twice); got[0] != nil || !errors.Is(got[1], persistence.ErrDuplicate) {
		t.Errorf("twice in one log entry: %v, want nil and ErrDuplicate", got)
	}
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 5, 6), Snapshot: State(t, 6)})
	wantRefusal(t, "an entry that a snapshot covers", d.Change(persistence.Change{Key: k, Entries: Entries(t, 2, 2)}), persistence.ErrDuplicate)
}

func testGapIsRefused(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := Player("1001")
	wantRefusal(t, "a first entry of seq 2", d.Change(persistence.Change{Key: k, Entries: Entries(t, 2, 2)}), persistence.ErrGap)
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 1)})
	wantRefusal(t, "a skipped seq", d.Change(persistence.Change{Key: k, Entries: Entries(t, 3, 4)}), persistence.ErrGap)
	wantRefusal(t, "a snapshot beyond the last", d.Change(persistence.Change{Key: k, Snapshot: State(t, 2)}), persistence.ErrGap)
	wantRefusal(t, "a piece beyond the last", d.Change(persistence.Change{Key: k, Piece: &persistence.Piece{Seq: 2, Data: []byte("x")}}), persistence.ErrGap)
	if got := load(t, engine, 0, k); got.Head.Last != 1 || len(got.Entries) != 1 {
		t.Errorf("found %+v, want one entry", got)
	}
}

func testConfIsKept(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 1)
	for i, want := range []string{"", "one replica", "three replicas"} {
		if want != "" {
			d.Conf([]byte(want))
		}
		seq := persistence.Seq(i + 1)                                                  //nolint:gosec // small
		d.Must(persistence.Change{Key: Player("1001"), Entries: Entries(t, seq, seq)}) // changes nothing of it
		if conf, err := engine.Conf(1); string(conf) != want || conf == nil != (want == "") || err != nil {
			t.Errorf("at %d: %q (%v), want %q", d.Index, conf, err, want)
		}
	}
	if conf, err := engine.Conf(0); conf != nil || err != nil {
		t.Errorf("of another partition: %q (%v), want nil", conf, err)
	}
	if index, _, err := engine.Applied(1); index != 6 || err != nil {
		t.Errorf("%d applied (%v), want 6", index, err)
	}
}

func testOldEpochIsFenced(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := Player("1001")
	d.Claim(persistence.Epoch{Generation: 1, Term: 5})
	at := func(generation uint32, term uint64) error {
		c := persistence.Change{Key: k, Epoch: persistence.Epoch{Generation: generation, Term: term}, Entries: Entries(t, 1, 1)}
		return d.Changes(&c)[0]
	}
	wantRefusal(t, "an older term", at(1, 4), persistence.ErrFenced)
	wantRefusal(t, "an older generation", at(0, 9), persistence.ErrFenced)
	wantRefusal(t, "an epoch that nobody claimed", at(1, 6), persistence.ErrFenced)
	canary := persistence.Change{Epoch: persistence.Epoch{Generation: 1, Term: 4}}
	wantRefusal(t, "an old canary", d.Changes(&canary)[0], persistence.ErrFenced)
	if err := d.Change(persistence.Change{}); err != nil {
		t.Errorf("canary of the newest epoch: %v", err)
	}
	d.Claim(persistence.Epoch{Generation: 1, Term: 3}) // late, of one who lost
	wantRefusal(t, "after an older claim came late", at(1, 3), persistence.ErrFenced)
	if got := load(t, engine, 0, k); got != nil {
		t.Errorf("found %+v, want nothing", got)
	}
	if err := at(1, 5); err != nil {
		t.Errorf("the newest epoch: %v", err)
	}
	other := NewDriver(t, engine, 1)
	other.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 1)}) // another partition has its own epoch
	unclaimed := persistence.Change{Key: k, Epoch: persistence.Epoch{Term: 2}, Entries: Entries(t, 2, 2)}
	wantRefusal(t, "another partition's newer epoch", other.Changes(&unclaimed)[0], persistence.ErrFenced)
}

func testRefusedChangesNothing(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k, k2 := Player("1001"), Player("1002")
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 1, 4), Snapshot: State(t, 4)})
	d.Must(persistence.Change{Key: k, Entries: Entries(t, 5, 5)})
	before := load(t, engine, 0, k)
	mark := []persistence.Mark{{Name: "m", Value: []byte("v")}}
	got := d.Changes(
		&persistence.Change{Key: k, Epoch: d.Epoch, Entries: Entries(t, 6, 6), Marks: mark, Snapshot: State(t, 3)},
		&persistence.Change{Key: k2, Epoch: d.Epoch, Entries: Entries(t, 1, 1)},
		&persistence.Change{Key: k, Epoch: d.Epoch, Entries: Entries(t, 6, 6), Marks: mark, Snapshot: &persistence.Snapshot{Seq: 6, Pieces: 1}},
		&persistence.Change{Key: k, Epoch: d.Epoch, Marks: mark, Entries: Entries(t, 9, 9)},
	)
	wantRefusal(t, "old snapshot", got[0], persistence.ErrOldSnapshot)
	wantRefusal(t, "pieces missing", got[2], persistence.ErrIncomplete)
	wantRefusal(t, "gap", got[3], persistence.ErrGap)
	if got[1] != nil {
		t.Errorf("the change between refused ones: %v", got[1])
	}
	if after := load(t, engine, 0, k); !reflect.DeepEqual(after, before) {
		t.Errorf("found %+v, want %+v", after, before)
	}
	if marks, err := engine.Marks(t.Context(), 0, k.Space, "m", persistence.Key{}, 10); len(marks) != 0 || err != nil {
		t.Errorf("marks of refused changes: %v, %v", marks, err)
	}
	if load(t, engine, 0, k2) == nil {
		t.Error("the change between refused ones was not applied")
	}
}

func testIndexIsAppliedOnce(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	k := Player("1001")
	for seq := persistence.Seq(1); seq <= 5; seq++ {
		d.Must(persistence.Change{Key: k, Entries: Entries(t, seq, seq)})
	}
	before := digest(t, engine, 0)
	results, err := engine.Apply(d.Log) // as after a restart
	if err != nil {
		t.Fatal(err)
	}
	for i, refusals := range results {
		if refusals != nil {
			t.Errorf("index %d again: %v, want to be skipped", i+1, refusals)
		}
	}
	if after := digest(t, engine, 0); after != before {
		t.Error("applying the same log again changed the store")
	}
	if _, err = engine.Apply([]persistence.Committed{{Partition: 0, Index: 99, Term: 7}}); err != nil {
		t.Fatal(err)
	}
	if index, term, err := engine.Applied(0); index != 99 || term != 7 || err != nil {
		t.Errorf("applied %d at %d (%v), want Raft's own entry to count: 99 at 7", index, term, err)
	}
}

func digest(tb testing.TB, engine Engine, p persistence.Partition) uint64 {
	tb.Helper()
	sum, err := engine.Digest(tb.Context(), p)
	if err != nil {
		tb.Fatal(err)
	}
	return sum
}

func testAbsentOnlyWhenAbsent(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	d.Must(persistence.Change{Key: Player("10"), Entries: Entries(t, 1, 1)})
	for _, k := range []persistence.Key{Player("1"), Player("100"), {Space: "staging", Kind: persistence.KindPlayer, ID: "10"}} {
		if _, err := engine.Load(t.Context(), 0, k); !errors.Is(err, persistence.ErrAbsent) {
			t.Errorf("%s: %v, want ErrAbsent", k, err)
		}
	}
	if _, err := engine.Load(t.Context(), 1, Player("10")); !errors.Is(err, persistence.ErrAbsent) {
		t.Errorf("in another partition: %v, want ErrAbsent", err)
	}
	if _, err := engine.Load(t.Context(), 0, persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "a/b"}); !errors.Is(err, persistence.ErrBadKey) {
		t.Errorf("a bad key: %v, want ErrBadKey", err)
	}
	if _, err := engine.Record(t.Context(), "none"); !errors.Is(err, persistence.ErrAbsent) {
		t.Errorf("a record: %v, want ErrAbsent", err)
	}
}

func testEntitiesAndSpacesAreListed(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	engine := open(t)
	d := NewDriver(t, engine, 0)
	var want []string
	for i := range 10 {
		id := fmt.Sprintf("p%d", i)
		want = append(want, id)
		d.Must(persistence.Change{Key: Player(id), Entries: Entries(t, 1, 3)})
	}
	for _, space := range []string{"a", "a-b", "zz"} {
		d.Must(persistence.Change{Key: persistence.Key{Space: space, Kind: persistence.KindPlayer, ID: "x"}, Entries: Entries(t, 1, 1)})
	}
	d.Must(persistence.Change{Key: persistence.Key{Space: "main", Kind: persistence.KindServer, ID: "s1"}, Entries: Entries(t, 1, 1)})
	var got []string
	after := ""
	for range 5 {
		page, err := engine.Entities(t.Context(), 0, "main", persistence.KindPlayer, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1]
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("entities %v, want %v", got, want)
	}
	spaces, err := engine.Spaces(t.Context(), 0)
	if err != nil || !reflect.DeepEqual(spaces, []string{"a", "a-b", "main", "zz"}) {
		t.Errorf("spaces %v, %v", spaces, err)
	}
	if spaces, err = engine.Spaces(t.Context(), 1); err != nil || len(spaces) != 0 {
		t.Errorf("spaces of an empty partition: %v, %v", spaces, err)
	}
}
