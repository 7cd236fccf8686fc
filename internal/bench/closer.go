package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

const (
	closerInflight = 512
	// bareLogBytes is what bareLog writes for one 50-byte command.
	bareLogBytes = 62
	// profileTop is how many costs are printed.
	profileTop = 3
	// wantFlushes is how many flushes of the store should end, for which at most maxClosers windows are run.
	wantFlushes = 4
	maxClosers  = 8
)

// lookCloser runs more windows of durable commands, with which it compares nothing: for bytes and for the profile.
func lookCloser(ctx context.Context, systems []system, o options) error {
	for _, one := range systems {
		s, ok := one.(*skerry)
		if !ok || s.durability != client.Durable {
			continue
		}
		return s.lookCloser(ctx, o)
	}
	return nil
}

func (s *skerry) lookCloser(ctx context.Context, o options) error {
	fmt.Printf("\n%s, %d in flight, %v or more\n", s.name(), closerInflight, o.closer)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	profiled, counted := make(chan error, 1), make(chan error, 1)
	go func() { // the profile is a little shorter than the first window
		if o.profile == "" {
			profiled <- nil
			return
		}
		profiled <- profile(ctx, s.node.process, o.profile, o.closer-2*time.Second)
	}()
	var seen flushes
	go func() { counted <- seen.watch(watching, s.node.process) }() // ends with watching
	var err error
	for n := 0; err == nil && n < maxClosers && (n == 0 || seen.count.Load() < wantFlushes); n++ {
		_, err = s.run(ctx, closerInflight, o.closer)
	}
	stop()
	if err := errors.Join(err, <-counted, <-profiled); err != nil {
		return err
	}
	seen.print()
	if o.profile == "" {
		return nil
	}
	return printTop(ctx, o.profile)
}

// flushes notes what had been written, and how many turns had run, when each flush of the store ended.
type flushes struct {
	count atomic.Int64
	ends  []diskUse // owned by watch until it has ended
}

// diskUse is counted from the node's start.
type diskUse struct{ turns, log, flushed float64 }

// watch notes the disk use whenever a flush of the store has ended, until ctx ends.
func (f *flushes) watch(ctx context.Context, node *clustertest.Process) error {
	const turns, log, flushed = "skerry_actors_turns_total", "skerry_replication_written_bytes_total", "skerry_pebblestore_flushed_bytes_total"
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	last := -1.0
	for {
		now, err := node.Metrics(ctx, turns, log, flushed)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case last >= 0 && now[flushed] != last:
			f.ends = append(f.ends, diskUse{turns: now[turns], log: now[log], flushed: now[flushed]})
			f.count.Add(1)
		}
		last = now[flushed]
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// print counts from the end of one flush to the end of another: between them lie whole memtables.
func (f *flushes) print() {
	if len(f.ends) < 2 {
		fmt.Printf("bytes to disk: %d flushes ended, two are needed: make -closer longer\n", len(f.ends))
		return
	}
	first, last := f.ends[0], f.ends[len(f.ends)-1]
	commands := last.turns - first.turns
	log, flush := (last.log-first.log)/commands, (last.flushed-first.flushed)/commands
	fmt.Printf("bytes to disk for a durable command: %.0f in the log + %.0f flushed by the store = %.0f, a bare log writes %d: %.2f times\n"+
		"(%.0f commands, %d flushes, before compaction)\n",
		log, flush, log+flush, bareLogBytes, (log+flush)/bareLogBytes, commands, len(f.ends)-1)
}

// profile writes a CPU profile of the node to file.
func profile(ctx context.Context, node *clustertest.Process, file string, duration time.Duration) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", node.Ready.Admin, max(1, int(duration.Seconds())))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %.200s: %w", response.Status, data, err)
	}
	return os.WriteFile(file, data, 0o600)
}

// printTop prints the costs that `go tool pprof -top` puts first.
func printTop(ctx context.Context, file string) error {
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount", fmt.Sprint(profileTop), file).Output()
	if err != nil {
		return fmt.Errorf("go tool pprof: %w", err)
	}
	_, table, _ := strings.Cut(string(out), "Total samples")
	fmt.Printf("CPU profile in %s: total samples%s", file, table)
	return nil
}
