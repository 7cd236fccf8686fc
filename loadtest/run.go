package loadtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/loadtest/report"
)

// callTimeout bounds one call of the game; long enough to ride through a failover.
const callTimeout = 10 * time.Second

// settleWithin bounds how long the answers may take that are out when the play is over.
const settleWithin = 60 * time.Second

// Run plays a scenario and returns what it found. An error says that the run did not come about: bad options, a cluster that does not
// serve, or ctx that ended; a broken bound is no error, but a check of the report that is not OK. What was started has ended when it
// returns.
func Run(ctx context.Context, s *Scenario, opts Options) (found *report.Report, err error) {
	if err = errors.Join(s.Validate(), opts.defaults(s)); err != nil {
		return nil, err
	}
	if s.Name == "budget-edge" {
		return runBudgetEdge(ctx, s, &opts)
	}
	t, err := openTarget(ctx, s, &opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	e, err := newEngine(ctx, s, &opts, t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	return e.run(ctx)
}

// newEngine connects to the target.
func newEngine(ctx context.Context, s *Scenario, opts *Options, t *target) (*engine, error) {
	e := &engine{
		s: s, opts: opts, target: t, ledger: newLedger(), rec: newRecorder(), commands: newCommands(), prefix: "load-",
		// Twice the interval is what is promised for a disk that stalls; then an append.
		window: 2*journalWindow(opts.Minute) + 500*time.Millisecond,
	}
	e.pool.New = newOp
	for range opts.Connections {
		c, err := client.Dial(ctx, t.addrs, client.Options{Key: opts.Key, Space: opts.Space, Timeout: callTimeout})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connect to %s: %w", t.addrs, err), e.close())
		}
		e.clients = append(e.clients, c)
	}
	return e, nil
}

// close ends the connections. The servers' sessions end by themselves when they are not heard any more.
func (e *engine) close() error {
	for _, s := range e.servers {
		s.server.Abandon()
	}
	var errs []error
	for _, c := range e.clients {
		errs = append(errs, c.Close())
	}
	e.waiting.Wait()
	return errors.Join(errs...)
}

// run is the whole run.
func (e *engine) run(ctx context.Context) (*report.Report, error) {
	r := &report.Report{
		Version: report.Version, Scenario: e.s.Name, Description: e.s.Description, Seed: e.opts.Seed,
		Minute: e.opts.Minute.Seconds(), Nodes: max(e.opts.Embedded, 0), Settings: settings(e.s, e.opts),
	}
	if err := e.target.settled(ctx, e.clients[0]); err != nil {
		return nil, err
	}
	counted := newCharges(e.target, e.opts.Space, time.Now())
	if err := e.openServers(ctx); err != nil {
		return nil, err
	}
	sample, err := e.play(ctx, r, counted)
	if err != nil {
		return nil, err
	}
	e.limiters(ctx, r, counted)
	if e.closes() {
		if e.mu.serialTook, err = e.serialClose(ctx); err != nil {
			return nil, err
		}
	}
	if e.opts.Restart {
		e.mark("all nodes restart, then everything is read")
		if err = e.target.restartAll(ctx); err != nil {
			return nil, err
		}
		if err = e.target.settled(ctx, e.clients[0]); err != nil {
			return nil, err
		}
	}
	e.resolve(ctx)
	stored, err := e.readBack(ctx)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	r.Marks = slices.Clone(e.mu.marks)
	failed := errors.Join(e.mu.errs...)
	e.mu.Unlock()
	if failed != nil {
		return nil, failed
	}
	r.Samples, r.Operations = sample.samples, e.rec.operations()
	e.totals(r, &stored)
	r.Checks = e.checks(r, &stored, counted)
	return r, nil
}

// play lets the scenario go by, with samples.
func (e *engine) play(ctx context.Context, r *report.Report, counted *charges) (*sampler, error) {
	length := scale(minutes(e.s.Minutes), e.opts.Minute)
	sample := &sampler{e: e, charges: counted, interval: intervalOf(length)}
	ownBefore, nodesBefore, began := own(), e.target.busy(), time.Now()
	r.Began = began
	e.began.Store(began.UnixNano())
	e.rec.lastDurable = began

	var sampling sync.WaitGroup
	looking, stop := context.WithCancel(ctx)
	sampling.Go(func() { sample.run(looking) })
	err := e.drive(ctx, newModel(e.s, e.opts.Seed))
	if err == nil {
		err = e.wait(ctx)
	}
	stop()
	sampling.Wait()
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	cores := float64(runtime.NumCPU())
	r.Seconds = took.Seconds()
	r.Machine = report.Machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Fdatasync: fdatasync(e.target.place()),
		Tool:  (own() - ownBefore).Seconds() / took.Seconds() / cores,
		Nodes: max(e.target.busy()-nodesBefore, 0).Seconds() / took.Seconds() / cores,
	}
	return sample, nil
}

// wait is the rest of the scenario's time, and until everything has its answer.
func (e *engine) wait(ctx context.Context) error {
	if !pause(ctx, time.Until(e.timeOf(minutes(e.s.Minutes)))) {
		return context.Cause(ctx)
	}
	settling, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if err := e.settle(settling); err != nil {
		return err
	}
	e.rec.unwatch(time.Now())
	return nil
}

// settings are what a run was made with, for people.
func settings(s *Scenario, o *Options) map[string]string {
	return map[string]string{
		"servers": fmt.Sprint(s.Servers), "players": fmt.Sprint(s.Players), "minutes": fmt.Sprint(s.Minutes), "actions": fmt.Sprint(s.Actions),
		"budget": s.Budget, "autosave": s.Autosave, "minute": o.Minute.String(), "restart": fmt.Sprint(o.Restart),
		"worlds": fmt.Sprint(s.Worlds), "connections": fmt.Sprint(o.Connections), "fault": o.Fault,
	}
}

// place is where the nodes' data is, as far as that is known.
func (t *target) place() string {
	if t.cluster != nil {
		return t.cluster.Dir
	}
	return os.TempDir()
}

// totals are the numbers of the whole run.
func (e *engine) totals(r *report.Report, stored *found) {
	all, count, failed, exhausted := e.rec.whole()
	lag := e.rec.lagged()
	add := func(name string, value float64, unit string) {
		r.Totals = append(r.Totals, report.Total{Name: name, Value: value, Unit: unit})
	}
	add("operations", float64(count), "")
	add("operations a second", float64(count)/r.Seconds, "1/s")
	add("failed", float64(failed), "")
	add("refused for want of budget", float64(exhausted), "")
	add("latency p50", milliseconds(all, 50), "ms")
	add("latency p99", milliseconds(all, 99), "ms")
	add("this tool was late by, p99", milliseconds(lag, 99), "ms")
	add("this tool was late by, at most", milliseconds(lag, 100), "ms")
	add("actions of players who were not there (yet)", float64(e.skipped.Load()), "")
	add("players and worlds read back", float64(stored.entities), "")
	add("MEMORY turns that a crash took", float64(stored.taken), "")
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closeTook > 0 {
		add("all servers closed within", e.mu.closeTook.Seconds(), "s")
		add("others as full, in the original's serial way", e.mu.serialTook.Seconds(), "s")
	}
}
