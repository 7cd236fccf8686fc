package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// keptReasons is how many violations are told in words; all are counted.
const keptReasons = 10

// tally is what a run counts. Its methods are for any goroutine.
type tally struct {
	acks, unknown, resolved, reads atomic.Int64

	violations struct {
		sync.Mutex
		counts  map[string]int
		reasons []string
	}
	gaps struct {
		sync.Mutex
		since []time.Time     // by partition: the last durable answer, or the fault when that is later
		worst []time.Duration // by partition, since the fault began
	}
}

func newTally(partitions int) *tally {
	t := &tally{}
	t.violations.counts = map[string]int{}
	t.gaps.since, t.gaps.worst = make([]time.Time, partitions), make([]time.Duration, partitions)
	return t
}

// violation counts something that must not happen.
func (t *tally) violation(kind string, err error) {
	t.violations.Lock()
	defer t.violations.Unlock()
	t.violations.counts[kind]++
	if len(t.violations.reasons) < keptReasons {
		t.violations.reasons = append(t.violations.reasons, fmt.Sprintf("%s: %v", kind, err))
	}
}

// wrong counts what a read showed.
func (t *tally) wrong(v verdict, err error) {
	switch v {
	case fine:
	case stale:
		t.violation("stale", err)
	case doubled:
		t.violation("doubled", err)
	case broken:
		t.violation("broken", err)
	}
}

func (t *tally) count(kind string) int {
	t.violations.Lock()
	defer t.violations.Unlock()
	return t.violations.counts[kind]
}

// total counts all violations.
func (t *tally) total() int {
	t.violations.Lock()
	defer t.violations.Unlock()
	n := 0
	for _, count := range t.violations.counts {
		n += count
	}
	return n
}

// others counts the violations of other kinds than these.
func (t *tally) others(kinds ...string) map[string]int {
	t.violations.Lock()
	defer t.violations.Unlock()
	others := maps.Clone(t.violations.counts)
	maps.DeleteFunc(others, func(kind string, _ int) bool { return slices.Contains(kinds, kind) })
	return others
}

func (t *tally) reasons() []string {
	t.violations.Lock()
	defer t.violations.Unlock()
	return slices.Clone(t.violations.reasons)
}

// acknowledged counts a durable answer of p.
func (t *tally) acknowledged(p persistence.Partition) {
	t.acks.Add(1)
	now := time.Now()
	t.gaps.Lock()
	defer t.gaps.Unlock()
	t.gaps.worst[p] = max(t.gaps.worst[p], now.Sub(t.gaps.since[p]))
	t.gaps.since[p] = now
}

// beginGaps begins to look for the longest time without a durable answer.
func (t *tally) beginGaps(now time.Time) {
	t.gaps.Lock()
	defer t.gaps.Unlock()
	for p := range t.gaps.since {
		t.gaps.since[p], t.gaps.worst[p] = now, 0
	}
}

// endGaps returns, by partition, the longest time without a durable answer since beginGaps, one that still lasts counted.
func (t *tally) endGaps(now time.Time) []time.Duration {
	t.gaps.Lock()
	defer t.gaps.Unlock()
	gaps := slices.Clone(t.gaps.worst)
	for p := range gaps {
		gaps[p] = max(gaps[p], now.Sub(t.gaps.since[p]))
	}
	return gaps
}

// silent returns a partition that gave no durable answer since then, or -1.
func (t *tally) silent(then time.Time) int {
	t.gaps.Lock()
	defer t.gaps.Unlock()
	return slices.IndexFunc(t.gaps.since, func(last time.Time) bool { return last.Before(then) })
}
