// Package world is the rules of a world: which commands may change its document, its chunks and the chests in them, and
// how. It is pure: no I/O, no clock, no randomness of its own, so that the same inputs give the same events on every node
// and in every test.
//
// # Guarantees
//
//   - [Decide] and [DecideAll] change nothing: a refused command leaves no trace, of several commands all or none happen.
//   - [Evolve] is the only thing that changes a document, [EvolveChunk] the only thing that changes a chunk; replaying the
//     events gives the same world, whatever the rules say by then, because events carry results.
//   - A block that nobody set is never stored: not by an edit of its neighbour, and not as air.
//   - A turn looks only at the chunks that [Needs] names.
//   - After any accepted command [Check] and [CheckChunk] still hold.
//
// Start at [Decide], [Chunk] and [Needs].
package world

import (
	"fmt"
	"maps"
	"time"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Bounds of one turn and of one part.
const (
	// MaxCommands is the most commands that one turn takes.
	MaxCommands = 100
	// MaxChunks is the most chunks that one turn reads or changes.
	MaxChunks = 64
	// MaxBlocks is the most blocks that one command sets one by one.
	MaxBlocks = 4096
	// MaxChests is the most chests of a chunk.
	MaxChests = 256
	// MaxRoles is the most players of a world who have a role beside the owner.
	MaxRoles = 1000
	// MaxTurnBytes is the most that the events of one turn may take, so that its entry can be stored.
	MaxTurnBytes = 2 << 20
)

// Turn is what the rules may know of the moment.
type Turn struct {
	// Now is the later of the clock and the entity's newest time: it never goes back.
	Now time.Time
	// Seed is fresh random bits: of a new world whose seed is not given.
	Seed uint64
}

// Parts are the chunks of a world that are loaded.
type Parts interface {
	// Chunk returns a chunk that [Needs] named, read-only and never nil.
	Chunk(at Coord) *Chunk
}

// Decide says what cmd does to the world w: the events, none when all is so already, and the reply, or a [*items.Refusal].
// It changes nothing that it is given, and what it returns shares no changeable memory with that; events and reply may
// share memory with each other, so treat both as read-only. rules may be nil (all defaults), w and parts must not be.
func Decide(rules *Rules, w *skerryv1.World, parts Parts, cmd *skerryv1.WorldCommand, turn Turn) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	events, replies, err := DecideAll(rules, w, parts, []*skerryv1.WorldCommand{cmd}, turn)
	if err != nil {
		return nil, nil, err
	}
	return events, replies[0], nil
}

// DecideAll is [Decide] for the 1 to [MaxCommands] commands of one atomic turn: each sees what those before it did, and
// the refusal of one, which names it, refuses all. replies[i] answers cmds[i].
func DecideAll(rules *Rules, w *skerryv1.World, parts Parts, cmds []*skerryv1.WorldCommand, turn Turn) ([]*storev1.WorldEvent, []*skerryv1.WorldReply, error) {
	switch {
	case len(cmds) == 0:
		return nil, nil, items.At(refuse(ErrBadRequest, "", "there are no commands"), -1)
	case len(cmds) > MaxCommands:
		return nil, nil, items.At(refuse(ErrTooLarge, "", "%d commands, at most %d are allowed", len(cmds), MaxCommands), -1)
	}
	if _, most := needs(cmds); most >= 0 {
		return nil, nil, items.At(refuse(ErrTooLarge, "", "is the one with which the turn looks at more than %d chunks", MaxChunks), most)
	}
	var events []*storev1.WorldEvent
	var d *draft
	size := 0
	replies := make([]*skerryv1.WorldReply, 0, len(cmds))
	for i, cmd := range cmds {
		more, reply, err := decide(rules, w, parts, cmd, turn)
		if err != nil {
			return nil, nil, items.At(err, i)
		}
		for _, event := range more {
			if size += event.SizeVT(); size > MaxTurnBytes {
				return nil, nil, items.At(refuse(ErrTooLarge, "", "makes the turn larger than %d bytes", MaxTurnBytes), i)
			}
		}
		events, replies = append(events, more...), append(replies, reply)
		if i == len(cmds)-1 || len(more) == 0 {
			continue
		}
		if d == nil {
			d = newDraft(w, parts)
			w, parts = d.world, d
		}
		if err := d.evolve(more); err != nil {
			return nil, nil, err
		}
	}
	return events, replies, nil
}

// decide is Decide for one command. Its refusals name fields within the command.
func decide(rules *Rules, w *skerryv1.World, parts Parts, cmd *skerryv1.WorldCommand, turn Turn) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	if cmd == nil || cmd.Command == nil {
		return nil, nil, refuse(ErrBadRequest, "", "no command is set, or one that this version does not know")
	}
	if len(cmd.ProtoReflect().GetUnknown()) > 0 {
		return nil, nil, refuse(ErrBadRequest, "", "has fields that this version does not know")
	}
	if err := checkRole(w, cmd); err != nil {
		return nil, nil, err
	}
	a := asked{rules: rules.orDefault(), world: w, parts: parts, turn: turn}
	switch c := cmd.Command.(type) {
	case *skerryv1.WorldCommand_Claim:
		return a.claim(c.Claim)
	case *skerryv1.WorldCommand_GiveAway:
		return a.giveAway(c.GiveAway)
	case *skerryv1.WorldCommand_SetRole:
		return a.setRole(c.SetRole)
	case *skerryv1.WorldCommand_SetBlocks:
		return a.setBlocks(c.SetBlocks)
	case *skerryv1.WorldCommand_PutChunk:
		return a.putChunk(c.PutChunk)
	case *skerryv1.WorldCommand_ClearChunk:
		return a.clearChunk(c.ClearChunk)
	case *skerryv1.WorldCommand_PlaceChest:
		return a.placeChest(c.PlaceChest)
	case *skerryv1.WorldCommand_RemoveChest:
		return a.removeChest(c.RemoveChest)
	case *skerryv1.WorldCommand_ChestPut:
		return a.chestPut(c.ChestPut)
	case *skerryv1.WorldCommand_ChestTake:
		return a.chestTake(c.ChestTake)
	case *skerryv1.WorldCommand_ChestMove:
		return a.chestMove(c.ChestMove)
	case *skerryv1.WorldCommand_SetChestSlot:
		return a.setChestSlot(c.SetChestSlot)
	case *skerryv1.WorldCommand_Rename:
		return a.rename(c.Rename)
	case *skerryv1.WorldCommand_Describe:
		return a.describe(c.Describe)
	default:
		return nil, nil, refuse(ErrBadRequest, "", "this version does not know the command")
	}
}

// asked is a command that is being decided. All of it is read-only.
type asked struct {
	rules *Rules
	world *skerryv1.World
	parts Parts
	turn  Turn
}

// chunk returns a loaded chunk. That a command looks at one that Needs does not name is a mistake of this package.
func (a asked) chunk(at Coord) *Chunk {
	c := a.parts.Chunk(at)
	if c == nil {
		panic(fmt.Sprintf("world: chunk %v is looked at and not loaded", at))
	}
	return c
}

// draft is a world for a turn of several commands: what an event changes is copied first, as deep as Evolve and
// EvolveChunk change things in place.
type draft struct {
	world  *skerryv1.World
	loaded Parts
	chunks map[Coord]*Chunk
}

func newDraft(w *skerryv1.World, parts Parts) *draft {
	return &draft{loaded: parts, chunks: map[Coord]*Chunk{}, world: &skerryv1.World{
		Version: w.GetVersion(), OwnerId: w.GetOwnerId(), OwnerName: w.GetOwnerName(),
		Metadata: w.GetMetadata(), MinY: w.GetMinY(), Height: w.GetHeight(),
		BlockNames: w.GetBlockNames(), Roles: maps.Clone(w.GetRoles()),
	}}
}

// Chunk is the draft's own copy where there is one.
func (d *draft) Chunk(at Coord) *Chunk {
	if c := d.chunks[at]; c != nil {
		return c
	}
	return d.loaded.Chunk(at)
}

func (d *draft) evolve(events []*storev1.WorldEvent) error {
	for _, event := range events {
		at, ofChunk := ChunkOf(event)
		if !ofChunk {
			if err := Evolve(d.world, event); err != nil {
				return err
			}
			continue
		}
		if d.chunks[at] == nil {
			d.chunks[at] = d.loaded.Chunk(at).Clone()
		}
		if err := EvolveChunk(d.chunks[at], event); err != nil {
			return err
		}
	}
	return nil
}
