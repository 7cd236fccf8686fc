// Command transfers moves items and coins among players and chests of real nodes, of which one after the other is killed with
// SIGKILL, and counts: the sum of every item and of coins stays what it was, and every transfer ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

const world = "fair"

type options struct {
	nodes, kills, transfers, players, chests, workers int
	seed                                              uint64
}

func main() {
	var o options
	flag.IntVar(&o.nodes, "nodes", 1, "nodes of the cluster")
	flag.IntVar(&o.kills, "kills", 100, "how often a node is killed")
	flag.IntVar(&o.transfers, "transfers", 10_000, "how many transfers at least")
	flag.IntVar(&o.players, "players", 200, "players")
	flag.IntVar(&o.chests, "chests", 200, "chests, each in a chunk of its own")
	flag.IntVar(&o.workers, "workers", 32, "transfers at a time")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the transfers and the moments of the kills")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "transfers: FAILED (seed %d): %v\n", o.seed, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute+time.Duration(o.kills)*10*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "skerry-transfers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("seed %d, %d nodes, %d kills, %d transfers among %d players and %d chests\n", o.seed, o.nodes, o.kills, o.transfers, o.players, o.chests)
	program, err := clustertest.Build(ctx, dir, "")
	if err != nil {
		return err
	}
	f := &fair{options: o, cluster: &clustertest.Cluster{Program: program, Dir: dir}}
	defer f.cluster.Close()
	if err = f.start(ctx); err != nil {
		return err
	}
	defer f.client.Close()
	return f.run(ctx)
}

// fair is one run.
type fair struct {
	options
	cluster *clustertest.Cluster
	client  *client.Client

	begun, done, returned, refused, unknown atomic.Int64
}

// startTimeout bounds the start of one node, and how long the cluster takes to be even.
const startTimeout = time.Minute

// start makes the cluster and waits until it is even.
func (f *fair) start(ctx context.Context) (err error) {
	for range f.nodes {
		starting, cancel := context.WithTimeout(ctx, startTimeout)
		_, err = f.cluster.Add(starting)
		cancel()
		if err != nil {
			return err
		}
	}
	if f.client, err = client.Dial(ctx, f.cluster.Addrs(), client.Options{Timeout: time.Minute}); err != nil {
		return err
	}
	settling, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return clustertest.Await(settling, f.client, clustertest.Settled(f.nodes))
}

func (f *fair) run(ctx context.Context) error {
	if err := f.fill(ctx); err != nil {
		return err
	}
	before, err := f.count(ctx)
	if err != nil {
		return err
	}
	if err = f.killUnderLoad(ctx); err != nil {
		return err
	}
	after, err := f.count(ctx)
	if err != nil {
		return err
	}
	if !maps.Equal(before, after) {
		return fmt.Errorf("there is %v, before there was %v", after, before)
	}
	for _, node := range f.cluster.Nodes() {
		if err = f.stopAndVerify(ctx, node); err != nil {
			return err
		}
	}
	fmt.Printf("%d transfers: %d done, %d returned, %d refused at the start, each ended; asked again %d times; %v, as before\n",
		f.begun.Load(), f.done.Load(), f.returned.Load(), f.refused.Load(), f.unknown.Load(), after)
	return nil
}

func (f *fair) stopAndVerify(ctx context.Context, node *clustertest.Member) error {
	stopping, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := node.Stop(stopping); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, f.cluster.Program, "verify", node.DataDir()).CombinedOutput(); err != nil { //nolint:gosec // our own
		return fmt.Errorf("skerry verify: %w\n%s", err, out)
	}
	return nil
}

// fill makes the players and the chests, and gives them what there is.
func (f *fair) fill(ctx context.Context) error {
	server, err := f.client.RegisterServer(ctx, "fair", client.ServerOptions{})
	if err != nil {
		return err
	}
	for i := range f.players {
		p, opening := server.OpenPlayer(ctx, fmt.Sprint("p", i), client.OpenOptions{})
		if opening != nil {
			return opening
		}
		for item := range int32(4) {
			if _, err = p.Give(ctx, item+1, 30+int32(i%40)*(item+1)); err != nil { //nolint:gosec // small
				return err
			}
		}
	}
	w, err := server.OpenWorld(ctx, world, client.WorldOptions{Create: &skerryv1.Create{}})
	if err != nil {
		return err
	}
	for i := range f.chests {
		at := place(i)
		if err = w.PlaceChest(ctx, at); err != nil {
			return err
		}
		if _, err = w.ChestPut(ctx, at, int32(1+i%5), 100); err != nil { //nolint:gosec // small
			return err
		}
	}
	return nil
}

func place(i int) client.Place {
	return client.Place{X: int32(16 * (i % 20)), Y: 1, Z: int32(16 * (i / 20))} //nolint:gosec // small
}

// count counts every item, and coins, wherever they are. Nothing is held: every transfer has ended.
func (f *fair) count(ctx context.Context) (map[string]int64, error) {
	sum := map[string]int64{}
	add := func(stacks []*skerryv1.ItemStack) {
		for _, s := range stacks {
			if s.GetCount() != 0 {
				sum[fmt.Sprint("item ", s.GetItemId())] += int64(s.GetCount())
			}
		}
	}
	for i := range f.players {
		p, err := f.client.Player(ctx, fmt.Sprint("p", i))
		if err != nil {
			return nil, err
		}
		add(p.GetInventory().GetHotbar())
		add(p.GetInventory().GetInventory())
		sum["coins"] += p.GetProfile().GetCoins()
	}
	for chest, err := range f.client.Chests(ctx, world) {
		if err != nil {
			return nil, err
		}
		add(chest.GetSlots())
	}
	return sum, nil
}

// killUnderLoad transfers while the node dies and returns. It ends when enough was done of both.
func (f *fair) killUnderLoad(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var killed atomic.Bool
	var working sync.WaitGroup
	for i := range f.workers {
		working.Go(func() {
			rng := rand.New(rand.NewPCG(f.seed, uint64(i)+1))
			for ctx.Err() == nil && (!killed.Load() || f.begun.Load() < int64(f.transfers)) {
				if err := f.transfer(ctx, rng); err != nil {
					cancel(err)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(f.seed, 0))
	for n := 1; n <= f.kills && ctx.Err() == nil; n++ {
		if err := f.killOnce(ctx, rng); err != nil {
			cancel(err)
		}
		if n%10 == 0 {
			fmt.Printf("%d kills, %d transfers\n", n, f.begun.Load())
		}
	}
	killed.Store(true)
	working.Wait()
	return context.Cause(ctx)
}

func (f *fair) killOnce(ctx context.Context, rng *rand.Rand) error {
	nodes := f.cluster.Nodes()
	node := nodes[rng.IntN(len(nodes))]
	timer := time.NewTimer(20*time.Millisecond + time.Duration(rng.Int64N(int64(time.Second))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-node.Exited():
		return fmt.Errorf("%s ended by itself:\n%s", node.Name, node.Log())
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := node.Kill(); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return node.Start(starting)
}

// transfer makes one transfer, and asks until it has ended.
func (f *fair) transfer(ctx context.Context, rng *rand.Rand) error {
	id := fmt.Sprint("t", f.begun.Add(1))
	legs := f.draw(rng)
	for ctx.Err() == nil {
		made, err := f.client.Transfer(ctx, id, legs...)
		refused, ok := errors.AsType[*client.Error](err)
		switch {
		case err == nil:
			f.done.Add(1)
			return nil
		case made != nil:
			f.returned.Add(1)
			return nil
		case ok && refused.Outcome == client.NotApplied && !refused.Retryable:
			f.refused.Add(1)
			return nil
		case ok:
			f.unknown.Add(1)
		default:
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return nil
}

func (f *fair) draw(rng *rand.Rand) []*client.Leg {
	a, b := rng.IntN(f.players), rng.IntN(f.players-1)
	if b >= a {
		b++
	}
	from, to := client.PlayerParty(fmt.Sprint("p", a)), client.PlayerParty(fmt.Sprint("p", b))
	chest := f.chests > 0 && rng.IntN(2) == 0
	if chest {
		at := place(rng.IntN(f.chests))
		to = &client.Party{Party: &skerryv1.TransferParty_Chest{Chest: &skerryv1.ChestRef{World: world, X: at.X, Y: at.Y, Z: at.Z}}}
	}
	var legs []*client.Leg
	for range 1 + rng.IntN(3) {
		x, y := from, to
		if rng.IntN(2) == 0 {
			x, y = y, x
		}
		if !chest && rng.IntN(2) == 0 {
			legs = append(legs, client.MoveCurrency(x, y, client.Coins, 1+rng.Int64N(50)))
		} else {
			legs = append(legs, client.MoveItems(x, y, int32(1+rng.IntN(5)), int32(1+rng.IntN(40)))) //nolint:gosec // small
		}
	}
	return legs
}
