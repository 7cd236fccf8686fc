package replication

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// The benchmarks compare durable changes a second through the log with a bare append log, at several numbers in flight,
// all on the disk of the temporary directory. "free" applies nothing, which shows the host's own cost; "store" is Pebble.

const (
	benchPartitions = 32
	benchEntities   = 10_000
	benchEntryBytes = 50
)

func inFlights(b *testing.B, run func(b *testing.B, inFlight int)) {
	b.Helper()
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("inflight=%d", n), func(b *testing.B) { run(b, n) })
	}
}

func BenchmarkBareAppend(b *testing.B) {
	inFlights(b, func(b *testing.B, inFlight int) {
		b.Helper()
		log := newBareLog(b)
		tokens := newTokens(inFlight)
		record := make([]byte, benchEntryBytes+29)
		for b.Loop() {
			<-tokens
			log.append(record, func() { tokens <- time.Time{} })
		}
		tokens.drain()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
	})
}

func BenchmarkDurable(b *testing.B) {
	b.Run("free", func(b *testing.B) {
		inFlights(b, func(b *testing.B, inFlight int) {
			b.Helper()
			benchDurable(b, inFlight, &freeMachine{})
		})
	})
	b.Run("store", func(b *testing.B) {
		inFlights(b, func(b *testing.B, inFlight int) {
			b.Helper()
			store, err := pebblestore.Open(pebblestore.Options{Dir: filepath.Join(b.TempDir(), "state"), Partitions: benchPartitions})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = store.Close() })
			benchDurable(b, inFlight, store)
		})
	})
}

func benchDurable(b *testing.B, inFlight int, machine persistence.StateMachine) {
	b.Helper()
	var records, bytes, syncs atomic.Int64
	own := newOwners(benchPartitions + 1)
	h, err := Open(Options{
		FS: vfs.Default, Dir: filepath.Join(b.TempDir(), "log"), Partitions: benchPartitions, StateMachine: machine, Ownership: own,
		Events: Events{
			Written: func(n int) { records.Add(1); bytes.Add(int64(n)) },
			Synced:  func(time.Duration) { syncs.Add(1) },
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	run := make(chan error, 1)
	go func() { run <- h.Run(context.Background()) }()
	<-own.all

	entities := make([]benchEntity, benchEntities)
	data, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, make([]byte, benchEntryBytes))
	if err != nil {
		b.Fatal(err)
	}
	for i := range entities {
		e := &entities[i]
		e.change.Key = persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindPlayer, ID: fmt.Sprint(1000 + i)}
		e.p = persistence.PartitionOf(e.change.Key, benchPartitions)
		e.change.Epoch = own.epoch(e.p)
	}
	tokens := newTokens(inFlight)
	latencies := make([]time.Duration, 0, 1<<20)
	records.Store(0)
	bytes.Store(0)
	syncs.Store(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if sent := <-tokens; !sent.IsZero() && len(latencies) < cap(latencies) {
			latencies = append(latencies, time.Since(sent))
		}
		e := &entities[i%benchEntities]
		e.seq++
		change := e.change
		change.Entries = []persistence.Entry{{Seq: e.seq, Data: data}}
		sent := time.Now()
		if err := h.Propose(e.p, &change, func(err error) {
			if err != nil {
				panic(err)
			}
			tokens <- sent
		}); err != nil {
			b.Fatal(err)
		}
	}
	tokens.drain()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
	b.ReportMetric(float64(bytes.Load())/float64(b.N), "logbytes/change")
	b.ReportMetric(float64(b.N)/float64(max(1, syncs.Load())), "changes/sync")
	slices.Sort(latencies)
	if len(latencies) > 0 {
		b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-us")
	}
	if err := h.Close(); err != nil {
		b.Fatal(err)
	}
	if err := <-run; err != nil {
		b.Fatal(err)
	}
}

type benchEntity struct {
	p      persistence.Partition
	seq    persistence.Seq
	change persistence.Change
}

// tokens are the changes in flight; a token says when its change was sent.
type tokens chan time.Time

func newTokens(n int) tokens {
	t := make(tokens, n)
	for range n {
		t <- time.Time{}
	}
	return t
}

func (t tokens) drain() {
	for range cap(t) {
		<-t
	}
}

// freeMachine applies nothing.
type freeMachine struct{}

func (*freeMachine) Apply([]persistence.Committed) ([][]error, error) { return nil, nil }

func (*freeMachine) Applied(persistence.Partition) (index, term uint64, err error) { return 0, 0, nil }

func (*freeMachine) Durable(persistence.Partition) (uint64, error) { return 1 << 62, nil }
func (*freeMachine) Conf(persistence.Partition) ([]byte, error)    { return nil, nil }
func (*freeMachine) Flush() error                                  { return nil }

// bareLog appends to one file with group commit: what a durable change costs at least.
type bareLog struct {
	mu      sync.Mutex
	buf     []byte
	waiting []func()
	wake    chan struct{}
}

func newBareLog(b *testing.B) *bareLog {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	file, err := vfs.Default.OpenReadWrite(f.Name(), vfs.WriteCategoryUnspecified)
	if err != nil {
		b.Fatal(err)
	}
	l := &bareLog{wake: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.loop(file)
	}()
	b.Cleanup(func() {
		close(l.wake)
		<-ended
		_ = f.Close()
		_ = file.Close()
	})
	return l
}

func (l *bareLog) append(record []byte, done func()) {
	l.mu.Lock()
	l.buf, l.waiting = append(l.buf, record...), append(l.waiting, done)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *bareLog) loop(file vfs.File) {
	var buf []byte
	var waiting []func()
	offset := int64(0)
	for range l.wake {
		l.mu.Lock()
		buf, l.buf = l.buf, buf[:0]
		waiting, l.waiting = l.waiting, waiting[:0]
		l.mu.Unlock()
		if len(buf) == 0 {
			continue
		}
		if _, err := file.WriteAt(buf, offset); err != nil {
			panic(err)
		}
		offset += int64(len(buf))
		if err := file.SyncData(); err != nil {
			panic(err)
		}
		for _, done := range waiting {
			done()
		}
	}
}
