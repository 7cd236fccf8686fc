package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// kind is what is done to voters.
type kind string

const (
	killOne kind = "kill"
	stopOne kind = "stop"
	killAll kind = "kill of all"
	stopTwo kind = "stop of two"
)

// fault is one of them, as it was.
type fault struct {
	Kind  kind          `json:"kind"`
	Nodes []int         `json:"nodes"` // ids
	At    time.Duration `json:"atNs"`  // since the run began
	Lasts time.Duration `json:"lastsNs"`
	// Gap is the longest time in which some partition gave no durable answer, from the fault until everything was settled.
	Gap time.Duration `json:"gapNs"`

	owned  []int           // partitions that the nodes owned
	gapsOf []time.Duration // by partition
}

// breaker does faults, one after the other, each when the one before is healed.
type breaker struct {
	cluster *cluster
	tally   *tally
	rng     *rand.Rand
	begin   time.Time
	faults  []fault
	kills   atomic.Int64
	stops   atomic.Int64
}

// run breaks things until ctx ends; then it heals the last one. An error means that healing failed.
func (b *breaker) run(ctx context.Context) error {
	pauseBefore := func() { pause(ctx, 200*time.Millisecond+time.Duration(b.rng.Int64N(int64(1300*time.Millisecond)))) }
	for pauseBefore(); ctx.Err() == nil; pauseBefore() {
		if err := b.once(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *breaker) once(ctx context.Context) error {
	healing := context.WithoutCancel(ctx) // a fault that was begun is ended
	b.cluster.spread(healing, func() int { return b.rng.IntN(nodes) })
	pause(healing, time.Duration(b.rng.Int64N(int64(100*time.Millisecond)))) // some faults come in the middle of a handover
	f := b.draw()
	f.owned = b.owned(f.Nodes)
	now := time.Now()
	f.At = now.Sub(b.begin)
	b.tally.beginGaps(now)
	var err error
	if f.Kind == stopOne || f.Kind == stopTwo {
		err = b.freeze(healing, &f)
	} else {
		err = b.kill(healing, &f)
	}
	if err != nil {
		return err
	}
	if err := b.cluster.settled(healing, stuckAfter); err != nil {
		return fmt.Errorf("after a %s of %v that lasted %v: %w", f.Kind, f.Nodes, f.Lasts, err)
	}
	if err := b.answered(healing); err != nil {
		return fmt.Errorf("after a %s of %v that lasted %v: %w", f.Kind, f.Nodes, f.Lasts, err)
	}
	f.gapsOf = b.tally.endGaps(time.Now())
	f.Gap = slices.Max(f.gapsOf)
	b.faults = append(b.faults, f)
	return nil
}

// draw makes up the next fault.
func (b *breaker) draw() fault {
	order := b.rng.Perm(nodes)
	for i := range order {
		order[i]++ // ids
	}
	lasts := time.Duration(b.rng.Int64N(int64(2500 * time.Millisecond)))
	if b.rng.IntN(3) == 0 {
		lasts = 0
	}
	frozen := 1200*time.Millisecond + time.Duration(b.rng.Int64N(int64(2800*time.Millisecond)))
	switch n := b.rng.IntN(20); {
	case n < 9:
		return fault{Kind: killOne, Nodes: order[:1], Lasts: lasts}
	case n < 16:
		return fault{Kind: stopOne, Nodes: order[:1], Lasts: frozen}
	case n < 18:
		return fault{Kind: killAll, Nodes: order, Lasts: lasts / 4}
	default:
		return fault{Kind: stopTwo, Nodes: order[:2], Lasts: frozen}
	}
}

// owned are the partitions that the nodes own, as far as the driver knows.
func (b *breaker) owned(ids []int) []int {
	var owned []int
	for p := range b.cluster.route {
		if slices.Contains(ids, int(b.cluster.route[p].Load())+1) {
			owned = append(owned, p)
		}
	}
	return owned
}

func (b *breaker) kill(ctx context.Context, f *fault) error {
	for _, id := range f.Nodes {
		b.cluster.kill(id - 1)
		b.kills.Add(1)
	}
	pause(ctx, f.Lasts)
	for b.rng.IntN(4) == 0 { // now and then also in the middle of a recovery
		id := f.Nodes[0]
		p, _, err := launch(b.cluster.options[id-1])
		if err != nil {
			return err
		}
		pause(ctx, time.Duration(b.rng.Int64N(int64(200*time.Millisecond))))
		select {
		case <-p.exited:
			return fmt.Errorf("node %d ended by itself: %w\n%s", id, p.err, p.tail())
		default:
		}
		p.kill()
		b.kills.Add(1)
	}
	for _, id := range f.Nodes {
		if err := b.cluster.start(ctx, id-1); err != nil {
			return err
		}
	}
	return nil
}

func (b *breaker) freeze(ctx context.Context, f *fault) error {
	for _, id := range f.Nodes {
		if err := b.cluster.processes[id-1].freeze(); err != nil {
			return err
		}
		b.stops.Add(1)
	}
	pause(ctx, f.Lasts)
	for _, id := range f.Nodes {
		if err := b.cluster.processes[id-1].thaw(); err != nil {
			return err
		}
	}
	return nil
}

// answered waits until every partition gave a durable answer after the healing.
func (b *breaker) answered(ctx context.Context) error {
	healed := time.Now()
	for time.Since(healed) < stuckAfter {
		if p := b.tally.silent(healed); p < 0 || b.tally.total() > 0 { // after something wrong its writer has left
			return nil
		}
		pause(ctx, 10*time.Millisecond)
	}
	return fmt.Errorf("partition %d gave no durable answer for %v", b.tally.silent(healed), stuckAfter)
}
