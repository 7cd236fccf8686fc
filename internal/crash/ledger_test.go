package main

import (
	"strings"
	"testing"
	"time"
)

// Goal: the ledger sees every kind of loss and doubling, and passes what is allowed.
// Method: one history, many stored states.
func TestLedger(t *testing.T) {
	killed := time.Unix(100, 0)
	ago := func(d time.Duration) time.Time { return killed.Add(-d) }
	pending := &memoryCommand{amount: 7, answered: killed.Add(time.Second)}
	for name, c := range map[string]struct {
		got     stored
		pending *memoryCommand
		want    string // part of the complaint; "" means fine
	}{
		"all there":            {stored{2, 30, 4, 1111}, nil, ""},
		"a suffix lost":        {stored{2, 30, 2, 11}, nil, ""},
		"pending after loss":   {stored{2, 30, 3, 18}, pending, ""},
		"pending, all there":   {stored{2, 30, 5, 1118}, pending, ""},
		"durable lost":         {stored{1, 10, 4, 1111}, nil, "DURABLE"},
		"durable doubled":      {stored{3, 50, 4, 1111}, nil, "DURABLE"},
		"one lost one doubled": {stored{2, 40, 4, 1111}, nil, "DURABLE"},
		"a middle lost":        {stored{2, 30, 3, 1011}, nil, "not a prefix"},
		"memory doubled":       {stored{2, 30, 5, 2111}, nil, "twice"},
		"settled lost":         {stored{2, 30, 0, 0}, nil, "settled"},
		"pending missing":      {stored{2, 30, 4, 1111}, pending, "not a prefix"},
		"outside the window":   {stored{2, 30, 1, 1}, nil, "window"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{}
			l.answeredDurable(10)
			l.answeredMemory(1, ago(9*time.Second))
			l.answeredDurable(20)
			l.answeredMemory(10, ago(8*time.Second))
			l.answeredMemory(100, ago(500*time.Millisecond))
			l.answeredMemory(1000, ago(100*time.Millisecond))
			err := l.afterCrash(c.got, killed, c.pending, 1500*time.Millisecond)
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("got %v, want a complaint about %q", err, c.want)
			}
		})
	}
}
