package world

import (
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// tightRules make full chests and full stacks common.
func tightRules() *Rules {
	return &Rules{ChestSlots: 3, NameLength: 4, Stacks: items.Limits{MaxStack: 4, MaxStackByItem: map[int32]int32{2: 1}, GreatestMaxStack: 6}}
}

const tightWorld = `{"ownerName":"Ann","minY":-8,"height":16,"blockNames":["air","stone","dirt","","gold"]}`

// place3 is a place of a block in the world.
type place3 [3]int32

func drawPlace(t *rapid.T) place3 {
	return place3{rapid.Int32Range(-2, 17).Draw(t, "x"), rapid.Int32Range(-9, 8).Draw(t, "y"), rapid.Int32Range(-2, 1).Draw(t, "z")}
}

// drawChestPlace draws one of few places, so that chests are met again.
func drawChestPlace(t *rapid.T) place3 {
	return rapid.SampledFrom([]place3{{0, 0, 0}, {0, 0, 0}, {1, 0, 0}, {-1, 7, 0}, {-1, 7, 0}, {16, -8, -1}, {0, 8, 0}}).Draw(t, "chest")
}

func drawSlot(t *rapid.T) int32 {
	return rapid.SampledFrom([]int32{0, 0, 1, 1, 2, -1, 3}).Draw(t, "slot")
}

func drawSlotRef(t *rapid.T) *skerryv1.ChestSlotRef {
	at := drawChestPlace(t)
	return &skerryv1.ChestSlotRef{X: at[0], Y: at[1], Z: at[2], Index: drawSlot(t)}
}

func drawMetadata(t *rapid.T) *structpb.Struct {
	if rapid.IntRange(0, 2).Draw(t, "with metadata") > 0 {
		return nil
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{"a": structpb.NewNumberValue(float64(rapid.IntRange(0, 1).Draw(t, "a")))}}
}

// drawChunk draws what putChunk takes, mostly good.
func drawChunk(t *rapid.T) *skerryv1.ChunkData {
	data := &skerryv1.ChunkData{X: rapid.Int32Range(-1, 1).Draw(t, "x"), Z: rapid.Int32Range(-1, 0).Draw(t, "z")}
	if rapid.IntRange(0, 3).Draw(t, "height map") == 0 {
		data.HeightMap = slices.Repeat([]int32{rapid.Int32().Draw(t, "height")}, area)
	}
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		for range rapid.IntRange(0, 3).Draw(t, "edits") {
			data.Edits = append(data.Edits, data.GetX()*16+rapid.Int32Range(0, 15).Draw(t, "x"), rapid.Int32Range(-8, 7).Draw(t, "y"),
				data.GetZ()*16+rapid.Int32Range(0, 15).Draw(t, "z"), rapid.Int32Range(0, 4).Draw(t, "id"))
		}
	case 1:
		ids := slices.Repeat([]uint16{uint16(rapid.IntRange(0, 5).Draw(t, "id"))}, 16*area)
		ids[rapid.IntRange(0, len(ids)-1).Draw(t, "at")] = 2
		data.Encoded = chunk.Encode(nil, ids)
	default:
		data.Palette = []string{"air", "3", rapid.SampledFrom([]string{"stone", "dirt", "gold", "4", "5", "tin"}).Draw(t, "block")}
		left := uint32(16 * area)
		for left > 0 {
			run := rapid.Uint32Range(1, left).Draw(t, "run")
			data.Runs = append(data.Runs, rapid.Uint32Range(0, 2).Draw(t, "entry"), run)
			left -= run
		}
	}
	return data
}

// drawCommand draws any command, good or bad.
func drawCommand(t *rapid.T) *skerryv1.WorldCommand {
	player := func() string { return rapid.SampledFrom([]string{"7", "8", "9", "", "a b"}).Draw(t, "player") }
	name := func() string {
		return rapid.SampledFrom([]string{"Ann", "Bob", "", "a\x00", "Maximilian", "\xff"}).Draw(t, "name")
	}
	cmd := &skerryv1.WorldCommand{As: rapid.SampledFrom([]string{"", "", "", "7", "8", "9"}).Draw(t, "as")}
	switch rapid.IntRange(1, 20).Draw(t, "command") {
	case 1:
		cmd.Command = &skerryv1.WorldCommand_Claim{Claim: &skerryv1.Claim{Player: player(), Name: name()}}
	case 2:
		cmd.Command = &skerryv1.WorldCommand_GiveAway{GiveAway: &skerryv1.GiveAway{Player: player(), Name: name()}}
	case 3:
		cmd.Command = &skerryv1.WorldCommand_SetRole{SetRole: &skerryv1.SetRole{Player: player(), Role: skerryv1.Role(rapid.Int32Range(0, 4).Draw(t, "role"))}}
	case 4:
		cmd.Command = &skerryv1.WorldCommand_Rename{Rename: &skerryv1.Rename{Name: name()}}
	case 5:
		cmd.Command = &skerryv1.WorldCommand_Describe{Describe: &skerryv1.Describe{Description: name()}}
	case 6, 7:
		cmd.Command = &skerryv1.WorldCommand_PutChunk{PutChunk: &skerryv1.PutChunk{Chunk: drawChunk(t)}}
	case 8:
		cmd.Command = &skerryv1.WorldCommand_ClearChunk{ClearChunk: &skerryv1.ClearChunk{X: rapid.Int32Range(-1, 1).Draw(t, "x"), Z: rapid.Int32Range(-1, 0).Draw(t, "z")}}
	case 9, 10, 11, 12, 13, 14, 15, 16, 17:
		drawChestCommand(t, cmd)
	default:
		set := &skerryv1.SetBlocks{}
		for range rapid.IntRange(1, 6).Draw(t, "blocks") {
			at := drawPlace(t)
			set.Blocks = append(set.Blocks, at[0], at[1], at[2], rapid.Int32Range(0, 4).Draw(t, "id"))
		}
		cmd.Command = &skerryv1.WorldCommand_SetBlocks{SetBlocks: set}
	}
	return cmd
}

// drawChestCommand makes cmd any command of a chest.
func drawChestCommand(t *rapid.T, cmd *skerryv1.WorldCommand) {
	at := drawChestPlace(t)
	item, count := rapid.SampledFrom([]int32{1, 1, 2, 3, 0}).Draw(t, "item"), rapid.SampledFrom([]int32{0, 1, 1, 2, 3, 7, -1}).Draw(t, "count")
	var slot *int32
	if rapid.Bool().Draw(t, "one slot") {
		slot = new(drawSlot(t))
	}
	switch rapid.IntRange(1, 9).Draw(t, "chest command") {
	case 1:
		cmd.Command = &skerryv1.WorldCommand_PlaceChest{PlaceChest: &skerryv1.PlaceChest{X: at[0], Y: at[1], Z: at[2]}}
	case 2:
		cmd.Command = &skerryv1.WorldCommand_RemoveChest{RemoveChest: &skerryv1.RemoveChest{X: at[0], Y: at[1], Z: at[2]}}
	case 3, 4:
		cmd.Command = &skerryv1.WorldCommand_ChestPut{ChestPut: &skerryv1.ChestPut{X: at[0], Y: at[1], Z: at[2], Slot: slot, ItemId: item, Count: count, Metadata: drawMetadata(t)}}
	case 5, 6:
		cmd.Command = &skerryv1.WorldCommand_ChestTake{ChestTake: &skerryv1.ChestTake{X: at[0], Y: at[1], Z: at[2], Slot: slot, ItemId: item, Count: count}}
	case 7, 8:
		cmd.Command = &skerryv1.WorldCommand_ChestMove{ChestMove: &skerryv1.ChestMove{From: drawSlotRef(t), To: drawSlotRef(t), Count: count}}
	default:
		stack := &skerryv1.ItemStack{ItemId: item, Count: count, Metadata: drawMetadata(t)}
		cmd.Command = &skerryv1.WorldCommand_SetChestSlot{SetChestSlot: &skerryv1.SetChestSlot{Slot: drawSlotRef(t), Stack: stack}}
	}
}

// model is the simplest thing that knows the blocks and chests: maps of those that are stored.
type model struct {
	blocks map[place3]uint16
	full   map[Coord]bool
	chests map[place3]bool
}

func (m *model) clear(at Coord) {
	maps.DeleteFunc(m.blocks, func(p place3, _ uint16) bool { return Coord{p[0] >> 4, p[2] >> 4} == at })
	delete(m.full, at)
}

// apply does an accepted command.
func (m *model) apply(t *rapid.T, cmd *skerryv1.WorldCommand) {
	set := func(flat []int32) {
		for ; len(flat) > 0; flat = flat[4:] {
			m.blocks[place3(flat[:3])] = uint16(flat[3]) //nolint:gosec // accepted
		}
	}
	switch c := cmd.GetCommand().(type) {
	case *skerryv1.WorldCommand_SetBlocks:
		set(c.SetBlocks.GetBlocks())
	case *skerryv1.WorldCommand_ClearChunk:
		at := Coord{c.ClearChunk.GetX(), c.ClearChunk.GetZ()}
		m.clear(at)
		maps.DeleteFunc(m.chests, func(p place3, _ bool) bool { return coordOf(p[0], p[2]) == at })
	case *skerryv1.WorldCommand_PlaceChest:
		m.chests[place3{c.PlaceChest.GetX(), c.PlaceChest.GetY(), c.PlaceChest.GetZ()}] = true
	case *skerryv1.WorldCommand_RemoveChest:
		delete(m.chests, place3{c.RemoveChest.GetX(), c.RemoveChest.GetY(), c.RemoveChest.GetZ()})
	case *skerryv1.WorldCommand_PutChunk:
		data := c.PutChunk.GetChunk()
		at := Coord{data.GetX(), data.GetZ()}
		m.clear(at)
		set(data.GetEdits())
		if len(data.GetEdits()) == 0 {
			m.full[at] = true
			maps.Copy(m.blocks, blocksOf(t, data))
		}
	}
}

// blocksOf is the blocks of a chunk as the API shows or takes it, found by other code than the rules'.
func blocksOf(t interface{ Fatal(...any) }, data *skerryv1.ChunkData) map[place3]uint16 {
	blocks := map[place3]uint16{}
	for edits := data.GetEdits(); len(edits) > 0; edits = edits[4:] {
		blocks[place3(edits[:3])] = uint16(edits[3]) //nolint:gosec // accepted
	}
	var ids []uint16
	for runs := data.GetRuns(); len(runs) > 0; runs = runs[2:] {
		block := data.GetPalette()[runs[0]]
		id := slices.Index([]string{"air", "stone", "dirt", "", "gold"}, block)
		if id < 0 {
			id, _ = strconv.Atoi(block)
		}
		ids = append(ids, slices.Repeat([]uint16{uint16(id)}, int(runs[1]))...) //nolint:gosec // accepted
	}
	if len(data.GetEncoded()) > 0 {
		var err error
		if ids, err = chunk.Decode(nil, data.GetEncoded(), 16); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range ids {
		blocks[place3{data.GetX()*16 + int32(i%16), int32(i/256) - 8, data.GetZ()*16 + int32(i/16%16)}] = id //nolint:gosec // small
	}
	return blocks
}

// check holds the land against the model.
func (m *model) check(t *rapid.T, l *land) {
	shown, chests := map[place3]uint16{}, map[place3]bool{}
	for at, c := range l.chunks {
		if err := CheckChunk(l.rules, l.world, c); err != nil {
			t.Fatalf("%v: %v", at, err)
		}
		form := skerryv1.ChunkForm(rapid.Int32Range(0, 2).Draw(t, "form"))
		data, err := Show(l.world, at, c, form)
		if err != nil {
			t.Fatal(err)
		}
		if full := data.GetState() == skerryv1.ChunkState_FULL; full != m.full[at] {
			t.Fatalf("%v is %v", at, data.GetState())
		}
		blocks := blocksOf(t, data)
		if absent := data.GetState() == skerryv1.ChunkState_ABSENT; absent != (len(blocks) == 0) {
			t.Fatalf("%v is %v with %d blocks", at, data.GetState(), len(blocks))
		}
		maps.Copy(shown, blocks)
		for _, chest := range ShowChests(l.world, at, c) {
			chests[place3{chest.GetX(), chest.GetY(), chest.GetZ()}] = true
		}
	}
	if !maps.Equal(chests, m.chests) {
		t.Fatalf("the chests are %v, the model has %v", chests, m.chests)
	}
	if !maps.Equal(shown, m.blocks) {
		t.Fatalf("%d blocks are stored, the model has %d", len(shown), len(m.blocks))
	}
}

// scribble overwrites everything in m in place, as a caller does who uses a message's memory again.
func scribble(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, inner protoreflect.Value) bool {
				if field.MapValue().Message() != nil {
					scribble(inner.Message())
				}
				value.Map().Clear(key)
				return true
			})
		case field.IsList():
			for i := range value.List().Len() {
				switch field.Kind() {
				case protoreflect.MessageKind:
					scribble(value.List().Get(i).Message())
				case protoreflect.Sint32Kind:
					value.List().Set(i, protoreflect.ValueOfInt32(-77))
				case protoreflect.Uint32Kind:
					value.List().Set(i, protoreflect.ValueOfUint32(77))
				case protoreflect.StringKind:
					value.List().Set(i, protoreflect.ValueOfString("scribbled"))
				default:
				}
			}
		case field.Message() != nil:
			scribble(value.Message())
		case field.Kind() == protoreflect.BytesKind:
			for i := range value.Bytes() {
				value.Bytes()[i] ^= 0xff
			}
		}
		m.Clear(field)
		return true
	})
}
