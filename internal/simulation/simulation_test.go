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
	t.Logf("%d runs: %+v", len(seeds), all)
}

func fixedSeeds() (seeds []uint64) {
	for seed := range uint64(10) {
		seeds = append(seeds, seed+1)
	}
	return seeds
}

// simulate runs one world with the journal's clients.
func simulate(t *testing.T, config Config) (*World, error) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, config.Seed)
	w := New(config, &journal{})
	return w, w.Run()
}

// replay says how to see err again.
func replay(seed uint64, err error) error {
	return errors.Join(err, fmt.Errorf("replay: go test ./internal/simulation -run TestSeed -seed=%d -ops=%d", seed, *opsFlag))
}
