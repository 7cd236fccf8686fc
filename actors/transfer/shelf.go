package transfer

import (
	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Shelf is the slots of a party while a step is being decided: what is taken and put is seen by what follows, and the
// stacks that it began with are never changed. Items are put from the first slot on, and taken from the last one on.
type Shelf struct {
	slots    []*skerryv1.ItemStack
	reserved func(index int) bool // such a slot is neither taken from nor put into
	changed  []bool
}

// NewShelf is a shelf of these stacks, none of them nil. The slice is the shelf's own from now on.
func NewShelf(slots []*skerryv1.ItemStack, reserved func(index int) bool) *Shelf {
	return &Shelf{slots: slots, reserved: reserved, changed: make([]bool, len(slots))}
}

// Taken is a stack and the slot that it was in.
type Taken struct {
	Index int
	Stack *skerryv1.ItemStack
}

// Take takes what a leg moves: out of the slot index, or with index -1 wherever the item lies. Refusals name the leg's fields.
func (s *Shelf) Take(leg Leg, index int) ([]Taken, error) {
	if index < 0 {
		return s.takeItem(leg)
	}
	switch {
	case index >= len(s.slots):
		return nil, Refuse(items.ErrBadSlot, leg.Field, "names slot %d, there are %d", index, len(s.slots))
	case s.reserved(index):
		return nil, Refuse(items.ErrBadSlot, leg.Field, "names a slot that an open transfer has reserved")
	}
	stack, count := s.slots[index], leg.Item.GetCount()
	if count == 0 {
		count = stack.GetCount()
	}
	switch {
	case items.IsEmpty(stack):
		return nil, Refuse(items.ErrNoSuchItem, leg.Field, "names a slot that is empty")
	case leg.Item.GetItemId() != 0 && leg.Item.GetItemId() != stack.GetItemId():
		return nil, Refuse(items.ErrNoSuchItem, leg.Field+".itemId", "is %d, the slot holds item %d", leg.Item.GetItemId(), stack.GetItemId())
	case count > stack.GetCount():
		return nil, Refuse(items.ErrNoSuchItem, leg.Field+".count", "is %d, the slot holds %d", count, stack.GetCount())
	}
	return []Taken{s.take(index, count)}, nil
}

func (s *Shelf) takeItem(leg Leg) ([]Taken, error) {
	left := leg.Item.GetCount()
	var taken []Taken
	for index := len(s.slots) - 1; index >= 0 && left > 0; index-- {
		stack := s.slots[index]
		if items.IsEmpty(stack) || stack.GetItemId() != leg.Item.GetItemId() || s.reserved(index) {
			continue
		}
		one := s.take(index, min(left, stack.GetCount()))
		left -= one.Stack.GetCount()
		taken = append(taken, one)
	}
	if left > 0 {
		count := leg.Item.GetCount()
		return nil, Refuse(items.ErrNoSuchItem, leg.Field+".count", "there are %d of item %d, not %d", count-left, leg.Item.GetItemId(), count)
	}
	return taken, nil
}

func (s *Shelf) take(index int, count int32) Taken {
	stack := s.slots[index]
	s.set(index, items.Holding(stack, stack.GetCount()-count))
	return Taken{index, items.Holding(stack, count)}
}

// Put puts a stack wherever there is room: stacks of the same first, then empty slots.
func (s *Shelf) Put(stack *skerryv1.ItemStack, field string) error {
	left := stack.GetCount()
	for _, empty := range []bool{false, true} {
		for index := 0; index < len(s.slots) && left > 0; index++ {
			present := s.slots[index]
			switch {
			case items.IsEmpty(present) != empty || s.reserved(index):
				continue
			case empty:
				put := min(left, stack.GetMaxStack())
				left -= put
				s.set(index, items.Holding(stack, put))
			case items.Mergeable(present, stack):
				put := min(left, items.Room(present))
				if put > 0 {
					left -= put
					s.set(index, items.Holding(present, present.GetCount()+put))
				}
			}
		}
	}
	if left > 0 {
		return Refuse(items.ErrInventoryFull, field, "%d of %d do not fit", left, stack.GetCount())
	}
	return nil
}

// PutBack puts a stack into the slot that was kept for it, and where that is not possible wherever there is room.
func (s *Shelf) PutBack(index int, stack *skerryv1.ItemStack, field string) error {
	if index >= 0 && index < len(s.slots) {
		switch present := s.slots[index]; {
		case items.IsEmpty(present):
			s.set(index, stack.CloneVT())
			return nil
		case items.Mergeable(present, stack) && items.Room(present) >= stack.GetCount():
			s.set(index, items.Holding(present, present.GetCount()+stack.GetCount()))
			return nil
		}
	}
	return s.Put(stack, field)
}

// Empty finds count slots that are empty and not reserved, nor used already; false when there are fewer.
func (s *Shelf) Empty(count int, used map[int]bool) ([]int, bool) {
	var found []int
	for index := 0; index < len(s.slots) && len(found) < count; index++ {
		if items.IsEmpty(s.slots[index]) && !s.reserved(index) && !used[index] {
			found = append(found, index)
		}
	}
	return found, len(found) == count
}

func (s *Shelf) set(index int, stack *skerryv1.ItemStack) {
	s.slots[index], s.changed[index] = stack, true
}

// Changed calls do for each slot that is not what it was, in order. The stacks are the caller's from then on.
func (s *Shelf) Changed(do func(index int, stack *skerryv1.ItemStack)) {
	for index, changed := range s.changed {
		if changed {
			do(index, s.slots[index])
		}
	}
}

// Merged joins stacks of the same, each as full as its maxStack allows.
func Merged(taken []Taken) []*skerryv1.ItemStack {
	var merged []*skerryv1.ItemStack
	for _, t := range taken {
		left := t.Stack.GetCount()
		for _, stack := range merged {
			if stack.GetMaxStack() == t.Stack.GetMaxStack() && items.Mergeable(stack, t.Stack) {
				more := min(left, items.Room(stack))
				stack.Count += more
				left -= more
			}
		}
		if left > 0 {
			merged = append(merged, items.Holding(t.Stack, left))
		}
	}
	return merged
}

// Fitting makes what was taken for a leg into as few stacks as it may be, without their slots, and refuses when they are
// more than the slots that the holder, who holds held, has reserved for the leg. Currency it leaves as it is.
func Fitting(taken, held []*storev1.HeldLeg, leg Leg) ([]*storev1.HeldLeg, error) {
	if leg.Currency != nil || len(taken) == 0 {
		return taken, nil
	}
	number, slots := taken[0].GetLeg(), 0
	for _, h := range held {
		if h.GetIncoming() && h.GetLeg() == number {
			slots++
		}
	}
	var stacks []Taken
	for _, t := range taken {
		stacks = append(stacks, Taken{Stack: t.GetStack()})
	}
	merged := Merged(stacks)
	if len(merged) > slots {
		return nil, Refuse(items.ErrInventoryFull, leg.Field, "is %d different stacks, the other party has reserved %d slots", len(merged), slots)
	}
	fitting := make([]*storev1.HeldLeg, len(merged))
	for i, stack := range merged {
		fitting[i] = &storev1.HeldLeg{Leg: number, Stack: stack}
	}
	return fitting, nil
}
