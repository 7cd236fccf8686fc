package world

import (
	"slices"
	"strconv"

	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Show is a chunk as a reader of the world w sees it. It shares nothing changeable with c. It returns an error for a column
// whose bytes do not decode.
func Show(w *skerryv1.World, at Coord, c *Chunk, form skerryv1.ChunkForm) (*skerryv1.ChunkData, error) {
	data := &skerryv1.ChunkData{X: at.X, Z: at.Z, State: c.State, HeightMap: slices.Clone(c.HeightMap)}
	switch c.State {
	case skerryv1.ChunkState_EDITED:
		data.Edits = make([]int32, 0, 4*len(c.Overlay))
		for _, edit := range c.Overlay {
			x, y, z := position(w, at, edit.Index)
			data.Edits = append(data.Edits, x, y, z, int32(edit.ID))
		}
	case skerryv1.ChunkState_FULL:
		if form == skerryv1.ChunkForm_ENCODED && len(c.Overlay) == 0 {
			data.Encoded = slices.Clone(c.Base)
			break
		}
		ids, err := c.Blocks()
		switch {
		case err != nil:
			return nil, err
		case form == skerryv1.ChunkForm_ENCODED:
			data.Encoded = chunk.EncodeFast(nil, ids)
		default:
			data.Palette, data.Runs = rolled(w.GetBlockNames(), ids)
		}
	default: // ABSENT: the generator knows
	}
	return data, nil
}

// ShowChests is the chests of a chunk as a reader of the world w sees them, in the order of their places. It shares nothing
// with c.
func ShowChests(w *skerryv1.World, at Coord, c *Chunk) []*skerryv1.Chest {
	chests := make([]*skerryv1.Chest, len(c.Chests))
	for i, stored := range c.Chests {
		x, y, z := position(w, at, stored.GetAt())
		chests[i] = &skerryv1.Chest{X: x, Y: y, Z: z, Slots: stored.CloneVT().GetSlots()}
	}
	return chests
}

// rolled is a column as palette, in the order in which blocks appear, and runs.
func rolled(names []string, ids []uint16) (palette []string, runs []uint32) {
	entries := map[uint16]uint32{}
	for from := 0; from < len(ids); {
		to := from + 1
		for to < len(ids) && ids[to] == ids[from] {
			to++
		}
		entry, known := entries[ids[from]]
		if !known {
			entry = uint32(len(palette)) //nolint:gosec // at most 65,536
			entries[ids[from]] = entry
			palette = append(palette, nameOf(names, ids[from]))
		}
		runs = append(runs, entry, uint32(to-from)) //nolint:gosec // within a column
		from = to
	}
	return palette, runs
}

// nameOf is a block's name, or its id in decimal where it has none.
func nameOf(names []string, id uint16) string {
	if int(id) < len(names) && names[id] != "" {
		return names[id]
	}
	return strconv.Itoa(int(id))
}
