// Goal: the model plays the same for the same seed, and at the rates that the scenario says.
// Method: play it through, without a cluster, and count.
package loadtest

import (
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func played(s *Scenario, seed uint64) (all []moment) {
	m := newModel(s, seed)
	for next, ok := m.next(); ok; next, ok = m.next() {
		all = append(all, next)
	}
	return all
}

func TestModelIsItsSeed(t *testing.T) {
	for _, s := range Builtin() {
		if s.Minutes > 20 {
			s.Shorten(20)
		}
		if !reflect.DeepEqual(played(s, 3), played(s, 3)) {
			t.Errorf("%s: two plays of one seed differ", s.Name)
		}
		if s.Actions > 0 && reflect.DeepEqual(played(s, 3), played(s, 4)) {
			t.Errorf("%s: two seeds play alike", s.Name)
		}
	}
}

// Nobody acts who is not there, nobody is at two places, and time does not go back: whatever the scenario.
func TestModelIsPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := base()
		s.Servers, s.Players = rapid.IntRange(1, 4).Draw(t, "servers"), rapid.IntRange(1, 20).Draw(t, "players")
		s.Session, s.Minutes = rapid.Float64Range(0.05, 20).Draw(t, "session"), rapid.Float64Range(1, 10).Draw(t, "minutes")
		s.Full, s.Newcomers = rapid.Bool().Draw(t, "full"), rapid.Float64Range(0, 100).Draw(t, "newcomers")
		if s.Servers > 1 {
			s.Hop = rapid.Float64Range(0, 100).Draw(t, "hop")
		}
		for range rapid.IntRange(0, 4).Draw(t, "events") {
			s.Events = append(s.Events, Event{
				At: rapid.Float64Range(0, s.Minutes).Draw(t, "at"), Do: rapid.SampledFrom([]Doing{DoJoin, DoLeave, DoNoise, DoClose}).Draw(t, "do"),
				Players: rapid.IntRange(1, 30).Draw(t, "more"), Percent: rapid.Float64Range(1, 100).Draw(t, "percent"),
				Within: rapid.Float64Range(0, 1).Draw(t, "within"), Times: 5, For: 0.5,
			})
		}
		at, where, closed := time.Duration(0), map[uint32]moment{}, false
		for _, m := range played(&s, rapid.Uint64().Draw(t, "seed")) {
			there, present := where[m.player]
			same := present && there.server == m.server && there.session == m.session
			switch {
			case m.at < at:
				t.Fatalf("%v after %v", m.at, at)
			case m.kind == momentEvent:
				closed = closed || s.Events[m.event].Do == DoClose
			case closed:
				t.Fatalf("something happens after the servers closed: %+v", m)
			case m.kind == momentJoin && present, m.kind == momentHop && !present:
				t.Fatalf("%+v, present %v", m, present)
			case (m.kind == momentAct || m.kind == momentLeave) && !same:
				t.Fatalf("%+v of one who is %+v", m, there)
			}
			if at = m.at; m.kind == momentJoin || m.kind == momentHop {
				where[m.player] = m
			} else if m.kind == momentLeave {
				delete(where, m.player)
			}
		}
	})
}

// Each rate within four standard deviations of what the scenario says.
func TestModelRates(t *testing.T) {
	s := base()
	s.Minutes, s.Servers, s.Players, s.Session, s.Actions, s.Hop = 200, 3, 20, 2, 10, 40
	present, sum, weight, last := 0, 0.0, 0.0, time.Duration(0)
	joins, kinds, acts := 0, [actions]int{}, 0
	for _, m := range played(&s, 9) {
		sum += float64(present) * (m.at - last).Minutes()
		last = m.at
		switch m.kind {
		case momentJoin:
			present++
			if m.at > 0 {
				joins++
			}
		case momentLeave:
			present--
		case momentAct:
			acts++
			kinds[m.act]++
		case momentHop, momentEvent:
		}
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if deviation := math.Sqrt(want); math.Abs(got-want) > 4*deviation {
			t.Errorf("%s: %v, want %v ± %.0f", what, got, want, 4*deviation)
		}
	}
	near("joins", float64(joins), s.Minutes*3*20/(2*2)*0.6)
	near("actions", float64(acts), sum*s.Actions)
	if mean := sum / s.Minutes; math.Abs(mean-60) > 15 { // the lengths of sessions are wild: so is their number
		t.Errorf("%v players in the mean, want 60", mean)
	}
	for i, w := range s.Mix.weights() {
		weight += float64(w)
		_ = i
	}
	for i, w := range s.Mix.weights() {
		near(actionNames()[i], float64(kinds[i]), float64(acts)*float64(w)/weight)
	}
}

// The sessions' lengths have the distribution that the doc names: half within scale·ln(2)², the mean is twice the scale.
func TestStayIsWeibull(t *testing.T) {
	s := base()
	m, n := newModel(&s, 1), 200_000
	under, sum, rest := 0, 0.0, 0.0
	for range n {
		stay := m.stay().Minutes()
		sum += stay
		rest += m.rest().Minutes()
		if stay < s.Session*math.Ln2*math.Ln2 {
			under++
		}
	}
	if share := float64(under) / float64(n); math.Abs(share-0.5) > 0.01 {
		t.Errorf("%v of the stays are under the median", share)
	}
	if mean := sum / float64(n); math.Abs(mean-2*s.Session) > 0.1*s.Session {
		t.Errorf("they last %v in the mean, want %v", mean, 2*s.Session)
	}
	if mean := rest / float64(n); math.Abs(mean-6*s.Session) > 0.3*s.Session { // E[X²]/(2·E[X])
		t.Errorf("who is found there stays %v, want %v", mean, 6*s.Session)
	}
}

func TestStorms(t *testing.T) {
	s := base()
	s.Minutes, s.Session, s.Actions = 10, 1000, 0
	s.Events = []Event{{At: 2, Do: DoJoin, Players: 50, Within: 0.5}, {At: 6, Do: DoLeave, Percent: 80, Within: 0.1}}
	joined, left, present := 0, 0, 0
	for _, m := range played(&s, 5) {
		if m.at < minutes(6) && m.kind == momentJoin {
			present++
		} else if m.at < minutes(6) && m.kind == momentLeave {
			present--
		}
		switch {
		case m.kind == momentJoin && m.at >= minutes(2) && m.at <= minutes(2.5)+time.Second:
			joined++
		case m.kind == momentLeave && m.at >= minutes(6) && m.at <= minutes(6.1)+time.Second:
			left++
		}
	}
	if joined < 200 || joined > 202 {
		t.Errorf("%d joined in the storm, want 200", joined)
	}
	if want := present * 4 / 5; left < want || left > want+3 {
		t.Errorf("%d left in the storm, want four of five of %d", left, present)
	}
}

func BenchmarkModel(b *testing.B) {
	s := base()
	s.Players, s.Minutes = 2500, 100_000
	m := newModel(&s, 1)
	for range 4 * 2500 {
		m.next()
	}
	b.ReportAllocs()
	for b.Loop() {
		m.next()
	}
}
