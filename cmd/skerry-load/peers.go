package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/loadtest/peers"
)

// peersFlags are what `peers` is told.
type peersFlags struct {
	opts      peers.Options
	ops, ways []string
	markdown  bool
	quiet     bool
}

func (a *app) peersCommand() *cobra.Command {
	f := &peersFlags{}
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Measure the same work on Skerry and on other stores, interleaved",
		Long: `Measure the same work of a game on Skerry and on other stores, interleaved in one run on this machine.

Redis, PostgreSQL, etcd and NATS JetStream are started on loopback, in a temporary directory, where they are installed; what is
missing is said. Beside them stand a gRPC stream that echoes and a bare log: what the machine itself costs. A ratio is the median over
the rounds of Skerry's rate divided by the other's of the same round. With --nodes 3 a cluster of Skerry stands beside etcd with three
members and NATS with three replicas.

Operations: durable and memory (a coin more for one of the players, durably or not yet), load (a player's document of 4 KiB by key) and
save (such a document, written durably). docs/performance.md says how each system does them.

Exit status: 0 when everything that is installed was measured, 1 when a system failed (it is named), 2 for a mistake in the call.`,
		Example: `  skerry-load peers
  skerry-load peers --ops durable --inflight 512 --rounds 11 --systems redis
  skerry-load peers --nodes 3
  skerry-load peers --ops durable --closer 20s --profile cpu.prof
  skerry-load peers --markdown > table.md`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.peers(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.opts.Nodes, "nodes", 1, "1, or 3: a cluster, beside peers with three copies")
	flags.IntVar(&f.opts.Rounds, "rounds", 5, "how often every system is asked the same")
	flags.DurationVar(&f.opts.Window, "window", 2*time.Second, "how long it is asked each time")
	flags.IntVar(&f.opts.Players, "players", 10_000, "how many players there are, each with a document of 4 KiB")
	flags.IntSliceVar(&f.opts.Inflight, "inflight", nil, "operations in flight, with commas (default 1,64,512; with three nodes 64,512)")
	flags.StringSliceVar(&f.ops, "ops", nil, "durable, memory, load, save, with commas (default all; with three nodes durable)")
	flags.StringSliceVar(&f.ways, "ways", nil, "callers, pipelined, with commas (default both; with three nodes callers)")
	flags.StringSliceVar(&f.opts.Systems, "systems", nil, "only peers whose names contain one of these, with commas (default all)")
	flags.DurationVar(&f.opts.Closer, "closer", 0, "length of last windows in which bytes to disk are counted and the node is profiled (default none)")
	flags.StringVar(&f.opts.Profile, "profile", "", "write a processor profile of the node in those windows to this file, and show its top three costs")
	flags.StringVar(&f.opts.Dir, "dir", "", "make the temporary directory here: on the disk to be measured")
	flags.BoolVar(&f.markdown, "markdown", false, "print the tables as they stand in docs/performance.md")
	flags.BoolVar(&f.quiet, "quiet", false, "no progress")
	return cmd
}

// echoCommand is the gRPC echo that peers starts.
func (a *app) echoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "echo", Hidden: true, Args: cobra.NoArgs, Short: "Serve the gRPC echo; for peers",
		RunE: func(cmd *cobra.Command, _ []string) error { return peers.ServeEcho(cmd.Context(), a.out) },
	}
}

func (a *app) peers(ctx context.Context, f *peersFlags) error {
	for _, op := range f.ops {
		f.opts.Ops = append(f.opts.Ops, peers.Op(op))
	}
	for _, way := range f.ways {
		f.opts.Ways = append(f.opts.Ways, peers.Way(way))
	}
	if !f.quiet {
		f.opts.Watch = func(p peers.Progress) { _, _ = fmt.Fprintln(a.err, progressLine(p)) }
	}
	found, err := peers.Run(ctx, f.opts)
	if errors.Is(err, peers.ErrOptions) {
		return usageError{err}
	}
	if found == nil {
		return err
	}
	return errors.Join(a.showPeers(found, f.markdown), err)
}

func (a *app) showPeers(found *peers.Report, markdown bool) error {
	switch {
	case a.json:
		return a.print(found, "")
	case markdown:
		return found.Markdown(a.out, strings.Join(append([]string{"skerry-load"}, os.Args[1:]...), " "))
	}
	return found.Text(a.out)
}

func progressLine(p peers.Progress) string {
	if p.Left == 0 {
		return p.Text
	}
	return fmt.Sprintf("%s; %d windows left, about %v", p.Text, p.Left, p.Time.Round(time.Second))
}
