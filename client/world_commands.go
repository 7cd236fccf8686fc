package client

import (
	"context"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Role is what a player may do in a world.
type Role = skerryv1.Role

// The roles. There is one owner, who is no role that could be set: a world is given away.
const (
	Builder = skerryv1.Role_BUILDER
	Visitor = skerryv1.Role_VISITOR
)

// WorldOption is a choice of one call of a [World]'s commands: [InMemory], or [As] a player.
type WorldOption interface{ choose(*worldChoice) }

type worldChoice struct {
	durability Durability
	as         string
}

// As is the player whose role is checked. Without it the command is the game server's own, which may everything.
type As string

func (a As) choose(c *worldChoice) { c.as = string(a) }

// InMemory answers a command of a [World] at once, as [Memory] does.
func InMemory() WorldOption { return inMemory{} }

type inMemory struct{}

func (inMemory) choose(c *worldChoice) { c.durability = Memory }

// Block is a block to set.
type Block struct {
	X, Y, Z int32
	ID      uint16
}

// Place is where a chest is, in blocks.
type Place struct{ X, Y, Z int32 }

// one runs a single command and returns its reply.
func (w *World) one(ctx context.Context, options []WorldOption, command *skerryv1.WorldCommand) (*skerryv1.WorldReply, error) {
	choice := worldChoice{}
	for _, option := range options {
		option.choose(&choice)
	}
	command.As = choice.as
	result, err := w.Do(ctx, DoOptions{Durability: choice.durability}, command)
	if err != nil || len(result.Replies) == 0 {
		return nil, err
	}
	return result.Replies[0], nil
}

// Claim makes a player the owner of a world that nobody owns; [ErrAlreadyOwned] otherwise. As a player, only for oneself.
func (w *World) Claim(ctx context.Context, player, name string, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_Claim{
		Claim: &skerryv1.Claim{Player: player, Name: name},
	}})
	return err
}

// GiveAway makes another player the owner. Who gave it keeps no role.
func (w *World) GiveAway(ctx context.Context, player, name string, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_GiveAway{
		GiveAway: &skerryv1.GiveAway{Player: player, Name: name},
	}})
	return err
}

// SetRole makes a player a builder, or a visitor again.
func (w *World) SetRole(ctx context.Context, player string, role Role, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetRole{
		SetRole: &skerryv1.SetRole{Player: player, Role: role},
	}})
	return err
}

// SetBlocks sets at most 4,096 blocks in at most 64 chunks, all or none, and returns how many were written. In a chunk that
// is absent it stores these blocks and nothing else.
func (w *World) SetBlocks(ctx context.Context, blocks []Block, options ...WorldOption) (changed int, err error) {
	flat := make([]int32, 0, 4*len(blocks))
	for _, b := range blocks {
		flat = append(flat, b.X, b.Y, b.Z, int32(b.ID))
	}
	reply, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetBlocks{
		SetBlocks: &skerryv1.SetBlocks{Blocks: flat},
	}})
	return int(reply.GetBlocksSet().GetChanged()), err
}

// PutChunk replaces all blocks of a chunk, and its height map. Its chests stay.
func (w *World) PutChunk(ctx context.Context, chunk *Chunk, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PutChunk{
		PutChunk: &skerryv1.PutChunk{Chunk: chunk},
	}})
	return err
}

// ClearChunk makes a chunk absent, so that it is the generator's again, without its chests; [ErrChestNotEmpty] when one
// holds anything.
func (w *World) ClearChunk(ctx context.Context, x, z int32, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_ClearChunk{
		ClearChunk: &skerryv1.ClearChunk{X: x, Z: z},
	}})
	return err
}

// PlaceChest adds an empty chest; [ErrChestExists] when there is one. It sets no block.
func (w *World) PlaceChest(ctx context.Context, at Place, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PlaceChest{
		PlaceChest: &skerryv1.PlaceChest{X: at.X, Y: at.Y, Z: at.Z},
	}})
	return err
}

// RemoveChest removes an empty chest; [ErrNoSuchChest], [ErrChestNotEmpty].
func (w *World) RemoveChest(ctx context.Context, at Place, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_RemoveChest{
		RemoveChest: &skerryv1.RemoveChest{X: at.X, Y: at.Y, Z: at.Z},
	}})
	return err
}

// ChestPut adds count items, first to stacks of the same item, then to empty slots, and returns the slots it changed;
// [ErrInventoryFull] and nothing put when not all fit. Use [World.Do] for one slot, or for items with metadata.
func (w *World) ChestPut(ctx context.Context, at Place, itemID, count int32, options ...WorldOption) ([]*skerryv1.ChestSlot, error) {
	return w.slots(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_ChestPut{
		ChestPut: &skerryv1.ChestPut{X: at.X, Y: at.Y, Z: at.Z, ItemId: itemID, Count: count},
	}})
}

// ChestTake removes count items wherever they lie, and returns the slots it changed; [ErrNoSuchItem] when there are fewer.
// Use [World.Do] for one slot.
func (w *World) ChestTake(ctx context.Context, at Place, itemID, count int32, options ...WorldOption) ([]*skerryv1.ChestSlot, error) {
	return w.slots(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_ChestTake{
		ChestTake: &skerryv1.ChestTake{X: at.X, Y: at.Y, Z: at.Z, ItemId: itemID, Count: count},
	}})
}

// ChestMove moves count items (0: all) within a chest or between two of the world, to an empty slot or onto a stack of the
// same item with room.
func (w *World) ChestMove(ctx context.Context, from, to *skerryv1.ChestSlotRef, count int32, options ...WorldOption) ([]*skerryv1.ChestSlot, error) {
	return w.slots(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_ChestMove{
		ChestMove: &skerryv1.ChestMove{From: from, To: to, Count: count},
	}})
}

// SetChestSlot replaces what a slot of a chest holds; nil clears it.
func (w *World) SetChestSlot(ctx context.Context, slot *skerryv1.ChestSlotRef, stack *skerryv1.ItemStack, options ...WorldOption) ([]*skerryv1.ChestSlot, error) {
	return w.slots(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetChestSlot{
		SetChestSlot: &skerryv1.SetChestSlot{Slot: slot, Stack: stack},
	}})
}

func (w *World) slots(ctx context.Context, options []WorldOption, command *skerryv1.WorldCommand) ([]*skerryv1.ChestSlot, error) {
	reply, err := w.one(ctx, options, command)
	return reply.GetChestSlots().GetSlots(), err
}

// Rename changes the world's name as shown to players.
func (w *World) Rename(ctx context.Context, name string, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_Rename{
		Rename: &skerryv1.Rename{Name: name},
	}})
	return err
}

// Describe changes the world's description.
func (w *World) Describe(ctx context.Context, description string, options ...WorldOption) error {
	_, err := w.one(ctx, options, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_Describe{
		Describe: &skerryv1.Describe{Description: description},
	}})
	return err
}
