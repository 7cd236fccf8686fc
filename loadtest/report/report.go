// Package report is what a load test found: the form of report.json, the page that shows it, and how two are compared.
//
// It knows nothing of how the numbers came to be.
package report

import "time"

// Version of the form of report.json. It only grows; a reader refuses a greater one.
const Version = 1

// Report is one run. All times within are seconds since its beginning, of the wall clock; a scaled minute is Minute of them.
type Report struct {
	Version     int       `json:"version"`
	Scenario    string    `json:"scenario"`
	Description string    `json:"description"`
	Began       time.Time `json:"began"`
	// Seed gives the same players doing the same things again.
	Seed uint64 `json:"seed"`
	// Seconds that the load lasted, and how many of them are a minute of the scenario.
	Seconds float64 `json:"seconds"`
	Minute  float64 `json:"minute"`
	Nodes   int     `json:"nodes"`
	// Settings are what the run was made with, by name, for people.
	Settings map[string]string `json:"settings"`
	// DirtyAgeBound is the promised greatest DirtyAge, in seconds; 0: none was promised.
	DirtyAgeBound float64 `json:"dirtyAgeBound,omitempty"`

	// Samples are taken at equal intervals, the first one interval after the beginning.
	Samples []Sample `json:"samples"`
	// Operations are what players did, by kind.
	Operations []Operation `json:"operations"`
	// Servers are the game servers with a budget.
	Servers []Server `json:"servers"`
	Marks   []Mark   `json:"marks"`
	// Checks are the bounds of the scenario, and what was found of each.
	Checks []Check `json:"checks"`
	// Totals are numbers of the whole run that are worth a line, in order.
	Totals  []Total `json:"totals"`
	Machine Machine `json:"machine"`
}

// Sample is one interval. Rates are per second; latencies are milliseconds from when a command should have been sent.
type Sample struct {
	At       float64 `json:"at"`
	Players  int     `json:"players"`
	Commands float64 `json:"commands"`
	Failed   float64 `json:"failed"`
	Loads    float64 `json:"loads"`
	Saves    float64 `json:"saves"`
	// QueueGet and QueueSet are how many requests wait for budget, on all servers.
	QueueGet int `json:"queueGet"`
	QueueSet int `json:"queueSet"`
	// Refused is how many were refused for want of budget.
	Refused int64 `json:"refused"`
	// Dirty is how many entities wait for a snapshot, and DirtyAge the age of the oldest change among them, in seconds.
	Dirty    int64   `json:"dirty"`
	DirtyAge float64 `json:"dirtyAge"`
	P50      float64 `json:"p50"`
	P90      float64 `json:"p90"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
	Max      float64 `json:"max"`
}

// Operation is one kind of thing that players did.
type Operation struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
	// Refused by the rules of the game, such as too few coins: an answer like any other.
	Refused int64 `json:"refused"`
	// Failed by code.
	Failed map[string]int64 `json:"failed,omitempty"`
	// Milliseconds from when it should have been sent.
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Server is the use of one game server's budget, as counted where things are stored and loaded, not by who limits.
type Server struct {
	Name    string `json:"name"`
	Profile string `json:"profile"`
	Get     Use    `json:"get"`
	Set     Use    `json:"set"`
}

// Use is one class. At each sample: what was used in the sliding minute before it, and the limit with the players of then.
type Use struct {
	Used  []int64 `json:"used"`
	Limit []int64 `json:"limit"`
	// Most is the most in any sliding minute, Allowed what was allowed then: rate and burst.
	Most    int64 `json:"most"`
	Allowed int64 `json:"allowed"`
	// Granted and Refused are the limiter's own counters.
	Granted int64 `json:"granted"`
	Refused int64 `json:"refused"`
}

// Mark is an event worth a line in the plots.
type Mark struct {
	At   float64 `json:"at"`
	Text string  `json:"text"`
}

// Check is a bound and what was found.
type Check struct {
	// Name is short and stable: "lost", "dirty-age", "budget".
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Bound string `json:"bound"`
	Found string `json:"found"`
	// Detail is more, for people, when it broke: which server, which player.
	Detail string `json:"detail,omitempty"`
}

// Total is one number of the whole run.
type Total struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Machine is what the run was made on, and what it took of it.
type Machine struct {
	System string `json:"system"`
	Cores  int    `json:"cores"`
	// Tool is the load tool's share of all cores, 0 to 1; Nodes the embedded nodes' share, 0 when they are elsewhere.
	Tool  float64 `json:"tool"`
	Nodes float64 `json:"nodes"`
	// Fdatasync is the median time of writing 4 KiB durably, in milliseconds, measured beside; 0: not measured.
	Fdatasync float64 `json:"fdatasync"`
}

// OK reports whether all bounds held.
func (r *Report) OK() bool {
	for _, check := range r.Checks {
		if !check.OK {
			return false
		}
	}
	return true
}
