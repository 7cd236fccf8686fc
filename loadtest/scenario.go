package loadtest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/persistence/budget"
)

// Scenario says who plays what for how long, what happens meanwhile, and what must hold. All its times are minutes of the
// scenario; [Options.Minute] says how long one of them lasts. The fields are the settings of a YAML file; see [ParseScenario].
type Scenario struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`

	// Minutes that it lasts.
	Minutes float64 `yaml:"minutes"`
	// Nodes is how many are started when nothing else is said.
	Nodes int `yaml:"nodes"`
	// Servers are game servers, each with so many Players in the mean.
	Servers int `yaml:"servers"`
	Players int `yaml:"players"`
	// Full begins with all players there; else the servers fill as players join.
	Full bool `yaml:"full"`
	// Session is the scale of the sessions' lengths, a Weibull distribution of shape 0.5: half of them are shorter than half of it,
	// their mean is twice of it.
	Session float64 `yaml:"session"`
	// Newcomers is how many percent of those who join have never played. The others have, earlier in the run.
	Newcomers float64 `yaml:"newcomers"`
	// Hop is how many percent of those who leave appear on another server at once, which takes their session over.
	Hop float64 `yaml:"hop"`
	// Actions is how many a player does in a minute in the mean, at random moments.
	Actions float64 `yaml:"actions"`
	// Mix is what they are.
	Mix Mix `yaml:"mix"`
	// Worlds are how many each server has open, Chests how many chests in each, Blocks how many blocks one edit sets.
	Worlds int `yaml:"worlds"`
	Chests int `yaml:"chests"`
	Blocks int `yaml:"blocks"`

	// Budget is the profile of every server, Autosave how nodes that are started save: budget or naive.
	Budget   string `yaml:"budget"`
	Autosave string `yaml:"autosave"`

	Events []Event `yaml:"events"`
	Bounds Bounds  `yaml:"bounds"`
}

// Mix is how often players do what, as weights: only their proportions matter.
type Mix struct {
	// Earn and Spend are coins, DURABLE; some are sent again with the same command id.
	Earn  int `yaml:"earn"`
	Spend int `yaml:"spend"`
	// Buy is an item for coins, DURABLE, with a receipt; some are sent again under another command id.
	Buy int `yaml:"buy"`
	// Give and Take are items found and used, DURABLE; Move is a slot of the hotbar, MEMORY.
	Give int `yaml:"give"`
	Take int `yaml:"take"`
	Move int `yaml:"move"`
	// Fight is experience and an enemy, Walk is play time, both MEMORY.
	Fight int `yaml:"fight"`
	Walk  int `yaml:"walk"`
	// Daily claims the daily reward, DURABLE.
	Daily int `yaml:"daily"`
	// Trade moves items to another player, Chest into or out of a chest: transfers.
	Trade int `yaml:"trade"`
	Chest int `yaml:"chest"`
	// Build sets blocks, MEMORY.
	Build int `yaml:"build"`
	// Save asks for a snapshot of the player.
	Save int `yaml:"save"`
}

// Doing is what an event does.
type Doing string

// What events do.
const (
	// DoJoin: Players more join every server, spread over Within.
	DoJoin Doing = "join"
	// DoLeave: Percent of the players leave, spread over Within.
	DoLeave Doing = "leave"
	// DoClose: every server closes, which ends its sessions with a save. Nothing is played after it.
	DoClose Doing = "close"
	// DoNoise: the first server's players do Times as much for For minutes.
	DoNoise Doing = "noise"
	// DoKill: a node dies (SIGKILL), and is started again Back minutes later. Only nodes that were started here.
	DoKill Doing = "kill"
	// DoRestart: every node is stopped (SIGTERM) and started again, one after another.
	DoRestart Doing = "restart"
)

// Event is something that happens at a minute of the scenario.
type Event struct {
	At      float64 `yaml:"at"`
	Do      Doing   `yaml:"do"`
	Players int     `yaml:"players,omitempty"`
	Percent float64 `yaml:"percent,omitempty"`
	Within  float64 `yaml:"within,omitempty"`
	Times   float64 `yaml:"times,omitempty"`
	For     float64 `yaml:"for,omitempty"`
	Back    float64 `yaml:"back,omitempty"`
}

// Bounds are what must hold besides what always must: nothing acknowledged is lost or doubled, no item comes out of nothing, no
// budget is exceeded. A bound of 0 is none.
type Bounds struct {
	// Failed is how many percent of the operations may fail; refusals by the rules and for want of budget are no failures.
	Failed float64 `yaml:"failed"`
	// P99 bounds the 99th percentile of all operations' latency, in real milliseconds.
	P99 float64 `yaml:"p99"`
	// Lag bounds the 99th percentile of how late this program itself was, in real milliseconds.
	Lag float64 `yaml:"lag"`
	// DirtyAge holds the greatest age of a change without a snapshot to what the profile promises.
	DirtyAge bool `yaml:"dirtyAge"`
	// Close bounds how long all servers took to close, in real seconds.
	Close float64 `yaml:"close"`
	// Gap bounds the longest time without an answered durable command after a kill, in real seconds.
	Gap float64 `yaml:"gap"`
	// Neighbours bounds by how many percent the other servers' 99th percentile rises while the first makes noise.
	Neighbours float64 `yaml:"neighbours"`
	// Tool bounds this program's share of all processors, in percent.
	Tool float64 `yaml:"tool"`
	// Refused is the least number of openings that must have been refused for want of budget: a storm that meets none is none.
	Refused int64 `yaml:"refused"`
}

// ErrScenario says that a scenario's settings contradict each other or are out of range.
var ErrScenario = errors.New("bad scenario")

// problem is a setting's mistake; setting is its name in the file, such as "events[2].at".
type problem struct {
	setting string
	text    string
}

func (p problem) Error() string { return p.setting + ": " + p.text }

// Unwrap is ErrScenario.
func (p problem) Unwrap() error { return ErrScenario }

// Validate returns nil, or every problem at once; each names its setting and wraps [ErrScenario].
func (s *Scenario) Validate() error {
	var all []error
	number := func(setting string, value, least, most float64) {
		if math.IsNaN(value) || value < least || value > most {
			all = append(all, problem{setting, fmt.Sprintf("%v is not within %v to %v", value, least, most)})
		}
	}
	number("minutes", s.Minutes, 0.1, 100_000)
	number("nodes", float64(s.Nodes), 1, 9)
	number("servers", float64(s.Servers), 1, 1000)
	number("players", float64(s.Players), 1, 10_000)
	number("servers", float64(s.Servers*s.Players), 1, 200_000)
	number("session", s.Session, 0.01, 10_000)
	number("newcomers", s.Newcomers, 0, 100)
	number("hop", s.Hop, 0, 100)
	number("actions", s.Actions, 0, 100_000)
	number("worlds", float64(s.Worlds), 0, 100)
	number("chests", float64(s.Chests), 0, 64)
	number("blocks", float64(s.Blocks), 1, 4096)
	if s.Hop > 0 && s.Servers < 2 {
		all = append(all, problem{"hop", "takes two servers"})
	}
	if _, err := budget.Parse(s.Budget); err != nil {
		all = append(all, problem{"budget", err.Error()})
	}
	if s.Autosave != AutosaveBudget && s.Autosave != AutosaveNaive {
		all = append(all, problem{"autosave", fmt.Sprintf("%q is not budget or naive", s.Autosave)})
	}
	all = append(all, s.Mix.validate(s)...)
	for i := range s.Events {
		all = append(all, s.Events[i].validate(fmt.Sprintf("events[%d]", i), s.Minutes)...)
	}
	return errors.Join(append(all, s.Bounds.validate()...)...)
}

// How nodes save.
const (
	AutosaveBudget = "budget"
	AutosaveNaive  = "naive"
)

func (m *Mix) validate(s *Scenario) (all []error) {
	sum := 0
	for i, w := range m.weights() {
		if w < 0 || w > 1_000_000 {
			all = append(all, problem{"mix." + actionNames()[i], fmt.Sprintf("%d is not within 0 to 1000000", w)})
		}
		sum += w
	}
	if sum <= 0 && s.Actions > 0 {
		all = append(all, problem{"mix", "nothing to do: all weights are 0"})
	}
	if m.Build > 0 && s.Worlds == 0 {
		all = append(all, problem{"mix.build", "takes a world: set worlds"})
	}
	if m.Chest > 0 && (s.Worlds == 0 || s.Chests == 0) {
		all = append(all, problem{"mix.chest", "takes a chest in a world: set worlds and chests"})
	}
	return all
}

func (e *Event) validate(where string, minutes float64) (all []error) {
	need := func(name string, value, least, most float64) {
		if math.IsNaN(value) || value < least || value > most {
			all = append(all, problem{where + "." + name, fmt.Sprintf("%v is not within %v to %v", value, least, most)})
		}
	}
	need("at", e.At, 0, minutes)
	need("within", e.Within, 0, minutes)
	switch e.Do {
	case DoJoin:
		need("players", float64(e.Players), 1, 10_000)
	case DoLeave:
		need("percent", e.Percent, 0.1, 100)
	case DoNoise:
		need("times", e.Times, 1, 10_000)
		need("for", e.For, 0.01, minutes)
	case DoKill:
		need("back", e.Back, 0.01, minutes)
	case DoClose, DoRestart:
	default:
		all = append(all, problem{where + ".do", fmt.Sprintf("%q is not join, leave, close, noise, kill or restart", e.Do)})
	}
	return all
}

func (b *Bounds) validate() (all []error) {
	for _, bound := range []struct {
		name        string
		value, most float64
	}{
		{"failed", b.Failed, 100},
		{"p99", b.P99, 1e6},
		{"lag", b.Lag, 1e6},
		{"close", b.Close, 1e6},
		{"gap", b.Gap, 1e6},
		{"neighbours", b.Neighbours, 1e6},
		{"tool", b.Tool, 100},
		{"refused", float64(b.Refused), 1e9},
	} {
		if math.IsNaN(bound.value) || bound.value < 0 || bound.value > bound.most {
			all = append(all, problem{"bounds." + bound.name, fmt.Sprintf("%v is not within 0 to %v", bound.value, bound.most)})
		}
	}
	return all
}

// minutes is a time of the scenario.
func minutes(m float64) time.Duration { return time.Duration(m * float64(time.Minute)) }

// scale is how much shorter times are when a minute of the scenario lasts so long.
func scale(d, minute time.Duration) time.Duration {
	return time.Duration(float64(d) * float64(minute) / float64(time.Minute))
}

// Shorten makes the scenario last so many minutes, with its events at the same parts of it.
func (s *Scenario) Shorten(to float64) {
	factor := to / s.Minutes
	s.Minutes = to
	for i := range s.Events {
		e := &s.Events[i]
		e.At, e.Within, e.For, e.Back = e.At*factor, e.Within*factor, e.For*factor, e.Back*factor
	}
}

// Words are the bounds for people; "" when there are none.
func (b *Bounds) Words() string {
	var all []string
	add := func(value float64, format string) {
		if value > 0 {
			all = append(all, fmt.Sprintf(format, value))
		}
	}
	add(b.Failed, "at most %v %% failed")
	add(b.P99, "p99 at most %v ms")
	add(b.Lag, "this tool late by at most %v ms (p99)")
	if b.DirtyAge {
		all = append(all, "dirty age within the promise")
	}
	add(b.Close, "closed within %v s")
	add(b.Gap, "no gap over %v s")
	add(b.Neighbours, "the others' p99 at most %v %% up")
	add(b.Tool, "this tool takes at most %v %% of the machine")
	add(float64(b.Refused), "at least %v refused for want of budget")
	return strings.Join(all, ", ")
}
