package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func (a *app) clusterDrain() *cobra.Command {
	var wait time.Duration
	var undo bool
	cmd := &cobra.Command{
		Use: "drain NODE", Short: "Have a node hand over all that it owns",
		Long: `Have a node hand over all that it owns, and wait until it owns nothing. No call fails by it. The node keeps its copies, and
goes on taking requests, which it passes on, until --undo. Stopping a node (SIGTERM) drains it too, for as long as it is away.`,
		Example: `  skerry cluster drain b
  skerry cluster drain b --undo     # it may own again
  skerry cluster drain b --wait 0   # only ask for it`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node := args[0]
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				if err := a.ask(ctx, func(ctx context.Context) error {
					_, err := c.Service().DrainNode(ctx, &skerryv1.DrainNodeRequest{Node: node, Undo: undo})
					return err //nolint:wrapcheck // wrapped below
				}); err != nil {
					return fmt.Errorf("drain node %s: %w", node, err)
				}
				if undo {
					return a.print(map[string]any{"node": node, "state": "active"}, "node %s may own again\n", node)
				}
				left, err := a.await(ctx, c, wait, "handing over", func(cluster *skerryv1.GetClusterResponse) int { return owned(cluster, node) })
				if err != nil {
					return fmt.Errorf("drain node %s: %w", node, err)
				}
				if wait <= 0 {
					return a.print(map[string]any{"node": node, "state": "draining"}, "node %s is draining\n", node)
				}
				if left > 0 {
					return fmt.Errorf("drain node %s: %w: it owns %d partitions after %s and goes on; `skerry cluster status --partitions` shows what is moving", node, errStillAtIt, left, wait)
				}
				return a.print(map[string]any{"node": node, "state": "draining", "owned": 0}, "node %s owns nothing\n", node)
			})
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "how long to wait until it owns nothing; 0 does not wait")
	cmd.Flags().BoolVar(&undo, "undo", false, "let it own again, instead")
	return cmd
}

func (a *app) clusterRemove() *cobra.Command {
	var force bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "remove NODE", Short: "Have others take over what a node has, and shut it out for ever",
		Long: `Have others take over what a node has, and shut it out for ever: for a node that will not come back, or is not wanted any more.
Waits until no partition has a copy there. Its id is never used again; on the same machine a node with an empty data directory is a new one.

--force does it also while the node has what nobody else has taken over: what only it had is lost.`,
		Example: `  skerry cluster drain b && skerry cluster remove b
  skerry cluster remove b --force`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node := args[0]
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				if err := a.ask(ctx, func(ctx context.Context) error {
					_, err := c.Service().RemoveNode(ctx, &skerryv1.RemoveNodeRequest{Node: node, Force: force})
					return err //nolint:wrapcheck // wrapped below
				}); err != nil {
					return fmt.Errorf("remove node %s: %w", node, err)
				}
				left, err := a.await(ctx, c, wait, "moving copies", func(cluster *skerryv1.GetClusterResponse) int { return copies(cluster, node) })
				if err != nil {
					return fmt.Errorf("remove node %s: %w", node, err)
				}
				if wait <= 0 {
					return a.print(map[string]any{"node": node, "state": "removing"}, "node %s is being removed\n", node)
				}
				if left > 0 {
					return fmt.Errorf("remove node %s: %w: %d partitions have a copy there after %s, and it goes on; `skerry cluster status --partitions` shows what is moving", node, errStillAtIt, left, wait)
				}
				return a.print(map[string]any{"node": node, "state": "removed"}, "node %s has nothing any more\n", node)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also while it has what nobody else has: that is lost")
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Minute, "how long to wait until it has nothing; 0 does not wait")
	return cmd
}

// errStillAtIt says that the cluster goes on with what was asked for, and nobody waits any more.
var errStillAtIt = errors.New("not done yet")

// ask runs one request within its time-out.
func (a *app) ask(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := a.short(ctx)
	defer cancel()
	return request(ctx)
}

// awaitEvery is how often the cluster's progress is looked at.
const awaitEvery = 200 * time.Millisecond

// await looks at the cluster until nothing is left, or for as long as wait, and shows the progress. It returns what is left
// then. A node that does not answer is asked again; an error is one that would come again, or the last one when time is up.
func (a *app) await(ctx context.Context, c *client.Client, wait time.Duration, what string, left func(*skerryv1.GetClusterResponse) int) (int, error) {
	if wait <= 0 {
		return 0, nil
	}
	deadline := time.Now().Add(wait)
	bar := a.bar(what)
	defer func() { _ = bar.Finish() }()
	most := 0
	for {
		cluster, err := a.cluster(ctx, c)
		count := -1
		if err == nil {
			count = left(cluster)
			most = max(most, count)
			bar.ChangeMax(most)
			_ = bar.Set(most - count)
		}
		if count == 0 || hopeless(err) || ctx.Err() != nil || time.Now().After(deadline) {
			return max(count, 0), err
		}
		if !pause(ctx, awaitEvery) {
			return max(count, 0), ctx.Err()
		}
	}
}

// owned is how many partitions a node owns.
func owned(cluster *skerryv1.GetClusterResponse, node string) (n int) {
	for _, p := range cluster.GetPartitions() {
		if p.GetOwner() == node {
			n++
		}
	}
	return n
}

// copies is how many partitions have a copy on a node.
func copies(cluster *skerryv1.GetClusterResponse, node string) (n int) {
	for _, p := range cluster.GetPartitions() {
		if p.GetOwner() == node || slices.Contains(p.GetReplicas(), node) || slices.Contains(p.GetLearners(), node) {
			n++
		}
	}
	return n
}
