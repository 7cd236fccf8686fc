package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func (a *app) spaceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "space", Short: "List, copy and erase spaces", RunE: group}
	cmd.AddCommand(a.spaceList(), a.spaceCopy(), a.spaceErase())
	return cmd
}

func (a *app) spaceList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the spaces and what they have", Example: "  skerry space list --json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				list, err := c.Service().ListSpaces(ctx, &skerryv1.ListSpacesRequest{})
				if err != nil {
					return fmt.Errorf("list spaces: %w", err)
				}
				if a.json {
					return a.printMessage(list)
				}
				rows := [][]any{{"SPACE", "PLAYERS", "WORLDS"}}
				for _, s := range list.GetSpaces() {
					rows = append(rows, []any{s.GetName(), s.GetPlayers(), s.GetWorlds()})
				}
				return a.table(rows)
			})
		},
	}
}

func (a *app) spaceCopy() *cobra.Command {
	return &cobra.Command{
		Use: "copy FROM TO", Short: "Copy the players of a space into an empty one",
		Long:    "Copy the documents of all players of one space into another, which must be empty. Sessions and command ids are not copied. Needs scope operate.",
		Example: "  skerry space copy main staging",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				stream, err := c.Service().CopySpace(ctx, &skerryv1.CopySpaceRequest{From: args[0], To: args[1]})
				if err != nil {
					return fmt.Errorf("copy space %s: %w", args[0], err)
				}
				n, err := a.follow(stream, "copying players")
				if errors.Is(err, client.ErrAlreadyExists) {
					return fmt.Errorf("copy space %s: %w; `skerry space erase %s` empties it", args[0], err, args[1])
				}
				if err != nil {
					return fmt.Errorf("copy space %s: %w", args[0], err)
				}
				return a.print(map[string]any{"from": args[0], "to": args[1], "players": n}, "%d players copied from %s to %s\n", n, args[0], args[1])
			})
		},
	}
}

func (a *app) spaceErase() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "erase SPACE", Short: "Remove everything of a space, for ever",
		Example: "  skerry space erase staging --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.confirm(yes, args[0]); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				stream, err := c.Service().EraseSpace(ctx, &skerryv1.EraseSpaceRequest{Space: args[0]})
				if err != nil {
					return fmt.Errorf("erase space %s: %w", args[0], err)
				}
				n, err := a.follow(stream, "erasing partitions")
				if err != nil {
					return fmt.Errorf("erase space %s: %w; it is half erased, erase it again", args[0], err)
				}
				return a.print(map[string]any{"space": args[0], "partitions": n}, "space %s is erased\n", args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks a human to write the space's name.
func (a *app) confirm(yes bool, space string) error {
	if yes {
		return nil
	}
	if !terminal(a.in) {
		return usageError{fmt.Errorf("erasing space %s cannot be undone: pass --yes", space)}
	}
	_, _ = fmt.Fprintf(a.err, "This removes every player of space %s, for ever. Write the space's name to go on: ", space)
	var answer string
	if _, err := fmt.Fscanln(a.in, &answer); err != nil || strings.TrimSpace(answer) != space {
		return errors.New("nothing was erased")
	}
	return nil
}

// follow shows the progress of long work and returns how much was done.
func (a *app) follow(stream grpc.ServerStreamingClient[skerryv1.SpaceProgress], what string) (int64, error) {
	bar := a.bar(what)
	defer func() { _ = bar.Finish() }()
	var done int64
	for {
		progress, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return done, nil
		}
		if err != nil {
			return done, err //nolint:wrapcheck // the caller says what was done
		}
		done = progress.GetDone()
		if progress.GetTotal() > 0 {
			bar.ChangeMax64(progress.GetTotal())
		}
		_ = bar.Set64(done)
	}
}

// bar shows progress on standard error, when somebody looks at it.
func (a *app) bar(what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(-1,
		progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(a.err), progressbar.OptionSetVisibility(terminal(a.err)),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish())
}

// terminal reports whether a human is at the other end.
func terminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) //nolint:gosec // a file descriptor
}

// table writes rows in columns; the first is the heading.
func (a *app) table(rows [][]any) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				_, _ = fmt.Fprint(w, "\t")
			}
			_, _ = fmt.Fprint(w, cell)
		}
		_, _ = fmt.Fprintln(w)
	}
	return w.Flush() // the first error of all the writes
}

// moment is a time for humans.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().Format(time.RFC3339)
}
