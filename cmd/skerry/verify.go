package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// errProblems says that verify found some.
var errProblems = errors.New("the data directory has problems")

// verified is what `skerry verify --json` prints.
type verified struct {
	OK          bool     `json:"ok"`
	Entities    int      `json:"entities"`
	Entries     int      `json:"entries"`
	Snapshots   int      `json:"snapshots"`
	Records     int      `json:"records"`
	Quarantined int      `json:"quarantined"`
	StoreBytes  int64    `json:"storeBytes"`
	LogSegments int      `json:"logSegments"`
	LogEntries  int      `json:"logEntries"`
	LogBytes    int64    `json:"logBytes"`
	Problems    []string `json:"problems"`
}

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify DIR", Short: "Read everything in a data directory and say what is wrong",
		Long: `Read everything in the data directory of a stopped node, store and log: every checksum, every entity's snapshots and
journal. It changes nothing. The exit code is 1 when there are problems.`,
		Example: "  skerry verify ./skerry-data",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			result := verified{Problems: []string{}}
			stop := a.spin(cmd.Context(), "verifying "+args[0])
			v, err := node.Verify(cmd.Context(), pebblestore.DiskFS(), args[0], func(problem error) {
				result.Problems = append(result.Problems, strings.Join(strings.Fields(problem.Error()), " "))
			})
			stop()
			if err != nil {
				return fmt.Errorf("verify: %w", err)
			}
			result.OK = v.Problems == 0
			result.Entities, result.Entries, result.Snapshots, result.Records = v.Store.Entities, v.Store.Entries, v.Store.Snapshots, v.Store.Records
			result.Quarantined, result.StoreBytes = v.Store.Quarantined, v.Store.Bytes
			result.LogSegments, result.LogEntries, result.LogBytes = v.Log.Segments, v.Log.Entries, v.Log.Bytes
			if err := a.printVerified(result); err != nil {
				return err
			}
			if !result.OK {
				return fmt.Errorf("%w: %d; keep a copy of it before you do anything", errProblems, v.Problems)
			}
			return nil
		},
	}
}

func (a *app) printVerified(r verified) error {
	if !a.json {
		for _, problem := range r.Problems {
			_, _ = fmt.Fprintf(a.out, "PROBLEM: %s\n", problem)
		}
	}
	return a.print(r, "store: %d entities, %d entries, %d snapshots, %d records, %d bytes\nlog: %d segments, %d entries, %d bytes\nquarantined: %d\nproblems: %d\n",
		r.Entities, r.Entries, r.Snapshots, r.Records, r.StoreBytes, r.LogSegments, r.LogEntries, r.LogBytes, r.Quarantined, len(r.Problems))
}

// spin shows that something goes on until the returned function is called.
func (a *app) spin(ctx context.Context, what string) (stop func()) {
	bar := a.bar(what)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // stop waits for it
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = bar.Add(1)
			case <-ctx.Done():
				_ = bar.Finish()
				return
			}
		}
	}()
	return func() { cancel(); <-ended }
}
