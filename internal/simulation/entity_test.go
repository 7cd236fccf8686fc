package simulation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/cryptotest"
)

// entityOps is how many operations a run of entities begins when nobody says so: fewer than a run of the journal, since
// each of them is a whole turn.
const entityOps = 300

// TestEntitySeed runs game servers against activations: -seed alone, or -seeds fresh ones, or a few that are always the same.
func TestEntitySeed(t *testing.T) {
	seeds, ops := fixedSeeds()[:6], entityOps
	switch {
	case *seedFlag != 0:
		seeds, ops = []uint64{*seedFlag}, *opsFlag
	case *seedsFlag != 0:
		seeds, ops = nil, *opsFlag
		for range *seedsFlag {
			seeds = append(seeds, rand.Uint64N(1_000_000_000)+1)
		}
	}
	var all entityCounts
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			e, w, err := simulateEntities(t, NewConfig(seed, ops), NoEntityMutation)
			if err != nil {
				t.Fatal(errors.Join(err, fmt.Errorf("replay: go test ./internal/simulation -run TestEntitySeed -seed=%d -ops=%d", seed, ops)))
			}
			t.Logf("%v virtual, %+v, %+v", w.Now(), w.Counts, e.counts)
			all.add(&e.counts)
		})
	}
	t.Logf("%d runs: %+v", len(seeds), all)
	if len(seeds) > 5 {
		all.checkWork(t, len(seeds)*ops)
	}
}

// checkWork fails when runs of so many operations did hardly anything of what they are for.
func (c *entityCounts) checkWork(t *testing.T, ops int) {
	t.Helper()
	for name, did := range map[string][2]int{
		"turns": {c.Turns, ops / 2}, "activations": {c.Activations, ops / 50}, "passivations": {c.Passivations, ops / 200},
		"saves": {c.Saves, ops / 200}, "sudden stops": {c.SuddenStops, 3}, "opened sessions": {c.Opens, ops / 50},
		"durable commands": {c.Durable, ops / 8}, "memory commands": {c.Memory, ops / 20}, "reads": {c.Reads, ops / 20},
		"retries": {c.Retries, ops / 10}, "questions for outcomes": {c.Asked, ops / 200}, "repeats": {c.Repeats, ops / 200},
		"refusals": {c.Refused, ops / 200}, "sessions taken over": {c.Taken, ops / 100}, "lost MEMORY events": {c.MemoryLost, 1},
		"judged histories": {c.Judged, 5}, "transfers": {c.Transfers, 20}, "transfers found by claims": {c.Resumed, 2},
	} {
		if did[0] < did[1] {
			t.Errorf("%d %s, want at least %d: the simulation does not do its work", did[0], name, did[1])
		}
	}
	if c.NotJudged > c.Judged/10 {
		t.Errorf("%d histories were too long to be judged, %d were judged", c.NotJudged, c.Judged)
	}
}

func simulateEntities(t *testing.T, config Config, mutation EntityMutation) (*entities, *World, error) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, config.Seed)
	e := newEntities(mutation)
	w := New(config, e)
	return e, w, w.Run()
}

// Goal: the same seed does the same, turn for turn.
func TestEntitySeedReplays(t *testing.T) {
	for seed := range uint64(4) {
		var traces [2]uint64
		var counts [2]entityCounts
		for i := range traces {
			config := NewConfig(seed+1, 150)
			config.Store = false
			e, w, err := simulateEntities(t, config, NoEntityMutation)
			if err != nil {
				t.Fatal(err)
			}
			traces[i], counts[i] = w.Trace(), e.counts
		}
		if traces[0] != traces[1] || counts[0] != counts[1] {
			t.Errorf("seed %d does something else when it is replayed:\n%+v\n%+v", seed+1, counts[0], counts[1])
		}
	}
}
