package loadtest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/loadtest/report"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// checks holds the run against the scenario's bounds, and against what must always hold.
func (e *engine) checks(r *report.Report, stored *found, counted *charges) []report.Check {
	all := []report.Check{
		lossCheck(stored), conservationCheck(stored),
	}
	all = append(all, e.budgetChecks(r, counted)...)
	b := &e.s.Bounds
	whole, count, failed, exhausted := e.rec.whole()
	if b.Failed > 0 {
		percent := 100 * float64(failed) / float64(max(count, 1))
		all = append(all, report.Check{
			Name: "failed", OK: percent <= b.Failed, Bound: fmt.Sprintf("at most %v %% of the operations", b.Failed),
			Found: fmt.Sprintf("%.3f %% (%d of %d)", percent, failed, count), Detail: failures(r.Operations),
		})
	}
	bound := func(name, what string, bound, found float64, unit string) {
		if bound > 0 {
			all = append(all, report.Check{
				Name: name, OK: found <= bound, Bound: fmt.Sprintf("%s at most %v %s", what, bound, unit), Found: fmt.Sprintf("%.3g %s", found, unit),
			})
		}
	}
	bound("p99", "99 % of the latencies", b.P99, milliseconds(whole, 99), "ms")
	bound("lag", "this tool late, 99 %,", b.Lag, milliseconds(e.rec.lagged(), 99), "ms")
	if b.DirtyAge {
		all = append(all, e.dirtyCheck(r))
	}
	e.mu.Lock()
	closeTook := e.mu.closeTook
	e.mu.Unlock()
	bound("close", "all servers closed within", b.Close, closeTook.Seconds(), "s")
	bound("gap", "no durable answer for", b.Gap, e.rec.unwatch(time.Now()).Seconds(), "s")
	bound("tool", "this tool's share of the machine", b.Tool, 100*r.Machine.Tool, "%")
	if b.Neighbours > 0 {
		all = append(all, e.rec.neighbours(b.Neighbours))
	}
	if b.Refused > 0 {
		all = append(all, report.Check{
			Name: "refused", OK: exhausted >= b.Refused, Bound: fmt.Sprintf("at least %d refused for want of budget", b.Refused), Found: fmt.Sprint(exhausted),
		})
	}
	return all
}

// some is the first few of many, for people.
func some(all []string) string {
	const few = 5
	if len(all) <= few {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:few], "; "), len(all)-few)
}

func lossCheck(f *found) report.Check {
	return report.Check{
		Name: "lost", OK: len(f.wrong) == 0, Bound: "nothing acknowledged is lost, doubled or other than it was",
		Found: fmt.Sprintf("%d of %d players and worlds do not fit", len(f.wrong), f.entities), Detail: some(f.wrong),
	}
}

func conservationCheck(f *found) report.Check {
	return report.Check{
		Name: "items", OK: len(f.made) == 0, Bound: "items of all players and chests add up",
		Found: fmt.Sprintf("%d of %d kinds do not", len(f.made), gameItems), Detail: some(f.made),
	}
}

func failures(operations []report.Operation) string {
	var all []string
	for _, o := range operations {
		for code, n := range o.Failed {
			if code != codeExhausted {
				all = append(all, fmt.Sprintf("%s: %d %s", o.Name, n, code))
			}
		}
	}
	return some(all)
}

// budgetChecks fills in what each server used, and holds it against what was allowed.
func (e *engine) budgetChecks(r *report.Report, counted *charges) []report.Check {
	profile, err := budget.Parse(e.s.Budget)
	if err != nil || !profile.Limited {
		return nil
	}
	check := report.Check{Name: "budget", OK: true, Bound: "no server above its budget and burst in any sliding minute, where things are stored"}
	var over []string
	closest := 0.0
	for i := range r.Servers {
		server, of := &r.Servers[i], e.servers[i]
		of.mu.Lock()
		crowds := of.crowds
		of.mu.Unlock()
		for _, class := range []budget.Class{budget.Get, budget.Set} {
			charged, missing := counted.of(server.Name, class)
			if missing != "" {
				check.OK, check.Found, check.Detail = false, "not measured", missing
				return []report.Check{check}
			}
			u := use{profile: &profile, class: class, minute: e.opts.Minute, charges: charged, crowds: crowds}
			to := &server.Get
			if class == budget.Set {
				to = &server.Set
			}
			u.fill(to, r.Samples)
			closest = max(closest, float64(to.Most)/float64(max(to.Allowed, 1)))
			if to.Most > to.Allowed {
				over = append(over, fmt.Sprintf("%s used %d %s in a minute, %d were allowed", server.Name, to.Most, class, to.Allowed))
			}
		}
	}
	check.OK = len(over) == 0
	check.Found = fmt.Sprintf("at most %.0f %% of what was allowed", 100*closest)
	check.Detail = some(over)
	return []report.Check{check}
}

// limiters asks for the limiter's own counters.
func (e *engine) limiters(ctx context.Context, r *report.Report, _ *charges) {
	profile, err := budget.Parse(e.s.Budget)
	if err != nil || !profile.Limited {
		return
	}
	for _, s := range e.servers {
		server := report.Server{Name: s.id, Profile: profile.Name}
		asking, cancel := context.WithTimeout(ctx, callTimeout)
		got, err := s.client.Service().GetServer(asking, &skerryv1.GetServerRequest{Server: s.id})
		cancel()
		if err == nil {
			server.Get.Granted, server.Get.Refused = got.GetBudgets()["get"].GetUsed(), got.GetBudgets()["get"].GetRefused()
			server.Set.Granted, server.Set.Refused = got.GetBudgets()["set"].GetUsed(), got.GetBudgets()["set"].GetRefused()
		}
		r.Servers = append(r.Servers, server)
	}
}

// realDelays are what no scaling makes shorter: a save's own time, a sample's.
const realDelays = 500 * time.Millisecond

// dirtyCheck holds the oldest change without a snapshot against the promise for the fullest server.
func (e *engine) dirtyCheck(r *report.Report) report.Check {
	profile, err := budget.Parse(e.s.Budget)
	check := report.Check{Name: "dirty-age", Bound: "no change without a snapshot for longer than promised"}
	if err != nil || !e.dirtySeen {
		check.Found = "not measured: the nodes do not tell"
		return check
	}
	promise := time.Duration(0)
	for _, s := range e.servers {
		most := 0
		s.mu.Lock()
		for _, c := range s.crowds {
			most = max(most, c.players)
		}
		s.mu.Unlock()
		cost := int64(most + e.s.Worlds)
		promise = max(promise, budget.DirtyAge(&profile, most, cost, autosaveInterval))
	}
	scaled := (scale(promise, e.opts.Minute) + realDelays).Seconds()
	r.DirtyAgeBound = scaled
	r.DirtyAgeBound = scaled
	worst := 0.0
	for _, sample := range r.Samples {
		worst = max(worst, sample.DirtyAge)
	}
	check.OK = worst <= scaled
	check.Bound = fmt.Sprintf("no change without a snapshot for more than %.3g s (%s of the scenario)", scaled, promise.Round(time.Second))
	check.Found = fmt.Sprintf("%.3g s", worst)
	return check
}
