package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/client"
)

// callDeadline is how long a call may take before it counts as failed.
const callDeadline = 5 * time.Second

// load is players that earn coins, durably, a bounded number at a time, and what they were answered.
type load struct {
	client  *client.Client
	server  *client.Server
	players []*account

	// memory has every second command of a player answered from memory: where nothing is killed, none of these may be lost either.
	memory bool

	stop    chan struct{}
	running sync.WaitGroup
	calls   atomic.Int64
}

// account is one player and what is known of its coins.
type account struct {
	busy    sync.Mutex // held by the worker that plays
	turns   int        // that worker's
	player  *client.Player
	mu      sync.Mutex // the rest
	base    int64
	acked   atomic.Int64 // written by the holder; for readers beside
	doubt   int64        // may have been applied
	failed  []error
	answers []time.Time     // of the durable answers, oldest first; since the last mark
	waits   []time.Duration // of the answered calls, since the last mark
}

// openLoad opens so many players.
func openLoad(ctx context.Context, c *client.Client, players int) (*load, error) {
	server, err := c.RegisterServer(ctx, "load", client.ServerOptions{})
	if err != nil {
		return nil, fmt.Errorf("register the load's server: %w", err)
	}
	l := &load{client: c, server: server, players: make([]*account, players)}
	var opening sync.WaitGroup
	var failed atomic.Pointer[error]
	next := atomic.Int64{}
	for range 64 {
		opening.Go(func() {
			for i := next.Add(1) - 1; int(i) < players; i = next.Add(1) - 1 {
				p, err := server.OpenPlayer(ctx, fmt.Sprintf("p%d", i), client.OpenOptions{Name: "Load"})
				if err != nil {
					failed.Store(&err)
					return
				}
				l.players[i] = &account{player: p, base: p.Document().GetProfile().GetCoins()}
			}
		})
	}
	opening.Wait()
	if err := failed.Load(); err != nil {
		return nil, fmt.Errorf("open the load's players: %w", *err)
	}
	return l, nil
}

// begin lets so many callers play, each with one call in flight, until end.
func (l *load) begin(ctx context.Context, inFlight int) {
	l.stop = make(chan struct{})
	next := atomic.Int64{}
	for range inFlight {
		l.running.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-l.stop:
					return
				default:
				}
				a := l.players[int(next.Add(1))%len(l.players)]
				if a.busy.TryLock() {
					l.step(ctx, a)
					a.busy.Unlock()
				}
			}
		})
	}
}

// beginEach lets every player play by a caller of its own, one call after another, until end.
func (l *load) beginEach(ctx context.Context) {
	l.stop = make(chan struct{})
	for _, a := range l.players {
		l.running.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-l.stop:
					return
				default:
				}
				l.step(ctx, a)
			}
		})
	}
}

// step earns one coin. The account is the caller's alone.
func (l *load) step(ctx context.Context, a *account) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	began := time.Now()
	durability := client.Durable
	if l.memory && a.turns%2 == 1 {
		durability = client.Memory
	}
	a.turns++
	_, err := a.player.Earn(ctx, client.Coins, 1, durability)
	now := time.Now()
	l.calls.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.acked.Add(1)
		a.answers = append(a.answers, now)
		a.waits = append(a.waits, now.Sub(began))
		return
	}
	e := &client.Error{}
	if !errors.As(err, &e) || e.Outcome != client.NotApplied {
		a.doubt++
	}
	a.failed = append(a.failed, err)
}

// end stops the callers and waits for them.
func (l *load) end() {
	close(l.stop)
	l.running.Wait()
}

// mark forgets when answers came; what follows is seen alone.
func (l *load) mark() {
	for _, a := range l.players {
		a.mu.Lock()
		a.answers, a.waits = nil, nil
		a.mu.Unlock()
	}
}

// since returns how long after the moment each of the players that are chosen had its first answer. One that had none yet is
// waited for.
func (l *load) since(ctx context.Context, moment time.Time, chosen []int) ([]time.Duration, error) {
	gaps := make([]time.Duration, 0, len(chosen))
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for _, i := range chosen {
		a := l.players[i]
		for {
			a.mu.Lock()
			at := slices.IndexFunc(a.answers, func(t time.Time) bool { return t.After(moment) })
			if at >= 0 {
				gaps = append(gaps, a.answers[at].Sub(moment))
			}
			a.mu.Unlock()
			if at >= 0 {
				break
			}
			select {
			case <-look.C:
			case <-ctx.Done():
				return nil, fmt.Errorf("player %d was not answered within the time: %w", i, ctx.Err())
			}
		}
	}
	slices.Sort(gaps)
	return gaps, nil
}

// waited returns how long the calls of the players that are chosen took since the last mark, sorted.
func (l *load) waited(chosen []int) []time.Duration {
	var all []time.Duration
	for _, i := range chosen {
		a := l.players[i]
		a.mu.Lock()
		all = append(all, a.waits...)
		a.mu.Unlock()
	}
	slices.Sort(all)
	return all
}

// all are the numbers of all players.
func (l *load) all() []int {
	all := make([]int, len(l.players))
	for i := range all {
		all[i] = i
	}
	return all
}

// gaps returns, of each of the players that are chosen, the longest time without an answer between two moments, sorted. Nothing
// may have been marked since the first.
func (l *load) gaps(chosen []int, from, to time.Time) []time.Duration {
	gaps := make([]time.Duration, 0, len(chosen))
	for _, i := range chosen {
		a := l.players[i]
		longest, before := time.Duration(0), from
		a.mu.Lock()
		for _, at := range a.answers {
			if at.After(from) && at.Before(to) {
				longest, before = max(longest, at.Sub(before)), at
			}
		}
		a.mu.Unlock()
		gaps = append(gaps, max(longest, to.Sub(before)))
	}
	slices.Sort(gaps)
	return gaps
}

// failures are the calls that did not succeed within their deadline.
func (l *load) failures() []error {
	var all []error
	for _, a := range l.players {
		a.mu.Lock()
		all = append(all, a.failed...)
		a.mu.Unlock()
	}
	return all
}

// forgive forgets the failures, and returns how many there were. What may have been applied stays in doubt.
func (l *load) forgive() (failed int) {
	for _, a := range l.players {
		a.mu.Lock()
		failed += len(a.failed)
		a.failed = nil
		a.mu.Unlock()
	}
	return failed
}

// verdict is what was stored against what was answered.
type verdict struct {
	acked, doubt  int64
	lost, doubled int64
}

// verify reads every player. Nothing may be in flight.
func (l *load) verify(ctx context.Context) (verdict, error) {
	var v verdict
	for _, a := range l.players {
		coins, err := l.coins(ctx, a.player.ID())
		if err != nil {
			return v, err
		}
		got := coins - a.base
		acked := a.acked.Load()
		v.acked += acked
		v.doubt += a.doubt
		v.lost += max(0, acked-got)
		v.doubled += max(0, got-acked-a.doubt)
	}
	return v, nil
}

func (l *load) coins(ctx context.Context, id string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		asking, done := context.WithTimeout(ctx, callDeadline)
		document, err := l.client.Player(asking, id)
		done()
		if err == nil {
			return document.GetProfile().GetCoins(), nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("read player %s back: %w", id, err)
		}
	}
}

// quantile of sorted durations.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
