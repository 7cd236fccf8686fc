package actors

import (
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// account is a budget, and those who wait for its tokens.
type account struct {
	name     serverName
	of       *budget.Account
	reported int                // players, by the server
	sessions int                // open ones of players
	tickets  map[uint64]*ticket // bounded by the account's queues
	used     time.Duration      // when tokens were last granted, on the budgets' clock
}

// parse reads a profile that a server's entity has. One that cannot be read limits nothing: registering refuses such.
func parse(text string) budget.Profile {
	p, err := budget.Parse(text)
	if err != nil {
		return budget.Profile{Name: unlimited}
	}
	return p
}

// registered makes or keeps the account of a server that has registered. A fresh one begins with the burst: nothing of it was
// granted in the last minute, here or elsewhere.
func (b *budgets) registered(key persistence.Key, profile string, reported, sessions int, fresh bool) {
	p := parse(profile)
	now := b.host.budgetNow()
	b.mu.Lock()
	a := b.mu.accounts[nameOf(key)]
	if a == nil {
		b.addLocked(key, p, reported, sessions, fresh, now)
	} else {
		a.reported, a.sessions = reported, sessions
		a.of.Register(now, p)
		a.of.SetPlayers(now, max(reported, sessions))
	}
	b.mu.Unlock()
	b.poke()
}

// learned makes the account of a server that registered before, unless it is there.
func (b *budgets) learned(key persistence.Key, profile string, reported, sessions int) {
	p := parse(profile)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.accounts[nameOf(key)] == nil {
		b.addLocked(key, p, reported, sessions, false, b.host.budgetNow())
	}
}

func (b *budgets) addLocked(key persistence.Key, p budget.Profile, reported, sessions int, fresh bool, now time.Duration) {
	if b.mu.closed {
		return
	}
	b.mu.accounts[nameOf(key)] = &account{
		name: nameOf(key), of: budget.NewAccount(now, p, max(reported, sessions), fresh), reported: reported, sessions: sessions,
		tickets: map[uint64]*ticket{}, used: now,
	}
}

// players notes how many players a server has: as it says, or open sessions; -1: as before.
func (b *budgets) players(name serverName, reported, sessions int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.mu.accounts[name]
	if a == nil {
		return
	}
	if reported >= 0 {
		a.reported = reported
	}
	if sessions >= 0 {
		a.sessions = sessions
	}
	if a.of.Profile().Limited {
		a.of.SetPlayers(b.host.budgetNow(), max(a.reported, a.sessions))
		if len(a.tickets) > 0 {
			b.poke() // they may come sooner
		}
	}
}

// shutDown says that an incarnation of a server leaves.
func (b *budgets) shutDown(name serverName) {
	b.mu.Lock()
	if a := b.mu.accounts[name]; a != nil {
		a.of.ShutDown(b.host.budgetNow())
	}
	b.mu.Unlock()
	b.poke()
}

// idle reports whether an account may be forgotten: what it granted is longer than a minute ago.
func (b *budgets) idle(name serverName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.mu.accounts[name]
	return a == nil || !a.of.Profile().Limited || len(a.tickets) == 0 && b.host.budgetNow() > a.used+budget.Minute
}

// drop forgets accounts; those who wait for them get err.
func (b *budgets) drop(names []serverName, err error) {
	var ended []*ticket
	b.mu.Lock()
	for _, name := range names {
		a := b.mu.accounts[name]
		if a == nil {
			continue
		}
		ended = a.endAll(ended)
		delete(b.mu.accounts, name)
		delete(b.mu.waiting, a)
	}
	b.mu.Unlock()
	for _, t := range ended {
		t.done(leased{}, err)
	}
}

// show puts what the account of a server says over what its entity knows.
func (b *budgets) show(key persistence.Key, shown map[string]*skerryv1.Budget) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.mu.accounts[nameOf(key)]
	if a == nil {
		return
	}
	for class := range budget.Classes {
		s := a.of.Status(b.host.budgetNow(), class)
		if of := shown[class.String()]; of != nil {
			of.PerMinute, of.Available, of.Used, of.Refused, of.Queued = s.PerMinute, s.Available, s.Granted, s.Refused, s.Queued
		}
	}
}

// endAll takes all tickets out.
func (a *account) endAll(ended []*ticket) []*ticket {
	for number, t := range a.tickets {
		a.of.Cancel(number)
		ended = append(ended, t)
	}
	clear(a.tickets)
	return ended
}
