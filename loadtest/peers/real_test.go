// Goal: every system that is installed does what it is asked, and nothing is left of it.
// Method: one short window of everything, with nodes and echo as processes of this test's own program.
package peers_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/skerry-dev/skerry/loadtest/peers"
	"github.com/skerry-dev/skerry/node"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "node" || os.Args[1] == "echo") {
		os.Exit(child(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

// child is `skerry-load node` or `skerry-load echo`, as far as a test needs them.
func child(name string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := error(nil)
	if name == "echo" {
		err = peers.ServeEcho(ctx, os.Stdout)
	} else {
		err = runNode(ctx, args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runNode(ctx context.Context, args []string) error {
	config := node.DefaultConfig()
	flags := pflag.NewFlagSet("node", pflag.ContinueOnError)
	node.AddFlags(flags, &config)
	if err := flags.Parse(args); err != nil {
		return err
	}
	n, err := node.Open(ctx, config, node.Options{OnReady: func(ready node.Ready) {
		fmt.Printf(`{"ready":true,"grpc":%q,"admin":%q,"gossip":%q}`+"\n", ready.GRPC, ready.Admin, ready.Gossip)
	}})
	if err != nil {
		return err
	}
	return n.Run(ctx)
}

func TestEverySystem(t *testing.T) {
	found, err := peers.Run(t.Context(), peers.Options{
		Rounds: 1, Window: 50 * time.Millisecond, Players: 50, Inflight: []int{8}, Dir: openDir(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range found.Missing {
		t.Logf("SKIPPED: %s: %s", m.System, m.Why)
	}
	tables := map[peers.Op]int{}
	for _, table := range found.Tables {
		tables[table.Op]++
		for _, row := range table.Rows {
			if row.PerSecond <= 0 || row.P99 < row.P50 || row.P50 <= 0 || row.Failed != "" {
				t.Errorf("%s, %s: %+v", table.Op, table.Way, row)
			}
			if !row.Ours && (len(row.Ratios) == 0 || row.Ratios[0] <= 0) {
				t.Errorf("%s, %s: %s has no ratio", table.Op, table.Way, row.System)
			}
		}
	}
	if tables[peers.Durable] != 2 || tables[peers.Memory] != 2 || tables[peers.Load] != 1 || tables[peers.Save] != 1 {
		t.Errorf("tables: %v", tables)
	}
	for _, child := range children(t) {
		t.Errorf("still running: %s", child)
	}
}

// TestThreeNodes: a cluster, and nothing of it is left.
func TestThreeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a cluster takes seconds")
	}
	dir := openDir(t)
	found, err := peers.Run(t.Context(), peers.Options{
		Nodes: 3, Rounds: 1, Window: 50 * time.Millisecond, Players: 50, Inflight: []int{8}, Systems: []string{"etcd"}, Dir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range found.Missing {
		t.Logf("SKIPPED: %s: %s", m.System, m.Why)
	}
	if len(found.Tables) != 1 || found.Tables[0].Rows[0].PerSecond <= 0 {
		t.Errorf("tables: %+v", found.Tables)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v (%v)", left, err)
	}
	for _, child := range children(t) {
		t.Errorf("still running: %s", child)
	}
}

// openDir is a temporary directory that others may enter: PostgreSQL does not run as root.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peers-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// children are the processes that this one has started, and not waited for.
func children(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == fmt.Sprint(os.Getpid()) {
			found = append(found, string(stat))
		}
	}
	return found
}
