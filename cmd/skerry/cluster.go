package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func (a *app) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Look at the cluster, and say who serves what", RunE: group}
	cmd.AddCommand(a.clusterStatus(), a.clusterDrain(), a.clusterRemove(), a.clusterHandover(), a.clusterOwners(), a.clusterRecover())
	return cmd
}

func (a *app) clusterStatus() *cobra.Command {
	var watch, partitions bool
	var every time.Duration
	cmd := &cobra.Command{
		Use: "status", Short: "Show the nodes and what they own",
		Example: `  skerry cluster status --partitions
  skerry cluster status --watch --every 2s
  skerry cluster status --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every <= 0 {
				return usageError{fmt.Errorf("--every: %s is not positive", every)}
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				if watch {
					return a.watchCluster(ctx, c, partitions, every)
				}
				cluster, err := a.cluster(ctx, c)
				if err != nil {
					return err
				}
				return a.showCluster(cluster, partitions)
			})
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again whenever it changes, until interrupted")
	cmd.Flags().BoolVar(&partitions, "partitions", false, "also show each partition: owner, epoch, copies, what is moving")
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often --watch looks")
	return cmd
}

// cluster asks who is there and who owns what.
func (a *app) cluster(ctx context.Context, c *client.Client) (*skerryv1.GetClusterResponse, error) {
	ctx, cancel := a.short(ctx)
	defer cancel()
	cluster, err := c.Service().GetCluster(ctx, &skerryv1.GetClusterRequest{})
	if err != nil {
		return nil, fmt.Errorf("read the cluster's status: %w", err)
	}
	return cluster, nil
}

// watchCluster shows the cluster whenever it has changed, until ctx ends. A node that does not answer is looked for again.
func (a *app) watchCluster(ctx context.Context, c *client.Client, partitions bool, every time.Duration) error {
	var shown *skerryv1.GetClusterResponse
	for {
		cluster, err := a.cluster(ctx, c)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // interrupted, as it is meant to be
		case hopeless(err):
			return err
		case err != nil:
			_, _ = fmt.Fprintf(a.err, "skerry: %v\n", err)
		case !proto.Equal(cluster, shown):
			if err := a.showAgain(cluster, partitions, shown != nil); err != nil {
				return err
			}
			shown = cluster
		}
		if !pause(ctx, every) {
			return nil
		}
	}
}

// showAgain shows the cluster in place of what was shown before, or after it where nobody could see that.
func (a *app) showAgain(cluster *skerryv1.GetClusterResponse, partitions, again bool) error {
	switch {
	case a.json || !again:
	case terminal(a.out):
		_, _ = fmt.Fprint(a.out, "\x1b[H\x1b[2J") // home, clear
	default:
		_, _ = fmt.Fprintln(a.out)
	}
	return a.showCluster(cluster, partitions)
}

func (a *app) showCluster(cluster *skerryv1.GetClusterResponse, partitions bool) error {
	if a.json {
		return a.printMessage(cluster)
	}
	rows := [][]any{{"NODE", "ID", "STATE", "GRPC", "HTTP", "PEER", "GOSSIP", "PARTITIONS", "ACTIVE", "LEVEL", "VERSION"}}
	for _, n := range cluster.GetNodes() {
		rows = append(rows, []any{
			n.GetName(), number(n.GetId()), n.GetState(), n.GetGrpc(), n.GetHttp(), dash(n.GetPeer()), dash(n.GetGossip()), n.GetOwned(),
			n.GetActive(), number(n.GetFeature()), n.GetVersion(),
		})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.out, "feature level %s\n", number(cluster.GetFeatureLevel()))
	if !partitions {
		return nil
	}
	_, _ = fmt.Fprintln(a.out)
	rows = [][]any{{"PARTITION", "OWNER", "EPOCH", "REPLICAS", "LEARNERS", "MOVING"}}
	for _, p := range cluster.GetPartitions() {
		rows = append(rows, []any{
			p.GetPartition(), dash(p.GetOwner()), dash(p.GetEpoch()), dash(strings.Join(p.GetReplicas(), ",")),
			dash(strings.Join(p.GetLearners(), ",")), dash(p.GetMoving()),
		})
	}
	return a.table(rows)
}

// dash stands for nothing, so that columns can be counted.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// number is a node's id; a cluster of one node may have none.
func number(id uint32) string {
	if id == 0 {
		return "-"
	}
	return strconv.FormatUint(uint64(id), 10)
}

func (a *app) clusterHandover() *cobra.Command {
	return &cobra.Command{
		Use: "handover PARTITION NODE", Short: "Make another node the owner of a partition",
		Long: "Make another node the owner of a partition. It must have a copy that votes, as `skerry cluster status --partitions` shows. " +
			"The planner may move the partition back when the nodes are out of balance.",
		Example: "  skerry cluster handover 17 b", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			partition, err := strconv.ParseInt(args[0], 10, 32)
			if err != nil {
				return usageError{fmt.Errorf("%q is no number of a partition", args[0])}
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				ctx, cancel := a.short(ctx)
				defer cancel()
				if _, err := c.Service().HandOverPartition(ctx, &skerryv1.HandOverPartitionRequest{Partition: int32(partition), To: args[1]}); err != nil {
					return fmt.Errorf("hand over partition %d to %s: %w", partition, args[1], err)
				}
				return a.print(map[string]any{"partition": partition, "owner": args[1]}, "partition %d is owned by %s\n", partition, args[1])
			})
		},
	}
}

func (a *app) clusterOwners() *cobra.Command {
	var player, world, server, at string
	var partition int32
	cmd := &cobra.Command{
		Use: "owners (--player ID | --world ID | --server ID | --partition N)", Short: "Show who owned a player, a world or a partition, and why it moved",
		Example: `  skerry cluster owners --player 42
  skerry cluster owners --player 42 --at 2026-03-01T20:14:00Z
  skerry cluster owners --partition 17 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, given := &skerryv1.GetOwnershipRequest{}, 0
			for _, name := range []string{"player", "world", "server", "partition"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given != 1 {
				return usageError{errors.New("one of --player, --world, --server and --partition is needed")}
			}
			switch changed := cmd.Flags().Changed; {
			case changed("player"):
				req.Of = &skerryv1.GetOwnershipRequest_Player{Player: player}
			case changed("world"):
				req.Of = &skerryv1.GetOwnershipRequest_World{World: world}
			case changed("server"):
				req.Of = &skerryv1.GetOwnershipRequest_Server{Server: server}
			default:
				req.Of = &skerryv1.GetOwnershipRequest_Partition{Partition: partition}
			}
			if at != "" {
				when, err := time.Parse(time.RFC3339, at)
				if err != nil {
					return usageError{fmt.Errorf("--at: %q is not like 2026-03-01T20:14:00Z", at)}
				}
				req.At = timestamppb.New(when)
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error { return a.showOwners(ctx, c, req) })
		},
	}
	cmd.Flags().StringVar(&player, "player", "", "a player of --space")
	cmd.Flags().StringVar(&world, "world", "", "a world of --space")
	cmd.Flags().StringVar(&server, "server", "", "a game server of --space")
	cmd.Flags().Int32Var(&partition, "partition", 0, "the number of a partition")
	cmd.Flags().StringVar(&at, "at", "", "only who owned it then (RFC 3339)")
	return cmd
}

func (a *app) showOwners(ctx context.Context, c *client.Client, req *skerryv1.GetOwnershipRequest) error {
	ctx, cancel := a.short(ctx)
	defer cancel()
	owners, err := c.Service().GetOwnership(ctx, req)
	if err != nil {
		return fmt.Errorf("read the owners: %w", err)
	}
	if a.json {
		return a.printMessage(owners)
	}
	if len(owners.GetOwners()) == 0 {
		_, err := fmt.Fprintf(a.out, "partition %d: no owner is remembered\n", owners.GetPartition())
		return err
	}
	rows := [][]any{{"PARTITION", "OWNER", "EPOCH", "SINCE", "WHY"}}
	for _, o := range owners.GetOwners() {
		rows = append(rows, []any{owners.GetPartition(), o.GetNode(), o.GetEpoch(), moment(o.GetSince()), o.GetWhy()})
	}
	return a.table(rows)
}

// hopeless reports whether asking again would be answered alike.
func hopeless(err error) bool {
	return errors.Is(err, client.ErrUnauthenticated) || errors.Is(err, client.ErrPermissionDenied) || errors.Is(err, client.ErrUnimplemented)
}

// pause waits; it reports false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
