package actors

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// instantStore applies at once, in the proposer's goroutine, and keeps nothing: what is left is the shell's own cost.
type instantStore struct {
	*store
	snapshot persistence.Snapshot // what every load finds
}

func (s *instantStore) Propose(_ persistence.Partition, _ *persistence.Change, done func(error)) error {
	done(nil)
	return nil
}

func (s *instantStore) Load(_ context.Context, _ persistence.Partition, _ persistence.Key) (*persistence.Loaded, error) {
	return &persistence.Loaded{Head: persistence.Head{Last: s.snapshot.Seq}, Snapshot: s.snapshot}, nil
}

// instantHost is a host on an instantStore whose every player has a snapshot of about so many bytes, with an open session.
func instantHost(tb testing.TB, bytes int, opts Options) (*Host, string) {
	tb.Helper()
	state := storedPlayer(tb, bytes)
	data, err := codec.EncodeEntity(state)
	if err != nil {
		tb.Fatal(err)
	}
	s := &instantStore{store: newStore(tb), snapshot: persistence.Snapshot{Seq: persistence.Seq(state.GetSeq()), Data: data, SavedAt: time.Now()}}
	h, _ := runHost(tb, s.store, opts, func(o *Options) { o.Journal, o.Storage = s, s })
	return h, state.GetSessions()[0].GetToken()
}

// storedPlayer is a player of about so many bytes, encoded, who has an open session.
func storedPlayer(tb testing.TB, bytes int) *storev1.Entity {
	tb.Helper()
	state := &storev1.Entity{}
	env := turn.Env{Now: time.Now(), Token: "TOKEN", Describe: func(error) *skerryv1.Error { return nil }}
	made := turn.Decide(state, playerKey("p"), openRequest("s1"), env)
	if made.Err != nil {
		tb.Fatal(made.Err)
	}
	if err := turn.Evolve(state, 1, made.Entry); err != nil {
		tb.Fatal(err)
	}
	for i := int64(1); state.SizeVT() < bytes; i++ { // what a player collects: items, and outcomes
		env.Seq = persistence.Seq(state.GetSeq())
		request := earn("TOKEN", i, 1, durable)
		request.GetExecutePlayer().Receipt = fmt.Sprintf("purchase-%d", i)
		request.GetExecutePlayer().Commands = append(request.GetExecutePlayer().Commands, &skerryv1.PlayerCommand{
			Command: &skerryv1.PlayerCommand_Give{Give: &skerryv1.Give{ItemId: int32(i%30) + 1, Count: 1}},
		})
		made := turn.Decide(state, playerKey("p"), request, env)
		if made.Err != nil {
			tb.Fatal(made.Err)
		}
		if err := turn.Evolve(state, persistence.Seq(state.GetSeq()+1), made.Entry); err != nil {
			tb.Fatal(err)
		}
	}
	return state
}

// BenchmarkDurableEarn is one durable command with the rules and the encoding, without a journal behind; "shell" leaves the
// rules out.
func BenchmarkDurableEarn(b *testing.B) {
	b.Run("whole", func(b *testing.B) { benchEarn(b, 10_000, nil) })
	b.Run("shell", func(b *testing.B) {
		result := turn.Result{Entry: &storev1.Entry{TimeMs: 1}, Durable: true, Response: &skerryv1.Response{}}
		benchEarn(b, 10_000, &result)
	})
	b.Run("one player", func(b *testing.B) { benchEarn(b, 1, nil) })
}

func benchEarn(b *testing.B, players int, fixed *turn.Result) {
	b.Helper()
	h, session := instantHost(b, 500, Options{})
	if fixed != nil {
		h.decide = func(*entity, persistence.Key, *skerryv1.Request, turn.Env) turn.Result { return *fixed }
		h.evolve = func(*entity, persistence.Seq, *entry) error { return nil }
	}
	keys := make([]persistence.Key, players)
	requests := make([]*skerryv1.Request, players)
	var wait sync.WaitGroup
	for i := range keys {
		keys[i] = playerKey(fmt.Sprint("p", i))
		requests[i] = earn(session, 1_000_000, 1, durable) // above those of the stored player
		wait.Add(1)
		h.Do(&Call{Key: keys[i], Request: get(), Reply: func(*skerryv1.Response, error) { wait.Done() }})
		wait.Wait()
	}
	const inFlight = 200
	slots := make(chan struct{}, inFlight)
	var failure sync.Once
	reply := func(_ *skerryv1.Response, err error) {
		if err != nil {
			failure.Do(func() { b.Error(err) })
		}
		<-slots
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		i := n % players
		execute := requests[i].GetExecutePlayer()
		if players == 1 { // the one before may not be done: a request of its own
			requests[i] = earn(session, execute.GetCommandId()+1, 1, durable)
		} else {
			execute.CommandId++
		}
		slots <- struct{}{}
		h.Do(&Call{Key: keys[i], Request: requests[i], Reply: reply})
		n++
	}
	for range inFlight {
		slots <- struct{}{}
	}
}

// BenchmarkColdActivation loads, decodes and activates a player of 4 KiB, answers a read, and lets it go.
func BenchmarkColdActivation(b *testing.B) {
	h, _ := instantHost(b, 4096, Options{MaxCalls: 1 << 16})
	slots := make(chan struct{}, 256)
	reply := func(_ *skerryv1.Response, err error) {
		if err != nil {
			b.Error(err)
		}
		<-slots
	}
	session := &skerryv1.Request{Request: &skerryv1.Request_GetPlayerSession{GetPlayerSession: &skerryv1.GetPlayerSessionRequest{}}}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		slots <- struct{}{}
		h.Do(&Call{Key: playerKey(fmt.Sprint("p", n)), Request: session, Reply: reply})
		if n++; n%20_000 == 0 {
			b.StopTimer()
			h.evict(0)
			b.StartTimer()
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}

// TestIdleActivationIsSmall measures the live heap of an idle activation beyond its encoded entity (N5: at most 1.5 KiB).
// With few of them the fixed parts weigh more; BenchmarkIdleHeap measures many.
func TestIdleActivationIsSmall(t *testing.T) {
	if underRace {
		t.Skip("the race detector changes sizes")
	}
	each, encoded := idleBytes(t, 20_000)
	t.Logf("an idle activation takes %d bytes beyond its encoded entity of %d bytes", each, encoded)
	if each > 1536 {
		t.Errorf("that is over 1,536")
	}
}

// BenchmarkIdleHeap reports what TestIdleActivationIsSmall measures, for 100,000.
func BenchmarkIdleHeap(b *testing.B) {
	for b.Loop() {
		each, encoded := idleBytes(b, 100_000)
		b.ReportMetric(float64(each), "B/idle")
		b.ReportMetric(float64(encoded), "B/encoded")
	}
}

// idleBytes is the heap that each of n idle activations takes beyond its encoded entity, and that entity's size.
func idleBytes(tb testing.TB, n int) (each, encoded int64) {
	tb.Helper()
	h, _ := instantHost(tb, 1024, Options{EncodeIdleAfter: time.Hour, PassivateAfter: 2 * time.Hour, Partitions: 32})
	before := heap()
	var wait sync.WaitGroup
	slots := make(chan struct{}, 1000)
	for i := range n {
		slots <- struct{}{}
		wait.Add(1)
		h.Do(&Call{Key: playerKey(fmt.Sprintf("player-%d", i)), Request: get(), Reply: func(*skerryv1.Response, error) { <-slots; wait.Done() }})
	}
	wait.Wait()
	for _, s := range h.shards {
		for _, a := range s.list(func(*activation) bool { return true }) {
			h.tell(a, pack)
		}
	}
	for packed := 0; packed < n; {
		packed = 0
		for _, s := range h.shards {
			packed += len(s.list(func(a *activation) bool { return a.isPacked.Load() }))
		}
		runtime.Gosched()
	}
	held := h.Stats().HeldBytes
	each = (int64(heap()-before) - held) / int64(n) //nolint:gosec // it grew
	return each, held / int64(n)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
