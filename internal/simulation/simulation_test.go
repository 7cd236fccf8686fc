package simulation

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/cryptotest"
)

// How to run it.
var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed alone")
	seedsFlag = flag.Int("seeds", 0, "run so many fresh seeds")
	storeFlag = flag.Bool("store", false, "keep the state in the real store in every run, not only in some")
	opsFlag   = flag.Int("ops", 1000, "how many operations the clients of a run begin")
)

// TestSeed runs -seed, or -seeds fresh ones, or a few that are always the same.
func TestSeed(t *testing.T) {
	seeds := fixedSeeds()
	switch {
	case *seedFlag != 0:
		seeds = []uint64{*seedFlag}
	case *seedsFlag != 0:
		seeds = nil
		for range *seedsFlag {
			seeds = append(seeds, rand.Uint64N(1_000_000_000)+1)
		}
	}
	var all Counts
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w, err := simulate(t, NewConfig(seed, *opsFlag))
			if err != nil {
				t.Fatal(replay(seed, err))
			}
			t.Logf("%v virtual, %+v", w.Now(), w.Counts)
			all.Add(&w.Counts)
		})
	}
	t.Logf("%d runs of %d operations: %+v", len(seeds), *opsFlag, all)
	if len(seeds) >= 10 && *opsFlag >= 500 {
		worked(t, len(seeds), &all)
	}
}

// fixedSeeds are always the same, so that a red one is known to be the change's.
// The long ones found something once.
func fixedSeeds() []uint64 {
	return []uint64{1, 2, 3, 4, 5, 6, 7, 8, 606651179, 444381058, 753502716, 651272674, 860330534, 833809411, 469632371, 775412260}
}

// worked complains when a batch of runs did too little to mean anything.
func worked(t *testing.T, runs int, c *Counts) {
	t.Helper()
	for _, least := range []struct {
		what      string
		have, min int
	}{
		{"acknowledged operations", c.Acked, c.Ops / 2},
		{"operations of unknown outcome", c.Unknown, runs},
		{"claims", c.Claims, 5 * runs},
		{"losses of a partition by a process that lives", c.Losses, runs / 2},
		{"kills", c.Kills, runs / 4},
		{"power cuts", c.PowerCuts, runs / 2},
		{"failed syncs", c.FailedSyncs, runs / 4},
		{"freezes", c.Freezes, runs / 4},
		{"cut links", c.Cuts, runs},
		{"dropped batches", c.Dropped, 50 * runs},
		{"repeated batches", c.Duplicated, runs},
		{"copies of partitions", c.Copies, runs / 2},
		{"changes of replicas", c.Changes, 2 * runs},
		{"hints", c.Hints, runs / 4},
		{"handed over", c.HandOvers, runs / 8},
		{"flipped bits", c.Rots, runs / 20},
		{"refusals to open a rotten disk", c.RefusedOpen, runs / 20},
		{"snapshots", c.Snapshots, 10 * runs},
		{"changes that had to be refused", c.Rogue, 3 * runs},
	} {
		if least.have < least.min {
			t.Errorf("%d runs had %d %s, fewer than %d: the simulation does not try enough", runs, least.have, least.what, least.min)
		}
	}
}

// TestReplay: the same seed does the same, to the last event.
func TestReplay(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		var traces [2]uint64
		var counts [2]Counts
		for i := range traces {
			config := NewConfig(seed, 300)
			config.Store = false
			w, err := simulate(t, config)
			if err != nil {
				t.Fatal(replay(seed, err))
			}
			traces[i], counts[i] = w.Trace(), w.Counts
		}
		if traces[0] != traces[1] || counts[0] != counts[1] {
			t.Errorf("seed %d, replayed, does something else:\n%+v\n%+v", seed, counts[0], counts[1])
		}
	}
}

// simulate runs one world with the journal's clients.
func simulate(t *testing.T, config Config) (*World, error) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, config.Seed)
	config.Store = config.Store || *storeFlag
	w := New(config, &journal{})
	return w, w.Run()
}

// replay says how to see err again.
func replay(seed uint64, err error) error {
	return errors.Join(err, fmt.Errorf("replay: go test ./internal/simulation -run TestSeed -seed=%d -ops=%d", seed, *opsFlag))
}
