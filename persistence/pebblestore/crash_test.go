package pebblestore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

func digest(tb testing.TB, s *pebblestore.Store, p persistence.Partition) uint64 {
	tb.Helper()
	sum, err := s.Digest(tb.Context(), p)
	if err != nil {
		tb.Fatal(err)
	}
	return sum
}

func durable(tb testing.TB, s *pebblestore.Store, p persistence.Partition) uint64 {
	tb.Helper()
	index, err := s.Durable(p)
	if err != nil {
		tb.Fatal(err)
	}
	return index
}

func apply(tb testing.TB, s *pebblestore.Store, log []persistence.Committed) {
	tb.Helper()
	if len(log) == 0 {
		return
	}
	if _, err := s.Apply(log); err != nil {
		tb.Fatal(err)
	}
}

// crashed is what a power cut left, and what had to be in it.
type crashed struct {
	fs      *vfs.MemFS
	durable [2]uint64
}

// Goal: after a crash the store is a prefix of the log, Applied says which, what was Durable is in it, and replaying the
// rest gives the bytes of a store that never crashed. Method: cut the power while a random log is applied and flushed.
func TestCrashLeavesAPrefix(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			log := persistencetest.RandomLog(t, seed, 300)
			for _, c := range applyWithPowerCuts(t, log, rand.New(rand.NewPCG(seed, 2))) {
				checkCrashed(t, log, c)
			}
		})
	}
}

// applyWithPowerCuts applies log in random batches, flushes now and then in the background, and clones the disk in between.
func applyWithPowerCuts(tb testing.TB, log []persistence.Committed, rng *rand.Rand) (cuts []crashed) {
	tb.Helper()
	fs := vfs.NewCrashableMem()
	s := openSmall(tb, fs, 64<<10) // it is flushed by itself, between any two batches (one over half its size would go with the next)
	var flushes sync.WaitGroup
	defer flushes.Wait()
	for len(log) > 0 {
		n := min(1+rng.IntN(5), len(log))
		if rng.IntN(30) == 0 {
			flushes.Go(func() {
				if err := s.Flush(); err != nil {
					tb.Error(err)
				}
			})
		}
		apply(tb, s, log[:n])
		log = log[n:]
		if rng.IntN(15) == 0 {
			c := crashed{durable: [2]uint64{durable(tb, s, 0), durable(tb, s, 1)}}
			percent := rng.IntN(3) * 50
			c.fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			cuts = append(cuts, c)
		}
	}
	return cuts
}

func checkCrashed(tb testing.TB, log []persistence.Committed, c crashed) {
	tb.Helper()
	s, prefix := open(tb, c.fs), open(tb, vfs.NewMem())
	var applied [2]uint64
	for p := range persistence.Partition(2) {
		var err error
		if applied[p], _, err = s.Applied(p); err != nil {
			tb.Fatal(err)
		}
		if applied[p] < c.durable[p] {
			tb.Errorf("partition %d: %d applied after the crash, %d was durable before", p, applied[p], c.durable[p])
		}
		if now := durable(tb, s, p); now != applied[p] {
			tb.Errorf("partition %d: opened with %d applied, but %d durable", p, applied[p], now)
		}
	}
	for _, entry := range log {
		if entry.Index <= applied[entry.Partition] {
			apply(tb, prefix, []persistence.Committed{entry})
		}
	}
	compareStores(tb, "after the crash", s, prefix)
	apply(tb, s, log) // the log is replayed from its start, or from anywhere before Durable: the same
	apply(tb, prefix, log)
	compareStores(tb, "after the replay", s, prefix)
	if sum, err := s.Verify(tb.Context(), func(p pebblestore.Problem) {
		if !errors.Is(p.Err, pebblestore.ErrMisplaced) { // random logs use partitions as they like
			tb.Errorf("%s: %v", p.Key, p.Err)
		}
	}); err != nil || sum.Entities == 0 {
		tb.Errorf("verify: %+v, %v", sum, err)
	}
}

func compareStores(tb testing.TB, when string, got, want *pebblestore.Store) {
	tb.Helper()
	for p := range persistence.Partition(2) {
		if digest(tb, got, p) != digest(tb, want, p) {
			tb.Errorf("%s: partition %d is not the log up to its applied index", when, p)
		}
	}
}

// Goal: Durable never counts what a crash would take.
func TestDurableIsOnlyWhatWasFlushed(t *testing.T) {
	s := open(t, vfs.NewMem())
	d := persistencetest.NewDriver(t, s, 0)
	d.Must(persistence.Change{Key: persistencetest.Player("1"), Entries: persistencetest.Entries(t, 1, 3)})
	if index := durable(t, s, 0); index != 0 {
		t.Errorf("%d durable before the first flush", index)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	d.Must(persistence.Change{Key: persistencetest.Player("1"), Entries: persistencetest.Entries(t, 4, 4)})
	if index := durable(t, s, 0); index != 2 {
		t.Errorf("%d durable, want the 2 before the flush", index)
	}
	if index, _, err := s.Applied(0); index != 3 || err != nil {
		t.Errorf("%d applied (%v), want 3", index, err)
	}
}

func TestCloseKeepsEverything(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	d := persistencetest.NewDriver(t, s, 0)
	d.Must(persistence.Change{Key: persistencetest.Player("1"), Entries: persistencetest.Entries(t, 1, 3)})
	want := digest(t, s, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, fs.CrashClone(vfs.CrashCloneCfg{})); digest(t, again, 0) != want {
		t.Error("something is missing after Close and a power cut")
	}
}
