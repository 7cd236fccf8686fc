package server

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

func testTurn(seed uint64) Turn {
	return Turn{Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Seed: seed}
}

// register returns the state of a server that registered with the seed.
func register(t *testing.T, s *storev1.Server, seed uint64) *storev1.Server {
	t.Helper()
	return run(t, s)(DecideRegister(s, &skerryv1.RegisterServerRequest{Players: 3, Budget: "roblox-2023"}, testTurn(seed)))
}

// run evolves a copy of s by what was decided.
func run(t *testing.T, s *storev1.Server) func([]*storev1.ServerChange, error) *storev1.Server {
	t.Helper()
	return func(changes []*storev1.ServerChange, err error) *storev1.Server {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		after := s.CloneVT()
		for _, c := range changes {
			if err := Evolve(after, c); err != nil {
				t.Fatal(err)
			}
		}
		return after
	}
}

func TestRegisterMakesAnIncarnation(t *testing.T) {
	got := register(t, &storev1.Server{}, 0xabc)
	want := &storev1.Server{
		Version: 1, Incarnation: "0000000000000abc", Players: 3, Budget: "roblox-2023",
		ClaimWorld: skerryv1.ClaimWorld_NO_CLAIM, RegisteredMs: testTurn(0).Now.UnixMilli(),
	}
	if !proto.Equal(got, want) {
		t.Fatalf("registered as %v, want %v", got, want)
	}
	if again := register(t, got, 0xabc); again.GetIncarnation() == got.GetIncarnation() {
		t.Fatalf("the same seed made the same incarnation %s twice", got.GetIncarnation())
	}
}

func TestRegisterDefaults(t *testing.T) {
	for name, request := range map[string]*skerryv1.RegisterServerRequest{
		"empty": {},
		"named": {Budget: "unlimited", ClaimWorld: skerryv1.ClaimWorld_NO_CLAIM},
	} {
		got := run(t, &storev1.Server{})(DecideRegister(nil, request, testTurn(1)))
		if got.GetBudget() != "unlimited" || got.GetClaimWorld() != skerryv1.ClaimWorld_NO_CLAIM || got.GetPlayers() != 0 {
			t.Errorf("%s: registered as %v", name, got)
		}
	}
}

func TestTheBudgetIsKeptInItsNormalForm(t *testing.T) {
	for asked, want := range map[string]string{
		"roblox-2026":                        "roblox-2026",
		"roblox-2023,burst=050,accumulate=3": "roblox-2023,burst=50",
		"custom,set=30+5,get=60+0":           "custom,set=30+5",
	} {
		got := run(t, &storev1.Server{})(DecideRegister(nil, &skerryv1.RegisterServerRequest{Budget: asked}, testTurn(1)))
		if got.GetBudget() != want {
			t.Errorf("%q is kept as %q, want %q", asked, got.GetBudget(), want)
		}
	}
	_, err := DecideRegister(nil, &skerryv1.RegisterServerRequest{Budget: "roblox-2023,burst=many"}, testTurn(1))
	if want := `burst: "many" is not a whole number within 0..100000`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestRefusalsNameTheField(t *testing.T) {
	open := register(t, &storev1.Server{}, 1)
	closed := run(t, open)(DecideClose(open, "", Asked))
	registering := func(req *skerryv1.RegisterServerRequest) error {
		_, err := DecideRegister(open, req, testTurn(2))
		return err
	}
	reporting := func(s *storev1.Server, incarnation string, players int32) error {
		_, err := DecideReport(s, &skerryv1.HeartbeatServerRequest{Incarnation: incarnation, Players: players})
		return err
	}
	closing := func(s *storev1.Server, incarnation string, why Why) error {
		_, err := DecideClose(s, incarnation, why)
		return err
	}
	for name, c := range map[string]struct {
		err   error
		want  error
		field string
	}{
		"players negative":        {registering(&skerryv1.RegisterServerRequest{Players: -1}), ErrBadRequest, "players"},
		"players too many":        {registering(&skerryv1.RegisterServerRequest{Players: MaxPlayers + 1}), ErrBadRequest, "players"},
		"budget unknown":          {registering(&skerryv1.RegisterServerRequest{Budget: "roblox-1999"}), ErrBadRequest, "budget"},
		"budget malformed":        {registering(&skerryv1.RegisterServerRequest{Budget: "custom,queue=1001"}), ErrBadRequest, "budget"},
		"claim unknown":           {registering(&skerryv1.RegisterServerRequest{ClaimWorld: 99}), ErrBadRequest, "claimWorld"},
		"report unregistered":     {reporting(&storev1.Server{}, "", 1), ErrUnknownServer, "server"},
		"report nil":              {reporting(nil, "", 1), ErrUnknownServer, "server"},
		"report stale":            {reporting(open, "00000000000000ff", 1), ErrStaleIncarnation, "incarnation"},
		"report no incarnation":   {reporting(open, "", 1), ErrStaleIncarnation, "incarnation"},
		"report closed":           {reporting(closed, open.GetIncarnation(), 1), ErrUnknownServer, "server"},
		"report too many":         {reporting(open, open.GetIncarnation(), math.MaxInt32), ErrBadRequest, "players"},
		"report negative":         {reporting(open, open.GetIncarnation(), -1), ErrBadRequest, "players"},
		"close unregistered":      {closing(&storev1.Server{}, "", Asked), ErrUnknownServer, "server"},
		"close stale":             {closing(open, "00000000000000ff", Silent), ErrStaleIncarnation, "incarnation"},
		"close twice":             {closing(closed, "", Asked), ErrUnknownServer, "server"},
		"close for no known why":  {closing(open, "", "bored"), ErrBadRequest, "why"},
		"close stale when closed": {closing(closed, "00000000000000ff", Silent), ErrStaleIncarnation, "incarnation"},
	} {
		var refusal *Refusal
		if !errors.Is(c.err, c.want) || !errors.As(c.err, &refusal) || refusal.Field != c.field {
			t.Errorf("%s: %v, want %v at %s", name, c.err, c.want, c.field)
		}
	}
}

func TestReportJournalsOnlyDifferences(t *testing.T) {
	s := register(t, &storev1.Server{}, 1)
	same := &skerryv1.HeartbeatServerRequest{Incarnation: s.GetIncarnation(), Players: 3}
	if changes, err := DecideReport(s, same); err != nil || len(changes) != 0 {
		t.Fatalf("the same players: %v, %v, want nothing", changes, err)
	}
	more := &skerryv1.HeartbeatServerRequest{Incarnation: s.GetIncarnation(), Players: MaxPlayers}
	if after := run(t, s)(DecideReport(s, more)); after.GetPlayers() != MaxPlayers {
		t.Fatalf("players = %d, want %d", after.GetPlayers(), MaxPlayers)
	}
}

func TestClosedServerMayRegisterAgain(t *testing.T) {
	s := register(t, &storev1.Server{}, 1)
	before := s.CloneVT()
	closed := run(t, s)(DecideClose(s, s.GetIncarnation(), Silent))
	if !closed.GetClosed() || !proto.Equal(s, before) {
		t.Fatalf("closed = %v, and deciding it left %v of %v", closed.GetClosed(), s, before)
	}
	again := register(t, closed, 2)
	if again.GetClosed() || CheckIncarnation(again, again.GetIncarnation()) != nil {
		t.Fatalf("registered again as %v", again)
	}
}

func TestEvolveRefusesTheUnknown(t *testing.T) {
	for name, c := range map[string]*storev1.ServerChange{
		"nil": nil, "empty": {}, "no document": {Event: &storev1.ServerChange_Registered{}},
	} {
		s := register(t, &storev1.Server{}, 1)
		before := s.CloneVT()
		if err := Evolve(s, c); !errors.Is(err, ErrUnknownEvent) || !proto.Equal(s, before) {
			t.Errorf("%s: %v, and the state went from %v to %v", name, err, before, s)
		}
	}
}

func TestEvolveSharesNothing(t *testing.T) {
	changes, err := DecideRegister(nil, &skerryv1.RegisterServerRequest{Players: 3}, testTurn(1))
	if err != nil {
		t.Fatal(err)
	}
	s := &storev1.Server{}
	if err := Evolve(s, changes[0]); err != nil {
		t.Fatal(err)
	}
	s.Players = 9
	if got := changes[0].GetRegistered().GetPlayers(); got != 3 {
		t.Fatalf("the event's players became %d", got)
	}
}

func TestDead(t *testing.T) {
	seen := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		after, timeout time.Duration
		want           bool
	}{
		"just heard":      {0, 30 * time.Second, false},
		"almost":          {30*time.Second - 1, 30 * time.Second, false},
		"silent":          {30 * time.Second, 30 * time.Second, true},
		"no time-out":     {time.Hour, 0, false},
		"heard in future": {-time.Hour, 30 * time.Second, false},
	} {
		if got := Dead(seen, seen.Add(c.after), c.timeout); got != c.want {
			t.Errorf("%s: dead = %v, want %v", name, got, c.want)
		}
	}
}
