// Command torture runs three voters as real processes that replicate, kills and freezes them under load, and counts: nothing
// acknowledged may be lost or doubled, and no read may be stale. With -bench it measures them, beside etcd and NATS where these are
// installed. A voter is the log, the store and the connection to its peers, without members, actors and front door.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

type options struct {
	time       time.Duration
	seed       uint64
	partitions int
	writers    int
	entities   int
	pace       time.Duration
	fault      string
	dir        string
	keep       bool
	json       bool
}

func main() {
	var o options
	var v voterOptions
	var b benchOptions
	flag.DurationVar(&o.time, "time", time.Minute, "how long things are broken; healing and reading back come after it")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the workload and the faults")
	flag.IntVar(&o.writers, "writers", 3, "writers of each partition")
	flag.IntVar(&o.entities, "entities", 4, "entities of each writer")
	flag.DurationVar(&o.pace, "pace", 10*time.Millisecond, "pause of a writer between two entries, on average")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory")
	flag.BoolVar(&o.json, "json", false, "print the result as JSON; the progress goes to standard error")
	flag.IntVar(&o.partitions, "partitions", 32, "partitions")
	flag.StringVar(&o.dir, "dir", "", "where the voters keep their data; default: a new temporary directory")
	flag.StringVar(&o.fault, "fault", "", "switch a mechanism of the voters off: the run must fail, see docs/testing.md")
	b.flags()
	flag.UintVar(&v.node, "voter", 0, "be the voter of this id (used by this program itself)")
	flag.StringVar(&v.commands, "commands", "", "address for the driver (-voter)")
	flag.StringVar(&v.addresses, "addresses", "", "peer addresses of all voters (-voter)")
	flag.BoolVar(&v.small, "small", false, "small segments and memtables (-voter)")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	name, err := "torture", error(nil)
	switch {
	case v.node > 0:
		v.dir, v.partitions, v.fault = o.dir, o.partitions, o.fault
		name, err = fmt.Sprint("voter ", v.node), runVoter(ctx, v)
	case b.run:
		debug.SetGCPercent(400) // the driver's garbage is no system's cost
		name, err = "bench", bench(ctx, o, b)
	default:
		err = torture(ctx, o)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: FAILED: %v\n", name, err)
		cancel()
		os.Exit(1)
	}
}

// torture is one run.
func torture(ctx context.Context, o options) error {
	progress := os.Stdout
	if o.json {
		progress = os.Stderr
	}
	dir, remove, err := directory(o)
	if err != nil {
		return err
	}
	defer remove()
	fmt.Fprintf(progress, "seed %d, %v, %d partitions, %d writers, in %s\n", o.seed, o.time, o.partitions, o.partitions*o.writers, dir)
	c, err := startCluster(ctx, dir, o.partitions, true, o.fault)
	if err != nil {
		return err
	}
	defer c.end()
	r := newRun(o, c)
	if err := r.underLoad(ctx, progress); err != nil {
		r.tally.violation("unhealed", err)
	}
	if c.whole() { // else it was said, and much cannot be read
		r.readBack(context.WithoutCancel(ctx))
		if err := c.stop(); err != nil {
			r.tally.violation("failed", err)
		}
	}
	report := r.report()
	if err := report.print(os.Stdout, o.json); err != nil {
		return err
	}
	if !report.held() {
		return errors.New(strings.Join(append([]string{fmt.Sprintf("seed %d", o.seed)}, r.tally.reasons()...), "\n"))
	}
	return nil
}

// directory returns where the voters keep their data, and what removes it.
func directory(o options) (string, func(), error) {
	if o.dir != "" {
		return o.dir, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "skerry-torture")
	if err != nil || o.keep {
		return dir, func() {}, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}
