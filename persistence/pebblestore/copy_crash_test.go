package pebblestore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// cutter is a disk whose power is cut before operations that the seed chooses, while it is on.
type cutter struct {
	mem *vfs.MemFS

	mu   sync.Mutex
	on   bool
	rng  *rand.Rand
	one  int // of how many operations one is cut before
	cuts []*vfs.MemFS
}

func (c *cutter) String() string { return "power cuts" }

// MaybeError implements [errorfs.Injector].
func (c *cutter) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on && op.Kind.ReadOrWrite() != errorfs.OpIsRead && c.rng.IntN(c.one) == 0 {
		c.cutLocked()
	}
	return nil
}

func (c *cutter) cutLocked() {
	c.cuts = append(c.cuts, c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(3) * 50, RNG: c.rng}))
}

// during returns the disks that power cuts at moments of f left.
func (c *cutter) during(f func()) []*vfs.MemFS {
	c.mu.Lock()
	c.on, c.cuts = true, nil
	c.mu.Unlock()
	f()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
	c.cutLocked()
	return c.cuts
}

// Goal: a power cut at any moment of a Commit or a Drop leaves the old partition or the new one, whole, at least what was
// durable, and nothing in the copies' directory; once it has returned, the new one. The log brings both to the same
// bytes, and the other partition is a prefix of its log. Method: cut before many writes and syncs of the disk.
func TestReplaceSurvivesPowerCuts(t *testing.T) {
	cuts := 0
	for seed := range uint64(4) {
		for _, drop := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed=%d drop=%v", seed, drop), func(t *testing.T) { cuts += replaceWithPowerCuts(t, seed, drop) })
		}
	}
	if cuts < 25 {
		t.Errorf("only %d power cuts: this shows little", cuts)
	}
}

// replaceWithPowerCuts returns how many cuts there were.
func replaceWithPowerCuts(t *testing.T, seed uint64, drop bool) int {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	log := persistencetest.RandomLog(t, seed, 300)
	disk := &cutter{mem: vfs.NewCrashableMem(), rng: rng, one: 2}
	from, to := openForCopies(t, vfs.NewMem()), openForCopies(t, errorfs.Wrap(disk.mem, disk))
	oldIndex, newIndex := 20+rng.Uint64N(40), 100+rng.Uint64N(20)
	apply(t, from, ofPartition(log, 0, 1, newIndex))
	frames, _ := copyOut(t, from, 0)
	apply(t, to, ofPartition(log, 0, 1, oldIndex/2))
	apply(t, to, ofPartition(log, 1, 1, 40))
	if rng.IntN(2) == 0 {
		if err := to.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, to, ofPartition(log, 0, oldIndex/2+1, oldIndex))
	apply(t, to, ofPartition(log, 1, 41, 80))
	floor := [2]uint64{durable(t, to, 0), durable(t, to, 1)}

	crashes := disk.during(func() {
		if drop {
			newIndex = 0
			if err := to.Drop(0); err != nil {
				t.Error(err)
			}
			return
		}
		if index, _, err := copyIn(t, to, 0, frames); err != nil || index != newIndex {
			t.Errorf("%d (%v), want %d", index, err, newIndex)
		}
	})
	for i, crash := range crashes {
		s := open(t, crash)
		wantNoCopies(t, crash)
		index, _, err := s.Applied(0)
		other, _, otherErr := s.Applied(1)
		switch done := i == len(crashes)-1; {
		case err != nil || otherErr != nil:
			t.Fatal(err, otherErr)
		case done && index != newIndex:
			t.Errorf("after it had returned: %d applied, want %d", index, newIndex)
		case index != newIndex && (index < floor[0] || index > oldIndex), other < floor[1]:
			t.Errorf("cut %d: %d and %d applied, %v was durable", i, index, other, floor)
		case durable(t, s, 0) != index:
			t.Errorf("cut %d: opened with %d applied, but %d durable", i, index, durable(t, s, 0))
		}
		want := openForCopies(t, vfs.NewMem())
		apply(t, want, ofPartition(log, 0, 1, index))
		apply(t, want, ofPartition(log, 1, 1, other))
		compareStores(t, fmt.Sprintf("cut %d", i), s, want)
		for _, s := range []*pebblestore.Store{s, want} {
			apply(t, s, ofPartition(log, 0, index+1, all))
			apply(t, s, ofPartition(log, 1, other+1, all))
		}
		compareStores(t, fmt.Sprintf("cut %d, after the rest of the log", i), s, want)
	}
	return len(crashes)
}

// Goal: what could not be written, synced or linked of a copy is never told as success. Method: one operation in turn fails,
// among those in the copies' directory (Pebble ends the process itself when it cannot write its own list of tables).
func TestCopyOnABadDisk(t *testing.T) {
	log := persistencetest.RandomLog(t, 1, 200)
	from := openForCopies(t, vfs.NewMem())
	apply(t, from, ofPartition(log, 0, 1, all))
	frames, newest := copyOut(t, from, 0)
	for n := int64(0); ; n++ {
		var left atomic.Int64 // writes until one fails
		left.Store(1 << 30)
		mem := vfs.NewCrashableMem()
		to, err := pebblestore.Open(pebblestore.Options{
			FS: errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.Contains(op.Path, "copies") && left.Add(-1) == -1 {
					return errorfs.ErrInjected
				}
				return nil
			})), Dir: "data", Partitions: 2, CacheBytes: 1 << 20, MemTableBytes: 64 << 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, to, ofPartition(log, 0, 1, 20))
		before := digest(t, to, 0)
		left.Store(n)
		err = tryCopy(to, frames)
		failed := left.Swap(1<<30) < 0
		again, openErr := pebblestore.Open(pebblestore.Options{FS: mem.CrashClone(vfs.CrashCloneCfg{}), Dir: "data", Partitions: 2, CacheBytes: 1 << 20})
		if openErr != nil {
			t.Fatalf("write %d failed: %v", n, openErr)
		}
		switch index, _, _ := again.Applied(0); {
		case err == nil && index != newest:
			t.Errorf("write %d failed: taken, but %d applied after a power cut", n, index)
		case index != 0 && index != 20 && index != newest:
			t.Errorf("write %d failed: %d applied", n, index)
		case index == 20 && digest(t, again, 0) != before || index == newest && digest(t, again, 0) != digest(t, from, 0):
			t.Errorf("write %d failed: neither the old partition nor the new one", n)
		}
		_ = again.Close()
		_ = to.Close()
		if !failed {
			if n < 5 {
				t.Errorf("only %d writes: this shows little", n)
			}
			return
		}
	}
}

// Goal: a Commit waits for the flush of what it puts its tables under, and does not wait for ever when there is none: what it
// tells is durable, or it failed. Method: no table can be written but the copy's own.
func TestCopyNeedsTheFlush(t *testing.T) {
	log := persistencetest.RandomLog(t, 1, 200)
	from := openForCopies(t, vfs.NewMem())
	apply(t, from, ofPartition(log, 0, 1, all))
	frames, _ := copyOut(t, from, 0)
	var full atomic.Bool
	mem := vfs.NewCrashableMem()
	to, err := pebblestore.Open(pebblestore.Options{
		FS: errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if full.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") && !strings.Contains(op.Path, "copies") {
				return errorfs.ErrInjected
			}
			return nil
		})), Dir: "data", Partitions: 2, CacheBytes: 1 << 20, MemTableBytes: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = to.Close() }() // it cannot flush
	apply(t, to, ofPartition(log, 0, 1, 20))
	full.Store(true)
	if err = tryCopy(to, frames); !errors.Is(err, pebblestore.ErrFailed) {
		t.Errorf("%v, want ErrFailed", err)
	}
	again := open(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if index, _, err := again.Applied(0); index != 0 || err != nil {
		t.Errorf("%d applied (%v), want 0", index, err)
	}
}

// tryCopy takes a copy of partition 0.
func tryCopy(s *pebblestore.Store, frames [][]byte) error {
	w, err := s.CopyIn(0)
	if err != nil {
		return err
	}
	for _, frame := range frames {
		if err = w.Write(frame); err != nil {
			_ = w.Abort()
			return err
		}
	}
	_, _, err = w.Commit()
	return err
}
