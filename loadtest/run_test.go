// Goal: a run comes to its end against real nodes, finds what is right right, and leaves nothing behind.
// Method: a few seconds of steady against nodes as processes: this test's own program, started again.
package loadtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/skerry-dev/skerry/loadtest"
	"github.com/skerry-dev/skerry/loadtest/report"
	"github.com/skerry-dev/skerry/node"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "node" {
		os.Exit(runNode(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// runNode is `skerry node`, as far as a test needs it.
func runNode(args []string) int {
	config := node.DefaultConfig()
	flags := pflag.NewFlagSet("node", pflag.ContinueOnError)
	node.AddFlags(flags, &config)
	if err := flags.Parse(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	n, err := node.Open(ctx, config, node.Options{OnReady: func(ready node.Ready) {
		fmt.Printf(`{"ready":true,"grpc":%q,"admin":%q,"gossip":%q}`+"\n", ready.GRPC, ready.Admin, ready.Gossip)
	}})
	if err == nil {
		err = n.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestSteady(t *testing.T) {
	s, err := loadtest.Find("steady")
	if err != nil {
		t.Fatal(err)
	}
	s.Servers, s.Players, s.Minutes = 2, 10, 3
	dir := t.TempDir()
	r, err := loadtest.Run(t.Context(), s, loadtest.Options{Embedded: 1, Minute: time.Second, Seed: 7, Restart: true, Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range r.Checks {
		if !check.OK {
			t.Errorf("%s: %s; found: %s %s", check.Name, check.Bound, check.Found, check.Detail)
		}
	}
	operations := int64(0)
	for _, o := range r.Operations {
		operations += o.Count
	}
	if operations < 500 || len(r.Samples) < 8 || len(r.Servers) != 2 || r.Machine.Tool <= 0 || r.Machine.Nodes <= 0 {
		t.Errorf("%d operations, %d samples, %d servers, machine %+v", operations, len(r.Samples), len(r.Servers), r.Machine)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "n1", "node.log")); err != nil || strings.Contains(string(text), "level=ERROR") {
		t.Errorf("the node's log: %v\n%s", err, text)
	}
}

// A run that is given up leaves no node, and no files.
func TestRunEnds(t *testing.T) {
	s, err := loadtest.Find("steady")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	w := &watcher{first: func() { cancel(gone) }}
	_, err = loadtest.Run(ctx, s, loadtest.Options{Embedded: 2, Minute: time.Second, Watch: w})
	if !errors.Is(err, gone) {
		t.Errorf("given up: %v", err)
	}
	var left []os.DirEntry
	if left, err = os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	children, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range children {
		if pids, err := os.ReadFile(file); err == nil && len(pids) > 0 {
			t.Errorf("processes are left: %s", pids)
		}
	}
}

// watcher calls a function at the first sample.
type watcher struct{ first func() }

func (w *watcher) Add(report.Sample) { w.first() }

func (*watcher) Mark(report.Mark) {}
