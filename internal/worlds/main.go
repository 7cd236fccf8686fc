// Command worlds shows on real worlds, or on small ones that it makes itself, what Skerry promises of worlds: they come
// back from a kill -9 block for block, a small edit costs little log and little disk, and a world that is far larger than
// the memory it may take opens at once. It prints what it measures, and fails where a bound is broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/clustertest"
)

type options struct {
	data   string
	out    string
	only   string
	chunks int
	steps  int
	seed   uint64
}

func main() {
	var o options
	flag.StringVar(&o.data, "data", "", "folder of VXC1 files (NAME.vxc.zst, also in its folders); one with PAIRS in its name holds columns before and after an edit in turn. Without it small worlds are made")
	flag.StringVar(&o.out, "out", "", "folder to keep the exported files in")
	flag.StringVar(&o.only, "only", "", "comma-separated: roundtrip, change, pairs, paging. Default: all of them")
	flag.IntVar(&o.chunks, "chunks", 100_000, "chunks of the world for paging")
	flag.IntVar(&o.steps, "steps", 1000, "chunks that a player walks through")
	flag.Uint64Var(&o.seed, "seed", 1, "of the worlds that are made and of the edits")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "worlds: FAILED (seed %d): %v\n", o.seed, err)
		os.Exit(1)
	}
}

// bench is one run. Its fields are set before the first part runs.
type bench struct {
	options
	program, dir string
	worlds       []source
	pairs        source
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "skerry-worlds")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir}
	if b.worlds, b.pairs, err = sources(o); err != nil {
		return err
	}
	if b.program, err = clustertest.Build(ctx, dir, ""); err != nil {
		return err
	}
	fmt.Printf("%s, %d cores, %s/%s; seed %d\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, o.seed)
	var problems []error
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"roundtrip", b.roundTrip},
		{"change", b.change},
		{"pairs", b.realEdits},
		{"paging", b.paging},
	} {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), part.name) {
			continue
		}
		from := time.Now()
		if err := part.run(ctx); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", part.name, err))
		}
		fmt.Printf("(%s: %v)\n", part.name, time.Since(from).Round(time.Millisecond))
	}
	return errors.Join(problems...)
}

// home is a node's directory.
func (b *bench) home(name string) string { return filepath.Join(b.dir, name) }

// bounds gathers what is out of bounds, so that a part of the run is measured to its end.
type bounds []error

// atMost notes a value that is over its bound, and returns what to print of it.
func (b *bounds) atMost(what string, value, bound float64) string {
	if value > bound {
		*b = append(*b, fmt.Errorf("%s is %.0f, more than %.0f", what, value, bound))
		return fmt.Sprintf("%.0f (bound %.0f: BROKEN)", value, bound)
	}
	return fmt.Sprintf("%.0f (bound %.0f)", value, bound)
}

func (b *bounds) err() error { return errors.Join(*b...) }

// quantile is the smallest value that at least the q-th part of values is not above.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
