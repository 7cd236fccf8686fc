package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/loadtest/peers"
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

func bench(ctx context.Context, o options, b benchOptions) error {
	dir, remove, err := directory(o)
	if err != nil {
		return err
	}
	defer remove()
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
	if err := compare(ctx, ours, o, b); err != nil {
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

// compare measures the voters beside peers with three members, interleaved.
func compare(ctx context.Context, ours *voters, o options, b benchOptions) error {
	measured := peers.Options{
		Nodes: nodes, Rounds: b.rounds, Window: b.duration, Players: b.entities, Dir: o.dir,
		Watch: func(p peers.Progress) { fmt.Fprintln(os.Stderr, p.Text) },
	}
	for part := range strings.SplitSeq(b.inflight, ",") {
		var inflight int
		if _, err := fmt.Sscan(part, &inflight); err != nil {
			return fmt.Errorf("-inflight %q: want numbers", b.inflight)
		}
		measured.Inflight = append(measured.Inflight, inflight)
	}
	systems := []peers.System{measuredVoters{ours}}
	for _, s := range []peers.System{peers.Etcd(nodes), peers.NATS(nodes)} {
		if strings.Contains(strings.ToLower(s.Name()), strings.ToLower(b.only)) {
			systems = append(systems, s)
		}
	}
	found, err := peers.Compare(ctx, systems, measured)
	if found != nil {
		err = errors.Join(found.Text(os.Stdout), err)
	}
	return err
}

// measuredVoters are voters as a system; they run already, and longer.
type measuredVoters struct{ *voters }

func (measuredVoters) Name() string                             { return "Skerry, log and store" }
func (measuredVoters) Start(context.Context, string, int) error { return nil }
func (measuredVoters) Stop(context.Context) error               { return nil }
func (v measuredVoters) PIDs() []int                            { return v.pids() }
func (measuredVoters) Does(op peers.Op, way peers.Way) bool {
	return op == peers.Durable && way == peers.ByCallers
}

func (v measuredVoters) Run(ctx context.Context, _ peers.Op, _ peers.Way, inflight int, duration time.Duration) (peers.Window, error) {
	return v.window(ctx, inflight, duration)
}

// voters are ours, with production's settings.
type voters struct {
	partitions, entities int
	fault                string
	cluster              *cluster
	seqs                 []persistence.Seq // by entity; each is of one caller at a time
	unknown              atomic.Int64      // outcomes, because an owner changed
}

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

// window has callers who write, each waiting for its answer.
func (v *voters) window(ctx context.Context, inflight int, duration time.Duration) (peers.Window, error) {
	return peers.Callers(ctx, inflight, duration, func(number int) func(context.Context) error { return v.caller(number, inflight) })
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
	begin := time.Now()
	go func() {
		w, err := v.window(ctx, 512, watch)
		fmt.Printf("%d changes, %.0f a second\n", w.Operations, float64(w.Operations)/max(1, w.Elapsed.Seconds()))
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
