package budget

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDirtyAgeIsTheFormula(t *testing.T) {
	roblox, custom := parsed(t, "roblox-2023"), parsed(t, "custom,set=60,reserve=0")
	none := parsed(t, "custom,set=0,reserve=100")
	for _, c := range []struct {
		profile  Profile
		players  int
		cost     int64
		interval time.Duration
		want     time.Duration
	}{
		{Profile{}, 50, 50, 5 * Minute, 5*Minute + LeaseTime},
		{roblox, 50, 50, 5 * Minute, 5*Minute + 12*time.Second + 2*LeaseTime},        // 112 of 560 are the reserve
		{roblox, 50, 2800, 5 * Minute, 150*time.Second + 5*Minute + 14*time.Second},  // five minutes' worth
		{roblox, 0, 60, time.Second, 500*time.Millisecond + Minute + 14*time.Second}, // 12 of 60
		{custom, 1000, 1, 0, time.Second + 2*LeaseTime},                              // one token a second
		{none, 9, 0, Minute, Minute + 2*LeaseTime},                                   // nothing to save
		{none, 9, 1, Minute, math.MaxInt64},                                          // never
		{roblox, 100_000, math.MaxInt64, 5 * Minute, math.MaxInt64},                  // beyond all measure
		{custom, 0, 307_445_735, 5 * Minute, math.MaxInt64},
		{roblox, math.MaxInt, 1, math.MaxInt64, math.MaxInt64},                                       // nor this
		{Profile{}, 0, 0, math.MaxInt64, math.MaxInt64},                                              // nor this
		{parsed(t, "custom,set=7,reserve=0"), 0, 1, 0, 8_571_428_572 + 2*LeaseTime},                  // rounded up
		{parsed(t, "custom,set=60,burst=10"), 0, 0, 0, 4*time.Second + 2*LeaseTime},                  // half of nine
		{parsed(t, "custom,set=600,burst=0,reserve=1"), 0, 0, 0, 600*time.Millisecond + 2*LeaseTime}, // 6 of 600
	} {
		if got := DirtyAge(&c.profile, c.players, c.cost, c.interval); got != c.want {
			t.Errorf("%s, %d players, cost %d, every %v: %v, want %v", c.profile.Name, c.players, c.cost, c.interval, got, c.want)
		}
	}
}

// Goal: what is dirty is never older than DirtyAge.
// Method: the stated policy, at steps of an eighth of a second and whenever tokens come, for several intervals: everything is dirty from the start and always
// dirty again once it was captured; a save is wanted from half the interval on; each node gets the tokens of its first saves in one of two
// ways, and captures up to a lease's time after the grant. Either it asks for a lease's worth, one ask at a time, and waits in
// the account's queue; or it looks four times in a lease's time and takes what is there, some always after the others. The leaving
// players have emptied the account before.
type saver struct {
	jobs   Jobs[int]
	asking []Job[int] // wait for tokens
	saving []capture  // have them
	held   int64      // tokens of the first job
	lag    time.Duration
}

// capture is a save that has its tokens, and when it uses them.
type capture struct {
	key int
	at  time.Duration
}

type policy struct {
	profile  Profile
	players  int
	interval time.Duration
	account  *Account
	costs    []int64
	since    []time.Duration
	wanted   []bool
	nodes    []saver
	takes    bool // what is there, instead of asking for what is needed
}

const policyStep = 125 * time.Millisecond

func (p *policy) total() (cost int64) {
	for _, c := range p.costs {
		cost += c
	}
	return cost
}

// run returns the greatest age that it saw before end.
func (p *policy) run(end time.Duration) (oldest time.Duration) {
	p.account = NewAccount(0, p.profile, p.players, false)
	p.since, p.wanted = make([]time.Duration, len(p.costs)), make([]bool, len(p.costs))
	emptied := false
	for now := time.Duration(0); now < end; now = p.next(now) {
		for i, since := range p.since {
			oldest = max(oldest, now-since)
			if !p.wanted[i] && now-since >= p.interval/2 {
				p.nodes[i%len(p.nodes)].jobs.Put(Job[int]{Key: i, Since: since, Tokens: p.costs[i]})
				p.wanted[i] = true
			}
		}
		if !emptied && now >= p.interval/2 {
			p.account.Take(now, Set, math.MaxInt64, Leave)
			emptied = true
		}
		for _, node := range p.account.Due(now) {
			p.granted(now, &p.nodes[node])
		}
		for i := range p.nodes {
			p.turn(now, uint64(i))
		}
	}
	return oldest
}

// next is the next step, or when a grant is due before.
func (p *policy) next(now time.Duration) time.Duration {
	step := now.Truncate(policyStep) + policyStep
	if wait, ok := p.account.Next(now); ok {
		return min(step, now+max(wait, 1))
	}
	return step
}

func (p *policy) granted(now time.Duration, n *saver) {
	for _, job := range n.asking {
		n.saving = append(n.saving, capture{job.Key, now + n.lag})
	}
	n.asking = nil
}

// turn captures what has its tokens, and asks for more.
func (p *policy) turn(now time.Duration, id uint64) {
	n := &p.nodes[id]
	for len(n.saving) > 0 && n.saving[0].at <= now {
		p.since[n.saving[0].key], p.wanted[n.saving[0].key] = now, false
		n.saving = n.saving[1:]
	}
	if p.takes {
		p.take(now, id)
		return
	}
	batch := p.profile.Rates[Set].PerMinute(p.players) * int64(LeaseTime) / tokenUnits
	for n.asking == nil && n.jobs.Len() > 0 {
		tokens := int64(0)
		for first := n.jobs.First(); first != nil && (tokens == 0 || tokens+first.Tokens <= batch); first = n.jobs.First() {
			tokens += first.Tokens
			n.asking = append(n.asking, *n.jobs.Remove(first.Key))
		}
		if verdict, _ := p.account.Ask(now, Set, tokens, Routine, id); verdict == Granted {
			p.granted(now, n)
		}
	}
}

// take looks in every second step; of the nodes with odd numbers and of those with even ones the same is always first.
func (p *policy) take(now time.Duration, id uint64) {
	n := &p.nodes[id]
	if now%(2*policyStep) != time.Duration(id%2)*policyStep {
		return
	}
	for first := n.jobs.First(); first != nil; first = n.jobs.First() {
		n.held += p.account.Take(now, Set, first.Tokens-n.held, Routine)
		if n.held < first.Tokens {
			return
		}
		n.held = 0
		n.jobs.Remove(first.Key)
		n.saving = append(n.saving, capture{first.Key, now + n.lag})
	}
}

func drawPolicy(t *rapid.T) *policy {
	p := &policy{
		players:  rapid.IntRange(0, 60).Draw(t, "players"),
		interval: time.Duration(rapid.IntRange(1, 300).Draw(t, "interval")) * time.Second,
		costs:    rapid.SliceOfN(rapid.OneOf(rapid.Just(int64(1)), rapid.Int64Range(1, 30)), 1, 60).Draw(t, "costs"),
		nodes:    make([]saver, rapid.IntRange(1, 3).Draw(t, "nodes")),
		takes:    rapid.Bool().Draw(t, "takes"),
	}
	p.profile = rapid.SampledFrom([]Profile{
		mustParse("roblox-2023"), mustParse("roblox-2026"), mustParse("custom"), mustParse("custom,set=30+1,burst=0,reserve=100"),
		mustParse("custom,set=600,burst=0,accumulate=0"), mustParse("custom,set=7,burst=10,queue=3"),
	}).Draw(t, "profile")
	for i := range p.nodes {
		p.nodes[i].lag = time.Duration(rapid.IntRange(0, 7).Draw(t, "lag")) * policyStep
	}
	return p
}

func mustParse(text string) Profile {
	p, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return p
}

func TestDirtyAgeIsKept(t *testing.T) {
	worst := 0.0
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		rate := p.profile.Rates[Set].PerMinute(p.players)
		if len(p.nodes) > 1 && timeOf(p.total()+p.profile.reserved(p.players), rate) > p.interval/2 {
			t.Skip("too much for several nodes")
		}
		promised := DirtyAge(&p.profile, p.players, p.total(), p.interval)
		if promised > time.Hour {
			t.Skip("too long to simulate")
		}
		got := p.run(3*promised + 10*time.Second)
		worst = max(worst, float64(got)/float64(promised))
		if got > promised {
			t.Fatalf("%v, promised %v", got, promised)
		}
	})
	t.Logf("at worst %.1f %% of what is promised", 100*worst)
}
