package world

import (
	"slices"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// chestAt is a chest that a command looks at.
type chestAt struct {
	x, y, z int32
	chunk   Coord
	at      uint32
	part    *Chunk
	chest   *storev1.StoredChest
	slots   int // what the rules give, or more when the chest has more
}

// find looks for the chest at a place; field is the path of the object with x, y and z.
func (a asked) find(x, y, z int32, field string) (chestAt, error) {
	chunk, at, err := place(a.world, x, y, z, field+".y")
	if err != nil {
		return chestAt{}, err
	}
	part := a.chunk(chunk)
	i, found := part.chest(at)
	if !found {
		return chestAt{}, refuse(ErrNoSuchChest, field, "there is none at %d, %d, %d", x, y, z)
	}
	chest := part.Chests[i]
	return chestAt{x, y, z, chunk, at, part, chest, max(a.rules.chestSlots(), len(chest.GetSlots()))}, nil
}

// stack returns what a slot holds, never nil; a slot that the chest does not have yet is empty.
func (c chestAt) stack(index int) *skerryv1.ItemStack {
	if index < len(c.chest.GetSlots()) && c.chest.GetSlots()[index] != nil {
		return c.chest.GetSlots()[index]
	}
	return &skerryv1.ItemStack{}
}

// slot returns what a slot holds that a command names, and refuses one that is not there or is reserved.
func (c chestAt) slot(index int32, field string) (*skerryv1.ItemStack, error) {
	switch {
	case index < 0 || int(index) >= c.slots:
		return nil, refuse(ErrBadSlot, field, "is %d, not within 0..%d", index, c.slots-1)
	case c.reserved(int(index)):
		return nil, refuse(ErrBadSlot, field, "is %d, which an open transfer has reserved", index)
	default:
		return c.stack(int(index)), nil
	}
}

func (c chestAt) reserved(index int) bool { return c.part.reserved(c.at, uint32(index)) } //nolint:gosec // not negative

// changed makes event and reply of slots that nothing else refers to.
func (c chestAt) changed(slots ...*storev1.StackAt) (*storev1.WorldEvent, []*skerryv1.ChestSlot) {
	shown := make([]*skerryv1.ChestSlot, len(slots))
	for i, slot := range slots {
		shown[i] = &skerryv1.ChestSlot{X: c.x, Y: c.y, Z: c.z, Index: int32(slot.GetIndex()), Stack: slot.GetStack()} //nolint:gosec // at most 1024
	}
	return &storev1.WorldEvent{X: c.chunk.X, Z: c.chunk.Z, Event: &storev1.WorldEvent_ChestSlotsSet{
		ChestSlotsSet: &storev1.ChestSlotsSet{At: c.at, Slots: slots},
	}}, shown
}

const (
	// maxChestsBytes is how much the chests of a chunk may hold, encoded: with its blocks, a chunk's part must stay below what
	// storage keeps (4 MiB).
	maxChestsBytes = 3 << 20
	// maxStackBytes is more than any stack takes: its metadata has at most 1 KiB as JSON.
	maxStackBytes = 4 << 10
)

// room refuses slots that would make the chunk's chests too large to be stored. What shrinks a chest is never refused.
func (c chestAt) room(field string, slots ...*storev1.StackAt) error {
	if len(c.part.Chests)*c.slots*maxStackBytes <= maxChestsBytes {
		return nil
	}
	growth := 0
	for _, slot := range slots {
		growth += slot.GetStack().SizeVT() - c.stack(int(slot.GetIndex())).SizeVT()
	}
	if growth <= 0 {
		return nil
	}
	size := 0
	for _, chest := range c.part.Chests {
		size += chest.SizeVT()
	}
	if size+growth > maxChestsBytes {
		return refuse(ErrTooLarge, field, "the chests of chunk %v hold %d bytes, at most %d are allowed", c.chunk, size, maxChestsBytes)
	}
	return nil
}

// answer is changed of one chest, as a command returns it.
func (c chestAt) answer(slots ...*storev1.StackAt) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	event, shown := c.changed(slots...)
	return one(event), slotsReply(shown), nil
}

func slotsReply(slots []*skerryv1.ChestSlot) *skerryv1.WorldReply {
	return &skerryv1.WorldReply{Reply: &skerryv1.WorldReply_ChestSlots{ChestSlots: &skerryv1.ChestSlotsChanged{Slots: slots}}}
}

func stackAt(index int, stack *skerryv1.ItemStack) *storev1.StackAt {
	return &storev1.StackAt{Index: uint32(index), Stack: stack} //nolint:gosec // not negative
}

func holdsItems(chest *storev1.StoredChest) bool {
	return slices.ContainsFunc(chest.GetSlots(), func(stack *skerryv1.ItemStack) bool { return !items.IsEmpty(stack) })
}

func (a asked) placeChest(cmd *skerryv1.PlaceChest) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	chunk, at, err := place(a.world, cmd.GetX(), cmd.GetY(), cmd.GetZ(), "placeChest.y")
	if err != nil {
		return nil, nil, err
	}
	c := a.chunk(chunk)
	if _, found := c.chest(at); found {
		return nil, nil, refuse(ErrChestExists, "placeChest", "there is one at %d, %d, %d", cmd.GetX(), cmd.GetY(), cmd.GetZ())
	}
	if len(c.Chests) >= MaxChests {
		return nil, nil, refuse(ErrTooMany, "placeChest", "the chunk has %d chests", len(c.Chests))
	}
	placed := &storev1.ChestPlaced{At: at, Slots: uint32(a.rules.chestSlots())} //nolint:gosec // at most 1024
	return one(&storev1.WorldEvent{X: chunk.X, Z: chunk.Z, Event: &storev1.WorldEvent_ChestPlaced{ChestPlaced: placed}}), done(), nil
}

func (a asked) removeChest(cmd *skerryv1.RemoveChest) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	c, err := a.find(cmd.GetX(), cmd.GetY(), cmd.GetZ(), "removeChest")
	switch {
	case err != nil:
		return nil, nil, err
	case c.part.heldFrom(c.at):
		return nil, nil, refuse(ErrChunkHeld, "removeChest", "an open transfer holds items of it")
	case holdsItems(c.chest):
		return nil, nil, refuse(ErrChestNotEmpty, "removeChest", "it holds items")
	}
	removed := &storev1.ChestRemoved{At: c.at}
	return one(&storev1.WorldEvent{X: c.chunk.X, Z: c.chunk.Z, Event: &storev1.WorldEvent_ChestRemoved{ChestRemoved: removed}}), done(), nil
}

// chestPut fills one slot, or stacks of the same item and metadata first, then empty slots.
func (a asked) chestPut(cmd *skerryv1.ChestPut) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	c, err := a.find(cmd.GetX(), cmd.GetY(), cmd.GetZ(), "chestPut")
	if err != nil {
		return nil, nil, err
	}
	most, err := a.rules.Stacks.MaxStackFor(cmd.GetItemId(), cmd.GetMaxStack(), "chestPut")
	switch {
	case err != nil:
		return nil, nil, err
	case cmd.GetCount() < 1:
		return nil, nil, refuse(ErrBadAmount, "chestPut.count", "is %d, not positive", cmd.GetCount())
	}
	metadata, err := items.Metadata(cmd.GetMetadata(), "chestPut.metadata")
	if err != nil {
		return nil, nil, err
	}
	given := &skerryv1.ItemStack{ItemId: cmd.GetItemId(), MaxStack: most, Metadata: metadata}
	if cmd.Slot != nil {
		index := cmd.GetSlot()
		stack, err := c.slot(index, "chestPut.slot")
		if err != nil {
			return nil, nil, err
		}
		stack, err = merged(stack, given, cmd.GetCount(), "chestPut.slot")
		if err != nil {
			return nil, nil, err
		}
		slot := stackAt(int(index), stack)
		if err := c.room("chestPut", slot); err != nil {
			return nil, nil, err
		}
		return c.answer(slot)
	}
	changed, left := c.spread(given, cmd.GetCount())
	if left > 0 {
		return nil, nil, refuse(ErrInventoryFull, "chestPut.count", "%d of %d do not fit", left, cmd.GetCount())
	}
	if err := c.room("chestPut", changed...); err != nil {
		return nil, nil, err
	}
	return c.answer(changed...)
}

// spread finds slots for count of given, and says how many have none.
func (c chestAt) spread(given *skerryv1.ItemStack, count int32) (changed []*storev1.StackAt, left int32) {
	left = count
	for _, empty := range []bool{false, true} {
		for index := 0; index < c.slots && left > 0; index++ {
			stack := c.stack(index)
			switch {
			case items.IsEmpty(stack) != empty || c.reserved(index):
				continue
			case empty:
				stack = given
			case items.Room(stack) == 0 || !items.Mergeable(stack, given):
				continue
			}
			put := min(left, items.Room(stack))
			left -= put
			changed = append(changed, stackAt(index, items.Holding(stack, stack.GetCount()+put)))
		}
	}
	return changed, left
}

// merged is what a slot that holds stack holds with count of given more.
func merged(stack, given *skerryv1.ItemStack, count int32, field string) (*skerryv1.ItemStack, error) {
	room := items.Room(stack)
	if items.IsEmpty(stack) {
		room = given.GetMaxStack()
	}
	switch {
	case !items.IsEmpty(stack) && !items.Mergeable(stack, given):
		return nil, refuse(ErrBadSlot, field, "holds something else")
	case count > room:
		return nil, refuse(ErrInventoryFull, field, "has room for %d, not for %d", room, count)
	case items.IsEmpty(stack):
		return items.Holding(given, count), nil
	default:
		return items.Holding(stack, stack.GetCount()+count), nil
	}
}

// chestTake takes from one slot, or wherever the item lies, from the last slot.
func (a asked) chestTake(cmd *skerryv1.ChestTake) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	c, err := a.find(cmd.GetX(), cmd.GetY(), cmd.GetZ(), "chestTake")
	switch {
	case err != nil:
		return nil, nil, err
	case cmd.GetItemId() < 0 || cmd.Slot == nil && cmd.GetItemId() == 0:
		return nil, nil, refuse(ErrBadRequest, "chestTake.itemId", "is %d, not positive", cmd.GetItemId())
	case cmd.GetCount() < 0 || cmd.Slot == nil && cmd.GetCount() == 0:
		return nil, nil, refuse(ErrBadAmount, "chestTake.count", "is %d, not positive", cmd.GetCount())
	}
	if cmd.Slot != nil {
		return c.takeFrom(cmd)
	}
	left := cmd.GetCount()
	var changed []*storev1.StackAt
	for index := c.slots - 1; index >= 0 && left > 0; index-- {
		stack := c.stack(index)
		if items.IsEmpty(stack) || stack.GetItemId() != cmd.GetItemId() || c.reserved(index) {
			continue
		}
		taken := min(left, stack.GetCount())
		left -= taken
		changed = append(changed, stackAt(index, items.Holding(stack, stack.GetCount()-taken)))
	}
	if left > 0 {
		return nil, nil, refuse(ErrNoSuchItem, "chestTake.count", "the chest has %d of item %d, not %d", cmd.GetCount()-left, cmd.GetItemId(), cmd.GetCount())
	}
	return c.answer(changed...)
}

func (c chestAt) takeFrom(cmd *skerryv1.ChestTake) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	stack, err := c.slot(cmd.GetSlot(), "chestTake.slot")
	if err != nil {
		return nil, nil, err
	}
	count := cmd.GetCount()
	if count == 0 {
		count = stack.GetCount()
	}
	switch {
	case items.IsEmpty(stack):
		return nil, nil, refuse(ErrNoSuchItem, "chestTake.slot", "is empty")
	case cmd.GetItemId() != 0 && cmd.GetItemId() != stack.GetItemId():
		return nil, nil, refuse(ErrNoSuchItem, "chestTake.itemId", "is %d, but the slot holds item %d", cmd.GetItemId(), stack.GetItemId())
	case count > stack.GetCount():
		return nil, nil, refuse(ErrNoSuchItem, "chestTake.count", "is %d, but the slot holds %d", count, stack.GetCount())
	}
	return c.answer(stackAt(int(cmd.GetSlot()), items.Holding(stack, stack.GetCount()-count)))
}

// chestMove may move between two chunks: then each has an event, and one entry holds both.
func (a asked) chestMove(cmd *skerryv1.ChestMove) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	source, from, err := a.findSlot(cmd.GetFrom(), "chestMove.from")
	if err != nil {
		return nil, nil, err
	}
	target, to, err := a.findSlot(cmd.GetTo(), "chestMove.to")
	if err != nil {
		return nil, nil, err
	}
	same := source.chunk == target.chunk && source.at == target.at
	count := cmd.GetCount()
	if count == 0 {
		count = from.GetCount()
	}
	switch {
	case same && cmd.GetFrom().GetIndex() == cmd.GetTo().GetIndex():
		return nil, nil, refuse(ErrBadSlot, "chestMove.to", "is the same slot as the other one")
	case items.IsEmpty(from):
		return nil, nil, refuse(ErrNoSuchItem, "chestMove.from", "is empty")
	case count < 0 || count > from.GetCount():
		return nil, nil, refuse(ErrBadAmount, "chestMove.count", "is %d, not within 0..%d", cmd.GetCount(), from.GetCount())
	}
	if to, err = merged(to, from, count, "chestMove.to"); err != nil {
		return nil, nil, err
	}
	left := stackAt(int(cmd.GetFrom().GetIndex()), items.Holding(from, from.GetCount()-count))
	right := stackAt(int(cmd.GetTo().GetIndex()), to)
	if err := target.room("chestMove.to", right); err != nil {
		return nil, nil, err
	}
	if same {
		return source.answer(left, right)
	}
	taken, shown := source.changed(left)
	put, more := target.changed(right)
	return []*storev1.WorldEvent{taken, put}, slotsReply(append(shown, more...)), nil
}

func (a asked) findSlot(ref *skerryv1.ChestSlotRef, field string) (chestAt, *skerryv1.ItemStack, error) {
	if ref == nil {
		return chestAt{}, nil, refuse(ErrBadSlot, field, "names no slot")
	}
	c, err := a.find(ref.GetX(), ref.GetY(), ref.GetZ(), field)
	if err != nil {
		return chestAt{}, nil, err
	}
	stack, err := c.slot(ref.GetIndex(), field+".index")
	return c, stack, err
}

func (a asked) setChestSlot(cmd *skerryv1.SetChestSlot) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	c, old, err := a.findSlot(cmd.GetSlot(), "setChestSlot.slot")
	if err != nil {
		return nil, nil, err
	}
	stack, err := a.rules.Stacks.Stack(cmd.GetStack(), "setChestSlot.stack")
	if err != nil {
		return nil, nil, err
	}
	slot := stackAt(int(cmd.GetSlot().GetIndex()), stack)
	event, shown := c.changed(slot)
	if stack.EqualVT(old) {
		return nil, slotsReply(shown), nil
	}
	if err := c.room("setChestSlot.stack", slot); err != nil {
		return nil, nil, err
	}
	return one(event), slotsReply(shown), nil
}
