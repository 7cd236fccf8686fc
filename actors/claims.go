package actors

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

const (
	// maxClaimsInFlight is how many servers claim their worlds at a time.
	maxClaimsInFlight = 64
	// maxClaimTries is how often it is tried to open a claimed world that cannot be opened now; pauses double from claimPause
	// on, up to maxClaimPause.
	maxClaimTries = 8
	claimPause    = time.Second
	maxClaimPause = time.Minute
)

// worldClaim is the claim of a world for a server by its incarnation's first player. Every step can be done again: the
// server's entity keeps the first world that was named, and the world knows the opening by its id. So a try that failed is
// begun anew, and so is, by the next owner of the server, one that was cut off.
type worldClaim struct {
	server      *serverState
	incarnation string
	player      string
	tries       int // only its own step changes it
	due         instant
}

// claimLocked begins the claim of a server's world, when session is that of its incarnation's first player. What the
// server's entity has of it is asked there.
func (s *servers) claimLocked(of *serverState, key persistence.Key, session hold) {
	if !of.mayClaim || of.claim != nil || key.Kind != persistence.KindPlayer ||
		of.incarnation == "" || session.incarnation != of.incarnation || of.isLeaving() {
		return
	}
	of.claim = &worldClaim{server: of, incarnation: of.incarnation, player: key.ID}
	s.mu.toClaim = append(s.mu.toClaim, of.claim)
}

// sendClaims begins the tries that are due. Only the loop calls it.
func (s *servers) sendClaims(ctx context.Context) {
	now := s.host.now()
	var sent []*worldClaim
	s.mu.Lock()
	later := s.mu.toClaim[:0]
	for _, c := range s.mu.toClaim {
		switch {
		case c.server.claim != c || s.mu.known[nameOf(c.server.key)] != c.server: // another incarnation's turn, or another node's
		case c.due > now || s.mu.claiming >= maxClaimsInFlight:
			later = append(later, c)
		default:
			s.mu.claiming++
			sent = append(sent, c)
		}
	}
	clear(s.mu.toClaim[len(later):])
	s.mu.toClaim = later
	s.mu.Unlock()
	for _, c := range sent {
		s.nameWorld(ctx, c)
	}
}

// nameWorld has the server's entity remember which world it claims: this one, unless it has named one already.
func (s *servers) nameWorld(ctx context.Context, c *worldClaim) {
	step := &server.Claim{Incarnation: c.incarnation, World: c.player, State: skerryv1.ClaimState_CLAIMING}
	s.stepClaim(ctx, c, step, func(named *skerryv1.ServerWorld) {
		if named.GetState() != skerryv1.ClaimState_CLAIMING { // it claims none, or is done
			s.claimEnded(c)
			return
		}
		s.askOwner(ctx, c, named.GetId())
	})
}

// stepClaim asks the server's entity for a step; then gets the world that stands afterwards, nil for none.
func (s *servers) stepClaim(ctx context.Context, c *worldClaim, step *server.Claim, then func(*skerryv1.ServerWorld)) {
	s.host.route(&Call{
		Key: c.server.key, claim: step,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: c.server.key.ID}}},
		Reply: func(r *skerryv1.Response, err error) {
			if err != nil {
				s.claimFailed(ctx, c, err)
				return
			}
			then(r.GetGetServer().GetWorld())
		},
	})
}

// askOwner asks the player, who is the world's owner, for its name.
func (s *servers) askOwner(ctx context.Context, c *worldClaim, world string) {
	s.router.Do(&Call{
		Key:     persistence.Key{Space: c.server.key.Space, Kind: persistence.KindPlayer, ID: world},
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{Player: world}}},
		Reply: func(r *skerryv1.Response, err error) {
			if err != nil {
				s.notOpened(ctx, c, world, err)
				return
			}
			s.openClaimed(ctx, c, world, r.GetGetPlayer().GetPlayer().GetName())
		},
	})
}

// openClaimed opens the world for the server, and makes it when it is proven absent.
func (s *servers) openClaimed(ctx context.Context, c *worldClaim, world, owner string) {
	s.router.Do(&Call{
		Key: persistence.Key{Space: c.server.key.Space, Kind: persistence.KindWorld, ID: world},
		Request: &skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionRequest{
			World: world, Server: c.server.key.ID, Incarnation: c.incarnation, OpenId: "claim/" + c.incarnation,
			Create: &skerryv1.Create{OwnerName: owner},
		}}},
		Reply: func(r *skerryv1.Response, err error) {
			if err != nil {
				s.notOpened(ctx, c, world, err)
				return
			}
			s.settleClaim(ctx, c, &server.Claim{World: world, State: skerryv1.ClaimState_CLAIMED, Token: r.GetOpenWorldSession().GetSession()})
		},
	})
}

// notOpened tries again what may work later, and else has the server's entity remember that the world was refused.
func (s *servers) notOpened(ctx context.Context, c *worldClaim, world string, err error) {
	later := errors.Is(err, ErrDraining) || errors.Is(err, budget.ErrExhausted)
	if !refusesClaim(err) && (c.tries+1 < maxClaimTries || later) {
		s.claimFailed(ctx, c, err)
		return
	}
	s.settleClaim(ctx, c, &server.Claim{World: world, State: skerryv1.ClaimState_CLAIM_REFUSED, Refused: err.Error()})
}

// refusesClaim reports whether err is the world's or the player's no.
func refusesClaim(err error) bool {
	if _, refused := errors.AsType[*items.Refusal](err); refused {
		return true
	}
	for _, no := range []error{turn.ErrSessionHeld, turn.ErrSessionTaken, turn.ErrSessionEnded, turn.ErrNotFound, turn.ErrBadRequest} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// settleClaim has the server's entity remember what became of the world; the game server is told by that turn.
func (s *servers) settleClaim(ctx context.Context, c *worldClaim, step *server.Claim) {
	step.Incarnation = c.incarnation
	s.stepClaim(ctx, c, step, func(world *skerryv1.ServerWorld) {
		s.host.log.LogAttrs(ctx, slog.LevelInfo, "world claimed", slog.String("entity", c.server.key.String()),
			slog.String("incarnation", c.incarnation), slog.String("world", world.GetId()),
			slog.String("state", world.GetState().String()), slog.String("refused", world.GetRefused()))
		s.claimEnded(c)
	})
}

// claimEnded notes that this incarnation has nothing to claim any more.
func (s *servers) claimEnded(c *worldClaim) {
	s.mu.Lock()
	s.mu.claiming--
	if c.server.claim == c {
		c.server.mayClaim, c.server.claim = false, nil
	}
	s.mu.Unlock()
	s.poke()
}

// claimFailed has the claim tried again from its beginning, unless its incarnation is gone.
func (s *servers) claimFailed(ctx context.Context, c *worldClaim, err error) {
	for _, gone := range []error{server.ErrUnknownServer, server.ErrStaleIncarnation, turn.ErrNotFound} {
		if errors.Is(err, gone) {
			s.claimEnded(c)
			return
		}
	}
	s.host.log.LogAttrs(ctx, slog.LevelWarn, "world not claimed yet", slog.String("entity", c.server.key.String()),
		slog.String("player", c.player), slog.Int("tries", c.tries+1), slog.Any("err", err))
	s.mu.Lock()
	s.mu.claiming--
	c.due = s.host.now() + min(claimPause<<min(c.tries, 10), maxClaimPause)
	c.tries++
	if !errors.Is(err, ErrDraining) { // else whoever comes next goes on
		s.mu.toClaim = append(s.mu.toClaim, c)
	}
	s.mu.Unlock()
}
