package replication

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/persistence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChangesAreAppliedInOrder(t *testing.T) {
	n := mustOpen(t, testOptions(vfs.NewMem(), newModel(1)))
	if err := n.do(t, 1, n.change(1, "p", 1, []byte("one"))); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		seq  persistence.Seq
		want error
	}{{1, persistence.ErrDuplicate}, {3, persistence.ErrGap}, {2, nil}, {2, persistence.ErrDuplicate}, {3, nil}} {
		if err := n.do(t, 1, n.change(1, "p", step.seq, []byte("x"))); !errors.Is(err, step.want) {
			t.Errorf("seq %d: %v, want %v", step.seq, err, step.want)
		}
	}
	stale := n.change(1, "p", 4, []byte("x"))
	stale.Epoch.Term--
	if err := n.do(t, 1, stale); !errors.Is(err, persistence.ErrFenced) {
		t.Errorf("an older epoch: %v, want ErrFenced", err)
	}
	if err := n.do(t, persistence.MetaPartition, n.change(persistence.MetaPartition, "m", 1, []byte("x"))); err != nil {
		t.Errorf("the meta partition: %v", err)
	}
	if err := n.do(t, testPartitions, n.change(1, "p", 4, []byte("x"))); !errors.Is(err, persistence.ErrNotOwner) {
		t.Errorf("a partition that is not: %v, want ErrNotOwner", err)
	}
}

// Goal: a change that is not valid is refused alone; those that came in the same batch go on.
func TestInvalidChangeIsRefusedAlone(t *testing.T) {
	m := newModel(1)
	n := mustOpen(t, testOptions(vfs.NewMem(), m))
	outcomes := make(chan error, 3)
	bad := n.change(1, "b", 1, nil) // an entry without data
	for _, c := range []*persistence.Change{n.change(1, "a", 1, []byte("x")), bad, n.change(1, "c", 1, []byte("x"))} {
		if err := n.Propose(1, c, func(err error) { outcomes <- err }); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for range 3 {
		if err := <-outcomes; errors.Is(err, persistence.ErrBadChange) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused != 1 || m.last(1, "a") != 1 || m.last(1, "b") != 0 || m.last(1, "c") != 1 {
		t.Fatalf("%d refused; a %d, b %d, c %d", refused, m.last(1, "a"), m.last(1, "b"), m.last(1, "c"))
	}
}

func TestBarrierNeedsTheEpoch(t *testing.T) {
	n := mustOpen(t, testOptions(vfs.NewMem(), newModel(1)))
	epoch := n.owners.epoch(2)
	called := false
	if err := n.Barrier(2, epoch, func(err error) { called = err == nil }); err != nil || !called {
		t.Errorf("the owner's barrier: %v, called %v", err, called)
	}
	unwanted := func(error) { t.Error("done was called") }
	older := epoch
	older.Term--
	if err := n.Barrier(2, older, unwanted); !errors.Is(err, persistence.ErrNotOwner) {
		t.Errorf("an older epoch: %v", err)
	}
	if err := n.Barrier(testPartitions, epoch, unwanted); !errors.Is(err, persistence.ErrNotOwner) {
		t.Errorf("a partition that is not: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Barrier(2, epoch, unwanted); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Goal: at the bound the answer is a refusal, and what was accepted is done when there is room again.
func TestFullQueueRefuses(t *testing.T) {
	for name, bound := range map[string]func(*Options){
		"changes": func(o *Options) { o.MaxWaitingChanges = 10 },
		"bytes":   func(o *Options) { o.MaxWaitingBytes = minMaxWaitingBytes },
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel(1)
			opts := testOptions(vfs.NewMem(), m)
			bound(&opts)
			n := mustOpen(t, opts)
			m.mu.Lock()
			m.blocked = make(chan struct{})
			m.mu.Unlock()
			unblock := sync.OnceFunc(func() { close(m.blocked) })
			defer unblock()
			var done atomic.Int64
			accepted := 0
			for {
				err := n.Propose(0, n.change(0, "p", persistence.Seq(accepted+1), make([]byte, 1<<20)), func(err error) {
					if err == nil {
						done.Add(1)
					}
				})
				if errors.Is(err, persistence.ErrQueueFull) {
					break
				}
				if err != nil || accepted > 20 {
					t.Fatalf("after %d: %v", accepted, err)
				}
				accepted++
			}
			if want := map[string]int{"changes": 10, "bytes": 7}[name]; accepted != want {
				t.Errorf("%d were accepted, want %d", accepted, want)
			}
			if usage := n.Usage(); usage.WaitingChanges != accepted {
				t.Errorf("usage %+v, want %d changes", usage, accepted)
			}
			unblock()
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if done.Load() != int64(accepted) {
				t.Errorf("%d of %d accepted changes were done", done.Load(), accepted)
			}
			if usage := n.Usage(); usage.WaitingChanges != 0 || usage.WaitingBytes != 0 {
				t.Errorf("usage after all %+v", usage)
			}
		})
	}
}

// Goal: a graceful end finishes what was accepted, lets nothing in, and gives every partition up.
func TestCloseDrains(t *testing.T) {
	for name, end := range map[string]func(*node){"Close": func(n *node) { _ = n.Close() }, "context": func(n *node) { n.stop() }} {
		t.Run(name, func(t *testing.T) {
			n := mustOpen(t, testOptions(vfs.NewMem(), newModel(1)))
			const count = 1000
			var done atomic.Int64
			for i := range count {
				p := persistence.Partition(i % testPartitions)
				if err := n.Propose(p, n.change(p, fmt.Sprint("p", i), 1, []byte("x")), func(err error) {
					if err == nil {
						done.Add(1)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			end(n)
			if err := n.end(t); err != nil {
				t.Fatal(err)
			}
			if done.Load() != count {
				t.Errorf("%d of %d accepted changes were done", done.Load(), count)
			}
			if err := n.Propose(1, n.change(1, "late", 1, []byte("x")), nil); !errors.Is(err, persistence.ErrClosed) {
				t.Errorf("after the end: %v, want ErrClosed", err)
			}
			want := []string{"0 claimed 0.1", "1 claimed 0.1", "2 claimed 0.1", "65535 claimed 0.1", "0 lost 0.1", "1 lost 0.1", "2 lost 0.1", "65535 lost 0.1"}
			if got := n.owners.said(); !slices.Equal(got, want) {
				t.Errorf("ownership went %q, want %q", got, want)
			}
		})
	}
}

func TestCloseWithoutRun(t *testing.T) {
	fs := vfs.NewMem()
	h, err := Open(testOptions(fs, newModel(1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Propose(0, &persistence.Change{}, nil); !errors.Is(err, persistence.ErrNotOwner) {
		t.Errorf("before Run: %v, want ErrNotOwner", err)
	}
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context()); err == nil {
		t.Error("ran after Close")
	}
	mustOpen(t, testOptions(fs, newModel(1)))
}

// faults makes operations fail from a moment on.
type faults struct {
	kind  errorfs.OpKind
	err   error
	armed atomic.Bool
	count atomic.Int64 // failures
}

func (f *faults) MaybeError(op errorfs.Op) error {
	if f.armed.Load() && op.Kind == f.kind && strings.Contains(op.Path, liveSuffix) {
		f.count.Add(1)
		return f.err
	}
	return nil
}

func (*faults) String() string { return "faults" }

// Goal: when the disk fails, Run ends with the reason, everybody is told that the outcome is unknown, nothing is
// acknowledged after it, and the failed operation is not tried again.
func TestDiskFailureStopsTheHost(t *testing.T) {
	for name, f := range map[string]*faults{
		"fsync fails":      {kind: errorfs.OpFileSyncData, err: errorfs.ErrInjected},
		"write fails":      {kind: errorfs.OpFileWriteAt, err: errorfs.ErrInjected},
		"the disk is full": {kind: errorfs.OpFileWriteAt, err: syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			n := mustOpen(t, testOptions(errorfs.Wrap(fs, f), newModel(1)))
			if err := n.do(t, 0, n.change(0, "p", 1, []byte("x"))); err != nil {
				t.Fatal(err)
			}
			f.armed.Store(true)
			const count = 100
			var unknown, others sync.Map
			var told sync.WaitGroup
			accepted := 0
			for i := range count {
				p := persistence.Partition(i % testPartitions)
				told.Add(1)
				err := n.Propose(p, n.change(p, fmt.Sprint("q", i), 1, []byte("x")), func(err error) {
					defer told.Done()
					if errors.Is(err, persistence.ErrOutcomeUnknown) {
						unknown.Store(i, nil)
					} else {
						others.Store(i, err)
					}
				})
				if err != nil { // the host has stopped by now
					told.Done()
					if !errors.Is(err, persistence.ErrNotOwner) && !errors.Is(err, persistence.ErrClosed) {
						t.Errorf("proposal %d: %v", i, err)
					}
					continue
				}
				accepted++
			}
			err := n.end(t)
			if !errors.Is(err, ErrLogFailed) || !errors.Is(err, f.err) {
				t.Errorf("Run returned %v", err)
			}
			if errors.Is(f.err, syscall.ENOSPC) && !strings.Contains(err.Error(), "the disk is full") {
				t.Errorf("Run returned %v, which does not say what to do", err)
			}
			told.Wait()
			others.Range(func(i, err any) bool { t.Errorf("change %v was answered %v", i, err); return true })
			got := 0
			unknown.Range(func(any, any) bool { got++; return true })
			if got != accepted || accepted == 0 {
				t.Errorf("%d of %d were told", got, accepted)
			}
			if f.count.Load() != 1 {
				t.Errorf("the failed operation was tried %d times", f.count.Load())
			}
			if err := n.Propose(0, n.change(0, "p", 2, []byte("x")), nil); !errors.Is(err, persistence.ErrClosed) {
				t.Errorf("after the failure: %v, want ErrClosed", err)
			}
		})
	}
}

// Goal: a state machine that breaks stops the host likewise.
func TestBrokenStateMachineStopsTheHost(t *testing.T) {
	m := newModel(1)
	n := mustOpen(t, testOptions(vfs.NewMem(), m))
	broken := errors.New("broken")
	m.mu.Lock()
	m.failNext = broken
	m.mu.Unlock()
	if err := n.do(t, 0, n.change(0, "p", 1, []byte("x"))); !errors.Is(err, persistence.ErrOutcomeUnknown) {
		t.Errorf("the change: %v, want ErrOutcomeUnknown", err)
	}
	if err := n.end(t); !errors.Is(err, ErrStateMachineFailed) || !errors.Is(err, broken) {
		t.Errorf("Run returned %v", err)
	}
}

// Goal: the log stays near its bound, segments are used again, and the state machine is flushed for it.
func TestLogIsShortened(t *testing.T) {
	fs, m := vfs.NewMem(), newModel(1)
	opts := testOptions(fs, m)
	var flushes, dropped atomic.Int64
	opts.Events.Flushed = func(time.Duration) { flushes.Add(1) }
	opts.Events.Truncated = func(n int) { dropped.Add(int64(n)) }
	n := mustOpen(t, opts)
	for i := range persistence.Seq(600) {
		if err := n.do(t, 0, n.change(0, "p", i+1, make([]byte, 2000))); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("data/log")
	if err != nil {
		t.Fatal(err)
	}
	if usage := n.Usage(); usage.LogBytes > 8*opts.SegmentBytes || len(names) > 10 || flushes.Load() == 0 || dropped.Load() < 60 {
		t.Errorf("usage %+v, files %v, %d flushes, %d dropped", usage, names, flushes.Load(), dropped.Load())
	}
	again := mustOpen(t, testOptions(fs, m))
	if got := m.last(0, "p"); got != 600 {
		t.Errorf("after opening again: seq %d, want 600", got)
	}
	status := again.Status()
	if last := status[len(status)-1]; len(status) != testPartitions+1 || last.Partition != persistence.MetaPartition || !last.Owner || last.Epoch.Term != 2 {
		t.Errorf("status %+v", status)
	}
	if status[0].Applied != status[0].Last || status[0].Last < 600 {
		t.Errorf("status of partition 0 %+v", status[0])
	}
}

// Goal: a change waits for one fsync, shared by all that came while the last one ran.
func TestChangesShareAnFsync(t *testing.T) {
	m := newModel(1)
	opts := testOptions(vfs.NewMem(), m)
	opts.SegmentBytes, opts.MaxLogBytes = 1<<20, 4<<20
	var syncs atomic.Int64
	var counting atomic.Bool
	entered, gate := make(chan struct{}, 100), make(chan struct{})
	opts.Events.Synced = func(time.Duration) {
		if counting.Load() {
			syncs.Add(1)
			entered <- struct{}{}
			<-gate
		}
	}
	n := mustOpen(t, opts)
	counting.Store(true)
	var told sync.WaitGroup
	propose := func(i int) {
		p := persistence.Partition(i % testPartitions)
		told.Add(1)
		if err := n.Propose(p, n.change(p, fmt.Sprint("p", i), 1, []byte("x")), func(error) { told.Done() }); err != nil {
			t.Error(err)
		}
	}
	propose(0)
	<-entered // the loop is in the fsync of the first
	for i := range 300 {
		propose(i + 1)
	}
	close(gate)
	told.Wait()
	if got := syncs.Load(); got != 2 {
		t.Errorf("%d fsyncs for 301 changes, want 2", got)
	}
}

func TestOptionsReportEveryProblem(t *testing.T) {
	err := Options{SegmentBytes: 1, MaxLogBytes: 1, MaxWaitingChanges: -1, MaxWaitingBytes: 1, TickInterval: -1}.Validate()
	for _, want := range []string{"FS", "Dir", "StateMachine", "Ownership", "Partitions", "SegmentBytes", "MaxLogBytes", "MaxWaitingChanges", "MaxWaitingBytes", "TickInterval"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not reported in %v", want, err)
		}
	}
}

func TestAnotherPartitionCountIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	n := mustOpen(t, testOptions(fs, newModel(1)))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	opts := testOptions(fs, newModel(1))
	opts.Partitions++
	if _, err := Open(opts); !isCorrupt(err, adviceCount) {
		t.Fatalf("got %v", err)
	}
}
