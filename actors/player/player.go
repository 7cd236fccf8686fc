// Package player is the rules of a player: which commands may change the document, and how. It is pure: no I/O, no clock,
// no randomness of its own, so that the same inputs give the same events on every node and in every test.
//
// # Guarantees
//
//   - [Decide] and [DecideAll] change nothing: a refused command leaves no trace, of several commands all or none happen.
//   - [Evolve] is the only thing that changes a document; replaying the events gives the same document, whatever the
//     rules say by then, because events carry results.
//   - After any accepted command [Check] still holds: balances within bounds, every slot present, no stack over its
//     maxStack, empty slots in their one normal form, attributes within their limit.
//   - Fields of a document that this version does not know survive.
//
// Start at [Decide], [Evolve] and [Rules].
package player

import (
	"time"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// MaxCommands is the most commands that one turn takes.
const MaxCommands = 100

// Turn is what the rules may know of the moment.
type Turn struct {
	// Now is the later of the clock and the entity's newest time: it never goes back.
	Now time.Time
	// Seed is fresh random bits. No command of today draws from it.
	Seed uint64
	// Holds are of the player's open transfers: what they have reserved no command touches. Read-only.
	Holds []*storev1.Hold
}

// Decide says what cmd does to p: the events (at least one) and the reply, or a [*Refusal]. It changes neither p nor cmd,
// and what it returns shares no changeable memory with them; event and reply may share memory with each other, so treat
// both as read-only. rules may be nil (all defaults), p must not be.
func Decide(rules *Rules, p *skerryv1.Player, cmd *skerryv1.PlayerCommand, turn Turn) ([]*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	event, reply, err := decide(rules, p, cmd, turn)
	if err != nil {
		return nil, nil, items.At(err, 0)
	}
	return []*storev1.PlayerEvent{event}, reply, nil
}

// DecideAll is [Decide] for the 1 to [MaxCommands] commands of one atomic turn: each sees what those before it did, and
// the refusal of one, which names it, refuses all. replies[i] answers cmds[i].
func DecideAll(rules *Rules, p *skerryv1.Player, cmds []*skerryv1.PlayerCommand, turn Turn) ([]*storev1.PlayerEvent, []*skerryv1.PlayerReply, error) {
	switch {
	case len(cmds) == 0:
		return nil, nil, items.At(refuse(ErrBadRequest, "", "there are no commands"), -1)
	case len(cmds) > MaxCommands:
		return nil, nil, items.At(refuse(ErrTooLarge, "", "%d commands, at most %d are allowed", len(cmds), MaxCommands), -1)
	}
	events := make([]*storev1.PlayerEvent, 0, len(cmds))
	replies := make([]*skerryv1.PlayerReply, 0, len(cmds))
	if len(cmds) > 1 {
		p = draft(p, cmds)
	}
	for i, cmd := range cmds {
		event, reply, err := decide(rules, p, cmd, turn)
		if err != nil {
			return nil, nil, items.At(err, i)
		}
		events, replies = append(events, event), append(replies, reply)
		if i == len(cmds)-1 {
			break
		}
		if err := Evolve(p, event); err != nil {
			return nil, nil, err
		}
	}
	return events, replies, nil
}

// decide is Decide for one command, whose event is always exactly one. Its refusals name fields within the command.
func decide(rules *Rules, p *skerryv1.Player, cmd *skerryv1.PlayerCommand, turn Turn) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	rules = rules.orDefault().holding(turn.Holds)
	if cmd == nil || cmd.Command == nil {
		return nil, nil, refuse(ErrBadRequest, "", "no command is set, or one that this version does not know")
	}
	if len(cmd.ProtoReflect().GetUnknown()) > 0 {
		return nil, nil, refuse(ErrBadRequest, "", "has fields that this version does not know")
	}
	if cmd.Expect != nil {
		if err := expect(p, cmd.Expect); err != nil {
			return nil, nil, err
		}
	}
	return dispatch(rules, p, cmd, turn)
}

func dispatch(rules *Rules, p *skerryv1.Player, cmd *skerryv1.PlayerCommand, turn Turn) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	switch c := cmd.Command.(type) {
	case *skerryv1.PlayerCommand_Earn:
		return earn(rules, p, c.Earn)
	case *skerryv1.PlayerCommand_Spend:
		return spend(rules, p, c.Spend)
	case *skerryv1.PlayerCommand_AddExperience:
		return addExperience(rules, p, c.AddExperience)
	case *skerryv1.PlayerCommand_AddStatistics:
		return addStatistics(rules, p, c.AddStatistics)
	case *skerryv1.PlayerCommand_Give:
		return give(rules, p, c.Give)
	case *skerryv1.PlayerCommand_Take:
		return take(rules, p, c.Take)
	case *skerryv1.PlayerCommand_Move:
		return move(rules, p, c.Move)
	case *skerryv1.PlayerCommand_Swap:
		return swap(rules, p, c.Swap)
	case *skerryv1.PlayerCommand_Split:
		return split(rules, p, c.Split)
	case *skerryv1.PlayerCommand_SetSlot:
		return setSlot(rules, p, c.SetSlot)
	case *skerryv1.PlayerCommand_SetInventory:
		return setInventory(rules, p, c.SetInventory)
	case *skerryv1.PlayerCommand_ClaimDailyReward:
		return claimDailyReward(rules, p, turn)
	case *skerryv1.PlayerCommand_SetSettings:
		return setSettings(p, c.SetSettings)
	case *skerryv1.PlayerCommand_SetSpawnerSlot:
		return setSpawnerSlot(rules, c.SetSpawnerSlot)
	case *skerryv1.PlayerCommand_ClearSpawnerSlot:
		return clearSpawnerSlot(rules, p, c.ClearSpawnerSlot)
	case *skerryv1.PlayerCommand_SetAttribute:
		return setAttribute(rules, p, c.SetAttribute)
	case *skerryv1.PlayerCommand_RemoveAttribute:
		return removeAttribute(p, c.RemoveAttribute)
	case *skerryv1.PlayerCommand_IncrementAttribute:
		return incrementAttribute(rules, p, c.IncrementAttribute)
	case *skerryv1.PlayerCommand_Rename:
		return rename(rules, c.Rename)
	default:
		return nil, nil, refuse(ErrBadRequest, "", "this version does not know the command")
	}
}
