package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/loadtest"
)

// The exit codes.
const (
	exitOK = iota
	exitFailure
	exitUsage
)

// streams are where a command writes.
type streams struct{ out, err io.Writer }

// app is one run of the command.
type app struct {
	streams
	lookup func(string) (string, bool) // os.LookupEnv
	json   bool

	begun bool // flags and arguments were right
}

// usageError is a mistake of the caller: exit code 2.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e usageError) Unwrap() error { return e.error }

// run is the whole command; it returns the exit code.
func run(ctx context.Context, args []string, s streams, lookup func(string) (string, bool)) int {
	a := &app{streams: s, lookup: lookup}
	root := a.root() //nolint:contextcheck // a node's own goroutines have no caller
	root.SetArgs(args)
	root.SetOut(s.out)
	root.SetErr(s.err)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(s.err, "skerry-load: %v\n", err)
	mistake := usageError{}
	if !a.begun || errors.As(err, &mistake) || errors.Is(err, loadtest.ErrScenario) || errors.Is(err, loadtest.ErrOptions) {
		_, _ = fmt.Fprintf(s.err, "`%s --help` explains.\n", called.CommandPath())
		return exitUsage
	}
	return exitFailure
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "skerry-load",
		Short: "Load tests for Skerry",
		Long: `Load tests for Skerry: virtual game servers with virtual players play a scenario against a cluster, which this program may start
itself, and everything that was acknowledged is read back and checked at the end.

Exit status: 0 when every bound held, 1 when one broke (named on standard error) or the run failed, 2 for a mistake in the call.`,
		Example:       "  skerry-load run steady --embedded 1\n  skerry-load scenarios",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRun: func(*cobra.Command, []string) { a.begun = true },
		Args:             cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return cmd.Help()
		},
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.runCommand(), a.scenariosCommand(), a.compareCommand(), a.peersCommand(), a.versionCommand(), a.nodeCommand(), a.echoCommand())
	return root
}

func (a *app) env(name string) string {
	value, _ := a.lookup(name)
	return value
}

// print writes v as JSON with --json, else as text says.
func (a *app) print(v any, text string, args ...any) error {
	if !a.json {
		_, err := fmt.Fprintf(a.out, text, args...)
		return err
	}
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
