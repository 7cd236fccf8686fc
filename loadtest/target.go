package loadtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/internal/clustertest"
	"github.com/skerry-dev/skerry/node"
)

// target is the cluster under load: one that is there, or nodes that were started here. Its methods are for one goroutine, apart
// from admins.
type target struct {
	opts    *Options
	addrs   string               // gRPC
	cluster *clustertest.Cluster // nil: it is not ours
	dir     string               // to be removed at the end, "" for none

	mu    sync.Mutex
	nodes []string // admin addresses
	lives []int    // how often each was started
}

// startWithin and stopWithin bound how long a node may take to serve, and to stop.
const (
	startWithin = 60 * time.Second
	stopWithin  = 60 * time.Second
)

// openTarget starts nodes, or takes what is there. The caller closes it, also after an error of a later step.
func openTarget(ctx context.Context, s *Scenario, opts *Options) (*target, error) {
	t := &target{opts: opts, addrs: opts.Addr, nodes: opts.Admins}
	t.lives = make([]int, len(t.nodes))
	if opts.Addr != "" {
		return t, nil
	}
	dir := opts.Data
	if dir == "" {
		made, err := os.MkdirTemp("", "skerry-load-")
		if err != nil {
			return nil, fmt.Errorf("make a directory for the nodes: %w", err)
		}
		dir, t.dir = made, made
	}
	program := opts.Program
	if program == "" {
		own, err := os.Executable()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("find this program, to start it as a node: %w", err), t.close())
		}
		program = own
	}
	t.cluster = &clustertest.Cluster{Program: program, Dir: dir, Args: nodeArgs(s, opts)}
	for range opts.Embedded {
		if err := t.add(ctx); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	return t, nil
}

func (t *target) add(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	member, err := t.cluster.Add(starting)
	if err != nil {
		return fmt.Errorf("start a node: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes, t.lives = append(t.nodes, member.Ready.Admin), append(t.lives, 1)
	t.addrs = t.cluster.Addrs()
	return nil
}

// The node's own times, which are scaled with the scenario's minute.
const (
	autosaveInterval = 5 * time.Minute
	journalInterval  = time.Second
	passivateAfter   = 10 * time.Minute
	serverTimeout    = 30 * time.Second
	heartbeat        = 10 * time.Second

	// leastServerTimeout keeps a machine that is busy for a moment from making game servers look dead.
	leastServerTimeout = 10 * time.Second
)

// nodeArgs are the settings of nodes that are started: everything that is a time is scaled like the load.
func nodeArgs(s *Scenario, opts *Options) []string {
	minute := opts.Minute
	args := []string{
		"--log-level", "warn",
		"--autosave-interval", scale(autosaveInterval, minute).String(),
		"--journal-interval", journalWindow(minute).String(),
		"--passivate-after", scale(passivateAfter, minute).String(),
		"--server-timeout", max(scale(serverTimeout, minute), leastServerTimeout).String(),
	}
	if knows("minute") {
		args = append(args, "--minute", minute.String())
	}
	if knows("autosave") {
		args = append(args, "--autosave", s.Autosave)
	}
	if opts.Fault != "" {
		args = append(args, "--fault", opts.Fault)
	}
	return args
}

// journalWindow is the scaled journal interval; below some milliseconds it would be a load of its own.
func journalWindow(minute time.Duration) time.Duration {
	return max(scale(journalInterval, minute), 20*time.Millisecond)
}

// knows reports whether nodes of this build have a setting.
func knows(setting string) bool {
	config := node.DefaultConfig()
	return slices.ContainsFunc(node.Settings(&config), func(s node.Setting) bool { return s.Name == setting })
}

// settled waits until every partition has its owner and its copies.
func (t *target) settled(ctx context.Context, c *client.Client) error {
	if t.cluster == nil {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := clustertest.Await(waiting, c, clustertest.Settled(len(t.cluster.Nodes()))); err != nil {
		return fmt.Errorf("wait for %d nodes to share the partitions: %w", len(t.cluster.Nodes()), err)
	}
	return nil
}

// kill ends a node at once.
func (t *target) kill(i int) error { return t.cluster.Nodes()[i].Kill() }

// revive starts a node that has ended.
func (t *target) revive(ctx context.Context, i int) error {
	starting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	member := t.cluster.Nodes()[i]
	t.mu.Lock()
	t.lives[i]++ // before it answers: who counts by lives must not take it for the one before
	t.mu.Unlock()
	if err := member.Start(starting); err != nil {
		return fmt.Errorf("start %s again: %w", member.Name, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes[i] = member.Ready.Admin
	return nil
}

// restart stops a node with SIGTERM and starts it again.
func (t *target) restart(ctx context.Context, i int) error {
	stopping, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if err := t.cluster.Nodes()[i].Stop(stopping); err != nil {
		return fmt.Errorf("stop %s: %w", t.cluster.Nodes()[i].Name, err)
	}
	return t.revive(ctx, i)
}

// restartAll stops all nodes, and then starts them.
func (t *target) restartAll(ctx context.Context) error {
	stopping, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	nodes := t.cluster.Nodes()
	failed := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			if err := n.Stop(stopping); err != nil {
				failed[i] = fmt.Errorf("stop %s: %w", n.Name, err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for i := range nodes { // a cluster needs more than one to serve: each waits only for itself
		all.Go(func() { failed[i] = t.revive(ctx, i) })
	}
	all.Wait()
	return errors.Join(failed...)
}

// admins are the admin addresses, and how often each node was started.
func (t *target) admins() ([]string, []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.nodes), slices.Clone(t.lives)
}

// busy is how much processor time the nodes have taken, as far as they are ours and live.
func (t *target) busy() time.Duration {
	if t.cluster == nil {
		return 0
	}
	sum := time.Duration(0)
	for _, n := range t.cluster.Nodes() {
		sum += processTime(n.Pid())
	}
	return sum
}

// own is how much processor time this program has taken.
func own() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// processTime is how much processor time a process has taken; 0 when the system does not say.
func processTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may have spaces
	var fields []string
	if fields = strings.Fields(rest); len(fields) < 13 {
		return 0
	}
	var user, system int64
	if _, err := fmt.Sscan(fields[11], &user); err != nil {
		return 0
	}
	if _, err := fmt.Sscan(fields[12], &system); err != nil {
		return 0
	}
	const ticks = 100 // a second, on every Linux
	return time.Duration(user+system) * time.Second / ticks
}

// close ends what was started, and removes what it kept.
func (t *target) close() error {
	if t.cluster != nil {
		t.cluster.Close()
	}
	if t.dir == "" {
		return nil
	}
	if err := os.RemoveAll(t.dir); err != nil {
		return fmt.Errorf("remove the nodes' data: %w", err)
	}
	return nil
}
