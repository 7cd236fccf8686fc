package loadtest

import (
	"fmt"
	"strings"
)

// Builtin are the scenarios that come with the tool, in the order of the documentation.
func Builtin() []*Scenario {
	var all []*Scenario
	for _, begin := range []func(*Scenario){
		steady, joinStorm, leaveStorm, autosaveStorm, shutdown, hop, build, chests, budgetEdge, noisyNeighbour, failover, crash, soak, flood,
	} {
		s := base()
		begin(&s)
		all = append(all, &s)
	}
	return all
}

// Find returns the scenario of that name; the error lists those there are.
func Find(name string) (*Scenario, error) {
	var names []string
	for _, s := range Builtin() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return nil, fmt.Errorf("%w: there is no scenario %q; there are %s, or a file's name", ErrScenario, name, strings.Join(names, ", "))
}

// base is what a scenario has that does not say otherwise.
func base() Scenario {
	return Scenario{
		Minutes: 10, Nodes: 1, Servers: 4, Players: 25, Full: true, Session: 10, Newcomers: 10,
		Actions: 30, Mix: mix(), Worlds: 1, Chests: 4, Blocks: 8,
		Budget: "roblox-2023", Autosave: AutosaveBudget,
		Bounds: Bounds{Failed: 0.1, P99: 500, Lag: 250, DirtyAge: true},
	}
}

// mix is an afternoon in a game about building and fighting.
func mix() Mix {
	return Mix{
		Earn: 20, Spend: 6, Buy: 2, Give: 8, Take: 5, Move: 10, Fight: 18, Walk: 14, Daily: 1, Trade: 1, Chest: 2, Build: 12, Save: 0,
	}
}

func steady(s *Scenario) {
	s.Name = "steady"
	s.Description = "An ordinary day: players come, play and leave at the rate at which they are replaced. What everything else is compared with."
}

// tight is a budget of thirty saves a minute and a few at once: what everybody has dirty at the same time does not fit.
const tight = "custom,get=1000+10,set=30,burst=10,shutdown=0"

func joinStorm(s *Scenario) {
	s.Name = "join-storm"
	s.Description = "A game is featured: twelve times as many players come to every server as it has, within three seconds, and nothing was saved up for them. Openings wait for budget; who plays already must not notice."
	s.Minutes, s.Actions, s.Budget = 8, 6, "roblox-2023,accumulate=0"
	s.Events = []Event{{At: 3, Do: DoJoin, Players: 300, Within: 0.05}}
	s.Bounds.P99 = 0 // those who wait for budget are in it
}

func leaveStorm(s *Scenario) {
	s.Name = "leave-storm"
	s.Description = "A match ends: four of five players leave every server within a few seconds, with a budget that their saves do not fit in. Each is in the journal before the answer, and saved before anybody who stays."
	s.Minutes, s.Players, s.Budget = 8, 50, tight
	s.Events = []Event{{At: 4, Do: DoLeave, Percent: 80, Within: 0.1}}
	s.Bounds.DirtyAge = false // leavers go before: that is what it is about
}

func autosaveStorm(s *Scenario) {
	s.Name = "autosave-storm"
	s.Description = "Twenty servers of fifty players who all change something all the time, with a budget that saving all at once does not fit in: spread over the interval it does. No server goes above its budget, no change waits longer than promised. Try it with --autosave naive."
	s.Minutes, s.Nodes, s.Servers, s.Players, s.Actions = 10, 3, 20, 50, 12
	s.Session, s.Newcomers, s.Budget = 120, 10, tight
	s.Bounds.P99 = 1000 // three nodes on one machine
}

func shutdown(s *Scenario) {
	s.Name = "shutdown"
	s.Description = "Twenty full servers with a world each close at the same moment. The original had 30 s for it and saved one after another: that way is measured beside it."
	s.Minutes, s.Servers, s.Players = 3, 20, 50
	s.Actions, s.Session = 12, 60
	s.Events = []Event{{At: 2.5, Do: DoClose}}
	s.Bounds.Close = 30
}

func hop(s *Scenario) {
	s.Name = "hop"
	s.Description = "Restless players: sessions of a minute or two, and nine of ten who leave appear on another server at once, which takes the session over while the first one's commands are on their way."
	s.Servers, s.Session, s.Hop = 6, 0.5, 90
	s.Budget = "roblox-2026"
}

func build(s *Scenario) {
	s.Name = "build"
	s.Description = "Builders: most of what is done is blocks, sixteen at a time, in two worlds on each server."
	s.Worlds, s.Blocks, s.Actions = 2, 16, 60
	s.Mix = Mix{Earn: 2, Walk: 5, Fight: 3, Build: 80, Give: 5, Take: 5}
}

func chests(s *Scenario) {
	s.Name = "chests"
	s.Description = "Traders: items move between players and chests, and between players, all the time. No item may come out of nothing, or go."
	s.Mix = Mix{Earn: 3, Give: 25, Take: 5, Trade: 20, Chest: 45, Walk: 2}
	s.Chests = 8
}

func budgetEdge(s *Scenario) {
	s.Name = "budget-edge"
	s.Description = "Four hundred worlds that nobody has in memory are opened at once by a server with ten players under roblox-2023, on a clock that is stepped: 100 are granted at once, 30 wait and are granted within 11.25 s, 270 are refused."
	s.Minutes, s.Servers, s.Players, s.Worlds, s.Actions = 1, 1, 10, 0, 0
	s.Mix = Mix{}
	s.Bounds = Bounds{}
}

func noisyNeighbour(s *Scenario) {
	s.Name = "noisy-neighbour"
	s.Description = "One server's players do thirty times as much for five half minutes, with quiet ones between. The other servers' latency must stay what it is in the quiet ones."
	s.Minutes = 11
	s.Servers = 5
	for i := range 5 {
		s.Events = append(s.Events, Event{At: float64(1 + 2*i), Do: DoNoise, Times: 30, For: 1})
	}
	s.Bounds.Neighbours, s.Bounds.Failed = 25, 2 // the noisy one may meet its own bounds
}

func failover(s *Scenario) {
	s.Name = "failover"
	s.Description = "A node dies in the middle of everything (SIGKILL), and comes back three minutes later. Nothing acknowledged is lost; the gap shows in the plots."
	s.Nodes = 3
	s.Events = []Event{{At: 4, Do: DoKill, Back: 3}}
	s.Bounds.Gap, s.Bounds.P99, s.Bounds.Failed = 5, 0, 1
}

func crash(s *Scenario) {
	s.Name = "crash"
	s.Description = "The only node is killed six times (SIGKILL) in the middle of everything, and comes back a third of a minute later. What was acknowledged as durable is there each time; of the rest, at most the last moments are gone."
	s.Minutes, s.Nodes, s.Actions = 8, 1, 60
	for i := range 6 {
		s.Events = append(s.Events, Event{At: float64(1 + i), Do: DoKill, Back: 0.3})
	}
	s.Bounds.P99, s.Bounds.Failed = 0, 0 // nobody else can answer
}

func soak(s *Scenario) {
	s.Name = "soak"
	s.Description = "Hours of everything, with storms, restarts and a kill, to see whether anything grows or is lost. Use --minute 60s for real time."
	s.Minutes, s.Nodes, s.Servers = 240, 3, 8
	s.Hop = 20
	s.Events = []Event{
		{At: 30, Do: DoJoin, Players: 50, Within: 1},
		{At: 60, Do: DoLeave, Percent: 80, Within: 0.2},
		{At: 90, Do: DoKill, Back: 5},
		{At: 140, Do: DoRestart},
		{At: 180, Do: DoKill, Back: 5},
		{At: 210, Do: DoJoin, Players: 50, Within: 1},
	}
	s.Bounds.Gap, s.Bounds.P99, s.Bounds.Failed = 5, 0, 1
}

func flood(s *Scenario) {
	s.Name = "flood"
	s.Description = "Two thousand players who do fifty things a second each, from memory: 100,000 commands a second at --minute 5s. It shows what this tool itself takes; a node on the same machine may well be the limit."
	s.Minutes, s.Players, s.Session, s.Actions, s.Worlds = 4, 500, 60, 250, 0
	s.Mix, s.Budget = Mix{Walk: 9, Fight: 1}, "unlimited"
	s.Bounds = Bounds{Tool: 50}
}
