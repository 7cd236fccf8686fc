package simulation

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
)

var mutationSeedsFlag = flag.Int("mutation-seeds", 60, "how many seeds a mutation may survive")

// mutations switch off one mechanism each.
var mutations = []struct {
	name   string
	mutate func(c *Config)
}{
	{"the epoch is not checked where changes are applied", func(c *Config) { c.Mutation = NoEpochCheck }},
	{"the same, and nobody compares with the reference", func(c *Config) { c.Mutation, c.NoReference = NoEpochCheck, true }},
	{"a repeated seq is taken for success", func(c *Config) { c.Mutation = DuplicateIsSuccess }},
	{"the same, and nobody compares with the reference", func(c *Config) { c.Mutation, c.NoReference = DuplicateIsSuccess, true }},
	{"snapshots are stored whatever their seq", func(c *Config) { c.Mutation = AnySnapshot }},
	{"the same, and nobody compares with the reference", func(c *Config) { c.Mutation, c.NoReference = AnySnapshot, true }},
	{"the log is not synced", func(c *Config) { c.Faults.SkipSync = true }},
	{"a change is answered before it is written", func(c *Config) { c.Faults.AnswerBeforeAppend = true }},
	{"a change is answered when it is synced, not when it is applied", func(c *Config) { c.Faults.AnswerBeforeApply = true }},
	{"reads do not wait for the barrier", func(c *Config) { c.Faults.NoBarrier = true }},
	{"activation before the claim is applied", func(c *Config) { c.Faults.ClaimBeforeApply = true }},
	{"the log forgets what is not durable in the state", func(c *Config) { c.Faults.TruncateTooFar = true }},
}

// TestMutations sees each mechanism missed: it runs seeds with it switched off until a checker complains.
func TestMutations(t *testing.T) {
	var table strings.Builder
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			for seed := range uint64(*mutationSeedsFlag) { //nolint:gosec // not negative
				config := NewConfig(seed+1, *opsFlag)
				config.Store = false
				m.mutate(&config)
				_, err := simulate(t, config)
				if anomaly, ok := errors.AsType[*AnomalyError](err); ok {
					fmt.Fprintf(&table, "| %s | %s: %s | %d |\n", m.name, anomaly.Checker, first(anomaly.What), seed+1)
					return
				}
			}
			t.Error("nobody noticed: a hole in the checkers")
		})
	}
	t.Logf("\n| switched off | who noticed | seeds |\n|---|---|---|\n%s", table.String())
}

// first is the first line of s.
func first(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
