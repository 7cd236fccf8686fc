package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// owners returns a function that says which node owned a player a moment ago.
func (c *cluster) owners(ctx context.Context) (func(player string) string, error) {
	status, err := c.client.Service().GetCluster(ctx, &skerryv1.GetClusterRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask who owns what: %w", err)
	}
	partitions := status.GetPartitions()
	return func(player string) string {
		key := persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindPlayer, ID: player}
		return partitions[persistence.PartitionOf(key, len(partitions))].GetOwner()
	}, nil
}

// ownedBy returns the players whose partition a node owns.
func (c *cluster) ownedBy(ctx context.Context, node string) ([]int, error) {
	owner, err := c.owners(ctx)
	if err != nil {
		return nil, err
	}
	var players []int
	for i, a := range c.load.players {
		if owner(a.player.ID()) == node {
			players = append(players, i)
		}
	}
	return players, nil
}

// kill kills owners with SIGKILL under load: how long until each of its entities answers durably again.
func (c *cluster) kill(ctx context.Context) error {
	if err := c.start(ctx, 3); err != nil {
		return err
	}
	c.load.begin(ctx, c.inFlight)
	var all []time.Duration
	for round := range c.rounds {
		if err := pause(ctx, time.Second+time.Duration(c.rng.Int64N(int64(time.Second)))); err != nil {
			return err
		}
		node := c.Nodes()[c.rng.IntN(3)]
		players, err := c.ownedBy(ctx, node.Name)
		if err != nil {
			return err
		}
		c.load.mark()
		killed := time.Now()
		if err = node.Kill(); err != nil {
			return err
		}
		gaps, err := c.load.since(ctx, killed, players)
		if err != nil {
			return err
		}
		all = append(all, gaps...)
		fmt.Printf("round %d: %s\n", round+1, line("entities of "+node.Name, gaps))
		if err := node.Start(ctx); err != nil {
			return err
		}
		if err := c.settled(ctx, 3); err != nil {
			return err
		}
	}
	slices.Sort(all)
	fmt.Println(line("kill -9 to the first durable answer of each entity", all))
	return c.finish(ctx)
}

// freeze stops owners for ten seconds with SIGSTOP: others take over, and who wakes shows nothing of before. Readers ask each node at
// its own door, the frozen one too.
func (c *cluster) freeze(ctx context.Context) error {
	if err := c.start(ctx, 3); err != nil {
		return err
	}
	c.load.begin(ctx, c.inFlight)
	doors, err := openDoors(ctx, c)
	if err != nil {
		return err
	}
	doors.begin(ctx)
	var all []time.Duration
	for round := range c.rounds {
		var gaps []time.Duration
		if gaps, err = c.freezeOnce(ctx, doors, round); err != nil {
			break
		}
		all = append(all, gaps...)
	}
	doors.end()
	if err != nil {
		return err
	}
	slices.Sort(all)
	fmt.Println(line("SIGSTOP to the first durable answer of each entity", all))
	return errors.Join(c.finish(ctx), doors.verify(ctx))
}

// freezeOnce stops one node, lets it wake, and waits until the cluster is as it was.
func (c *cluster) freezeOnce(ctx context.Context, doors *doors, round int) ([]time.Duration, error) {
	if err := pause(ctx, time.Second+time.Duration(c.rng.Int64N(int64(time.Second)))); err != nil {
		return nil, err
	}
	hit := c.rng.IntN(3)
	node := c.Nodes()[hit]
	players, err := c.ownedBy(ctx, node.Name)
	if err != nil {
		return nil, err
	}
	owner, err := c.owners(ctx)
	if err != nil {
		return nil, err
	}
	doors.aim(hit, func(id string) bool { return owner(id) == node.Name })
	c.load.mark()
	before := doors.counts(hit)
	stopped := time.Now()
	if err = node.Signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	gaps, err := c.load.since(ctx, stopped, players)
	if err == nil {
		err = pause(ctx, time.Until(stopped.Add(10*time.Second)))
	}
	if wake := node.Signal(syscall.SIGCONT); err == nil {
		err = wake
	}
	if err == nil {
		err = pause(ctx, 2*time.Second) // what waited at its door is answered now
	}
	if err == nil {
		err = c.settled(ctx, 3)
	}
	if err != nil {
		return nil, err
	}
	asked := doors.counts(hit).less(before)
	fmt.Printf("round %d: %s; asked at its own door: %v\n", round+1, line("entities of "+node.Name, gaps), asked)
	if asked.read == 0 {
		return nil, errors.New("nobody was answered by the node that woke: nothing was tested")
	}
	return gaps, doors.stale()
}

// restart restarts every node gracefully, one after another, again and again: SIGTERM hands over what it owns.
func (c *cluster) restart(ctx context.Context) error {
	if err := c.start(ctx, 3); err != nil {
		return err
	}
	c.load.begin(ctx, c.inFlight)
	var quiet, all []time.Duration
	for round := range c.rounds {
		c.load.mark()
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
		quiet = append(quiet, c.load.waited(c.load.all())...)
		node := c.Nodes()[round%3]
		c.load.mark()
		began := time.Now()
		stopping, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := node.Stop(stopping)
		cancel()
		if err != nil {
			return err
		}
		took := time.Since(began)
		waits := c.load.waited(c.load.all())
		all = append(all, waits...)
		fmt.Printf("round %d: %s stopped in %v; %s\n", round+1, node.Name, took.Round(time.Millisecond), line("calls meanwhile", waits))
		if err := node.Start(ctx); err != nil {
			return err
		}
		if err := c.settled(ctx, 3); err != nil {
			return err
		}
	}
	slices.Sort(quiet)
	slices.Sort(all)
	fmt.Println(line("calls before", quiet))
	fmt.Println(line("calls while a node stops", all))
	return c.finish(ctx)
}

// grow begins with one node, adds two, then two more, then removes two, all under load.
func (c *cluster) grow(ctx context.Context) error {
	if err := c.start(ctx, 1); err != nil {
		return err
	}
	if c.worlds != "" {
		var err error
		if c.built, err = c.openWorlds(ctx, c.worlds); err != nil {
			return err
		}
		c.built.begin(ctx)
	}
	c.load.begin(ctx, c.inFlight)
	step := func(what string, nodes int, do func() error) error {
		c.load.mark()
		began := time.Now()
		if err := do(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := c.settled(ctx, nodes); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		fmt.Printf("%s: %v; %s\n", what, time.Since(began).Round(time.Millisecond), line("calls meanwhile", c.load.waited(c.load.all())))
		return pause(ctx, time.Second)
	}
	add := func(n int) func() error {
		return func() error {
			for range n {
				if _, err := c.Add(ctx); err != nil {
					return err
				}
			}
			return nil
		}
	}
	remove := func(name string) func() error {
		return func() error {
			_, err := c.client.Service().RemoveNode(ctx, &skerryv1.RemoveNodeRequest{Node: name})
			return err
		}
	}
	for _, s := range []struct {
		what  string
		nodes int
		do    func() error
	}{
		{"one node, two more join", 3, add(2)},
		{"two more join", 5, add(2)},
		{"n2 is removed", 4, remove("n2")},
		{"n3 is removed", 3, remove("n3")},
	} {
		if err := step(s.what, s.nodes, s.do); err != nil {
			return err
		}
	}
	return c.finish(ctx)
}
