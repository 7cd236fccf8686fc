// Goal: the host's promises. Method: a store in memory that can be held up and broken, real turns, and fake time where time
// matters; the store checks what a real one checks.
package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

func TestMain(m *testing.M) {
	warmCompression()
	goleak.VerifyTestMain(m)
}

// warmCompression has the codec make its pools, which are channels, before any bubble of fake time could own them: a
// channel of one bubble must not be used in another.
func warmCompression() {
	data, err := codec.EncodeEntity(&storev1.Entity{Outcomes: make([]byte, 4096)})
	if err == nil {
		_, err = codec.DecodeEntity(data)
	}
	if err != nil {
		panic(err)
	}
}

// startHost runs a host on s, owner of all partitions, until the test ends.
func startHost(tb testing.TB, s *store, opts Options) *Host {
	tb.Helper()
	h, _ := runHost(tb, s, opts)
	return h
}

// runHost is startHost with the function that ends it, as a kill would end it.
func runHost(tb testing.TB, s *store, opts Options, changes ...func(*Options)) (*Host, func()) {
	tb.Helper()
	opts.Journal, opts.Storage = s, s
	for _, change := range changes {
		change(&opts)
	}
	if opts.Partitions == 0 {
		opts.Partitions = 4
	}
	opts.Describe = func(err error) *skerryv1.Error { return &skerryv1.Error{Code: "REFUSED", Message: err.Error()} }
	h, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	h.hooks = hooks{} // servers have tests of their own
	return h, start(tb, s, h)
}

// start runs a host, owner of all partitions, until what it returns is called, or the test ends.
func start(tb testing.TB, s *store, h *Host) func() {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx) })
	running.Go(func() {
		if err := h.Run(ctx); err != nil {
			tb.Errorf("run: %v", err)
		}
	})
	for p := range h.partitions {
		h.Claimed(persistence.Partition(p), s.epoch) //nolint:gosec // a few
	}
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	tb.Cleanup(stop)
	return stop
}

func playerKey(id string) persistence.Key {
	return persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: id}
}

// answer is what a call was answered with.
type answer struct {
	response *skerryv1.Response
	err      error
}

// send passes a request on; the answer comes through the channel.
func send(h *Host, id string, request *skerryv1.Request) <-chan answer {
	answers := make(chan answer, 2) // a second answer is seen by ask
	h.Do(&Call{Key: playerKey(id), Request: request, Reply: func(r *skerryv1.Response, err error) { answers <- answer{r, err} }})
	return answers
}

// try passes a request on and waits for the answer.
func try(h *Host, id string, request *skerryv1.Request) (*skerryv1.Response, error) {
	got := <-send(h, id, request)
	return got.response, got.err
}

// ask is try of what must succeed.
func ask(tb testing.TB, h *Host, id string, request *skerryv1.Request) *skerryv1.Response {
	tb.Helper()
	response, err := try(h, id, request)
	if err != nil || response == nil {
		tb.Fatalf("%s: %v: %v, %v", id, request, response, err)
	}
	return response
}

func openRequest(server string) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: &skerryv1.OpenPlayerSessionRequest{Server: server, Name: "Ann"}}}
}

// open opens a session and returns its token.
func open(tb testing.TB, h *Host, id string) string {
	tb.Helper()
	return ask(tb, h, id, openRequest("s1")).GetOpenPlayerSession().GetSession()
}

func earn(session string, command, amount int64, durability skerryv1.Durability) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: &skerryv1.ExecutePlayerRequest{
		Session: session, CommandId: command, Durability: durability,
		Commands: []*skerryv1.PlayerCommand{{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{
			Currency: skerryv1.Currency_COINS, Amount: amount,
		}}}},
	}}}
}

func get() *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{}}}
}

func saveRequest(session string) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_SavePlayer{SavePlayer: &skerryv1.SavePlayerRequest{Session: session}}}
}

func coins(tb testing.TB, h *Host, id string) int64 {
	tb.Helper()
	return ask(tb, h, id, get()).GetGetPlayer().GetPlayer().GetProfile().GetCoins()
}

// pendingStill fails when an answer is there already.
func pendingStill(tb testing.TB, answers <-chan answer, why string) {
	tb.Helper()
	synctest.Wait()
	select {
	case got := <-answers:
		tb.Fatalf("answered with %v, %v: %s", got.response, got.err, why)
	default:
	}
}

// answered returns the answer that must be there by now.
func answered(tb testing.TB, answers <-chan answer) (*skerryv1.Response, error) {
	tb.Helper()
	synctest.Wait()
	select {
	case got := <-answers:
		return got.response, got.err
	default:
		tb.Fatal("not answered")
		return nil, nil
	}
}

const (
	durable = skerryv1.Durability_DURABLE
	memory  = skerryv1.Durability_MEMORY
)

func TestCommandsAndReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		reply := ask(t, h, "p1", earn(session, 1, 50, durable)).GetExecutePlayer()
		if reply.GetSeq() != 2 || !reply.GetDurable() || coins(t, h, "p1") != 150 {
			t.Fatalf("earned: %v, %d coins", reply, coins(t, h, "p1"))
		}
		if last, _ := s.head(playerKey("p1")); last != 2 {
			t.Fatalf("the journal ends at %d, want 2", last)
		}
		if got := s.entities[playerKey("p1")].marks[turn.SessionMark("s1")]; got != session {
			t.Fatalf("the mark says %q, want %q", got, session)
		}
	})
}

// What was answered is there after a kill, and a retry finds its old answer.
func TestRetryAfterReactivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h, kill := runHost(t, s, Options{})
		session := open(t, h, "p1")
		first := ask(t, h, "p1", earn(session, 1, 50, durable))
		kill()
		h = startHost(t, s, Options{})
		again := ask(t, h, "p1", earn(session, 1, 50, durable))
		if !first.EqualVT(again) || coins(t, h, "p1") != 150 {
			t.Fatalf("first %v, again %v, %d coins", first, again, coins(t, h, "p1"))
		}
		if _, err := try(h, "p1", earn(session, 1, 51, durable)); !errors.Is(err, turn.ErrIDReused) {
			t.Fatalf("another payload: %v", err)
		}
	})
}

func TestAbsentEntityDoesNotLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		if _, err := try(h, "nobody", get()); !errors.Is(err, turn.ErrNotFound) {
			t.Fatal(err)
		}
		synctest.Wait()
		if stats := h.Stats(); stats.Activations != 0 || len(s.entities) != 0 {
			t.Fatalf("%+v, %s", stats, s)
		}
	})
}

func TestRefusalsOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{MailboxSize: 3, MaxCalls: 5})
		session := open(t, h, "p1")
		open(t, h, "p2")
		s.set(func() { s.held = true })
		var waiting []<-chan answer
		for i := range int64(3) {
			waiting = append(waiting, send(h, "p1", earn(session, i+1, 1, durable)))
		}
		if _, err := answered(t, send(h, "p1", get())); !errors.Is(err, ErrMailboxFull) {
			t.Fatalf("fourth call of one entity: %v", err)
		}
		s.set(func() { s.heldBarriers = true })
		waiting = append(waiting, send(h, "p2", get()), send(h, "p2", get()))
		if _, err := answered(t, send(h, "p2", get())); !errors.Is(err, ErrOverloaded) {
			t.Fatalf("sixth call of the node: %v", err)
		}
		s.set(func() { s.held, s.heldBarriers = false, false })
		s.passBarriers(2)
		for _, answers := range waiting {
			if _, err := answered(t, answers); err != nil {
				t.Fatal(err)
			}
		}
		h.Do(&Call{Key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "a/b"}, Request: get(), Reply: func(_ *skerryv1.Response, err error) {
			if !errors.Is(err, persistence.ErrBadKey) {
				t.Errorf("bad key: %v", err)
			}
		}})
		h.Drain()
		if _, err := answered(t, send(h, "p1", get())); !errors.Is(err, ErrDraining) {
			t.Fatalf("while draining: %v", err)
		}
	})
}

// A turn that panics costs its activation, not what came before, and not the node.
func TestPanicReactivatesFromStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		evolve := h.evolve
		h.evolve = func(e *entity, seq persistence.Seq, entry *entry) error {
			err := evolve(e, seq, entry)
			if entry.GetOutcome().GetCommandId() == 666 {
				panic("a mistake")
			}
			return err
		}
		session := open(t, h, "p1")
		ask(t, h, "p1", earn(session, 1, 10, durable))
		ask(t, h, "p1", earn(session, 2, 7, memory)) // in memory only when the panic comes
		bad, after := send(h, "p1", earn(session, 666, 1000, durable)), send(h, "p1", get())
		if _, err := answered(t, bad); !errors.Is(err, ErrPanicked) {
			t.Fatal(err)
		}
		if r, err := answered(t, after); err != nil || r.GetGetPlayer().GetPlayer().GetProfile().GetCoins() != 117 {
			t.Fatalf("the call behind the panic: %v, %v", r, err)
		}
		if s.loads != 2 {
			t.Fatalf("%d loads, want one before and one after", s.loads)
		}
	})
}

func TestOptionsSayAllProblems(t *testing.T) {
	_, err := New(Options{MailboxSize: -1, AutosaveInterval: -time.Second, JournalInterval: time.Microsecond})
	for _, want := range []string{"journal is not set", "storage is not set", "describe is not set", "partitions is 0", "mailbox size is -1", "autosave interval is -1s", "journal interval is 1µs"} {
		if err == nil || !contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Many callers, entities that come and go under them: each call is answered once, and nothing is lost or doubled.
func TestCallsAgainstPassivation(t *testing.T) {
	s := newStore(t)
	h := startHost(t, s, Options{PassivateAfter: time.Millisecond, EncodeIdleAfter: time.Millisecond, AutosaveInterval: 5 * time.Millisecond})
	const entities, callers, rounds = 8, 16, 150
	var sessions [entities]string
	for i := range entities {
		sessions[i] = open(t, h, fmt.Sprint("p", i))
	}
	done := make(chan struct{})
	var evicting sync.WaitGroup
	evicting.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				h.evict(0)
			}
		}
	})
	var group sync.WaitGroup
	var ids [entities]struct { // a caller who took an id sends it before the next is taken: 128 later ones would make it too old
		sync.Mutex
		newest int64
	}
	for c := range callers {
		group.Go(func() {
			i := c % entities
			for n := range rounds {
				durability := durable
				if n%3 == 0 {
					durability = memory
				}
				ids[i].Lock()
				ids[i].newest++
				sent := send(h, fmt.Sprint("p", i), earn(sessions[i], ids[i].newest, 1, durability))
				ids[i].Unlock()
				if got := <-sent; got.err != nil {
					t.Errorf("p%d: %v", i, got.err)
				}
			}
		})
	}
	group.Wait()
	close(done)
	evicting.Wait()
	for i := range entities {
		if got := coins(t, h, fmt.Sprint("p", i)); got != 100+rounds*callers/entities {
			t.Errorf("p%d has %d coins, want %d", i, got, 100+rounds*callers/entities)
		}
	}
	if s.loads <= entities {
		t.Errorf("only %d loads: nothing was passivated", s.loads)
	}
}

func TestShutdownSavesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var said lines
		h := startHost(t, s, Options{Logger: slog.New(&said)})
		const n = 1500
		for i := range n {
			open(t, h, fmt.Sprint("p", i))
		}
		ask(t, h, "p0", saveRequest(open(t, h, "p0")))
		s.set(func() { s.held = true })
		disk := make(chan struct{})
		s.set(func() { s.loadFault = func(persistence.Key) error { <-disk; return nil } })
		late, loading := send(h, "p1", openRequest("s2")), send(h, "px", openRequest("s2"))
		reports := make(chan Report, 1)
		go func() {
			report, err := h.Shutdown(t.Context())
			if err != nil {
				t.Errorf("shutdown: %v", err)
			}
			reports <- report
		}()
		pendingStill(t, late, "its entry is not applied")
		if _, err := answered(t, send(h, "p2", get())); !errors.Is(err, ErrDraining) {
			t.Fatalf("a call during the shutdown: %v", err)
		}
		s.set(func() { s.held = false })
		synctest.Wait()
		close(disk)
		for _, answers := range []<-chan answer{late, loading} {
			if _, err := answered(t, answers); err != nil {
				t.Fatalf("a call from before the shutdown: %v", err)
			}
		}
		if report := <-reports; report != (Report{Saved: n, Clean: 1}) {
			t.Fatalf("%+v", report)
		}
		for i := range n {
			if last, snapshot := s.head(playerKey(fmt.Sprint("p", i))); last != snapshot || last == 0 {
				t.Fatalf("p%d: snapshot %d of %d", i, snapshot, last)
			}
		}
		if !said.has("shutdown done") {
			t.Fatal("the log does not say what was saved")
		}
	})
}

func TestShutdownEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		for i := range 10 {
			open(t, h, fmt.Sprint("p", i))
		}
		s.set(func() { s.held = true })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		report, err := h.Shutdown(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || report.Failed != 10 || h.Stats().Activations != 0 {
			t.Fatalf("%+v, %v, %+v", report, err, h.Stats())
		}
	})
}

// The life-cycle of servers looks at a request while it is the host's: after the reply it is the caller's again.
func TestSeenBeforeTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		session := open(t, h, "p1")
		var heard []string
		h.hooks.seen = func(space, server string) { heard = append(heard, space+"/"+server) }
		for _, request := range []*skerryv1.Request{earn(session, 1, 1, durable), earn("another", 2, 1, durable), get()} {
			h.Do(&Call{Key: playerKey("p1"), Request: request, Reply: func(*skerryv1.Response, error) { heard = append(heard, "reply") }})
			synctest.Wait()
		}
		if got := fmt.Sprint(heard); got != "[main/s1 reply reply reply]" {
			t.Fatal(got)
		}
	})
}
