package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/loadtest"
	"github.com/skerry-dev/skerry/loadtest/report"
)

// runFlags are what `run` is told.
type runFlags struct {
	opts   loadtest.Options
	admin  []string
	dir    string
	noLive bool
	cpu    string

	// Of the scenario: zero values leave it as it is.
	servers, players int
	minutes          float64
	actions          float64
	budget           string
	autosave         string
}

func (a *app) runCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Play a scenario, check it, and write a report",
		Long: `Play a scenario, check what the cluster did, and write report.json and report.html.

SCENARIO is a name that ` + "`skerry-load scenarios`" + ` lists, or a YAML file (` + "`skerry-load scenarios NAME --yaml`" + ` prints one to begin with).

Without --addr and --embedded, as many nodes are started as the scenario says. They are processes of this program, on a temporary
directory, and end with it. Their times are scaled like the scenario's: with --minute 5s an autosave interval of 5 m is 25 s.`,
		Example: `  skerry-load run steady --embedded 1
  skerry-load run steady --embedded 3 --restart --seed 7
  skerry-load run autosave-storm --autosave naive --report naive
  skerry-load run steady --addr 10.0.0.1:7701 --admin 10.0.0.1:7704,10.0.0.2:7704 --minute 60s
  skerry-load run my-game.yaml --servers 10 --players 40`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return usageError{fmt.Errorf("which scenario? %w", err)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.runScenario(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.opts.Addr, "addr", "", "gRPC address of a cluster that is there, or several with commas")
	flags.StringSliceVar(&f.admin, "admin", nil, "admin addresses of its nodes, with commas, for what is counted where things are stored")
	flags.StringVar(&f.opts.Key, "key", a.env("SKERRY_KEY"), "API key of that cluster (SKERRY_KEY)")
	flags.StringVar(&f.opts.Space, "space", "main", "space to play in; use one of its own on a cluster with players")
	flags.IntVar(&f.opts.Embedded, "embedded", 0, "start so many nodes as processes of this program (default: what the scenario says)")
	flags.StringVar(&f.opts.Data, "data", "", "keep the started nodes' data in this directory (default: a temporary one)")
	flags.BoolVar(&f.opts.Restart, "restart", false, "restart the started nodes before everything is read back")
	flags.StringVar(&f.opts.Fault, "fault", "", "break something in the started nodes; only in a build with -tags faults")
	flags.DurationVar(&f.opts.Minute, "minute", loadtest.DefaultMinute, "how long a minute of the scenario lasts")
	flags.Uint64Var(&f.opts.Seed, "seed", 1, "the same seed gives the same players doing the same things")
	flags.IntVar(&f.opts.Connections, "connections", 0, "how many connections the game servers share (default: one each, at most 8)")
	flags.IntVar(&f.servers, "servers", 0, "how many game servers (default: the scenario's)")
	flags.IntVar(&f.players, "players", 0, "how many players on each, in the mean (default: the scenario's)")
	flags.Float64Var(&f.minutes, "time", 0, "how many minutes of the scenario (default: its own)")
	flags.Float64Var(&f.actions, "actions", 0, "how much a player does in a minute (default: the scenario's)")
	flags.StringVar(&f.budget, "budget", "", "profile of every server: unlimited, roblox-2023, roblox-2026, custom,… (default: the scenario's)")
	flags.StringVar(&f.cpu, "profile", "", "write a processor profile of this program to this file, for go tool pprof")
	flags.StringVar(&f.autosave, "autosave", "", "how started nodes save: budget, or naive for comparison (default: the scenario's)")
	flags.StringVar(&f.dir, "report", "skerry-load-report", "directory for report.json and report.html")
	flags.BoolVar(&f.noLive, "no-live", false, "no live view while it runs")
	return cmd
}

// scenario is the one that the argument names, with what the flags change.
func (f *runFlags) scenario(name string) (*loadtest.Scenario, error) {
	s, err := load(name)
	if err != nil {
		return nil, err
	}
	if f.servers != 0 {
		s.Servers = f.servers
	}
	if f.players != 0 {
		s.Players = f.players
	}
	if f.minutes != 0 {
		s.Shorten(f.minutes)
	}
	if f.actions != 0 {
		s.Actions = f.actions
	}
	if f.budget != "" {
		s.Budget = f.budget
	}
	if f.autosave != "" {
		s.Autosave = f.autosave
	}
	f.opts.Admins = f.admin
	if f.opts.Addr == "" && f.opts.Embedded == 0 {
		f.opts.Embedded = s.Nodes
	}
	return s, s.Validate()
}

// load finds a built-in scenario, or reads a file.
func load(name string) (*loadtest.Scenario, error) {
	if !strings.ContainsAny(name, "/.") {
		return loadtest.Find(name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, usageError{fmt.Errorf("read the scenario: %w", err)}
	}
	defer file.Close() //nolint:errcheck // it was only read
	return loadtest.ParseScenario(name, file)
}

// errBroken says that a bound broke: the cluster's fault, or the bound's.
var errBroken = errors.New("broken")

func (a *app) runScenario(ctx context.Context, name string, f *runFlags) error {
	s, err := f.scenario(name)
	if err != nil {
		return err
	}
	f.opts.Logger = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	found, err := a.watched(ctx, s, f)
	if err != nil {
		return err
	}
	if err := write(f.dir, found); err != nil {
		return err
	}
	if err := a.show(found, f.dir); err != nil {
		return err
	}
	var broken []string
	for _, check := range found.Checks {
		if !check.OK {
			broken = append(broken, fmt.Sprintf("%s (%s; found: %s)", check.Name, check.Bound, check.Found))
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("%w: %s", errBroken, strings.Join(broken, "; "))
	}
	return nil
}

// watched is the run, with what shows it as it goes.
func (a *app) watched(ctx context.Context, s *loadtest.Scenario, f *runFlags) (*report.Report, error) {
	stop, err := profile(f.cpu)
	if err != nil {
		return nil, err
	}
	defer stop()
	if f.noLive {
		return loadtest.Run(ctx, s, f.opts)
	}
	live := report.NewLive(a.err, time.Duration(s.Minutes*float64(f.opts.Minute)))
	f.opts.Watch = live
	found, err := loadtest.Run(ctx, s, f.opts)
	return found, errors.Join(err, live.Close())
}

// profile begins to write a processor profile; "" is none. The caller calls what it returns.
func profile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("make the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("begin the profile: %w", err), file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close() // a profile that is not whole shows when it is read
	}, nil
}

// write writes both forms of the report.
func write(dir string, r *report.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the report's directory: %w", err)
	}
	for _, form := range []struct {
		name  string
		write func(io.Writer, *report.Report) error
	}{{"report.json", report.Write}, {"report.html", report.WriteHTML}} {
		file, err := os.Create(filepath.Join(dir, form.name))
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		if err := errors.Join(form.write(file, r), file.Close()); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// show prints what was found.
func (a *app) show(r *report.Report, dir string) error {
	if a.json {
		return report.Write(a.out, r)
	}
	if err := report.Summary(a.out, r); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\n%s\n", filepath.Join(dir, "report.html"))
	return err
}
