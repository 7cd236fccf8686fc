package server

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

const (
	claiming = skerryv1.ClaimState_CLAIMING
	claimed  = skerryv1.ClaimState_CLAIMED
	refused  = skerryv1.ClaimState_CLAIM_REFUSED
)

func claims(t *testing.T, seed uint64) *storev1.Server {
	t.Helper()
	return run(t, &storev1.Server{})(DecideRegister(nil, &skerryv1.RegisterServerRequest{ClaimWorld: skerryv1.ClaimWorld_FIRST_PLAYER}, testTurn(seed)))
}

// What an incarnation named first stands, and what became of it first.
func TestOneClaimForEachIncarnation(t *testing.T) {
	s := claims(t, 1)
	for i, step := range []struct {
		world   string
		state   skerryv1.ClaimState
		refused string
		want    *skerryv1.ServerWorld
	}{
		{"p1", claimed, "", nil}, // of what nobody named
		{"p1", claiming, "not this", &skerryv1.ServerWorld{Id: "p1", State: claiming}},
		{"p2", claiming, "", &skerryv1.ServerWorld{Id: "p1", State: claiming}},
		{"p1", claiming, "", &skerryv1.ServerWorld{Id: "p1", State: claiming}},
		{"p2", refused, "held", &skerryv1.ServerWorld{Id: "p1", State: claiming}},
		{"p1", refused, strings.Repeat("é", MaxRefused+1), &skerryv1.ServerWorld{Id: "p1", State: refused, Refused: strings.Repeat("é", MaxRefused)}},
		{"p1", claimed, "", &skerryv1.ServerWorld{Id: "p1", State: refused, Refused: strings.Repeat("é", MaxRefused)}},
		{"p2", claiming, "", &skerryv1.ServerWorld{Id: "p1", State: refused, Refused: strings.Repeat("é", MaxRefused)}},
	} {
		before := s.GetWorld()
		changes, err := DecideClaim(s, Claim{Incarnation: s.GetIncarnation(), World: step.world, State: step.state, Refused: step.refused})
		s = run(t, s)(changes, err)
		if !proto.Equal(s.GetWorld(), step.want) || (len(changes) == 0) != proto.Equal(before, step.want) {
			t.Fatalf("step %d: %v, after %v", i, s.GetWorld(), changes)
		}
	}
	if again := run(t, s)(DecideRegister(s, &skerryv1.RegisterServerRequest{}, testTurn(2))); again.GetWorld() != nil {
		t.Errorf("the next incarnation has %v", again.GetWorld())
	}
}

func TestClaimsThatAreNone(t *testing.T) {
	s := claims(t, 1)
	closed := run(t, s)(DecideClose(s, "", Asked))
	none := register(t, &storev1.Server{}, 1)
	if changes, err := DecideClaim(none, Claim{none.GetIncarnation(), "p1", claiming, "", ""}); err != nil || len(changes) != 0 {
		t.Errorf("of a server that claims none: %v, %v", changes, err)
	}
	for name, c := range map[string]struct {
		server *storev1.Server
		claim  Claim
		want   error
	}{
		"stale":    {s, Claim{"00000000000000ff", "p1", claiming, "", ""}, ErrStaleIncarnation},
		"closed":   {closed, Claim{s.GetIncarnation(), "p1", claiming, "", ""}, ErrUnknownServer},
		"no world": {s, Claim{s.GetIncarnation(), "", claiming, "", ""}, ErrBadRequest},
		"no step":  {s, Claim{s.GetIncarnation(), "p1", 0, "", ""}, ErrBadRequest},
	} {
		if changes, err := DecideClaim(c.server, c.claim); !errors.Is(err, c.want) || changes != nil {
			t.Errorf("%s: %v, %v, want %v", name, changes, err, c.want)
		}
	}
	world := &skerryv1.ServerWorld{Id: "p1", State: claiming}
	change := &storev1.ServerChange{Event: &storev1.ServerChange_WorldChanged{WorldChanged: world}}
	if err := Evolve(s, change); err != nil || s.GetWorld() == world {
		t.Errorf("%v; the state shares the event's memory", err)
	}
	if err := Evolve(s, &storev1.ServerChange{Event: &storev1.ServerChange_WorldChanged{}}); !errors.Is(err, ErrUnknownEvent) {
		t.Errorf("no world: %v", err)
	}
}
