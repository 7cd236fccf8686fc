// Goal: the sliding minute counts what a slow count of every window does.
// Method: random charges and crowds, brute force beside.
package loadtest

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/persistence/budget"
)

func TestSlidingMinute(t *testing.T) {
	profile, err := budget.Parse("custom,get=10+2,set=10+2,burst=5,shutdown=0")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		const minute = 1000 // ms
		u := use{profile: &profile, class: budget.Set, minute: minute * time.Millisecond}
		for range rapid.IntRange(0, 60).Draw(t, "charges") {
			at := time.Duration(rapid.IntRange(-5, 40).Draw(t, "at")) * 100 * time.Millisecond
			u.charges = append(u.charges, used{at, rapid.Int64Range(1, 3).Draw(t, "tokens")})
		}
		at := -time.Second
		for range rapid.IntRange(1, 8).Draw(t, "crowds") {
			u.crowds = append(u.crowds, crowd{at, rapid.IntRange(0, 10).Draw(t, "players")})
			at += time.Duration(rapid.IntRange(1, 900).Draw(t, "later")) * time.Millisecond
		}
		u.sort()
		worst := int64(-1 << 62)
		for ms := -1000; ms <= 5000; ms++ {
			now := time.Duration(ms) * time.Millisecond
			sum, players := int64(0), 0
			for _, c := range u.charges {
				if c.at <= now && c.at > now-u.minute {
					sum += c.tokens
				}
			}
			for i, c := range u.crowds {
				counts := c.at <= now && (i+1 == len(u.crowds) || u.crowds[i+1].at > now-3*u.minute)
				if counts {
					players = max(players, c.players)
				}
			}
			if got := u.at(now); got != sum {
				t.Fatalf("at %v: %d used, want %d", now, got, sum)
			}
			if got := u.allowed(now); got != profile.MostInMinute(budget.Set, players) {
				t.Fatalf("at %v: %d allowed with %d players", now, got, players)
			}
			if slices.ContainsFunc(u.charges, func(c used) bool { return c.at == now }) {
				worst = max(worst, sum-u.allowed(now))
			}
		}
		if most, allowed := u.worst(); len(u.charges) > 0 && most-allowed != worst {
			t.Fatalf("worst: %d of %d, want %+d", most, allowed, worst)
		}
	})
}
