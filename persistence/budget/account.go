package budget

import (
	"slices"
	"time"
)

// unit is a part of a token: what a rate of one a minute brings in a nanosecond. Whole numbers make a grant happen at its
// very instant.
const tokenUnits = int64(Minute)

// Account is one game server's budget, kept by whoever owns the server's entity.
type Account struct {
	profile Profile
	crowd   crowd
	settled time.Duration // up to when tokens were counted
	lifted  bool          // ShutDown was called
	classes [Classes]classAccount
}

type classAccount struct {
	units   int64 // of tokens
	waiting []ticket
	granted int64
	refused int64
}

// ticket is a request that waits.
type ticket struct {
	id         uint64
	tokens     int64
	importance Importance
}

// Status is one class of an account.
type Status struct {
	// PerMinute tokens come now; Available are there; Queued requests wait.
	PerMinute, Available, Queued int64
	// Granted tokens and Refused requests since the account was made.
	Granted, Refused int64
}

// Verdict says what became of a request.
type Verdict uint8

// The verdicts.
const (
	// Refused: the queue is full, or the request does not wait.
	Refused Verdict = iota
	// Granted: the tokens are the caller's.
	Granted
	// Queued: [Account.Due] will name the ticket.
	Queued
)

// NewAccount makes the account of a server with so many players. A fresh one, of a server that registers for the first time, begins
// with the profile's burst; any other, whose account was elsewhere before, with nothing: what it had may have been spent there.
func NewAccount(now time.Duration, p Profile, players int, fresh bool) *Account {
	a := &Account{profile: p, settled: now, crowd: crowd{raw: players, high: players}}
	if fresh {
		for class := range a.classes {
			a.classes[class].units = p.Burst * tokenUnits
		}
	}
	return a
}

// Profile is the account's.
func (a *Account) Profile() *Profile { return &a.profile }

// Register is a new incarnation of the server: it may have another profile, and closes later again. It gets no new burst.
func (a *Account) Register(now time.Duration, p Profile) {
	a.settle(now)
	a.profile, a.lifted = p, false
	a.cap()
}

// SetPlayers says how many players the server has now. The rates follow a rise at once, and a fall after a minute.
func (a *Account) SetPlayers(now time.Duration, players int) {
	a.settle(now)
	a.crowd.set(now, players)
	a.cap()
}

// Players is how many the rates count now.
func (a *Account) Players(now time.Duration) int {
	a.settle(now)
	return a.crowd.high
}

// ShutDown says that the server closes: it has the profile's shutdown burst for its last saves, once in an incarnation.
func (a *Account) ShutDown(now time.Duration) {
	a.settle(now)
	if set := &a.classes[Set]; !a.lifted {
		set.units = max(set.units, a.profile.ShutdownBurst*tokenUnits)
		a.lifted = true
	}
}

// Take grants up to so many tokens, now or not at all. It takes none from what is reserved for the more important, nor before those who
// wait for the same.
func (a *Account) Take(now time.Duration, class Class, tokens int64, importance Importance) (granted int64) {
	if !a.profile.Limited {
		a.classes[class].granted += tokens
		return tokens
	}
	a.settle(now)
	of := &a.classes[class]
	if len(of.waiting) > 0 && of.waiting[0].importance >= importance {
		return 0
	}
	granted = max(0, min(tokens, (of.units-a.kept(class, importance))/tokenUnits))
	of.units -= granted * tokenUnits
	of.granted += granted
	return granted
}

// Ask grants all of so many tokens, or puts the request in the queue under a ticket of the caller's, or refuses it and says
// when a place in the queue will be free.
func (a *Account) Ask(now time.Duration, class Class, tokens int64, importance Importance, id uint64) (Verdict, time.Duration) {
	if !a.profile.Limited {
		a.classes[class].granted += tokens
		return Granted, 0
	}
	a.settle(now)
	of := &a.classes[class]
	t := ticket{id, tokens, importance}
	place := len(of.waiting)
	for place > 0 && of.waiting[place-1].importance < importance {
		place--
	}
	if place == 0 && a.grant(class, t) {
		return Granted, 0
	}
	if len(of.waiting) >= a.profile.Queue {
		of.refused++
		return Refused, a.wait(class)
	}
	of.waiting = slices.Insert(of.waiting, place, t)
	return Queued, 0
}

// Due returns the tickets that are granted by now, in order.
func (a *Account) Due(now time.Duration) (granted []uint64) {
	a.settle(now)
	for class := range Classes {
		of := &a.classes[class]
		for len(of.waiting) > 0 && a.grant(class, of.waiting[0]) {
			granted = append(granted, of.waiting[0].id)
			of.waiting = slices.Delete(of.waiting, 0, 1)
		}
	}
	return granted
}

// Next is how long it takes until Due has something, if nothing changes; false: nothing waits, or nothing ever comes.
func (a *Account) Next(now time.Duration) (time.Duration, bool) {
	a.settle(now)
	next, ok := time.Duration(0), false
	for class := range Classes {
		if len(a.classes[class].waiting) == 0 {
			continue
		}
		if wait := a.wait(class); !ok || wait < next {
			next, ok = wait, true
		}
	}
	return next, ok
}

// Cancel takes a ticket out of the queue; false: it is not there.
func (a *Account) Cancel(id uint64) bool {
	for class := range a.classes {
		of := &a.classes[class]
		if i := slices.IndexFunc(of.waiting, func(t ticket) bool { return t.id == id }); i >= 0 {
			of.waiting = slices.Delete(of.waiting, i, i+1)
			return true
		}
	}
	return false
}

// GiveBack returns tokens that were granted and not used.
func (a *Account) GiveBack(now time.Duration, class Class, tokens int64) {
	a.settle(now)
	a.classes[class].units += tokens * tokenUnits
	a.classes[class].granted -= tokens
	a.cap()
}

// Status is how a class stands.
func (a *Account) Status(now time.Duration, class Class) Status {
	a.settle(now)
	of := &a.classes[class]
	s := Status{Queued: int64(len(of.waiting)), Granted: of.granted, Refused: of.refused}
	if a.profile.Limited {
		s.PerMinute, s.Available = a.profile.Rates[class].PerMinute(a.crowd.high), max(0, of.units/tokenUnits)
	}
	return s
}

// grant takes all of a ticket's tokens, if they are there. More than can ever be there are granted when all is there; the
// rest is a debt.
func (a *Account) grant(class Class, t ticket) bool {
	of := &a.classes[class]
	if of.units < a.needed(class, t) {
		return false
	}
	of.units -= t.tokens * tokenUnits
	of.granted += t.tokens
	return true
}

// needed is how many units must be there for a ticket.
func (a *Account) needed(class Class, t ticket) int64 {
	kept := a.kept(class, t.importance)
	return min(t.tokens*tokenUnits+kept, a.profile.Capacity(class, a.crowd.high)*tokenUnits)
}

// kept is how many units a request of such an importance leaves to the others.
func (a *Account) kept(class Class, importance Importance) int64 {
	if class != Set || importance >= Shutdown {
		return 0
	}
	players := a.crowd.high
	reserve := a.profile.Reserve * a.profile.Rates[class].PerMinute(players) / 100
	return min(reserve, a.profile.Capacity(class, players)/2) * tokenUnits
}

// wait is how long it takes until the first of a class's queue is granted, or a token is there when nothing waits.
func (a *Account) wait(class Class) time.Duration {
	of := &a.classes[class]
	first := ticket{tokens: 1}
	if len(of.waiting) > 0 {
		first = of.waiting[0]
	}
	missing := a.needed(class, first) - of.units
	rate := a.profile.Rates[class].PerMinute(a.crowd.high)
	switch {
	case missing <= 0:
		return 0
	case rate <= 0:
		return Minute // it may change
	}
	return time.Duration((missing + rate - 1) / rate)
}

// settle counts what came since the last time.
func (a *Account) settle(now time.Duration) {
	for now > a.settled {
		until := a.crowd.steadyUntil(now)
		for class := range Classes {
			of := &a.classes[class]
			rate := a.profile.Rates[class].PerMinute(a.crowd.high)
			most := a.profile.Capacity(class, a.crowd.high) * tokenUnits
			switch room := most - of.units; {
			case room <= 0: // the shutdown's burst, or a fall of the players: it is used up first
			case rate > 0 && int64(until-a.settled) >= (room+rate-1)/rate:
				of.units = most
			default:
				of.units += int64(until-a.settled) * rate
			}
		}
		a.settled = until
		a.crowd.fall(until)
	}
}

// cap drops what is beyond what can be saved up, once that became less.
func (a *Account) cap() {
	for class := range Classes {
		most := a.profile.Capacity(class, a.crowd.high)
		if class == Set && a.lifted {
			most = max(most, a.profile.ShutdownBurst)
		}
		of := &a.classes[class]
		of.units = min(of.units, most*tokenUnits)
	}
}

// crowd is how many players count: the most of the last minute, or a little longer.
type crowd struct {
	raw, high int
	next      int           // the most since high began to fall
	fallAt    time.Duration // when next takes high's place; 0: raw is high
}

func (c *crowd) set(now time.Duration, players int) {
	c.raw = players
	switch {
	case players >= c.high:
		c.high, c.fallAt = players, 0
	case c.fallAt == 0:
		c.next, c.fallAt = players, now+Minute
	default:
		c.next = max(c.next, players)
	}
}

// steadyUntil is until when high stays as it is, now at the most.
func (c *crowd) steadyUntil(now time.Duration) time.Duration {
	if c.fallAt != 0 && c.fallAt < now {
		return c.fallAt
	}
	return now
}

// fall lowers high when its time has come.
func (c *crowd) fall(now time.Duration) {
	if c.fallAt == 0 || now < c.fallAt {
		return
	}
	c.high, c.next, c.fallAt = c.next, c.raw, 0
	if c.raw < c.high {
		c.fallAt = now + Minute
	}
}
