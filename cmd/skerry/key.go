package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make, list and revoke API keys", RunE: group}
	cmd.AddCommand(a.keyCreate(), a.keyList(), a.keyRevoke())
	return cmd
}

// errFirstKey says that no key exists, and that this one could not make others.
var errFirstKey = errors.New("no key exists yet")

func (a *app) keyCreate() *cobra.Command {
	var name string
	var scopes []string
	var everywhere bool
	cmd := &cobra.Command{
		Use: "create", Short: "Make an API key and print it, this once",
		Long: `Make an API key for a space and print it: only its hash is kept, it cannot be shown again.

Scopes: read looks at players; play also opens sessions and plays (for game servers); admin also edits and imports without
a session; operate manages spaces, keys and the cluster. As soon as one key exists, nobody gets in without one, so the
first must have --all-spaces and the scopes admin and operate: it makes the others.`,
		Example: `  skerry key create --name operator --scopes admin,operate --all-spaces
  skerry key create --name game --scopes play --space main`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			space := a.space
			if everywhere {
				space = "*"
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				ctx, cancel := a.short(ctx)
				defer cancel()
				made, err := c.Service().CreateKey(ctx, &skerryv1.CreateKeyRequest{Name: name, Space: space, Scopes: scopes})
				if err != nil && strings.Contains(err.Error(), "the first key") { // no code of its own says it
					err = fmt.Errorf("%w: %w", errFirstKey, err)
				}
				if err != nil {
					return fmt.Errorf("create a key: %w", err)
				}
				return a.print(map[string]any{"id": made.GetId(), "key": made.GetKey()}, "%s\n", made.GetKey())
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().StringSliceVar(&scopes, "scopes", []string{"play"}, "any of read, play, admin, operate")
	cmd.Flags().BoolVar(&everywhere, "all-spaces", false, "the key is good for every space")
	return cmd
}

func (a *app) keyList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the API keys, without their secrets", Example: "  skerry key list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				ctx, cancel := a.short(ctx)
				defer cancel()
				list, err := c.Service().ListKeys(ctx, &skerryv1.ListKeysRequest{})
				if err != nil {
					return fmt.Errorf("list keys: %w", err)
				}
				if a.json {
					return a.printMessage(list)
				}
				rows := [][]any{{"ID", "NAME", "SPACE", "SCOPES", "CREATED"}}
				for _, k := range list.GetKeys() {
					rows = append(rows, []any{k.GetId(), k.GetName(), k.GetSpace(), strings.Join(k.GetScopes(), ","), moment(k.GetCreatedAt())})
				}
				return a.table(rows)
			})
		},
	}
}

func (a *app) keyRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Make an API key useless", Example: "  skerry key revoke 1f3a9c", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				ctx, cancel := a.short(ctx)
				defer cancel()
				if _, err := c.Service().RevokeKey(ctx, &skerryv1.RevokeKeyRequest{Id: args[0]}); err != nil {
					return fmt.Errorf("revoke key %s: %w", args[0], err)
				}
				return a.print(map[string]any{"id": args[0]}, "key %s is revoked\n", args[0])
			})
		},
	}
}
