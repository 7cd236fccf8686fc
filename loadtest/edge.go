package loadtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/internal/nodeprocess"
	"github.com/skerry-dev/skerry/loadtest/report"
	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// The numbers of budget-edge, as roblox-2023 has them for a server with ten players: 100 of burst, a queue of 30, and 160 tokens a
// minute, one every 375 ms. A world's session is no player, so the number of players is held.
const (
	edgeOpenings = 400
	edgeAtOnce   = 100
	edgeQueued   = 30
	edgePlayers  = 10
	edgeStep     = 375 * time.Millisecond
	edgeBudget   = "roblox-2023"

	// edgePatience bounds how long the node may take to notice what has happened, in real time.
	edgePatience = 20 * time.Second
)

// edge is a run of budget-edge: a node in this process, whose budgets have a clock that stands still unless it is stepped.
type edge struct {
	s       *Scenario
	opts    *Options
	clock   atomic.Int64
	client  *client.Client
	server  *client.Server
	target  *target // its admin address
	rec     *recorder
	counted *charges
	report  *report.Report

	granted, refused, failed atomic.Int64
}

func runBudgetEdge(ctx context.Context, s *Scenario, opts *Options) (*report.Report, error) {
	if opts.Addr != "" {
		return nil, fmt.Errorf("%w: budget-edge steps the clock of a node in this program: not with an address", ErrOptions)
	}
	dir, err := os.MkdirTemp("", "skerry-load-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the node: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	e := &edge{s: s, opts: opts, rec: newRecorder()}
	e.clock.Store(int64(time.Hour)) // as far from its beginning as any
	stop, ready, err := e.node(ctx, dir)
	if err != nil {
		return nil, err
	}
	found, err := e.run(ctx, ready)
	return found, errors.Join(err, stop())
}

// node starts a node in this process; stop ends it and waits.
func (e *edge) node(ctx context.Context, dir string) (stop func() error, ready node.Ready, err error) {
	config := node.DefaultConfig()
	config.Data = dir
	for _, addr := range []*string{&config.HTTP, &config.GRPC, &config.Peer, &config.Gossip, &config.Admin} {
		*addr = "127.0.0.1:0"
	}
	began := make(chan node.Ready, 1)
	n, err := node.Open(ctx, config, node.Options{
		OnReady:     func(r node.Ready) { began <- r },
		BudgetClock: func() time.Duration { return time.Duration(e.clock.Load()) },
		Faults:      nodeprocess.Faults(e.opts.Fault), ActorFaults: nodeprocess.ActorFaults(e.opts.Fault),
	})
	if err != nil {
		return nil, ready, fmt.Errorf("start a node: %w", err)
	}
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(running) }() // stop waits for it
	stop = func() error {
		cancel()
		return <-ended
	}
	select {
	case ready = <-began:
		return stop, ready, nil
	case err = <-ended:
		cancel()
		return nil, ready, fmt.Errorf("run the node: %w", err)
	}
}

func (e *edge) run(ctx context.Context, ready node.Ready) (found *report.Report, err error) {
	e.target = &target{opts: e.opts, nodes: []string{ready.Admin}, lives: []int{1}}
	if e.client, err = client.Dial(ctx, ready.GRPC, client.Options{Timeout: callTimeout}); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", ready.GRPC, err)
	}
	defer func() { err = errors.Join(err, e.client.Close()) }()
	before, began := own(), time.Now()
	e.counted = newCharges(e.target, e.opts.Space, began)
	e.server, err = e.client.RegisterServer(ctx, "edge", client.ServerOptions{Players: edgePlayers, Budget: edgeBudget})
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	defer e.server.Abandon()
	e.report = &report.Report{
		Version: report.Version, Scenario: e.s.Name, Description: e.s.Description, Began: began, Seed: e.opts.Seed, Minute: 60, Nodes: 1,
		Settings: map[string]string{
			"budget": edgeBudget, "players": fmt.Sprint(edgePlayers), "openings": fmt.Sprint(edgeOpenings), "clock": "stepped by 375 ms; times in the plots are its own",
		},
	}
	opening, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range edgeOpenings {
		all.Go(func() { e.open(opening, i) })
	}
	if err = e.step(ctx); err != nil {
		return nil, err
	}
	cancel()
	all.Wait()
	e.report.Operations = e.rec.operations()
	e.report.Seconds = (edgeQueued * edgeStep).Seconds()
	e.report.Machine = report.Machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Tool: (own() - before).Seconds() / time.Since(began).Seconds() / float64(runtime.NumCPU()),
	}
	return e.report, nil
}

// open asks once for one world: the generated client retries nothing.
func (e *edge) open(ctx context.Context, i int) {
	began := time.Now()
	_, err := e.client.Service().OpenWorldSession(ctx, &skerryv1.OpenWorldSessionRequest{
		World: fmt.Sprintf("edge%d", i), Server: e.server.ID(), Incarnation: e.server.Incarnation(), Create: &skerryv1.Create{Height: 64},
	})
	came := verdict{act: actWorld, latency: time.Since(began), durable: true}
	switch {
	case err == nil:
		e.granted.Add(1)
	case isCode(err, client.ErrBudgetExhausted):
		e.refused.Add(1)
		came.failed = codeExhausted
	default:
		e.failed.Add(1)
		_, came.failed, _ = judge(err)
	}
	e.rec.add(&came)
}

// step waits for what comes at once, then lets the clock go, a token at a time, and looks at each step.
func (e *edge) step(ctx context.Context) error {
	begun := e.clock.Load()
	atOnce, err := e.await(ctx, edgeAtOnce)
	if err != nil {
		return err
	}
	e.sample(ctx, 0)
	early, late := "", ""
	for k := int64(1); k <= edgeQueued; k++ {
		at := time.Duration(k) * edgeStep
		e.clock.Store(begun + int64(at-time.Nanosecond)) // not before its time
		if !pause(ctx, 4*time.Millisecond) {
			return context.Cause(ctx)
		}
		if n := e.granted.Load(); n > edgeAtOnce+k-1 && early == "" {
			early = fmt.Sprintf("%d before %s", n, at)
		}
		e.clock.Store(begun + int64(at))
		var got answers
		if got, err = e.await(ctx, edgeAtOnce+k); err != nil {
			return err
		}
		if got.granted != edgeAtOnce+k && late == "" {
			late = fmt.Sprintf("%d at %s", got.granted, at)
		}
		e.sample(ctx, at)
	}
	last, err := e.await(ctx, edgeAtOnce+edgeQueued)
	if err != nil {
		return err
	}
	e.checks(ctx, atOnce, last, early+late)
	return nil
}

// answers are what the openings came to so far.
type answers struct{ granted, refused, failed int64 }

// await waits until so many were granted and those for whom the queue has no room were refused, or patience ends.
func (e *edge) await(ctx context.Context, granted int64) (answers, error) {
	patient, cancel := context.WithTimeout(ctx, edgePatience)
	defer cancel()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		got := answers{e.granted.Load(), e.refused.Load(), e.failed.Load()}
		if got.granted >= granted && got.granted+got.refused+got.failed >= edgeOpenings-edgeQueued {
			return got, nil
		}
		select {
		case <-look.C:
		case <-patient.Done():
			return got, ctx.Err() // the checks say what is missing
		}
	}
}

// sample is what is to be seen at a time of the stepped clock.
func (e *edge) sample(ctx context.Context, at time.Duration) {
	s := report.Sample{At: at.Seconds(), Players: edgePlayers}
	e.rec.sample(&s, edgeStep.Seconds())
	if all, err := metrics(ctx, e.target.nodes[0]); err == nil {
		s.QueueGet = int(all.sum(metricQueueGet))
	}
	e.report.Samples = append(e.report.Samples, s)
	if e.opts.Watch != nil {
		e.opts.Watch.Add(s)
	}
}

// checks holds what came against the numbers.
func (e *edge) checks(ctx context.Context, atOnce, last answers, wrong string) {
	e.counted.gather(ctx, e.report.Began)
	charged, missing := e.counted.of(e.server.ID(), budget.Get)
	stored := int64(0)
	for _, c := range charged {
		stored += c.tokens
	}
	var limiter *skerryv1.Budget
	asking, cancel := patience(ctx)
	defer cancel()
	if got, err := e.client.Service().GetServer(asking, &skerryv1.GetServerRequest{Server: e.server.ID()}); err == nil {
		limiter = got.GetBudgets()["get"]
	}
	const refused = edgeOpenings - edgeAtOnce - edgeQueued
	check := func(name, bound string, ok bool, found string) {
		e.report.Checks = append(e.report.Checks, report.Check{Name: name, Bound: bound, OK: ok, Found: found})
	}
	check("at once", "100 opened at once, 270 refused with BUDGET_EXHAUSTED, 30 wait",
		atOnce.granted == edgeAtOnce && atOnce.refused == refused && atOnce.failed == 0,
		fmt.Sprintf("%d opened, %d refused, %d failed", atOnce.granted, atOnce.refused, atOnce.failed))
	check("queued", "the 30 are opened one every 375 ms, the last at 11.25 s, none before its time",
		last.granted == edgeAtOnce+edgeQueued && last.failed == 0 && wrong == "",
		fmt.Sprintf("%d opened in all, %d failed; %s", last.granted, last.failed, orNone(wrong, "each at its time")))
	check("counters", "the limiter's counters are what was answered: 130 used, 270 refused, none waits",
		limiter.GetUsed() == last.granted && limiter.GetRefused() == last.refused && limiter.GetQueued() == 0 && limiter != nil,
		fmt.Sprintf("%d used, %d refused, %d wait", limiter.GetUsed(), limiter.GetRefused(), limiter.GetQueued()))
	check("storage", "130 loads where things are stored", missing == "" && stored == edgeAtOnce+edgeQueued,
		fmt.Sprintf("%d loads%s", stored, missing))
	e.report.Servers = []report.Server{{
		Name: e.server.ID(), Profile: edgeBudget,
		Get: report.Use{Most: stored, Granted: limiter.GetUsed(), Refused: limiter.GetRefused()},
	}}
	e.mostAllowed()
	e.report.Totals = []report.Total{
		{Name: "opened", Value: float64(last.granted)},
		{Name: "refused", Value: float64(last.refused)},
		{Name: "stepped", Value: (edgeQueued * edgeStep).Seconds(), Unit: "s"},
	}
}

// mostAllowed fills in the limit.
func (e *edge) mostAllowed() {
	if profile, err := budget.Parse(edgeBudget); err == nil {
		e.report.Servers[0].Get.Allowed = profile.MostInMinute(budget.Get, edgePlayers)
	}
}

func orNone(text, none string) string {
	if text == "" {
		return none
	}
	return text
}
