// Command bench measures a Skerry node beside its baselines, interleaved in one run on one machine, and prints medians
// and ratios for docs/performance.md. Peers that are not installed are said to be missing, never guessed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// system is one thing to measure. Its methods are called from one goroutine.
type system interface {
	name() string
	// way is how it is asked: systems are compared with those that are asked alike.
	way() way
	// start makes it serve players; errNotInstalled when the machine does not have it.
	start(ctx context.Context, dir string, players int) error
	// run keeps inflight operations going for the duration.
	run(ctx context.Context, inflight int, duration time.Duration) (result, error)
	stop(ctx context.Context) error
}

// way is how a system is asked.
type way string

const (
	// byCallers: as many goroutines as operations are in flight, through the library that a program would use.
	byCallers way = "callers, each waiting for its answer"
	// byWindow: one goroutine sends and one receives, with as little of a client as there can be.
	byWindow way = "pipelined by one goroutine"
)

var errNotInstalled = errors.New("not installed")

// result is one window.
type result struct {
	operations int64
	elapsed    time.Duration
	latency    *hdrhistogram.Histogram // microseconds
	// cpu is what the system's server process used in the window; 0 where it has no process of its own.
	cpu time.Duration
}

func (r result) perSecond() float64 { return float64(r.operations) / r.elapsed.Seconds() }

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

type options struct {
	rounds   int
	duration time.Duration
	players  int
	inflight []int
	only     string
	closer   time.Duration
	profile  string
}

func main() {
	var o options
	var inflight string
	echo := flag.Bool("serve-echo", false, "serve the gRPC echo baseline (used by this program itself)")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "length of each window")
	flag.IntVar(&o.players, "players", 10_000, "players that the commands go to")
	flag.StringVar(&inflight, "inflight", "1,64,512", "operations in flight, comma separated")
	flag.StringVar(&o.only, "only", "", "only the systems whose names contain this, beside skerry")
	flag.DurationVar(&o.closer, "closer", 20*time.Second, "length of the last windows, in which bytes to disk are counted and the node is profiled; 0: none")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the node during the last windows to this file, and print its top three costs")
	flag.Parse()
	for part := range strings.SplitSeq(inflight, ",") {
		var n int
		if _, err := fmt.Sscan(part, &n); err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "bench: -inflight %q: want numbers from 1\n", inflight)
			os.Exit(2)
		}
		o.inflight = append(o.inflight, n)
	}
	// The documents of all players are live in this process: marking them over and over is no system's cost.
	debug.SetGCPercent(400)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var err error
	if *echo {
		err = serveEcho(ctx)
	} else {
		err = measure(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "skerry-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%s, %d cores, %s/%s; %d rounds of %v, %d players\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, o.rounds, o.duration, o.players)
	if err := calibrate(dir); err != nil {
		return err
	}
	systems, err := startAll(ctx, dir, o)
	defer func() {
		for _, s := range systems {
			if err := s.stop(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintf(os.Stderr, "bench: stop %s: %v\n", s.name(), err)
			}
		}
	}()
	if err != nil {
		return err
	}
	for _, inflight := range o.inflight {
		if err := compare(ctx, systems, inflight, o); err != nil {
			return err
		}
	}
	if o.closer == 0 {
		return nil
	}
	return lookCloser(ctx, systems, o)
}

func startAll(ctx context.Context, dir string, o options) ([]system, error) {
	var running []system
	for _, s := range allSystems(o) {
		if o.only != "" && !strings.HasPrefix(s.name(), "skerry") && !strings.Contains(s.name(), o.only) {
			continue
		}
		from := time.Now()
		switch err := s.start(ctx, dir, o.players); {
		case errors.Is(err, errNotInstalled):
			fmt.Printf("%-60s not installed\n", id(s))
		case err != nil:
			return running, fmt.Errorf("start %s: %w", s.name(), err)
		default:
			running = append(running, s)
			fmt.Printf("%-60s ready in %v\n", id(s), time.Since(from).Round(time.Millisecond))
		}
	}
	return running, nil
}

// figures are what the windows of one system gave.
type figures struct {
	rates, cpu []float64
	latency    *hdrhistogram.Histogram
}

// compare runs every system once a round, and prints the median of each, and the median over the rounds of the ratio of
// Skerry's figures to each baseline's of the same round.
func compare(ctx context.Context, systems []system, inflight int, o options) error {
	all := make([]figures, len(systems))
	for range o.rounds {
		for i, s := range systems {
			r, err := s.run(ctx, inflight, o.duration)
			if err != nil {
				return fmt.Errorf("run %s: %w", id(s), err)
			}
			f := &all[i]
			f.rates = append(f.rates, r.perSecond())
			f.cpu = append(f.cpu, float64(r.cpu.Microseconds())/float64(max(1, r.operations)))
			if f.latency == nil {
				f.latency = newHistogram()
			}
			f.latency.Merge(r.latency)
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	for _, how := range []way{byCallers, byWindow} {
		fmt.Printf("\n%d in flight, %s\n", inflight, how)
		printTable(systems, all, how)
	}
	return nil
}

// printTable prints the figures of the systems that were asked one way.
func printTable(systems []system, all []figures, how way) {
	var ours []int
	fmt.Printf("%-32s %12s %9s %9s %12s", "", "op/s median", "p50 ms", "p99 ms", "server µs/op")
	for i, s := range systems {
		if _, ok := s.(*skerry); ok && s.way() == how {
			ours = append(ours, i)
			fmt.Printf(" %22s", s.name()+" ÷ this")
		}
	}
	fmt.Println()
	for i, s := range systems {
		if s.way() != how {
			continue
		}
		f := &all[i]
		fmt.Printf("%-32s %12.0f %9.2f %9.2f %12.1f", s.name(), median(f.rates),
			float64(f.latency.ValueAtQuantile(50))/1000, float64(f.latency.ValueAtQuantile(99))/1000, median(f.cpu))
		for _, our := range ours {
			fmt.Printf(" %22.2f", median(ratios(all[our].rates, f.rates)))
		}
		fmt.Println()
	}
}

// id names a system apart from the same one asked another way.
func id(s system) string { return s.name() + ", " + string(s.way()) }

// settle is longer than a node's journal interval and than Redis' everysec: what a system does in the background after its
// window is not the next one's.
const settle = 1500 * time.Millisecond

func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
