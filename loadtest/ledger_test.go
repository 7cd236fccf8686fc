// Goal: the ledger notices what is lost, doubled, or other than it was, and allows a crash exactly what is promised.
// Method: injected losses and doubles, one at a time; and a slow model of an entity that crashes, which it must always accept.
package loadtest

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const testWindow = time.Second

func coins(by int64) effect { return effect{changes: [2]change{{qCoins, by}}} }

func block(id int32) effect { return effect{blocks: []int32{1, 2, 3, id}} }

func has(q quantity, n int64) stored {
	var got stored
	got.has[q] = n
	return got
}

func world(id uint16) stored { return stored{block: func(place) uint16 { return id }} }

func TestLedgerSees(t *testing.T) {
	now := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		do   func(*account)
		got  stored
		want string // part of what is said; "": nothing
	}{
		"all there":              {func(a *account) { a.durable(1, coins(5)); a.durable(2, coins(-2)) }, has(qCoins, 103), ""},
		"a loss":                 {func(a *account) { a.durable(1, coins(5)) }, has(qCoins, 100), "5 of the acknowledged coins lost"},
		"a double":               {func(a *account) { a.durable(1, coins(5)) }, has(qCoins, 110), "5 coins too many"},
		"a doubled spend":        {func(a *account) { a.durable(1, coins(-5)) }, has(qCoins, 90), "lost"},
		"in doubt, applied":      {func(a *account) { a.perhaps(coins(5)) }, has(qCoins, 105), ""},
		"in doubt, not applied":  {func(a *account) { a.perhaps(coins(5)) }, has(qCoins, 100), ""},
		"in doubt, twice":        {func(a *account) { a.perhaps(coins(5)) }, has(qCoins, 110), "too many"},
		"MEMORY without a crash": {func(a *account) { a.memory(1, now, testWindow, coins(5)) }, has(qCoins, 100), "lost"},
		"MEMORY in the window":   {func(a *account) { a.memory(1, now, testWindow, coins(5)); a.crashed(now, testWindow) }, has(qCoins, 100), ""},
		"MEMORY before the window": {func(a *account) {
			a.memory(1, now.Add(-2*time.Second), testWindow, coins(5))
			a.crashed(now, testWindow)
		}, has(qCoins, 100), "lost"},
		"MEMORY under a durable one": {func(a *account) {
			a.memory(1, now, testWindow, coins(5))
			a.durable(2, coins(1))
			a.crashed(now, testWindow)
		}, has(qCoins, 101), "lost"},
		"an heir answers at once": {func(a *account) {
			a.memory(3, now, testWindow, coins(5))
			a.crashed(now, testWindow)
			a.durable(4, coins(1)) // the heir's, who never saw the third turn
			a.calm()
		}, has(qCoins, 101), ""},
		"a stray answer, lost": {func(a *account) {
			a.crashed(now, testWindow)
			a.memory(3, now, testWindow, coins(5))
			a.calm()
		}, has(qCoins, 100), ""},
		"an answer after it is calm": {func(a *account) {
			a.crashed(now, testWindow)
			a.calm()
			a.memory(3, now, testWindow, coins(5))
		}, has(qCoins, 100), "lost"},
		"a middle one": {func(a *account) {
			a.memory(1, now, testWindow, coins(5))
			a.memory(2, now, testWindow, coins(7))
			a.crashed(now, testWindow)
		}, has(qCoins, 107), "lost"},
		"a suffix": {func(a *account) {
			a.memory(2, now, testWindow, coins(7))
			a.memory(1, now, testWindow, coins(5))
			a.crashed(now, testWindow)
		}, has(qCoins, 105), ""},
		"a block":          {func(a *account) { a.durable(1, block(7)) }, world(7), ""},
		"another block":    {func(a *account) { a.durable(1, block(7)) }, world(8), "block 1,2,3 is 8, set was 7"},
		"the older block":  {func(a *account) { a.durable(2, block(7)); a.durable(1, block(8)) }, world(8), "set was 7"},
		"a block in doubt": {func(a *account) { a.durable(1, block(7)); a.perhaps(block(8)) }, world(8), ""},
		"a block a crash took": {func(a *account) {
			a.durable(1, block(7))
			a.memory(2, now, testWindow, block(8))
			a.crashed(now, testWindow)
		}, world(7), ""},
		"a block a crash left": {func(a *account) {
			a.durable(1, block(7))
			a.memory(2, now, testWindow, block(8))
			a.crashed(now, testWindow)
		}, world(8), ""},
		"a block that no end explains": {func(a *account) {
			a.durable(1, block(7))
			a.memory(2, now, testWindow, block(8))
			a.crashed(now, testWindow)
		}, world(5), "no end of what a crash may have taken explains it"},
		"a block set after the crash": {func(a *account) {
			a.memory(2, now, testWindow, block(8))
			a.crashed(now, testWindow)
			a.durable(1, block(9))
		}, world(8), "set was 9"},
	} {
		a := &account{name: "player/p1"}
		var at stored
		at.has[qCoins] = 100
		a.begin(at.has)
		if c.got.block != nil {
			c.got.has = at.has
		}
		c.do(a)
		wrong, _ := a.check(c.got)
		said := strings.Join(wrong, "; ")
		if (said == "") != (c.want == "") || !strings.Contains(said, c.want) || said != "" && !strings.Contains(said, "player/p1") {
			t.Errorf("%s: the ledger says %q, want %q", name, said, c.want)
		}
	}
}

// simulated is an entity as it is promised to behave, in a slow and obvious way.
type simulated struct {
	seq, journaled int64
	coins          []int64 // of each turn
	blocks         []int32
	at             []time.Time
}

func (s *simulated) state(got *stored) {
	blocks := map[place]uint16{}
	for i, c := range s.coins {
		got.has[qCoins] += c
		if s.blocks[i] != 0 {
			blocks[place{1, s.blocks[i] % 3, 3}] = uint16(s.blocks[i]) //nolint:gosec // small
		}
	}
	got.block = func(at place) uint16 { return blocks[at] }
}

// Whatever an entity does that keeps the promises, the ledger accepts; one coin more or less, or a block that was not set, it does not,
// unless a crash or a doubt explains it.
func TestLedgerAcceptsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, s, now := &account{name: "world/w"}, &simulated{}, time.Unix(1000, 0)
		a.begin(amounts{})
		turn := func() effect {
			s.seq++
			amount, id := rapid.Int64Range(-5, 5).Draw(t, "coins"), rapid.Int32Range(0, 40).Draw(t, "block")
			s.coins, s.blocks, s.at = append(s.coins, amount), append(s.blocks, id), append(s.at, now)
			e := coins(amount)
			if id != 0 {
				e.blocks = []int32{1, id % 3, 3, id}
			}
			return e
		}
		crashes, doubts := 0, 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2:
				a.durable(s.seq+1, turn())
				s.journaled = s.seq
			case 8:
				if crashes < 3 {
					crashes++
					for s.journaled < s.seq && now.Sub(s.at[s.journaled]) > testWindow {
						s.journaled++
					}
					keep := rapid.Int64Range(s.journaled, s.seq).Draw(t, "kept")
					s.seq, s.journaled, s.coins, s.blocks, s.at = keep, keep, s.coins[:keep], s.blocks[:keep], s.at[:keep]
					a.crashed(now, testWindow)
					a.calm()
				}
			case 9:
				doubts++
				before := *s
				if e := turn(); rapid.Bool().Draw(t, "applied") {
					a.perhaps(e)
					s.journaled = s.seq
				} else {
					a.perhaps(e)
					*s = before
				}
			default:
				a.memory(s.seq+1, now, testWindow, turn())
			}
		}
		var got stored
		s.state(&got)
		if doubts == 0 && crashes == 0 {
			wrong := got
			wrong.has[qCoins] += rapid.SampledFrom([]int64{-1, 1}).Draw(t, "off by")
			if said, _ := a.check(wrong); len(said) == 0 {
				t.Fatalf("one coin more or less was not seen: %v", wrong.has)
			}
		}
		if said, _ := a.check(got); len(said) > 0 {
			t.Fatalf("the ledger complains: %v", said)
		}
	})
}

func TestConservation(t *testing.T) {
	item := func(n int64) effect { return effect{changes: [2]change{{qItem, n}}} }
	for name, c := range map[string]struct {
		do    func(ann, box *account)
		ann   int64
		box   int64
		wrong int
	}{
		"moved":                     {func(ann, box *account) { ann.durable(1, item(-2)); box.durable(1, item(2)) }, 8, 2, 0},
		"moved and lost":            {func(ann, box *account) { ann.durable(1, item(-2)); box.durable(1, item(2)) }, 8, 0, 1},
		"in doubt, moved":           {func(ann, box *account) { ann.perhapsMoved(item(-2)); box.perhapsMoved(item(2)) }, 8, 2, 0},
		"in doubt, not moved":       {func(ann, box *account) { ann.perhapsMoved(item(-2)); box.perhapsMoved(item(2)) }, 10, 0, 0},
		"in doubt, arrived only":    {func(ann, box *account) { ann.perhapsMoved(item(-2)); box.perhapsMoved(item(2)) }, 10, 2, 1},
		"in doubt, left only":       {func(ann, box *account) { ann.perhapsMoved(item(-2)); box.perhapsMoved(item(2)) }, 8, 0, 1},
		"in doubt whether it found": {func(ann, _ *account) { ann.perhaps(item(2)) }, 12, 0, 0},
	} {
		ann, box := &account{name: "player/ann"}, &account{name: "world/w"}
		var at amounts
		at[qItem] = 10
		ann.begin(at)
		box.begin(amounts{})
		c.do(ann, box)
		gotAnn, gotBox := has(qItem, c.ann), has(qItem, c.box)
		f := compare([]*account{ann, box}, []*stored{&gotAnn, &gotBox})
		if len(f.made) != c.wrong {
			t.Errorf("%s: %v, want %d kinds that do not add up", name, f.made, c.wrong)
		}
	}
}
