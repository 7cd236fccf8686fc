package client

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Currency is one of a player's balances.
type Currency = skerryv1.Currency

// The currencies.
const (
	Coins        = skerryv1.Currency_COINS
	Gems         = skerryv1.Currency_GEMS
	ManaCrystals = skerryv1.Currency_MANA_CRYSTALS
)

// SlotRef names a slot; see [Hotbar] and [Inventory].
type SlotRef = skerryv1.SlotRef

// Hotbar is the hotbar's slot i, counted from 0.
func Hotbar(i int) *SlotRef { return slotRef(skerryv1.Container_HOTBAR, i) }

// Inventory is the inventory's slot i, counted from 0.
func Inventory(i int) *SlotRef { return slotRef(skerryv1.Container_INVENTORY, i) }

func slotRef(in skerryv1.Container, i int) *SlotRef {
	if i != int(int32(i)) { //nolint:gosec // this is the check
		i = -1 // no such slot either; the node says so
	}
	return &SlotRef{Container: in, Index: int32(i)} //nolint:gosec // checked above
}

// one runs a single command and returns its reply.
func (p *Player) one(ctx context.Context, durability []Durability, command *skerryv1.PlayerCommand) (*skerryv1.PlayerReply, error) {
	opts := DoOptions{}
	for _, d := range durability {
		opts.Durability = d
	}
	result, err := p.Do(ctx, opts, command)
	if err != nil || len(result.Replies) == 0 {
		return nil, err
	}
	return result.Replies[0], nil
}

// Earn adds a positive amount to a balance and returns the new one. Earned coins count in the statistics.
func (p *Player) Earn(ctx context.Context, currency Currency, amount int64, durability ...Durability) (balance int64, err error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{
		Earn: &skerryv1.Earn{Currency: currency, Amount: amount},
	}})
	return reply.GetBalance().GetBalance(), err
}

// Spend takes a positive amount from a balance and returns the new one; [ErrInsufficientFunds] when there is less.
func (p *Player) Spend(ctx context.Context, currency Currency, amount int64, durability ...Durability) (balance int64, err error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Spend{
		Spend: &skerryv1.Spend{Currency: currency, Amount: amount},
	}})
	return reply.GetBalance().GetBalance(), err
}

// AddExperience adds experience; levels follow the space's curve.
func (p *Player) AddExperience(ctx context.Context, amount int64, durability ...Durability) (*skerryv1.ExperienceGained, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_AddExperience{
		AddExperience: &skerryv1.AddExperience{Amount: amount},
	}})
	return reply.GetExperience(), err
}

// AddStatistics adds each field of delta, none negative, and returns the statistics as they are now.
func (p *Player) AddStatistics(
	ctx context.Context, delta *skerryv1.Statistics, durability ...Durability,
) (*skerryv1.Statistics, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_AddStatistics{
		AddStatistics: &skerryv1.AddStatistics{Delta: delta},
	}})
	return reply.GetStatistics(), err
}

// Give adds count items, first to stacks of the same item, then to empty slots, and returns the slots it changed;
// [ErrInventoryFull] and nothing given when not all fit. Use [Player.Do] for items with metadata.
func (p *Player) Give(ctx context.Context, itemID, count int32, durability ...Durability) ([]*skerryv1.Slot, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Give{
		Give: &skerryv1.Give{ItemId: itemID, Count: count},
	}})
	return reply.GetSlots().GetSlots(), err
}

// Take removes count items wherever they lie and returns the slots it changed; [ErrNoSuchItem] when there are fewer.
func (p *Player) Take(ctx context.Context, itemID, count int32, durability ...Durability) ([]*skerryv1.Slot, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Take{
		Take: &skerryv1.Take{ItemId: itemID, Count: count},
	}})
	return reply.GetSlots().GetSlots(), err
}

// Move moves count items (0: all) to an empty slot, or onto a stack of the same item with room.
func (p *Player) Move(ctx context.Context, from, to *SlotRef, count int32, durability ...Durability) ([]*skerryv1.Slot, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Move{
		Move: &skerryv1.Move{From: from, To: to, Count: count},
	}})
	return reply.GetSlots().GetSlots(), err
}

// Swap exchanges what two slots hold.
func (p *Player) Swap(ctx context.Context, a, b *SlotRef, durability ...Durability) ([]*skerryv1.Slot, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Swap{
		Swap: &skerryv1.Swap{A: a, B: b},
	}})
	return reply.GetSlots().GetSlots(), err
}

// Split moves count items of a stack, fewer than all, to an empty slot.
func (p *Player) Split(ctx context.Context, from, to *SlotRef, count int32, durability ...Durability) ([]*skerryv1.Slot, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Split{
		Split: &skerryv1.Split{From: from, To: to, Count: count},
	}})
	return reply.GetSlots().GetSlots(), err
}

// SetSlot replaces what a slot holds; nil clears it.
func (p *Player) SetSlot(
	ctx context.Context, slot *SlotRef, stack *skerryv1.ItemStack, durability ...Durability,
) ([]*skerryv1.Slot, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetSlot{
		SetSlot: &skerryv1.SetSlot{Slot: slot, Stack: stack},
	}})
	return reply.GetSlots().GetSlots(), err
}

// SetInventory replaces every slot at once; both lists have exactly as many entries as the player has slots.
func (p *Player) SetInventory(
	ctx context.Context, hotbar, inventory []*skerryv1.ItemStack, durability ...Durability,
) ([]*skerryv1.Slot, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetInventory{
		SetInventory: &skerryv1.SetInventory{Hotbar: hotbar, Inventory: inventory},
	}})
	return reply.GetSlots().GetSlots(), err
}

// ClaimDailyReward claims today's reward, once a UTC day; [ErrAlreadyClaimed] otherwise.
func (p *Player) ClaimDailyReward(ctx context.Context, durability ...Durability) (*skerryv1.DailyReward, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_ClaimDailyReward{
		ClaimDailyReward: &skerryv1.ClaimDailyReward{},
	}})
	return reply.GetDailyReward(), err
}

// SetSettings changes the settings that are present in change and returns all of them.
func (p *Player) SetSettings(
	ctx context.Context, change *skerryv1.SetSettings, durability ...Durability,
) (*skerryv1.Settings, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetSettings{SetSettings: change}})
	return reply.GetSettings(), err
}

// SetSpawnerSlot puts a mob into a spawner slot of the dungeon. Use [Player.Do] for one with metadata.
func (p *Player) SetSpawnerSlot(ctx context.Context, slot int32, mob string, durability ...Durability) error {
	_, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetSpawnerSlot{
		SetSpawnerSlot: &skerryv1.SetSpawnerSlot{Slot: slot, Mob: mob},
	}})
	return err
}

// ClearSpawnerSlot empties a spawner slot.
func (p *Player) ClearSpawnerSlot(ctx context.Context, slot int32, durability ...Durability) error {
	_, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_ClearSpawnerSlot{
		ClearSpawnerSlot: &skerryv1.ClearSpawnerSlot{Slot: slot},
	}})
	return err
}

// SetAttribute sets the value at a dotted path ("quest.step"): nil, a bool, a number, a string, []any or map[string]any.
func (p *Player) SetAttribute(ctx context.Context, path string, value any, durability ...Durability) error {
	wire, err := structpb.NewValue(value)
	if err != nil {
		return &Error{
			Code: codec.CodeBadRequest, Message: fmt.Sprintf("value of attribute %q: %v", path, err),
			Field: "commands[0].setAttribute.value", Outcome: NotApplied, cause: err,
		}
	}
	_, err = p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetAttribute{
		SetAttribute: &skerryv1.SetAttribute{Path: path, Value: wire},
	}})
	return err
}

// RemoveAttribute removes the value at a dotted path.
func (p *Player) RemoveAttribute(ctx context.Context, path string, durability ...Durability) error {
	_, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_RemoveAttribute{
		RemoveAttribute: &skerryv1.RemoveAttribute{Path: path},
	}})
	return err
}

// IncrementAttribute adds by to the number at a dotted path (absent counts as 0) and returns the new one. Use
// [Player.Do] for one with bounds.
func (p *Player) IncrementAttribute(ctx context.Context, path string, by float64, durability ...Durability) (float64, error) {
	reply, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_IncrementAttribute{
		IncrementAttribute: &skerryv1.IncrementAttribute{Path: path, By: by},
	}})
	return reply.GetAttribute().GetValue().GetNumberValue(), err
}

// Rename changes the player's name as shown to others.
func (p *Player) Rename(ctx context.Context, name string, durability ...Durability) error {
	_, err := p.one(ctx, durability, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Rename{
		Rename: &skerryv1.Rename{Name: name},
	}})
	return err
}
