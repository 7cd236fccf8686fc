package pebblestore_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// mended is an entity in partition 0: snapshots at 4 and 7 (in two pieces), entries to 9, and a part.
func mended(tb testing.TB) (*pebblestore.Store, *persistencetest.Driver, persistence.Key) {
	tb.Helper()
	s := open(tb, vfs.NewMem())
	k := persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: "1001"}
	d := persistencetest.NewDriver(tb, s, 0)
	value := persistencetest.Frame(tb, strings.Repeat("large ", 1000))
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(tb, 1, 4), Snapshot: persistencetest.State(tb, 4)})
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(tb, 5, 7), Piece: &persistence.Piece{Seq: 7, Data: value[:3000]}})
	d.Must(persistence.Change{
		Key: k, Piece: &persistence.Piece{Seq: 7, Index: 1, Data: value[3000:]},
		Snapshot: &persistence.Snapshot{Seq: 7, SavedAt: persistencetest.SavedAt, Pieces: 2},
	})
	part := persistencetest.State(tb, 8)
	part.Part = "chunk"
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(tb, 8, 9), Snapshot: part})
	return s, d, k
}

// mend repairs what is damaged in a part of k on s with what peer has.
func mend(tb testing.TB, s, peer *pebblestore.Store, k persistence.Key, part persistence.Part) (damaged []persistence.ValueName, repaired int) {
	tb.Helper()
	damaged, err := s.Damaged(tb.Context(), 0, k, part, 100)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := peer.Raw(tb.Context(), 0, k, damaged)
	if err != nil {
		tb.Fatal(err)
	}
	if repaired, err = s.Repair(tb.Context(), 0, k, raw); err != nil {
		tb.Fatal(err)
	}
	return damaged, repaired
}

func quarantined(tb testing.TB, s *pebblestore.Store) (values [][]byte) {
	tb.Helper()
	if err := s.Quarantined(tb.Context(), func(q pebblestore.Quarantined) bool {
		values = append(values, q.Value)
		return true
	}); err != nil {
		tb.Fatal(err)
	}
	return values
}

// Goal: what is damaged or missing here is mended from another replica, to the byte, whether or not that one is at the same
// index; the damaged bytes are kept. Method: harm each kind of value in turn.
func TestValuesAreMended(t *testing.T) {
	entry := func(seq persistence.Seq) persistence.ValueName { return persistence.ValueName{Seq: seq} }
	state := func(part persistence.Part, seq persistence.Seq) persistence.ValueName {
		return persistence.ValueName{Part: part, Seq: seq, Snapshot: true}
	}
	for _, c := range []struct {
		name   string
		value  persistence.ValueName
		change func([]byte) []byte
	}{
		{"nothing", entry(8), func(b []byte) []byte { return b }},
		{"an entry flipped", entry(8), flip},
		{"an entry cut", entry(8), cut},
		{"an entry gone", entry(5), remove},
		{"a snapshot flipped", state("", 4), flip},
		{"a snapshot gone", state("", 4), remove},
		{"a piece flipped", state("", 7), flip},
		{"a piece gone", state("", 7), remove},
		{"a part's snapshot cut", state("chunk", 8), cut},
	} {
		for _, ahead := range []bool{false, true} {
			s, _, k := mended(t)
			peer, d, _ := mended(t)
			want := digest(t, peer, 0)
			if ahead { // the other replica has applied more
				d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 10, 10)})
			}
			key := pebblestore.EntryKey(0, k, c.value.Seq)
			if c.value.Snapshot {
				key = pebblestore.SnapshotKey(0, k, c.value.Part, c.value.Seq)
			}
			harm(t, s, key, c.change)
			whole := digest(t, s, 0) == want
			damaged, repaired := mend(t, s, peer, k, c.value.Part)
			if wantDamaged := !whole; (len(damaged) == 1 && damaged[0] == c.value) != wantDamaged || (repaired == 1) != wantDamaged {
				t.Errorf("%s, ahead %v: %v damaged, %d repaired", c.name, ahead, damaged, repaired)
			}
			if digest(t, s, 0) != want {
				t.Errorf("%s, ahead %v: the replicas differ", c.name, ahead)
			}
			if kept := len(quarantined(t, s)); kept > 1 || kept == 0 && !whole && !strings.Contains(c.name, "gone") {
				t.Errorf("%s, ahead %v: %d values in quarantine", c.name, ahead, kept)
			}
			wantVerified(t, s)
		}
	}
}

// Goal: nothing is written over that verifies, nor by what does not, nor by what may be another value.
func TestOnlyTheSameValueMends(t *testing.T) {
	s, _, k := mended(t)
	peer, _, _ := mended(t)
	all := []persistence.ValueName{{Seq: 4, Snapshot: true}, {Seq: 7, Snapshot: true}, {Seq: 8}, {Part: "chunk", Seq: 8, Snapshot: true}, {Seq: 1}, {Seq: 99}, {Part: "none", Seq: 1, Snapshot: true}}
	good, err := peer.Raw(t.Context(), 0, k, all)
	if err != nil || len(good.Values) != 4+1 { // of a world nothing is trimmed that no TrimTo gives up
		t.Fatalf("%d values (%v), want 5", len(good.Values), err)
	}
	other := persistencetest.Frame(t, "another value")
	for _, c := range []struct {
		name   string
		change func(raw *persistence.RawValues, v *persistence.RawValue)
		cut    bool // else flipped: the checksum at its end is still there
		want   int
	}{
		{"the same values", func(*persistence.RawValues, *persistence.RawValue) {}, true, 3},
		{"values that do not verify", func(_ *persistence.RawValues, v *persistence.RawValue) { v.Stored[0] = flip(bytes.Clone(v.Stored[0])) }, true, 0},
		{"too many pieces", func(_ *persistence.RawValues, v *persistence.RawValue) { v.Stored = append(v.Stored, nil) }, true, 0},
		{"snapshots of another time", func(_ *persistence.RawValues, v *persistence.RawValue) { v.SavedAt = v.SavedAt.Add(time.Second) }, true, 1},
		{"snapshots of another epoch", func(_ *persistence.RawValues, v *persistence.RawValue) { v.Epoch.Term++ }, true, 1},
		{"entries of another entity of that name", func(raw *persistence.RawValues, _ *persistence.RawValue) { raw.Index, raw.Snapshots = 99, nil }, true, 2},
		{"entries at the same index", func(raw *persistence.RawValues, _ *persistence.RawValue) { raw.Snapshots = nil }, true, 3},
		{"entries with the same checksum", func(raw *persistence.RawValues, _ *persistence.RawValue) { raw.Index, raw.Snapshots = 99, nil }, false, 3},
		{"another entry", func(raw *persistence.RawValues, v *persistence.RawValue) {
			raw.Index, raw.Snapshots = 99, nil
			if !v.Name.Snapshot {
				v.Stored = [][]byte{other}
			}
		}, false, 2},
	} {
		raw := good
		raw.Values = slices.Clone(good.Values)
		for i := range raw.Values {
			raw.Values[i].Stored = slices.Clone(raw.Values[i].Stored)
			c.change(&raw, &raw.Values[i])
		}
		how := flip
		if c.cut {
			how = cut
		}
		var undo []func()
		for _, key := range [][]byte{pebblestore.SnapshotKey(0, k, "", 4), pebblestore.EntryKey(0, k, 8), pebblestore.SnapshotKey(0, k, "chunk", 8)} {
			undo = append(undo, harm(t, s, key, how))
		}
		if repaired, repairErr := s.Repair(t.Context(), 0, k, raw); repaired != c.want || repairErr != nil {
			t.Errorf("%s: %d repaired (%v), want %d", c.name, repaired, repairErr, c.want)
		}
		for _, f := range undo {
			f()
		}
		if digest(t, s, 0) != digest(t, peer, 0) {
			t.Fatalf("%s: something else was written over", c.name)
		}
	}
	harm(t, s, pebblestore.HeadKey(0, k), flip)
	if _, err = s.Repair(t.Context(), 0, k, good); !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("with a damaged head: %v, want ErrCorrupt", err)
	}
}
