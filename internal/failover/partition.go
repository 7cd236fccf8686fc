package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/clustertest"
	"github.com/skerry-dev/skerry/internal/network"
)

const (
	partitionNodes = 3
	// cutLasts is how long a cut lasts: longer than elections, and than a call may take.
	cutLasts = 6 * time.Second
	// lossLasts is how long packets are lost, and lossShare how many.
	lossLasts = 10 * time.Second
	lossShare = 0.2
	// electionTimeout is the longest: afterwards a node without a majority knows that it has none.
	electionTimeout = 2 * time.Second
	// ownNetwork is said to the program that runs in a network of its own.
	ownNetwork = "-own-network"
)

// cut is a way in which the network fails. It hits one node; the others are the next ones, in a circle.
type cut struct {
	name  string
	lasts time.Duration
	// minority says that the node that is hit can do nothing.
	minority bool
	// mayFail says that calls may: there is a majority, but its messages take too long.
	mayFail bool
	// owns is whose entities are watched, of the node and its two others.
	owns int
	lose func(n *network.Network, hosts [3]int)
}

// cuts are all that there are.
func cuts() []cut {
	return []cut{
		{"alone", cutLasts, true, false, 0, func(n *network.Network, h [3]int) { both(n, h[0], h[1], 1); both(n, h[0], h[2], 1) }},
		{"with-one", cutLasts, true, false, 1, func(n *network.Network, h [3]int) { both(n, h[0], h[1], 1); both(n, h[0], h[2], 1) }},
		{"mute", cutLasts, true, false, 0, func(n *network.Network, h [3]int) { n.Lose(h[0], h[1], 1); n.Lose(h[0], h[2], 1) }},
		{"deaf", cutLasts, true, false, 0, func(n *network.Network, h [3]int) { n.Lose(h[1], h[0], 1); n.Lose(h[2], h[0], 1) }},
		{"link", cutLasts, false, false, 0, func(n *network.Network, h [3]int) { both(n, h[0], h[1], 1) }},
		{"loss", lossLasts, false, true, 0, func(n *network.Network, h [3]int) {
			for i := range h {
				both(n, h[i], h[(i+1)%3], lossShare)
			}
		}},
	}
}

func both(n *network.Network, a, b int, share float64) {
	n.Lose(a, b, share)
	n.Lose(b, a, share)
}

// chosenCuts are those that the option names, or all.
func chosenCuts(names string) ([]cut, error) {
	all := cuts()
	if names == "" {
		return all, nil
	}
	var chosen []cut
	for name := range strings.SplitSeq(names, ",") {
		at := slices.IndexFunc(all, func(c cut) bool { return c.name == name })
		if at < 0 {
			return nil, fmt.Errorf("no such cut: %q", name)
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}

// enclose runs this program again in a network of its own, and waits for it.
func enclose() error {
	err := network.Enclose(ownNetwork)
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(ended.ExitCode()) // it has said why
	}
	return err
}

// partition cuts links between nodes under load: who has no majority accepts and shows nothing, who has one goes on, and after
// healing all have the same.
func (c *cluster) partition(ctx context.Context) error {
	chosen, err := chosenCuts(c.cuts)
	if err != nil {
		return err
	}
	fmt.Println("each node in a network namespace of its own, packets between them carried and dropped by this program")
	c.Hosts = func(number int) clustertest.Host {
		return clustertest.Host{Addr: c.net.Addr(number), Do: func(do func()) { c.net.Do(number, do) }}
	}
	if err = c.start(ctx, partitionNodes); err != nil {
		return err
	}
	c.load.beginEach(ctx) // so that nobody waits for those that are cut off
	doors, err := openDoors(ctx, c)
	if err != nil {
		return err
	}
	doors.begin(ctx)
	for round := range c.rounds {
		for _, k := range chosen {
			if err = c.cutOnce(ctx, doors, k); err != nil {
				doors.end()
				return fmt.Errorf("round %d, %s: %w", round+1, k.name, err)
			}
		}
	}
	doors.end()
	err = errors.Join(c.finish(ctx), doors.verify(ctx))
	if err != nil {
		return err
	}
	if err := c.replicasEqual(ctx); err != nil {
		return err
	}
	return c.stopAll(ctx)
}

// cutOnce cuts, waits, heals, and waits until the cluster is as it was.
func (c *cluster) cutOnce(ctx context.Context, doors *doors, k cut) error {
	if err := pause(ctx, time.Second+time.Duration(c.rng.Int64N(int64(time.Second)))); err != nil {
		return err
	}
	hit := c.rng.IntN(3)
	hosts := [3]int{hit + 1, (hit+1)%3 + 1, (hit+2)%3 + 1}
	watched := c.Nodes()[hosts[k.owns]-1].Name
	players, err := c.ownedBy(ctx, watched)
	if err != nil {
		return err
	}
	owner, err := c.owners(ctx)
	if err != nil {
		return err
	}
	doors.aim(hit, func(id string) bool { return owner(id) == c.Nodes()[hit].Name })
	c.load.mark()
	if failed := c.load.failures(); len(failed) > 0 {
		return fmt.Errorf("%d calls failed before the cut: %w", len(failed), failed[0])
	}
	askedBefore := doors.counts(hit)
	_, droppedBefore := c.net.Packets()
	cutAt := time.Now()
	k.lose(c.net, hosts)
	if err := pause(ctx, time.Until(cutAt.Add(k.lasts))); err != nil {
		return err
	}
	healedAt := time.Now()
	c.net.Heal()
	asked := doors.counts(hit).less(askedBefore)
	gaps, failed, err := c.healed(ctx, k, cutAt, players)
	if err != nil {
		return fmt.Errorf("after healing: %w", err)
	}
	_, dropped := c.net.Packets()
	fmt.Printf("%s: %s is hit for %v, %d packets dropped; %s; %d calls failed; asked at its own door: %v\n",
		k.name, c.Nodes()[hit].Name, healedAt.Sub(cutAt).Round(time.Millisecond), dropped-droppedBefore, line("entities of "+watched, gaps), failed, asked)
	switch {
	case !k.mayFail && len(gaps) > 0 && gaps[len(gaps)-1] >= k.lasts:
		return errors.New("the majority did not answer before the healing")
	case dropped == droppedBefore:
		return errors.New("no packet was dropped: nothing was tested")
	case k.minority && asked.reads+asked.writes == 0:
		return errors.New("nobody asked the minority: nothing was tested")
	case k.minority:
		err = doors.judge(hit, cutAt.Add(electionTimeout), healedAt)
	}
	return errors.Join(err, doors.stale())
}

// healed waits, after healing, until the players were answered and the cluster is as it was. It returns how long the players
// waited since the cut, and how many calls failed; those that may are forgotten.
func (c *cluster) healed(ctx context.Context, k cut, cutAt time.Time, players []int) (gaps []time.Duration, failed int, err error) {
	healedAt := time.Now()
	waiting, cancel := context.WithTimeout(ctx, 2*callDeadline)
	gaps, err = c.load.since(waiting, cutAt, players)
	cancel()
	if err == nil {
		err = c.settled(ctx, partitionNodes)
	}
	if err != nil {
		return nil, 0, err
	}
	fmt.Printf("settled %v after healing; ", time.Since(healedAt).Round(time.Millisecond))
	if !k.mayFail {
		return gaps, len(c.load.failures()), nil
	}
	err = pause(ctx, time.Until(healedAt.Add(callDeadline))) // which ends the calls that began before
	return gaps, c.load.forgive(), err
}

// stopAll stops every node at once, and looks whether its directory is whole.
func (c *cluster) stopAll(ctx context.Context) error {
	for _, node := range c.Nodes() {
		if err := node.Kill(); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, c.Program, "verify", node.DataDir()).CombinedOutput() //nolint:gosec // the program under test
		if err != nil {
			return fmt.Errorf("verify %s: %w\n%s", node.Name, err, out)
		}
	}
	fmt.Println("every node killed, every directory verified: no problems")
	return nil
}
