package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/client"
)

// The exit codes.
const (
	exitOK = iota
	exitFailure
	exitUsage
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// app is one run of the command.
type app struct {
	streams
	lookup func(string) (string, bool) // os.LookupEnv

	// Flags of every command that talks to a node.
	addr, key, space, ca string
	tls, json            bool
	timeout              time.Duration

	begun bool // flags and arguments were right
}

// usageError is a mistake of the caller: exit code 2.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e usageError) Unwrap() error { return e.error }

// run is the whole command; it returns the exit code.
func run(ctx context.Context, args []string, s streams, lookup func(string) (string, bool)) int {
	a := &app{streams: s, lookup: lookup}
	root := a.root() //nolint:contextcheck // the store's own goroutines have no caller
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(s.err, "skerry: %v\n", err)
	if hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintf(s.err, "%s\n", hint)
	}
	if mistake := (usageError{}); !a.begun || errors.As(err, &mistake) {
		_, _ = fmt.Fprintf(s.err, "`%s --help` explains.\n", called.CommandPath())
		return exitUsage
	}
	return exitFailure
}

// hintFor says what to do about an error that has no advice of its own.
func hintFor(err error) string {
	switch {
	case errors.Is(err, client.ErrUnauthenticated):
		return "Pass an API key with --key or SKERRY_KEY."
	case errors.Is(err, client.ErrPermissionDenied):
		return "Use a key with the scope and the space that this needs; `skerry key create` makes one."
	case errors.Is(err, errUnreachable):
		return "Is a node running there? `skerry node` starts one; --addr or SKERRY_ADDR names another (its gRPC address), or is this its HTTP port, or does one side want TLS?"
	case errors.Is(err, errFirstKey):
		return "The first one: `skerry key create --name operator --scopes admin,operate --all-spaces`"
	default:
		return ""
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "skerry",
		Short:         "Skerry keeps the state of games",
		Long:          "Skerry keeps the state of games: players live in memory on a node while they are used, and are on disk before you hear that they are.",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRun: func(*cobra.Command, []string) { a.begun = true },
		Args:             cobra.NoArgs,
		RunE:             group,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.addr, "addr", a.env("SKERRY_ADDR", "127.0.0.1:7701"), "a node's gRPC address, or several with commas: any that answers will do (SKERRY_ADDR)")
	flags.StringVar(&a.key, "key", "", "API key (SKERRY_KEY, which other users of this machine cannot see)")
	flags.StringVar(&a.space, "space", a.env("SKERRY_SPACE", "main"), "space to work in (SKERRY_SPACE)")
	flags.BoolVar(&a.tls, "tls", false, "connect with TLS, verified by the system's certificates")
	flags.StringVar(&a.ca, "ca", "", "connect with TLS, verified by this PEM file")
	flags.BoolVar(&a.json, "json", false, "print JSON")
	flags.DurationVar(&a.timeout, "timeout", 10*time.Second, "how long one request may take")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.nodeCommand(), a.playerCommand(), a.worldCommand(), a.spaceCommand(), a.keyCommand(), a.clusterCommand(),
		a.verifyCommand(), a.configCommand(), a.versionCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return root
}

// group is a command that only has others below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
	}
	return cmd.Help()
}

func (a *app) env(name, otherwise string) string {
	if value, ok := a.lookup(name); ok && value != "" {
		return value
	}
	return otherwise
}

// errUnreachable says that no node answered at the address.
var errUnreachable = errors.New("cannot reach a node")

// dial connects to the node that the flags name.
func (a *app) dial(ctx context.Context) (*client.Client, error) {
	for addr := range strings.SplitSeq(a.addr, ",") {
		if _, port, err := net.SplitHostPort(strings.TrimSpace(addr)); err != nil || port == "" {
			return nil, usageError{fmt.Errorf("--addr: %q is not HOST:PORT, such as 127.0.0.1:7701", addr)}
		}
	}
	opts := client.Options{Key: a.key, Space: a.space, Timeout: a.timeout}
	if a.key == "" {
		opts.Key = a.env("SKERRY_KEY", "")
	}
	if a.tls || a.ca != "" {
		opts.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if a.ca != "" {
		pem, err := os.ReadFile(a.ca)
		if err != nil {
			return nil, fmt.Errorf("read --ca: %w", err)
		}
		opts.TLS.RootCAs = x509.NewCertPool()
		if !opts.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usageError{fmt.Errorf("%s has no PEM certificate", a.ca)}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, min(a.timeout, 3*time.Second))
	defer cancel()
	c, err := client.Dial(ctx, a.addr, opts)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return c, nil
}

// with runs f with a connection.
func (a *app) with(cmd *cobra.Command, f func(ctx context.Context, c *client.Client) error) (err error) {
	c, err := a.dial(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return f(cmd.Context(), c)
}

// short is a context for one request.
func (a *app) short(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.timeout)
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
