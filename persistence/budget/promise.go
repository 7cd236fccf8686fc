package budget

import (
	"math"
	"time"
)

// DirtyAge is the promised greatest age of a change that no snapshot covers, of a game server with so many players whose dirty players
// and worlds cost so many tokens to save, all at once:
//
//	max(interval, interval/2 + cost/rate) + reserve/rate + 2 × LeaseTime
//
// Saves are wanted from half the interval on, the oldest first, so that half of it is there to spread them; cost/rate is how long they
// take when the budget is the limit. reserve/rate is the wait after leaving players have emptied the account. A save has its tokens for a
// lease's time, and the ask for them is a lease's worth. An unlimited profile has the interval and one lease's time.
//
// It holds while nobody leaves, for a save of one who leaves goes before, and on the condition that several nodes with entities of one
// server save by turns: then only if (cost + reserve)/rate is within half the interval, for no node knows how old the other's are.
// What is beyond all measure, as with a rate of 0, is the greatest duration.
func DirtyAge(p *Profile, players int, cost int64, interval time.Duration) time.Duration {
	if !p.Limited {
		return plus(interval, LeaseTime)
	}
	rate := p.Rates[Set].PerMinute(players)
	spread := max(interval, plus(interval/2, timeOf(cost, rate)))
	return plus(plus(spread, timeOf(p.reserved(players), rate)), 2*LeaseTime)
}

// timeOf is how long so many tokens take to come.
func timeOf(tokens, rate int64) time.Duration {
	switch {
	case tokens <= 0:
		return 0
	case rate <= 0 || tokens > maxTokens:
		return math.MaxInt64
	}
	return time.Duration((tokens*tokenUnits + rate - 1) / rate)
}

// plus adds two times; what is too long is for ever.
func plus(a, b time.Duration) time.Duration {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxInt64
}
