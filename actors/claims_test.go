// Goal: a server's first player claims the server's world, once, whatever dies; and worlds end with their servers, saved.
// Method: the host on a store in memory, in fake time, its calls cut off at every step.
package actors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

func worldOf(id string) persistence.Key {
	return persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: id}
}

// world asks a world, with scope admin.
func (w *watched) world(id string, request *skerryv1.Request) (*skerryv1.Response, error) {
	w.Helper()
	answers := make(chan answer, 2)
	w.Do(&Call{Key: worldOf(id), Request: request, Admin: true, Reply: func(r *skerryv1.Response, err error) { answers <- answer{r, err} }})
	got := <-answers
	return got.response, got.err
}

func (w *watched) openWorld(id, server string, ifTaken skerryv1.IfTaken) (string, error) {
	w.Helper()
	r, err := w.world(id, &skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionRequest{
		World: id, Server: server, IfTaken: ifTaken, Create: &skerryv1.Create{},
	}}})
	return r.GetOpenWorldSession().GetSession(), err
}

// worldHolder says who holds the world p1.
func (w *watched) worldHolder() *skerryv1.GetWorldSessionResponse {
	w.Helper()
	r, err := w.world("p1", &skerryv1.Request{Request: &skerryv1.Request_GetWorldSession{GetWorldSession: &skerryv1.GetWorldSessionRequest{World: "p1"}}})
	if err != nil {
		w.Fatalf("session of the world: %v", err)
	}
	return r.GetGetWorldSession()
}

func (w *watched) worldDocument(id string) (*skerryv1.World, error) {
	w.Helper()
	r, err := w.world(id, &skerryv1.Request{Request: &skerryv1.Request_GetWorld{GetWorld: &skerryv1.GetWorldRequest{World: id}}})
	return r.GetGetWorld().GetWorld(), err
}

// claiming registers a server whose first player claims its world.
func (w *watched) claiming(id string) {
	w.Helper()
	_, err := w.server(id, &skerryv1.Request{Request: &skerryv1.Request_RegisterServer{RegisterServer: &skerryv1.RegisterServerRequest{
		Server: id, ClaimWorld: skerryv1.ClaimWorld_FIRST_PLAYER,
	}}})
	if err != nil {
		w.Fatalf("register %s: %v", id, err)
	}
}

// openAs opens a session of s1.
func (w *watched) openAs(player, name string) string {
	w.Helper()
	request := openRequest("s1")
	request.GetOpenPlayerSession().Name = name
	return ask(w.TB, w.Host, player, request).GetOpenPlayerSession().GetSession()
}

// stands is what GetServer says of a server's world.
func (w *watched) stands(id string) string {
	w.Helper()
	world := w.get(id).GetWorld()
	if world == nil {
		return ""
	}
	return world.GetId() + " " + world.GetState().String()
}

// eventsOf are a server's events of a type.
func (w *watched) eventsOf(id, kind string) []*skerryv1.ServerEvent {
	w.Helper()
	got := <-w.poll(id, 0, "")
	if got.err != nil {
		w.Fatalf("events of %s: %v", id, got.err)
	}
	return slices.DeleteFunc(got.response.GetGetServerEvents().GetEvents(), func(e *skerryv1.ServerEvent) bool { return e.GetType() != kind })
}

// dig changes a block of a world, in memory only.
func (w *watched) dig(id, token string, command int64) error {
	w.Helper()
	_, err := w.world(id, onWorld(token, command, memory, block(int32(command), 1, 1, 7))) //nolint:gosec // small
	return err
}

func TestFirstPlayerClaimsTheWorld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{})
		w.claiming("s1")
		if got := w.stands("s1"); got != "" {
			t.Errorf("before anybody came: %s", got)
		}
		w.openAs("p1", "Ann")
		w.openAs("p2", "Bob")
		w.openAs("p1", "Ann")
		synctest.Wait()
		got := w.get("s1")
		if w.stands("s1") != "p1 CLAIMED" || !slices.Equal(names(got), []string{"player/p1", "player/p2", "world/p1"}) {
			t.Errorf("claimed %q, sessions %v", w.stands("s1"), names(got))
		}
		document, err := w.worldDocument("p1")
		if err != nil || document.GetOwnerId() != "p1" || document.GetOwnerName() != "Ann" || document.GetMetadata().GetName() != "Ann's World" {
			t.Errorf("%v, %v", document, err)
		}
		if _, err = w.worldDocument("p2"); !errors.Is(err, turn.ErrNotFound) {
			t.Errorf("a world of the second player: %v", err)
		}
		events := w.eventsOf("s1", turn.EventWorldClaimed)
		if len(events) != 1 || events[0].GetKind() != "world" || events[0].GetEntity() != "p1" {
			t.Fatalf("events %v", events)
		}
		token := events[0].GetSession()
		if err = w.dig("p1", token, 1); err != nil {
			t.Errorf("with the event's token: %v", err)
		}
		if _, err = w.openWorld("p1~2", "s1", skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED); err != nil {
			t.Errorf("another world of the owner: %v", err)
		}
		w.stop()

		w = watchServers(t, s, Options{}) // the claim, and the session, outlive the node
		w.openAs("p3", "Cyd")
		synctest.Wait()
		if again := w.eventsOf("s1", turn.EventWorldClaimed); len(again) != 0 || w.stands("s1") != "p1 CLAIMED" {
			t.Errorf("after the restart: %v, %s", again, w.stands("s1"))
		}
		want := []string{"player/p1", "player/p2", "player/p3", "world/p1", "world/p1~2"}
		if found := names(w.get("s1")); !slices.Equal(found, want) {
			t.Errorf("sessions %v", found)
		}
		if err = w.dig("p1", token, 2); err != nil {
			t.Errorf("with the event's token, after the restart: %v", err)
		}
		if _, err = w.worldDocument("p3"); !errors.Is(err, turn.ErrNotFound) {
			t.Errorf("a world of the third player: %v", err)
		}
	})
}

func TestServersThatClaimNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{})
		w.open("p1", "s1")
		w.register("s2")
		w.open("p2", "s2")
		w.claiming("s3")
		if _, err := w.openWorld("w", "s3", skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED); err != nil { // no player
			t.Fatal(err)
		}
		synctest.Wait()
		w.stop()
		w = watchServers(t, s, Options{})
		synctest.Wait()
		for _, id := range []string{"s1", "s2", "s3"} {
			if got := w.stands(id); got != "" {
				t.Errorf("%s has claimed %s", id, got)
			}
		}
		if _, err := w.worldDocument("p1"); !errors.Is(err, turn.ErrNotFound) {
			t.Errorf("a world of a player: %v", err)
		}
	})
}

// Whichever server comes second is refused while players are on the first one, and its player plays nevertheless.
func TestClaimIsRefusedWhilePlayersArePresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{ServerTimeout: time.Hour})
		first, err := w.openWorld("p1", "s0", skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED)
		if err != nil {
			t.Fatal(err)
		}
		visitor := w.open("p9", "s0")
		w.claiming("s1")
		session := w.open("p1", "s1")
		synctest.Wait()
		if _, err = try(w.Host, "p1", earn(session, 1, 1, durable)); err != nil {
			t.Errorf("the player on the refused server: %v", err)
		}
		events := w.eventsOf("s1", turn.EventWorldRefused)
		if len(events) != 1 || events[0].GetEntity() != "p1" || events[0].GetSession() != "" || !strings.Contains(events[0].GetDetail(), "by server s0") {
			t.Errorf("events %v", events)
		}
		if got := w.get("s1").GetWorld(); got.GetState() != skerryv1.ClaimState_CLAIM_REFUSED || got.GetRefused() != events[0].GetDetail() {
			t.Errorf("claim %v", got)
		}
		if err = w.dig("p1", first, 1); err != nil || w.worldHolder().GetServer() != "s0" {
			t.Errorf("the holder: %v, %v", err, w.worldHolder())
		}
		w.open("p2", "s1")
		synctest.Wait()
		if _, err = w.worldDocument("p2"); !errors.Is(err, turn.ErrNotFound) || w.stands("s1") != "p1 CLAIM_REFUSED" {
			t.Errorf("a second claim: %v, %s", err, w.stands("s1"))
		}
		if _, err = w.openWorld("p1", "s1", skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED); !errors.Is(err, turn.ErrSessionHeld) {
			t.Errorf("opened by itself while players are present: %v", err)
		}

		ask(t, w.Host, "p9", endRequestOf("p9", visitor))
		synctest.Wait()
		if _, err = w.openWorld("p1", "s1", skerryv1.IfTaken_REFUSE); !errors.Is(err, turn.ErrSessionHeld) {
			t.Errorf("REFUSE: %v", err)
		}
		if _, err = w.openWorld("p1", "s1", skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED); err != nil {
			t.Errorf("opened by itself when they left: %v", err)
		}
		taken := w.eventsOf("s0", turn.EventSessionTaken)
		if len(taken) != 1 || taken[0].GetKind() != "world" || taken[0].GetSession() != first || taken[0].GetDetail() != "taken by s1" {
			t.Errorf("the server without players heard %v", taken)
		}
		if err = w.dig("p1", first, 2); !errors.Is(err, turn.ErrSessionTaken) {
			t.Errorf("the older token: %v", err)
		}
	})
}

func endRequestOf(player, token string) *skerryv1.Request {
	return endRequest(playerKey(player), token)
}

// A player who hops takes its world along when nobody else is left behind.
func TestClaimTakesTheWorldAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.claiming("s1")
		w.claiming("s2")
		w.open("p1", "s1")
		synctest.Wait()
		w.open("p1", "s2")
		synctest.Wait()
		if got := w.worldHolder().GetServer(); got != "s2" || w.stands("s2") != "p1 CLAIMED" {
			t.Errorf("held by %q, claim %s", got, w.stands("s2"))
		}
	})
}

// cut is a router that cuts off what claims a world, as a dying node would.
type cut struct {
	*flaky
	at     string // "ask", "open" or "opened"
	opened atomic.Pointer[string]
}

func (c *cut) Do(call *Call) {
	open := call.Request.GetOpenWorldSession()
	switch {
	case open != nil && c.at == "opened":
		seen := *call
		seen.Reply = func(r *skerryv1.Response, _ error) {
			token := r.GetOpenWorldSession().GetSession()
			c.opened.Store(&token)
		}
		c.to.Do(&seen)
	case open != nil && c.at == "open", call.Request.GetGetPlayer() != nil && c.at == "ask":
	default:
		c.to.Do(call)
	}
}

// A claim that was cut off at any step is brought to its end by whoever owns the server next: the same world, the same
// session.
func TestClaimThatWasCutOff(t *testing.T) {
	for _, at := range []string{"ask", "open", "opened"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newMarkStore(t)
				router := &cut{flaky: &flaky{}, at: at}
				w := watchServers(t, s, Options{Router: router})
				w.claiming("s1")
				eve := w.openAs("p5", "Eve")
				synctest.Wait()
				w.openAs("p1", "Ann")
				ask(t, w.Host, "p5", endRequestOf("p5", eve)) // the next owner finds only the second player
				synctest.Wait()
				if got := w.stands("s1"); got != "p5 CLAIMING" {
					t.Fatalf("cut off: %q", got)
				}
				w.stop()

				w = watchServers(t, s, Options{})
				synctest.Wait()
				events := w.eventsOf("s1", turn.EventWorldClaimed)
				if w.stands("s1") != "p5 CLAIMED" || len(events) != 1 || events[0].GetEntity() != "p5" {
					t.Fatalf("claimed %s, events %v", w.stands("s1"), events)
				}
				if before := router.opened.Load(); before != nil && *before != events[0].GetSession() {
					t.Error("opened a second session")
				}
				if document, err := w.worldDocument("p5"); err != nil || document.GetOwnerName() != "Eve" {
					t.Errorf("%v, %v", document, err)
				}
				if _, err := w.worldDocument("p1"); !errors.Is(err, turn.ErrNotFound) {
					t.Errorf("a second world: %v", err)
				}
			})
		})
	}
}

// A world that cannot be loaded is claimed when it can, and refused in the end; never is a new one put in its place.
func TestClaimOfAWorldThatCannotBeLoaded(t *testing.T) {
	for name, heals := range map[string]bool{"for a while": true, "for ever": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newMarkStore(t)
				s.loadFault = func(key persistence.Key) error {
					if key.Kind == persistence.KindWorld {
						return errDisk
					}
					return nil
				}
				w := watchServers(t, s, Options{ServerTimeout: time.Hour})
				w.claiming("s1")
				w.open("p1", "s1")
				time.Sleep(10 * time.Second)
				if got := w.stands("s1"); got != "p1 CLAIMING" {
					t.Errorf("while it cannot be loaded: %s", got)
				}
				if heals {
					s.set(func() { s.loadFault = nil })
				}
				time.Sleep(5 * time.Minute)
				want, kind := "p1 CLAIM_REFUSED", turn.EventWorldRefused
				if heals {
					want, kind = "p1 CLAIMED", turn.EventWorldClaimed
				}
				if events := w.eventsOf("s1", kind); w.stands("s1") != want || len(events) != 1 {
					t.Errorf("%s, events %v", w.stands("s1"), events)
				}
				if last, _ := s.head(worldOf("p1")); !heals && last != 0 {
					t.Errorf("the world has %d entries", last)
				}
			})
		})
	}
}

// Each registration claims anew; what the one before had ends with a save.
func TestNextIncarnationClaimsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.claiming("s1")
		w.open("p1", "s1")
		synctest.Wait()
		token := w.eventsOf("s1", turn.EventWorldClaimed)[0].GetSession()
		if err := w.dig("p1", token, 1); err != nil {
			t.Fatal(err)
		}
		w.claiming("s1")
		synctest.Wait()
		ended := w.eventsOf("s1", turn.EventSessionEnded)
		if len(ended) != 2 || !slices.ContainsFunc(ended, func(e *skerryv1.ServerEvent) bool { return e.GetKind() == "world" && e.GetSession() == token }) {
			t.Errorf("events %v", ended)
		}
		if held := w.worldHolder(); held.GetServer() != "" || w.stands("s1") != "" {
			t.Errorf("held by %v, claim %q", held, w.stands("s1"))
		}
		w.savedChunk("p1")
		w.open("p2", "s1")
		synctest.Wait()
		if got := w.stands("s1"); got != "p2 CLAIMED" {
			t.Errorf("claim %q", got)
		}
	})
}

// An opening of a world that names a registration which is gone is told so, as a player's.
func TestOpeningOfAWorldThatNamesItsIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		named := func(incarnation string) error {
			_, err := w.world("w", &skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionRequest{
				World: "w", Server: "s1", Create: &skerryv1.Create{}, Incarnation: incarnation,
			}}})
			return err
		}
		if err := named("nonsense"); !errors.Is(err, server.ErrUnknownServer) {
			t.Errorf("of a server that never registered: %v", err)
		}
		older := w.register("s1")
		newer := w.register("s1")
		if err := named(older); !errors.Is(err, server.ErrStaleIncarnation) {
			t.Errorf("of the older process: %v", err)
		}
		if err := named(newer); err != nil {
			t.Error(err)
		}
	})
}

// savedChunk checks that a world that was dug in is saved, its chunk too.
func (w *watched) savedChunk(id string) {
	w.Helper()
	w.store.mu.Lock()
	e := w.store.entities[worldOf(id)]
	chunk := e.part("c/0/0")
	w.store.mu.Unlock()
	if chunk == nil {
		w.Errorf("world %s: its chunk is not saved", id)
	}
	if last, saved := w.store.head(worldOf(id)); last != saved {
		w.Errorf("world %s: saved at %d of %d", id, saved, last)
	}
}

// Whatever ends a server, its worlds are saved with their chunks.
func TestWorldsEndWithTheirServersSaved(t *testing.T) {
	for name, end := range map[string]func(w *watched){
		"it dies":      func(*watched) { time.Sleep(31 * time.Second) },
		"it is closed": func(w *watched) { _, _ = w.close("") },
		"by its token": func(w *watched) {
			token := w.eventsOf("s1", turn.EventWorldClaimed)[0].GetSession()
			for range 2 { // twice is no error
				if _, err := w.world("p1", endRequest(worldOf("p1"), token)); err != nil {
					w.Error(err)
				}
			}
		},
		"another takes it, and dies": func(w *watched) {
			if _, err := w.openWorld("p1", "s2", skerryv1.IfTaken_TAKE); err != nil {
				w.Error(err)
			}
			time.Sleep(31 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newMarkStore(t)
				w := watchServers(t, s, Options{})
				w.claiming("s1")
				w.open("p1", "s1")
				synctest.Wait()
				if err := w.dig("p1", w.eventsOf("s1", turn.EventWorldClaimed)[0].GetSession(), 1); err != nil {
					t.Fatal(err)
				}
				end(w)
				synctest.Wait()
				if held := w.worldHolder(); held.GetServer() != "" || held.GetDirtySeconds() != 0 {
					t.Errorf("held: %v", held)
				}
				w.savedChunk("p1")
				w.stop()
				w = watchServers(t, s, Options{})
				r, err := w.world("p1", getChunk(0, 0))
				if got := fmt.Sprint(r.GetGetChunk().GetChunk().GetEdits()); err != nil || got != "[1 1 1 7]" {
					t.Errorf("after a restart the chunk is %s, %v", got, err)
				}
			})
		})
	}
}

// A shutdown of the node saves the worlds, and ends no session: the next node finds them, also of passivated worlds.
func TestWorldsOutliveAShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{PassivateAfter: time.Minute, ServerTimeout: time.Hour})
		w.claiming("s1")
		w.open("p1", "s1")
		synctest.Wait()
		token := w.eventsOf("s1", turn.EventWorldClaimed)[0].GetSession()
		other, err := w.openWorld("p1~2", "s1", skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED)
		if err != nil {
			t.Fatal(err)
		}
		if err = w.dig("p1~2", other, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if w.Active(worldOf("p1~2")) {
			t.Error("it is still in memory")
		}
		w.savedChunk("p1~2")
		if err = w.dig("p1", token, 1); err != nil {
			t.Fatal(err)
		}
		report, err := w.Shutdown(t.Context())
		if err != nil || report.Saved != 1 || report.Failed+report.Journaled != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		w.savedChunk("p1")
		w.stop()

		w = watchServers(t, s, Options{})
		if got := names(w.get("s1")); !slices.Equal(got, []string{"player/p1", "world/p1", "world/p1~2"}) {
			t.Errorf("sessions %v", got)
		}
		for id, held := range map[string]string{"p1": token, "p1~2": other} {
			if err = w.dig(id, held, 2); err != nil {
				t.Errorf("%s, with its older token: %v", id, err)
			}
		}
	})
}
