package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func (a *app) worldCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "world", Short: "Look at worlds, export and import them, draw maps", RunE: group}
	cmd.AddCommand(a.worldGet(), a.worldList(), a.worldExport(), a.worldImport(), a.worldMap())
	return cmd
}

func (a *app) worldGet() *cobra.Command {
	return &cobra.Command{
		Use: "get WORLD", Short: "Show a world",
		Example: "  skerry world get 1001\n  skerry world get 1001~2 --json | jq .metadata",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				w, err := a.findWorld(ctx, c, args[0])
				if err != nil {
					return err
				}
				if a.json {
					return a.printMessage(w)
				}
				return a.showWorld(args[0], w)
			})
		},
	}
}

// findWorld reads a world that somebody named.
func (a *app) findWorld(ctx context.Context, c *client.Client, id string) (*skerryv1.World, error) {
	w, err := c.World(ctx, id)
	if errors.Is(err, client.ErrNotFound) {
		return nil, fmt.Errorf("there is no such world in space %s: %s: %w", a.space, id, err)
	}
	return w, err
}

func (a *app) showWorld(id string, w *skerryv1.World) error {
	owner := "nobody"
	if w.GetOwnerId() != "" {
		owner = strings.TrimSpace(w.GetOwnerId() + " " + w.GetOwnerName())
	}
	_, err := fmt.Fprintf(a.out, `world           %s %q
description     %s
owner           %s
builders        %d
seed            %d
generator       %s
height          %d, from y %d
block names     %d
created         %s
last save       %s
`, id, w.GetMetadata().GetName(), w.GetMetadata().GetDescription(), owner, len(w.GetRoles()), w.GetSeed(),
		strings.TrimSpace(w.GetGenerator().GetName()+" "+w.GetGenerator().GetVersion()), w.GetHeight(), w.GetMinY(),
		len(w.GetBlockNames()), moment(w.GetCreated()), moment(w.GetLastSaved()))
	return err
}

func (a *app) worldList() *cobra.Command {
	var owner, after string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the ids of a space's worlds",
		Example: "  skerry world list\n  skerry world list --owner 1001 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				list := listWriter{out: bufio.NewWriter(a.out), json: a.json}
				for id, err := range c.Worlds(ctx, owner, after) {
					if err != nil {
						return err
					}
					if list.n == limit && limit > 0 {
						break
					}
					list.add(id)
				}
				return list.end()
			})
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "only this player's worlds")
	cmd.Flags().StringVar(&after, "after", "", "begin after this id")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many; 0: all")
	return cmd
}
