package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

func eventsCall(id string, after int64, wait string, reply func(*skerryv1.Response, error)) *Call {
	return &Call{Key: serverKey("main", id), Reply: reply, Request: &skerryv1.Request{Request: &skerryv1.Request_GetServerEvents{
		GetServerEvents: &skerryv1.GetServerEventsRequest{Server: id, After: after, Wait: wait},
	}}}
}

func (w *watched) poll(id string, after int64, wait string) <-chan answer {
	answers := make(chan answer, 2)
	w.Do(eventsCall(id, after, wait, func(r *skerryv1.Response, err error) { answers <- answer{r, err} }))
	return answers
}

func (w *watched) events(after int64) []*skerryv1.ServerEvent {
	w.Helper()
	got := <-w.poll("s1", after, "")
	if got.err != nil {
		w.Fatalf("events: %v", got.err)
	}
	return got.response.GetGetServerEvents().GetEvents()
}

// said is "TYPE entity session" of each event.
func said(events []*skerryv1.ServerEvent) []string {
	var all []string
	for _, e := range events {
		all = append(all, strings.TrimSpace(e.GetType()+" "+e.GetEntity()+" "+e.GetSession()))
	}
	return all
}

func TestLongPollHearsOfATakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		s1 := w.open("p1", "s1")
		waiting := w.poll("s1", 0, "25s")
		pendingStill(t, waiting, "nothing happened")
		w.open("p1", "s2")
		response, err := answered(t, waiting)
		events := response.GetGetServerEvents().GetEvents()
		if err != nil || !slices.Equal(said(events), []string{"SESSION_TAKEN p1 " + s1}) {
			t.Fatalf("%v, %v", response, err)
		}
		began := time.Now()
		none := <-w.poll("s1", events[0].GetId(), "25s")
		if took := time.Since(began); none.err != nil || len(none.response.GetGetServerEvents().GetEvents()) != 0 || took < 25*time.Second || took > 26*time.Second {
			t.Errorf("after %s: %v, %v", took, none.response, none.err)
		}
		if again := w.events(0); !slices.Equal(said(again), said(events)) {
			t.Errorf("asked again: %v", said(again))
		}
	})
}

func TestEventsOfAnEntity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{Tries: 1})
		session := w.open("p1", "s1")
		admin := func(request *skerryv1.Request) {
			done := make(chan error, 1)
			w.Do(&Call{Key: playerKey("p1"), Admin: true, Request: request, Reply: func(_ *skerryv1.Response, err error) { done <- err }})
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		gift := earn("", 0, 5, durable)
		gift.GetExecutePlayer().Receipt = "gift-1"
		admin(gift)
		w.store.set(func() {
			w.store.refuse = func(c *persistence.Change) error {
				if c.Snapshot != nil {
					return persistence.ErrIncomplete
				}
				return nil
			}
		})
		if _, err := try(w.Host, "p1", saveRequest(session)); err == nil {
			t.Fatal("the test needs a save that fails")
		}
		w.store.set(func() { w.store.refuse = nil })
		incarnation := w.get("s1").GetIncarnation()
		other := w.open("p2", "s1") // whose end is the server's own doing
		w.Do(&Call{
			Key: playerKey("p2"), Admin: true, Reply: func(*skerryv1.Response, error) {},
			Request: &skerryv1.Request{Request: &skerryv1.Request_EndPlayerSession{EndPlayerSession: &skerryv1.EndPlayerSessionRequest{Session: other}}},
		})
		synctest.Wait()
		if _, err := w.close(incarnation); err != nil {
			t.Fatal(err)
		}
		want := []string{"CHANGED p1 " + session, "SAVE_FAILED p1 " + session, "SESSION_ENDED p1 " + session}
		if got := said(w.events(0)); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

func TestManyEventsResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.register("s1")
		w.register("s2")
		for range maxEvents/2 + 10 { // each server hears of every second opening
			w.open("p1", "s1")
			w.open("p1", "s1")
		}
		events := w.events(0)
		if len(events) != maxEvents+1 || events[0].GetType() != turn.EventResync {
			t.Fatalf("%d events, the first is %v", len(events), events[0])
		}
		for i := range events[1:] {
			if events[i].GetId() >= events[i+1].GetId() {
				t.Fatalf("event %d after event %d", events[i+1].GetId(), events[i].GetId())
			}
		}
		rest := w.events(events[maxEvents-3].GetId())
		if len(rest) != 3 || rest[0].GetType() == turn.EventResync {
			t.Errorf("the newest: %v", said(rest))
		}
	})
}

func TestEventIDsRiseAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{})
		w.open("p1", "s1")
		w.open("p1", "s1")
		before := w.events(0)
		w.stop()
		time.Sleep(time.Millisecond) // no restart is faster
		w = watchServers(t, s, Options{})
		w.open("p1", "s1")
		after := w.events(before[0].GetId())
		if len(after) != 2 || after[0].GetType() != turn.EventResync || after[1].GetId() <= before[0].GetId() {
			t.Errorf("before %v, after %v", before, after)
		}
		if fresh := w.events(0); len(fresh) != 1 || fresh[0].GetType() != turn.EventSessionTaken {
			t.Errorf("for a newcomer: %v", fresh)
		}
	})
}

// An id from the future would else hide all events until the clock is there.
func TestEventsAfterAnIDThatWasNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		session := w.open("p1", "s1")
		w.open("p1", "s1")
		newest := w.events(0)[0].GetId()
		got := <-w.poll("s1", newest+1, "60s")
		events := got.response.GetGetServerEvents().GetEvents()
		if got.err != nil || !slices.Equal(said(events), []string{"RESYNC", "SESSION_TAKEN p1 " + session}) || events[1].GetId() != newest {
			t.Errorf("%v, %v", said(events), got.err)
		}
		if rest := w.events(events[0].GetId()); !slices.Equal(said(rest), said(events[1:])) {
			t.Errorf("after RESYNC: %v", said(rest))
		}
		pendingStill(t, w.poll("s1", newest, "60s"), "it heard all")
	})
}

func TestPollsAreBoundedAndChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.register("s1")
		for wait, field := range map[string]string{"61s": "wait", "-1s": "wait", "soon": "wait"} {
			got := <-w.poll("s1", 0, wait)
			wrong, ok := errors.AsType[*turn.RequestError](got.err)
			if !ok || wrong.Field != field {
				t.Errorf("wait %s: %v", wait, got.err)
			}
		}
		if got := <-w.poll("s1", -1, ""); !errors.Is(got.err, turn.ErrBadRequest) {
			t.Errorf("after -1: %v", got.err)
		}
		if got := <-w.poll("nobody", 0, "25s"); !errors.Is(got.err, turn.ErrNotFound) {
			t.Errorf("of an unknown server: %v", got.err)
		}
		var waiting []<-chan answer
		for range maxPolls {
			waiting = append(waiting, w.poll("s1", 0, "60s"))
		}
		synctest.Wait()
		waiting = append(waiting, w.poll("s1", 0, "60s")) // a server that comes back finds a place
		if got := <-waiting[0]; !errors.Is(got.err, ErrMailboxFull) {
			t.Errorf("the oldest of %d polls: %v, want ErrMailboxFull", maxPolls+1, got.err)
		}
		waiting = waiting[1:]
		for _, answers := range waiting {
			pendingStill(t, answers, "it has its place")
		}
		w.Drain() // a poll must not hold a shutdown up
		time.Sleep(beatInterval)
		for _, answers := range waiting {
			if _, err := answered(t, answers); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		none := func(*skerryv1.ServerEvent) error { return nil }
		if err := w.Watch(t.Context(), serverKey("main", "nobody"), 0, none); !errors.Is(err, turn.ErrNotFound) {
			t.Errorf("of an unknown server: %v", err)
		}
		first := w.open("p1", "s1")
		second := w.open("p1", "s1")
		ctx, cancel := context.WithCancel(t.Context())
		var heard []*skerryv1.ServerEvent
		ended := make(chan error, 1)
		go func() {
			ended <- w.Watch(ctx, serverKey("main", "s1"), 0, func(e *skerryv1.ServerEvent) error {
				heard = append(heard, e)
				return nil
			})
		}()
		synctest.Wait()
		w.open("p1", "s2")
		synctest.Wait()
		if want := []string{"SESSION_TAKEN p1 " + first, "SESSION_TAKEN p1 " + second}; !slices.Equal(said(heard), want) {
			t.Errorf("heard %v, want %v", said(heard), want)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		full := fmt.Errorf("the stream is gone")
		if err := w.Watch(t.Context(), serverKey("main", "s1"), 0, func(*skerryv1.ServerEvent) error { return full }); !errors.Is(err, full) {
			t.Errorf("push failed: %v", err)
		}
		go func() { ended <- w.Watch(t.Context(), serverKey("main", "s2"), 0, none) }()
		synctest.Wait()
		w.Drain()
		if err := <-ended; !errors.Is(err, ErrDraining) {
			t.Errorf("while draining: %v", err)
		}
	})
}

// A snapshot that can never be stored is refused for good when it was asked for, and holds nobody up else.
func TestSaveThatIsTooLargeIsNotRetryable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		evolve := w.evolve
		w.evolve = func(state *storev1.Entity, seq persistence.Seq, entry *storev1.Entry) error {
			state.Receipts = make([]byte, codec.MaxValueBytes)
			return evolve(state, seq, entry)
		}
		session := w.open("p1", "s1")
		if _, err := try(w.Host, "p1", saveRequest(session)); !errors.Is(err, codec.ErrTooLarge) || errors.Is(err, ErrSave) {
			t.Errorf("save: %v", err)
		}
		end := &skerryv1.Request{Request: &skerryv1.Request_EndPlayerSession{EndPlayerSession: &skerryv1.EndPlayerSessionRequest{Session: session}}}
		if response, err := try(w.Host, "p1", end); err != nil || response.GetEndPlayerSession() == nil {
			t.Errorf("end: %v, %v", response, err)
		}
	})
}
