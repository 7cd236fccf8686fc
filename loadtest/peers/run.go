package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	threeNodes = 3
	// startWithin and stopWithin bound how long a system may take to be filled, and to end; slowest, how long a window may
	// last beyond its time.
	startWithin = 3 * time.Minute
	stopWithin  = time.Minute
	slowest     = 30 * time.Second
	// afterMemory is longer than a node's journal interval and than Redis' everysec: what a system does in the background after
	// its window is not the next one's. After a durable window there is less to do.
	afterMemory  = 1500 * time.Millisecond
	afterDurable = 500 * time.Millisecond
)

// Run measures. The report is nil only when nothing was measured; with ErrFailed it is whole, and names what failed.
func Run(ctx context.Context, o Options) (*Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	program := o.Program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this program, to start it again: %w", err)
		}
	}
	systems := selected(all(o.Nodes, program), o.Systems)
	report, err := Compare(ctx, systems, o)
	return report, err
}

// all are the systems, Skerry first.
func all(nodes int, program string) []System {
	shared := &node{program: program, nodes: nodes}
	systems := []System{
		&skerry{node: shared, name: "Skerry", ops: []Op{Durable, Memory}},
		&skerry{node: shared, name: "Skerry, a session opened", ops: []Op{Load}, kind: opening},
		&skerry{node: shared, name: "Skerry, read", ops: []Op{Load}, kind: reading},
		&skerry{node: shared, name: "Skerry, attributes set", ops: []Op{Save}, kind: setting},
		&skerry{node: shared, name: "Skerry, a change and a snapshot", ops: []Op{Save}, kind: snapshotting},
	}
	if nodes == threeNodes {
		return append(systems, Etcd(threeNodes), NATS(threeNodes))
	}
	return append(systems,
		&redis{appendfsync: "always", ops: []Op{Durable, Load, Save}}, &redis{appendfsync: "everysec", ops: []Op{Memory}},
		&postgres{}, Etcd(1), NATS(1), &echo{program: program}, &bareLog{})
}

// selected are Skerry and those whose names contain one of the parts; no parts select everything.
func selected(systems []System, parts []string) []System {
	var chosen []System
	for _, s := range systems {
		wanted := len(parts) == 0 || ours(s)
		for _, part := range parts {
			wanted = wanted || strings.Contains(strings.ToLower(s.Name()), strings.ToLower(part))
		}
		if wanted {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// ours says that a system is what the others are compared with.
func ours(s System) bool { return strings.HasPrefix(strings.ToLower(s.Name()), "skerry") }

// Compare measures these systems instead of the usual ones. Those whose names begin with "skerry" are what the others are
// compared with.
func Compare(ctx context.Context, systems []System, o Options) (*Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	// The documents of all players are live in this process: marking them over and over is no system's cost.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	dir, err := os.MkdirTemp(o.Dir, "skerry-peers-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the systems: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is in the system's directory for what may be lost
	r := &Report{
		When: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), Machine: runtime.GOOS + "/" + runtime.GOARCH,
		Cores: runtime.NumCPU(), Nodes: o.Nodes, Players: o.Players, Rounds: o.Rounds, WindowSeconds: o.Window.Seconds(), LoadBefore: loadAverage(),
	}
	if r.Fdatasync, err = calibrate(dir); err != nil {
		return nil, fmt.Errorf("measure the disk: %w", err)
	}
	m := &measurement{Options: o, report: r}
	defer m.stopAll(context.WithoutCancel(ctx))
	m.startAll(ctx, dir, systems)
	m.plan()
	for i := range m.tables {
		if err := m.fill(ctx, &m.tables[i]); err != nil {
			return r, err
		}
	}
	if err := m.lookCloser(ctx); err != nil {
		m.failed("Skerry, the last windows", err)
	}
	r.LoadAfter = loadAverage()
	return r, r.err()
}

// measurement is one run as it goes.
type measurement struct {
	Options
	report  *Report
	started []System // also those that failed to start: they are stopped
	running []System
	tables  []tableInWork
	left    int
	dead    map[System]bool // failed in a window: not asked again
}

// tableInWork is a table with its systems, row by row.
type tableInWork struct {
	table   Table
	op      Op
	systems []System
	rounds  []figures // by system
}

// figures are what the windows of one system gave, round by round.
type figures struct {
	rates, serverCPU, clientCPU []float64 // a second; µs an operation
	latency                     *hdrhistogram.Histogram
	failed                      error
}

func (m *measurement) startAll(ctx context.Context, dir string, systems []System) {
	m.dead = map[System]bool{}
	for i, s := range systems {
		if !m.wanted(s) {
			continue
		}
		from := time.Now()
		starting, cancel := context.WithTimeout(ctx, startWithin)
		m.started = append(m.started, s)
		err := s.Start(starting, filepath.Join(dir, fmt.Sprint("system", i)), m.Players)
		cancel()
		switch {
		case errors.Is(err, ErrNotInstalled):
			m.report.Missing = append(m.report.Missing, Missing{System: s.Name(), Why: err.Error()})
			m.Watch(Progress{Text: s.Name() + ": " + err.Error()})
		case err != nil:
			m.failed(s.Name(), fmt.Errorf("start: %w", err))
		default:
			m.running = append(m.running, s)
			m.Watch(Progress{Text: fmt.Sprintf("%s: ready in %v", s.Name(), time.Since(from).Round(time.Millisecond))})
		}
	}
}

// wanted says whether a system is asked anything.
func (m *measurement) wanted(s System) bool {
	for _, op := range m.Ops {
		for _, way := range m.Ways {
			if s.Does(op, way) {
				return true
			}
		}
	}
	return false
}

func (m *measurement) failed(system string, err error) {
	m.report.Failed = append(m.report.Failed, Missing{System: system, Why: err.Error()})
	m.Watch(Progress{Text: system + ": FAILED: " + err.Error(), Left: m.left})
}

func (m *measurement) stopAll(ctx context.Context) {
	for _, s := range m.started {
		stopping, cancel := context.WithTimeout(ctx, stopWithin)
		if err := s.Stop(stopping); err != nil {
			m.Watch(Progress{Text: fmt.Sprintf("%s: stop: %v", s.Name(), err)})
		}
		cancel()
	}
}

// plan says which tables there will be: those in which something is compared, or would be if more were installed.
func (m *measurement) plan() {
	for _, op := range m.Ops {
		for _, way := range m.Ways {
			for _, inflight := range m.Inflight {
				t := tableInWork{op: op, table: Table{Op: op, What: op.Text(), Way: way, Inflight: inflight}}
				for _, s := range m.running {
					if s.Does(op, way) {
						t.systems = append(t.systems, s)
					}
				}
				if slices.ContainsFunc(t.systems, ours) {
					t.rounds = make([]figures, len(t.systems))
					m.left += m.Rounds * len(t.systems)
					m.tables = append(m.tables, t)
				}
			}
		}
	}
}

// fill asks all systems of a table, round by round, and adds the table to the report. Its error is ctx's.
func (m *measurement) fill(ctx context.Context, t *tableInWork) error {
	for round := range m.Rounds {
		m.Watch(Progress{
			Text: fmt.Sprintf("%s, %d in flight, %s: round %d of %d", t.op, t.table.Inflight, t.table.Way, round+1, m.Rounds),
			Left: m.left, Time: time.Duration(m.left) * (m.Window + afterDurable),
		})
		for i, s := range t.systems {
			m.left--
			f := &t.rounds[i]
			if f.failed == nil && m.dead[s] {
				f.failed = errDead
			}
			if f.failed != nil {
				continue
			}
			f.failed = m.window(ctx, s, t, f)
			if err := ctx.Err(); err != nil { // then it is no failure of the system
				return err
			}
			if f.failed != nil {
				m.dead[s] = true
				m.failed(s.Name(), fmt.Errorf("%s, %d in flight, %s: %w", t.op, t.table.Inflight, t.table.Way, f.failed))
			}
		}
	}
	t.table.Rows = rowsOf(t.systems, t.rounds)
	m.report.Tables = append(m.report.Tables, t.table)
	return nil
}

var errDead = errors.New("it failed before")

// window asks one system once.
func (m *measurement) window(ctx context.Context, s System, t *tableInWork, f *figures) error {
	asking, cancel := context.WithTimeout(ctx, m.Window+slowest)
	defer cancel()
	servers, client := cpuOf(s.PIDs()), cpuOf([]int{os.Getpid()})
	w, err := s.Run(asking, t.op, t.table.Way, t.table.Inflight, m.Window)
	if err != nil {
		return err
	}
	if w.Operations == 0 {
		return errors.New("no operation ended in a window")
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(w.Operations) }
	f.rates = append(f.rates, float64(w.Operations)/w.Elapsed.Seconds())
	f.serverCPU = append(f.serverCPU, each(cpuOf(s.PIDs())-servers))
	f.clientCPU = append(f.clientCPU, each(cpuOf([]int{os.Getpid()})-client))
	if f.latency == nil {
		f.latency = newHistogram()
	}
	f.latency.Merge(w.Latency)
	settle := afterDurable
	if t.op == Memory {
		settle = afterMemory
	}
	pause(ctx, min(settle, m.Window)) // short windows are to try it, not to compare
	return nil
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
