package client_test

import (
	"context"
	"errors"
	"fmt"
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

// A server that was silent for too long comes back with an opening as well as with a heartbeat.
func TestOpeningRegistersAgain(t *testing.T) {
	var registered atomic.Int32 // the newest incarnation's number
	alive := func() string { return fmt.Sprintf("i%d", registered.Load()) }
	var dead, taken atomic.Bool
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		switch named := req.GetOpenPlayerSession().GetIncarnation(); {
		case req.GetRegisterServer() != nil:
			registered.Add(1)
			dead.Store(false)
			response := echo(req)
			response.GetRegisterServer().Incarnation = alive()
			return response
		case req.GetOpenPlayerSession() != nil && dead.Load():
			return no("UNKNOWN_SERVER", false, client.NotApplied)
		case req.GetOpenPlayerSession() != nil && (named != alive() || taken.Load()):
			return no("STALE_INCARNATION", false, client.NotApplied)
		}
		return echo(req)
	})
	s, err := dial(t, f, client.Options{}).RegisterServer(t.Context(), "s1", client.ServerOptions{HeartbeatInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abandon()
	older, err := s.OpenPlayer(t.Context(), "1001", client.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dead.Store(true)
	newer, err := s.OpenPlayer(t.Context(), "1002", client.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(older.Err(), client.ErrSessionEnded) || newer.Err() != nil || s.Err() != nil || s.Incarnation() != "i2" {
		t.Errorf("older player %v, newer %v, server %v, incarnation %s", older.Err(), newer.Err(), s.Err(), s.Incarnation())
	}
	taken.Store(true)
	if _, err := s.OpenPlayer(t.Context(), "1003", client.OpenOptions{}); !errors.Is(err, client.ErrStaleIncarnation) {
		t.Errorf("opening of the older process: %v", err)
	}
	if !errors.Is(s.Err(), client.ErrStaleIncarnation) || !errors.Is(newer.Err(), client.ErrSessionEnded) || registered.Load() != 2 {
		t.Errorf("server %v, player %v, %d registrations", s.Err(), newer.Err(), registered.Load())
	}
}

// A take-over may be heard before the answer to the opening that it ends.
func TestTakenWhileOpening(t *testing.T) {
	heard := make(chan struct{}, 4)
	var f *fakeNode
	f = startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		response := echo(req)
		if opened := response.GetOpenPlayerSession(); req.GetOpenPlayerSession().GetPlayer() == "1001" {
			f.events <- &skerryv1.ServerEvent{Id: 1, Type: client.EventSessionTaken, Session: opened.GetSession()}
			<-heard
		}
		return response
	})
	s, err := dial(t, f, client.Options{}).RegisterServer(t.Context(), "s1", client.ServerOptions{
		OnEvent: func(*client.Event) { heard <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abandon()
	for id, want := range map[string]error{"1001": client.ErrSessionTaken, "1002": nil} {
		p, err := s.OpenPlayer(t.Context(), id, client.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(p.Err(), want) {
			t.Errorf("player %s: %v, want %v", id, p.Err(), want)
		}
	}
}

// Goal: a Close that failed can be done again, one that succeeded does nothing more. Method: refuse the first.
func TestCloseAgainAfterItFailed(t *testing.T) {
	closes := 0
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetCloseServer() == nil {
			return echo(req)
		}
		if closes++; closes == 1 {
			return no("INTERNAL", false, client.Unknown)
		}
		return &skerryv1.Response{Response: &skerryv1.Response_CloseServer{CloseServer: &skerryv1.CloseServerResponse{}}}
	})
	s, err := dial(t, f, client.Options{}).RegisterServer(t.Context(), "s1", client.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); !errors.Is(err, client.ErrInternal) {
		t.Fatalf("the first: %v", err)
	}
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if closes != 2 {
		t.Errorf("the node was asked %d times, want 2", closes)
	}
}
