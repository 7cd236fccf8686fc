package pebblestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// harm replaces the value at key by change(value) and returns what undoes it. change returning nil deletes.
func harm(tb testing.TB, s *pebblestore.Store, key []byte, change func([]byte) []byte) (undo func()) {
	tb.Helper()
	stored, closer, err := s.DB().Get(key)
	if err != nil {
		tb.Fatalf("%q: %v", key, err)
	}
	original := bytes.Clone(stored)
	if err = closer.Close(); err != nil {
		tb.Fatal(err)
	}
	set := func(value []byte) {
		if value == nil {
			err = s.DB().Delete(key, pebble.NoSync)
		} else {
			err = s.DB().Set(key, value, pebble.NoSync)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	set(change(bytes.Clone(original)))
	return func() { set(original) }
}

func flip(value []byte) []byte {
	value[len(value)/2] ^= 0x10
	return value
}

func cut(value []byte) []byte { return value[:len(value)-1] }

func remove([]byte) []byte { return nil }

// Goal: stored bytes that do not verify are never taken for state nor for absence; they are in quarantine, the load steps
// around them when that reaches the head, and the original is back when the fault is gone.
func TestCorruptValues(t *testing.T) {
	k := persistencetest.Player("1001")
	p := persistence.PartitionOf(k, 2)
	entry := func(seq persistence.Seq) []byte { return pebblestore.EntryKey(p, k, seq) }
	snapshot := func(seq persistence.Seq) []byte { return pebblestore.SnapshotKey(p, k, "", seq) }
	head := pebblestore.HeadKey(p, k)
	for _, c := range []struct {
		name   string
		keys   [][]byte
		change func([]byte) []byte
		// from is the seq of the snapshot that is found; want the error instead.
		from       persistence.Seq
		want       error
		quarantine int // values
	}{
		{"newest snapshot flipped", [][]byte{snapshot(7)}, flip, 4, nil, 1},
		{"newest snapshot cut", [][]byte{snapshot(7)}, cut, 4, nil, 1},
		{"newest snapshot gone", [][]byte{snapshot(7)}, remove, 4, nil, 0},
		{"older snapshot flipped", [][]byte{snapshot(4)}, flip, 7, nil, 0}, // nobody looks; verify does
		{"both snapshots flipped", [][]byte{snapshot(4), snapshot(7)}, flip, 0, persistence.ErrCorrupt, 2},
		{"entry flipped", [][]byte{entry(8)}, flip, 0, persistence.ErrCorrupt, 1},
		{"last entry cut", [][]byte{entry(9)}, cut, 0, persistence.ErrCorrupt, 1},
		{"last entry gone", [][]byte{entry(9)}, remove, 0, persistence.ErrCorrupt, 0},
		{"entry gone", [][]byte{entry(8)}, remove, 0, persistence.ErrCorrupt, 0},
		{"snapshot and an entry that it covers", [][]byte{snapshot(7), entry(5)}, flip, 0, persistence.ErrCorrupt, 2},
		{"head flipped", [][]byte{head}, flip, 0, persistence.ErrCorrupt, 1},
		{"head gone", [][]byte{head}, remove, 0, persistence.ErrCorrupt, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, vfs.NewMem())
			d := persistencetest.NewDriver(t, s, p)
			d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 4), Snapshot: persistencetest.State(t, 4)})
			d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 5, 7), Snapshot: persistencetest.State(t, 7)})
			d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 8, 9)})
			original, err := s.Load(t.Context(), p, k)
			if err != nil {
				t.Fatal(err)
			}
			var undo []func()
			for _, key := range c.keys {
				undo = append(undo, harm(t, s, key, c.change))
			}
			before := digest(t, s, p)
			for range 2 { // a second try changes nothing
				got, err := s.Load(t.Context(), p, k)
				if !errors.Is(err, c.want) || errors.Is(err, persistence.ErrAbsent) {
					t.Fatalf("load: %v, want %v", err, c.want)
				}
				if err == nil && (got.Snapshot.Seq != c.from || !reflect.DeepEqual(got.Head, original.Head) ||
					!reflect.DeepEqual(got.Entries, persistencetest.Entries(t, c.from+1, 9))) {
					t.Errorf("found %+v, want the state at %d and all entries after it", got, c.from)
				}
			}
			if digest(t, s, p) != before {
				t.Error("the load changed the partition")
			}
			checkQuarantine(t, s, c.keys, c.quarantine)
			if sum, err := s.Verify(t.Context(), nil); err != nil || sum.Problems == 0 {
				t.Errorf("verify found nothing: %+v, %v", sum, err)
			}
			for _, f := range undo {
				f()
			}
			if got, err := s.Load(t.Context(), p, k); err != nil || !reflect.DeepEqual(got, original) {
				t.Errorf("when the fault is gone: %+v, %v; want %+v", got, err, original)
			}
		})
	}
}

func checkQuarantine(tb testing.TB, s *pebblestore.Store, keys [][]byte, want int) {
	tb.Helper()
	found := 0
	err := s.Quarantined(tb.Context(), func(q pebblestore.Quarantined) bool {
		found++
		stored, closer, err := s.DB().Get(q.StoredKey)
		if err != nil {
			tb.Fatal(err)
		}
		if !bytes.Equal(stored, q.Value) || q.Reason == "" || q.At.IsZero() {
			tb.Errorf("in quarantine %+v, stored is %x", q, stored)
		}
		if err = closer.Close(); err != nil {
			tb.Error(err)
		}
		return true
	})
	if err != nil || found != want {
		tb.Errorf("%d values in quarantine (%v), want %d of %q", found, err, want, keys)
	}
}

// Goal: the copy in quarantine survives a power cut, though nothing else is synced.
func TestQuarantineIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	d := persistencetest.NewDriver(t, s, 0)
	k := persistencetest.Player("1")
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 2)})
	harm(t, s, pebblestore.EntryKey(0, k, 2), flip)
	if _, err := s.Load(t.Context(), 0, k); !errors.Is(err, persistence.ErrCorrupt) {
		t.Fatalf("load: %v, want ErrCorrupt", err)
	}
	after := open(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	checkQuarantine(t, after, nil, 1)
}

// Goal: the only snapshot does not matter while the journal is whole.
func TestFirstSnapshotCorruptIsReplayed(t *testing.T) {
	s := open(t, vfs.NewMem())
	d := persistencetest.NewDriver(t, s, 0)
	k := persistencetest.Player("1")
	d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 4), Snapshot: persistencetest.State(t, 3)})
	harm(t, s, pebblestore.SnapshotKey(0, k, "", 3), flip)
	got, err := s.Load(t.Context(), 0, k)
	if err != nil || got.Snapshot.Seq != 0 || len(got.Entries) != 4 || got.Quarantined != 1 {
		t.Fatalf("found %+v, %v; want the four entries alone", got, err)
	}
}

// Goal: what a newer version wrote is neither quarantined nor stepped around.
func TestNewerIsLeftAlone(t *testing.T) {
	k := persistencetest.Player("1")
	for name, c := range map[string]struct {
		key    []byte
		change func([]byte) []byte
	}{
		"snapshot": {pebblestore.SnapshotKey(0, k, "", 4), func([]byte) []byte { return newerFrame(t) }},
		"entry":    {pebblestore.EntryKey(0, k, 5), func([]byte) []byte { return newerFrame(t) }},
		"head":     {pebblestore.HeadKey(0, k), newerHead},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, vfs.NewMem())
			d := persistencetest.NewDriver(t, s, 0)
			d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 4), Snapshot: persistencetest.State(t, 2)})
			d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 5, 5), Snapshot: persistencetest.State(t, 4)})
			harm(t, s, c.key, c.change)
			if _, err := s.Load(t.Context(), 0, k); !errors.Is(err, persistence.ErrNewer) || errors.Is(err, persistence.ErrCorrupt) {
				t.Errorf("load: %v, want ErrNewer", err)
			}
			checkQuarantine(t, s, nil, 0)
		})
	}
}

// Goal: a disk that fails to read never makes a player absent, nor corrupt, and the player is back when it reads again.
func TestFailingReadsNeverMeanAbsent(t *testing.T) {
	mem := vfs.NewMem()
	const players = 200
	fill(t, mem, players)
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var mu sync.Mutex // Pebble reads in the background too
		toggle := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind.ReadOrWrite() == errorfs.OpIsRead && strings.HasSuffix(op.Path, ".sst") && rng.IntN(2) == 0 {
				return errorfs.ErrInjected
			}
			return nil
		})}
		s := open(t, errorfs.Wrap(mem, toggle))
		toggle.On()
		failed := 0
		for i := range players {
			k := persistencetest.Player(fmt.Sprint(i))
			switch got, err := s.Load(t.Context(), 0, k); {
			case err == nil && got.Head.Last != 5:
				t.Fatalf("seed %d: %s: found %+v", seed, k, got)
			case errors.Is(err, persistence.ErrAbsent) || errors.Is(err, persistence.ErrCorrupt):
				t.Fatalf("seed %d: %s: %v, but only reading failed", seed, k, err)
			case err != nil:
				failed++
			}
		}
		toggle.Off()
		if failed == 0 {
			t.Errorf("seed %d: no read failed, it shows nothing", seed)
		}
		for i := range players {
			if got, err := s.Load(t.Context(), 0, persistencetest.Player(fmt.Sprint(i))); err != nil || got.Head.Last != 5 {
				t.Fatalf("seed %d: when it reads again: %+v, %v", seed, got, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// fill makes a store on fs with players 0 to count-1 of five entries each, in tables.
func fill(tb testing.TB, fs vfs.FS, count int) {
	tb.Helper()
	s := open(tb, fs)
	d := persistencetest.NewDriver(tb, s, 0)
	for i := range count {
		k := persistencetest.Player(fmt.Sprint(i))
		d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(tb, 1, 5), Snapshot: persistencetest.State(tb, 4)})
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

// Goal: a flipped byte anywhere in a table never makes a player absent or different.
func TestFlippedTableBytesNeverMeanAbsent(t *testing.T) {
	clean := vfs.NewMem()
	const players = 40
	fill(t, clean, players)
	name, table := onlyTable(t, clean)
	noticed := 0
	for at := 0; at < len(table); at += 397 {
		fs := vfs.NewMem()
		if _, err := vfs.Clone(clean, fs, "data", "data"); err != nil {
			t.Fatal(err)
		}
		harmed := bytes.Clone(table)
		harmed[at] ^= 0x04
		writeFile(t, fs, name, harmed)
		s, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: "data", CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
		if err != nil {
			noticed++
			continue
		}
		for i := range players {
			var got *persistence.Loaded
			got, err = s.Load(t.Context(), 0, persistencetest.Player(fmt.Sprint(i)))
			if errors.Is(err, persistence.ErrAbsent) || err == nil && got.Head.Last != 5 {
				t.Fatalf("byte %d of %d flipped: player %d: %+v, %v", at, len(table), i, got, err)
			}
			if err != nil {
				noticed++
			}
		}
		if err = s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if noticed == 0 {
		t.Error("no flipped byte was noticed: it shows nothing")
	}
}
