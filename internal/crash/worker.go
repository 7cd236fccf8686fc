package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// kills is the history of kills, shared by the killer and the workers.
type kills struct {
	mu struct {
		sync.Mutex
		times   []time.Time   // when each kill was decided, just before the signal
		served  int           // how many of them a serving node has followed
		changed chan struct{} // closed and replaced when served grows
	}
}

func newKills() *kills {
	k := &kills{}
	k.mu.changed = make(chan struct{})
	return k
}

// begin notes a kill, before the signal is sent.
func (k *kills) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.times = append(k.mu.times, time.Now())
}

// serve notes that a node serves after all kills so far.
func (k *kills) serve() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.served = len(k.mu.times)
	close(k.mu.changed)
	k.mu.changed = make(chan struct{})
}

func (k *kills) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.mu.times)
}

// at returns the time of the n-th kill, counted from 0.
func (k *kills) at(n int) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.times[n]
}

// served waits until a node serves after all kills so far, and returns their number.
func (k *kills) served(ctx context.Context) (int, error) {
	for {
		k.mu.Lock()
		n, ok, changed := len(k.mu.times), k.mu.served == len(k.mu.times), k.mu.changed
		k.mu.Unlock()
		if ok {
			return n, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// worker plays one player, one command at a time.
type worker struct {
	client *client.Client
	player *client.Player
	ledger ledger
	kills  *kills
	window time.Duration
	rng    *rand.Rand

	verified int // kills whose consequences the ledger has accepted
	counts   struct{ durable, memory, verifications int }
}

// run plays until stop is closed, and then once more holds the ledger against the stored state.
func (w *worker) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		if err := w.verify(ctx, nil); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		default:
		}
		if err := w.step(ctx); err != nil {
			return fmt.Errorf("player %s: %w", w.player.ID(), err)
		}
	}
}

// step sends one command and notes its answer.
func (w *worker) step(ctx context.Context) error {
	amount := 1 + w.rng.Int64N(1000)
	if w.rng.IntN(10) < 6 {
		_, err := w.player.Do(ctx, client.DoOptions{},
			&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: client.Coins, Amount: amount}}},
			increment("d"))
		if err != nil {
			return fmt.Errorf("DURABLE command: %w", err)
		}
		w.counts.durable++
		if w.kills.count() == w.verified {
			w.ledger.answeredDurable(amount)
			return nil
		}
		// It was answered, but perhaps by the next process, after a suffix of the MEMORY commands was lost.
		w.ledger.durable++
		w.ledger.coins += amount
		return nil
	}
	_, err := w.player.Do(ctx, client.DoOptions{Durability: client.Memory},
		&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_AddStatistics{AddStatistics: &skerryv1.AddStatistics{
			Delta: &skerryv1.Statistics{TotalPlayTime: amount},
		}}},
		increment("m"))
	if err != nil {
		return fmt.Errorf("MEMORY command: %w", err)
	}
	w.counts.memory++
	answered := memoryCommand{amount: amount, answered: time.Now()}
	if w.kills.count() == w.verified {
		w.ledger.answeredMemory(amount, answered.answered)
		return nil
	}
	return w.verify(ctx, &answered)
}

// verify reads the player back if the node was killed since the last time, and asks the ledger to explain it.
// last is a MEMORY command that was answered around the kill: before it (then it may be lost) or after (then it is there).
func (w *worker) verify(ctx context.Context, last *memoryCommand) error {
	for w.kills.count() != w.verified {
		n, err := w.kills.served(ctx)
		if err != nil {
			return err
		}
		got, err := read(ctx, w.client, w.player.ID())
		if err != nil {
			return err
		}
		if w.kills.count() != n {
			continue // killed again while reading: whose answer that was is not known
		}
		killed := w.kills.at(w.verified)
		if err := w.explain(got, killed, last); err != nil {
			return fmt.Errorf("player %s after kill %d: %w", w.player.ID(), n, err)
		}
		w.counts.verifications++
		w.verified, last = n, nil
	}
	return nil
}

func (w *worker) explain(got stored, killed time.Time, last *memoryCommand) error {
	if last == nil {
		return w.ledger.afterCrash(got, killed, nil, w.window)
	}
	after := w.ledger // its slices are only appended to or cut by the attempt that succeeds
	errAfter := after.afterCrash(got, killed, last, w.window)
	if errAfter == nil {
		w.ledger = after
		return nil
	}
	before := w.ledger
	before.memory = append(slices.Clip(before.memory), *last)
	if err := before.afterCrash(got, killed, nil, w.window); err != nil {
		return errors.Join(errAfter, err)
	}
	w.ledger = before
	return nil
}

func increment(path string) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_IncrementAttribute{
		IncrementAttribute: &skerryv1.IncrementAttribute{Path: path, By: 1},
	}}
}

// read returns what the node holds of a player.
func read(ctx context.Context, c *client.Client, id string) (stored, error) {
	p, err := c.Player(ctx, id)
	if err != nil {
		return stored{}, fmt.Errorf("read back: %w", err)
	}
	count := func(name string) int64 { return int64(p.GetAttributes().GetFields()[name].GetNumberValue()) }
	return stored{
		durable: count("d"), coins: p.GetProfile().GetCoins(),
		memory: count("m"), played: p.GetStatistics().GetTotalPlayTime(),
	}, nil
}
