package budget

import "time"

// DirtyAge is the promised greatest age of a change that no snapshot covers, of a game server with so many players whose dirty players
// and worlds cost so many tokens to save, all at once:
//
//	max(interval, interval/2 + cost/rate) + reserve/rate + 2 × LeaseTime
//
// Saves begin at half the interval, so that half of it is there to spread them; cost/rate is how long they take when the budget
// is the limit. reserve/rate is the wait after leaving players have emptied the account. A lease may go to another node first.
// It holds while nobody leaves: a save of one who leaves goes before. An unlimited profile has the first interval alone.
func DirtyAge(p *Profile, players int, cost int64, interval time.Duration) time.Duration {
	rate := p.Rates[Set].PerMinute(players)
	if !p.Limited {
		return interval + LeaseTime
	}
	if rate <= 0 {
		return time.Duration(1<<63 - 1)
	}
	perToken := float64(Minute) / float64(rate)
	reserve := min(p.Reserve*rate/100, p.Capacity(Set, players)/2)
	spread := max(interval, interval/2+time.Duration(float64(cost)*perToken))
	return spread + time.Duration(float64(reserve)*perToken) + 2*LeaseTime
}
