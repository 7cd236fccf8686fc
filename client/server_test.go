package client_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// A take-over is heard through the events, without a call.
func TestEventEndsPlayer(t *testing.T) {
	f := startFake(t, echo)
	events := make(chan *client.Event, 4)
	s, err := dial(t, f, client.Options{}).RegisterServer(t.Context(), "s1", client.ServerOptions{
		OnEvent: func(e *client.Event) { events <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := s.OpenPlayer(t.Context(), "1001", client.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.OpenPlayer(t.Context(), "1002", client.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.events <- &skerryv1.ServerEvent{Id: 1, Type: client.EventSessionTaken, Kind: "player", Entity: "1001", Session: taken.Token()}
	<-taken.Done()
	if e := <-events; e.GetEntity() != "1001" || !errors.Is(taken.Err(), client.ErrSessionTaken) {
		t.Errorf("heard %v, ended with %v", e, taken.Err())
	}
	if other.Err() != nil {
		t.Errorf("the other ended too: %v", other.Err())
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if <-other.Done(); !errors.Is(other.Err(), client.ErrSessionEnded) {
		t.Errorf("after close: %v", other.Err())
	}
}

func TestRefusalEndsPlayer(t *testing.T) {
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() == nil {
			return echo(req)
		}
		return no("SESSION_TAKEN", false, client.NotApplied)
	})
	p := openPlayer(t, dial(t, f, client.Options{}), "1001")
	if _, err := p.Earn(t.Context(), client.Coins, 1); !errors.Is(err, client.ErrSessionTaken) {
		t.Fatal(err)
	}
	if <-p.Done(); !errors.Is(p.Err(), client.ErrSessionTaken) {
		t.Errorf("%v", p.Err())
	}
}

func TestHeartbeats(t *testing.T) {
	var registered atomic.Int32
	beats := make(chan int32, 100)
	answers := make(chan *skerryv1.Response, 3)
	answers <- echo(&skerryv1.Request{Request: &skerryv1.Request_HeartbeatServer{}})
	answers <- no("UNKNOWN_SERVER", false, client.NotApplied)    // taken for dead: registers again
	answers <- no("STALE_INCARNATION", false, client.NotApplied) // another process: gives up
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetRegisterServer() != nil {
			registered.Add(1)
		}
		if req.GetHeartbeatServer() != nil {
			beats <- req.GetHeartbeatServer().GetPlayers()
			return <-answers
		}
		return echo(req)
	})
	c := dial(t, f, client.Options{})
	s, err := c.RegisterServer(t.Context(), "s1", client.ServerOptions{HeartbeatInterval: time.Millisecond, Players: 3})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.OpenPlayer(t.Context(), "1001", client.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := <-beats; n != 3 {
		t.Errorf("reported %d players", n)
	}
	<-beats
	<-p.Done()
	<-beats
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for s.Err() == nil && ctx.Err() == nil {
		if _, err := c.Player(ctx, "1001"); err != nil { // a round trip, in place of a sleep
			t.Fatal(err)
		}
	}
	if !errors.Is(s.Err(), client.ErrStaleIncarnation) || registered.Load() != 2 {
		t.Errorf("ended with %v after %d registrations", s.Err(), registered.Load())
	}
	s.Abandon()
}
