package loadtest

import (
	"cmp"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/loadtest/report"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// used is tokens that a server used at a moment, as seen where things are stored. Moments count from the run's beginning.
type used struct {
	at     time.Duration
	tokens int64
}

// crowd is how many players a server had from a moment on.
type crowd struct {
	at      time.Duration
	players int
}

// use is one class of a server's budget over the run.
type use struct {
	profile *budget.Profile
	class   budget.Class
	minute  time.Duration
	charges []used  // sorted by sort
	crowds  []crowd // in order
}

func (u *use) sort() {
	slices.SortStableFunc(u.charges, func(a, b used) int { return cmp.Compare(a.at, b.at) })
}

// at is what was used in the sliding minute that ends at a moment, that moment included.
func (u *use) at(moment time.Duration) int64 {
	sum := int64(0)
	for i := u.upTo(moment) - 1; i >= 0 && u.charges[i].at > moment-u.minute; i-- {
		sum += u.charges[i].tokens
	}
	return sum
}

// upTo is how many charges there were until a moment.
func (u *use) upTo(moment time.Duration) int {
	n, _ := slices.BinarySearchFunc(u.charges, moment, func(c used, at time.Duration) int {
		if c.at <= at {
			return -1
		}
		return 1
	})
	return n
}

// allowed is the most that the profile grants in the sliding minute that ends at a moment, with the most players who counted
// then: a fall in their number counts a minute later, or two when it goes on falling.
func (u *use) allowed(moment time.Duration) int64 {
	most := 0
	for i, c := range u.crowds {
		until := time.Duration(1<<63 - 1)
		if i+1 < len(u.crowds) {
			until = u.crowds[i+1].at
		}
		if c.at <= moment && until > moment-3*u.minute {
			most = max(most, c.players)
		}
	}
	return u.profile.MostInMinute(u.class, most)
}

// worst is the sliding minute in which most was used, against what was allowed then: the one nearest to its limit, or furthest
// above.
func (u *use) worst() (most, allowed int64) {
	sum, from, seen := int64(0), 0, false
	for i, c := range u.charges {
		sum += c.tokens
		for u.charges[from].at <= c.at-u.minute {
			sum -= u.charges[from].tokens
			from++
		}
		if i+1 < len(u.charges) && u.charges[i+1].at == c.at {
			continue
		}
		if limit := u.allowed(c.at); !seen || sum-limit > most-allowed {
			most, allowed, seen = sum, limit, true
		}
	}
	if !seen {
		allowed = u.allowed(0)
	}
	return most, allowed
}

// fill writes what a report says of the class, at the moments of its samples.
func (u *use) fill(to *report.Use, samples []report.Sample) {
	u.sort()
	to.Used, to.Limit = make([]int64, len(samples)), make([]int64, len(samples))
	for i := range samples {
		at := time.Duration(samples[i].At * float64(time.Second))
		to.Used[i], to.Limit[i] = u.at(at), u.allowed(at)
	}
	to.Most, to.Allowed = u.worst()
}
