package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// drain has nodes hand everything over by an operator's word while they serve, and own again after it. Every player has a caller of
// its own, so that the longest time without an answer of an entity is seen as it is.
func (c *cluster) drain(ctx context.Context) error {
	if err := c.start(ctx, 3); err != nil {
		return err
	}
	c.load.memory = true
	c.load.beginEach(ctx)
	var quiet, quietGaps, calls, gaps []time.Duration
	for round := range c.rounds {
		node := c.Nodes()[c.rng.IntN(3)].Name
		players, err := c.ownedBy(ctx, node)
		if err != nil {
			return err
		}
		c.load.mark()
		began := time.Now()
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		quiet = append(quiet, c.load.waited(players)...)
		quietGaps = append(quietGaps, c.load.gaps(players, began, time.Now())...)

		c.load.mark()
		began = time.Now()
		if err := c.order(ctx, node, false); err != nil {
			return err
		}
		took := time.Since(began)
		if err := pause(ctx, 200*time.Millisecond); err != nil { // the first answers of the new owners
			return err
		}
		longest := c.load.gaps(players, began, time.Now())
		calls = append(calls, c.load.waited(players)...)
		gaps = append(gaps, longest...)
		fmt.Printf("round %d: %s owns nothing after %v; %s\n", round+1, node, took.Round(time.Millisecond), line("entities", longest))
		if err := c.order(ctx, node, true); err != nil {
			return err
		}
	}
	for _, sorted := range [][]time.Duration{quiet, quietGaps, calls, gaps} {
		slices.Sort(sorted)
	}
	fmt.Println(line("calls in a quiet second, of the entities concerned", quiet))
	fmt.Println(line("calls while a node drains, of the entities concerned", calls))
	fmt.Println(line("longest time without an answer in a quiet second, of each entity", quietGaps))
	fmt.Println(line("longest time without an answer while it moves, of each entity", gaps))
	if err := c.saved(ctx); err != nil {
		return err
	}
	return c.finish(ctx)
}

// saved checks that slow saves were made while nodes drained, and were slow.
func (c *cluster) saved(ctx context.Context) error {
	if !c.slow {
		return nil
	}
	const count, sum = "skerry_actors_save_duration_seconds_count", "skerry_actors_save_duration_seconds_sum"
	var saves, seconds float64
	for _, node := range c.Nodes() {
		metrics, err := node.Metrics(ctx, count, sum)
		if err != nil {
			return err
		}
		saves, seconds = saves+metrics[count], seconds+metrics[sum]
	}
	fmt.Printf("%.0f saves, %.2f s each\n", saves, seconds/max(1, saves))
	if saves < 100 || seconds < 1.5*saves {
		return fmt.Errorf("%.0f saves took %.1f s: they were not slow, or not there", saves, seconds)
	}
	return nil
}

// order has a node drained, and waits until it owns nothing; or undoes that, and waits until it owns its share again.
func (c *cluster) order(ctx context.Context, node string, undo bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := c.client.Service().DrainNode(ctx, &skerryv1.DrainNodeRequest{Node: node, Undo: undo}); err != nil {
		return fmt.Errorf("drain %s: %w", node, err)
	}
	if undo {
		return c.settled(ctx, 3)
	}
	return c.await(ctx, func(s *skerryv1.GetClusterResponse) error {
		for _, n := range s.GetNodes() {
			if n.GetName() == node && n.GetOwned() > 0 {
				return fmt.Errorf("%s owns %d partitions", node, n.GetOwned())
			}
		}
		return nil
	})
}
