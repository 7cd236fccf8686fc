package peers

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

	"github.com/skerry-dev/skerry/internal/clustertest"
)

const (
	closerInflight = 512
	// profileTop is how many costs are shown.
	profileTop = 3
	// wantFlushes is how many flushes of the store should end, for which at most maxClosers windows are run.
	wantFlushes = 4
	maxClosers  = 8
)

// lookCloser runs more windows of durable changes, with which it compares nothing: for bytes and for the profile.
func (m *measurement) lookCloser(ctx context.Context) error {
	if m.Closer == 0 {
		return nil
	}
	for _, one := range m.running {
		if s, ok := one.(*skerry); ok && s.kind == changing && !m.dead[one] {
			return m.lookAt(ctx, s)
		}
	}
	return errors.New("no node was left to look at")
}

func (m *measurement) lookAt(ctx context.Context, s *skerry) error {
	process := s.node.cluster.Nodes()[0].Process
	watching, stop := context.WithCancel(ctx)
	defer stop()
	profiled, counted := make(chan error, 1), make(chan error, 1)
	go func() { // the profile is a little shorter than the first window
		if m.Profile == "" {
			profiled <- nil
			return
		}
		profiled <- profile(ctx, process, m.Profile, m.Closer-2*time.Second)
	}()
	var seen flushes
	go func() { counted <- seen.watch(watching, process) }() // ends with watching
	var err error
	for n := 0; err == nil && n < maxClosers && (n == 0 || seen.count.Load() < wantFlushes); n++ {
		m.Watch(Progress{Text: fmt.Sprintf("a longer window of durable changes, %d in flight, for bytes and profile (at most %d)", closerInflight, maxClosers), Time: m.Closer})
		_, err = s.Run(ctx, Durable, ByCallers, closerInflight, m.Closer)
	}
	stop()
	if err = errors.Join(err, <-counted, <-profiled); err != nil {
		return err
	}
	if m.report.Disk, err = seen.disk(); err != nil || m.Profile == "" {
		return err
	}
	m.report.Costs, err = topCosts(ctx, m.Profile)
	return err
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

// disk counts from the end of one flush to the end of another: between them lie whole memtables.
func (f *flushes) disk() (*Disk, error) {
	if len(f.ends) < 2 {
		return nil, fmt.Errorf("bytes to disk: %d flushes ended, two are needed: look longer", len(f.ends))
	}
	first, last := f.ends[0], f.ends[len(f.ends)-1]
	changes := last.turns - first.turns
	return &Disk{
		Log: (last.log - first.log) / changes, Flushed: (last.flushed - first.flushed) / changes,
		BareLog: bareLogBytes, Changes: changes, Flushes: len(f.ends) - 1,
	}, nil
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

// topCosts are what `go tool pprof -top` puts first.
func topCosts(ctx context.Context, file string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount", fmt.Sprint(profileTop), file).Output()
	if err != nil {
		return nil, fmt.Errorf("go tool pprof: %w", err)
	}
	_, table, _ := strings.Cut(string(out), "Total samples")
	return strings.Split("Total samples"+strings.TrimSpace(table), "\n"), nil
}
