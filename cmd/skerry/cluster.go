package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func (a *app) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Look at the cluster", RunE: group}
	cmd.AddCommand(&cobra.Command{
		Use: "status", Short: "Show the nodes and what they own", Example: "  skerry cluster status --json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				ctx, cancel := a.short(ctx)
				defer cancel()
				cluster, err := c.Service().GetCluster(ctx, &skerryv1.GetClusterRequest{})
				if err != nil {
					return fmt.Errorf("read the cluster's status: %w", err)
				}
				if a.json {
					return a.printMessage(cluster)
				}
				rows := [][]any{{"NODE", "STATE", "GRPC", "HTTP", "PARTITIONS", "ACTIVE", "VERSION"}}
				for _, n := range cluster.GetNodes() {
					rows = append(rows, []any{n.GetName(), n.GetState(), n.GetGrpc(), n.GetHttp(), n.GetOwned(), n.GetActive(), n.GetVersion()})
				}
				return a.table(rows)
			})
		},
	})
	return cmd
}
