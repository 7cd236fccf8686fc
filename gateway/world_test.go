package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: every call to a world is there, over JSON, gRPC, a batch and a stream, and says what the world says.
// Method: conversations with the real rules.

func TestWorldOverJSON(t *testing.T) {
	r := start(t, nil)
	ask := func(method, path, body, want string, header ...string) {
		t.Helper()
		status, answer := r.do(t, method, path, body, header...)
		if status != 200 || !strings.Contains(answer, want) {
			t.Errorf("%s %s %s: %d %s, want %s", method, path, body, status, answer, want)
		}
	}
	ask("POST", "/v1/worlds/7~b/session", `{"server":"s1","create":{"ownerName":"Ann","seed":"7","height":16,"minY":-8,"blockNames":["air","stone"]}}`,
		`"isNew":true,"world":{"version":1,"ownerId":"7","ownerName":"Ann"`)
	session := []string{"Skerry-Session", "token-1"}
	ask("POST", "/v1/worlds/7~b/commands", `{"commandId":1,"commands":[{"setBlocks":{"blocks":[-1,-8,17,1]}},{"placeChest":{"x":-1,"y":-8,"z":17}}]}`,
		`"durable":true,"replies":[{"blocksSet":{"changed":1}},{"done":{}}]`, session...)
	ask("GET", "/v1/worlds/7~b/commands/1", "", `{"status":"APPLIED","reply":{"seq":"2","durable":true,"replies":[{"blocksSet":{"changed":1}},{"done":{}}]}}`, session...)
	ask("GET", "/v1/worlds/7~b/chunks/-1/1", "", `{"chunk":{"x":-1,"z":1,"state":"EDITED","palette":[],"runs":[],"edits":[-1,-8,17,1],"encoded":"","heightMap":[]},"seq":"2"}`)
	ask("PUT", "/v1/worlds/7~b/chunks/0/-2", `{"chunk":{"palette":["stone","0"],"runs":[0,256,1,3840]},"durability":"MEMORY","as":"7"}`, `{"seq":"3","durable":false}`, session...)
	ask("POST", "/v1/worlds/7~b/chunks:get", `{"chunks":[{"x":0,"z":-2},{"x":9,"z":9}]}`,
		`{"chunks":[{"x":0,"z":-2,"state":"FULL","palette":["stone","air"],"runs":[0,256,1,3840],"edits":[],"encoded":"","heightMap":[]},{"x":9,"z":9,"state":"ABSENT",`)
	ask("GET", "/v1/worlds/7~b/chunks?limit=1", "", `{"chunks":[{"x":-1,"z":1}],"next":"c/-1/1"}`)
	ask("GET", "/v1/worlds/7~b/chunks?after=c/-1/1", "", `{"chunks":[{"x":0,"z":-2}],"next":""}`)
	ask("GET", "/v1/worlds/7~b/chests", "", `{"chests":[{"x":-1,"y":-8,"z":17,"slots":[{"itemId":0,"count":0,"maxStack":0}`)
	ask("GET", "/v1/worlds/7~b", "", `"metadata":{"name":"Ann's World"`)
	ask("GET", "/v1/worlds/7~b/session", "", `"server":"s1"`)
	ask("POST", "/v1/worlds/7~b/save", `{}`, `{"seq":"3"}`, session...)
	ask("DELETE", "/v1/worlds/7~b/session", "", `{"seq":"4"}`, session...)
	ask("GET", "/v1/worlds?owner=1001", "", `{"worlds":["1001","1001~2"],"next":""}`)
	ask("GET", "/v1/worlds?limit=1&after=1001", "", `{"worlds":["1001~2"],"next":"1001~2"}`)
}

func TestChunkInOctets(t *testing.T) {
	r := start(t, nil)
	session := r.openWorld(t)
	ids := make([]uint16, 32*chunk.LayerBlocks)
	for i := range ids {
		ids[i] = uint16(i / 7 % 3) //nolint:gosec // below 3
	}
	column := string(chunk.Encode(nil, ids))
	in := []string{"Skerry-Session", session, "Content-Type", "application/octet-stream"}
	if status, answer := r.do(t, http.MethodPut, "/v1/worlds/7/chunks/-3/4?durability=MEMORY&as=7", column, in...); status != 200 || answer != "{\"seq\":\"3\",\"durable\":false}\n" {
		t.Fatalf("put: %d %s", status, answer)
	}
	for _, accept := range []string{"application/octet-stream", "image/png, application/octet-stream;q=0.5"} {
		status, answer := r.do(t, http.MethodGet, "/v1/worlds/7/chunks/-3/4", "", "Accept", accept)
		got, err := chunk.Decode(nil, []byte(answer), 32)
		if status != 200 || err != nil || !slices.Equal(got, ids) {
			t.Errorf("get with Accept %s: %d, %d bytes, %v", accept, status, len(answer), err)
		}
	}
	status, answer := r.do(t, http.MethodGet, "/v1/worlds/7", "", "Accept", "application/octet-stream")
	if status != 200 || !strings.HasPrefix(answer, `{"world":`) {
		t.Errorf("a world in octets: %d %s, want JSON", status, answer)
	}
	if status, answer = r.do(t, http.MethodGet, "/v1/worlds/7/chunks/-3/4?form=RUNS", "", "Accept", "application/octet-stream"); status != 400 {
		t.Errorf("runs in octets: %d %s", status, answer)
	}
	if status, answer = r.do(t, http.MethodGet, "/v1/worlds/7/chunks/9/9", "", "Accept", "application/octet-stream"); status != 404 || !strings.Contains(answer, "ABSENT") {
		t.Errorf("nothing in octets: %d %s", status, answer)
	}
}

// worldRequests has each request that a world takes, by what its answer's field is called.
func worldRequests(session string) map[string]*skerryv1.Request {
	return map[string]*skerryv1.Request{
		"open_world_session": {Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionRequest{World: "8", Server: "s1", Create: &skerryv1.Create{}}}},
		"get_world_session":  {Request: &skerryv1.Request_GetWorldSession{GetWorldSession: &skerryv1.GetWorldSessionRequest{World: "7"}}},
		"get_world":          {Request: &skerryv1.Request_GetWorld{GetWorld: &skerryv1.GetWorldRequest{World: "7"}}},
		"execute_world": {Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldRequest{World: "7", Session: session, CommandId: 2, Commands: []*skerryv1.WorldCommand{
			{Command: &skerryv1.WorldCommand_Rename{Rename: &skerryv1.Rename{Name: "Home"}}},
		}}}},
		"get_world_command": {Request: &skerryv1.Request_GetWorldCommand{GetWorldCommand: &skerryv1.GetWorldCommandRequest{World: "7", Session: session, CommandId: 1}}},
		"save_world":        {Request: &skerryv1.Request_SaveWorld{SaveWorld: &skerryv1.SaveWorldRequest{World: "7", Session: session}}},
		"get_chunk":         {Request: &skerryv1.Request_GetChunk{GetChunk: &skerryv1.GetChunkRequest{World: "7"}}},
		"put_chunk": {Request: &skerryv1.Request_PutChunk{PutChunk: &skerryv1.PutChunkRequest{World: "7", Session: session, X: 3, Z: -3, Chunk: &skerryv1.ChunkData{
			Palette: []string{"air"}, Runs: []uint32{0, 32 * 256},
		}}}},
		"get_chunks":  {Request: &skerryv1.Request_GetChunks{GetChunks: &skerryv1.GetChunksRequest{World: "7", Chunks: []*skerryv1.ChunkRef{{X: 1}}}}},
		"list_chunks": {Request: &skerryv1.Request_ListChunks{ListChunks: &skerryv1.ListChunksRequest{World: "7"}}},
		"list_chests": {Request: &skerryv1.Request_ListChests{ListChests: &skerryv1.ListChestsRequest{World: "7"}}},
	}
}

func TestWorldOnStreamAndInBatch(t *testing.T) {
	r := start(t, nil)
	session := r.openWorld(t)
	stream := r.stream(t)
	for name, request := range worldRequests(session) {
		send(t, stream, request)
		responses, _ := recvAll(t, stream, 1)
		batch, err := r.client.Batch(t.Context(), &skerryv1.BatchRequest{Requests: []*skerryv1.Request{request}})
		if err != nil {
			t.Fatal(err)
		}
		for _, response := range append(responses, batch.GetResponses()...) {
			m := response.ProtoReflect()
			answered := m.WhichOneof(m.Descriptor().Oneofs().ByName("response"))
			if answered == nil || string(answered.Name()) != name {
				t.Errorf("%s is answered with %v", name, response)
			}
		}
	}
	end := &skerryv1.Request{Request: &skerryv1.Request_EndWorldSession{EndWorldSession: &skerryv1.EndWorldSessionRequest{World: "7", Session: session}}}
	send(t, stream, end)
	if responses, _ := recvAll(t, stream, 1); responses[0].GetEndWorldSession() == nil {
		t.Errorf("ended with %v", responses[0])
	}
}

// A key of scope read reads worlds and changes none; one of another space sees none.
func TestWorldScopes(t *testing.T) {
	r := start(t, nil)
	session := r.openWorld(t)
	operator := createKey(t, r, "", "*", "admin", "operate").GetKey()
	reader, stranger := createKey(t, r, operator, "main", "read").GetKey(), createKey(t, r, operator, "other", "play").GetKey()
	reads := []string{"get_world_session", "get_world", "get_chunk", "get_chunks", "list_chunks", "list_chests"}
	requests := worldRequests(session)
	requests["end_world_session"] = &skerryv1.Request{Request: &skerryv1.Request_EndWorldSession{EndWorldSession: &skerryv1.EndWorldSessionRequest{World: "7", Session: session}}}
	for name, request := range requests {
		for _, key := range []string{reader, stranger} {
			batch, err := r.client.Batch(as(t.Context(), key, "main"), &skerryv1.BatchRequest{Requests: []*skerryv1.Request{proto.CloneOf(request)}})
			code := ""
			if err != nil {
				code = wireError(err).GetCode()
			} else {
				code = batch.GetResponses()[0].GetError().GetCode()
			}
			want := "PERMISSION_DENIED"
			if key == reader && slices.Contains(reads, name) {
				want = ""
			}
			if code != want {
				t.Errorf("%s with a key of %v: %q, want %q", name, map[bool]string{true: "read", false: "another space"}[key == reader], code, want)
			}
		}
	}
	if _, err := r.client.ListWorlds(as(t.Context(), stranger, "main"), &skerryv1.ListWorldsRequest{}); wireError(err).GetCode() != "PERMISSION_DENIED" {
		t.Errorf("listed with the key of another space: %v", err)
	}
	if _, err := r.client.ListWorlds(as(t.Context(), reader, "main"), &skerryv1.ListWorldsRequest{}); err != nil {
		t.Errorf("listed with a key of scope read: %v", err)
	}
}
