package world

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// setBlocks makes an event for each chunk in which something may be different then. Of a full chunk only the overlay is
// looked at: decoding its column would cost more than an edit too many.
func (a asked) setBlocks(cmd *skerryv1.SetBlocks) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	blocks := cmd.GetBlocks()
	switch {
	case len(blocks) == 0 || len(blocks)%4 != 0:
		return nil, nil, refuse(ErrBadRequest, "setBlocks.blocks", "are %d numbers, not x, y, z, block id of each block", len(blocks))
	case len(blocks) > 4*MaxBlocks:
		return nil, nil, refuse(ErrTooLarge, "setBlocks.blocks", "are %d, at most %d are allowed", len(blocks)/4, MaxBlocks)
	}
	var set coordSet
	var edits [][]chunk.Edit // of each chunk in set
	for i := 0; i < len(blocks); i += 4 {
		at, edit, err := a.edit(blocks[i:i+4], "setBlocks.blocks", i)
		if err != nil {
			return nil, nil, err
		}
		set.add(at)
		of := slices.Index(set.list, at)
		if of == len(edits) {
			edits = append(edits, nil)
		}
		edits[of] = append(edits[of], edit)
	}
	var events []*storev1.WorldEvent
	changed := 0
	for of, at := range set.list {
		c := a.chunk(at)
		fresh := slices.DeleteFunc(chunk.Sort(edits[of]), func(e chunk.Edit) bool {
			id, known := c.edited(e.Index)
			return known && id == e.ID
		})
		if len(fresh) == 0 {
			continue
		}
		changed += len(fresh)
		events = append(events, &storev1.WorldEvent{X: at.X, Z: at.Z, Event: &storev1.WorldEvent_BlocksEdited{
			BlocksEdited: &storev1.BlocksEdited{Edits: chunk.AppendEdits(nil, fresh)},
		}})
	}
	return events, &skerryv1.WorldReply{Reply: &skerryv1.WorldReply_BlocksSet{
		BlocksSet: &skerryv1.BlocksSet{Changed: int32(changed)}, //nolint:gosec // at most MaxBlocks
	}}, nil
}

// edit reads x, y, z, block id, which begin at i in the list that field names.
func (a asked) edit(block []int32, field string, i int) (Coord, chunk.Edit, error) {
	at, index, err := place(a.world, block[0], block[1], block[2], field)
	if err != nil {
		return Coord{}, chunk.Edit{}, inList(err, i+1)
	}
	id := block[3]
	if most := a.greatestBlock(); id < 0 || id > most {
		return Coord{}, chunk.Edit{}, inList(refuse(ErrBadBlock, field, "is %d, not within 0..%d", id, most), i+3)
	}
	return at, chunk.Edit{Index: index, ID: uint16(id)}, nil //nolint:gosec // checked
}

// greatestBlock is the greatest id that the world's table has.
func (a asked) greatestBlock() int32 {
	if names := a.world.GetBlockNames(); len(names) > 0 {
		return int32(len(names) - 1) //nolint:gosec // at most 65,536
	}
	return math.MaxUint16
}

func (a asked) putChunk(cmd *skerryv1.PutChunk) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	data := cmd.GetChunk()
	at := Coord{data.GetX(), data.GetZ()}
	if err := checkCoord(at, "putChunk.chunk"); err != nil {
		return nil, nil, err
	}
	if n := len(data.GetHeightMap()); n != 0 && n != area {
		return nil, nil, refuse(ErrBadRequest, "putChunk.chunk.heightMap", "has %d numbers, not %d or none", n, area)
	}
	replaced := &storev1.ChunkReplaced{HeightMap: slices.Clone(data.GetHeightMap())}
	var ids []uint16
	var err error
	state := skerryv1.ChunkState_FULL
	switch encoded, runs, edits := len(data.GetEncoded()) > 0, len(data.GetRuns())+len(data.GetPalette()) > 0, len(data.GetEdits()) > 0; {
	case encoded && !runs && !edits:
		ids, err = a.columnOf(data.GetEncoded())
	case runs && !encoded && !edits:
		ids, err = a.unrolled(data)
	case edits && !encoded && !runs:
		state = skerryv1.ChunkState_EDITED
		var list []chunk.Edit
		if list, err = a.editsOf(at, data.GetEdits()); err == nil {
			replaced.Blocks = &storev1.ChunkReplaced_Edits{Edits: chunk.AppendEdits(nil, list)}
		}
	default:
		err = refuse(ErrBadRequest, "putChunk.chunk", "needs palette and runs, or edits, or encoded, and only one of them; clearChunk makes a chunk absent")
	}
	if err != nil {
		return nil, nil, err
	}
	if asked := data.GetState(); asked != skerryv1.ChunkState_CHUNK_STATE_UNSPECIFIED && asked != state {
		return nil, nil, refuse(ErrBadRequest, "putChunk.chunk.state", "is %v, but what is given is %v", asked, state)
	}
	if ids != nil {
		replaced.Blocks = &storev1.ChunkReplaced_Column{Column: chunk.Encode(nil, ids)}
	}
	return one(&storev1.WorldEvent{X: at.X, Z: at.Z, Event: &storev1.WorldEvent_ChunkReplaced{ChunkReplaced: replaced}}), done(), nil
}

// columnOf decodes a column from outside.
func (a asked) columnOf(encoded []byte) ([]uint16, error) {
	ids, err := chunk.Decode(nil, encoded, int(a.world.GetHeight()))
	if err != nil {
		return nil, refuse(ErrBadRequest, "putChunk.chunk.encoded", "is no column of this world's height: %s", err)
	}
	if most := a.greatestBlock(); most < math.MaxUint16 {
		for i, id := range ids {
			if int32(id) > most {
				return nil, refuse(ErrBadBlock, "putChunk.chunk.encoded", "has block id %d at %d, not within 0..%d", id, i, most)
			}
		}
	}
	return ids, nil
}

// unrolled is the column that palette and runs describe.
func (a asked) unrolled(data *skerryv1.ChunkData) ([]uint16, error) {
	const field = "putChunk.chunk.runs"
	palette, err := a.palette(data.GetPalette())
	if err != nil {
		return nil, err
	}
	runs, cells := data.GetRuns(), int(a.world.GetHeight())*area
	if len(runs)%2 != 0 {
		return nil, refuse(ErrBadRequest, field, "are %d numbers, not place in palette, count of each run", len(runs))
	}
	ids := make([]uint16, 0, cells)
	for i := 0; i < len(runs); i += 2 {
		switch entry, count := runs[i], runs[i+1]; {
		case uint64(entry) >= uint64(len(palette)):
			return nil, inList(refuse(ErrBadRequest, field, "is %d, but the palette has %d blocks", entry, len(palette)), i)
		case count == 0 || uint64(count) > uint64(cells-len(ids)):
			return nil, inList(refuse(ErrBadRequest, field, "is %d, not within 1..%d, what is left of the column", count, cells-len(ids)), i+1)
		default:
			for range count {
				ids = append(ids, palette[entry])
			}
		}
	}
	if len(ids) != cells {
		return nil, refuse(ErrBadRequest, field, "are %d blocks, the column has %d", len(ids), cells)
	}
	return ids, nil
}

// palette finds the ids of blocks given by name or by number.
func (a asked) palette(names []string) ([]uint16, error) {
	const field = "putChunk.chunk.palette"
	if cells := int(a.world.GetHeight()) * area; len(names) > cells {
		return nil, refuse(ErrTooLarge, field, "has %d blocks, more than the column", len(names))
	}
	ids := make([]uint16, len(names))
	var known map[string]uint16
	for i, name := range names {
		if number, err := strconv.ParseUint(name, 10, 64); err == nil {
			if most := a.greatestBlock(); number > uint64(most) { //nolint:gosec // not negative
				return nil, inList(refuse(ErrBadBlock, field, "is %d, not within 0..%d", number, most), i)
			}
			ids[i] = uint16(number) //nolint:gosec // checked
			continue
		}
		if known == nil {
			known = make(map[string]uint16, len(a.world.GetBlockNames()))
			for id, name := range a.world.GetBlockNames() {
				known[name] = uint16(id) //nolint:gosec // at most 65,536
			}
			delete(known, "")
		}
		id, found := known[name]
		if !found {
			return nil, inList(refuse(ErrBadBlock, field, "%.80q is no block of this world", name), i)
		}
		ids[i] = id
	}
	return ids, nil
}

// editsOf reads the flat list of an edited chunk's blocks.
func (a asked) editsOf(at Coord, blocks []int32) ([]chunk.Edit, error) {
	const field = "putChunk.chunk.edits"
	if cells := int(a.world.GetHeight()) * area; len(blocks)%4 != 0 || len(blocks) > 4*cells {
		return nil, refuse(ErrBadRequest, field, "are %d numbers, not x, y, z, block id of at most %d blocks", len(blocks), cells)
	}
	edits := make([]chunk.Edit, 0, len(blocks)/4)
	for i := 0; i < len(blocks); i += 4 {
		of, edit, err := a.edit(blocks[i:i+4], field, i)
		switch {
		case err != nil:
			return nil, err
		case of != at:
			return nil, inList(refuse(ErrOutOfRange, field, "begins the block %d, %d, %d, which is not in the chunk", blocks[i], blocks[i+1], blocks[i+2]), i)
		}
		edits = append(edits, edit)
	}
	return chunk.Sort(edits), nil
}

// clearChunk refuses to lose what lies in a chest, or what a transfer may bring back. Nothing happens to an empty chunk.
func (a asked) clearChunk(cmd *skerryv1.ClearChunk) ([]*storev1.WorldEvent, *skerryv1.WorldReply, error) {
	at := Coord{cmd.GetX(), cmd.GetZ()}
	if err := checkCoord(at, "clearChunk"); err != nil {
		return nil, nil, err
	}
	c := a.chunk(at)
	if len(c.Holds) > 0 {
		return nil, nil, refuse(ErrChunkHeld, "clearChunk", "%d open transfers hold items of it", len(c.Holds))
	}
	for _, chest := range c.Chests {
		if holdsItems(chest) {
			x, y, z := position(a.world, at, chest.GetAt())
			return nil, nil, refuse(ErrChestNotEmpty, "clearChunk", "the chest at %d, %d, %d holds items", x, y, z)
		}
	}
	if c.State == skerryv1.ChunkState_ABSENT && len(c.Chests) == 0 {
		return nil, done(), nil
	}
	return one(&storev1.WorldEvent{X: at.X, Z: at.Z, Event: &storev1.WorldEvent_ChunkCleared{ChunkCleared: &storev1.ChunkCleared{}}}), done(), nil
}

// inList makes a refusal of a list name the place in it.
func inList(err error, i int) error {
	if refusal, ok := asRefusal(err); ok {
		refusal.Field += fmt.Sprintf("[%d]", i)
	}
	return err
}
