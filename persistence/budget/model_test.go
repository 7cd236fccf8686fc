package budget

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Goal: an account does what its comments say, at any time and in any order.
// Method: the same commands to the account, and to a slow and obvious one that counts every tick; another account is looked at every
// tick as well, so that how often one looks makes no difference. At the end every sliding minute is counted.

const tick = 250 * time.Millisecond

// model is the slow account.
type model struct {
	now      time.Duration
	profile  Profile
	players  int // that count
	units    [Classes]int64
	queue    [Classes][]ticket
	granted  [Classes]int64
	refused  [Classes]int64
	closing  bool          // ShutDown came in this incarnation
	lifted   time.Duration // the last burst; -1 h: never
	lifting  bool          // its incarnation lives
	reported []report
	grants   []grant
}

type report struct {
	at      time.Duration
	players int
}

// grant is a line of the book.
type grant struct {
	at     time.Duration
	class  Class
	tokens int64
	asked  int64
}

func (m *model) rate(class Class) int64 {
	return m.profile.Rates[class].Base + m.profile.Rates[class].PerPlayer*int64(m.players)
}

// full is what can be saved up, without the shutdown's burst.
func (m *model) full(class Class) int64 {
	return max(1+m.rate(class)/30, m.profile.Burst, m.profile.Accumulate*m.rate(class)) * tokenUnits
}

func (m *model) trim() {
	for class := range Classes {
		most := m.full(class)
		if class == Set && m.lifting && m.now < m.lifted+Minute {
			most = max(most, m.profile.ShutdownBurst*tokenUnits)
		}
		m.units[class] = min(m.units[class], most)
	}
}

// step is a tick, after which so many players count.
func (m *model) step(players int) {
	m.now += tick
	for class := range Classes {
		if m.units[class] < m.full(class) {
			m.units[class] = min(m.full(class), m.units[class]+m.rate(class)*int64(tick))
		}
	}
	m.players = players
	m.trim()
}

func (m *model) left(class Class, importance Importance) int64 {
	if class == Get || importance == Leave || importance == Shutdown {
		return 0
	}
	return min(m.profile.Reserve*m.rate(Set)/100, (m.full(Set)/tokenUnits-1)/2)
}

func (m *model) pay(class Class, t ticket) {
	m.units[class] -= t.tokens * tokenUnits
	m.granted[class] += t.tokens
	m.grants = append(m.grants, grant{m.now, class, t.tokens, t.tokens})
}

func (m *model) enough(class Class, t ticket) bool {
	needed := (t.tokens + m.left(class, t.importance)) * tokenUnits
	return m.units[class] >= min(needed, m.full(class))
}

func (m *model) take(class Class, tokens int64, importance Importance) (got int64) {
	for _, waits := range m.queue[class] {
		if waits.importance >= importance {
			return 0
		}
	}
	for got < tokens && m.units[class] >= (got+1+m.left(class, importance))*tokenUnits {
		got++
	}
	if got > 0 {
		m.pay(class, ticket{tokens: got})
	}
	return got
}

func (m *model) ask(class Class, t ticket) Verdict {
	ahead := slices.ContainsFunc(m.queue[class], func(other ticket) bool { return other.importance >= t.importance })
	switch {
	case !ahead && m.enough(class, t):
		m.pay(class, t)
		return Granted
	case len(m.queue[class]) >= m.profile.Queue:
		m.refused[class]++
		return Refused
	}
	m.queue[class] = append(m.queue[class], t)
	slices.SortStableFunc(m.queue[class], func(a, b ticket) int { return int(b.importance) - int(a.importance) })
	return Queued
}

func (m *model) due() (ids []uint64) {
	for class := range Classes {
		for len(m.queue[class]) > 0 && m.enough(class, m.queue[class][0]) {
			m.pay(class, m.queue[class][0])
			ids = append(ids, m.queue[class][0].id)
			m.queue[class] = m.queue[class][1:]
		}
	}
	return ids
}

// giveBack returns up to so many tokens of the last grant that is young enough, and says how many.
func (m *model) giveBack(class Class, tokens int64) int64 {
	for i := len(m.grants) - 1; i >= 0; i-- {
		if g := &m.grants[i]; g.class == class && g.tokens > 0 && g.at+LeaseTime >= m.now {
			tokens = min(tokens, g.tokens)
			g.tokens -= tokens
			m.granted[class] -= tokens
			m.units[class] += tokens * tokenUnits
			m.trim()
			return tokens
		}
	}
	return 0
}

func (m *model) shutDown() {
	if !m.closing && m.now >= m.lifted+2*Minute {
		debt := min(m.units[Set], 0)
		m.units[Set] = max(m.units[Set], m.profile.ShutdownBurst*tokenUnits+debt)
		m.lifted, m.lifting = m.now, true
	}
	m.closing = true
}

func (m *model) register(p Profile) {
	m.profile, m.closing, m.lifting = p, false, false
	m.trim()
}

// crowdRange is the least and the most that may count now.
func (m *model) crowdRange() (least, most int) {
	for i, r := range m.reported {
		until := m.now // how long it held
		if i+1 < len(m.reported) {
			until = m.reported[i+1].at
		} else {
			until++
		}
		if until > m.now-Minute {
			least = max(least, r.players)
		}
		if until > m.now-2*Minute {
			most = max(most, r.players)
		}
	}
	return least, most
}

// pair is the account and the model, with all that the check of sliding minutes wants to know.
type pair struct {
	fine, lazy *Account
	slow       *model
	nextID     uint64
	counted    []report // Players at every tick
	profiles   []Profile
}

func (b *pair) step(t *rapid.T) {
	b.fine.settle(b.slow.now + tick)
	b.slow.step(b.fine.Players(b.slow.now + tick))
	b.counted = append(b.counted, report{b.slow.now, b.slow.players})
	if least, most := b.slow.crowdRange(); b.slow.players < least || b.slow.players > most {
		t.Fatalf("at %v %d players count, of %v: not within %d..%d", b.slow.now, b.slow.players, b.slow.reported, least, most)
	}
}

func (b *pair) compare(t *rapid.T) {
	for class := range Classes {
		want := Status{
			PerMinute: b.slow.rate(class), Available: max(0, b.slow.units[class]/tokenUnits), Queued: int64(len(b.slow.queue[class])),
			Granted: b.slow.granted[class], Refused: b.slow.refused[class],
		}
		for name, account := range map[string]*Account{"fine": b.fine, "lazy": b.lazy} {
			if got := account.Status(b.slow.now, class); got != want || account.classes[class].units != b.slow.units[class] {
				t.Fatalf("%s at %v: %v %+v with %d units, want %+v with %d", name, b.slow.now, class, got,
					account.classes[class].units, want, b.slow.units[class])
			}
			if !slices.Equal(account.classes[class].waiting, b.slow.queue[class]) {
				t.Fatalf("%s at %v: %v queue %v, want %v", name, b.slow.now, class, account.classes[class].waiting, b.slow.queue[class])
			}
		}
	}
}

// both fails unless the accounts and the model say the same.
func both[T any](t *rapid.T, what string, fine, lazy, slow T) {
	if f, l, s := fmt.Sprint(fine), fmt.Sprint(lazy), fmt.Sprint(slow); f != s || l != s {
		t.Fatalf("%s: %s looked at every tick, %s else, want %s", what, f, l, s)
	}
}

// slidingMinutes counts what was granted from every grant on for a minute, without what was given back.
func (b *pair) slidingMinutes(t *rapid.T) {
	counted := func(from, until time.Duration) (least, most int) {
		least = maxPlayers
		for i, r := range b.counted { // a number counts until the next one
			if r.at < until && (i+1 == len(b.counted) || b.counted[i+1].at >= from) {
				least, most = min(least, r.players), max(most, r.players)
			}
		}
		return least, most
	}
	for i, first := range b.slow.grants {
		var used [Classes]int64
		largest := int64(0)
		for _, g := range b.slow.grants[i:] {
			if g.at < first.at+Minute {
				used[g.class] += g.tokens
				largest = max(largest, g.asked)
			}
		}
		least, players := counted(first.at-LeaseTime, first.at+Minute)
		for class := range Classes {
			bound, rate, burst, above := int64(0), int64(0), int64(0), int64(0)
			for _, p := range b.profiles {
				rate = max(rate, p.Rates[class].PerMinute(players))
				burst = max(burst, p.ShutdownBurst)
				bound = max(bound, p.MostInMinute(class, players))
				above = max(above, largest-p.Capacity(class, least))
			}
			bound += above
			if len(b.profiles) > 1 { // what one saved up may be followed by the rate and the burst of the next
				bound += rate + burst
			}
			if bound += rate/60 + 1; used[class] > bound { // of a lease's time, for what was given back
				t.Fatalf("in the minute from %v %d %v tokens, want %d at the most", first.at, used[class], class, bound)
			}
		}
	}
}

func drawSmallProfile(t *rapid.T, name string) Profile {
	p := Profile{Name: name, Limited: true}
	for class := range Classes {
		p.Rates[class] = Rate{rapid.Int64Range(0, 120).Draw(t, "base"), rapid.Int64Range(0, 20).Draw(t, "per player")}
	}
	p.Burst = rapid.Int64Range(0, 60).Draw(t, "burst")
	p.Accumulate = rapid.Int64Range(0, 3).Draw(t, "accumulate")
	p.ShutdownBurst = rapid.Int64Range(0, 150).Draw(t, "shutdown burst")
	p.Queue = rapid.IntRange(0, 8).Draw(t, "queue")
	p.Reserve = rapid.Int64Range(0, 100).Draw(t, "reserve")
	return p
}

func newPair(t *rapid.T) *pair {
	b := &pair{profiles: []Profile{drawSmallProfile(t, "a")}}
	if rapid.Bool().Draw(t, "two profiles") {
		b.profiles = append(b.profiles, drawSmallProfile(t, "b"))
	}
	start := time.Duration(rapid.IntRange(0, 100).Draw(t, "start")) * tick
	players, fresh := rapid.IntRange(0, 20).Draw(t, "players"), rapid.Bool().Draw(t, "fresh")
	b.fine, b.lazy = NewAccount(start, b.profiles[0], players, fresh), NewAccount(start, b.profiles[0], players, fresh)
	b.slow = &model{now: start, profile: b.profiles[0], players: players, lifted: -time.Hour, reported: []report{{start, players}}}
	b.counted = []report{{start, players}}
	if fresh {
		b.slow.units = [Classes]int64{b.profiles[0].Burst * tokenUnits, b.profiles[0].Burst * tokenUnits}
	}
	return b
}

// commands are what may happen between two ticks.
func (b *pair) commands() map[string]func(*rapid.T) {
	class := func(t *rapid.T) Class { return Class(rapid.IntRange(0, 1).Draw(t, "class")) }
	importance := func(t *rapid.T) Importance { return Importance(rapid.IntRange(0, 3).Draw(t, "importance")) }
	tokens := func(t *rapid.T) int64 {
		return rapid.OneOf(rapid.Int64Range(1, 3), rapid.Int64Range(0, 300)).Draw(t, "tokens")
	}
	return map[string]func(*rapid.T){
		"take": func(t *rapid.T) {
			c, n, i := class(t), tokens(t), importance(t)
			both(t, "take", b.fine.Take(b.slow.now, c, n, i), b.lazy.Take(b.slow.now, c, n, i), b.slow.take(c, n, i))
		},
		"ask": func(t *rapid.T) {
			b.nextID++
			c, asked := class(t), ticket{b.nextID, tokens(t), importance(t)}
			fine, after := b.fine.Ask(b.slow.now, c, asked.tokens, asked.importance, asked.id)
			lazy, same := b.lazy.Ask(b.slow.now, c, asked.tokens, asked.importance, asked.id)
			both(t, "ask", fine, lazy, b.slow.ask(c, asked))
			if after != same || after < 0 {
				t.Fatalf("retry after %v, and %v", after, same)
			}
		},
		"due": func(t *rapid.T) {
			both(t, "due", b.fine.Due(b.slow.now), b.lazy.Due(b.slow.now), b.slow.due())
		},
		"cancel": func(t *rapid.T) {
			id := rapid.Uint64Range(0, b.nextID+1).Draw(t, "id")
			there := false
			for c := range Classes {
				n := len(b.slow.queue[c])
				b.slow.queue[c] = slices.DeleteFunc(b.slow.queue[c], func(other ticket) bool { return other.id == id })
				there = there || len(b.slow.queue[c]) < n
			}
			both(t, "cancel", b.fine.Cancel(id), b.lazy.Cancel(id), there)
		},
		"give back": func(t *rapid.T) {
			c := class(t)
			n := b.slow.giveBack(c, tokens(t))
			b.fine.GiveBack(b.slow.now, c, n)
			b.lazy.GiveBack(b.slow.now, c, n)
		},
		"players": func(t *rapid.T) {
			players := rapid.IntRange(0, 20).Draw(t, "players")
			b.fine.SetPlayers(b.slow.now, players)
			b.lazy.SetPlayers(b.slow.now, players)
			b.slow.reported = append(b.slow.reported, report{b.slow.now, players})
			b.slow.players = max(b.slow.players, players) // a rise counts at once
			b.counted = append(b.counted, report{b.slow.now, b.slow.players})
		},
		"register": func(t *rapid.T) {
			p := rapid.SampledFrom(b.profiles).Draw(t, "profile")
			b.fine.Register(b.slow.now, p)
			b.lazy.Register(b.slow.now, p)
			b.slow.register(p)
		},
		"shut down": func(*rapid.T) {
			b.fine.ShutDown(b.slow.now)
			b.lazy.ShutDown(b.slow.now)
			b.slow.shutDown()
		},
		"next":   func(t *rapid.T) { b.checkNext(t) },
		"a tick": func(t *rapid.T) { b.step(t) },
		"a while": func(t *rapid.T) {
			for range rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, 300)).Draw(t, "ticks") {
				b.step(t)
			}
		},
	}
}

// checkNext sees that what Next says is the very time at which something is due.
func (b *pair) checkNext(t *rapid.T) {
	account := *b.lazy
	for class := range Classes {
		account.classes[class].waiting = slices.Clone(account.classes[class].waiting)
	}
	wait, ok := account.Next(b.slow.now)
	waits := len(b.slow.queue[Get])+len(b.slow.queue[Set]) > 0
	if ok != waits || wait < 0 {
		t.Fatalf("next in %v, %v, want %v", wait, ok, waits)
	}
	if !ok || account.crowd.falling || (wait == Minute && account.profile.Rates[Get].Base*account.profile.Rates[Set].Base == 0) {
		return // the rate changes, or nothing ever comes
	}
	if wait > 0 {
		if early := account.Due(b.slow.now + wait - 1); len(early) != 0 {
			t.Fatalf("%v are due before %v", early, wait)
		}
	}
	if len(account.Due(b.slow.now+wait)) == 0 {
		t.Fatalf("nothing is due in %v", wait)
	}
}

func TestAccountIsTheObviousOne(t *testing.T) {
	for range 5 { // rare orders of commands want more than rapid's hundred runs
		rapid.Check(t, againstTheModel)
	}
}

func againstTheModel(t *rapid.T) {
	b := newPair(t)
	commands := b.commands()
	commands[""] = b.compare
	for range 4 { // four times rapid's thirty commands, on average
		t.Repeat(commands)
	}
	b.slidingMinutes(t)
}
