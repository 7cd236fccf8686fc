// Goal: the host on the storage that it is made for. Method: the real log and the real store in a directory of the test.
package actors

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// owner passes ownership on to a host that is made later than the journal.
type owner struct {
	host    *Host
	claimed sync.WaitGroup
}

func (o *owner) Claimed(p persistence.Partition, epoch persistence.Epoch) {
	o.host.Claimed(p, epoch)
	if p != persistence.MetaPartition {
		o.claimed.Done()
	}
}

func (o *owner) Lost(p persistence.Partition, epoch persistence.Epoch) { o.host.Lost(p, epoch) }

// startReal runs a host on real storage in dir, until what it returns is called.
func startReal(tb testing.TB, dir string) (*Host, func()) {
	tb.Helper()
	h, _, stop := startOn(tb, pebblestore.DiskFS(), dir, 8, Options{})
	return h, stop
}

// startOn is startReal on any disk.
func startOn(tb testing.TB, fs pebblestore.FS, dir string, partitions int, opts Options) (*Host, *pebblestore.Store, func()) {
	tb.Helper()
	disk, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: filepath.Join(dir, "store"), Partitions: partitions, MemTableBytes: 1 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	owns := &owner{}
	owns.claimed.Add(partitions)
	journal, err := replication.Open(replication.Options{
		FS: fs, Dir: filepath.Join(dir, "log"), Partitions: partitions, StateMachine: disk, Ownership: owns,
		SegmentBytes: 4 << 20,
	})
	if err != nil {
		tb.Fatal(err)
	}
	opts.Journal, opts.Storage, opts.Partitions = journal, disk, partitions
	opts.Describe = func(err error) *skerryv1.Error { return &skerryv1.Error{Code: "REFUSED", Message: err.Error()} }
	h, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	h.hooks = hooks{}
	owns.host = h

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{journal.Run, h.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				tb.Errorf("run: %v", err)
			}
		})
	}
	owns.claimed.Wait()
	stop := sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := journal.Close(); err != nil {
			tb.Error(err)
		}
		if err := disk.Close(); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return h, disk, stop
}

// each does one request for each of n players, many at a time, and returns the responses.
func each(tb testing.TB, h *Host, n int, request func(i int) *skerryv1.Request) []*skerryv1.Response {
	tb.Helper()
	responses := make([]*skerryv1.Response, n)
	var wait sync.WaitGroup
	slots := make(chan struct{}, 1000)
	for i := range n {
		slots <- struct{}{}
		wait.Add(1)
		h.Do(&Call{Key: playerKey(fmt.Sprint("p", i)), Request: request(i), Reply: func(r *skerryv1.Response, err error) {
			if err != nil {
				tb.Errorf("p%d: %v", i, err)
			}
			responses[i] = r
			<-slots
			wait.Done()
		}})
	}
	wait.Wait()
	return responses
}

// What was answered is there after the host ended without saving; what was shut down is there in snapshots.
func TestRealStorage(t *testing.T) {
	n := 10_000
	if underRace {
		n = 1000
	}
	dir := t.TempDir()
	h, kill := startReal(t, dir)
	opened := each(t, h, n, func(int) *skerryv1.Request { return openRequest("s1") })
	token := func(i int) string { return opened[i].GetOpenPlayerSession().GetSession() }
	each(t, h, n, func(i int) *skerryv1.Request { return earn(token(i), 1, int64(i+1), durable) })
	kill()

	h, kill = startReal(t, dir)
	each(t, h, n, func(i int) *skerryv1.Request { return earn(token(i), 1, int64(i+1), durable) }) // a retry: nothing happens
	each(t, h, n, func(i int) *skerryv1.Request { return earn(token(i), 2, 1, memory) })
	began := time.Now()
	report, err := h.Shutdown(t.Context())
	if err != nil || report != (Report{Saved: int64(n)}) {
		t.Fatalf("%+v, %v", report, err)
	}
	t.Logf("saved %d dirty players in %s", n, time.Since(began).Round(time.Millisecond))
	kill()

	h, _ = startReal(t, dir)
	began = time.Now()
	for i, r := range each(t, h, n, func(int) *skerryv1.Request { return get() }) {
		if got := r.GetGetPlayer().GetPlayer().GetProfile().GetCoins(); got != int64(102+i) {
			t.Fatalf("p%d has %d coins, want %d", i, got, 102+i)
		}
	}
	t.Logf("activated and read %d players in %s", n, time.Since(began).Round(time.Millisecond))
}
