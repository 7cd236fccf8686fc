package world

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Goal: every way to say no says it with its sentinel, names the field and changes nothing.
// Method: one command each, against the same world.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 1100)
	far := make([]int32, 0, 4*(MaxChunks+1))
	for i := range int32(MaxChunks + 1) {
		far = append(far, 16*i, 0, 0, 1)
	}
	many := make([]int32, 4*(MaxBlocks+1))
	encoded := func(height int, id uint16) string {
		ids := make([]uint16, height*area)
		ids[len(ids)-1] = id
		return base64.StdEncoding.EncodeToString(chunk.Encode(nil, ids))
	}
	numbers := func(list []int32) string {
		return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(list), "[]")), ",")
	}
	put := func(fields string) string { return `{"putChunk":{"chunk":{` + fields + `}}}` }
	const from, to = `"from":{"x":-1,"y":0,"z":-16}`, `"to":{"x":0,"y":0,"z":0}`

	for name, c := range map[string]struct {
		command string
		want    error
		field   string
	}{
		"nothing":             {`{}`, ErrBadRequest, ""},
		"claim what is owned": {`{"claim":{"player":"5"}}`, ErrAlreadyOwned, "claim"},
		"give to nobody":      {`{"giveAway":{}}`, ErrBadRequest, "giveAway.player"},
		"give to no id":       {`{"giveAway":{"player":"a b"}}`, ErrBadRequest, "giveAway.player"},
		"give, long name":     {`{"giveAway":{"player":"5","name":"` + long + `"}}`, ErrTooLarge, "giveAway.name"},
		"role of nobody":      {`{"setRole":{"role":"BUILDER"}}`, ErrBadRequest, "setRole.player"},
		"no role":             {`{"setRole":{"player":"5"}}`, ErrBadRequest, "setRole.role"},
		"role owner":          {`{"setRole":{"player":"5","role":"OWNER"}}`, ErrBadRequest, "setRole.role"},
		"role of the owner":   {`{"setRole":{"player":"7","role":"BUILDER"}}`, ErrBadRequest, "setRole.player"},
		"rename to nothing":   {`{"rename":{}}`, ErrBadRequest, "rename.name"},
		"rename, long":        {`{"rename":{"name":"` + long + `"}}`, ErrTooLarge, "rename.name"},
		"describe, control":   {`{"describe":{"description":"a\u0001"}}`, ErrBadRequest, "describe.description"},
		"describe, long":      {`{"describe":{"description":"` + long + `"}}`, ErrTooLarge, "describe.description"},

		"blocks, none":       {`{"setBlocks":{}}`, ErrBadRequest, "setBlocks.blocks"},
		"blocks, three":      {`{"setBlocks":{"blocks":[0,0,0]}}`, ErrBadRequest, "setBlocks.blocks"},
		"blocks, too many":   {`{"setBlocks":{"blocks":[` + numbers(many) + `]}}`, ErrTooLarge, "setBlocks.blocks"},
		"blocks, too far":    {`{"setBlocks":{"blocks":[` + numbers(far) + `]}}`, ErrTooLarge, ""},
		"blocks, too low":    {`{"setBlocks":{"blocks":[0,0,0,1, 0,-9,0,1]}}`, ErrOutOfRange, "setBlocks.blocks[5]"},
		"blocks, too high":   {`{"setBlocks":{"blocks":[0,8,0,1]}}`, ErrOutOfRange, "setBlocks.blocks[1]"},
		"blocks, greatest y": {`{"setBlocks":{"blocks":[0,2147483647,0,1]}}`, ErrOutOfRange, "setBlocks.blocks[1]"},
		"blocks, id -1":      {`{"setBlocks":{"blocks":[0,0,0,-1]}}`, ErrBadBlock, "setBlocks.blocks[3]"},
		"blocks, id 3":       {`{"setBlocks":{"blocks":[0,0,0,1, 0,1,0,3]}}`, ErrBadBlock, "setBlocks.blocks[7]"},

		"put nothing":          {`{"putChunk":{}}`, ErrBadRequest, "putChunk.chunk"},
		"put two forms":        {put(`"palette":["air"],"runs":[0,4096],"edits":[0,0,0,1]`), ErrBadRequest, "putChunk.chunk"},
		"put too far":          {put(`"x":134217728,"palette":["air"],"runs":[0,4096]`), ErrOutOfRange, "putChunk.chunk.x"},
		"put too far back":     {put(`"z":-134217729,"palette":["air"],"runs":[0,4096]`), ErrOutOfRange, "putChunk.chunk.z"},
		"put half a run":       {put(`"palette":["air"],"runs":[0,4096,0]`), ErrBadRequest, "putChunk.chunk.runs"},
		"put too few":          {put(`"palette":["air"],"runs":[0,4095]`), ErrBadRequest, "putChunk.chunk.runs"},
		"put too many":         {put(`"palette":["air"],"runs":[0,4097]`), ErrBadRequest, "putChunk.chunk.runs[1]"},
		"put huge run":         {put(`"palette":["air"],"runs":[0,1,0,4294967295]`), ErrBadRequest, "putChunk.chunk.runs[3]"},
		"put an empty run":     {put(`"palette":["air"],"runs":[0,0,0,4096]`), ErrBadRequest, "putChunk.chunk.runs[1]"},
		"put beyond palette":   {put(`"palette":["air"],"runs":[1,4096]`), ErrBadRequest, "putChunk.chunk.runs[0]"},
		"put unknown block":    {put(`"palette":["air","gold"],"runs":[0,4096]`), ErrBadBlock, "putChunk.chunk.palette[1]"},
		"put unknown id":       {put(`"palette":["3"],"runs":[0,4096]`), ErrBadBlock, "putChunk.chunk.palette[0]"},
		"put no name":          {put(`"palette":[""],"runs":[0,4096]`), ErrBadBlock, "putChunk.chunk.palette[0]"},
		"put as edited":        {put(`"state":"EDITED","palette":["air"],"runs":[0,4096]`), ErrBadRequest, "putChunk.chunk.state"},
		"put as absent":        {put(`"state":"ABSENT","edits":[0,0,0,1]`), ErrBadRequest, "putChunk.chunk.state"},
		"put edits as full":    {put(`"state":"FULL","edits":[0,0,0,1]`), ErrBadRequest, "putChunk.chunk.state"},
		"put three numbers":    {put(`"edits":[0,0,0]`), ErrBadRequest, "putChunk.chunk.edits"},
		"put edits outside":    {put(`"edits":[0,0,0,1,16,0,0,1]`), ErrOutOfRange, "putChunk.chunk.edits[4]"},
		"put edits too high":   {put(`"edits":[0,8,0,1]`), ErrOutOfRange, "putChunk.chunk.edits[1]"},
		"put edits, id 3":      {put(`"edits":[0,0,0,3]`), ErrBadBlock, "putChunk.chunk.edits[3]"},
		"put garbage":          {put(`"encoded":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`), ErrBadRequest, "putChunk.chunk.encoded"},
		"put another height":   {put(`"encoded":"` + encoded(32, 0) + `"`), ErrBadRequest, "putChunk.chunk.encoded"},
		"put encoded, id 3":    {put(`"encoded":"` + encoded(16, 3) + `"`), ErrBadBlock, "putChunk.chunk.encoded"},
		"put short height map": {put(`"edits":[0,0,0,1],"heightMap":[1,2]`), ErrBadRequest, "putChunk.chunk.heightMap"},
		"clear with items":     {`{"clearChunk":{"x":-1,"z":-1}}`, ErrChestNotEmpty, "clearChunk"},
		"clear too far":        {`{"clearChunk":{"z":134217728}}`, ErrOutOfRange, "clearChunk.z"},

		"place on another":     {`{"placeChest":{"x":0,"y":0,"z":0}}`, ErrChestExists, "placeChest"},
		"place too high":       {`{"placeChest":{"x":0,"y":8,"z":0}}`, ErrOutOfRange, "placeChest.y"},
		"remove none":          {`{"removeChest":{"x":0,"y":1,"z":0}}`, ErrNoSuchChest, "removeChest"},
		"remove too low":       {`{"removeChest":{"x":0,"y":-9,"z":0}}`, ErrOutOfRange, "removeChest.y"},
		"remove with items":    {`{"removeChest":{"x":-1,"y":0,"z":-16}}`, ErrChestNotEmpty, "removeChest"},
		"put into none":        {`{"chestPut":{"x":1,"y":0,"z":0,"itemId":1,"count":1}}`, ErrNoSuchChest, "chestPut"},
		"put no item":          {`{"chestPut":{"x":0,"y":0,"z":0,"count":1}}`, ErrBadRequest, "chestPut.itemId"},
		"put no count":         {`{"chestPut":{"x":0,"y":0,"z":0,"itemId":1}}`, ErrBadAmount, "chestPut.count"},
		"put huge maxStack":    {`{"chestPut":{"x":0,"y":0,"z":0,"itemId":1,"count":1,"maxStack":10001}}`, ErrBadAmount, "chestPut.maxStack"},
		"put huge metadata":    {`{"chestPut":{"x":0,"y":0,"z":0,"itemId":1,"count":1,"metadata":{"a":"` + long + `"}}}`, ErrTooLarge, "chestPut.metadata"},
		"put more than fits":   {`{"chestPut":{"x":0,"y":0,"z":0,"itemId":1,"count":1729}}`, ErrInventoryFull, "chestPut.count"},
		"put into slot 27":     {`{"chestPut":{"x":0,"y":0,"z":0,"slot":27,"itemId":1,"count":1}}`, ErrBadSlot, "chestPut.slot"},
		"put into slot -1":     {`{"chestPut":{"x":0,"y":0,"z":0,"slot":-1,"itemId":1,"count":1}}`, ErrBadSlot, "chestPut.slot"},
		"put over a slot":      {`{"chestPut":{"x":0,"y":0,"z":0,"slot":0,"itemId":1,"count":65}}`, ErrInventoryFull, "chestPut.slot"},
		"put onto another":     {`{"chestPut":{"x":-1,"y":0,"z":-16,"slot":0,"itemId":1,"count":1}}`, ErrBadSlot, "chestPut.slot"},
		"put onto a full slot": {`{"chestPut":{"x":-1,"y":0,"z":-16,"slot":0,"itemId":3,"count":1}}`, ErrInventoryFull, "chestPut.slot"},
		"take from none":       {`{"chestTake":{"x":1,"y":0,"z":0,"itemId":1,"count":1}}`, ErrNoSuchChest, "chestTake"},
		"take nothing":         {`{"chestTake":{"x":0,"y":0,"z":0,"count":1}}`, ErrBadRequest, "chestTake.itemId"},
		"take no count":        {`{"chestTake":{"x":0,"y":0,"z":0,"itemId":1}}`, ErrBadAmount, "chestTake.count"},
		"take negative":        {`{"chestTake":{"x":-1,"y":0,"z":-16,"slot":0,"count":-1}}`, ErrBadAmount, "chestTake.count"},
		"take too many":        {`{"chestTake":{"x":-1,"y":0,"z":-16,"itemId":3,"count":71}}`, ErrNoSuchItem, "chestTake.count"},
		"take an empty slot":   {`{"chestTake":{"x":0,"y":0,"z":0,"slot":0}}`, ErrNoSuchItem, "chestTake.slot"},
		"take another item":    {`{"chestTake":{"x":-1,"y":0,"z":-16,"slot":0,"itemId":4}}`, ErrNoSuchItem, "chestTake.itemId"},
		"take over a slot":     {`{"chestTake":{"x":-1,"y":0,"z":-16,"slot":1,"count":7}}`, ErrNoSuchItem, "chestTake.count"},
		"move nothing":         {`{"chestMove":{}}`, ErrBadSlot, "chestMove.from"},
		"move to nothing":      {`{"chestMove":{` + from + `}}`, ErrBadSlot, "chestMove.to"},
		"move to no chest":     {`{"chestMove":{` + from + `,"to":{"x":3,"y":0,"z":0}}}`, ErrNoSuchChest, "chestMove.to"},
		"move to slot 27":      {`{"chestMove":{` + from + `,"to":{"x":0,"y":0,"z":0,"index":27}}}`, ErrBadSlot, "chestMove.to.index"},
		"move to itself":       {`{"chestMove":{` + from + `,"to":{"x":-1,"y":0,"z":-16}}}`, ErrBadSlot, "chestMove.to"},
		"move from empty":      {`{"chestMove":{"from":{"x":-1,"y":0,"z":-16,"index":2},` + to + `}}`, ErrNoSuchItem, "chestMove.from"},
		"move too many":        {`{"chestMove":{` + from + `,` + to + `,"count":65}}`, ErrBadAmount, "chestMove.count"},
		"move negative":        {`{"chestMove":{` + from + `,` + to + `,"count":-1}}`, ErrBadAmount, "chestMove.count"},
		"move onto a full one": {`{"chestMove":{"from":{"x":-1,"y":0,"z":-16,"index":1},"to":{"x":-1,"y":0,"z":-16}}}`, ErrInventoryFull, "chestMove.to"},
		"set no slot":          {`{"setChestSlot":{}}`, ErrBadSlot, "setChestSlot.slot"},
		"set over maxStack":    {`{"setChestSlot":{"slot":{"x":0,"y":0,"z":0},"stack":{"itemId":1,"count":65}}}`, ErrBadAmount, "setChestSlot.stack.count"},
	} {
		t.Run(name, func(t *testing.T) {
			l := island(t)
			cmds := []*skerryv1.WorldCommand{ // two of the turn are accepted before
				command(t, `{"setBlocks":{"blocks":[0,0,0,2]}}`), command(t, `{"setRole":{"player":"6","role":"BUILDER"}}`), command(t, c.command),
			}
			for _, at := range Needs(execute(cmds)) {
				l.chunk(at) // as decide does
			}
			before := l.fingerprint()
			events, replies, err := l.decide(cmds...)
			refusal, ok := errors.AsType[*items.Refusal](err)
			want := strings.TrimSuffix("commands[2]."+c.field, ".")
			if !ok || !errors.Is(err, c.want) || refusal.Field != want || refusal.CommandIndex != 2 || events != nil || replies != nil {
				t.Errorf("%v, want %v of %s", err, c.want, want)
			}
			if l.fingerprint() != before {
				t.Error("something changed")
			}
		})
	}
}

func TestTurnsAreBounded(t *testing.T) {
	l := island(t)
	if _, _, err := l.decide(); !errors.Is(err, ErrBadRequest) {
		t.Errorf("no command: %v", err)
	}
	if _, _, err := l.decide(slices.Repeat([]*skerryv1.WorldCommand{command(t, `{"rename":{"name":"x"}}`)}, MaxCommands+1)...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many commands: %v", err)
	}
	var spread []*skerryv1.WorldCommand
	for i := range MaxChunks + 1 {
		spread = append(spread, command(t, fmt.Sprintf(`{"clearChunk":{"x":%d}}`, i+10)))
	}
	if _, _, err := l.decide(spread...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many chunks: %v", err)
	}
	if _, _, err := l.decide(spread[:MaxChunks]...); err != nil {
		t.Errorf("as many chunks as allowed: %v", err)
	}

	tall := newLand(t, nil, "7", `{"height":1024}`) // a column that nothing makes short
	noise := make([]uint16, 1024*area)
	for i := range noise {
		noise[i] = uint16(i*40503) ^ uint16(i>>7)
	}
	put := &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PutChunk{PutChunk: &skerryv1.PutChunk{Chunk: &skerryv1.ChunkData{Encoded: chunk.Encode(nil, noise)}}}}
	size := len(put.GetPutChunk().GetChunk().GetEncoded())
	if _, _, err := tall.decide(slices.Repeat([]*skerryv1.WorldCommand{put}, MaxTurnBytes/size+1)...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a turn over its bytes: %v", err)
	}
	if _, _, err := tall.decide(put); err != nil {
		t.Errorf("one column of %d bytes: %v", size, err)
	}
}

// Goal: what an open transfer holds can be brought back: its slot stays as it is, its chest and its chunk stay.
func TestHeldSlotsStay(t *testing.T) {
	l := island(t)
	c := l.chunk(Coord{-1, -1})
	c.Holds = []*storev1.Hold{{Transfer: "t", Legs: []*storev1.HeldLeg{{Chest: c.Chests[0].GetAt(), Index: 2}}}}
	for text, want := range map[string]error{
		`{"clearChunk":{"x":-1,"z":-1}}`:                                                      ErrChunkHeld,
		`{"chestPut":{"x":-1,"y":0,"z":-16,"slot":2,"itemId":3,"count":1}}`:                   ErrBadSlot,
		`{"chestTake":{"x":-1,"y":0,"z":-16,"slot":2}}`:                                       ErrBadSlot,
		`{"chestMove":{"from":{"x":-1,"y":0,"z":-16},"to":{"x":-1,"y":0,"z":-16,"index":2}}}`: ErrBadSlot,
		`{"setChestSlot":{"slot":{"x":-1,"y":0,"z":-16,"index":2}}}`:                          ErrBadSlot,
		`{"chestPut":{"x":-1,"y":0,"z":-16,"itemId":3,"count":1595}}`:                         ErrInventoryFull, // 58 and 24 slots
	} {
		if _, _, err := l.decide(command(t, text)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	l.run(`{"chestPut":{"x":-1,"y":0,"z":-16,"itemId":3,"count":1594}}`) // all but the held slot
	if stack := c.Chests[0].GetSlots()[2]; stack.GetCount() != 0 {
		t.Errorf("the held slot has %v", stack)
	}
	c.Chests[0].Slots[2] = &skerryv1.ItemStack{ItemId: 3, Count: 1, MaxStack: 64} // what the transfer left there
	if _, _, err := l.decide(command(t, `{"chestTake":{"x":-1,"y":0,"z":-16,"itemId":3,"count":1665}}`)); !errors.Is(err, ErrNoSuchItem) {
		t.Errorf("taking all, the held slot too: %v", err)
	}
	c.Chests[0].Slots[2] = &skerryv1.ItemStack{}
	for slot := range 27 {
		if slot != 2 {
			l.run(fmt.Sprintf(`{"setChestSlot":{"slot":{"x":-1,"y":0,"z":-16,"index":%d}}}`, slot))
		}
	}
	if _, _, err := l.decide(command(t, `{"removeChest":{"x":-1,"y":0,"z":-16}}`)); !errors.Is(err, ErrChunkHeld) {
		t.Errorf("removing a held chest: %v", err)
	}
	c.Holds = nil
	l.run(`{"removeChest":{"x":-1,"y":0,"z":-16}}`)
}

func TestChestsAreBounded(t *testing.T) {
	l := newLand(t, nil, "7", `{}`)
	for i := range MaxChests {
		l.run(fmt.Sprintf(`{"placeChest":{"x":%d,"y":%d,"z":%d}}`, i%16, i/16, i%7))
	}
	if _, _, err := l.decide(command(t, `{"placeChest":{"x":0,"y":200,"z":0}}`)); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	l.run(`{"placeChest":{"x":16,"y":200,"z":0}}`)
}

func execute(cmds []*skerryv1.WorldCommand) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldRequest{Commands: cmds}}}
}
