package pebblestore_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// open opens a store of two partitions on fs, closed at the end of the test.
func open(tb testing.TB, fs vfs.FS) *pebblestore.Store {
	tb.Helper()
	return openSmall(tb, fs, 1<<20)
}

// openSmall is open with a memtable of that size: a small one is flushed often.
func openSmall(tb testing.TB, fs vfs.FS, memTableBytes uint64) *pebblestore.Store {
	tb.Helper()
	s, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: "data", Partitions: 2, CacheBytes: 1 << 20, MemTableBytes: memTableBytes, CachedHeads: 4})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestPromises(t *testing.T) {
	persistencetest.Run(t, func(t *testing.T) persistencetest.Engine {
		t.Helper()
		return open(t, vfs.NewMem())
	})
}
