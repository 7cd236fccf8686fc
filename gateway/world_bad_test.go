package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: bad input to a world is refused whole, as to a player: a typed error that names the field, and nothing changed.
// Method: as in bad_requests_test.go, against the real rules; after each request the world and its chunks are as they were.

// badWorldCommands are bodies of POST /v1/worlds/7/commands; what is missing of session and commandId is filled in.
var badWorldCommands = []struct {
	name, body, code, field string
	jsonOnly                bool
}{
	{name: "no commands", body: `{"commands":[]}`, code: "BAD_REQUEST", field: "commands"},
	{name: "101 commands", body: `{"commands":[` + strings.TrimSuffix(strings.Repeat(`{"rename":{"name":"x"}},`, 101), ",") + `]}`, code: "TOO_LARGE", field: "commands"},
	{name: "empty command", body: `{"commands":[{}]}`, code: "BAD_REQUEST", field: "commands[0]"},
	{name: "second command bad", body: `{"commands":[{"setBlocks":{"blocks":[1,2,3,1]}},{"setBlocks":{"blocks":[1,99,3,1]}}]}`, code: "OUT_OF_RANGE", field: "commands[1].setBlocks.blocks[1]"},
	{name: "claim of an owned world", body: `{"commands":[{"claim":{"player":"1002"}}]}`, code: "ALREADY_OWNED", field: "commands[0].claim"},
	{name: "claim for another", body: `{"commands":[{"claim":{"player":"1003"},"as":"1002"}]}`, code: "FORBIDDEN_ROLE", field: "commands[0].as"},
	{name: "give away by a visitor", body: `{"commands":[{"giveAway":{"player":"1002"},"as":"1002"}]}`, code: "FORBIDDEN_ROLE", field: "commands[0].as"},
	{name: "give away to nobody", body: `{"commands":[{"giveAway":{}}]}`, code: "BAD_REQUEST", field: "commands[0].giveAway.player"},
	{name: "give away to a bad id", body: `{"commands":[{"giveAway":{"player":"a b"}}]}`, code: "BAD_REQUEST", field: "commands[0].giveAway.player"},
	{name: "the role of the owner", body: `{"commands":[{"setRole":{"player":"7","role":"BUILDER"}}]}`, code: "BAD_REQUEST", field: "commands[0].setRole.player"},
	{name: "no role", body: `{"commands":[{"setRole":{"player":"1002"}}]}`, code: "BAD_REQUEST", field: "commands[0].setRole.role"},
	{name: "the role OWNER", body: `{"commands":[{"setRole":{"player":"1002","role":"OWNER"}}]}`, code: "BAD_REQUEST", field: "commands[0].setRole.role"},
	{name: "an unknown role", body: `{"commands":[{"setRole":{"player":"1002","role":9}}]}`, code: "BAD_REQUEST", field: "commands[0].setRole.role"},
	{name: "a visitor builds", body: `{"commands":[{"setBlocks":{"blocks":[1,2,3,1]},"as":"1002"}]}`, code: "FORBIDDEN_ROLE", field: "commands[0].as"},
	{name: "no blocks", body: `{"commands":[{"setBlocks":{}}]}`, code: "BAD_REQUEST", field: "commands[0].setBlocks.blocks"},
	{name: "three numbers", body: `{"commands":[{"setBlocks":{"blocks":[1,2,3]}}]}`, code: "BAD_REQUEST", field: "commands[0].setBlocks.blocks"},
	{name: "a block below the world", body: `{"commands":[{"setBlocks":{"blocks":[1,-1,3,1]}}]}`, code: "OUT_OF_RANGE", field: "commands[0].setBlocks.blocks[1]"},
	{name: "a block above the world", body: `{"commands":[{"setBlocks":{"blocks":[1,2,3,1,1,32,3,1]}}]}`, code: "OUT_OF_RANGE", field: "commands[0].setBlocks.blocks[5]"},
	{name: "a negative block id", body: `{"commands":[{"setBlocks":{"blocks":[1,2,3,-1]}}]}`, code: "BAD_BLOCK", field: "commands[0].setBlocks.blocks[3]"},
	{name: "a block id beyond the table", body: `{"commands":[{"setBlocks":{"blocks":[1,2,3,3]}}]}`, code: "BAD_BLOCK", field: "commands[0].setBlocks.blocks[3]"},
	{name: "4097 blocks", body: `{"commands":[{"setBlocks":{"blocks":[` + strings.TrimSuffix(strings.Repeat(`1,2,3,1,`, 4097), ",") + `]}}]}`, code: "TOO_LARGE", field: "commands[0].setBlocks.blocks"},
	{name: "65 chunks", body: `{"commands":[{"setBlocks":{"blocks":[` + farBlocks(65) + `]}}]}`, code: "TOO_LARGE", field: "commands[0]"},
	{name: "no chunk", body: `{"commands":[{"putChunk":{}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk"},
	{name: "a chunk in two forms", body: `{"commands":[{"putChunk":{"chunk":{"palette":["air"],"runs":[0,8192],"edits":[1,2,3,1]}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk"},
	{name: "runs too short", body: `{"commands":[{"putChunk":{"chunk":{"palette":["air"],"runs":[0,8191]}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.runs"},
	{name: "runs too long", body: `{"commands":[{"putChunk":{"chunk":{"palette":["air"],"runs":[0,8193]}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.runs[1]"},
	{name: "runs of 2^32-1", body: `{"commands":[{"putChunk":{"chunk":{"palette":["air"],"runs":[0,4294967295]}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.runs[1]"},
	{name: "an odd number of runs", body: `{"commands":[{"putChunk":{"chunk":{"palette":["air"],"runs":[0,8192,0]}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.runs"},
	{name: "a run of what is not in the palette", body: `{"commands":[{"putChunk":{"chunk":{"palette":["air"],"runs":[1,8192]}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.runs[0]"},
	{name: "an unknown block name", body: `{"commands":[{"putChunk":{"chunk":{"palette":["air","gold"],"runs":[0,8192]}}}]}`, code: "BAD_BLOCK", field: "commands[0].putChunk.chunk.palette[1]"},
	{name: "a block number beyond the table", body: `{"commands":[{"putChunk":{"chunk":{"palette":["3"],"runs":[0,8192]}}}]}`, code: "BAD_BLOCK", field: "commands[0].putChunk.chunk.palette[0]"},
	{name: "encoded rubbish", body: `{"commands":[{"putChunk":{"chunk":{"encoded":"AAAA"}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.encoded"},
	{name: "an edit of another chunk", body: `{"commands":[{"putChunk":{"chunk":{"x":1,"edits":[1,2,3,1]}}}]}`, code: "OUT_OF_RANGE", field: "commands[0].putChunk.chunk.edits[0]"},
	{name: "a state that is not given", body: `{"commands":[{"putChunk":{"chunk":{"state":"FULL","edits":[1,2,3,1]}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.state"},
	{name: "a height map of 2", body: `{"commands":[{"putChunk":{"chunk":{"edits":[1,2,3,1],"heightMap":[1,2]}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.heightMap"},
	{name: "a chunk beyond the world's end", body: `{"commands":[{"putChunk":{"chunk":{"x":2000000000,"palette":["air"],"runs":[0,8192]}}}]}`, code: "OUT_OF_RANGE", field: "commands[0].putChunk.chunk.x"},
	{name: "clear a chunk with a full chest", body: `{"commands":[{"clearChunk":{"x":0,"z":0}}]}`, code: "CHEST_NOT_EMPTY", field: "commands[0].clearChunk"},
	{name: "clear beyond the world's end", body: `{"commands":[{"clearChunk":{"z":-2000000000}}]}`, code: "OUT_OF_RANGE", field: "commands[0].clearChunk.z"},
	{name: "a chest twice", body: `{"commands":[{"placeChest":{"x":1,"y":2,"z":3}}]}`, code: "CHEST_EXISTS", field: "commands[0].placeChest"},
	{name: "a chest in the sky", body: `{"commands":[{"placeChest":{"x":1,"y":200,"z":3}}]}`, code: "OUT_OF_RANGE", field: "commands[0].placeChest.y"},
	{name: "remove no chest", body: `{"commands":[{"removeChest":{"x":9,"y":2,"z":3}}]}`, code: "NO_SUCH_CHEST", field: "commands[0].removeChest"},
	{name: "remove a full chest", body: `{"commands":[{"removeChest":{"x":1,"y":2,"z":3}}]}`, code: "CHEST_NOT_EMPTY", field: "commands[0].removeChest"},
	{name: "put into no chest", body: `{"commands":[{"chestPut":{"x":9,"y":2,"z":3,"itemId":1,"count":1}}]}`, code: "NO_SUCH_CHEST", field: "commands[0].chestPut"},
	{name: "put nothing", body: `{"commands":[{"chestPut":{"x":1,"y":2,"z":3,"itemId":1}}]}`, code: "BAD_AMOUNT", field: "commands[0].chestPut.count"},
	{name: "put item 0", body: `{"commands":[{"chestPut":{"x":1,"y":2,"z":3,"count":1}}]}`, code: "BAD_REQUEST", field: "commands[0].chestPut.itemId"},
	{name: "put into slot 27", body: `{"commands":[{"chestPut":{"x":1,"y":2,"z":3,"slot":27,"itemId":1,"count":1}}]}`, code: "BAD_SLOT", field: "commands[0].chestPut.slot"},
	{name: "put more than fits", body: `{"commands":[{"chestPut":{"x":1,"y":2,"z":3,"itemId":1,"count":100000}}]}`, code: "INVENTORY_FULL", field: "commands[0].chestPut.count"},
	{name: "take what is not there", body: `{"commands":[{"chestTake":{"x":1,"y":2,"z":3,"itemId":9,"count":1}}]}`, code: "NO_SUCH_ITEM", field: "commands[0].chestTake.count"},
	{name: "take a negative count", body: `{"commands":[{"chestTake":{"x":1,"y":2,"z":3,"itemId":5,"count":-1}}]}`, code: "BAD_AMOUNT", field: "commands[0].chestTake.count"},
	{name: "move from nowhere", body: `{"commands":[{"chestMove":{}}]}`, code: "BAD_SLOT", field: "commands[0].chestMove.from"},
	{name: "move to slot 99", body: `{"commands":[{"chestMove":{"from":{"x":1,"y":2,"z":3},"to":{"x":1,"y":2,"z":3,"index":99}}}]}`, code: "BAD_SLOT", field: "commands[0].chestMove.to.index"},
	{name: "set slot -1", body: `{"commands":[{"setChestSlot":{"slot":{"x":1,"y":2,"z":3,"index":-1}}}]}`, code: "BAD_SLOT", field: "commands[0].setChestSlot.slot.index"},
	{name: "no name", body: `{"commands":[{"rename":{"name":""}}]}`, code: "BAD_REQUEST", field: "commands[0].rename.name"},
	{name: "a description of 1001", body: `{"commands":[{"describe":{"description":"` + strings.Repeat("d", 1001) + `"}}]}`, code: "TOO_LARGE", field: "commands[0].describe.description"},
	{name: "unknown session", body: `{"session":"nobody","commands":[{"rename":{"name":"x"}}]}`, code: "SESSION_TAKEN", field: ""},
	{name: "session of 200 bytes", body: `{"session":"` + strings.Repeat("s", 200) + `","commands":[{"rename":{"name":"x"}}]}`, code: "BAD_REQUEST", field: "session"},
	{name: "receipt of 65 bytes", body: `{"receipt":"` + strings.Repeat("r", 65) + `","commands":[{"rename":{"name":"x"}}]}`, code: "TOO_LARGE", field: "receipt"},
	{name: "unknown durability", body: `{"durability":9,"commands":[{"rename":{"name":"x"}}]}`, code: "BAD_REQUEST", field: "durability"},
	{name: "command id 0", body: `{"commandId":0,"commands":[{"rename":{"name":"x"}}]}`, code: "BAD_REQUEST", field: "commandId"},

	{name: "a player's command", body: `{"commands":[{"earn":{"currency":"COINS","amount":1}}]}`, code: "BAD_REQUEST", field: "commands[0].earn", jsonOnly: true},
	{name: "two commands in one", body: `{"commands":[{"clearChunk":{},"rename":{"name":"x"}}]}`, code: "BAD_REQUEST", field: "commands[0].rename", jsonOnly: true},
	{name: "half a block", body: `{"commands":[{"setBlocks":{"blocks":[1.5,2,3,1]}}]}`, code: "BAD_REQUEST", field: "commands[0].setBlocks.blocks[0]", jsonOnly: true},
	{name: "blocks beyond 32 bits", body: `{"commands":[{"setBlocks":{"blocks":[4294967296,2,3,1]}}]}`, code: "BAD_REQUEST", field: "commands[0].setBlocks.blocks[0]", jsonOnly: true},
	{name: "encoded that is no base64", body: `{"commands":[{"putChunk":{"chunk":{"encoded":"%%%"}}}]}`, code: "BAD_REQUEST", field: "commands[0].putChunk.chunk.encoded", jsonOnly: true},
	{name: "not UTF-8", body: "{\"commands\":[{\"rename\":{\"name\":\"\xff\"}}]}", code: "BAD_REQUEST", field: "commands[0].rename.name", jsonOnly: true},
	{name: "another world than the path", body: `{"world":"8","commands":[{"rename":{"name":"x"}}]}`, code: "BAD_REQUEST", field: "world", jsonOnly: true},
	{name: "over 1 MiB", body: `{"receipt":"` + strings.Repeat("r", 1<<20) + `"}`, code: "TOO_LARGE", field: "", jsonOnly: true},
}

// farBlocks is so many blocks, each in a chunk of its own.
func farBlocks(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%d,2,3,1", 16*i))
	}
	return strings.Join(list, ",")
}

// openWorld makes the world 7, 32 high with three blocks, and a chest with items at 1, 2, 3; it returns the session.
func (r *running) openWorld(tb testing.TB) string {
	tb.Helper()
	opened, err := r.client.OpenWorldSession(tb.Context(), &skerryv1.OpenWorldSessionRequest{
		World: "7", Server: "s1", Create: &skerryv1.Create{Height: 32, BlockNames: []string{"air", "stone", "dirt"}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	_, err = r.client.ExecuteWorld(tb.Context(), &skerryv1.ExecuteWorldRequest{World: "7", Session: opened.GetSession(), CommandId: 1, Commands: []*skerryv1.WorldCommand{
		{Command: &skerryv1.WorldCommand_PlaceChest{PlaceChest: &skerryv1.PlaceChest{X: 1, Y: 2, Z: 3}}},
		{Command: &skerryv1.WorldCommand_ChestPut{ChestPut: &skerryv1.ChestPut{X: 1, Y: 2, Z: 3, ItemId: 5, Count: 6}}},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return opened.GetSession()
}

// seen is all of the world 7 that a command may change.
func (r *running) seen(tb testing.TB) []proto.Message {
	tb.Helper()
	w, err := r.client.GetWorld(tb.Context(), &skerryv1.GetWorldRequest{World: "7"})
	if err != nil {
		tb.Fatal(err)
	}
	stored, err := r.client.ListChunks(tb.Context(), &skerryv1.ListChunksRequest{World: "7"})
	if err != nil {
		tb.Fatal(err)
	}
	here, err := r.client.GetChunk(tb.Context(), &skerryv1.GetChunkRequest{World: "7"})
	if err != nil {
		tb.Fatal(err)
	}
	chests, err := r.client.ListChests(tb.Context(), &skerryv1.ListChestsRequest{World: "7"})
	if err != nil {
		tb.Fatal(err)
	}
	return []proto.Message{w.GetWorld(), stored, here.GetChunk(), chests}
}

func TestBadWorldCommands(t *testing.T) {
	r := start(t, nil)
	session := r.openWorld(t)
	before := r.seen(t)
	stream := r.stream(t)
	commandID := int64(1)
	for _, c := range badWorldCommands {
		commandID++ // over HTTP
		body := strings.Replace(c.body, "{", fmt.Sprintf(`{"commandId":%d,`, commandID), 1)
		if strings.Contains(c.body, "ommandId") {
			body = c.body
		}
		status, answer := r.do(t, http.MethodPost, "/v1/worlds/7/commands", body, "Skerry-Session", session)
		if status < 400 || status >= 500 || !strings.Contains(answer, fmt.Sprintf(`"code":"%s"`, c.code)) || !strings.Contains(answer, fmt.Sprintf(`"field":"%s"`, c.field)) {
			t.Errorf("%s over JSON: %d %s want %s of %q", c.name, status, answer, c.code, c.field)
		}
		if !c.jsonOnly {
			request := &skerryv1.ExecuteWorldRequest{}
			if err := protojson.Unmarshal([]byte(c.body), request); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			request.World = "7"
			if request.Session == "" {
				request.Session = session
			}
			if !strings.Contains(c.body, `"commandId"`) {
				commandID++
				request.CommandId = commandID
			}
			_, err := r.client.ExecuteWorld(t.Context(), request)
			if e := wireError(err); e.GetCode() != c.code || e.GetField() != c.field {
				t.Errorf("%s over gRPC: %v, want %s of %q", c.name, err, c.code, c.field)
			}
			if request.CommandId > 0 {
				commandID++
				request.CommandId = commandID
			}
			send(t, stream, &skerryv1.Request{Id: 7, Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: request}})
			responses, _ := recvAll(t, stream, 1)
			if e := responses[0].GetError(); e.GetCode() != c.code || e.GetField() != c.field {
				t.Errorf("%s over a stream: %v, want %s of %q", c.name, responses[0], c.code, c.field)
			}
		}
		for i, after := range r.seen(t) {
			if !proto.Equal(after, before[i]) {
				t.Fatalf("%s changed the world:\n%v\n%v", c.name, before[i], after)
			}
		}
	}
}

// badWorldHTTP are requests about worlds that are bad in their path, query, headers or body.
var badWorldHTTP = []struct {
	name, method, path, body string
	header                   []string
	status                   int
	code, field              string
}{
	{name: "id of 300 bytes", method: "GET", path: "/v1/worlds/" + strings.Repeat("x", 300), status: 400, code: "BAD_REQUEST", field: "world"},
	{name: "an empty number", method: "GET", path: "/v1/worlds/7~", status: 400, code: "BAD_REQUEST", field: "world"},
	{name: "a number of 17", method: "GET", path: "/v1/worlds/7~" + strings.Repeat("1", 17), status: 400, code: "BAD_REQUEST", field: "world"},
	{name: "absent world", method: "GET", path: "/v1/worlds/8", status: 404, code: "NOT_FOUND"},
	{name: "opening without create", method: "POST", path: "/v1/worlds/8/session", body: `{"server":"s1"}`, status: 404, code: "NOT_FOUND"},
	{name: "opening without a server", method: "POST", path: "/v1/worlds/8/session", body: `{"create":{}}`, status: 400, code: "BAD_REQUEST", field: "server"},
	{name: "height 20", method: "POST", path: "/v1/worlds/8/session", body: `{"server":"s1","create":{"height":20}}`, status: 400, code: "BAD_REQUEST", field: "create.height"},
	{name: "a block named by number", method: "POST", path: "/v1/worlds/8/session", body: `{"server":"s1","create":{"blockNames":["0"]}}`, status: 400, code: "BAD_REQUEST", field: "create.blockNames[0]"},
	{name: "opening over 2 MiB", method: "POST", path: "/v1/worlds/8/session", body: `{"server":"s1","create":{"ownerName":"` + strings.Repeat("x", 2<<20) + `"}}`, status: 413, code: "TOO_LARGE"},
	{name: "a chunk in words", method: "GET", path: "/v1/worlds/7/chunks/one/2", status: 400, code: "BAD_REQUEST", field: "x"},
	{name: "a chunk beyond 32 bits", method: "GET", path: "/v1/worlds/7/chunks/1/4294967296", status: 400, code: "BAD_REQUEST", field: "z"},
	{name: "an unknown form", method: "GET", path: "/v1/worlds/7/chunks/1/2?form=9", status: 400, code: "BAD_REQUEST", field: "form"},
	{name: "a parameter of a chunk", method: "GET", path: "/v1/worlds/7/chunks/1/2?y=9", status: 400, code: "BAD_REQUEST", field: "y"},
	{name: "another chunk than the path", method: "PUT", path: "/v1/worlds/7/chunks/1/2", body: `{"chunk":{"x":5,"palette":["air"],"runs":[0,8192]}}`, status: 400, code: "BAD_REQUEST", field: "chunk.x"},
	{name: "a body for another chunk than the path", method: "PUT", path: "/v1/worlds/7/chunks/1/2", body: `{"z":5,"chunk":{"palette":["air"],"runs":[0,8192]}}`, status: 400, code: "BAD_REQUEST", field: "z"},
	{name: "putting nothing", method: "PUT", path: "/v1/worlds/7/chunks/1/2", body: `{}`, status: 400, code: "BAD_REQUEST", field: "chunk"},
	{name: "putting without a session", method: "PUT", path: "/v1/worlds/7/chunks/1/2", body: `{"session":"nobody","chunk":{"palette":["air"],"runs":[0,8192]}}`, status: 409, code: "SESSION_TAKEN"},
	{name: "putting as a visitor", method: "PUT", path: "/v1/worlds/7/chunks/1/2", body: `{"as":"9","chunk":{"palette":["air"],"runs":[0,8192]}}`, status: 422, code: "FORBIDDEN_ROLE", field: "as"},
	{name: "runs too short", method: "PUT", path: "/v1/worlds/7/chunks/1/2", body: `{"chunk":{"palette":["air"],"runs":[0,1]}}`, status: 400, code: "BAD_REQUEST", field: "chunk.runs"},
	{name: "no bytes", method: "PUT", path: "/v1/worlds/7/chunks/1/2", header: []string{"Content-Type", mimeOctets}, status: 400, code: "BAD_REQUEST", field: "chunk.encoded"},
	{name: "rubbish in bytes", method: "PUT", path: "/v1/worlds/7/chunks/1/2", body: "rubbish", header: []string{"Content-Type", mimeOctets}, status: 400, code: "BAD_REQUEST", field: "chunk.encoded"},
	{name: "an unknown durability of bytes", method: "PUT", path: "/v1/worlds/7/chunks/1/2?durability=NONE", body: "rubbish", header: []string{"Content-Type", mimeOctets}, status: 400, code: "BAD_REQUEST", field: "durability"},
	{name: "an unknown parameter of bytes", method: "PUT", path: "/v1/worlds/7/chunks/1/2?fast=1", body: "rubbish", header: []string{"Content-Type", mimeOctets}, status: 400, code: "BAD_REQUEST", field: "fast"},
	{name: "a parameter of bytes without bytes", method: "PUT", path: "/v1/worlds/7/chunks/1/2?as=7", body: `{"chunk":{}}`, status: 400, code: "BAD_REQUEST", field: "as"},
	{name: "bytes of an absent chunk", method: "GET", path: "/v1/worlds/7/chunks/5/5", header: []string{"Accept", mimeOctets}, status: 404, code: "NOT_FOUND"},
	{name: "bytes over 1 MiB", method: "PUT", path: "/v1/worlds/7/chunks/1/2", body: strings.Repeat("x", 1<<20+1), header: []string{"Content-Type", mimeOctets}, status: 413, code: "TOO_LARGE"},
	{name: "no chunks", method: "POST", path: "/v1/worlds/7/chunks:get", body: `{}`, status: 400, code: "BAD_REQUEST", field: "chunks"},
	{name: "65 chunks", method: "POST", path: "/v1/worlds/7/chunks:get", body: `{"chunks":[` + strings.TrimSuffix(strings.Repeat(`{},`, 65), ",") + `]}`, status: 413, code: "TOO_LARGE", field: "chunks"},
	{name: "chunks in an unknown form", method: "POST", path: "/v1/worlds/7/chunks:get", body: `{"chunks":[{}],"form":7}`, status: 400, code: "BAD_REQUEST", field: "form"},
	{name: "limit 1001", method: "GET", path: "/v1/worlds/7/chunks?limit=1001", status: 400, code: "BAD_REQUEST", field: "limit"},
	{name: "after nothing", method: "GET", path: "/v1/worlds/7/chunks?after=d/0/0", status: 400, code: "BAD_REQUEST", field: "after"},
	{name: "after a long word", method: "GET", path: "/v1/worlds/7/chests?after=" + strings.Repeat("c", 100), status: 400, code: "BAD_REQUEST", field: "after"},
	{name: "chests after a space", method: "GET", path: "/v1/worlds/7/chests?after=%20", status: 400, code: "BAD_REQUEST", field: "after"},
	{name: "worlds of a bad owner", method: "GET", path: "/v1/worlds?owner=a~1", status: 400, code: "BAD_REQUEST", field: "owner"},
	{name: "worlds after no id", method: "GET", path: "/v1/worlds?after=a%20b", status: 400, code: "BAD_REQUEST", field: "after"},
	{name: "limit of worlds", method: "GET", path: "/v1/worlds?limit=-1", status: 400, code: "BAD_REQUEST", field: "limit"},
	{name: "ending no session", method: "DELETE", path: "/v1/worlds/7/session?session=nobody", status: 409, code: "SESSION_TAKEN"},
	{name: "saving without the session", method: "POST", path: "/v1/worlds/7/save", body: `{"session":"nobody"}`, status: 409, code: "SESSION_TAKEN"},
	{name: "a method that is not", method: "PUT", path: "/v1/worlds/7", body: `{}`, status: 405, code: "UNIMPLEMENTED"},
}

func TestBadWorldHTTP(t *testing.T) {
	r := start(t, nil)
	session := r.openWorld(t)
	before := r.seen(t)
	for _, c := range badWorldHTTP {
		status, body := r.do(t, c.method, c.path, c.body, append([]string{"Skerry-Session", session}, c.header...)...)
		if status != c.status || !strings.Contains(body, fmt.Sprintf(`{"code":"%s"`, c.code)) || !strings.Contains(body, fmt.Sprintf(`"field":"%s"`, c.field)) {
			t.Errorf("%s: %d %s want %d %s of %q", c.name, status, body, c.status, c.code, c.field)
		}
	}
	for i, after := range r.seen(t) {
		if !proto.Equal(after, before[i]) {
			t.Errorf("the world changed:\n%v\n%v", before[i], after)
		}
	}
}
