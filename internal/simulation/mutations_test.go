package simulation

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
)

var mutationSeedsFlag = flag.Uint64("mutation-seeds", 150, "how many seeds a mutation may survive")

// mutations switch off one mechanism each.
var mutations = []struct {
	name   string
	mutate func(c *Config)
}{
	{"the epoch is not checked where changes are applied", func(c *Config) { c.Mutation = NoEpochCheck }},
	{"a repeated seq is taken for success", func(c *Config) { c.Mutation = DuplicateIsSuccess }},
	{"snapshots are stored whatever their seq", func(c *Config) { c.Mutation = AnySnapshot }},
	{"the log is not synced", func(c *Config) { c.Faults.SkipSync = true }},
	{"a change is answered before it is written", func(c *Config) { c.Faults.AnswerBeforeAppend = true }},
	{"a change is answered when it is synced, not when it is applied", func(c *Config) { c.Faults.AnswerBeforeApply = true }},
	{"reads do not wait for the barrier", func(c *Config) { c.Faults.NoBarrier = true }},
	{"activation before the claim is applied", func(c *Config) { c.Faults.ClaimBeforeApply = true }},
	{"a learner counts as a voter", func(c *Config) { c.Faults.LearnersVote = true }},
	{"the log forgets what is not durable in the state", func(c *Config) { c.Faults.TruncateTooFar = true }},
}

// onlyNamed skips a test that takes minutes, unless -run asks for it.
func onlyNamed(t *testing.T) {
	t.Helper()
	if !strings.Contains(flag.Lookup("test.run").Value.String(), "Mutations") {
		t.Skip("go test ./internal/simulation -v -run", t.Name())
	}
}

// TestMutations sees each mechanism missed: it runs seeds with it switched off until a checker complains, and again with
// those checkers alone that see what clients see. It takes a while: it runs when it is named.
func TestMutations(t *testing.T) {
	onlyNamed(t)
	var table strings.Builder
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			fmt.Fprintf(&table, "| %s |", m.name)
			for _, only := range []bool{false, true} {
				anomaly, seed := noticed(t, func(c *Config) { c.OnlyClients = only; m.mutate(c) })
				if anomaly == nil {
					t.Errorf("nobody noticed, clients alone: %v", only)
					continue
				}
				fmt.Fprintf(&table, " %s: %s | %d |", anomaly.Checker, first(anomaly.What), seed)
			}
			table.WriteString("\n")
		})
	}
	t.Logf("\n| switched off | who noticed | seeds | of those who see what clients see | seeds |\n|---|---|---|---|---|\n%s", table.String())
}

// noticed runs seeds until there is an anomaly.
func noticed(t *testing.T, mutate func(c *Config)) (*AnomalyError, uint64) {
	t.Helper()
	for seed := uint64(1); seed <= *mutationSeedsFlag; seed++ {
		config := NewConfig(seed, *opsFlag)
		config.Store = false
		mutate(&config)
		_, err := simulate(t, config)
		if anomaly, ok := errors.AsType[*AnomalyError](err); ok {
			return anomaly, seed
		}
	}
	return nil, 0
}

// first is the first line of s.
func first(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
