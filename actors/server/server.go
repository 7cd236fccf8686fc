// Package server is the rules of a game server's entity: registering, reporting players, claiming a world, closing. It is pure: no I/O, no
// clock, no randomness of its own.
//
// # Guarantees
//
//   - The Decide functions change nothing; [Evolve] is the only thing that changes the state, and applies results, not rules.
//   - A registration makes a new incarnation, different from the one before; from then on the older one is refused.
//   - A closed server stays closed until it registers again.
//   - The budget that is kept is one that [budget.Parse] reads, in its normal form.
//   - An incarnation claims one world at most, the first that was named, whatever becomes of it.
//
// Start at [DecideRegister] and [Evolve].
package server

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// MaxPlayers is the most players that a server may report.
const MaxPlayers = 100_000

// Version is the schema version of the state that this package makes.
const Version = 1

// Why the rules say no. Compare with errors.Is; a [*Refusal] wraps exactly one of them.
var (
	// ErrBadRequest: a field is not what it may be.
	ErrBadRequest = errors.New("malformed server request")
	// ErrUnknownServer: the server never registered, or was closed. It has to register (again).
	ErrUnknownServer = errors.New("server is not registered")
	// ErrStaleIncarnation: the server has registered again since. Whoever asked is the older process.
	ErrStaleIncarnation = errors.New("incarnation is not the newest")
	// ErrUnknownEvent: the change is of a newer version. A load that meets it has failed.
	ErrUnknownEvent = errors.New("unknown server change")
)

// Refusal is the rules' no: nothing was changed.
type Refusal struct { //nolint:errname // a refusal is the rules' answer, not a failure
	// Err is one of this package's sentinels.
	Err error
	// Field is the JSON name of what was wrong in the request.
	Field string
	// Message says what was wrong, for people.
	Message string
}

// Error is the sentinel's text, the field and the message.
func (r *Refusal) Error() string { return r.Err.Error() + ": " + r.Field + ": " + r.Message }

// Unwrap returns the sentinel.
func (r *Refusal) Unwrap() error { return r.Err }

// Turn is what the rules may know of the moment.
type Turn struct {
	// Now is the later of the clock and the entity's newest time.
	Now time.Time
	// Seed is fresh random bits; an incarnation is made of it.
	Seed uint64
}

// Why says why a server was closed. The words are stored.
type Why string

// The reasons for closing a server.
const (
	// Asked: it asked for it.
	Asked Why = "asked"
	// Silent: nothing was heard of it for the time-out.
	Silent Why = "dead"
)

// DecideRegister says what registering does: a new incarnation, whatever was before. The request's server id is the key's,
// checked by the caller. s may be nil or empty when the server never registered.
func DecideRegister(s *storev1.Server, req *skerryv1.RegisterServerRequest, turn Turn) ([]*storev1.ServerChange, error) {
	if err := checkPlayers(req.GetPlayers()); err != nil {
		return nil, err
	}
	profile, err := budget.Parse(req.GetBudget())
	if err != nil {
		return nil, &Refusal{ErrBadRequest, "budget", err.Error()}
	}
	claim := req.GetClaimWorld()
	switch claim {
	case skerryv1.ClaimWorld_CLAIM_WORLD_UNSPECIFIED:
		claim = skerryv1.ClaimWorld_NO_CLAIM
	case skerryv1.ClaimWorld_NO_CLAIM, skerryv1.ClaimWorld_FIRST_PLAYER:
	default:
		return nil, &Refusal{ErrBadRequest, "claimWorld", fmt.Sprintf("%d is none of NO_CLAIM, FIRST_PLAYER", claim)}
	}
	registered := &storev1.Server{
		Version:      Version,
		Incarnation:  incarnation(turn.Seed, s.GetIncarnation()),
		Players:      req.GetPlayers(),
		Budget:       profile.Name,
		ClaimWorld:   claim,
		RegisteredMs: turn.Now.UnixMilli(),
	}
	return []*storev1.ServerChange{{Event: &storev1.ServerChange_Registered{Registered: registered}}}, nil
}

// DecideReport says what a heartbeat does: it reports the players. Without a difference there is nothing to journal, and
// the list is empty.
func DecideReport(s *storev1.Server, req *skerryv1.HeartbeatServerRequest) ([]*storev1.ServerChange, error) {
	if err := CheckIncarnation(s, req.GetIncarnation()); err != nil {
		return nil, err
	}
	if err := checkPlayers(req.GetPlayers()); err != nil {
		return nil, err
	}
	if req.GetPlayers() == s.GetPlayers() {
		return nil, nil
	}
	return []*storev1.ServerChange{{Event: &storev1.ServerChange_PlayersReported{PlayersReported: req.GetPlayers()}}}, nil
}

// DecideClose says what closing does. incarnation "" means the present one.
func DecideClose(s *storev1.Server, incarnation string, why Why) ([]*storev1.ServerChange, error) {
	if why != Asked && why != Silent {
		return nil, &Refusal{ErrBadRequest, "why", fmt.Sprintf("%.80q is neither asked nor dead", why)}
	}
	if incarnation == "" {
		incarnation = s.GetIncarnation()
	}
	if err := CheckIncarnation(s, incarnation); err != nil {
		return nil, err
	}
	return []*storev1.ServerChange{{Event: &storev1.ServerChange_Closed{Closed: string(why)}}}, nil
}

// CheckIncarnation returns nil when s is registered under incarnation; else a [*Refusal] of [ErrUnknownServer] or
// [ErrStaleIncarnation].
func CheckIncarnation(s *storev1.Server, incarnation string) error {
	switch {
	case s.GetIncarnation() == "":
		return &Refusal{ErrUnknownServer, "server", "it never registered"}
	case s.GetIncarnation() != incarnation:
		return &Refusal{ErrStaleIncarnation, "incarnation", fmt.Sprintf("%.80q is not the newest", incarnation)}
	case s.GetClosed():
		return &Refusal{ErrUnknownServer, "server", "it was closed: register again"}
	}
	return nil
}

// Evolve applies what happened to s. It keeps no memory of c, and changes nothing when it returns an error, which wraps
// [ErrUnknownEvent].
func Evolve(s *storev1.Server, c *storev1.ServerChange) error {
	switch event := c.GetEvent().(type) {
	case *storev1.ServerChange_Registered:
		if event.Registered == nil {
			return fmt.Errorf("%w: a registration that is not there", ErrUnknownEvent)
		}
		proto.Reset(s)
		proto.Merge(s, event.Registered)
	case *storev1.ServerChange_PlayersReported:
		s.Players = event.PlayersReported
	case *storev1.ServerChange_Closed:
		s.Closed = true
	case *storev1.ServerChange_WorldChanged:
		return evolveWorld(s, event.WorldChanged)
	default:
		return fmt.Errorf("%w: %T", ErrUnknownEvent, event)
	}
	return nil
}

// Dead reports whether a server last heard of at lastSeen counts as dead at now: silent for timeout or longer. A
// timeout of 0 or less never kills. Pass times with monotonic readings.
func Dead(lastSeen, now time.Time, timeout time.Duration) bool {
	return timeout > 0 && now.Sub(lastSeen) >= timeout
}

func checkPlayers(players int32) error {
	if players < 0 || players > MaxPlayers {
		return &Refusal{ErrBadRequest, "players", fmt.Sprintf("is %d, not within 0..%d", players, MaxPlayers)}
	}
	return nil
}

// incarnation is 16 hex digits of seed, and never the one before.
func incarnation(seed uint64, before string) string {
	made := fmt.Sprintf("%016x", seed)
	if made == before {
		return fmt.Sprintf("%016x", seed+1)
	}
	return made
}
