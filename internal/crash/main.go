// Command crash runs a real node under load, kills it with SIGKILL at random moments, and counts: no acknowledged DURABLE
// command may be lost or doubled, MEMORY commands only as a suffix within the window, nothing quarantined.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

type options struct {
	kills   int
	players int
	seed    uint64
	tags    string
	window  time.Duration
	keep    bool
}

func main() {
	var o options
	flag.IntVar(&o.kills, "kills", 100, "how often the node is killed")
	flag.IntVar(&o.players, "players", 64, "players that play at once")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the workload and the moments of the kills")
	flag.StringVar(&o.tags, "tags", "", "build tags of the node: a mutation must make this program fail")
	flag.DurationVar(&o.window, "window", 1500*time.Millisecond, "greatest age of a lost MEMORY command: the journal interval of 1 s and one append on a busy machine")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "crash: FAILED (seed %d): %v\n", o.seed, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(o.kills)*20*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "skerry-crash")
	if err != nil {
		return err
	}
	fmt.Printf("seed %d, %d kills, %d players, in %s\n", o.seed, o.kills, o.players, dir)
	if !o.keep {
		defer os.RemoveAll(dir)
	}
	program, err := clustertest.Build(ctx, dir, o.tags)
	if err != nil {
		return err
	}
	addr, err := clustertest.FreeAddr() // the same in every life, so that the client finds it again
	if err != nil {
		return err
	}
	l := &loop{options: o, program: program, dir: dir, addr: addr, rng: rand.New(rand.NewPCG(o.seed, 0)), kills: newKills()}
	return l.run(ctx)
}

// loop is one run: a node that is killed again and again, and the workers.
type loop struct {
	options
	program, dir, addr string

	rng     *rand.Rand
	kills   *kills
	node    *clustertest.Process
	workers []*worker
}

func (l *loop) run(ctx context.Context) error {
	if err := l.start(ctx); err != nil {
		return err
	}
	defer func() { _ = l.node.Kill() }()
	c, err := client.Dial(ctx, l.addr, client.Options{Timeout: time.Minute})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := l.open(ctx, c); err != nil {
		return err
	}
	if err := l.killUnderLoad(ctx); err != nil {
		return err
	}
	return l.finish(ctx)
}

func (l *loop) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	node, err := clustertest.Start(ctx, l.program, l.dir, "--grpc", l.addr)
	if err == nil {
		l.node = node
	}
	return err
}

func (l *loop) open(ctx context.Context, c *client.Client) error {
	server, err := c.RegisterServer(ctx, "crash", client.ServerOptions{})
	if err != nil {
		return err
	}
	for i := range l.players {
		p, err := server.OpenPlayer(ctx, fmt.Sprintf("p%d", i), client.OpenOptions{Name: "Crash"})
		if err != nil {
			return err
		}
		w := &worker{client: c, player: p, kills: l.kills, window: l.window, rng: rand.New(rand.NewPCG(l.seed, uint64(i)+1))}
		if w.ledger.base, err = read(ctx, c, p.ID()); err != nil {
			return err
		}
		l.workers = append(l.workers, w)
	}
	return nil
}

// killUnderLoad lets the workers play while the node dies and returns. It ends when all of it has ended.
func (l *loop) killUnderLoad(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	var playing sync.WaitGroup
	for _, w := range l.workers {
		playing.Go(func() {
			if err := w.run(ctx, stop); err != nil {
				cancel(err)
			}
		})
	}
	for n := 0; n < l.options.kills && ctx.Err() == nil; n++ {
		if err := l.killOnce(ctx, n); err != nil {
			cancel(err)
		}
	}
	close(stop)
	playing.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return nil
}

func (l *loop) killOnce(ctx context.Context, n int) error {
	timer := time.NewTimer(20*time.Millisecond + time.Duration(l.rng.Int64N(int64(2*time.Second))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.node.Exited():
		return fmt.Errorf("the node ended by itself:\n%s", lastLines(l.node.Log()))
	case <-ctx.Done():
		return ctx.Err()
	}
	l.kills.begin()
	if err := l.node.Kill(); err != nil {
		return err
	}
	for l.rng.IntN(5) == 0 { // now and then also in the middle of a recovery
		delay := time.Duration(l.rng.Int64N(int64(300 * time.Millisecond)))
		if err := clustertest.StartAndKill(l.program, l.dir, delay, "--grpc", l.addr); err != nil {
			return err
		}
	}
	if err := l.start(ctx); err != nil {
		return err
	}
	l.kills.serve()
	if n%10 == 9 {
		fmt.Printf("%d kills\n", n+1)
	}
	return nil
}

// finish waits out the window, kills once more, and reads everything back: now nothing at all may be missing.
func (l *loop) finish(ctx context.Context) error {
	select {
	case <-time.After(2 * l.window):
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, w := range l.workers {
		w.ledger.settled = len(w.ledger.memory)
	}
	l.kills.begin()
	if err := l.node.Kill(); err != nil {
		return err
	}
	if err := l.start(ctx); err != nil {
		return err
	}
	l.kills.serve()
	var durable, memory, lost, verifications int
	var window time.Duration
	for _, w := range l.workers {
		if err := w.verify(ctx, nil); err != nil {
			return err
		}
		durable, memory = durable+w.counts.durable, memory+w.counts.memory
		lost, verifications = lost+w.ledger.lost, verifications+w.counts.verifications
		window = max(window, w.ledger.greatestWindow)
	}
	stopping, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := l.node.Stop(stopping); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, l.program, "verify", filepath.Join(l.dir, "data")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("skerry verify: %w\n%s", err, out)
	}
	if log := l.node.Log(); strings.Contains(log, "quarantine") {
		return errors.New("something was quarantined:\n" + lastLines(log))
	}
	fmt.Printf("%d DURABLE answered: 0 lost, 0 doubled; %d MEMORY answered: %d lost, all suffixes, oldest %v before its kill; %d read-backs explained; nothing quarantined\n",
		durable, memory, lost, window.Round(time.Millisecond), verifications)
	return nil
}

func lastLines(log string) string { return log[max(0, len(log)-4000):] }
