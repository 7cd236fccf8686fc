package gate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/actors/gate"
	"github.com/skerry-dev/skerry/persistence"
)

// desk hears what leaves a gate. With again set, it goes on from within LetGo.
type desk struct {
	left    []string
	emptied int
	again   func(reply string)
}

func (d *desk) LetGo(reply string, failed error) {
	if failed != nil {
		if !errors.Is(failed, persistence.ErrOutcomeUnknown) {
			reply += " wrong error"
		}
		reply += "?"
	}
	d.left = append(d.left, reply)
	if d.again != nil {
		d.again(reply)
	}
}

func (d *desk) Emptied() { d.emptied++ }

// take returns what left since the last time.
func (d *desk) take() string {
	left := strings.Join(d.left, " ")
	d.left = nil
	return left
}

// step does one line of a transcript.
func step(t *testing.T, g *gate.Gate[string], d *desk, line string) {
	t.Helper()
	words := strings.Fields(line)
	n, _ := strconv.Atoi(words[len(words)-1]) // 0 where a step has none
	seq := persistence.Seq(n)                 //nolint:gosec // small
	switch words[0] {
	case "durable":
		g.Hold(d, words[1], seq)
	case "read":
		g.HoldBarrier(d, words[1], seq, true)
	case "memory":
		g.HoldBarrier(d, words[1], 0, false)
	case "passed":
		g.Passed(d)
	case "departed":
		g.Departed(seq, time.Duration(seq))
	case "returned":
		g.Returned()
	case "crashed":
		g.Crashed(d, seq)
		d.left = append(d.left, map[bool]string{true: "empty", false: "not empty"}[g.Empty(false)])
	case "landed":
		g.Landed(d, seq)
	case "failed":
		g.Fail(d, persistence.ErrFenced)
	default:
		t.Fatalf("no step %q", line)
	}
}

// Each line is a step and, after "->", what leaves at once.
func TestTranscripts(t *testing.T) {
	for name, script := range map[string]string{
		"a durable reply leaves when its entry was applied": `
			departed 1
			durable a 1
			landed 1 -> a`,
		"not when an earlier one was": `
			durable a 2
			landed 1
			landed 2 -> a`,
		"a read waits for its barrier": `
			read a 0
			passed -> a`,
		"a read waits for what it saw": `
			read a 2
			passed
			landed 1
			landed 2 -> a`,
		"a read does not overtake a durable reply": `
			durable a 1
			read b 0
			passed
			landed 1 -> a b`,
		"nor a durable reply a read": `
			read a 0
			durable b 1
			landed 1
			passed -> a b`,
		"a barrier that began before does not count": `
			read a 0
			memory b
			passed -> a
			passed -> b`,
		"a memory reply overtakes": `
			durable a 1
			read b 1
			memory c
			passed
			passed -> c
			landed 1 -> a b`,
		"a memory reply waits for its barrier only": `
			memory a
			landed 9
			passed -> a`,
		"after a failure nobody knows": `
			durable a 1
			memory b
			read c 1
			failed -> a? c? b?
			durable d 1 -> d?
			memory e -> e?
			read f 0 -> f?
			landed 1
			passed`,
		"after a failure the changes on their way still count": `
			departed 1
			departed 2
			durable a 1
			failed -> a?
			crashed 2 -> not empty
			crashed 1 -> empty`,
		"what left before a failure stays said": `
			durable a 1
			durable b 2
			landed 1 -> a
			failed -> b?`,
	} {
		t.Run(name, func(t *testing.T) {
			var d desk
			var g gate.Gate[string]
			for line := range strings.Lines(strings.TrimSpace(script)) {
				does, want, _ := strings.Cut(line, "->")
				step(t, &g, &d, does)
				if got, wanted := d.take(), strings.TrimSpace(want); got != wanted {
					t.Fatalf("%s: %q left, want %q", strings.TrimSpace(does), got, wanted)
				}
			}
		})
	}
}

// Whatever happens in whatever order: every reply leaves once, none too early, the ordered ones in order.
func TestRandomOrders(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var d desk
		var g gate.Gate[string]
		var (
			proposed, applied     persistence.Seq
			begun, passed, failed int
			added                 []string
			seqs                  = map[string]persistence.Seq{}
			barriers              = map[string]int{}
		)
		d.again = func(reply string) {
			name, unknown := strings.CutSuffix(reply, "?")
			if unknown != (failed > 0) || !unknown && (seqs[name] > applied || barriers[name] > passed) {
				t.Fatalf("seed %d: %s left with applied %d, %d barriers passed, failed %d; it needs %d and %d", seed, reply, applied, passed, failed, seqs[name], barriers[name])
			}
		}
		for i := range 200 {
			name := fmt.Sprint(i)
			switch rng.IntN(8) {
			case 0, 1:
				proposed++
				seqs[name], added = proposed, append(added, name)
				g.Hold(&d, name, proposed)
				g.Departed(proposed, time.Duration(proposed))
			case 2:
				begun++
				seqs[name], barriers[name], added = proposed, begun, append(added, name)
				g.HoldBarrier(&d, name, proposed, true)
			case 3:
				begun++
				barriers[name] = begun
				g.HoldBarrier(&d, "m"+name, 0, false)
				barriers["m"+name] = begun
			case 4, 5:
				if applied < proposed {
					applied += 1 + persistence.Seq(rng.Uint64N(uint64(proposed-applied)))
					g.Landed(&d, applied)
				}
			case 6:
				if passed < begun {
					passed++
					g.Passed(&d)
				}
			case 7:
				if i > 150 && rng.IntN(20) == 0 {
					failed++
					g.Fail(&d, persistence.ErrNotOwner)
				}
			}
			if at, flying := g.Oldest(); flying != (applied < proposed) || flying && at <= 0 {
				t.Fatalf("seed %d: oldest %v %v with %d of %d applied", seed, at, flying, applied, proposed)
			}
		}
		applied = proposed
		g.Landed(&d, applied)
		for passed < begun {
			passed++
			g.Passed(&d)
		}
		var ordered []string
		left := map[string]bool{}
		for _, reply := range d.left {
			name := strings.TrimSuffix(reply, "?")
			if left[name] {
				t.Fatalf("seed %d: %s left twice", seed, name)
			}
			left[name] = true
			if !strings.HasPrefix(name, "m") {
				ordered = append(ordered, name)
			}
		}
		if fmt.Sprint(ordered) != fmt.Sprint(added) || len(d.left) < len(added) || !g.Empty(false) {
			t.Fatalf("seed %d: left %v\nadded %v", seed, ordered, added)
		}
	}
}

// A reply that is being let go may open the gate further: the next ones wait for it.
func TestLetGoMayOpenTheGate(t *testing.T) {
	var d desk
	var g gate.Gate[string]
	g.Hold(&d, "a", 1)
	g.Hold(&d, "b", 2)
	depth := 0
	d.again = func(string) {
		if depth++; depth > 1 {
			t.Fatal("two at once")
		}
		g.Landed(&d, 2)
		depth--
	}
	g.Landed(&d, 1)
	if got := d.take(); got != "a b" {
		t.Fatal(got)
	}
}

func TestEmpty(t *testing.T) {
	var d desk
	var g gate.Gate[string]
	g.Start(4)
	if !g.Empty(true) || !g.Applied(4) || g.Applied(5) {
		t.Fatal("it starts empty, with 4 applied")
	}
	g.Departed(5, time.Second)
	if g.Empty(true) {
		t.Fatal("a change is on its way")
	}
	g.Shrink() // must keep what is on its way
	if at, ok := g.Oldest(); !ok || at != time.Second {
		t.Fatal(at, ok)
	}
	g.Hold(&d, "a", 5)
	g.Landed(&d, 5)
	g.Landed(&d, 5)
	if d.emptied != 1 || d.take() != "a" || !g.Empty(false) {
		t.Fatalf("emptied %d times", d.emptied)
	}
	g.Departed(6, 0)
	g.Returned()
	if _, ok := g.Oldest(); ok || !g.Empty(false) {
		t.Fatal("what was not proposed is still on its way")
	}
	if !g.Fail(&d, persistence.ErrFenced) || g.Fail(&d, persistence.ErrNotOwner) || g.Applied(5) {
		t.Fatal("it fails once, and nothing counts as applied then")
	}
}

// Many goroutines open the gate at once: the order stays, and nothing is left behind.
func TestManyOpen(t *testing.T) {
	const n = 2000
	var d desk // written by one goroutine at a time, or the race detector says so
	var g gate.Gate[string]
	var wait sync.WaitGroup
	for i := range n {
		g.Hold(&d, fmt.Sprint(i), persistence.Seq(i)+1)        //nolint:gosec // small
		wait.Go(func() { g.Landed(&d, persistence.Seq(i)+1) }) //nolint:gosec // small
	}
	wait.Wait()
	if len(d.left) != n {
		t.Fatalf("%d of %d left", len(d.left), n)
	}
	for i, reply := range d.left {
		if reply != fmt.Sprint(i) {
			t.Fatalf("reply %s left as number %d", reply, i)
		}
	}
}

// A reply costs no memory of its own on its way through.
func TestGateDoesNotAllocate(t *testing.T) {
	var c counter
	var g gate.Gate[string]
	seq := persistence.Seq(0)
	allocs := testing.AllocsPerRun(1000, func() {
		seq++
		g.Hold(&c, "a", seq)
		g.Departed(seq, 0)
		g.HoldBarrier(&c, "b", seq, true)
		g.Landed(&c, seq)
		g.Passed(&c)
	})
	if allocs != 0 || c == 0 {
		t.Fatalf("%v allocations a turn, %d replies", allocs, c)
	}
}

// counter counts what leaves.
type counter int

func (c *counter) LetGo(string, error) { *c++ }
func (c *counter) Emptied()            {}
