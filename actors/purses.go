package actors

import (
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

const (
	// tokenBytes is what one token pays for of a world's save.
	tokenBytes = 4 << 20
	// maxBatch is how many tokens a purse asks another node for at a time.
	maxBatch = 256
	// leastLease and leastPoll are how short a lease, and the time until the next look, may become in minutes that are scaled: other nodes'
	// answers are no faster then.
	leastLease = 250 * time.Millisecond
	leastPoll  = 20 * time.Millisecond
	// maxPurses is how many servers' profiles are remembered while nothing of them waits.
	maxPurses = 16384
)

// purse is what this node has to save for a game server, the most important and oldest first, and the tokens for it. Guarded by
// budgets.mu.
type purse struct {
	key     persistence.Key
	profile budget.Profile // of a server of another node, once known
	known   bool
	sure    instant // until when it is not asked again whether a server still has no budget

	jobs   budget.Jobs[*activation]
	need   [budget.Leave + 1]int64  // tokens, by importance
	parked map[*activation]struct{} // whose bytes of the last minute are used up

	held    int64             // tokens, for the first job
	heldFor budget.Importance // for which they were granted
	asking  bool              // for tokens or the profile; at most one question at a time
	retry   instant           // of the next question

	touched bool    // something is new
	due     instant // when to look otherwise
}

// want is a save that waits for tokens.
type want struct {
	of         *purse
	importance budget.Importance
	since      instant // when the oldest change happened
	tokens     int64
	bytes      int64 // at most
	until      instant
}

// permit is what a save may begin with: the tokens that it was granted, none for one that costs nothing.
type permit struct {
	server persistence.Key
	tokens int64
}

// saveGrant tells an activation that its save may begin, or, with err, that the one which was asked for may not.
type saveGrant struct {
	permit
	asked bool // it waited in the account's queue
	err   error
}

// profileLocked is a server's profile, as far as it is known here.
func (b *budgets) profileLocked(key persistence.Key) (profile *budget.Profile, of *account) {
	if a := b.mu.accounts[nameOf(key)]; a != nil {
		return a.of.Profile(), a
	}
	if p := b.mu.purses[nameOf(key)]; p != nil && p.known {
		return &p.profile, nil
	}
	return nil, nil
}

// note keeps the profile of a server that another node watches over.
func (b *budgets) note(key persistence.Key, profile string) {
	parsed := parse(profile)
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.purseLocked(key)
	b.knowLocked(p, parsed)
}

func (b *budgets) knowLocked(p *purse, profile budget.Profile) {
	p.profile, p.known, p.sure = profile, true, b.host.now()+b.real(budget.Minute)
}

// sureLocked reports whether what is known of an unlimited server is not long ago: it may have registered with a budget since.
func (b *budgets) sureLocked(key persistence.Key, of *account) bool {
	if of != nil {
		return true
	}
	p := b.mu.purses[nameOf(key)]
	return p != nil && p.sure > b.host.now()
}

func (b *budgets) purseLocked(key persistence.Key) *purse {
	p := b.mu.purses[nameOf(key)]
	if p == nil {
		if len(b.mu.purses) >= maxPurses {
			for name, other := range b.mu.purses {
				if other.idle() {
					delete(b.mu.purses, name)
				}
			}
		}
		p = &purse{key: key, parked: map[*activation]struct{}{}}
		b.mu.purses[nameOf(key)] = p
	}
	return p
}

func (p *purse) idle() bool {
	return p.jobs.Len() == 0 && len(p.parked) == 0 && !p.asking && p.held == 0
}

// permit lets a save begin that is free, or whose tokens are there. Else it waits as a job, if it may; then the activation gets a
// [saveGrant] later.
func (b *budgets) permit(a *activation, key persistence.Key, w want, waits bool) (permit, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	profile, account := b.profileLocked(key)
	if profile != nil && !profile.Limited && (!waits || b.sureLocked(key, account)) {
		b.forgetLocked(a)
		return permit{}, true
	}
	now := b.host.budgetNow()
	if account != nil && b.mu.windows.wait(a.key, budget.Set, now, profile.WriteBytes, w.bytes) == 0 && b.isFirstLocked(a, key, w.importance) {
		got := b.takeLocked(account, w.tokens, w.importance)
		if got == w.tokens {
			b.grantedLocked(account, budget.Set, got, now)
			b.forgetLocked(a)
			return permit{key, got}, true
		}
		account.of.GiveBack(now, budget.Set, got)
	}
	if waits && !b.mu.closed {
		b.putLocked(a, key, w)
	}
	return permit{}, false
}

// takeLocked takes set tokens of an account that is here.
func (b *budgets) takeLocked(a *account, tokens int64, importance budget.Importance) int64 {
	if b.host.opts.Faults.NoLimiter {
		return tokens
	}
	return a.of.Take(b.host.budgetNow(), budget.Set, tokens, importance)
}

// isFirstLocked reports whether no other save of the server goes before.
func (b *budgets) isFirstLocked(a *activation, key persistence.Key, importance budget.Importance) bool {
	p := b.mu.purses[nameOf(key)]
	if p == nil {
		return true
	}
	first := p.jobs.First()
	return first == nil || first.Key == a || first.Importance < importance
}

// putLocked adds a job, or makes a new one of that which the activation had.
func (b *budgets) putLocked(a *activation, key persistence.Key, w want) {
	if had := b.mu.wants[a]; had != nil {
		w.importance, w.since = max(w.importance, had.importance), min(w.since, had.since)
		b.forgetLocked(a)
	}
	w.of = b.purseLocked(key)
	b.mu.wants[a] = &w
	b.wanting.Add(1)
	w.of.put(a, &w)
	w.of.touched = true
	b.mu.busy[w.of] = struct{}{}
	b.poke()
}

func (p *purse) put(a *activation, w *want) {
	p.jobs.Put(budget.Job[*activation]{Key: a, Importance: w.importance, Since: w.since, Tokens: w.tokens})
	p.need[w.importance] += w.tokens
}

func (p *purse) remove(a *activation, w *want) {
	if p.jobs.Remove(a) != nil {
		p.need[w.importance] -= w.tokens
	}
}

// forgetLocked takes an activation's job away.
func (b *budgets) forgetLocked(a *activation) {
	w := b.mu.wants[a]
	if w == nil {
		return
	}
	delete(b.mu.wants, a)
	b.wanting.Add(-1)
	w.of.remove(a, w)
	delete(w.of.parked, a)
}

// forget takes an activation's job away, if it has one.
func (b *budgets) forget(a *activation) {
	if b.wanting.Load() == 0 {
		return
	}
	b.mu.Lock()
	b.forgetLocked(a)
	b.mu.Unlock()
}

// raise makes a save that waits for tokens more important.
func (b *budgets) raise(a *activation, importance budget.Importance) {
	if b.wanting.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.mu.wants[a]
	if w == nil || w.importance >= importance {
		return
	}
	_, parked := w.of.parked[a]
	w.of.remove(a, w)
	if w.importance = importance; !parked {
		w.of.put(a, w)
	}
	w.of.touched = true
	b.poke()
}

// oldest is since when the oldest change waits for a token.
func (b *budgets) oldest() (since instant, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.mu.wants {
		if !ok || w.since < since {
			since, ok = w.since, true
		}
	}
	return since, ok
}

// serveAllLocked serves the purses where something may be due, and returns when it is to be called again.
func (b *budgets) serveAllLocked(done []func()) (later []func(), next time.Duration) {
	next = time.Hour
	for p := range b.mu.busy {
		now := b.host.now()
		if p.touched || p.due <= now || b.host.opts.BudgetClock != nil {
			var pause instant
			p.touched = false
			if done, pause = b.serveLocked(p, done); pause == 0 {
				pause = time.Hour
			}
			p.due = now + pause
		}
		next = min(next, p.due-now)
	}
	return done, next
}

// serveLocked lets the first jobs of a purse go that have their tokens, and sees to tokens for the others. What it returns is to be done
// without the lock; pause is when to call it again, 0: when there is something new.
func (b *budgets) serveLocked(p *purse, done []func()) (later []func(), pause instant) {
	profile, account := b.profileLocked(p.key)
	now := b.host.now()
	pause = b.unparkLocked(p, now)
	poll := max(b.real(budget.LeaseTime/4), leastPoll)
	for first := p.jobs.First(); first != nil; first = p.jobs.First() {
		a, w := first.Key, b.mu.wants[first.Key]
		if profile != nil && !profile.Limited && b.sureLocked(p.key, account) {
			b.forgetLocked(a)
			done = append(done, func() { b.give(a, permit{}) })
			continue
		}
		if profile == nil || account == nil && p.held < w.tokens {
			if p.asking || p.retry > now {
				return done, soonest(pause, poll)
			}
			return b.fetchLocked(p, done), pause
		}
		if wait := b.parkLocked(p, a, w, profile.WriteBytes); wait > 0 {
			pause = soonest(pause, wait)
			continue
		}
		if p.heldFor > w.importance { // they were for somebody more important
			done = p.returnHeld(b, done)
		}
		if !b.fillLocked(p, account, w) {
			return done, soonest(pause, poll)
		}
		p.held -= w.tokens
		b.forgetLocked(a)
		done = append(done, func() { b.give(a, permit{p.key, w.tokens}) })
	}
	done = p.returnHeld(b, done)
	if len(p.parked) == 0 {
		delete(b.mu.busy, p)
	}
	return done, pause
}

// fillLocked sees to the tokens of a purse's first job, and reports whether they are there. account is nil at another node.
func (b *budgets) fillLocked(p *purse, account *account, w *want) bool {
	if account != nil && p.held < w.tokens {
		got := b.takeLocked(account, w.tokens-p.held, w.importance)
		b.grantedLocked(account, budget.Set, got, b.host.budgetNow())
		p.held, p.heldFor = p.held+got, w.importance
	}
	return p.held >= w.tokens
}

// parkLocked sets a job aside whose bytes of the last minute are used up, and returns for how long; 0: they are not.
func (b *budgets) parkLocked(p *purse, a *activation, w *want, limit int64) instant {
	wait := b.mu.windows.wait(a.key, budget.Set, b.host.budgetNow(), limit, w.bytes)
	if wait <= 0 {
		return 0
	}
	p.remove(a, w)
	w.until = b.host.now() + b.real(wait)
	p.parked[a] = struct{}{}
	return b.real(wait)
}

// soonest is the shorter of two pauses; 0: there is none.
func soonest(a, b instant) instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (p *purse) returnHeld(b *budgets, done []func()) []func() {
	held := p.held
	p.held = 0
	if held == 0 {
		return done
	}
	return append(done, func() { b.returnTokens(p.key, budget.Set, held) })
}

// unparkLocked makes jobs again of those that have waited for their bytes.
func (b *budgets) unparkLocked(p *purse, now instant) (pause instant) {
	for a := range p.parked {
		w := b.mu.wants[a]
		if w.until > now && b.host.opts.BudgetClock == nil {
			pause = soonest(pause, w.until-now)
			continue
		}
		delete(p.parked, a)
		p.put(a, w)
	}
	return pause
}

// fetchLocked asks for tokens of another node's account, as many as the first jobs need, or for the profile of a server of this node.
func (b *budgets) fetchLocked(p *purse, done []func()) []func() {
	p.asking = true
	if b.partners == nil || b.host.Owns(b.host.partitionOf(p.key)) {
		return append(done, func() {
			b.host.servers.withProfile(p.key, func(profile string, err error) {
				if err == nil && profile == "" {
					profile = unlimited
				}
				b.fetched(p, &peerv1.LeaseAnswer{Profile: profile}, err)
			})
		})
	}
	importance := p.jobs.First().Importance
	r := &lease{server: p.key, class: budget.Set, tokens: min(p.need[importance], maxBatch) - p.held, importance: importance}
	r.tokens = max(r.tokens, p.jobs.First().Tokens-p.held)
	began := b.host.now()
	err := b.askAwayLocked(r, func(answer *peerv1.LeaseAnswer, err error) {
		if b.host.now()-began > max(b.real(budget.LeaseTime), leastLease) { // lost
			answer = &peerv1.LeaseAnswer{Profile: answer.GetProfile()}
		}
		b.mu.Lock()
		p.heldFor = importance
		b.mu.Unlock()
		b.fetched(p, answer, err)
	})
	if err != nil {
		p.asking, p.retry = false, began+b.real(budget.LeaseTime)
	}
	return done
}

// fetched goes on after an answer for a purse. Without one its jobs wait: the journal has everything.
func (b *budgets) fetched(p *purse, answer *peerv1.LeaseAnswer, err error) {
	b.mu.Lock()
	p.asking, p.retry, p.touched = false, b.host.now()+max(b.real(budget.LeaseTime/4), leastPoll), true
	b.mu.busy[p] = struct{}{} // its jobs may have ended meanwhile: then the tokens go back
	switch {
	case err != nil && p.known && !p.profile.Limited: // nobody can say otherwise
		b.knowLocked(p, p.profile)
	case err == nil && answer.GetProfile() != "":
		b.knowLocked(p, parse(answer.GetProfile()))
		if p.profile.Limited {
			p.held += int64(answer.GetGranted())
		}
	}
	b.mu.Unlock()
	b.poke()
}

// give lets an activation's save begin.
func (b *budgets) give(a *activation, p permit) {
	if !b.host.tell(a, &saveGrant{permit: p}) {
		b.unused(p)
	}
}

// unused gives a permit's tokens back.
func (b *budgets) unused(p permit) {
	if p.tokens > 0 {
		b.returnTokens(p.server, budget.Set, p.tokens)
	}
}

// ask has the save that somebody asked for wait in the account's queue. waits: the activation gets a [saveGrant] later.
func (b *budgets) ask(a *activation, key persistence.Key, w want) (p permit, waits bool, err error) {
	b.mu.Lock()
	profile, _ := b.profileLocked(key)
	free := profile != nil && !profile.Limited
	if profile != nil && !free {
		if wait := b.mu.windows.wait(a.key, budget.Set, b.host.budgetNow(), profile.WriteBytes, w.bytes); wait > 0 {
			err = &BudgetError{Server: key, Class: budget.Set, RetryAfter: b.real(wait)}
			b.refused[budget.Set].Add(1)
		}
	}
	b.mu.Unlock()
	if free || err != nil {
		return permit{}, false, err
	}
	permitOf := func(l leased) permit {
		if l.profile == unlimited {
			return permit{}
		}
		return permit{key, l.tokens}
	}
	answer, waits, err := b.get(&lease{
		server: key, class: budget.Set, tokens: w.tokens, importance: w.importance, queue: true,
		done: func(l leased, err error) {
			grant := &saveGrant{permit: permitOf(l), asked: true, err: unreachable(err)}
			if !b.host.tell(a, grant) {
				b.unused(grant.permit)
			}
		},
	})
	return permitOf(answer), waits, unreachable(err)
}

// unreachable says of an account that is not here any more that it cannot be asked: the entity itself is here.
func unreachable(err error) error {
	if errors.Is(err, persistence.ErrNotOwner) {
		return fmt.Errorf("%w: it moved", ErrNoBudget)
	}
	return err
}
