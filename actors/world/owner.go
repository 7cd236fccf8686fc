package world

import (
	"strings"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// RoleOf is what a player is in w: whoever is not known is a visitor.
func RoleOf(w *skerryv1.World, player string) skerryv1.Role {
	if player != "" && player == w.GetOwnerId() {
		return skerryv1.Role_OWNER
	}
	if w.GetRoles()[player] == skerryv1.Role_BUILDER {
		return skerryv1.Role_BUILDER
	}
	return skerryv1.Role_VISITOR
}

// checkRole refuses unless the player as whom cmd is asked may; nobody named is the game server, which may everything.
func checkRole(w *skerryv1.World, cmd *skerryv1.WorldCommand) error {
	if cmd.GetAs() == "" {
		return nil
	}
	role := RoleOf(w, cmd.GetAs())
	switch c := cmd.Command.(type) {
	case *skerryv1.WorldCommand_Claim:
		if c.Claim.GetPlayer() != cmd.GetAs() {
			return refuse(ErrForbiddenRole, "as", "%.80q may claim the world only for itself", cmd.GetAs())
		}
		return nil
	case *skerryv1.WorldCommand_GiveAway, *skerryv1.WorldCommand_SetRole, *skerryv1.WorldCommand_Rename, *skerryv1.WorldCommand_Describe:
		if role != skerryv1.Role_OWNER {
			return refuse(ErrForbiddenRole, "as", "%.80q is %v: only the owner may", cmd.GetAs(), role)
		}
		return nil
	default: // blocks, chunks and chests
		if role != skerryv1.Role_OWNER && role != skerryv1.Role_BUILDER {
			return refuse(ErrForbiddenRole, "as", "%.80q is %v: only the owner and builders may", cmd.GetAs(), role)
		}
		return nil
	}
}

func (a asked) claim(cmd *skerryv1.Claim) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	if owner := a.world.GetOwnerId(); owner != "" {
		return nil, nil, refuse(ErrAlreadyOwned, "claim", "the owner is %.80q", owner)
	}
	return a.ownedBy(cmd.GetPlayer(), cmd.GetName(), "claim")
}

func (a asked) giveAway(cmd *skerryv1.GiveAway) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	return a.ownedBy(cmd.GetPlayer(), cmd.GetName(), "giveAway")
}

func (a asked) ownedBy(player, name, field string) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	if err := checkPlayer(player, field+".player"); err != nil {
		return nil, nil, err
	}
	if err := items.CheckText(name, a.rules.nameLength(), field+".name"); err != nil {
		return nil, nil, err
	}
	changed := &storev1.OwnerChanged{OwnerId: strings.Clone(player), OwnerName: strings.Clone(name)}
	reply := &skerryv1.WorldReply{Reply: &skerryv1.WorldReply_Ownership{
		Ownership: &skerryv1.Ownership{OwnerId: changed.GetOwnerId(), OwnerName: changed.GetOwnerName()},
	}}
	if player == a.world.GetOwnerId() && name == a.world.GetOwnerName() {
		return nil, reply, nil
	}
	return one(&storev1.WorldEvent{Event: &storev1.WorldEvent_OwnerChanged{OwnerChanged: changed}}), reply, nil
}

func (a asked) setRole(cmd *skerryv1.SetRole) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	if err := checkPlayer(cmd.GetPlayer(), "setRole.player"); err != nil {
		return nil, nil, err
	}
	role := cmd.GetRole()
	switch {
	case role != skerryv1.Role_BUILDER && role != skerryv1.Role_VISITOR:
		return nil, nil, refuse(ErrBadRequest, "setRole.role", "is %v, neither BUILDER nor VISITOR", role)
	case cmd.GetPlayer() == a.world.GetOwnerId():
		return nil, nil, refuse(ErrBadRequest, "setRole.player", "is the owner")
	case RoleOf(a.world, cmd.GetPlayer()) == role:
		return nil, done(), nil
	case role == skerryv1.Role_BUILDER && len(a.world.GetRoles()) >= MaxRoles:
		return nil, nil, refuse(ErrTooMany, "setRole.player", "is one more than the %d players with a role that a world may have", MaxRoles)
	}
	changed := &storev1.RoleChanged{Player: strings.Clone(cmd.GetPlayer()), Role: role}
	return one(&storev1.WorldEvent{Event: &storev1.WorldEvent_RoleChanged{RoleChanged: changed}}), done(), nil
}

func (a asked) rename(cmd *skerryv1.Rename) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	if err := checkName(cmd.GetName(), "rename.name"); err != nil {
		return nil, nil, err
	}
	if cmd.GetName() == a.world.GetMetadata().GetName() {
		return nil, done(), nil
	}
	renamed := &storev1.Renamed{Name: strings.Clone(cmd.GetName())}
	return one(&storev1.WorldEvent{Event: &storev1.WorldEvent_Renamed{Renamed: renamed}}), done(), nil
}

func (a asked) describe(cmd *skerryv1.Describe) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	if err := items.CheckText(cmd.GetDescription(), maxDescriptionLength, "describe.description"); err != nil {
		return nil, nil, err
	}
	if cmd.GetDescription() == a.world.GetMetadata().GetDescription() {
		return nil, done(), nil
	}
	described := &storev1.Described{Description: strings.Clone(cmd.GetDescription())}
	return one(&storev1.WorldEvent{Event: &storev1.WorldEvent_Described{Described: described}}), done(), nil
}

func checkName(name, field string) error {
	if name == "" {
		return refuse(ErrBadRequest, field, "is empty")
	}
	return items.CheckText(name, maxWorldNameLength, field)
}

// checkPlayer refuses what is no player's id.
func checkPlayer(id, field string) error {
	if err := (persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindPlayer, ID: id}).Validate(); err != nil {
		return refuse(ErrBadRequest, field, "%s", err)
	}
	return nil
}

func one(event *storev1.WorldEvent) []*storev1.WorldEvent { return []*storev1.WorldEvent{event} }

func done() *skerryv1.WorldReply {
	return &skerryv1.WorldReply{Reply: &skerryv1.WorldReply_Done{Done: &skerryv1.Done{}}}
}
