package server

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// MaxRefused is how many characters are kept of why a world was refused.
const MaxRefused = 256

// Claim is a step of claiming a world for a server's incarnation: first the world is named, then what became of it.
type Claim struct {
	// Incarnation is the one whose player claims.
	Incarnation string
	// World is the player's own: its id.
	World string
	// State is CLAIMING to name the world, CLAIMED or CLAIM_REFUSED once it is known.
	State skerryv1.ClaimState
	// Refused says why, with CLAIM_REFUSED.
	Refused string
	// Token of the world's session, with CLAIMED. The rules do not keep it.
	Token string
}

// DecideClaim says what a step does: nothing when the server claims no world, when this incarnation has named its world
// already, or when what became of it is known. So the first player's claim stands, however often and by whom it is repeated.
func DecideClaim(s *storev1.Server, claim Claim) ([]*storev1.ServerChange, error) {
	if err := CheckIncarnation(s, claim.Incarnation); err != nil {
		return nil, err
	}
	named := s.GetWorld()
	switch claim.State {
	case skerryv1.ClaimState_CLAIMING:
		if claim.World == "" {
			return nil, &Refusal{ErrBadRequest, "world", "is missing"}
		}
		if named != nil || s.GetClaimWorld() != skerryv1.ClaimWorld_FIRST_PLAYER {
			return nil, nil
		}
	case skerryv1.ClaimState_CLAIMED, skerryv1.ClaimState_CLAIM_REFUSED:
		if named.GetState() != skerryv1.ClaimState_CLAIMING || named.GetId() != claim.World {
			return nil, nil
		}
	default:
		return nil, &Refusal{ErrBadRequest, "state", fmt.Sprintf("%d is no step of a claim", claim.State)}
	}
	refused := claim.Refused
	if claim.State != skerryv1.ClaimState_CLAIM_REFUSED {
		refused = ""
	}
	world := &skerryv1.ServerWorld{Id: claim.World, State: claim.State, Refused: fmt.Sprintf("%.*s", MaxRefused, refused)}
	return []*storev1.ServerChange{{Event: &storev1.ServerChange_WorldChanged{WorldChanged: world}}}, nil
}

// evolveWorld keeps no memory of world.
func evolveWorld(s *storev1.Server, world *skerryv1.ServerWorld) error {
	if world == nil {
		return fmt.Errorf("%w: a world that is not there", ErrUnknownEvent)
	}
	s.World = proto.CloneOf(world)
	return nil
}
