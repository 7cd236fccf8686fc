package turn_test

import (
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

func TestServerLife(t *testing.T) {
	e := newEntity(t, persistence.KindServer)
	get := &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{}}}
	beat := func(incarnation string, players int32) error {
		_, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_HeartbeatServer{
			HeartbeatServer: &skerryv1.HeartbeatServerRequest{Incarnation: incarnation, Players: players},
		}})
		return err
	}
	register := func() string {
		response, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_RegisterServer{
			RegisterServer: &skerryv1.RegisterServerRequest{Players: 3, Budget: "roblox-2023,get=7+100"},
		}})
		if err != nil || !e.last.Durable || !e.last.Effects[0].Registered || e.last.Effects[0].Incarnation != response.GetRegisterServer().GetIncarnation() {
			t.Fatalf("%v, %v, %+v", response, err, e.last)
		}
		budgets := response.GetRegisterServer().GetBudgets()
		if get, set := budgets["get"].GetPerMinute(), budgets["set"].GetPerMinute(); get != 307 || set != 90 {
			t.Errorf("budget of 3 players: %d loads and %d saves a minute, want 307 and 90", get, set)
		}
		return response.GetRegisterServer().GetIncarnation()
	}

	if _, err := e.do(get); !errors.Is(err, turn.ErrNotFound) {
		t.Errorf("before: %v, want ErrNotFound", err)
	}
	if err := beat("", 1); !errors.Is(err, server.ErrUnknownServer) {
		t.Errorf("heartbeat before: %v", err)
	}
	older := register()
	newer := register()
	if e.marks[turn.AliveMark] != newer {
		t.Errorf("marks %v, want %s alive", e.marks, newer)
	}
	if err := beat(older, 1); older == newer || !errors.Is(err, server.ErrStaleIncarnation) {
		t.Errorf("the older incarnation %s, newer %s: %v", older, newer, err)
	}
	if err := beat(newer, 3); err != nil || e.last.Entry != nil {
		t.Errorf("a heartbeat with no news: %v, %v", err, e.last.Entry)
	}
	if err := beat(newer, 9); err != nil || e.last.Entry == nil || e.last.Durable {
		t.Errorf("a heartbeat with news: %v, %+v", err, e.last)
	}
	response, err := e.do(get)
	if got := response.GetGetServer(); err != nil || got.GetPlayers() != 9 || !got.GetAlive() || got.GetIncarnation() != newer || got.GetBudgets()["set"].GetPerMinute() != 150 {
		t.Errorf("%v, %v", response, err)
	}
	if _, err = e.do(&skerryv1.Request{Request: &skerryv1.Request_CloseServer{CloseServer: &skerryv1.CloseServerRequest{}}}); err != nil ||
		!e.last.Effects[0].Closed || e.last.Effects[0].Incarnation != newer || len(e.marks) != 0 {
		t.Errorf("close: %v, %+v", err, e.last)
	}
	if err = beat(newer, 9); !errors.Is(err, server.ErrUnknownServer) {
		t.Errorf("heartbeat after: %v", err)
	}
	if response, err = e.do(get); err != nil || response.GetGetServer().GetAlive() {
		t.Errorf("%v, %v", response, err)
	}
	e.restart(&storev1.Entity{})
}

func TestKindsDoNotMix(t *testing.T) {
	for kind, req := range map[persistence.Kind]*skerryv1.Request{
		persistence.KindPlayer: {Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{}}},
		persistence.KindServer: {Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{}}},
		persistence.KindWorld:  {Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{}}},
	} {
		if _, err := newEntity(t, kind).do(req); !errors.Is(err, turn.ErrBadRequest) {
			t.Errorf("%s: %v, want ErrBadRequest", kind, err)
		}
		if _, err := newEntity(t, kind).do(&skerryv1.Request{}); !errors.Is(err, turn.ErrBadRequest) {
			t.Errorf("%s, nothing asked: %v, want ErrBadRequest", kind, err)
		}
	}
}
