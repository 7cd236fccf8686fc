package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func (a *app) playerCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "player", Short: "Look at players, export, import and save them", RunE: group}
	cmd.AddCommand(a.playerGet(), a.playerList(), a.playerExport(), a.playerImport(), a.playerSave())
	return cmd
}

func (a *app) playerGet() *cobra.Command {
	return &cobra.Command{
		Use: "get PLAYER", Short: "Show a player",
		Example: "  skerry player get 1001\n  skerry player get 1001 --json | jq .profile.coins",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				p, err := c.Player(ctx, args[0])
				if errors.Is(err, client.ErrNotFound) {
					return fmt.Errorf("there is no such player in space %s: %s: %w", a.space, args[0], err)
				}
				if err != nil {
					return err
				}
				if a.json {
					return a.printMessage(p)
				}
				return a.showPlayer(args[0], p)
			})
		},
	}
}

// printMessage writes a message as the JSON API does.
func (a *app) printMessage(m proto.Message) error {
	data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	var plain any // protojson varies its spaces on purpose
	if err := json.Unmarshal(data, &plain); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(plain)
}

func (a *app) showPlayer(id string, p *skerryv1.Player) error {
	stacks, items := 0, int64(0)
	for _, slots := range [][]*skerryv1.ItemStack{p.GetInventory().GetHotbar(), p.GetInventory().GetInventory()} {
		for _, s := range slots {
			if s.GetCount() > 0 {
				stacks, items = stacks+1, items+int64(s.GetCount())
			}
		}
	}
	profile := p.GetProfile()
	_, err := fmt.Fprintf(a.out, `player          %s %q
level           %d (%d experience)
coins           %d
gems            %d
mana crystals   %d
items           %d in %d stacks
daily streak    %d
play time       %d s
created         %s
last login      %s
last save       %s
`, id, p.GetName(), profile.GetLevel(), profile.GetExperience(), profile.GetCoins(), profile.GetGems(), profile.GetManaCrystals(),
		items, stacks, p.GetDailyRewards().GetCurrentStreak(), p.GetStatistics().GetTotalPlayTime(),
		moment(p.GetCreatedAt()), moment(p.GetLastLogin()), moment(p.GetLastSave()))
	return err
}

func (a *app) playerList() *cobra.Command {
	var after string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the ids of a space's players",
		Example: "  skerry player list\n  skerry player list --after 1001 --limit 20 --space staging",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				list := listWriter{out: bufio.NewWriter(a.out), json: a.json}
				for id, err := range c.Players(ctx, after) {
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
	cmd.Flags().StringVar(&after, "after", "", "begin after this id")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many; 0: all")
	return cmd
}

// listWriter writes ids as they come, one a line, or as one JSON array.
type listWriter struct {
	out  *bufio.Writer
	json bool
	n    int
}

func (l *listWriter) add(id string) {
	switch {
	case !l.json:
		_, _ = fmt.Fprintln(l.out, id)
	case l.n == 0:
		_, _ = fmt.Fprintf(l.out, "[%q", id)
	default:
		_, _ = fmt.Fprintf(l.out, ",\n%q", id)
	}
	l.n++
}

func (l *listWriter) end() error {
	if l.json && l.n == 0 {
		_, _ = fmt.Fprint(l.out, "[")
	}
	if l.json {
		_, _ = fmt.Fprintln(l.out, "]")
	}
	return l.out.Flush() // the first error of all the writes
}

func (a *app) playerExport() *cobra.Command {
	var original bool
	cmd := &cobra.Command{
		Use: "export PLAYER [FILE]", Short: "Write a player's document as JSON",
		Example: "  skerry player export 1001 ann.json\n  skerry player export 1001 --original > for-the-datastore.json",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				p, err := c.Player(ctx, args[0])
				if errors.Is(err, client.ErrNotFound) {
					return fmt.Errorf("there is no such player in space %s: %s: %w", a.space, args[0], err)
				}
				if err != nil {
					return err
				}
				var document proto.Message = p
				if original {
					document = codec.PlayerToOriginal(p)
				}
				if len(args) == 1 {
					return a.printMessage(document)
				}
				file, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return fmt.Errorf("export to a new file: %w", err)
				}
				to := *a
				to.out = file
				return errors.Join(to.printMessage(document), file.Close())
			})
		},
	}
	cmd.Flags().BoolVar(&original, "original", false, "in the original's JSON, as game servers keep it in data stores")
	return cmd
}

func (a *app) playerImport() *cobra.Command {
	var original, overwrite bool
	cmd := &cobra.Command{
		Use: "import PLAYER FILE", Short: "Make a player of a JSON document (FILE - is standard input)",
		Long:    "Make a player of a JSON document, as `export` writes it. An existing player is only replaced with --overwrite. Needs scope admin.",
		Example: "  skerry player import 1001 ann.json\n  skerry player import 1001 from-the-datastore.json --original --overwrite",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := a.readImport(args[0], args[1], original)
			if err != nil {
				return err
			}
			request.Overwrite = overwrite
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				ctx, cancel := a.short(ctx)
				defer cancel()
				done, err := c.Service().ImportPlayer(ctx, request)
				if errors.Is(err, client.ErrAlreadyExists) {
					return fmt.Errorf("import player %s: %w; --overwrite replaces it", args[0], err)
				}
				if err != nil {
					return fmt.Errorf("import player %s: %w", args[0], err)
				}
				word := "replaced"
				if done.GetIsNew() {
					word = "made"
				}
				return a.print(map[string]any{"player": args[0], "isNew": done.GetIsNew(), "seq": done.GetSeq()}, "player %s was %s\n", args[0], word)
			})
		},
	}
	cmd.Flags().BoolVar(&original, "original", false, "the file is in the original's JSON, as game servers keep it in data stores")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace an existing player")
	return cmd
}

func (a *app) readImport(player, file string, original bool) (*skerryv1.ImportPlayerRequest, error) {
	data, err := a.readAll(file)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	request := &skerryv1.ImportPlayerRequest{Player: player}
	if original {
		document := &structpb.Struct{}
		request.Document = &skerryv1.ImportPlayerRequest_Original{Original: document}
		err = protojson.Unmarshal(data, document)
	} else {
		document := &skerryv1.Player{}
		request.Document = &skerryv1.ImportPlayerRequest_DocumentV1{DocumentV1: document}
		err = protojson.Unmarshal(data, document)
	}
	if err != nil {
		return nil, fmt.Errorf("import: %s is no player's document (the original's JSON needs --original): %w", file, err)
	}
	return request, nil
}

// maxImportBytes is more than a node takes.
const maxImportBytes = 16 << 20

func (a *app) readAll(file string) ([]byte, error) {
	from := a.in
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = opened.Close() }() // only read
		from = opened
	}
	data, err := io.ReadAll(io.LimitReader(from, maxImportBytes+1))
	if err == nil && len(data) > maxImportBytes {
		err = fmt.Errorf("%s has more than %d bytes", file, maxImportBytes)
	}
	return data, err
}

func (a *app) playerSave() *cobra.Command {
	return &cobra.Command{
		Use: "save PLAYER", Short: "Make a snapshot of a player now",
		Example: "  skerry player save 1001",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				seq, err := c.SavePlayer(ctx, args[0])
				if err != nil {
					return err
				}
				return a.print(map[string]any{"player": args[0], "seq": seq}, "player %s is saved at seq %d\n", args[0], seq)
			})
		},
	}
}
