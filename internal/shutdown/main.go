// Command shutdown holds a real node against what it promises for its end: told to stop (SIGTERM) with thousands of dirty
// players and under load, it saves all of them in time and says so; killed in the middle of that, it loses nothing durable.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

type options struct {
	players, kills int
	seed           uint64
	limit          time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.players, "players", 10_000, "players that are dirty when the node is told to stop")
	flag.IntVar(&o.kills, "kills", 5, "how often the node is killed in the middle of stopping")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the moments of the kills")
	flag.DurationVar(&o.limit, "limit", 20*time.Second, "the longest that stopping may take")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "shutdown: FAILED (seed %d): %v\n", o.seed, err)
		os.Exit(1)
	}
}

// trial is one node that is stopped again and again, and what its players were answered.
type trial struct {
	options
	program, home, addr string

	rng    *rand.Rand
	node   *clustertest.Process
	client *client.Client
	crowd  *crowd
}

func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute+time.Duration(o.kills)*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "skerry-shutdown")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := clustertest.Build(ctx, dir, "")
	if err != nil {
		return err
	}
	addr, err := clustertest.FreeAddr()
	if err != nil {
		return err
	}
	t := &trial{options: o, program: program, home: filepath.Join(dir, "node"), addr: addr, rng: rand.New(rand.NewPCG(o.seed, 0))}
	fmt.Printf("seed %d, %d players\n", o.seed, o.players)
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer func() { _, _ = t.client.Close(), t.node.Kill() }()
	took, err := t.graceful(ctx)
	for n := 0; err == nil && n < o.kills; n++ {
		err = t.killed(ctx, took)
	}
	return err
}

// begin starts the node and opens everybody.
func (t *trial) begin(ctx context.Context) (err error) {
	if err := t.start(ctx); err != nil {
		return err
	}
	if t.client, err = client.Dial(ctx, t.addr, client.Options{Timeout: time.Minute}); err != nil {
		return errors.Join(err, t.node.Kill())
	}
	if t.crowd, err = open(ctx, t.client, t.players); err != nil {
		return errors.Join(err, t.client.Close(), t.node.Kill())
	}
	return nil
}

func (t *trial) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	node, err := clustertest.Start(ctx, t.program, t.home, "--grpc", t.addr, "--autosave-interval", "1h") // what is dirty stays dirty
	if err == nil {
		t.node = node
	}
	return err
}

// soil makes every player dirty, with something that only memory has, and says how many the node counts.
func (t *trial) soil(ctx context.Context) error {
	if err := t.crowd.soil(ctx); err != nil {
		return err
	}
	const name = "skerry_actors_dirty"
	metrics, err := t.node.Metrics(ctx, name)
	if err != nil {
		return err
	}
	if dirty := metrics[name]; int(dirty) < t.players {
		return fmt.Errorf("the node counts %.0f dirty entities, want all %d players", dirty, t.players)
	}
	return nil
}

// graceful tells the node to stop under load, and returns how long that took.
func (t *trial) graceful(ctx context.Context) (time.Duration, error) {
	if err := t.soil(ctx); err != nil {
		return 0, err
	}
	load := t.crowd.load(ctx)
	from := time.Now()
	stopping, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	err := t.node.Stop(stopping)
	took := time.Since(from)
	if err != nil {
		return took, errors.Join(err, load.end())
	}
	said, saved, err := report(t.node.Log())
	if err == nil && saved < t.players {
		err = fmt.Errorf("%d of %d dirty players were saved: %s", saved, t.players, said)
	}
	if err != nil {
		return took, errors.Join(err, load.end())
	}
	fmt.Printf("stopped in %v; its log: %s\n", took.Round(time.Millisecond), said)
	if err := t.start(ctx); err != nil {
		return took, errors.Join(err, load.end())
	}
	if err := load.end(); err != nil {
		return took, err
	}
	lost, err := t.crowd.verify(ctx, t.client)
	if err == nil && lost > 0 {
		err = fmt.Errorf("%d MEMORY commands were lost by a node that was told to stop", lost)
	}
	if err != nil {
		return took, err
	}
	fmt.Printf("started again: all %d players whole, %d DURABLE commands answered around the stop, none lost or doubled\n", t.players, load.answered())
	return took, nil
}

// killed tells the node to stop under load, and kills it somewhere within half of the time that stopping took.
func (t *trial) killed(ctx context.Context, took time.Duration) error {
	if err := t.soil(ctx); err != nil {
		return err
	}
	load := t.crowd.load(ctx)
	if err := t.node.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, load.end())
	}
	delay := time.Duration(t.rng.Int64N(int64(took) / 2)) // later stops take less than the first
	timer := time.NewTimer(delay)
	defer timer.Stop()
	when := "in the middle"
	select {
	case <-timer.C:
	case <-t.node.Exited():
		when = "too late, it had stopped"
	case <-ctx.Done():
		return errors.Join(ctx.Err(), load.end())
	}
	if err := errors.Join(t.node.Kill(), t.start(ctx)); err != nil {
		return errors.Join(err, load.end())
	}
	if err := load.end(); err != nil {
		return err
	}
	lost, err := t.crowd.verify(ctx, t.client)
	if err != nil {
		return fmt.Errorf("killed %v after SIGTERM: %w", delay, err)
	}
	fmt.Printf("killed %v after SIGTERM (%s): %d DURABLE commands answered around it, none lost or doubled; %d of %d MEMORY commands lost\n",
		delay.Round(time.Millisecond), when, load.answered(), lost, t.players)
	return nil
}

var savedLine = regexp.MustCompile(`entities saved.* saved=(\d+) .*failed=(\d+)`)

// report finds what the node's log says of its newest stop.
func report(log string) (line string, saved int, err error) {
	all := savedLine.FindAllStringSubmatch(log, -1)
	if len(all) == 0 {
		return "", 0, errors.New("the log does not say what was saved")
	}
	last := all[len(all)-1]
	if last[2] != "0" {
		return last[0], 0, fmt.Errorf("saves failed: %s", last[0])
	}
	saved, err = strconv.Atoi(last[1])
	return last[0], saved, err
}
