package player

import (
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// slotsOf returns a container's stacks in the document; nil when there is no such container.
func slotsOf(p *skerryv1.Player, container skerryv1.Container) []*skerryv1.ItemStack {
	switch container {
	case skerryv1.Container_HOTBAR:
		return p.GetInventory().GetHotbar()
	case skerryv1.Container_INVENTORY:
		return p.GetInventory().GetInventory()
	default:
		return nil
	}
}

// slotCount is how many slots a container has: what the rules give, or more when the document has more.
func (r *Rules) slotCount(p *skerryv1.Player, container skerryv1.Container) int {
	switch container {
	case skerryv1.Container_HOTBAR:
		return max(r.hotbarSlots(), len(p.GetInventory().GetHotbar()))
	case skerryv1.Container_INVENTORY:
		return max(r.inventorySlots(), len(p.GetInventory().GetInventory()))
	default:
		return 0
	}
}

// stackAt returns what a slot holds, never nil; a slot that the document does not have yet is empty.
func stackAt(p *skerryv1.Player, container skerryv1.Container, index int) *skerryv1.ItemStack {
	if slots := slotsOf(p, container); index < len(slots) && slots[index] != nil {
		return slots[index]
	}
	return &skerryv1.ItemStack{}
}

// slot resolves a reference to what the slot holds.
func (r *Rules) slot(p *skerryv1.Player, ref *skerryv1.SlotRef, field string) (*skerryv1.ItemStack, error) {
	count := r.slotCount(p, ref.GetContainer())
	switch index := int(ref.GetIndex()); {
	case ref == nil:
		return nil, refuse(ErrBadSlot, field, "names no slot")
	case count == 0:
		return nil, refuse(ErrBadSlot, field+".container", "is none of HOTBAR, INVENTORY")
	case index < 0 || index >= count:
		return nil, refuse(ErrBadSlot, field+".index", "is %d, not within 0..%d", index, count-1)
	case r.reserved(ref.GetContainer(), index):
		return nil, refuse(ErrBadSlot, field, "is a slot that an open transfer has reserved")
	default:
		return stackAt(p, ref.GetContainer(), index), nil
	}
}

// twoSlots resolves two references that must differ.
func (r *Rules) twoSlots(p *skerryv1.Player, a, b *skerryv1.SlotRef, fieldA, fieldB string) (stackA, stackB *skerryv1.ItemStack, err error) {
	if stackA, err = r.slot(p, a, fieldA); err != nil {
		return nil, nil, err
	}
	if stackB, err = r.slot(p, b, fieldB); err != nil {
		return nil, nil, err
	}
	if a.GetContainer() == b.GetContainer() && a.GetIndex() == b.GetIndex() {
		return nil, nil, refuse(ErrBadSlot, fieldB, "is the same slot as the other one")
	}
	return stackA, stackB, nil
}

func slotWith(container skerryv1.Container, index int32, stack *skerryv1.ItemStack) *skerryv1.Slot {
	return &skerryv1.Slot{Container: container, Index: index, Stack: stack}
}

func refWith(ref *skerryv1.SlotRef, stack *skerryv1.ItemStack) *skerryv1.Slot {
	return slotWith(ref.GetContainer(), ref.GetIndex(), stack)
}

// slotsChanged makes event and reply of slots that nothing else refers to.
func slotsChanged(collected int64, slots ...*skerryv1.Slot) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	event := &storev1.SlotsChanged{Slots: slots, ItemsCollected: collected}
	reply := &skerryv1.SlotsChanged{Slots: slots}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_SlotsChanged{SlotsChanged: event}},
		&skerryv1.PlayerReply{Reply: &skerryv1.PlayerReply_Slots{Slots: reply}}, nil
}
