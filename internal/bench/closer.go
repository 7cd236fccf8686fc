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
)

// lookCloser runs one more window of durable commands, with which it compares nothing: for bytes and for the profile.
func lookCloser(ctx context.Context, systems []system, o options) error {
	for _, any := range systems {
		s, ok := any.(*skerry)
		if !ok || s.durability != client.Durable {
			continue
		}
		return s.lookCloser(ctx, o)
	}
	return nil
}

func (s *skerry) lookCloser(ctx context.Context, o options) error {
	fmt.Printf("\n%s, %d in flight, %v more\n", s.name(), closerInflight, o.closer)
	w := newWindow(closerInflight)
	ended := make(chan struct{})
	profiled := make(chan error, 1)
	go func() { // the profile is a little shorter than the window
		if o.profile == "" {
			profiled <- nil
			return
		}
		profiled <- profile(ctx, s.node.process, o.profile, o.closer-2*time.Second)
	}()
	counted := make(chan error, 1)
	var log []diskUse
	go func() { // ends after ended is closed
		var err error
		log, err = watchDisk(ctx, s.node.process, w, ended)
		counted <- err
	}()
	_, err := s.drive(ctx, w, o.closer)
	close(ended)
	if err := errors.Join(err, <-counted, <-profiled); err != nil {
		return err
	}
	printDiskUse(log)
	if o.profile == "" {
		return nil
	}
	return printTop(ctx, o.profile)
}

// diskUse is what was written since the node started, and how many commands of the window were answered by then.
type diskUse struct {
	operations   int64
	log, flushed float64
}

// watchDisk notes the disk use whenever a flush of the store has ended, until ended is closed.
func watchDisk(ctx context.Context, node *clustertest.Process, w *window, ended <-chan struct{}) ([]diskUse, error) {
	var seen []diskUse
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	last := -1.0
	for {
		flushed, err := node.Metric(ctx, "skerry_pebblestore_flushed_bytes_total")
		if err != nil {
			return nil, err
		}
		if flushed != last {
			log, err := node.Metric(ctx, "skerry_replication_written_bytes_total")
			if err != nil {
				return nil, err
			}
			if last >= 0 {
				seen = append(seen, diskUse{operations: w.count.Load(), log: log, flushed: flushed})
			}
			last = flushed
		}
		select {
		case <-ended:
			return seen, nil
		case <-ticker.C:
		}
	}
}

// printDiskUse counts from the end of one flush to the end of another: between them lie whole memtables.
func printDiskUse(seen []diskUse) {
	if len(seen) < 2 {
		fmt.Printf("bytes to disk: %d flushes ended in this window, two are needed: make -closer longer\n", len(seen))
		return
	}
	first, last := seen[0], seen[len(seen)-1]
	commands := float64(last.operations - first.operations)
	log, flush := (last.log-first.log)/commands, (last.flushed-first.flushed)/commands
	fmt.Printf("bytes to disk for a durable command: %.0f in the log + %.0f flushed by the store = %.0f, a bare log writes %d: %.2f times\n"+
		"(%.0f commands, over %d flushes, before compaction)\n",
		log, flush, log+flush, bareLogBytes, (log+flush)/bareLogBytes, commands, len(seen)-1)
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
