// Package reporttest makes reports of runs that never were, for tests and for looking at the page.
package reporttest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/skerry-dev/skerry/loadtest/report"
)

// Invented returns a report of so many game servers and samples, one a second. The same arguments give the same report. A node is killed
// in the middle; with broken, the last server goes over its budget and a bound breaks.
func Invented(servers, samples int, broken bool) *report.Report {
	rng := rand.New(rand.NewPCG(7, uint64(servers)))
	r := &report.Report{
		Version: report.Version, Scenario: "invented", Description: "Numbers that nobody measured, to see what the page makes of them.",
		Began: time.Date(2026, time.May, 4, 12, 30, 0, 0, time.UTC), Seed: 42, Seconds: float64(samples), Minute: 5, Nodes: 3,
		Settings: map[string]string{
			"autosave": "budget", "budget": "roblox-2023", "servers": fmt.Sprint(servers), "players": "50 a server", "autosave-interval": "5m (25 s here)",
		},
		DirtyAgeBound: 31.5,
		Machine:       report.Machine{System: "linux/amd64, an invented machine", Cores: 8, Tool: 0.18, Nodes: 0.55, Fdatasync: 0.84},
	}
	kill := float64(samples / 2)
	r.Marks = []report.Mark{
		{At: 2, Text: "players join"},
		{At: kill, Text: "n2 killed (SIGKILL)"},
		{At: kill + 0.9, Text: "new owners serve"},
		{At: kill + 12, Text: "n2 back"},
		{At: float64(samples) - 8, Text: "players leave"},
	}
	for i := range samples {
		r.Samples = append(r.Samples, sample(rng, float64(i+1), kill, samples, servers))
	}
	for i := range servers {
		over := broken && i == servers-1
		r.Servers = append(r.Servers, report.Server{
			Name: fmt.Sprintf("server-%d", i+1), Profile: "roblox-2023",
			Get: use(rng, samples, 90+rng.IntN(120), false), Set: use(rng, samples, 200+rng.IntN(380), over),
		})
	}
	r.Operations = operations(rng)
	r.Checks = checks(broken, servers)
	r.Totals = []report.Total{
		{Name: "commands", Value: 1_842_339, Unit: ""},
		{Name: "commands a second", Value: 9_211.4, Unit: "/s"},
		{Name: "p99", Value: 14.2, Unit: "ms"},
		{Name: "loads", Value: 4_120, Unit: ""},
		{Name: "saves", Value: 31_877, Unit: ""},
		{Name: "longest gap", Value: 0.43, Unit: "s"},
		{Name: "refused for budget", Value: 270, Unit: ""},
		{Name: "read back", Value: 1_000, Unit: "players"},
	}
	return r
}

func sample(rng *rand.Rand, now, kill float64, samples, servers int) report.Sample {
	share := min(1, now/12, (float64(samples)-now+1)/8)
	players := int(share * float64(servers*50))
	since := now - kill
	hit := 0.0
	if since >= 0 && since < 14 {
		hit = math.Exp(-since / 2.5)
	}
	wave := 1 + 0.12*math.Sin(now/9) + 0.05*rng.NormFloat64()
	p50 := 1.1 * wave * (1 + 3*hit)
	s := report.Sample{
		At: now, Players: players, Commands: max(0, float64(players)*9*wave*(1-0.7*hit)),
		Loads: max(0, 25*wave), Saves: max(0, float64(players)*0.16*wave),
		QueueGet: int(6 * hit), QueueSet: max(0, int(14*math.Sin(now/7)+6*rng.NormFloat64())),
		Dirty: int64(float64(players) * 0.7 * wave), DirtyAge: min(now, 24+3*math.Sin(now/5)+rng.Float64()) + 4*hit,
		P50: p50, P90: p50 * 2.6, P99: p50*9*(1+rng.Float64()*0.4) + 300*hit, P999: p50*24*(1+rng.Float64()) + 420*hit, Max: p50*60*(1+rng.Float64()) + 460*hit,
	}
	if hit > 0.2 {
		s.Failed, s.Refused = 40*hit*rng.Float64(), int64(5*hit)
	}
	return s
}

func use(rng *rand.Rand, samples, about int, over bool) report.Use {
	limit := int64(about + 60)
	u := report.Use{}
	level := 0.0
	for i := range samples {
		if i == samples/3 && limit > 120 {
			limit -= 40
		}
		level += 0.12 * (float64(limit)*(0.82+0.1*math.Sin(float64(i)/11)) - level)
		used := int64(max(0, level+4*rng.NormFloat64()))
		if over && i > samples/2 {
			used += limit / 2
		}
		u.Used, u.Limit = append(u.Used, used), append(u.Limit, limit)
		if used > u.Most {
			u.Most, u.Allowed = used, limit
		}
		u.Granted += used / 60
	}
	return u
}

func operations(rng *rand.Rand) []report.Operation {
	var out []report.Operation
	for _, name := range []string{"open player", "open world", "earn coins", "purchase", "move item", "set blocks", "chest put", "chest take", "daily reward", "leave"} {
		p50 := 0.7 + 3*rng.Float64()
		out = append(out, report.Operation{
			Name: name, Count: rng.Int64N(400_000), Refused: rng.Int64N(900), P50: p50, P90: p50 * 2.4, P99: p50 * 8, P999: p50 * 31, Max: p50 * 160,
		})
	}
	out[0].Failed = map[string]int64{"BUDGET_EXHAUSTED": 270}
	out[3].Failed = map[string]int64{"OUTCOME_UNKNOWN": 3, "UNAVAILABLE": 12}
	return out
}

func checks(broken bool, servers int) []report.Check {
	all := []report.Check{
		{Name: "lost", OK: true, Bound: "nothing acknowledged is missing at the end", Found: "0 of 1,842,339"},
		{Name: "doubled", OK: true, Bound: "nothing is there twice", Found: "0"},
		{Name: "items", OK: true, Bound: "as many items as were given, less those taken", Found: "48,112 = 48,112"},
		{Name: "budget", OK: true, Bound: "no server above rate and burst in any sliding minute", Found: fmt.Sprintf("%d servers, the fullest at 93 %%", servers)},
		{Name: "dirty-age", OK: true, Bound: "31.5 s", Found: "28.4 s"},
		{Name: "gap", OK: true, Bound: "an owner's death is over after 1.5 s", Found: "0.43 s"},
	}
	if broken {
		all[3] = report.Check{
			Name: "budget", Bound: all[3].Bound, Found: "1 server above",
			Detail: fmt.Sprintf("server-%d: 612 saves in the minute before 1:52, allowed 480\nserver-%d: 598 saves in the minute before 2:03, allowed 480", servers, servers),
		}
	}
	return all
}
