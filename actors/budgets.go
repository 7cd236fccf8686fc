package actors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

const (
	// maxQueued is the longest time for which a request waits for tokens: longer than any caller.
	maxQueued = 2 * time.Minute
	// steppedPoll is how often a clock is looked at that may jump, while something waits.
	steppedPoll = 2 * time.Millisecond
)

// unlimited is the profile of servers whose budget nobody counts.
const unlimited = "unlimited"

// BudgetError says that a game server's budget is used up, and when to try again. It is [budget.ErrExhausted].
type BudgetError struct {
	Server persistence.Key
	Class  budget.Class
	// RetryAfter is when a place in the queue will be free, in real time.
	RetryAfter time.Duration
}

// Error says whose budget it is.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("%v: no more %s requests of %s now, try again in %s", budget.ErrExhausted, e.Class, e.Server.ID, e.RetryAfter)
}

// Unwrap is [budget.ErrExhausted].
func (e *BudgetError) Unwrap() error { return budget.ErrExhausted }

// budgets keeps the accounts of the game servers whose entities are in this node's partitions, and what waits for tokens here.
// Its methods may be called from any goroutine and never block. Nothing is called under its lock, which may be taken under that
// of servers.
type budgets struct {
	host     *Host
	partners Partners
	wake     chan struct{}  // a hint that something may be due; holds 1
	asking   sync.WaitGroup // of other nodes
	charging atomic.Int32   // how many openings were paid for and not loaded yet
	wanting  atomic.Int32   // how many saves wait for tokens

	granted, refused [budget.Classes]atomic.Int64

	mu struct {
		sync.Mutex
		accounts map[serverName]*account
		waiting  map[*account]struct{} // those with tickets
		tickets  uint64                // the newest one's number
		charges  map[*activation]*charge
		openings map[*lease]opening // that wait; bounded by the queues and maxAsks
		windows  windows
		purses   map[serverName]*purse  // at most maxPurses, and those where something waits
		busy     map[*purse]struct{}    // those where something waits
		wants    map[*activation]*want  // what waits there
		asks     []*question            // of other nodes, to be sent; at most maxAsks
		asked    int                    // of them on their way or in asks
		queued   map[*question]struct{} // of them, those that wait in a queue
		closed   bool
	}
}

// ticket is a lease that waits in an account's queue.
type ticket struct {
	*lease
	number uint64
	expire instant
}

// lease is a request for tokens of a server's account.
type lease struct {
	server     persistence.Key
	class      budget.Class
	tokens     int64
	importance budget.Importance
	queue      bool
	giveBack   int64
	done       func(leased, error) // for an answer that comes later: called once
	ticket     uint64              // guarded by budgets.mu, like the next one; 0: none
	gone       bool                // nobody waits any more
	learned    bool                // the server's entity was asked for its profile
}

// leased is what was granted.
type leased struct {
	tokens     int64
	profile    string
	retryAfter time.Duration // on the real clock
}

func newBudgets(h *Host) *budgets {
	b := &budgets{host: h, partners: h.opts.Partners, wake: make(chan struct{}, 1)}
	b.mu.accounts = map[serverName]*account{}
	b.mu.waiting = map[*account]struct{}{}
	b.mu.charges = map[*activation]*charge{}
	b.mu.windows.of = map[persistence.Key]*keyWindows{}
	b.mu.openings = map[*lease]opening{}
	b.mu.purses = map[serverName]*purse{}
	b.mu.busy = map[*purse]struct{}{}
	b.mu.queued = map[*question]struct{}{}
	b.mu.wants = map[*activation]*want{}
	return b
}

// budgetNow is the clock of budgets, on which a minute is 60 s.
func (h *Host) budgetNow() time.Duration {
	if h.opts.BudgetClock != nil {
		return h.opts.BudgetClock()
	}
	return scale(h.now(), budget.Minute, h.opts.Minute)
}

// real is how long a time of the budgets' clock takes.
func (b *budgets) real(d time.Duration) time.Duration {
	return scale(d, b.host.opts.Minute, budget.Minute)
}

// scale is d × by / of, rounded up, as far as it fits.
func scale(d, by, of time.Duration) time.Duration {
	if by == of || d <= 0 {
		return max(d, 0)
	}
	hi, lo := bits.Mul64(uint64(d), uint64(by)) //nolint:gosec // positive
	lo, carry := bits.Add64(lo, uint64(of)-1, 0)
	if hi += carry; hi >= uint64(of) {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(hi, lo, uint64(of))
	return time.Duration(min(quotient, math.MaxInt64)) //nolint:gosec // bounded
}

// drain refuses what waits in queues: nobody is to wait for a node that stops.
func (b *budgets) drain(err error) {
	var ended []*ticket
	b.mu.Lock()
	for a := range b.mu.waiting {
		ended = a.endAll(ended)
		delete(b.mu.waiting, a)
	}
	for asked := range b.mu.queued {
		asked.giveUp(err)
	}
	b.mu.Unlock()
	for _, t := range ended {
		t.done(leased{}, err)
	}
}

// stopsLocked reports whether a lease may not begin to wait any more: nobody would refuse it when the node stops. The naive way saves
// even then as the tokens come.
func (b *budgets) stopsLocked(r *lease) bool {
	return r.queue && (b.mu.closed || b.host.draining.Load() && (!b.host.opts.Naive || r.class != budget.Set))
}

// lease asks an account that is here. When that can say at once, it does; else later is true, and r.done is called.
func (b *budgets) lease(r *lease) (answer leased, later bool, err error) {
	b.mu.Lock()
	a := b.mu.accounts[nameOf(r.server)]
	if a == nil {
		b.mu.Unlock()
		if r.learned {
			return leased{}, false, persistence.ErrNotOwner
		}
		r.learned = true
		b.learn(r)
		return leased{}, true, nil
	}
	answer, later, err = b.leaseLocked(a, r)
	b.mu.Unlock()
	if later {
		b.poke()
	}
	return answer, later, err
}

func (b *budgets) leaseLocked(a *account, r *lease) (answer leased, later bool, err error) {
	now := b.host.budgetNow()
	p := a.of.Profile()
	answer.profile = p.Name
	if r.giveBack > 0 && p.Limited {
		a.of.GiveBack(now, r.class, r.giveBack)
		b.poke()
	}
	if r.tokens == 0 || !p.Limited {
		answer.tokens = r.tokens
		return answer, false, nil
	}
	if b.host.opts.Faults.NoLimiter {
		answer.tokens = r.tokens
		b.grantedLocked(a, r.class, r.tokens, now)
		return answer, false, nil
	}
	if !r.queue {
		if answer.tokens = a.of.Take(now, r.class, r.tokens, r.importance); answer.tokens == 0 {
			answer.retryAfter = b.real(budget.LeaseTime / 4)
		}
		b.grantedLocked(a, r.class, answer.tokens, now)
		return answer, false, nil
	}
	switch {
	case r.gone:
		return leased{}, false, context.Canceled
	case b.stopsLocked(r):
		return leased{}, false, ErrDraining
	}
	b.mu.tickets++
	verdict, wait := a.of.Ask(now, r.class, r.tokens, r.importance, b.mu.tickets)
	switch verdict {
	case budget.Granted:
		answer.tokens = r.tokens
		b.grantedLocked(a, r.class, r.tokens, now)
		return answer, false, nil
	case budget.Queued:
		r.ticket = b.mu.tickets
		a.tickets[r.ticket] = &ticket{lease: r, number: r.ticket, expire: b.host.now() + maxQueued}
		b.mu.waiting[a] = struct{}{}
		return answer, true, nil
	default:
		b.refused[r.class].Add(1)
		return answer, false, b.exhausted(r, wait)
	}
}

func (b *budgets) grantedLocked(a *account, class budget.Class, tokens int64, now time.Duration) {
	if tokens > 0 {
		a.used = now
		b.granted[class].Add(tokens)
	}
}

func (b *budgets) exhausted(r *lease, wait time.Duration) error {
	return &BudgetError{Server: r.server, Class: r.class, RetryAfter: b.real(wait)}
}

// learn asks a server's entity for its profile, and then its account. A server that nobody registered has no budget.
func (b *budgets) learn(r *lease) {
	b.host.servers.withProfile(r.server, func(profile string, err error) {
		var answer leased
		later := false
		switch {
		case err == nil && profile == "":
			answer = leased{tokens: r.tokens, profile: unlimited}
		case err == nil:
			answer, later, err = b.lease(r)
		}
		if !later {
			r.done(answer, err)
		}
	})
}

// cancel takes a lease out of its queue; false: its answer was given, or will be, soon.
func (b *budgets) cancel(r *lease) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.gone = true
	return b.cancelLocked(r)
}

func (b *budgets) cancelLocked(r *lease) bool {
	a := b.mu.accounts[nameOf(r.server)]
	if a == nil || a.tickets[r.ticket] == nil || a.tickets[r.ticket].lease != r {
		return false
	}
	a.of.Cancel(r.ticket)
	delete(a.tickets, r.ticket)
	return true
}

// run grants what comes due, and asks other nodes, until ctx ends.
func (b *budgets) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(b.step(ctx))
		select {
		case <-timer.C:
		case <-b.wake:
		case <-ctx.Done():
			b.stop()
			b.asking.Wait()
			return
		}
	}
}

// step does what is due, and returns when it is to be called again.
func (b *budgets) step(ctx context.Context) time.Duration {
	var done []func()
	next := time.Hour
	b.mu.Lock()
	for a := range b.mu.waiting {
		done = b.dueLocked(a, done)
		if len(a.tickets) == 0 {
			delete(b.mu.waiting, a)
			continue
		}
		if wait, ok := a.of.Next(b.host.budgetNow()); ok {
			next = min(next, b.real(wait))
		}
		next = min(next, time.Second) // for those who waited long enough
	}
	done, pause := b.serveAllLocked(done)
	next = min(next, pause)
	b.sendAsksLocked(ctx)
	stepped := len(b.mu.waiting)+len(b.mu.busy) > 0 && b.host.opts.BudgetClock != nil
	b.mu.Unlock()
	for _, f := range done {
		f()
	}
	if stepped {
		return min(next, steppedPoll)
	}
	return max(next, time.Millisecond)
}

// dueLocked collects the answers of those who get their tokens now, and of those who have waited long enough.
func (b *budgets) dueLocked(a *account, done []func()) []func() {
	now := b.host.budgetNow()
	for _, number := range a.of.Due(now) {
		t := a.tickets[number]
		if t == nil {
			continue
		}
		delete(a.tickets, number)
		b.grantedLocked(a, t.class, t.tokens, now)
		answer := leased{tokens: t.tokens, profile: a.of.Profile().Name}
		done = append(done, func() { t.done(answer, nil) })
	}
	for number, t := range a.tickets {
		if t.expire <= b.host.now() {
			a.of.Cancel(number)
			delete(a.tickets, number)
			done = append(done, func() { t.done(leased{}, b.exhausted(t.lease, budget.Minute)) })
		}
	}
	return done
}

// stop answers everything that waits; the host is about to end.
func (b *budgets) stop() {
	b.mu.Lock()
	b.mu.closed = true
	asks := b.mu.asks
	b.mu.asks = nil
	b.mu.Unlock()
	b.drain(ErrDraining)
	for _, a := range asks {
		a.done(nil, ErrDraining)
	}
}

// BudgetStats is what a host has granted of the budgets of a class.
type BudgetStats struct {
	// Granted tokens, also those that were given back, and Refused requests since the start. Queued requests wait.
	Granted, Refused, Queued int64
}

// Budgets returns the present numbers, by class. Any goroutine may call it.
func (h *Host) Budgets() [budget.Classes]BudgetStats {
	b := h.budgets
	var all [budget.Classes]BudgetStats
	for class := range all {
		all[class].Granted, all[class].Refused = b.granted[class].Load(), b.refused[class].Load()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for a := range b.mu.waiting {
		for _, t := range a.tickets {
			all[t.class].Queued++
		}
	}
	return all
}

// poke tells the loop that something may be due.
func (b *budgets) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// withProfile calls then with the profile of a server of this node once it is known, "" for a server that nobody registered, or with
// why it cannot be.
func (s *servers) withProfile(key persistence.Key, then func(profile string, err error)) {
	s.host.route(&Call{
		Key: key, reaps: true,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: key.ID}}},
		Reply: func(r *skerryv1.Response, err error) {
			if errors.Is(err, turn.ErrNotFound) {
				then("", nil)
				return
			}
			if err == nil {
				s.learn(key, r.GetGetServer())
			}
			then(r.GetGetServer().GetBudget(), err)
		},
	})
}
