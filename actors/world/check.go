package world

import (
	"fmt"
	"math"
	"slices"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// CheckChunk returns an error that says what is wrong with the chunk c of w, or nil. It holds for every chunk that events
// of the commands make. A FULL chunk is decoded.
func CheckChunk(rules *Rules, w *skerryv1.World, c *Chunk) error {
	if problem := c.problem(); problem != "" {
		return fmt.Errorf("%w: %s", codec.ErrMalformed, problem)
	}
	if c.Height != int(w.GetHeight()) {
		return fmt.Errorf("%w: a chunk %d blocks high, the world has %d", codec.ErrMalformed, c.Height, w.GetHeight())
	}
	for i, chest := range c.Chests {
		for j, stack := range chest.GetSlots() {
			if err := rules.orDefault().Stacks.Check(stack, fmt.Sprintf("chests[%d].slots[%d]", i, j)); err != nil {
				return err
			}
		}
	}
	return c.checkIDs(w)
}

// problem says what no chunk is, whatever the rules and the world's table; "" when c is one.
func (c *Chunk) problem() string {
	if problem := c.blocksProblem(); problem != "" {
		return problem
	}
	if n := len(c.HeightMap); n != 0 && n != area {
		return fmt.Sprintf("a height map of %d numbers", n)
	}
	if len(c.Chests) > MaxChests {
		return fmt.Sprintf("%d chests", len(c.Chests))
	}
	next := uint64(0)
	for _, chest := range c.Chests {
		if uint64(chest.GetAt()) < next || int(chest.GetAt()) >= c.cells() || len(chest.GetSlots()) == 0 || len(chest.GetSlots()) > maxChestSlots {
			return fmt.Sprintf("a chest of %d slots at %d", len(chest.GetSlots()), chest.GetAt())
		}
		next = uint64(chest.GetAt()) + 1
	}
	return ""
}

func (c *Chunk) blocksProblem() string {
	ok := false
	switch c.State {
	case skerryv1.ChunkState_ABSENT:
		ok = len(c.Base) == 0 && len(c.Overlay) == 0
	case skerryv1.ChunkState_EDITED:
		ok = len(c.Base) == 0 && len(c.Overlay) > 0
	case skerryv1.ChunkState_FULL:
		ok = len(c.Base) > 0
	default: // of a newer version
	}
	if !ok {
		return fmt.Sprintf("a chunk that is %v with a column of %d bytes and %d edits", c.State, len(c.Base), len(c.Overlay))
	}
	if c.State == skerryv1.ChunkState_FULL {
		info, err := chunk.Inspect(c.Base)
		if err != nil {
			return err.Error()
		}
		if info.Height != c.Height || info.Codec == chunk.Delta {
			return fmt.Sprintf("a column that is %v %d blocks high, not %d", info.Codec, info.Height, c.Height)
		}
	}
	next := uint64(0)
	for _, edit := range c.Overlay {
		if uint64(edit.Index) < next || int(edit.Index) >= c.cells() {
			return fmt.Sprintf("an edit at %d", edit.Index)
		}
		next = uint64(edit.Index) + 1
	}
	return ""
}

// checkIDs holds every block against the world's table.
func (c *Chunk) checkIDs(w *skerryv1.World) error {
	most := asked{world: w}.greatestBlock()
	beyond := func(id uint16) bool { return int32(id) > most }
	if most == math.MaxUint16 {
		return nil
	}
	wrong := slices.ContainsFunc(c.Overlay, func(e chunk.Edit) bool { return beyond(e.ID) })
	if c.State == skerryv1.ChunkState_FULL {
		ids, err := c.Blocks()
		if err != nil {
			return err
		}
		wrong = slices.ContainsFunc(ids, beyond)
	}
	if wrong {
		return fmt.Errorf("%w: a block id over %d", ErrBadBlock, most)
	}
	return nil
}
