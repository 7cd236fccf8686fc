// Goal: game servers come, go, die and come back, and no session outlives its server, and none ends that is newer.
// Method: the host on a store in memory, in fake time.
package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// markStore is a store that finds marks.
type markStore struct {
	*store
	partitions int
	faults     int           // looks for servers that fail
	lookFaults int           // looks for sessions that fail
	looks      chan struct{} // when not nil, looks for sessions wait for it
}

func (s *markStore) in(p persistence.Partition, key persistence.Key) bool {
	return persistence.PartitionOf(key, s.partitions) == p
}

func (s *markStore) Marks(_ context.Context, p persistence.Partition, space, name string, after persistence.Key, limit int) ([]persistence.MarkOf, error) {
	if s.looks != nil && name != turn.AliveMark {
		<-s.looks
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case name == turn.AliveMark && s.faults > 0:
		s.faults--
		return nil, errDisk
	case name != turn.AliveMark && s.lookFaults > 0:
		s.lookFaults--
		return nil, errDisk
	}
	var found []persistence.MarkOf
	for key, e := range s.entities {
		if value, marked := e.marks[name]; marked && key.Space == space && s.in(p, key) && (after == persistence.Key{} || key.ID > after.ID) {
			found = append(found, persistence.MarkOf{Key: key, Value: []byte(value)})
		}
	}
	slices.SortFunc(found, func(a, b persistence.MarkOf) int { return compareIDs(a.Key, b.Key) })
	return found[:min(limit, len(found))], nil
}

func compareIDs(a, b persistence.Key) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) }

func (s *markStore) Spaces(_ context.Context, p persistence.Partition) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults > 0 {
		s.faults--
		return nil, errDisk
	}
	var spaces []string
	for key := range s.entities {
		if s.in(p, key) && !slices.Contains(spaces, key.Space) {
			spaces = append(spaces, key.Space)
		}
	}
	return spaces, nil
}

// watched is a host whose servers are watched over.
type watched struct {
	testing.TB
	*Host
	store *markStore
	stop  func()
}

func watchServers(tb testing.TB, s *markStore, opts Options) *watched {
	tb.Helper()
	opts.Journal, opts.Storage, opts.Partitions = s, s, s.partitions
	opts.Describe = func(err error) *skerryv1.Error { return &skerryv1.Error{Code: "REFUSED", Message: err.Error()} }
	h, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	if router, ok := opts.Router.(interface{ aim(to *Host) }); ok {
		router.aim(h)
	}
	return &watched{TB: tb, Host: h, store: s, stop: start(tb, s.store, h)}
}

func newMarkStore(tb testing.TB) *markStore {
	tb.Helper()
	return &markStore{store: newStore(tb), partitions: 4}
}

// server asks a server's entity.
func (w *watched) server(id string, request *skerryv1.Request) (*skerryv1.Response, error) {
	w.Helper()
	answers := make(chan answer, 2)
	w.Do(&Call{Key: serverKey("main", id), Request: request, Reply: func(r *skerryv1.Response, err error) { answers <- answer{r, err} }})
	got := <-answers
	return got.response, got.err
}

func (w *watched) open(player, server string) string {
	w.Helper()
	return ask(w.TB, w.Host, player, openRequest(server)).GetOpenPlayerSession().GetSession()
}

// holder is the server that holds a player.
func (w *watched) holder(player string) string {
	w.Helper()
	request := &skerryv1.Request{Request: &skerryv1.Request_GetPlayerSession{GetPlayerSession: &skerryv1.GetPlayerSessionRequest{}}}
	return ask(w.TB, w.Host, player, request).GetGetPlayerSession().GetServer()
}

func (w *watched) get(id string) *skerryv1.GetServerResponse {
	w.Helper()
	response, err := w.server(id, &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: id}}})
	if err != nil {
		w.Fatalf("get server %s: %v", id, err)
	}
	return response.GetGetServer()
}

func (w *watched) register(id string) string {
	w.Helper()
	response, err := w.server(id, &skerryv1.Request{Request: &skerryv1.Request_RegisterServer{RegisterServer: &skerryv1.RegisterServerRequest{Server: id}}})
	if err != nil {
		w.Fatalf("register %s: %v", id, err)
	}
	return response.GetRegisterServer().GetIncarnation()
}

func (w *watched) beat(id, incarnation string) error {
	w.Helper()
	_, err := w.server(id, &skerryv1.Request{Request: &skerryv1.Request_HeartbeatServer{
		HeartbeatServer: &skerryv1.HeartbeatServerRequest{Server: id, Incarnation: incarnation},
	}})
	return err
}

func (w *watched) close(incarnation string) (int32, error) {
	w.Helper()
	response, err := w.server("s1", &skerryv1.Request{Request: &skerryv1.Request_CloseServer{
		CloseServer: &skerryv1.CloseServerRequest{Incarnation: incarnation},
	}})
	return response.GetCloseServer().GetSessionsEnded(), err
}

// closedBecause is what a server's newest entry says.
func (w *watched) closedBecause(id string) string {
	w.Helper()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	entries := w.store.entities[serverKey("main", id)].entries
	entry, err := codec.DecodeEntry(entries[len(entries)-1].Data)
	if err != nil {
		w.Fatal(err)
	}
	return entry.GetServerChanges()[0].GetClosed()
}

// names are the entities of a server's sessions.
func names(r *skerryv1.GetServerResponse) []string {
	var all []string
	for _, session := range r.GetSessions() {
		all = append(all, session.GetKind()+"/"+session.GetId())
	}
	return all
}

func TestFirstOpeningRegistersTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.open("p2", "s1")
		w.open("p1", "s1")
		synctest.Wait()
		w.open("p1", "s1") // again: the older session's end must not hide the newer one
		got := w.get("s1")
		if !got.GetAlive() || got.GetBudget() != "unlimited" || got.GetBudgets()["get"].GetPerMinute() != 0 ||
			!slices.Equal(names(got), []string{"player/p1", "player/p2"}) || time.Since(got.GetLastSeen().AsTime()) > time.Second {
			t.Errorf("got %v", got)
		}
	})
}

// A server that says under which registration it opens is not registered behind its back.
func TestOpeningThatNamesItsIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		named := func(incarnation string) error {
			request := openRequest("s1")
			request.GetOpenPlayerSession().Incarnation = incarnation
			_, err := try(w.Host, "p1", request)
			return err
		}
		if err := named("nonsense"); !errors.Is(err, server.ErrUnknownServer) {
			t.Errorf("of a server that never registered: %v", err)
		}
		if _, err := w.server("s1", &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: "s1"}}}); !errors.Is(err, turn.ErrNotFound) {
			t.Errorf("it was registered: %v", err)
		}
		first := w.register("s1")
		if err := named(first); err != nil {
			t.Error(err)
		}
		time.Sleep(31 * time.Second)
		if err := named(first); !errors.Is(err, server.ErrUnknownServer) || w.get("s1").GetAlive() {
			t.Errorf("of a dead server: %v, %v", err, w.get("s1"))
		}
		second := w.register("s1")
		if err := named(first); !errors.Is(err, server.ErrStaleIncarnation) {
			t.Errorf("of the older process: %v", err)
		}
		if err := named(second); err != nil || w.get("s1").GetIncarnation() != second {
			t.Errorf("of the newer: %v, %v", err, w.get("s1"))
		}
	})
}

// Who names a registration that is gone is refused, who names none is served, also when they wait together.
func TestOpeningsThatWaitTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		release := make(chan struct{})
		s.loadFault = func(persistence.Key) error { <-release; return nil }
		w := watchServers(t, s, Options{})
		named := openRequest("s1")
		named.GetOpenPlayerSession().Incarnation = "older"
		refused, served := send(w.Host, "p1", named), send(w.Host, "p2", openRequest("s1"))
		synctest.Wait()
		close(release)
		if got := <-refused; !errors.Is(got.err, server.ErrUnknownServer) {
			t.Errorf("named an older registration: %v, %v", got.response, got.err)
		}
		if got := <-served; got.err != nil {
			t.Error(got.err)
		}
	})
}

// What comes after an opening finds it done, also when the opening waits for its server, and the next one for another.
func TestOpeningIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		release := make(chan struct{})
		s.loadFault = func(key persistence.Key) error {
			if key.Kind == persistence.KindServer {
				<-release
			}
			return nil
		}
		w := watchServers(t, s, Options{MailboxSize: 8})
		who := func() *skerryv1.Request {
			return &skerryv1.Request{Request: &skerryv1.Request_GetPlayerSession{GetPlayerSession: &skerryv1.GetPlayerSessionRequest{}}}
		}
		refused := openRequest("s3")
		refused.GetOpenPlayerSession().Incarnation = "gone"
		var order []<-chan answer
		for _, request := range []*skerryv1.Request{
			openRequest("s1"), who(), openRequest("s2"), who(), refused, who(), openRequest("s1"), who(),
		} {
			order = append(order, send(w.Host, "p1", request))
		}
		for range 2 { // the line is full then
			order = append(order, send(w.Host, "p1", who()))
		}
		other := send(w.Host, "p2", earn("x", 1, 1, durable)) // who waits for nobody
		if got := <-other; !errors.Is(got.err, turn.ErrNotFound) {
			t.Errorf("another player: %v", got.err)
		}
		synctest.Wait()
		close(release)
		for i, want := range []string{"", "s1", "", "s2", "refused", "s2", "", "s1", "s1", "full"} {
			got := <-order[i]
			switch {
			case want == "refused" && errors.Is(got.err, server.ErrUnknownServer), want == "full" && errors.Is(got.err, ErrMailboxFull):
			case got.err != nil || got.response.GetGetPlayerSession().GetServer() != want:
				t.Errorf("call %d: %v, %v; want %q", i, got.response.GetGetPlayerSession(), got.err, want)
			}
		}
		synctest.Wait()
		if n := w.servers.lines.Load(); n != 0 || len(w.servers.mu.lines) != 0 || w.servers.mu.linedUp != 0 {
			t.Errorf("%d lines are left, %d calls in them", n, w.servers.mu.linedUp)
		}
	})
}

// Two registrations would end each other's sessions.
func TestManyFirstOpeningsRegisterOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		var answers []<-chan answer
		for i := range 100 {
			answers = append(answers, send(w.Host, fmt.Sprintf("p%d", i), openRequest("s1")))
		}
		for _, a := range answers {
			if got := <-a; got.err != nil {
				t.Fatal(got.err)
			}
		}
		time.Sleep(10 * time.Second)
		if last, _ := w.store.head(serverKey("main", "s1")); last != 1 || len(w.get("s1").GetSessions()) != 100 {
			t.Errorf("%d entries of the server, %d sessions", last, len(w.get("s1").GetSessions()))
		}
	})
}

func TestOpeningOfManyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		release := make(chan struct{})
		s.loadFault = func(persistence.Key) error { <-release; return nil }
		w := watchServers(t, s, Options{})
		var answers []<-chan answer
		for i := range maxOpening {
			answers = append(answers, send(w.Host, fmt.Sprintf("p%d", i), openRequest("s1")))
		}
		if _, err := try(w.Host, "one more", openRequest("s1")); !errors.Is(err, ErrOverloaded) {
			t.Errorf("opening %d: %v, want ErrOverloaded", maxOpening+1, err)
		}
		close(release)
		for _, a := range answers {
			if got := <-a; got.err != nil {
				t.Fatal(got.err)
			}
		}
	})
}

func TestSilentServerIsReaped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		session := w.open("p1", "s1")
		w.open("p2", "s1")
		taken := w.open("p2", "s2") // whose server stays
		incarnation := w.get("s2").GetIncarnation()
		for range 25 {
			time.Sleep(time.Second)
			if err := w.beat("s2", incarnation); err != nil {
				t.Fatal(err)
			}
		}
		if w.holder("p1") != "s1" {
			t.Fatal("reaped before the time-out")
		}
		time.Sleep(6 * time.Second)
		if got := w.holder("p1"); got != "" {
			t.Errorf("p1 is still held by %q", got)
		}
		if last, saved := w.store.head(playerKey("p1")); last != saved {
			t.Errorf("saved at %d of %d", saved, last)
		}
		if got := w.get("s1"); got.GetAlive() || len(got.GetSessions()) != 0 {
			t.Errorf("dead server: %v", got)
		}
		if why := w.closedBecause("s1"); why != string(server.Silent) {
			t.Errorf("the journal says that it was closed because %q", why)
		}
		if got := w.holder("p2"); got != "s2" {
			t.Errorf("p2, taken by s2, is held by %q", got)
		}
		if _, err := try(w.Host, "p2", earn(taken, 1, 1, durable)); err != nil {
			t.Errorf("the newer session: %v", err)
		}
		if _, err := try(w.Host, "p1", earn(session, 1, 1, durable)); !errors.Is(err, turn.ErrSessionEnded) {
			t.Errorf("the dead server's session: %v", err)
		}
	})
}

// The heartbeats that came while the node stood still are read after the clock.
func TestStandingStillKillsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{})
		w.open("p1", "s1")
		incarnation := w.get("s1").GetIncarnation()
		s.looks = make(chan struct{}) // the loop waits in its look for the sessions of s2
		w.register("s2")
		time.Sleep(40 * time.Second)
		close(s.looks)
		synctest.Wait()
		if err := w.beat("s1", incarnation); err != nil || w.holder("p1") != "s1" {
			t.Errorf("heartbeat: %v; p1 is held by %q", err, w.holder("p1"))
		}
		time.Sleep(31 * time.Second) // from then on, silence counts
		if got := w.holder("p1"); got != "" {
			t.Errorf("p1 is still held by %q", got)
		}
	})
}

func TestAnyRequestOfASessionIsAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		session := w.open("p1", "s1")
		w.open("p2", "s1")
		for i := range 10 {
			time.Sleep(20 * time.Second)
			if _, err := try(w.Host, "p1", earn(session, int64(i+1), 1, memory)); err != nil {
				t.Fatal(err)
			}
		}
		if w.holder("p2") != "s1" {
			t.Error("the server was reaped while it was heard of")
		}
		// Somebody else's request with a wrong token, or a stale heartbeat, is none.
		time.Sleep(20 * time.Second)
		_, _ = try(w.Host, "p1", earn("nonsense", 1, 1, durable))
		if err := w.beat("s1", "nonsense"); !errors.Is(err, server.ErrStaleIncarnation) {
			t.Errorf("stale heartbeat: %v", err)
		}
		time.Sleep(11 * time.Second)
		if w.holder("p2") != "" {
			t.Error("a stranger kept the server alive")
		}
	})
}

// A heartbeat that a slow disk refuses is one.
func TestStalledHeartbeatsKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.open("p1", "s1")
		incarnation := w.get("s1").GetIncarnation()
		beat := func(players int32) error {
			_, err := w.server("s1", &skerryv1.Request{Request: &skerryv1.Request_HeartbeatServer{
				HeartbeatServer: &skerryv1.HeartbeatServerRequest{Server: "s1", Incarnation: incarnation, Players: players},
			}})
			return err
		}
		w.store.set(func() { w.store.held = true })
		if err := beat(1); err != nil { // from memory
			t.Fatal(err)
		}
		for i := range int32(8) {
			time.Sleep(10 * time.Second)
			if err := beat(i + 2); !errors.Is(err, ErrStalled) {
				t.Fatalf("heartbeat %d: %v, want ErrStalled", i, err)
			}
		}
		w.store.set(func() { w.store.held = false })
		synctest.Wait()
		if got := w.holder("p1"); got != "s1" {
			t.Errorf("p1 is held by %q", got)
		}
	})
}

// loggedLines counts the log's lines with a message.
type loggedLines struct {
	slog.Handler
	message string
	lines   *atomic.Int32
}

func (l loggedLines) Enabled(context.Context, slog.Level) bool { return true }

func (l loggedLines) Handle(_ context.Context, r slog.Record) error {
	if r.Message == l.message {
		l.lines.Add(1)
	}
	return nil
}

func TestServersOfAnErasedSpaceAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaths := loggedLines{slog.DiscardHandler, "server dead", &atomic.Int32{}}
		w := watchServers(t, newMarkStore(t), Options{Logger: slog.New(deaths)})
		w.open("p1", "s1")
		waiting := w.poll("s1", 0, "60s")
		synctest.Wait()
		w.store.set(func() { clear(w.store.entities) })
		w.Forget(t.Context(), "main")
		if got := <-waiting; !errors.Is(got.err, turn.ErrNotFound) {
			t.Errorf("a long poll was answered %v, %v", got.response, got.err)
		}
		time.Sleep(40 * time.Second)
		if n := deaths.lines.Load(); n != 0 || len(w.servers.mu.known) != 0 {
			t.Errorf("%d deaths, known %v", n, w.servers.mu.known)
		}
	})
}

// A server that cannot be closed is tried with pauses; one that is not what it was taken for is forgotten.
func TestClosingTheDeadIsNotRepeatedForEver(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(*watched)
		deaths int32 // within a minute
	}{
		"another is alive": {func(w *watched) { w.servers.mu.known[serverName{"main", "s1"}].incarnation = "ghost" }, 1},
		"it is absent":     {func(w *watched) { clear(w.store.entities) }, 1},
		"the disk fails": {func(w *watched) {
			w.store.refuse = func(*persistence.Change) error { return errDisk }
		}, 6}, // at 0, 1, 3, 7, 15 and 31 s
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				deaths := loggedLines{slog.DiscardHandler, "server dead", &atomic.Int32{}}
				w := watchServers(t, newMarkStore(t), Options{Logger: slog.New(deaths), PassivateAfter: 10 * time.Second})
				w.register("s1")
				time.Sleep(20 * time.Second) // the entity is not in memory any more
				w.servers.mu.Lock()
				w.store.set(func() { c.spoil(w) })
				w.servers.mu.Unlock()
				time.Sleep(70 * time.Second)
				if n := deaths.lines.Load(); n != c.deaths {
					t.Errorf("%d deaths, want %d", n, c.deaths)
				}
				w.store.set(func() { w.store.refuse = nil })
				w.open("p1", "s1")
			})
		})
	}
}

func TestRegisteringAgainEndsOlderSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		older := w.register("s1")
		w.open("p1", "s1")
		newer := w.register("s1")
		session := w.open("p2", "s1")
		synctest.Wait()
		if older == newer || w.holder("p1") != "" || w.holder("p2") != "s1" {
			t.Errorf("incarnations %s, %s; p1 held by %q, p2 by %q", older, newer, w.holder("p1"), w.holder("p2"))
		}
		if _, err := try(w.Host, "p2", earn(session, 1, 1, durable)); err != nil {
			t.Error(err)
		}
		if got := names(w.get("s1")); !slices.Equal(got, []string{"player/p2"}) {
			t.Errorf("sessions %v", got)
		}
	})
}

// The opening asked before the registration, and came after it.
func TestOvertakenOpeningEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		older := w.register("s1")
		w.register("s1")
		synctest.Wait()
		late := make(chan answer, 1)
		w.route(&Call{Key: playerKey("p1"), Request: openRequest("s1"), incarnation: older, Reply: func(r *skerryv1.Response, err error) { late <- answer{r, err} }})
		if got := <-late; got.err != nil {
			t.Fatal(got.err)
		}
		synctest.Wait()
		if got := w.holder("p1"); got != "" {
			t.Errorf("the older incarnation's session is still held by %q", got)
		}
	})
}

func TestClosingEndsSessionsWithASave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		incarnation := w.register("s1")
		for i := range 10 {
			id := fmt.Sprint("p", i)
			ask(t, w.Host, id, earn(w.open(id, "s1"), 1, 50, memory))
		}
		if _, err := w.close("nonsense"); !errors.Is(err, server.ErrStaleIncarnation) || len(w.get("s1").GetSessions()) != 10 {
			t.Errorf("a stale process closed: %v", err)
		}
		ended, err := w.close(incarnation)
		if err != nil || ended != 10 {
			t.Fatalf("%d sessions ended, %v", ended, err)
		}
		for i := range 10 {
			id := fmt.Sprint("p", i)
			if last, saved := w.store.head(playerKey(id)); last != saved || w.holder(id) != "" {
				t.Errorf("%s: saved at %d of %d, held by %q", id, saved, last, w.holder(id))
			}
		}
		if why := w.closedBecause("s1"); why != string(server.Asked) {
			t.Errorf("the journal says that it was closed because %q", why)
		}
		if _, err = w.close(""); !errors.Is(err, server.ErrUnknownServer) {
			t.Errorf("closed twice: %v", err)
		}
		if err = w.beat("s1", incarnation); !errors.Is(err, server.ErrUnknownServer) {
			t.Errorf("heartbeat of the closed: %v", err)
		}
		w.open("p1", "s1") // comes back by itself
		if got := w.get("s1"); !got.GetAlive() || got.GetIncarnation() == incarnation {
			t.Errorf("after another opening: %v", got)
		}
	})
}

// The entity tells of an ended session when its entry is applied, and answers after the snapshot: that is what counts.
func TestClosingWaitsForTheSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{Router: &flaky{slow: time.Second}})
		w.open("p1", "s1")
		synctest.Wait()
		began := time.Now()
		if ended, err := w.close(""); err != nil || ended != 1 || time.Since(began) < time.Second {
			t.Errorf("%d ended after %s, %v", ended, time.Since(began), err)
		}
	})
}

// An opening that meets a server on its way out belongs to the next incarnation and is not ended with the older one.
func TestOpeningWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		router := &flaky{fail: func(n int, c *Call) error {
			if n < 3 && c.Key.ID == "p1" {
				return ErrOverloaded
			}
			return nil
		}}
		w := watchServers(t, s, Options{Router: router})
		older := w.register("s1")
		w.open("p1", "s1")
		closed := make(chan answer, 1)
		w.Do(&Call{
			Key: serverKey("main", "s1"), Reply: func(r *skerryv1.Response, err error) { closed <- answer{r, err} },
			Request: &skerryv1.Request{Request: &skerryv1.Request_CloseServer{CloseServer: &skerryv1.CloseServerRequest{}}},
		})
		pendingStill(t, closed, "its session has not ended")
		late := make(chan answer, 1) // it asked before
		w.route(&Call{Key: playerKey("p3"), Request: openRequest("s1"), incarnation: older, Reply: func(r *skerryv1.Response, err error) { late <- answer{r, err} }})
		if got := <-late; got.err != nil {
			t.Fatal(got.err)
		}
		synctest.Wait()
		if got := w.holder("p3"); got != "" {
			t.Errorf("p3, opened while its server leaves, is held by %q", got)
		}
		w.open("p2", "s1")
		if got := <-closed; !errors.Is(got.err, server.ErrStaleIncarnation) {
			t.Errorf("the close was answered %v, %v: the server came back", got.response, got.err)
		}
		time.Sleep(20 * time.Second)
		if w.holder("p1") != "" || w.holder("p2") != "s1" || w.get("s1").GetIncarnation() == older {
			t.Errorf("p1 held by %q, p2 by %q, incarnation %s", w.holder("p1"), w.holder("p2"), older)
		}
	})
}

// flaky is a router that fails the ends of sessions as it is told.
type flaky struct {
	to   *Host
	fail func(n int, c *Call) error // may be nil
	slow time.Duration              // the answers take that long

	mu sync.Mutex
	n  int // ends passed on
}

func (f *flaky) aim(to *Host) { f.to = to }

func (f *flaky) Do(c *Call) {
	if c.Request.GetEndPlayerSession() != nil {
		f.mu.Lock()
		n := f.n
		f.n++
		f.mu.Unlock()
		if f.fail != nil {
			if err := f.fail(n, c); err != nil {
				c.Reply(nil, err)
				return
			}
		}
		slow := *c
		slow.Reply = func(r *skerryv1.Response, err error) { time.AfterFunc(f.slow, func() { c.Reply(r, err) }) }
		f.to.Do(&slow)
		return
	}
	f.to.Do(c)
}

func TestEndsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router := &flaky{fail: func(n int, _ *Call) error {
			return []error{ErrOverloaded, persistence.ErrOutcomeUnknown, ErrLoad, nil}[min(n, 3)]
		}}
		w := watchServers(t, newMarkStore(t), Options{Router: router})
		w.open("p1", "s1")
		if ended, err := w.close(""); err != nil || ended != 1 || w.holder("p1") != "" {
			t.Errorf("%d ended, %v, held by %q", ended, err, w.holder("p1"))
		}
	})
}

// A server that died together with its node is reaped by the next one, and one that lives keeps its sessions.
func TestServersOutliveTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{})
		for i := range 20 {
			w.open(fmt.Sprint("p", i), fmt.Sprint("s", i%2))
		}
		incarnation := w.get("s1").GetIncarnation()
		w.stop()

		s.faults, s.lookFaults = 3, 3
		w = watchServers(t, s, Options{})
		if got := w.get("s1"); len(got.GetSessions()) != 10 || got.GetIncarnation() != incarnation || !got.GetAlive() {
			t.Errorf("after the restart: %v", got)
		}
		for range 40 {
			time.Sleep(time.Second)
			if err := w.beat("s1", incarnation); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			if got, want := w.holder(fmt.Sprint("p", i)), []string{"", "s1"}[i%2]; got != want {
				t.Errorf("p%d is held by %q, want %q", i, got, want)
			}
		}
		if w.get("s0").GetAlive() || !w.get("s1").GetAlive() {
			t.Errorf("s0 %v, s1 %v", w.get("s0"), w.get("s1"))
		}
	})
}

func TestSessionsAreShownOnceAllAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{})
		w.open("p1", "s1")
		w.stop()
		s.looks = make(chan struct{})
		w = watchServers(t, s, Options{})
		shown := make(chan answer, 1)
		w.Do(&Call{
			Key: serverKey("main", "s1"), Reply: func(r *skerryv1.Response, err error) { shown <- answer{r, err} },
			Request: &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{}}},
		})
		pendingStill(t, shown, "the sessions are not found yet")
		close(s.looks)
		response, err := answered(t, shown)
		if err != nil || !slices.Equal(names(response.GetGetServer()), []string{"player/p1"}) {
			t.Errorf("%v, %v", response, err)
		}
	})
}

// The node died after a registration, before it had ended the older incarnation's sessions.
func TestStraySessionsEndAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{Router: &flaky{fail: func(int, *Call) error { return ErrDraining }}})
		w.open("p1", "s1")
		w.register("s1")
		w.open("p2", "s1")
		synctest.Wait()
		if w.holder("p1") != "s1" {
			t.Fatal("the test needs p1 to be held still")
		}
		w.stop()

		w = watchServers(t, s, Options{})
		time.Sleep(time.Second)
		if w.holder("p1") != "" || w.holder("p2") != "s1" {
			t.Errorf("p1 is held by %q, p2 by %q", w.holder("p1"), w.holder("p2"))
		}
	})
}

// Passivation of a server's entity takes nothing from it.
func TestServerEntityMayLeaveMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{PassivateAfter: time.Minute})
		session := w.open("p1", "s1")
		for i := range 20 {
			time.Sleep(20 * time.Second)
			ask(t, w.Host, "p1", earn(session, int64(i+1), 1, durable))
		}
		if w.Active(serverKey("main", "s1")) {
			t.Fatal("the test needs the server's entity out of memory")
		}
		if w.holder("p1") != "s1" {
			t.Error("the server was forgotten with its entity")
		}
		time.Sleep(31 * time.Second)
		if w.holder("p1") != "" {
			t.Error("the silent server was not reaped")
		}
	})
}

func TestClosedServersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{PassivateAfter: time.Minute})
		for i := range 10 {
			w.open("p1", fmt.Sprint("s", i))
		}
		time.Sleep(3 * time.Minute)
		w.servers.mu.Lock()
		defer w.servers.mu.Unlock()
		if n := len(w.servers.mu.known); n != 0 {
			t.Errorf("%d servers are still known", n)
		}
	})
}

func TestLostPartitionsServersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.open("p1", "s1")
		waiting := make(chan answer, 1)
		w.Do(eventsCall("s1", 0, "25s", func(r *skerryv1.Response, err error) { waiting <- answer{r, err} }))
		pendingStill(t, waiting, "there is no event")
		w.Lost(w.partitionOf(serverKey("main", "s1")), w.store.epoch)
		if got := <-waiting; !errors.Is(got.err, persistence.ErrNotOwner) {
			t.Errorf("%v, %v, want ErrNotOwner", got.response, got.err)
		}
		w.servers.mu.Lock()
		defer w.servers.mu.Unlock()
		if len(w.servers.mu.known) != 0 {
			t.Error("the server is still known")
		}
	})
}
