package player

import (
	"fmt"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// containers are a player's, in the order in which items are given.
func containers() [2]skerryv1.Container {
	return [2]skerryv1.Container{skerryv1.Container_HOTBAR, skerryv1.Container_INVENTORY}
}

// give fills stacks of the same item and metadata first, then empty slots, hotbar first.
func give(rules *Rules, p *skerryv1.Player, cmd *skerryv1.Give) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	most, err := rules.Stacks().MaxStackFor(cmd.GetItemId(), cmd.GetMaxStack(), "give")
	switch {
	case err != nil:
		return nil, nil, err
	case cmd.GetCount() < 1:
		return nil, nil, refuse(ErrBadAmount, "give.count", "is %d, not positive", cmd.GetCount())
	}
	metadata, err := items.Metadata(cmd.GetMetadata(), "give.metadata")
	if err != nil {
		return nil, nil, err
	}
	given := &skerryv1.ItemStack{ItemId: cmd.GetItemId(), MaxStack: most, Metadata: metadata}
	changed, left := place(rules, p, given, cmd.GetCount())
	if left > 0 {
		return nil, nil, refuse(ErrInventoryFull, "give.count", "%d of %d do not fit", left, cmd.GetCount())
	}
	return slotsChanged(countable(p.GetStatistics().GetItemsCollected(), int64(cmd.GetCount())), changed...)
}

// place finds slots for count of given, and says how many have none.
func place(rules *Rules, p *skerryv1.Player, given *skerryv1.ItemStack, count int32) (changed []*skerryv1.Slot, left int32) {
	left = count
	for _, empty := range []bool{false, true} {
		for _, container := range containers() {
			for index := range rules.slotCount(p, container) {
				if left == 0 {
					return changed, 0
				}
				stack := stackAt(p, container, index)
				switch {
				case items.IsEmpty(stack) != empty || rules.reserved(container, index):
					continue
				case empty:
					stack = given
				case items.Room(stack) == 0 || !items.Mergeable(stack, given):
					continue
				}
				put := min(left, items.Room(stack))
				left -= put
				changed = append(changed, slotWith(container, int32(index), items.Holding(stack, stack.GetCount()+put)))
			}
		}
	}
	return changed, left
}

// take removes items wherever they lie, inventory first, from the last slot.
func take(rules *Rules, p *skerryv1.Player, cmd *skerryv1.Take) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	switch {
	case cmd.GetItemId() < 1:
		return nil, nil, refuse(ErrBadRequest, "take.itemId", "is %d, not positive", cmd.GetItemId())
	case cmd.GetCount() < 1:
		return nil, nil, refuse(ErrBadAmount, "take.count", "is %d, not positive", cmd.GetCount())
	}
	left := cmd.GetCount()
	var changed []*skerryv1.Slot
	for _, container := range []skerryv1.Container{skerryv1.Container_INVENTORY, skerryv1.Container_HOTBAR} {
		for index := rules.slotCount(p, container) - 1; index >= 0 && left > 0; index-- {
			stack := stackAt(p, container, index)
			if items.IsEmpty(stack) || stack.GetItemId() != cmd.GetItemId() || rules.reserved(container, index) {
				continue
			}
			taken := min(left, stack.GetCount())
			left -= taken
			changed = append(changed, slotWith(container, int32(index), items.Holding(stack, stack.GetCount()-taken)))
		}
	}
	if left > 0 {
		return nil, nil, refuse(ErrNoSuchItem, "take.count", "the player has %d of item %d, not %d", cmd.GetCount()-left, cmd.GetItemId(), cmd.GetCount())
	}
	return slotsChanged(0, changed...)
}

func move(rules *Rules, p *skerryv1.Player, cmd *skerryv1.Move) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	from, to, err := rules.twoSlots(p, cmd.GetFrom(), cmd.GetTo(), "move.from", "move.to")
	if err != nil {
		return nil, nil, err
	}
	count := cmd.GetCount()
	if count == 0 {
		count = from.GetCount()
	}
	switch {
	case items.IsEmpty(from):
		return nil, nil, refuse(ErrNoSuchItem, "move.from", "is empty")
	case count < 0 || count > from.GetCount():
		return nil, nil, refuse(ErrBadAmount, "move.count", "is %d, not within 0..%d", cmd.GetCount(), from.GetCount())
	case items.IsEmpty(to):
		to = items.Holding(from, count)
	case !items.Mergeable(from, to):
		return nil, nil, refuse(ErrBadSlot, "move.to", "holds something else")
	case count > items.Room(to):
		return nil, nil, refuse(ErrInventoryFull, "move.to", "has room for %d, not for %d", items.Room(to), count)
	default:
		to = items.Holding(to, to.GetCount()+count)
	}
	return slotsChanged(0, refWith(cmd.GetFrom(), items.Holding(from, from.GetCount()-count)), refWith(cmd.GetTo(), to))
}

func swap(rules *Rules, p *skerryv1.Player, cmd *skerryv1.Swap) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	a, b, err := rules.twoSlots(p, cmd.GetA(), cmd.GetB(), "swap.a", "swap.b")
	if err != nil {
		return nil, nil, err
	}
	return slotsChanged(0, refWith(cmd.GetA(), b.CloneVT()), refWith(cmd.GetB(), a.CloneVT()))
}

func split(rules *Rules, p *skerryv1.Player, cmd *skerryv1.Split) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	from, to, err := rules.twoSlots(p, cmd.GetFrom(), cmd.GetTo(), "split.from", "split.to")
	count := cmd.GetCount()
	switch {
	case err != nil:
		return nil, nil, err
	case items.IsEmpty(from):
		return nil, nil, refuse(ErrNoSuchItem, "split.from", "is empty")
	case count < 1 || count >= from.GetCount():
		return nil, nil, refuse(ErrBadAmount, "split.count", "is %d, not positive and less than %d", count, from.GetCount())
	case !items.IsEmpty(to):
		return nil, nil, refuse(ErrBadSlot, "split.to", "is not empty")
	}
	return slotsChanged(0, refWith(cmd.GetFrom(), items.Holding(from, from.GetCount()-count)), refWith(cmd.GetTo(), items.Holding(from, count)))
}

func setSlot(rules *Rules, p *skerryv1.Player, cmd *skerryv1.SetSlot) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	if _, err := rules.slot(p, cmd.GetSlot(), "setSlot.slot"); err != nil {
		return nil, nil, err
	}
	stack, err := rules.Stacks().Stack(cmd.GetStack(), "setSlot.stack")
	if err != nil {
		return nil, nil, err
	}
	return slotsChanged(0, refWith(cmd.GetSlot(), stack))
}

// setInventory replaces every slot; only those that differ are in the event and the reply.
func setInventory(rules *Rules, p *skerryv1.Player, cmd *skerryv1.SetInventory) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	var changed []*skerryv1.Slot
	for _, list := range []struct {
		container skerryv1.Container
		field     string
		stacks    []*skerryv1.ItemStack
	}{
		{skerryv1.Container_HOTBAR, "setInventory.hotbar", cmd.GetHotbar()},
		{skerryv1.Container_INVENTORY, "setInventory.inventory", cmd.GetInventory()},
	} {
		if count := rules.slotCount(p, list.container); len(list.stacks) != count {
			return nil, nil, refuse(ErrBadSlot, list.field, "has %d slots, not %d", len(list.stacks), count)
		}
		for index, asked := range list.stacks {
			stack, err := rules.Stacks().Stack(asked, fmt.Sprintf("%s[%d]", list.field, index))
			if err != nil {
				return nil, nil, err
			}
			if !stack.EqualVT(stackAt(p, list.container, index)) {
				if rules.reserved(list.container, index) {
					return nil, nil, refuse(ErrBadSlot, fmt.Sprintf("%s[%d]", list.field, index), "is a slot that an open transfer has reserved")
				}
				changed = append(changed, slotWith(list.container, int32(index), stack))
			}
		}
	}
	return slotsChanged(0, changed...)
}
