package replication

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// storeCuts is powerCuts with the real state machine, on the same disk as the log.
func storeCuts(t *testing.T, seed uint64, rounds int, faults Faults) error {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewCrashableMem()
	acked := map[string]persistence.Seq{}
	for round := range rounds {
		store, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: "data/state", Partitions: testPartitions, MemTableBytes: 256 << 10, CacheBytes: 1 << 20})
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		opts := testOptions(fs, nil)
		opts.StateMachine, opts.Faults = store, faults
		n, err := open(t, opts)
		if err != nil {
			return errors.Join(fmt.Errorf("round %d: %w", round, err), store.Close())
		}
		book := &ledger{acked: acked, left: 1 + rng.IntN(300), cut: make(chan struct{})}
		last := func(p persistence.Partition, id string) persistence.Seq {
			loaded, err := store.Load(t.Context(), p, persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: id})
			if errors.Is(err, persistence.ErrAbsent) {
				return 0
			}
			if err != nil || len(loaded.Entries) != int(loaded.Head.Last) {
				t.Errorf("load %s: %v", id, err)
				return 0
			}
			return loaded.Head.Last
		}
		loadErr := n.load(book, last, 1+rng.IntN(2000))
		if loadErr == nil {
			book.mu.Lock()
			acked = maps.Clone(book.acked)
			book.mu.Unlock()
			fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		}
		n.stop()
		if err := errors.Join(loadErr, n.end(t), store.Close(), book.wrong); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

// seeds are tried in turn; each cuts the power five times: -seeds 40 is 200 cuts.
var seeds = flag.Uint64("seeds", 6, "how many seeds TestStoreSurvivesPowerCuts tries")

// Goal: with the real store too, no acknowledged change is lost, doubled or out of order, whenever the power goes.
func TestStoreSurvivesPowerCuts(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if err := storeCuts(t, seed, 5, Faults{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStorePowerCutsFindFaults(t *testing.T) {
	for name, faults := range map[string]Faults{"SkipSync": {SkipSync: true}, "TruncateTooFar": {TruncateTooFar: true}} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				if err := storeCuts(t, seed, 5, faults); err != nil {
					t.Log("found: ", err)
					return
				}
			}
			t.Fatal("nothing was found")
		})
	}
}
