package simulation

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// entityMutations switch off one mechanism each. open says why nobody can notice yet.
func entityMutations() []entityMutation {
	return []entityMutation{
		{name: "command ids are not remembered", mutation: NoDedupe},
		{name: "a refusal is not journaled", mutation: VolatileRefusals},
		{name: "a durable reply leaves when its entry is proposed", mutation: GateOnPropose},
		{name: "a durable reply leaves before its entry is appended", faults: func(c *Config) { c.Faults.AnswerBeforeAppend = true }},
		{name: "a durable reply leaves before its entry is applied", faults: func(c *Config) { c.Faults.AnswerBeforeApply = true }},
		{name: "the gate waits for no barrier", mutation: GateWithoutBarrier, faults: deposeOften},
		{name: "every barrier holds at once", faults: func(c *Config) {
			deposeOften(c)
			c.Faults.NoBarrier = true
		}},
		{name: "an activation does not wait for the last one's changes", mutation: NextDoesNotWait},
		{name: "the same, and it takes a duplicate for success", mutation: ActivationTakesDuplicate},
		{name: "a durable command is answered from memory", mutation: DurableIsMemory},
		{name: "an activation does not replay the journal", mutation: LoadWithoutTail},
		{name: "what was received is not remembered", mutation: ForgottenTransfers},
		{name: "marks are not journaled", mutation: ForgottenMarks},
		{name: "MEMORY events stay in memory", mutation: NoLossWindow},
	}
}

// deposeOften makes owners that do not know yet that there is another one.
func deposeOften(c *Config) {
	c.Disasters, c.Disaster, c.SlowApply = []disaster{freeze, isolate}, 700*time.Millisecond, 0
}

type entityMutation struct {
	name     string
	mutation EntityMutation
	faults   func(*Config)
}

// TestEntityMutations sees each mechanism missed: it runs seeds with it switched off until a checker complains.
// It runs when it is named.
func TestEntityMutations(t *testing.T) {
	onlyNamed(t)
	var table strings.Builder
	for _, m := range entityMutations() {
		t.Run(m.name, func(t *testing.T) {
			for seed := range *mutationSeedsFlag {
				config := NewConfig(seed+1, entityOps)
				config.Store = false
				if m.faults != nil {
					m.faults(&config)
				}
				_, _, err := simulateEntities(t, config, m.mutation)
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
