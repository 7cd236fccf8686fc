package world

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// foldAfter is how many edits a full chunk's overlay may have before they are folded into its column: then reading it, and
// adding to it, stays cheap.
const foldAfter = 2048

// Chunk is a chunk's part in memory: its blocks, never decoded, and the chests among them. Only [EvolveChunk] changes it,
// and [Chunk.Fold], which changes nothing that can be seen. It belongs to one goroutine.
type Chunk struct {
	// Height is the layers of the column.
	Height int
	// State is ABSENT, EDITED or FULL.
	State skerryv1.ChunkState
	// Base is a FULL chunk's column, encoded. Its bytes never change: another column is other memory.
	Base []byte
	// Overlay is the blocks set since, rising: over Base, or over terrain that Skerry does not hold.
	Overlay []chunk.Edit
	// Chests rise by their place. A changed chest is a new one in its place.
	Chests []*storev1.StoredChest
	// HeightMap is the game's own, of 256 numbers or none. Read-only.
	HeightMap []int32
	// Holds and Received are of transfers: what they have taken out of chests here, and what they have brought.
	Holds    []*storev1.Hold
	Received []*storev1.Received
}

// NewChunk is a chunk of w of which nothing is stored.
func NewChunk(w *skerryv1.World) *Chunk {
	return &Chunk{Height: int(w.GetHeight()), State: skerryv1.ChunkState_ABSENT}
}

// Clone is a copy that can be evolved on its own.
func (c *Chunk) Clone() *Chunk {
	copied := *c
	copied.Overlay = slices.Clone(c.Overlay)
	copied.Chests = slices.Clone(c.Chests)
	copied.Holds = slices.Clone(c.Holds)
	copied.Received = slices.Clone(c.Received)
	return &copied
}

// IsEmpty reports whether nothing of the chunk needs to be stored.
func (c *Chunk) IsEmpty() bool {
	return c.State == skerryv1.ChunkState_ABSENT && len(c.Chests) == 0 && len(c.Holds) == 0 && len(c.Received) == 0
}

// Bytes is about how much memory the chunk takes.
func (c *Chunk) Bytes() int {
	size := 256 + cap(c.Base) + 8*cap(c.Overlay) + 4*cap(c.HeightMap)
	for _, chest := range c.Chests {
		size += 128 + 2*chest.SizeVT() + 96*len(chest.GetSlots())
	}
	for _, hold := range c.Holds {
		size += 256 + 2*hold.SizeVT()
	}
	for _, received := range c.Received {
		size += 128 + 2*received.SizeVT()
	}
	return size
}

// Blocks decodes a FULL chunk: every block, y-z-x, in new memory. It returns an error for bytes that are no column, and
// panics for a chunk that is not FULL, whose blocks nobody here knows.
func (c *Chunk) Blocks() ([]uint16, error) {
	if c.State != skerryv1.ChunkState_FULL {
		panic("world: the blocks of a chunk that is " + c.State.String())
	}
	ids, err := chunk.Decode(nil, c.Base, c.Height)
	if err != nil {
		return nil, fmt.Errorf("decode column: %w", err)
	}
	chunk.Apply(ids, c.Overlay)
	return ids, nil
}

// Fold puts the overlay of a FULL chunk into its column, which is encoded anew. It changes no block.
func (c *Chunk) Fold() error {
	if len(c.Overlay) == 0 || c.State != skerryv1.ChunkState_FULL {
		return nil
	}
	ids, err := c.Blocks()
	if err != nil {
		return err
	}
	c.Base, c.Overlay = chunk.Encode(nil, ids), nil
	return nil
}

// cells is the blocks of the column.
func (c *Chunk) cells() int { return c.Height * area }

// edited reports what the overlay says of a block.
func (c *Chunk) edited(index uint32) (id uint16, known bool) {
	i, known := findEdit(c.Overlay, index)
	if !known {
		return 0, false
	}
	return c.Overlay[i].ID, true
}

// chest finds the chest at a place of the column; its index in Chests, or where it would be.
func (c *Chunk) chest(at uint32) (int, bool) {
	return slices.BinarySearchFunc(c.Chests, at, func(chest *storev1.StoredChest, at uint32) int {
		return cmp.Compare(chest.GetAt(), at)
	})
}

// reserved reports whether an open transfer holds items of a slot, which stays as it is until the transfer ends.
func (c *Chunk) reserved(at, index uint32) bool {
	for _, hold := range c.Holds {
		for _, leg := range hold.GetLegs() {
			if leg.GetChest() == at && leg.GetIndex() == index {
				return true
			}
		}
	}
	return false
}

// heldFrom reports whether an open transfer holds items of a chest.
func (c *Chunk) heldFrom(at uint32) bool {
	for _, hold := range c.Holds {
		for _, leg := range hold.GetLegs() {
			if leg.GetChest() == at {
				return true
			}
		}
	}
	return false
}

func findEdit(edits []chunk.Edit, index uint32) (int, bool) {
	return slices.BinarySearchFunc(edits, index, func(e chunk.Edit, index uint32) int { return cmp.Compare(e.Index, index) })
}

// overlaid puts edits, which rise, into overlay, in place where there is room; the newer one wins.
func overlaid(overlay, edits []chunk.Edit) []chunk.Edit {
	fresh := 0
	for _, e := range edits {
		if _, known := findEdit(overlay, e.Index); !known {
			fresh++
		}
	}
	from, to := len(overlay)-1, len(overlay)+fresh-1
	overlay = slices.Grow(overlay, fresh)[:len(overlay)+fresh]
	for i := len(edits) - 1; i >= 0; to-- { // from the end, so that nothing is overwritten before it was moved
		switch {
		case from >= 0 && overlay[from].Index > edits[i].Index:
			overlay[to] = overlay[from]
			from--
		case from >= 0 && overlay[from].Index == edits[i].Index:
			overlay[to] = edits[i]
			from--
			i--
		default:
			overlay[to] = edits[i]
			i--
		}
	}
	return overlay
}
