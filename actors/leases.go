package actors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

const (
	// maxAsks is how many leases of other nodes' accounts may be asked for at a time; more openings are refused as overloaded.
	maxAsks = 1024
	// maxLeaseTokens bounds one lease.
	maxLeaseTokens = 1 << 20
)

// Lease grants tokens of a game server's budget to another node, as the owner of the server's entity. With queue set it waits until all are
// granted. Errors: [persistence.ErrNotOwner] when another node keeps the budget, a [*BudgetError], which is [budget.ErrExhausted], when
// the queue is full, [ErrDraining], [persistence.ErrBadKey], or ctx's cause when that ended; nothing was granted. Without queue an answer
// may have no tokens, and says when to ask again. Any goroutine may call it, while [Host.Run] is running.
func (h *Host) Lease(ctx context.Context, server persistence.Key, asked *peerv1.Lease) (*peerv1.LeaseAnswer, error) {
	if err := server.Validate(); err != nil {
		return nil, err
	}
	if server.Kind != persistence.KindServer || asked.GetClass() >= uint32(budget.Classes) || asked.GetImportance() > uint32(budget.Leave) {
		return nil, fmt.Errorf("%w: a lease of %s", persistence.ErrBadKey, server)
	}
	if !h.Owns(h.partitionOf(server)) {
		return nil, persistence.ErrNotOwner
	}
	type result struct {
		leased
		err error
	}
	results := make(chan result, 1) // exactly one comes
	r := &lease{
		server: server, class: budget.Class(asked.GetClass()), tokens: min(int64(asked.GetTokens()), maxLeaseTokens),
		importance: budget.Importance(asked.GetImportance()), queue: asked.GetQueue(), giveBack: min(int64(asked.GetGiveBack()), maxLeaseTokens),
		done: func(answer leased, err error) { results <- result{answer, err} },
	}
	answer, later, err := h.budgets.lease(r)
	if later {
		var got result
		select {
		case got = <-results:
		case <-ctx.Done():
			if h.budgets.cancel(r) {
				return nil, context.Cause(ctx)
			}
			got = <-results // it is being answered just now
		}
		answer, err = got.leased, got.err
	}
	if err != nil {
		return nil, err
	}
	return &peerv1.LeaseAnswer{
		Granted: uint32(answer.tokens), Profile: answer.profile, //nolint:gosec // at most maxLeaseTokens
		RetryAfterMs: uint32(min(max((answer.retryAfter+time.Millisecond-1).Milliseconds(), 0), math.MaxInt32)), //nolint:gosec // bounded
	}, nil
}

// get asks whoever keeps a server's account for tokens: as lease, but also at other nodes.
func (b *budgets) get(r *lease) (answer leased, later bool, err error) {
	if b.partners == nil || b.host.Owns(b.host.partitionOf(r.server)) {
		return b.lease(r)
	}
	err = b.askAway(r, func(answer *peerv1.LeaseAnswer, err error) {
		switch {
		case errors.Is(err, budget.ErrExhausted), errors.Is(err, ErrDraining):
		case err != nil:
			err = fmt.Errorf("%w: %v", ErrNoBudget, err) //nolint:errorlint // nothing was applied, whatever the cause says of itself
		case answer.GetProfile() != unlimited && int64(answer.GetGranted()) < r.tokens:
			err = b.exhausted(r, time.Second)
		}
		r.done(leased{tokens: int64(answer.GetGranted()), profile: answer.GetProfile()}, err)
	})
	return leased{}, err == nil, err
}

// question is a lease to be asked for at another node.
type question struct {
	server persistence.Key
	lease  *peerv1.Lease
	done   func(*peerv1.LeaseAnswer, error)
	cancel context.CancelFunc // guarded by budgets.mu, like the next one; nil: it is not on its way
	gaveUp error              // why nobody waits any more
}

// giveUp ends the wait for an answer. Called under budgets.mu.
func (q *question) giveUp(err error) {
	if q.gaveUp = err; q.cancel != nil {
		q.cancel()
	}
}

// askAway has another node asked, and calls done with its answer. It returns ErrOverloaded when too many are.
func (b *budgets) askAway(r *lease, done func(*peerv1.LeaseAnswer, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.askAwayLocked(r, done)
}

func (b *budgets) askAwayLocked(r *lease, done func(*peerv1.LeaseAnswer, error)) error {
	wanted := &question{server: r.server, done: done, lease: &peerv1.Lease{
		Space: r.server.Space, Server: r.server.ID, Class: uint32(r.class), Tokens: uint32(r.tokens), //nolint:gosec // at most maxLeaseTokens
		Importance: uint32(r.importance), Queue: r.queue, GiveBack: uint32(r.giveBack), //nolint:gosec // the same
	}}
	switch {
	case b.mu.closed, b.stopsLocked(r):
		return ErrDraining
	case b.mu.asked >= maxAsks:
		return ErrOverloaded
	}
	if b.mu.asked++; r.queue {
		b.mu.queued[wanted] = struct{}{}
	}
	b.mu.asks = append(b.mu.asks, wanted)
	b.poke()
	return nil
}

// leaseTimeout bounds a question that does not wait in a queue.
const leaseTimeout = 5 * time.Second

// sendAsksLocked asks what is to be asked. Only the loop calls it.
func (b *budgets) sendAsksLocked(ctx context.Context) {
	for _, wanted := range b.mu.asks {
		patience := leaseTimeout
		if wanted.lease.GetQueue() {
			patience = maxQueued
		}
		asking, cancel := context.WithTimeout(ctx, patience)
		if wanted.cancel = cancel; wanted.gaveUp != nil {
			cancel()
		}
		b.asking.Go(func() {
			defer cancel()
			answer, err := b.partners.Lease(asking, wanted.server, wanted.lease)
			b.mu.Lock()
			b.mu.asked--
			delete(b.mu.queued, wanted)
			gaveUp := wanted.gaveUp
			b.mu.Unlock()
			switch {
			case err == nil:
			case gaveUp != nil:
				err = gaveUp
			case ctx.Err() != nil:
				err = ErrDraining
			}
			wanted.done(answer, err)
		})
	}
	b.mu.asks = nil
}

// returnTokens gives tokens back that were granted and not used. At another node that may fail: then they are lost.
func (b *budgets) returnTokens(server persistence.Key, class budget.Class, tokens int64) {
	r := &lease{server: server, class: class, giveBack: tokens, done: func(leased, error) {}, learned: true}
	if b.partners == nil || b.host.Owns(b.host.partitionOf(server)) {
		_, _, _ = b.lease(r)
		return
	}
	_ = b.askAway(r, func(*peerv1.LeaseAnswer, error) {})
}
