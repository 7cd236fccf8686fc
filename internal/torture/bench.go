package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skerry-dev/skerry/persistence"
)

// benchOptions say what is measured.
type benchOptions struct {
	run      bool
	rounds   int
	duration time.Duration
	inflight string
	entities int
	idle     time.Duration
	memory   time.Duration
	only     string
}

func (b *benchOptions) flags() {
	flag.BoolVar(&b.run, "bench", false, "measure three voters instead of breaking them")
	flag.IntVar(&b.rounds, "rounds", 5, "interleaved rounds (-bench)")
	flag.DurationVar(&b.duration, "duration", 2*time.Second, "length of each window (-bench)")
	flag.StringVar(&b.inflight, "inflight", "1,64,512", "operations in flight, comma separated (-bench)")
	flag.IntVar(&b.entities, "keys", 10_000, "entities that are written (-bench)")
	flag.DurationVar(&b.idle, "idle", 30*time.Second, "how long the idle processes are watched; 0: not (-bench)")
	flag.DurationVar(&b.memory, "memory", 3*time.Minute, "how long memory is watched under load; 0: not (-bench)")
	flag.StringVar(&b.only, "only", "", "only the peers whose names contain this, beside skerry (-bench)")
}

// system is one thing to measure: three processes. Its methods are called from one goroutine.
type system interface {
	name() string
	// start makes it serve; errNotInstalled when the machine does not have it.
	start(ctx context.Context, dir string) error
	// caller returns what one of many callers does, again and again: a durable write, waited for. Number is the caller's.
	caller(number, callers int) func(context.Context) error
	pids() []int
	stop() error
}

var errNotInstalled = errors.New("not installed")

// settle lets what a system does in the background after its window not be the next one's.
const settle = 1500 * time.Millisecond

func bench(ctx context.Context, o options, b benchOptions) error {
	dir, remove, err := directory(o)
	if err != nil {
		return err
	}
	defer remove()
	fmt.Printf("%s, %d cores; three processes each; %d rounds of %v, %d entities, %d partitions\n",
		runtime.Version(), runtime.NumCPU(), b.rounds, b.duration, b.entities, o.partitions)
	if err := calibrate(dir); err != nil {
		return err
	}
	ours := &voters{partitions: o.partitions, fault: o.fault, entities: b.entities}
	if err := ours.start(ctx, filepath.Join(dir, "skerry")); err != nil {
		return err
	}
	defer ours.stop()
	if b.idle > 0 { // before anything else runs
		if err := watchIdle(ctx, ours, b.idle); err != nil {
			return err
		}
	}
	if err := compareAll(ctx, dir, ours, b); err != nil {
		return err
	}
	if b.memory > 0 {
		if err := watchMemory(ctx, ours, b.memory); err != nil {
			return err
		}
	}
	if n := ours.unknown.Load(); n > 0 {
		fmt.Printf("%d outcomes were unknown, because owners changed: this machine was too busy for an election time-out\n", n)
	}
	return nil
}

// compareAll starts the peers, and compares, for each number in flight.
func compareAll(ctx context.Context, dir string, ours *voters, b benchOptions) error {
	systems := []system{ours}
	defer func() {
		for _, s := range systems[1:] {
			if err := s.stop(); err != nil {
				fmt.Fprintf(os.Stderr, "bench: stop %s: %v\n", s.name(), err)
			}
		}
	}()
	for i, s := range []system{&etcd{keys: b.entities}, &nats{subjects: b.entities}} {
		if !strings.Contains(strings.ToLower(s.name()), strings.ToLower(b.only)) {
			continue
		}
		switch err := s.start(ctx, filepath.Join(dir, fmt.Sprint("peer", i))); {
		case errors.Is(err, errNotInstalled):
			fmt.Printf("%s: %v\n", s.name(), err)
		case err != nil:
			return fmt.Errorf("start %s: %w", s.name(), err)
		default:
			systems = append(systems, s)
		}
	}
	for part := range strings.SplitSeq(b.inflight, ",") {
		var inflight int
		if _, err := fmt.Sscan(part, &inflight); err != nil || inflight < 1 {
			return fmt.Errorf("-inflight %q: want numbers from 1", b.inflight)
		}
		if err := compare(ctx, systems, inflight, b); err != nil {
			return err
		}
	}
	return nil
}

// figures are what the windows of one system gave.
type figures struct {
	rates, cpu []float64
	latency    *hdrhistogram.Histogram // microseconds
}

// compare runs every system once a round, and prints the median of each, and the median over the rounds of the ratio of ours
// to each other's of the same round.
func compare(ctx context.Context, systems []system, inflight int, b benchOptions) error {
	all := make([]figures, len(systems))
	for i := range all {
		all[i].latency = hdrhistogram.New(1, 60_000_000, 3)
	}
	for range b.rounds {
		for i, s := range systems {
			before := cpuOf(s.pids())
			count, elapsed, err := window(ctx, s, inflight, b.duration, all[i].latency)
			if err != nil {
				return fmt.Errorf("run %s: %w", s.name(), err)
			}
			all[i].rates = append(all[i].rates, float64(count)/elapsed.Seconds())
			all[i].cpu = append(all[i].cpu, float64((cpuOf(s.pids())-before).Microseconds())/float64(max(1, count)))
			pause(ctx, settle)
		}
	}
	fmt.Printf("\n%d in flight\n%-30s %12s %9s %9s %14s %14s\n", inflight, "", "op/s median", "p50 ms", "p99 ms", "servers µs/op", "skerry ÷ this")
	for i, s := range systems {
		f := &all[i]
		ratios := make([]float64, len(f.rates))
		for j := range ratios {
			ratios[j] = all[0].rates[j] / f.rates[j]
		}
		fmt.Printf("%-30s %12.0f %9.2f %9.2f %14.1f %14.2f\n", s.name(), median(f.rates),
			float64(f.latency.ValueAtQuantile(50))/1000, float64(f.latency.ValueAtQuantile(99))/1000, median(f.cpu), median(ratios))
	}
	return ctx.Err()
}

// window has as many callers as are in flight, each waiting for its answer before it asks again.
func window(ctx context.Context, s system, inflight int, duration time.Duration, latency *hdrhistogram.Histogram) (int, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, duration+30*time.Second)
	defer cancel()
	took, errs := make([][]int64, inflight), make([]error, inflight)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range inflight {
		all.Go(func() {
			ask := s.caller(i, inflight)
			for from := begin; from.Sub(begin) < duration; {
				if errs[i] = ask(ctx); errs[i] != nil {
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(from).Microseconds())
				from = now
			}
		})
	}
	all.Wait()
	elapsed, count := time.Since(begin), 0
	for _, list := range took {
		count += len(list)
		for _, t := range list {
			_ = latency.RecordValue(max(1, t)) // a minute is the most it records
		}
	}
	return count, elapsed, errors.Join(errs...)
}

func median(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }

// voters are ours, with production's settings.
type voters struct {
	partitions, entities int
	fault                string
	cluster              *cluster
	seqs                 []persistence.Seq // by entity; each is of one caller at a time
	unknown              atomic.Int64      // outcomes, because an owner changed
}

func (*voters) name() string { return "skerry, log and store" }

func (v *voters) start(ctx context.Context, dir string) (err error) {
	v.seqs = make([]persistence.Seq, v.entities)
	if v.cluster, err = startCluster(ctx, dir, v.partitions, false, v.fault); err != nil {
		return err
	}
	turn := 0
	v.cluster.spread(ctx, func() int { turn++; return turn % nodes }) // as placement will: a third of the partitions each
	return v.cluster.settled(ctx, time.Minute)
}

func (v *voters) stop() error { return v.cluster.stop() }

func (v *voters) pids() []int {
	var pids []int
	for _, p := range v.cluster.processes {
		pids = append(pids, p.pid())
	}
	return pids
}

func (v *voters) caller(number, callers int) func(context.Context) error {
	answered := make(chan answer, 1)
	mine := (v.entities - number + callers - 1) / callers // number, number + callers, …
	return func(ctx context.Context) error {
		entity := uint64(number + callers*rand.IntN(mine)) //nolint:gosec // not negative
		for {
			seq := v.seqs[entity] + 1
			a, err := v.ask(ctx, answered, request{op: opAppend, entity: entity, seq: seq, entry: encodeEntry(entity, seq, 1)})
			switch {
			case err != nil:
				return err
			case a.code == codeOK:
				v.seqs[entity] = seq
				return nil
			case a.code != codeUnknown && a.code != codeRefused:
				return fmt.Errorf("append: code %d: %s", a.code, a.body)
			}
			v.unknown.Add(1) // the owner has changed: where does the entity stand?
			a, err = v.ask(ctx, answered, request{op: opRead, entity: entity})
			if err != nil {
				return err
			}
			f, err := decodeFound(a.body)
			if err != nil || a.code != codeOK {
				return fmt.Errorf("read: code %d: %s: %w", a.code, a.body, err)
			}
			v.seqs[entity] = f.last
		}
	}
}

// answer is a response, or why there is none.
type answer struct {
	response
	err error
}

// ask follows the owner until somebody answers.
func (v *voters) ask(ctx context.Context, answered chan answer, q request) (response, error) {
	p := partitionOf(q.entity, v.partitions)
	for {
		node := int(v.cluster.route[p].Load())
		v.cluster.links[node].send(q, func(r response, err error) { answered <- answer{r, err} })
		select {
		case a := <-answered:
			if a.err != nil || a.code != codeNotOwner && a.code != codeBusy {
				return a.response, a.err
			}
			v.cluster.missed(p, node)
			pause(ctx, time.Millisecond)
		case <-ctx.Done():
			return response{}, ctx.Err()
		}
	}
}

// watchIdle prints what three idle voters take.
func watchIdle(ctx context.Context, v *voters, watch time.Duration) error {
	pause(ctx, 3*time.Second)
	before := cpuOf(v.pids())
	pause(ctx, watch)
	used := cpuOf(v.pids()) - before
	fmt.Printf("idle for %v: the three processes take %.1f %% of one core together\n", watch, 100*used.Seconds()/watch.Seconds())
	return ctx.Err()
}

// watchMemory prints the resident memory of the voters under load, every five seconds.
func watchMemory(ctx context.Context, v *voters, watch time.Duration) error {
	fmt.Printf("\nresident memory under load, 512 in flight, MiB of each process\n")
	done := make(chan error, 1)
	latency := hdrhistogram.New(1, 60_000_000, 3)
	begin := time.Now()
	go func() {
		count, elapsed, err := window(ctx, v, 512, watch, latency)
		fmt.Printf("%d changes, %.0f a second\n", count, float64(count)/elapsed.Seconds())
		done <- err
	}()
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			fmt.Printf("%4.0f s:", time.Since(begin).Seconds())
			for _, pid := range v.pids() {
				fmt.Printf(" %6.0f", float64(residentOf(pid))/(1<<20))
			}
			fmt.Println()
		}
	}
}

// calibrate prints what one durable 4 KiB write costs on this disk.
func calibrate(dir string) error {
	file, err := os.Create(filepath.Join(dir, "calibration"))
	if err != nil {
		return err
	}
	defer file.Close()
	const blocks, size = 200, 4096
	if _, err := file.Write(make([]byte, blocks*size)); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	var medians []time.Duration
	for _, base := range []int64{0, blocks * size} { // over what is there, then behind it
		var took []time.Duration
		for i := range int64(blocks) {
			from := time.Now()
			if _, err := file.WriteAt(make([]byte, size), base+i*size); err != nil {
				return err
			}
			if err := syscall.Fdatasync(int(file.Fd())); err != nil {
				return err
			}
			took = append(took, time.Since(from))
		}
		medians = append(medians, quantile(took, 0.5).Round(time.Microsecond))
	}
	fmt.Printf("fdatasync of 4 KiB, median of %d: %v overwriting, %v appending\n", blocks, medians[0], medians[1])
	return nil
}

// cpuOf returns the user and system time that processes have used so far; what cannot be read counts nothing.
func cpuOf(pids []int) time.Duration {
	var ticks int64
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		var user, system int64
		if fields := strings.Fields(rest); len(fields) > 12 {
			_, _ = fmt.Sscan(fields[11], &user)
			_, _ = fmt.Sscan(fields[12], &system)
		}
		ticks += user + system
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on Linux
}

// residentOf returns a process's resident bytes, 0 when it cannot be read.
func residentOf(pid int) int64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	_, _ = fmt.Sscan(string(statm), &size, &resident)
	return resident * int64(os.Getpagesize())
}
