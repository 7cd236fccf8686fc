package pebblestore_test

import (
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// newerFrame is a whole frame of a format that this build does not know.
func newerFrame(tb testing.TB) []byte {
	tb.Helper()
	framed := persistencetest.Frame(tb, "from the future")
	framed = framed[:len(framed)-8]
	framed[1] = 200
	sum := xxh3.Hash(framed)
	for shift := 0; shift < 64; shift += 8 {
		framed = append(framed, byte(sum>>shift))
	}
	return framed
}

// newerHead is a whole head of a version that this build does not know.
func newerHead(value []byte) []byte {
	body := append([]byte{9}, value[1:len(value)-4]...)
	sum := uint32(xxh3.Hash(body)) //nolint:gosec // the low half
	for shift := 0; shift < 32; shift += 8 {
		body = append(body, byte(sum>>shift))
	}
	return body
}

// onlyTable returns the name and the bytes of the one table of the store on fs.
func onlyTable(tb testing.TB, fs vfs.FS) (string, []byte) {
	tb.Helper()
	names, err := fs.List("data")
	if err != nil {
		tb.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".sst") })
	var name string
	var content []byte
	for _, n := range names {
		f, err := fs.Open(path.Join("data", n))
		if err != nil {
			tb.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			tb.Fatal(err)
		}
		if len(b) > len(content) { // the other is what the store is
			name, content = path.Join("data", n), b
		}
	}
	if name == "" {
		tb.Fatalf("no table among %v", names)
	}
	return name, content
}

func writeFile(tb testing.TB, fs vfs.FS, name string, content []byte) {
	tb.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(content)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func TestPartitionsAreFixedWhenMade(t *testing.T) {
	fs := vfs.NewMem()
	first := open(t, fs)
	id := first.ID()
	if first.Partitions() != 2 || len(id) != 32 {
		t.Errorf("%d partitions, id %q", first.Partitions(), id)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: "data", Partitions: 64, MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if again.Partitions() != 2 || again.ID() != id {
		t.Errorf("opened again with %d partitions as %s, want 2 as %s", again.Partitions(), again.ID(), id)
	}
	if _, err = again.Apply([]persistence.Committed{{Partition: 2, Index: 1, Term: 1}}); !errors.Is(err, pebblestore.ErrFailed) {
		t.Errorf("apply to a partition that does not exist: %v, want ErrFailed", err)
	}
	if err = again.Close(); !errors.Is(err, pebblestore.ErrFailed) {
		t.Errorf("close of a failed store: %v, want ErrFailed", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	o := pebblestore.Options{Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20}
	set := func(key, value []byte) vfs.FS {
		fs := vfs.NewMem()
		db, err := pebble.Open("data", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
		if err != nil {
			t.Fatal(err)
		}
		if err = errors.Join(db.Set(key, value, pebble.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
		return fs
	}
	for name, c := range map[string]struct {
		fs   vfs.FS
		want error
	}{
		"newer format":    {set(pebblestore.InfoKey(), []byte{2, 2}), persistence.ErrNewer},
		"broken info":     {set(pebblestore.InfoKey(), []byte{1, 2, 3}), persistence.ErrCorrupt},
		"somebody else's": {set([]byte("hello"), []byte("world")), persistence.ErrCorrupt},
	} {
		o.FS = c.fs
		if _, err := pebblestore.Open(o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := pebblestore.Open(pebblestore.Options{Partitions: 5000}); err == nil || !strings.Contains(err.Error(), "5000") || !strings.Contains(err.Error(), "directory") {
		t.Errorf("bad options: %v, want all that is wrong", err)
	}
	o.FS, o.ReadOnly = vfs.NewMem(), true
	if _, err := pebblestore.Open(o); err == nil || errors.Is(err, pebblestore.ErrLocked) {
		t.Errorf("read only, nothing there: %v", err)
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	fs := vfs.NewMem()
	first := open(t, fs)
	o := pebblestore.Options{FS: fs, Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20}
	if _, err := pebblestore.Open(o); !errors.Is(err, pebblestore.ErrLocked) || !strings.Contains(err.Error(), "stop the other") {
		t.Errorf("opened twice: %v, want ErrLocked and what to do", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := first.Load(t.Context(), 0, persistencetest.Player("1")); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("load after close: %v, want ErrClosed", err)
	}
	if _, err := first.Apply(nil); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("apply after close: %v, want ErrClosed", err)
	}
	again, err := pebblestore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err = again.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyLooksAndChangesNothing(t *testing.T) {
	fs := vfs.NewMem()
	fill(t, fs, 3)
	s, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: "data", ReadOnly: true, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := s.Verify(t.Context(), func(p pebblestore.Problem) { t.Logf("%s: %v", p.Key, p.Err) })
	if want := (pebblestore.Summary{Entities: 3, Entries: 15, Snapshots: 3, Problems: sum.Problems, Bytes: sum.Bytes}); err != nil || sum != want {
		t.Errorf("verify: %+v, %v; want %+v", sum, err, want)
	}
	if _, err = s.Load(t.Context(), 0, persistencetest.Player("1")); err != nil {
		t.Error(err)
	}
	if _, err = s.Apply([]persistence.Committed{{Partition: 0, Index: 99, Term: 1}}); err == nil {
		t.Error("apply to a store opened to look at it succeeded")
	}
	if err = s.Close(); err != nil {
		t.Error(err)
	}
}

// Goal: a disk that takes no more writes stops the store: the owner hears it, nothing waits for ever, nothing succeeds.
func TestFailedFlushIsFatal(t *testing.T) {
	full := errors.New("no space left on device")
	toggle := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasSuffix(op.Path, ".sst") {
			return full
		}
		return nil
	})}
	heard := make(chan error, 1) // OnFatal is called once
	s, err := pebblestore.Open(pebblestore.Options{
		FS: errorfs.Wrap(vfs.NewMem(), toggle), Dir: "data", Partitions: 2, MemTableBytes: 1 << 20, CacheBytes: 1 << 20,
		OnFatal: func(err error) { heard <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	d := persistencetest.NewDriver(t, s, 0)
	d.Must(persistence.Change{Key: persistencetest.Player("1"), Entries: persistencetest.Entries(t, 1, 3)})
	toggle.On()
	if err = s.Flush(); !errors.Is(err, pebblestore.ErrFailed) || !errors.Is(err, full) {
		t.Errorf("flush: %v, want ErrFailed with its cause", err)
	}
	if err = <-heard; !errors.Is(err, full) {
		t.Errorf("heard %v", err)
	}
	if _, err = s.Apply(d.Log); !errors.Is(err, pebblestore.ErrFailed) {
		t.Errorf("apply: %v, want ErrFailed", err)
	}
	toggle.Off() // so that the background ends
	if err = s.Close(); !errors.Is(err, pebblestore.ErrFailed) {
		t.Errorf("close: %v, want ErrFailed", err)
	}
}

func TestBrokenEntryStopsTheStore(t *testing.T) {
	s, err := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	d := persistencetest.NewDriver(t, s, 0)
	d.Must(persistence.Change{Key: persistencetest.Player("1"), Entries: persistencetest.Entries(t, 1, 1)})
	before := bytesOf(t, s)
	broken := []persistence.Committed{{Partition: 0, Index: 3, Term: 1}, {Partition: 0, Index: 4, Term: 1, Data: []byte{1, 2}}}
	if _, err = s.Apply(broken); !errors.Is(err, pebblestore.ErrFailed) || !errors.Is(err, persistence.ErrMalformedProposal) {
		t.Errorf("apply: %v, want ErrFailed and ErrMalformedProposal", err)
	}
	if !maps.Equal(bytesOf(t, s), before) {
		t.Error("a batch with a broken entry changed something")
	}
	if _, err = s.Digest(t.Context(), 0); !errors.Is(err, pebblestore.ErrFailed) {
		t.Errorf("read what was half applied: %v, want ErrFailed", err)
	}
	if _, err = s.Apply(nil); !errors.Is(err, pebblestore.ErrFailed) {
		t.Errorf("apply afterwards: %v, want ErrFailed", err)
	}
	if err = s.Close(); !errors.Is(err, pebblestore.ErrFailed) {
		t.Errorf("close: %v", err)
	}
}

// bytesOf is everything in the database.
func bytesOf(t *testing.T, s *pebblestore.Store) map[string]string {
	t.Helper()
	it, err := s.DB().NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for it.First(); it.Valid(); it.Next() {
		all[string(it.Key())] = string(it.Value())
	}
	if err = it.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}
