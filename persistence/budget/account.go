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
	lift    lift
	classes [Classes]classAccount
}

// lift is the burst of a server that closes.
type lift struct {
	used  bool          // ShutDown was called in this incarnation
	until time.Duration // how long the burst lasts
	again time.Duration // when there may be another
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

// maxTokens bounds what one request asks for and what is saved up, and maxTime the clock, so that no sum overflows.
const (
	maxTokens = 10_000_000
	maxTime   = time.Duration(1) << 62
)

// NewAccount makes the account of a server with so many players. A fresh one, of a server that registers for the first time, begins
// with the profile's burst; any other, whose account was elsewhere before, with nothing: what it had may have been spent there.
func NewAccount(now time.Duration, p Profile, players int, fresh bool) *Account {
	a := &Account{profile: p, settled: inTime(now)}
	a.crowd.set(a.settled, players)
	if fresh {
		for class := range Classes {
			a.classes[class].units = min(p.Burst, p.Capacity(class, a.crowd.high)) * tokenUnits
		}
	}
	return a
}

// Profile is the account's.
func (a *Account) Profile() *Profile { return &a.profile }

// Register is a new incarnation of the server: it may have another profile, and closes later again. It gets no new burst.
func (a *Account) Register(now time.Duration, p Profile) {
	a.settle(now)
	a.profile = p
	a.lift.used, a.lift.until = false, 0
	a.cap()
}

// SetPlayers says how many players the server has now. The rates follow a rise at once, and a fall after a minute.
func (a *Account) SetPlayers(now time.Duration, players int) {
	a.settle(now)
	a.crowd.set(a.settled, players)
	a.cap()
}

// Players is how many the rates count now.
func (a *Account) Players(now time.Duration) int {
	a.settle(now)
	return a.crowd.high
}

// ShutDown says that the server closes: for a minute it has the profile's shutdown burst for its last saves, once in an
// incarnation, and once in two minutes however often it registers.
func (a *Account) ShutDown(now time.Duration) {
	a.settle(now)
	if !a.lift.used && a.settled >= a.lift.again {
		set := &a.classes[Set]
		set.units = max(set.units, min(set.units, 0)+min(a.profile.ShutdownBurst, maxTokens)*tokenUnits) // a debt stays
		a.lift.until, a.lift.again = a.settled+Minute, a.settled+2*Minute
	}
	a.lift.used = true
}

// Take grants up to so many tokens, now or not at all. It takes none from what is reserved for the more important, nor before those who
// wait for the same.
func (a *Account) Take(now time.Duration, class Class, tokens int64, importance Importance) (granted int64) {
	tokens = inTokens(tokens)
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
// when a place in the queue will be free. Call [Account.Due] before: what is due still has its place. More than ten million
// tokens count as ten million.
func (a *Account) Ask(now time.Duration, class Class, tokens int64, importance Importance, id uint64) (Verdict, time.Duration) {
	tokens = inTokens(tokens)
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

// GiveBack returns tokens that were granted within the last [LeaseTime], and not used. Older ones are lost: others have come in
// their place.
func (a *Account) GiveBack(now time.Duration, class Class, tokens int64) {
	a.settle(now)
	tokens = inTokens(tokens)
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
	if !a.profile.Limited { // since it registered again
		of.granted += t.tokens
		return true
	}
	if of.units < a.needed(class, t) {
		return false
	}
	of.units -= t.tokens * tokenUnits
	of.granted += t.tokens
	return true
}

// needed is how many units must be there for a ticket.
func (a *Account) needed(class Class, t ticket) int64 {
	return min(t.tokens*tokenUnits+a.kept(class, t.importance), a.profile.Capacity(class, a.crowd.high)*tokenUnits)
}

// kept is how many units a request of such an importance leaves to the others.
func (a *Account) kept(class Class, importance Importance) int64 {
	if class != Set || importance >= Shutdown {
		return 0
	}
	return a.profile.reserved(a.crowd.high) * tokenUnits
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
	case missing <= 0 || !a.profile.Limited:
		return 0
	case rate <= 0:
		return Minute // it may change
	}
	return time.Duration((missing + rate - 1) / rate)
}

// settle counts what came since the last time. A clock that went back stands still.
func (a *Account) settle(now time.Duration) {
	now = inTime(now)
	for now > a.settled {
		until := a.crowd.steadyUntil(now)
		for class := range Classes {
			a.classes[class].refill(until-a.settled, a.profile.Rates[class].PerMinute(a.crowd.high),
				a.profile.Capacity(class, a.crowd.high)*tokenUnits)
		}
		a.settled = until
		a.crowd.fall(until)
	}
	a.cap()
}

// refill adds what comes in so long a time, most units in all.
func (c *classAccount) refill(elapsed time.Duration, rate, most int64) {
	switch room := most - c.units; {
	case room <= 0: // the shutdown's burst is used up first
	case rate > 0 && int64(elapsed) >= (room+rate-1)/rate:
		c.units = most
	default:
		c.units += int64(elapsed) * rate
	}
}

// cap drops what is beyond what can be saved up, once that became less.
func (a *Account) cap() {
	for class := range Classes {
		most := a.profile.Capacity(class, a.crowd.high)
		if class == Set && a.settled < a.lift.until {
			most = max(most, min(a.profile.ShutdownBurst, maxTokens))
		}
		of := &a.classes[class]
		of.units = min(of.units, most*tokenUnits)
	}
}

// inTokens is a number of tokens within its bounds.
func inTokens(tokens int64) int64 { return min(max(tokens, 0), maxTokens) }

// inTime is a time within its bounds.
func inTime(now time.Duration) time.Duration { return min(max(now, 0), maxTime) }
