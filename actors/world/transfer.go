package world

import (
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// TransferChunk is the chunk of the chest that a transfer is with; false when it is with none.
func TransferChunk(req *skerryv1.CreateTransferRequest) (Coord, bool) {
	for _, leg := range req.GetLegs() {
		for _, party := range []*skerryv1.TransferParty{leg.GetFrom(), leg.GetTo()} {
			if chest := party.GetChest(); chest != nil {
				return coordOf(chest.GetX(), chest.GetZ()), true
			}
		}
	}
	return Coord{}, false
}

// Receive decides the second step of a transfer at a chest of w: it takes what the legs from the chest ask for, and gives
// what the holder holds. It returns what goes back to the holder. All happens, or a refusal says why nothing does. It
// changes nothing. No role is asked for: a transfer is the game server's doing.
func Receive(rules *Rules, w *skerryv1.World, parts Parts, plan *transfer.Plan, held []*storev1.HeldLeg) ([]*storev1.HeldLeg, []*storev1.WorldEvent, error) {
	a := asked{rules: rules.orDefault(), world: w, parts: parts}
	chest, err := a.find(plan.Other.Chest.GetX(), plan.Other.Chest.GetY(), plan.Other.Chest.GetZ(), plan.Other.Field+".chest")
	if err != nil {
		return nil, nil, transfer.BlameNoCommand(err)
	}
	stacks := make([]*skerryv1.ItemStack, chest.slots)
	for i := range stacks {
		stacks[i] = chest.stack(i)
	}
	shelf := transfer.NewShelf(stacks, chest.reserved)
	var back []*storev1.HeldLeg
	for i, leg := range plan.Legs {
		if leg.Out {
			continue
		}
		taken, err := takeLeg(shelf, uint32(i), leg) //nolint:gosec // at most transfer.MaxLegs
		if err != nil {
			return nil, nil, err
		}
		if taken, err = transfer.Fitting(taken, held, leg); err != nil {
			return nil, nil, err
		}
		back = append(back, taken...)
	}
	for _, h := range held {
		if h.GetIncoming() {
			continue
		}
		if err := shelf.Put(h.GetStack(), plan.Legs[h.GetLeg()].Field); err != nil {
			return nil, nil, err
		}
	}
	var changed []*storev1.StackAt
	shelf.Changed(func(index int, stack *skerryv1.ItemStack) { changed = append(changed, stackAt(index, stack)) })
	if len(changed) == 0 {
		return back, nil, nil
	}
	if err := chest.room(plan.Other.Field+".chest", changed...); err != nil {
		return nil, nil, transfer.BlameNoCommand(err)
	}
	event, _ := chest.changed(changed...)
	return back, one(event), nil
}

func takeLeg(shelf *transfer.Shelf, number uint32, leg transfer.Leg) ([]*storev1.HeldLeg, error) {
	index := -1
	if leg.Item.ChestSlot != nil {
		if index = int(leg.Item.GetChestSlot()); index < 0 {
			return nil, transfer.Refuse(ErrBadSlot, leg.Field+".chestSlot", "is %d, negative", index)
		}
	}
	taken, err := shelf.Take(leg, index)
	if err != nil {
		return nil, err
	}
	held := make([]*storev1.HeldLeg, len(taken))
	for i, t := range taken {
		held[i] = &storev1.HeldLeg{Leg: number, Stack: t.Stack}
	}
	return held, nil
}

// ChunkAt is the chunk of a block.
func ChunkAt(x, z int32) Coord { return coordOf(x, z) }
