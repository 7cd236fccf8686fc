package items

import (
	"bytes"
	"cmp"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Limits say how large stacks may be. The zero value is right: each field says its default, which 0 stands for.
type Limits struct {
	// MaxStack is how many of an item a slot holds when the item is not in MaxStackByItem. Default: 64.
	MaxStack int32
	// MaxStackByItem is how many a slot holds, by item id. Read-only.
	MaxStackByItem map[int32]int32
	// GreatestMaxStack is the greatest maxStack that a command may name. Default: 10,000.
	GreatestMaxStack int32
}

func (l Limits) greatest() int32 { return cmp.Or(l.GreatestMaxStack, 10_000) }

// MaxStackOf is how many of an item a slot holds.
func (l Limits) MaxStackOf(item int32) int32 {
	return min(cmp.Or(l.MaxStackByItem[item], l.MaxStack, 64), l.greatest())
}

// Stack checks a stack of a command and returns a copy in its normal form: nothing of the command's memory, no unknown
// fields, maxStack filled in.
func (l Limits) Stack(s *skerryv1.ItemStack, field string) (*skerryv1.ItemStack, error) {
	item, count := s.GetItemId(), s.GetCount()
	if item == 0 && count == 0 {
		return &skerryv1.ItemStack{}, nil
	}
	most, err := l.MaxStackFor(item, s.GetMaxStack(), field)
	switch {
	case err != nil:
		return nil, err
	case count < 1 || count > most:
		return nil, Refuse(ErrBadAmount, field+".count", "is %d, not within 1..%d", count, most)
	}
	metadata, err := Metadata(s.GetMetadata(), field+".metadata")
	if err != nil {
		return nil, err
	}
	return &skerryv1.ItemStack{ItemId: item, Count: count, MaxStack: most, Metadata: metadata}, nil
}

// MaxStackFor checks an item id and the maxStack that a command names with it; 0 means what the rules say of the item.
func (l Limits) MaxStackFor(item, maxStack int32, field string) (int32, error) {
	switch {
	case item < 1:
		return 0, Refuse(ErrBadRequest, field+".itemId", "is %d, not positive", item)
	case maxStack == 0:
		return l.MaxStackOf(item), nil
	case maxStack < 0 || maxStack > l.greatest():
		return 0, Refuse(ErrBadAmount, field+".maxStack", "is %d, not within 0..%d", maxStack, l.greatest())
	default:
		return maxStack, nil
	}
}

// Check refuses a stack at rest that no command could have made.
func (l Limits) Check(stack *skerryv1.ItemStack, field string) error {
	switch {
	case stack == nil:
		return Refuse(ErrBadRequest, field, "is missing")
	case stack.GetItemId() == 0:
		if stack.GetCount() != 0 || stack.GetMaxStack() != 0 || stack.Metadata != nil {
			return Refuse(ErrBadRequest, field, "is empty but has a count, a maxStack or metadata")
		}
		return nil
	case stack.GetItemId() < 0:
		return Refuse(ErrBadRequest, field+".itemId", "is %d, negative", stack.GetItemId())
	case stack.GetMaxStack() < 1 || stack.GetMaxStack() > l.greatest():
		return Refuse(ErrBadRequest, field+".maxStack", "is %d, not within 1..%d", stack.GetMaxStack(), l.greatest())
	case stack.GetCount() < 1 || stack.GetCount() > stack.GetMaxStack():
		return Refuse(ErrBadRequest, field+".count", "is %d, not within 1..%d", stack.GetCount(), stack.GetMaxStack())
	default:
		return CheckMetadata(stack.GetMetadata(), field+".metadata")
	}
}

// IsEmpty reports whether a slot with this stack, which may be nil, holds nothing.
func IsEmpty(stack *skerryv1.ItemStack) bool { return stack.GetItemId() == 0 || stack.GetCount() <= 0 }

// Room is how many more of its item a stack holds.
func Room(stack *skerryv1.ItemStack) int32 { return max(0, stack.GetMaxStack()-stack.GetCount()) }

// Mergeable reports whether two stacks hold the same: item, metadata, and whatever a newer version keeps there.
func Mergeable(a, b *skerryv1.ItemStack) bool {
	return a.GetItemId() == b.GetItemId() &&
		EqualStruct(a.GetMetadata(), b.GetMetadata()) &&
		bytes.Equal(a.ProtoReflect().GetUnknown(), b.ProtoReflect().GetUnknown())
}

// Holding is a copy of stack with another count; with 0 it is the empty stack in its normal form.
func Holding(stack *skerryv1.ItemStack, count int32) *skerryv1.ItemStack {
	if count == 0 {
		return &skerryv1.ItemStack{}
	}
	held := stack.CloneVT()
	held.Count = count
	return held
}
