// Goal: the flow of a game that gives each server its first player's world works, from the registration to the saved world.
// Method: two game servers against a whole node in memory; the first one dies, and the node restarts.
package skerrytest_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/skerrytest"
)

// claimant is a game server whose first player claims its world.
type claimant struct {
	*client.Server
	claimed chan *client.World
	refused chan *client.Event
}

func claims(t *testing.T, n *skerrytest.Node, id string) *claimant {
	t.Helper()
	c := &claimant{claimed: make(chan *client.World, 4), refused: make(chan *client.Event, 4)}
	ready := make(chan struct{})
	s, err := n.Client(t).RegisterServer(t.Context(), id, client.ServerOptions{
		ClaimWorld: client.FirstPlayer, HeartbeatInterval: 200 * time.Millisecond,
		OnEvent: func(e *client.Event) {
			<-ready
			switch e.GetType() {
			case client.EventWorldClaimed:
				w, err := c.ClaimedWorld(t.Context(), e)
				if err != nil {
					t.Errorf("claimed: %v", err)
					return
				}
				c.claimed <- w
			case client.EventWorldRefused:
				c.refused <- e
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Server = s
	close(ready)
	t.Cleanup(s.Abandon)
	return c
}

func soon[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s within 10 s", what)
		panic("unreachable")
	}
}

func TestWorldOfTheFirstPlayer(t *testing.T) {
	n := skerrytest.Start(t, func(c *node.Config) {
		c.ServerTimeout, c.JournalAfter, c.AutosaveAfter = 2*time.Second, time.Hour, time.Hour // nothing else saves
	})
	s1 := claims(t, n, "s1")
	if _, err := s1.OpenPlayer(t.Context(), "1001", client.OpenOptions{Name: "Ann"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s1.OpenPlayer(t.Context(), "1002", client.OpenOptions{Name: "Bob"}); err != nil {
		t.Fatal(err)
	}
	world := soon(t, "WORLD_CLAIMED", s1.claimed)
	if d := world.Document(); world.ID() != "1001" || d.GetOwnerId() != "1001" || d.GetOwnerName() != "Ann" || d.GetMetadata().GetName() != "Ann's World" {
		t.Errorf("claimed %s: %v", world.ID(), d)
	}
	if _, err := world.SetBlocks(t.Context(), []client.Block{{X: 1, Y: 2, Z: 3, ID: 7}}, client.InMemory(), client.As("1001")); err != nil {
		t.Errorf("the owner: %v", err)
	}
	if _, err := world.SetBlocks(t.Context(), []client.Block{{X: 1, Y: 2, Z: 3, ID: 8}}, client.As("1002")); !errors.Is(err, client.ErrForbiddenRole) {
		t.Errorf("a visitor: %v", err)
	}
	if _, got := call(t, "GET", n.HTTP()+"/v1/servers/s1", "", ""); at(got, "world", "id") != "1001" || at(got, "world", "state") != "CLAIMED" {
		t.Errorf("the server says %v", got["world"])
	}

	// Ann hops; Bob is still on s1, with her world.
	s2 := claims(t, n, "s2")
	ann, err := s2.OpenPlayer(t.Context(), "1001", client.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if e := soon(t, "WORLD_REFUSED", s2.refused); e.GetEntity() != "1001" || e.GetDetail() == "" {
		t.Errorf("refused: %v", e)
	}
	if _, err = ann.Earn(t.Context(), client.Coins, 1); err != nil {
		t.Errorf("she plays on: %v", err)
	}
	if _, err = s2.OpenWorld(t.Context(), "1001", client.WorldOptions{}); !errors.Is(err, client.ErrSessionHeld) {
		t.Errorf("the second server opens it: %v", err)
	}
	second, err := s2.OpenWorld(t.Context(), "1001~2", client.WorldOptions{Create: &skerryv1.Create{OwnerName: "Ann"}})
	if err != nil || second.Document().GetOwnerId() != "1001" {
		t.Errorf("her second world: %v, %v", second, err)
	}

	s1.Abandon() // it dies, and was not asked to save
	ended := ""
	for after := "0"; ended == ""; {
		_, got := call(t, "GET", n.HTTP()+"/v1/servers/s1/events?wait=10s&after="+after, "", "")
		events, _ := got["events"].([]any)
		if len(events) == 0 {
			t.Fatalf("the world's session did not end: %v", got)
		}
		for _, e := range events {
			event, _ := e.(map[string]any)
			after = fmt.Sprint(event["id"])
			if event["type"] == client.EventSessionEnded && event["kind"] == "world" {
				ended = fmt.Sprint(event["session"])
			}
		}
	}
	if ended != world.Token() {
		t.Errorf("another session ended")
	}
	alive := func() bool { // until its sessions have ended, with their saves
		_, got := call(t, "GET", n.HTTP()+"/v1/servers/s1", "", "")
		return at(got, "alive") == true
	}
	for deadline := time.Now().Add(10 * time.Second); alive(); {
		if time.Now().After(deadline) {
			t.Fatal("s1 is still taken for alive")
		}
	}
	_, held := call(t, "GET", n.HTTP()+"/v1/worlds/1001/session", "", "")
	if held["server"] != "" || held["dirtySeconds"] != 0.0 || held["lastSave"] == nil {
		t.Errorf("when its server has died: %v", held)
	}
	w, err := s2.OpenWorld(t.Context(), "1001", client.WorldOptions{})
	if err != nil {
		t.Fatalf("when the first server is dead: %v", err)
	}
	n.Restart(t)
	chunk, err := w.Chunk(t.Context(), 0, 0)
	if err != nil || fmt.Sprint(chunk.GetEdits()) != "[1 2 3 7]" {
		t.Errorf("after a restart: %v, %v", chunk, err)
	}
	if _, err = w.SetBlocks(t.Context(), []client.Block{{X: 1, Y: 2, Z: 3, ID: 9}}); err != nil { // the session is still valid
		t.Error(err)
	}
}

// The claimed world is a session of the server as any other: its end is heard without a call.
func TestClaimedWorldIsTaken(t *testing.T) {
	n := skerrytest.Start(t)
	s1, s2 := claims(t, n, "s1"), claims(t, n, "s2")
	if _, err := s1.ClaimedWorld(t.Context(), &client.Event{Type: client.EventSessionEnded, Entity: "1001"}); err == nil {
		t.Error("claimed by another event")
	}
	if _, err := s1.OpenPlayer(t.Context(), "1001", client.OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	world := soon(t, "WORLD_CLAIMED", s1.claimed)
	if _, err := s2.OpenWorld(t.Context(), "1001", client.WorldOptions{IfTaken: client.Take}); err != nil {
		t.Fatal(err)
	}
	if soon(t, "end of the session", world.Done()); !errors.Is(world.Err(), client.ErrSessionTaken) {
		t.Errorf("it ended with %v", world.Err())
	}
}
