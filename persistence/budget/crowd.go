package budget

import "time"

// maxPlayers is the most players that count.
const maxPlayers = 1_000_000

// crowd is how many players count: never fewer than the most of the last minute, never more than the most of the last two.
type crowd struct {
	raw, high int
	next      int           // the most since high began to fall
	falling   bool          // raw is less than high
	fallAt    time.Duration // when next takes high's place
}

func (c *crowd) set(now time.Duration, players int) {
	c.raw = min(max(players, 0), maxPlayers)
	switch {
	case c.raw >= c.high:
		c.high, c.falling = c.raw, false
	case !c.falling:
		c.next, c.falling, c.fallAt = c.raw, true, now+Minute
	default:
		c.next = max(c.next, c.raw)
	}
}

// steadyUntil is until when high stays as it is, now at the most.
func (c *crowd) steadyUntil(now time.Duration) time.Duration {
	if c.falling {
		return min(c.fallAt, now)
	}
	return now
}

// fall lowers high when its time has come.
func (c *crowd) fall(now time.Duration) {
	if !c.falling || now < c.fallAt {
		return
	}
	c.high, c.next = c.next, c.raw
	c.falling, c.fallAt = c.raw < c.high, now+Minute
}
