package world

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// filled shows the filled slots of a chunk's first chest, as slot:item×count.
func (l *land) filled(at Coord) string {
	var words []string
	for index, stack := range l.chunks[at].Chests[0].GetSlots() {
		if stack.GetItemId() != 0 {
			words = append(words, fmt.Sprintf("%d:%d×%d", index, stack.GetItemId(), stack.GetCount()))
		}
	}
	return strings.Join(words, " ")
}

// Goal: chests move items as a player's slots do, also from chunk to chunk.
// Method: commands one after the other, and what both chests hold after each.
func TestChests(t *testing.T) {
	l := island(t) // one chest with 70 of item 3 in chunk -1, -1, an empty one in chunk 0, 0
	const first, second = `"x":-1,"y":0,"z":-16`, `"x":0,"y":0,"z":0`
	for _, step := range []struct{ command, here, there, changed string }{
		{`{"chestPut":{` + first + `,"slot":5,"itemId":4,"count":2}}`, "0:3×64 1:3×6 5:4×2", "", "5"},
		{`{"chestPut":{` + first + `,"slot":5,"itemId":4,"count":62}}`, "0:3×64 1:3×6 5:4×64", "", "5"},
		{`{"chestPut":{` + first + `,"itemId":3,"count":60}}`, "0:3×64 1:3×64 2:3×2 5:4×64", "", "1 2"},
		{`{"chestPut":{` + second + `,"itemId":3,"count":1,"metadata":{"gold":true}}}`, "0:3×64 1:3×64 2:3×2 5:4×64", "0:3×1", "0"},
		{`{"chestPut":{` + second + `,"itemId":3,"count":1}}`, "0:3×64 1:3×64 2:3×2 5:4×64", "0:3×1 1:3×1", "1"}, // other metadata
		{`{"chestTake":{` + first + `,"itemId":3,"count":5}}`, "0:3×64 1:3×61 5:4×64", "0:3×1 1:3×1", "2 1"},
		{`{"chestTake":{` + first + `,"slot":5}}`, "0:3×64 1:3×61", "0:3×1 1:3×1", "5"},
		{`{"chestTake":{` + first + `,"slot":0,"itemId":3,"count":4}}`, "0:3×60 1:3×61", "0:3×1 1:3×1", "0"},
		{`{"chestMove":{"from":{` + first + `,"index":1},"to":{` + first + `,"index":0},"count":4}}`, "0:3×64 1:3×57", "0:3×1 1:3×1", "1 0"},
		{`{"chestMove":{"from":{` + first + `,"index":1},"to":{` + second + `,"index":1}}}`, "0:3×64", "0:3×1 1:3×58", "1 1"},
		{`{"chestMove":{"from":{` + second + `,"index":0},"to":{` + first + `,"index":9}}}`, "0:3×64 9:3×1", "1:3×58", "0 9"},
		{`{"setChestSlot":{"slot":{` + second + `,"index":1},"stack":{"itemId":8,"count":1,"maxStack":1}}}`, "0:3×64 9:3×1", "1:8×1", "1"},
		{`{"setChestSlot":{"slot":{` + second + `,"index":1}}}`, "0:3×64 9:3×1", "", "1"},
	} {
		reply := l.run(step.command)
		var changed []string
		for _, slot := range reply.GetChestSlots().GetSlots() {
			changed = append(changed, fmt.Sprint(slot.GetIndex()))
		}
		if here, there := l.filled(Coord{-1, -1}), l.filled(Coord{}); here != step.here || there != step.there || strings.Join(changed, " ") != step.changed {
			t.Fatalf("%s\n----\n%s | %s | changed %v\nwant\n%s | %s | changed %s", step.command, here, there, changed, step.here, step.there, step.changed)
		}
	}
	chests := ShowChests(l.world, Coord{-1, -1}, l.chunks[Coord{-1, -1}])
	if len(chests) != 1 || chests[0].GetX() != -1 || chests[0].GetY() != 0 || chests[0].GetZ() != -16 || len(chests[0].GetSlots()) != 27 || chests[0].GetSlots()[9].GetItemId() != 3 {
		t.Errorf("shown as %v", chests)
	}
	chests[0].Slots[9].Count = 99
	if l.filled(Coord{-1, -1}) != "0:3×64 9:3×1" {
		t.Error("what is shown is what is stored")
	}
}

// However much is put into chests, the chunk can be stored; taking is never refused.
func TestChestsStayStorable(t *testing.T) {
	l := island(t)
	metadata, refused := strings.Repeat("x", 1000), 0
	for i := range 250 {
		l.run(fmt.Sprintf(`{"placeChest":{"x":%d,"y":1,"z":%d}}`, i%16, i/16))
		for slot := range 27 {
			cmd := command(t, fmt.Sprintf(`{"setChestSlot":{"slot":{"x":%d,"y":1,"z":%d,"index":%d},"stack":{"itemId":8,"count":1,"maxStack":1,"metadata":{"a":%q}}}}`, i%16, i/16, slot, metadata))
			events, _, err := l.decide(cmd)
			if errors.Is(err, ErrTooLarge) {
				refused++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			l.evolve(events)
		}
	}
	part, err := l.chunks[Coord{}].Save(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = codec.EncodeChunk(part); err != nil || refused == 0 {
		t.Errorf("%d bytes after %d refusals: %v", part.SizeVT(), refused, err)
	}
	l.run(`{"chestTake":{"x":0,"y":1,"z":0,"slot":3}}`)
}

// Later rules with more slots give them at once; with fewer, nothing is lost.
func TestChestsKeepTheirSlots(t *testing.T) {
	l := newLand(t, &Rules{ChestSlots: 2}, "7", `{}`)
	l.run(`{"placeChest":{"x":0,"y":0,"z":0}}`, `{"chestPut":{"x":0,"y":0,"z":0,"slot":1,"itemId":1,"count":1}}`)
	l.rules = &Rules{ChestSlots: 4}
	l.run(`{"chestPut":{"x":0,"y":0,"z":0,"slot":3,"itemId":2,"count":1}}`)
	if got := l.filled(Coord{}); got != "1:1×1 3:2×1" || len(l.chunks[Coord{}].Chests[0].GetSlots()) != 4 {
		t.Errorf("holds %s", got)
	}
	l.rules = &Rules{ChestSlots: 1}
	l.run(`{"chestTake":{"x":0,"y":0,"z":0,"itemId":2,"count":1}}`)
	if got := l.filled(Coord{}); got != "1:1×1" {
		t.Errorf("holds %s", got)
	}
}

func TestNeeds(t *testing.T) {
	refs := func(xs ...int32) (list []*skerryv1.ChunkRef) {
		for _, x := range xs {
			list = append(list, &skerryv1.ChunkRef{X: x, Z: -x})
		}
		return list
	}
	many := make([]int32, MaxChunks+1)
	for name, c := range map[string]struct {
		request *skerryv1.Request
		want    []Coord
	}{
		"another kind": {&skerryv1.Request{Request: &skerryv1.Request_GetPlayer{}}, nil},
		"get":          {&skerryv1.Request{Request: &skerryv1.Request_GetChunk{GetChunk: &skerryv1.GetChunkRequest{X: 3, Z: -4}}}, []Coord{{3, -4}}},
		"put":          {&skerryv1.Request{Request: &skerryv1.Request_PutChunk{PutChunk: &skerryv1.PutChunkRequest{X: 3, Z: -4}}}, []Coord{{3, -4}}},
		"several":      {&skerryv1.Request{Request: &skerryv1.Request_GetChunks{GetChunks: &skerryv1.GetChunksRequest{Chunks: refs(2, 1, 2)}}}, []Coord{{2, -2}, {1, -1}}},
		"too many":     {&skerryv1.Request{Request: &skerryv1.Request_GetChunks{GetChunks: &skerryv1.GetChunksRequest{Chunks: refs(many...)}}}, nil},
		"commands": {execute([]*skerryv1.WorldCommand{
			command(t, `{"setBlocks":{"blocks":[-1,0,16,1, 15,0,31,1, -16,0,16,1, 7]}}`), command(t, `{"clearChunk":{"x":5,"z":5}}`),
			command(t, `{"chestMove":{"from":{"x":80},"to":{"x":-17}}}`), command(t, `{"rename":{"name":"x"}}`),
			{},
		}), []Coord{{-1, 1}, {0, 1}, {5, 5}, {5, 0}, {-2, 0}}},
		"too many commands": {execute(slices.Repeat([]*skerryv1.WorldCommand{command(t, `{"clearChunk":{"x":5,"z":5}}`)}, MaxCommands+1)), nil},
	} {
		if got := Needs(c.request); !slices.Equal(got, c.want) {
			t.Errorf("%s needs %v, want %v", name, got, c.want)
		}
	}
}

func TestDecideIsATurnOfOne(t *testing.T) {
	l := island(t)
	parts := loaded{l, []Coord{{2, 2}}}
	cmd := command(t, `{"setBlocks":{"blocks":[32,0,32,2]}}`)
	events, reply, err := Decide(nil, l.world, parts, cmd, testTurn())
	if err != nil || len(events) != 1 || !proto.Equal(reply, &skerryv1.WorldReply{Reply: &skerryv1.WorldReply_BlocksSet{BlocksSet: &skerryv1.BlocksSet{Changed: 1}}}) {
		t.Errorf("%v, %v, %v", events, reply, err)
	}
	if _, _, err := Decide(nil, l.world, parts, nil, testTurn()); err == nil {
		t.Error("no command was accepted")
	}
	defer func() {
		if recover() == nil {
			t.Error("a chunk that is not loaded was taken for an empty one")
		}
	}()
	_, _, _ = Decide(nil, l.world, loaded{of: l}, cmd, testTurn())
}

// An event that makes no sense for the chunk is refused, and changes nothing.
func TestEvolveRefuses(t *testing.T) {
	l := island(t)
	for _, event := range l.events { // those of a chunk to the document, those of the document to a chunk
		_, ofChunk := ChunkOf(event)
		w, c := l.world.CloneVT(), l.chunks[Coord{2, 2}].Clone()
		if ofChunk == (Evolve(w, event) == nil) || !ofChunk && EvolveChunk(c, event) == nil {
			t.Errorf("%v went to the wrong part", event)
		}
	}
	if Evolve(l.world, nil) == nil || EvolveChunk(l.chunks[Coord{2, 2}], nil) == nil {
		t.Error("no event was applied")
	}
}

// A chunk's memory is about what its parts take.
func TestBytesGrowWithWhatIsHeld(t *testing.T) {
	l := island(t)
	empty, full, chest := NewChunk(l.world).Bytes(), l.chunks[Coord{2, 2}], l.chunks[Coord{}]
	if empty < 1 || full.Bytes() < empty+len(full.Base) || chest.Bytes() <= empty {
		t.Errorf("an empty chunk %d, a full one %d, one with a chest %d", empty, full.Bytes(), chest.Bytes())
	}
}
