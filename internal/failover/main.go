// Command failover runs clusters of real nodes under load and does to them what happens to clusters: nodes are killed, frozen,
// drained, restarted, added and removed. It prints how long nobody answered for the entities concerned, and fails when anything
// that was answered is lost or doubled, or when a call fails that should not. The scenario idle leaves the nodes alone and measures
// what they take.
//
//	go run ./internal/failover -scenario kill -rounds 30
//	go run ./internal/failover -scenario grow
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/internal/clustertest"
	"github.com/skerry-dev/skerry/internal/network"
)

// exitNotPossible is the exit code when this machine does not allow what the scenario needs.
const exitNotPossible = 3

type options struct {
	scenario string
	rounds   int
	players  int
	inFlight int
	seed     uint64
	worlds   string
	tags     string
	from     string
	slow     bool
	keep     bool
	cuts     string
	enclosed bool // in a network of its own
}

func main() {
	var o options
	flag.StringVar(&o.scenario, "scenario", "kill", "kill, freeze, drain, restart, upgrade, grow, disasters, partition or idle")
	flag.IntVar(&o.rounds, "rounds", 30, "how often")
	flag.IntVar(&o.players, "players", 1000, "players")
	flag.IntVar(&o.inFlight, "inflight", 64, "durable commands in flight")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of whom it hits, and when")
	flag.StringVar(&o.worlds, "worlds", "", "directory of VXC1 files to be imported (grow)")
	flag.StringVar(&o.tags, "tags", "", "build tags of the nodes")
	flag.BoolVar(&o.slow, "slow-saves", false, "every snapshot takes 1.5 s, and is made every second: handovers must not wait for them")
	flag.StringVar(&o.from, "from", "HEAD~1", "the revision that upgrade begins with")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory, with the nodes' logs")
	flag.StringVar(&o.cuts, "cuts", "", "of the scenario partition: some of alone,with-one,mute,deaf,link,loss; all without")
	flag.BoolVar(&o.enclosed, ownNetwork[1:], false, "for its own use")
	flag.Parse()
	if o.scenario == "partition" && !o.enclosed {
		if err := enclose(); err != nil {
			fmt.Fprintf(os.Stderr, "failover: the scenario partition is NOT POSSIBLE HERE, nothing was tested: %v\n", err)
			os.Exit(exitNotPossible)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	err := run(ctx, o)
	if errors.Is(err, network.ErrNotPossible) {
		fmt.Fprintf(os.Stderr, "failover: the scenario %s is NOT POSSIBLE HERE, nothing was tested: %v\n", o.scenario, err)
		os.Exit(exitNotPossible)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "failover: FAILED (scenario %s, seed %d): %v\n", o.scenario, o.seed, err)
		os.Exit(1)
	}
}

// cluster is a run: the nodes and the load.
type cluster struct {
	options
	*clustertest.Cluster

	rng    *rand.Rand
	net    *network.Network // of the scenario partition
	client *client.Client
	load   *load
	built  *worlds // nil: none
}

func run(ctx context.Context, o options) error {
	scenarios := map[string]func(*cluster, context.Context) error{
		"kill": (*cluster).kill, "freeze": (*cluster).freeze, "drain": (*cluster).drain, "restart": (*cluster).restart, "grow": (*cluster).grow,
		"disasters": (*cluster).disasters, "partition": (*cluster).partition,
		"upgrade": (*cluster).upgrade, "idle": (*cluster).idle,
	}
	scenario := scenarios[o.scenario]
	if scenario == nil {
		return fmt.Errorf("no such scenario: %q", o.scenario)
	}
	perRound := 30 * time.Second
	var net *network.Network
	if o.enclosed {
		perRound = 2 * time.Minute
		var err error
		if net, err = network.Open(partitionNodes, o.seed); err != nil {
			return err
		}
		defer net.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute+time.Duration(o.rounds)*perRound)
	defer cancel()
	dir, err := os.MkdirTemp("", "skerry-failover")
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Println("in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	var args []string
	if o.slow {
		o.tags = "faults"
		args = []string{"--autosave-interval", "1s"}
		if err := os.Setenv("SKERRY_FAULT", "slow-saves"); err != nil { // for the nodes
			return err
		}
	}
	program, err := clustertest.Build(ctx, dir, o.tags)
	if err != nil {
		return err
	}
	c := &cluster{options: o, net: net, Cluster: &clustertest.Cluster{Program: program, Dir: dir, Args: args}, rng: rand.New(rand.NewPCG(o.seed, 0))}
	defer c.Close()
	err = scenario(c, ctx)
	if c.client != nil {
		err = errors.Join(err, c.client.Close())
	}
	return err
}

// start makes a cluster of so many nodes and opens the players.
func (c *cluster) start(ctx context.Context, nodes int) error {
	began := time.Now()
	for range nodes {
		if _, err := c.Add(ctx); err != nil {
			return err
		}
	}
	var err error
	if c.client, err = client.Dial(ctx, c.Addrs(), client.Options{Timeout: 30 * time.Second}); err != nil {
		return err
	}
	if err = c.settled(ctx, nodes); err != nil {
		return err
	}
	fmt.Printf("%d nodes in %v, seed %d\n", nodes, time.Since(began).Round(time.Millisecond), c.seed)
	c.load, err = openLoad(ctx, c.client, c.players)
	return err
}

// settled waits until the cluster is as it should be with so many nodes.
func (c *cluster) settled(ctx context.Context, nodes int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.await(ctx, clustertest.Settled(nodes))
}

// await waits until the cluster is as wanted.
func (c *cluster) await(ctx context.Context, wanted func(*skerryv1.GetClusterResponse) error) error {
	return clustertest.Await(ctx, c.client, wanted)
}

// finish stops the load and counts.
func (c *cluster) finish(ctx context.Context) error {
	c.load.end()
	if c.built != nil {
		c.built.end()
		acked, lost, failed, err := c.verifyWorlds(ctx, c.built)
		if err != nil {
			return err
		}
		fmt.Printf("%d worlds are as they were; %d blocks acknowledged in another, %d calls failed, %d blocks lost\n", len(c.built.files), acked, len(failed), lost)
		if lost > 0 || len(failed) > 0 {
			return fmt.Errorf("%d blocks lost, %d calls failed: %w", lost, len(failed), errors.Join(failed[:min(3, len(failed))]...))
		}
	}
	v, err := c.load.verify(ctx)
	if err != nil {
		return err
	}
	failed := c.load.failures()
	fmt.Printf("%d acknowledged, %d failed (%d of them may have been applied): %d lost, %d doubled\n", v.acked, len(failed), v.doubt, v.lost, v.doubled)
	if len(failed) > 0 {
		fmt.Println("the first failure:", failed[0])
	}
	switch {
	case v.lost > 0 || v.doubled > 0:
		return fmt.Errorf("%d lost, %d doubled", v.lost, v.doubled)
	case v.acked == 0:
		return errors.New("nothing was acknowledged")
	case len(failed) > 0:
		return fmt.Errorf("%d calls failed within %v: %w", len(failed), callDeadline, failed[0])
	}
	return nil
}

// pause lets time pass.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// line prints quantiles.
func line(what string, sorted []time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d", what, len(sorted))
	for _, q := range []struct {
		name string
		at   float64
	}{{"median", 0.5}, {"p99", 0.99}, {"worst", 1}} {
		fmt.Fprintf(&b, ", %s %v", q.name, quantile(sorted, q.at).Round(100*time.Microsecond))
	}
	return b.String()
}
