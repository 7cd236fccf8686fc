package world

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Evolve applies what happened to the world's main part. It applies results, never rules, keeps no memory of e, and changes
// nothing when it returns an error, which wraps [ErrUnknownEvent]; so does the event of a chunk. w belongs to the caller
// and is not nil; a new world's is empty.
func Evolve(w *skerryv1.World, e *storev1.WorldEvent) error {
	switch event := e.GetEvent().(type) {
	case *storev1.WorldEvent_Created:
		if event.Created == nil {
			return fmt.Errorf("%w: a document that is not there", ErrUnknownEvent)
		}
		proto.Reset(w)
		proto.Merge(w, event.Created)
	case *storev1.WorldEvent_OwnerChanged:
		w.OwnerId = strings.Clone(event.OwnerChanged.GetOwnerId())
		w.OwnerName = strings.Clone(event.OwnerChanged.GetOwnerName())
		delete(w.Roles, w.OwnerId)
	case *storev1.WorldEvent_RoleChanged:
		if event.RoleChanged.GetRole() == skerryv1.Role_VISITOR {
			delete(w.Roles, event.RoleChanged.GetPlayer())
			break
		}
		if w.Roles == nil {
			w.Roles = map[string]skerryv1.Role{}
		}
		w.Roles[strings.Clone(event.RoleChanged.GetPlayer())] = event.RoleChanged.GetRole()
	case *storev1.WorldEvent_Renamed:
		w.Metadata = metadata(w)
		w.Metadata.Name = strings.Clone(event.Renamed.GetName())
	case *storev1.WorldEvent_Described:
		w.Metadata = metadata(w)
		w.Metadata.Description = strings.Clone(event.Described.GetDescription())
	default:
		return fmt.Errorf("%w: %T", ErrUnknownEvent, event)
	}
	return nil
}

// metadata is a copy of w's: a draft shares it.
func metadata(w *skerryv1.World) *skerryv1.WorldMetadata {
	if m := w.GetMetadata().CloneVT(); m != nil {
		return m
	}
	return &skerryv1.WorldMetadata{}
}

// EvolveChunk applies what happened to the chunk c, as [Evolve] does to the main part. Which chunk c is, the caller knows.
func EvolveChunk(c *Chunk, e *storev1.WorldEvent) error {
	var err error
	switch event := e.GetEvent().(type) {
	case *storev1.WorldEvent_BlocksEdited:
		err = c.edit(event.BlocksEdited.GetEdits())
	case *storev1.WorldEvent_ChunkReplaced:
		err = c.replace(event.ChunkReplaced)
	case *storev1.WorldEvent_ChunkCleared:
		c.State, c.Base, c.Overlay, c.Chests, c.HeightMap = skerryv1.ChunkState_ABSENT, nil, nil, nil, nil
	case *storev1.WorldEvent_ChestPlaced:
		err = c.placeChest(event.ChestPlaced)
	case *storev1.WorldEvent_ChestRemoved:
		i, found := c.chest(event.ChestRemoved.GetAt())
		if !found {
			return fmt.Errorf("%w: no chest at %d", ErrUnknownEvent, event.ChestRemoved.GetAt())
		}
		c.Chests = slices.Delete(c.Chests, i, i+1)
	case *storev1.WorldEvent_ChestSlotsSet:
		err = c.setChestSlots(event.ChestSlotsSet)
	case *storev1.WorldEvent_Transfer:
		err = transfer.Book{Received: &c.Received}.Evolve(event.Transfer)
	default:
		err = fmt.Errorf("%T of a chunk", event)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownEvent, err)
	}
	return nil
}

func (c *Chunk) edit(data []byte) error {
	edits, err := chunk.ReadEdits(nil, data, c.Height)
	switch {
	case err != nil:
		return err
	case len(edits) == 0:
		return errors.New("an edit of no block")
	}
	next := Chunk{Height: c.Height, State: c.State, Base: c.Base, Overlay: c.Overlay}
	if c.State == skerryv1.ChunkState_FULL && len(c.Overlay)+len(edits) > foldAfter { // Fold can fail
		next.Overlay = slices.Clone(c.Overlay)
	}
	next.Overlay = overlaid(next.Overlay, edits)
	if next.State == skerryv1.ChunkState_ABSENT {
		next.State = skerryv1.ChunkState_EDITED
	}
	if next.State == skerryv1.ChunkState_EDITED {
		next.complete()
	} else if len(next.Overlay) > foldAfter {
		if err := next.Fold(); err != nil {
			return err
		}
	}
	c.State, c.Base, c.Overlay = next.State, next.Base, next.Overlay
	return nil
}

// complete makes an edited chunk full when every block of it is known: then nothing of the terrain is left.
func (c *Chunk) complete() {
	if len(c.Overlay) < c.cells() {
		return
	}
	ids := make([]uint16, c.cells())
	chunk.Apply(ids, c.Overlay)
	c.State, c.Base, c.Overlay = skerryv1.ChunkState_FULL, chunk.Encode(nil, ids), nil
}

func (c *Chunk) replace(e *storev1.ChunkReplaced) error {
	next := Chunk{Height: c.Height}
	switch blocks := e.GetBlocks().(type) {
	case *storev1.ChunkReplaced_Column:
		info, err := chunk.Inspect(blocks.Column)
		switch {
		case err != nil:
			return err
		case info.Height != c.Height || info.Codec == chunk.Delta:
			return fmt.Errorf("%v %d blocks high", info.Codec, info.Height)
		}
		next.State, next.Base = skerryv1.ChunkState_FULL, slices.Clone(blocks.Column)
	case *storev1.ChunkReplaced_Edits:
		edits, err := chunk.ReadEdits(nil, blocks.Edits, c.Height)
		switch {
		case err != nil:
			return err
		case len(edits) == 0:
			return errors.New("an edited chunk without edits")
		}
		next.State, next.Overlay = skerryv1.ChunkState_EDITED, edits
		next.complete()
	default:
		return fmt.Errorf("a chunk of %T", blocks)
	}
	if n := len(e.GetHeightMap()); n != 0 && n != area {
		return fmt.Errorf("a height map of %d numbers", n)
	}
	c.State, c.Base, c.Overlay = next.State, next.Base, next.Overlay
	c.HeightMap = slices.Clone(e.GetHeightMap())
	return nil
}

func (c *Chunk) placeChest(e *storev1.ChestPlaced) error {
	i, found := c.chest(e.GetAt())
	switch {
	case found || len(c.Chests) >= MaxChests:
		return fmt.Errorf("a chest at %d, where one is, or one too many", e.GetAt())
	case uint64(e.GetAt()) >= uint64(c.cells()) || e.GetSlots() < 1 || e.GetSlots() > maxChestSlots:
		return fmt.Errorf("a chest at %d with %d slots", e.GetAt(), e.GetSlots())
	}
	chest := &storev1.StoredChest{At: e.GetAt(), Slots: make([]*skerryv1.ItemStack, e.GetSlots())}
	for i := range chest.Slots {
		chest.Slots[i] = &skerryv1.ItemStack{}
	}
	c.Chests = slices.Insert(c.Chests, i, chest)
	return nil
}

// setChestSlots puts new stacks in place of old ones. A slot that the chest does not have yet is made, with those before it.
func (c *Chunk) setChestSlots(e *storev1.ChestSlotsSet) error {
	i, found := c.chest(e.GetAt())
	if !found {
		return fmt.Errorf("no chest at %d", e.GetAt())
	}
	old := c.Chests[i]
	chest := &storev1.StoredChest{At: old.GetAt(), Slots: slices.Clone(old.GetSlots())}
	chest.ProtoReflect().SetUnknown(slices.Clone(old.ProtoReflect().GetUnknown()))
	for _, slot := range e.GetSlots() {
		if slot.GetIndex() >= maxChestSlots {
			return fmt.Errorf("slot %d of a chest", slot.GetIndex())
		}
		for len(chest.Slots) <= int(slot.GetIndex()) {
			chest.Slots = append(chest.Slots, &skerryv1.ItemStack{})
		}
		stack := slot.GetStack().CloneVT()
		if stack == nil {
			stack = &skerryv1.ItemStack{}
		}
		chest.Slots[slot.GetIndex()] = stack
	}
	c.Chests[i] = chest
	return nil
}
