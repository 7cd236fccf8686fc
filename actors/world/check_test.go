package world

import (
	"errors"
	"slices"
	"testing"

	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Goal: the check that the other tests rely on sees each thing that can be wrong.
func TestCheckChunkSees(t *testing.T) {
	l := island(t)
	height32, delta := chunk.Encode(nil, make([]uint16, 32*area)), chunk.AppendDelta(nil, 16, 1, nil)
	chest := func(at uint32, stacks ...*skerryv1.ItemStack) *storev1.StoredChest {
		return &storev1.StoredChest{At: at, Slots: stacks}
	}
	none := &skerryv1.ItemStack{}
	for name, spoil := range map[string]func(*Chunk){
		"no state":           func(c *Chunk) { c.State = 0 },
		"absent, a column":   func(c *Chunk) { c.State = skerryv1.ChunkState_ABSENT },
		"edited, a column":   func(c *Chunk) { c.State = skerryv1.ChunkState_EDITED },
		"edited, no edits":   func(c *Chunk) { c.State, c.Base = skerryv1.ChunkState_EDITED, nil },
		"full, no column":    func(c *Chunk) { c.Base = nil },
		"a damaged column":   func(c *Chunk) { c.Base = slices.Concat(c.Base[:5], []byte{c.Base[5] ^ 1}, c.Base[6:]) },
		"another height":     func(c *Chunk) { c.Base = height32 },
		"the world's height": func(c *Chunk) { c.Base, c.Height = height32, 32 },
		"a delta":            func(c *Chunk) { c.Base = delta },
		"edits that fall":    func(c *Chunk) { c.Overlay = []chunk.Edit{{Index: 2}, {Index: 1}} },
		"an edit twice":      func(c *Chunk) { c.Overlay = []chunk.Edit{{Index: 2}, {Index: 2}} },
		"an edit outside":    func(c *Chunk) { c.Overlay = []chunk.Edit{{Index: 16 * area}} },
		"an unknown block":   func(c *Chunk) { c.Overlay = []chunk.Edit{{Index: 2, ID: 3}} },
		"a column with one":  func(c *Chunk) { c.Base = chunk.Encode(nil, slices.Repeat([]uint16{3}, 16*area)) },
		"a short height map": func(c *Chunk) { c.HeightMap = []int32{1} },
		"chests that fall":   func(c *Chunk) { c.Chests = []*storev1.StoredChest{chest(2, none), chest(1, none)} },
		"a chest outside":    func(c *Chunk) { c.Chests = []*storev1.StoredChest{chest(16*area, none)} },
		"a chest of nothing": func(c *Chunk) { c.Chests = []*storev1.StoredChest{chest(2)} },
		"too many chests": func(c *Chunk) {
			for at := range uint32(MaxChests + 1) {
				c.Chests = append(c.Chests, chest(at, none))
			}
		},
		"a stack too large": func(c *Chunk) {
			c.Chests = []*storev1.StoredChest{chest(2, &skerryv1.ItemStack{ItemId: 1, Count: 9, MaxStack: 8})}
		},
	} {
		c := l.chunks[Coord{2, 2}].Clone()
		if err := CheckChunk(nil, l.world, c); err != nil {
			t.Fatal(err)
		}
		spoil(c)
		if CheckChunk(nil, l.world, c) == nil {
			t.Errorf("%s is not seen", name)
		}
	}
}

// Goal: an event that no chunk can have is refused as unknown and changes nothing, whatever it is.
func TestEvolveChunkRefuses(t *testing.T) {
	l := island(t)
	height32 := chunk.Encode(nil, make([]uint16, 32*area))
	column, edits := l.chunks[Coord{2, 2}].Base, chunk.AppendEdits(nil, []chunk.Edit{{Index: 3, ID: 1}})
	outside := chunk.AppendEdits(nil, []chunk.Edit{{Index: 16 * area, ID: 1}})
	replaced := func(e *storev1.ChunkReplaced) *storev1.WorldEvent {
		return &storev1.WorldEvent{Event: &storev1.WorldEvent_ChunkReplaced{ChunkReplaced: e}}
	}
	edited := func(data []byte) *storev1.WorldEvent {
		return &storev1.WorldEvent{Event: &storev1.WorldEvent_BlocksEdited{BlocksEdited: &storev1.BlocksEdited{Edits: data}}}
	}
	placed := func(at, slots uint32) *storev1.WorldEvent {
		return &storev1.WorldEvent{Event: &storev1.WorldEvent_ChestPlaced{ChestPlaced: &storev1.ChestPlaced{At: at, Slots: slots}}}
	}
	set := func(at, index uint32) *storev1.WorldEvent {
		return &storev1.WorldEvent{Event: &storev1.WorldEvent_ChestSlotsSet{ChestSlotsSet: &storev1.ChestSlotsSet{At: at, Slots: []*storev1.StackAt{{Index: index}}}}}
	}
	there := l.chunks[Coord{}].Chests[0].GetAt()
	for name, event := range map[string]*storev1.WorldEvent{
		"edits of nothing":   edited(chunk.AppendEdits(nil, nil)),
		"edits outside":      edited(outside),
		"edits that are not": edited([]byte("x")),
		"no edits":           edited(nil),
		"nothing in place":   replaced(&storev1.ChunkReplaced{}),
		"another height":     replaced(&storev1.ChunkReplaced{Blocks: &storev1.ChunkReplaced_Column{Column: height32}}),
		"a delta":            replaced(&storev1.ChunkReplaced{Blocks: &storev1.ChunkReplaced_Column{Column: chunk.AppendDelta(nil, 16, 1, nil)}}),
		"a damaged column":   replaced(&storev1.ChunkReplaced{Blocks: &storev1.ChunkReplaced_Column{Column: column[1:]}}),
		"an edited nothing":  replaced(&storev1.ChunkReplaced{Blocks: &storev1.ChunkReplaced_Edits{Edits: chunk.AppendEdits(nil, nil)}}),
		"edited outside":     replaced(&storev1.ChunkReplaced{Blocks: &storev1.ChunkReplaced_Edits{Edits: outside}}),
		"short height map":   replaced(&storev1.ChunkReplaced{Blocks: &storev1.ChunkReplaced_Edits{Edits: edits}, HeightMap: []int32{1}}),
		"a chest on another": placed(there, 27),
		"a chest outside":    placed(16*area, 27),
		"a chest of nothing": placed(7, 0),
		"a huge chest":       placed(7, maxChestSlots+1),
		"no chest removed":   {Event: &storev1.WorldEvent_ChestRemoved{ChestRemoved: &storev1.ChestRemoved{At: 7}}},
		"no chest set":       set(7, 0),
		"a slot too far":     set(there, maxChestSlots),
		"nothing":            {},
	} {
		c := l.chunks[Coord{}].Clone()
		before := fingerprint(c)
		if err := EvolveChunk(c, event); !errors.Is(err, ErrUnknownEvent) || fingerprint(c) != before {
			t.Errorf("%s: %v, and %s", name, err, fingerprint(c))
		}
	}

	c := l.chunks[Coord{2, 2}].Clone() // one whose column does not decode when it is to be folded
	for i := range foldAfter {
		c.Overlay = append(c.Overlay, chunk.Edit{Index: uint32(2*i + 1)}) //nolint:gosec // small
	}
	c.Base = slices.Concat(c.Base[:5], []byte{c.Base[5] ^ 1}, c.Base[6:])
	c.Overlay = slices.Grow(c.Overlay, 9)
	before := fingerprint(c)
	if err := EvolveChunk(c, edited(chunk.AppendEdits(nil, []chunk.Edit{{Index: 0, ID: 1}}))); err == nil || fingerprint(c) != before {
		t.Errorf("a column that does not decode: %v", err)
	}
}
