package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: bad input is refused whole: a typed error that names the field, and nothing changed (promise P8).
// Method: tables of bad requests, against the real rules. Commands are sent as JSON, on a gRPC call and on a stream; after
// each the player is as it was.

// badCommands are bodies of POST /v1/players/1001/commands; what is missing of session and commandId is filled in.
var badCommands = []struct {
	name, body, code, field string
	jsonOnly                bool // no protobuf message is this bad
}{
	{name: "no commands", body: `{"commands":[]}`, code: "BAD_REQUEST", field: "commands"},
	{name: "101 commands", body: `{"commands":[` + strings.TrimSuffix(strings.Repeat(`{"claimDailyReward":{}},`, 101), ",") + `]}`, code: "TOO_LARGE", field: "commands"},
	{name: "empty command", body: `{"commands":[{}]}`, code: "BAD_REQUEST", field: "commands[0]"},
	{name: "second command empty", body: `{"commands":[{"earn":{"currency":"COINS","amount":1}},{}]}`, code: "BAD_REQUEST", field: "commands[1]"},
	{name: "negative amount", body: `{"commands":[{"earn":{"currency":"COINS","amount":-5}}]}`, code: "BAD_AMOUNT", field: "commands[0].earn.amount"},
	{name: "zero amount", body: `{"commands":[{"spend":{"currency":"COINS"}}]}`, code: "BAD_AMOUNT", field: "commands[0].spend.amount"},
	{name: "overflowing amount", body: `{"commands":[{"earn":{"currency":"COINS","amount":"9223372036854775807"}}]}`, code: "BAD_AMOUNT", field: "commands[0].earn.amount"},
	{name: "overflowing balance", body: `{"commands":[{"earn":{"currency":"COINS","amount":"9007199254740991"}}]}`, code: "LIMIT_EXCEEDED", field: "commands[0].earn.amount"},
	{name: "no currency", body: `{"commands":[{"earn":{"amount":5}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.currency"},
	{name: "unknown currency number", body: `{"commands":[{"earn":{"currency":77,"amount":5}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.currency"},
	{name: "too poor", body: `{"commands":[{"spend":{"currency":"GEMS","amount":11}}]}`, code: "INSUFFICIENT_FUNDS", field: "commands[0].spend.amount"},
	{name: "negative experience", body: `{"commands":[{"addExperience":{"amount":-1}}]}`, code: "BAD_AMOUNT", field: "commands[0].addExperience.amount"},
	{name: "negative statistic", body: `{"commands":[{"addStatistics":{"delta":{"blocksPlaced":-1}}}]}`, code: "BAD_AMOUNT", field: "commands[0].addStatistics.delta.blocksPlaced"},
	{name: "empty statistics", body: `{"commands":[{"addStatistics":{"delta":{}}}]}`, code: "BAD_AMOUNT", field: "commands[0].addStatistics.delta"},
	{name: "give item 0", body: `{"commands":[{"give":{"itemId":0,"count":1}}]}`, code: "BAD_REQUEST", field: "commands[0].give.itemId"},
	{name: "give nothing", body: `{"commands":[{"give":{"itemId":1,"count":0}}]}`, code: "BAD_AMOUNT", field: "commands[0].give.count"},
	{name: "give more than fits", body: `{"commands":[{"give":{"itemId":1,"count":100000}}]}`, code: "INVENTORY_FULL", field: "commands[0].give.count"},
	{name: "take what is not there", body: `{"commands":[{"take":{"itemId":9,"count":1}}]}`, code: "NO_SUCH_ITEM", field: "commands[0].take.count"},
	{name: "take a negative count", body: `{"commands":[{"take":{"itemId":9,"count":-1}}]}`, code: "BAD_AMOUNT", field: "commands[0].take.count"},
	{name: "move from slot 99", body: `{"commands":[{"move":{"from":{"container":"HOTBAR","index":99},"to":{"container":"HOTBAR","index":1}}}]}`, code: "BAD_SLOT", field: "commands[0].move.from.index"},
	{name: "move to no container", body: `{"commands":[{"move":{"from":{"container":"HOTBAR","index":0},"to":{"index":1}}}]}`, code: "BAD_SLOT", field: "commands[0].move.to.container"},
	{name: "swap negative slot", body: `{"commands":[{"swap":{"a":{"container":"HOTBAR","index":-1},"b":{"container":"HOTBAR","index":1}}}]}`, code: "BAD_SLOT", field: "commands[0].swap.a.index"},
	{name: "split an empty slot", body: `{"commands":[{"split":{"from":{"container":"HOTBAR","index":0},"to":{"container":"HOTBAR","index":1},"count":1}}]}`, code: "NO_SUCH_ITEM", field: "commands[0].split.from"},
	{name: "set slot 99", body: `{"commands":[{"setSlot":{"slot":{"container":"INVENTORY","index":99}}}]}`, code: "BAD_SLOT", field: "commands[0].setSlot.slot.index"},
	{name: "count over maxStack", body: `{"commands":[{"setSlot":{"slot":{"container":"HOTBAR","index":0},"stack":{"itemId":1,"count":65,"maxStack":64}}}]}`, code: "BAD_AMOUNT", field: "commands[0].setSlot.stack.count"},
	{name: "inventory with 3 slots", body: `{"commands":[{"setInventory":{"hotbar":[{},{},{}],"inventory":[]}}]}`, code: "BAD_SLOT", field: "commands[0].setInventory.hotbar"},
	{name: "NaN volume", body: `{"commands":[{"setSettings":{"musicVolume":"NaN"}}]}`, code: "BAD_REQUEST", field: "commands[0].setSettings.musicVolume"},
	{name: "infinite volume", body: `{"commands":[{"setSettings":{"soundVolume":"Infinity"}}]}`, code: "BAD_REQUEST", field: "commands[0].setSettings.soundVolume"},
	{name: "volume 1.5", body: `{"commands":[{"setSettings":{"musicVolume":1.5}}]}`, code: "BAD_REQUEST", field: "commands[0].setSettings.musicVolume"},
	{name: "no settings", body: `{"commands":[{"setSettings":{}}]}`, code: "BAD_REQUEST", field: "commands[0].setSettings"},
	{name: "spawner slot 99", body: `{"commands":[{"setSpawnerSlot":{"slot":99,"mob":"zombie"}}]}`, code: "BAD_SLOT", field: "commands[0].setSpawnerSlot.slot"},
	{name: "no mob", body: `{"commands":[{"setSpawnerSlot":{"slot":1}}]}`, code: "BAD_REQUEST", field: "commands[0].setSpawnerSlot.mob"},
	{name: "clear spawner slot -1", body: `{"commands":[{"clearSpawnerSlot":{"slot":-1}}]}`, code: "BAD_SLOT", field: "commands[0].clearSpawnerSlot.slot"},
	{name: "no attribute path", body: `{"commands":[{"setAttribute":{"value":1}}]}`, code: "BAD_REQUEST", field: "commands[0].setAttribute.path"},
	{name: "attribute path a..b", body: `{"commands":[{"setAttribute":{"path":"a..b","value":1}}]}`, code: "BAD_REQUEST", field: "commands[0].setAttribute.path"},
	{name: "attributes over 64 KiB", body: `{"commands":[{"setAttribute":{"path":"a","value":"` + strings.Repeat("x", 66_000) + `"}}]}`, code: "TOO_LARGE", field: "commands[0].setAttribute.value"},
	{name: "attributes nested too deep", body: `{"commands":[{"setAttribute":{"path":"a","value":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}}]}`, code: "BAD_REQUEST", field: "commands[0].setAttribute.value"},
	{name: "nested beyond reason", body: `{"commands":[{"setAttribute":{"path":"a","value":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}}]}`, code: "BAD_REQUEST", field: "commands[0].setAttribute.value" + strings.Repeat("[0]", 61), jsonOnly: true},
	{name: "increment by nothing", body: `{"commands":[{"incrementAttribute":{"path":"a","by":"NaN"}}]}`, code: "BAD_AMOUNT", field: "commands[0].incrementAttribute.by"},
	{name: "increment over its max", body: `{"commands":[{"incrementAttribute":{"path":"a","by":5,"max":3}}]}`, code: "LIMIT_EXCEEDED", field: "commands[0].incrementAttribute.by"},
	{name: "control character in a name", body: `{"commands":[{"rename":{"name":"A\u0000nn"}}]}`, code: "BAD_REQUEST", field: "commands[0].rename.name"},
	{name: "name too long", body: `{"commands":[{"rename":{"name":"` + strings.Repeat("n", 300) + `"}}]}`, code: "TOO_LARGE", field: "commands[0].rename.name"},
	{name: "expectation fails", body: `{"commands":[{"claimDailyReward":{},"expect":{"path":"profile.coins","value":1}}]}`, code: "EXPECTATION_FAILED", field: "commands[0].expect"},
	{name: "expectation of no path", body: `{"commands":[{"claimDailyReward":{},"expect":{"path":"profile..coins","value":1}}]}`, code: "BAD_REQUEST", field: "commands[0].expect.path"},
	{name: "all or nothing", body: `{"commands":[{"earn":{"currency":"COINS","amount":50}},{"spend":{"currency":"GEMS","amount":999}}]}`, code: "INSUFFICIENT_FUNDS", field: "commands[1].spend.amount"},
	{name: "command id 0", body: `{"commandId":0,"commands":[{"claimDailyReward":{}}]}`, code: "BAD_REQUEST", field: "commandId"},
	{name: "command id negative", body: `{"commandId":-1,"commands":[{"claimDailyReward":{}}]}`, code: "BAD_REQUEST", field: "commandId"},
	{name: "unknown durability", body: `{"durability":9,"commands":[{"claimDailyReward":{}}]}`, code: "BAD_REQUEST", field: "durability"},
	{name: "unknown session", body: `{"session":"nobody","commands":[{"claimDailyReward":{}}]}`, code: "SESSION_TAKEN", field: ""},
	{name: "session of 200 bytes", body: `{"session":"` + strings.Repeat("s", 200) + `","commands":[{"claimDailyReward":{}}]}`, code: "BAD_REQUEST", field: "session"},
	{name: "receipt of 65 bytes", body: `{"receipt":"` + strings.Repeat("r", 65) + `","commands":[{"claimDailyReward":{}}]}`, code: "TOO_LARGE", field: "receipt"},

	{name: "unknown field", body: `{"comands":[]}`, code: "BAD_REQUEST", field: "comands", jsonOnly: true},
	{name: "unknown command", body: `{"commands":[{"fly":{}}]}`, code: "BAD_REQUEST", field: "commands[0].fly", jsonOnly: true},
	{name: "unknown field of a command", body: `{"commands":[{"earn":{"currency":"COINS","amuont":5}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.amuont", jsonOnly: true},
	{name: "two commands in one", body: `{"commands":[{"earn":{"currency":"COINS","amount":5},"spend":{"currency":"COINS","amount":5}}]}`, code: "BAD_REQUEST", field: "commands[0].spend", jsonOnly: true},
	{name: "a field twice", body: `{"commands":[{"earn":{"currency":"COINS","amount":5,"amount":6}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.amount", jsonOnly: true},
	{name: "a field twice, by both names", body: `{"commandId":1,"command_id":2,"commands":[]}`, code: "BAD_REQUEST", field: "command_id", jsonOnly: true},
	{name: "unknown currency", body: `{"commands":[{"earn":{"currency":"EURO","amount":5}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.currency", jsonOnly: true},
	{name: "half a coin", body: `{"commands":[{"earn":{"currency":"COINS","amount":0.5}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.amount", jsonOnly: true},
	{name: "an amount in words", body: `{"commands":[{"earn":{"currency":"COINS","amount":"five"}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.amount", jsonOnly: true},
	{name: "a number beyond 2^53", body: `{"commands":[{"earn":{"currency":"COINS","amount":9007199254740993}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.amount", jsonOnly: true},
	{name: "a number beyond 2^63", body: `{"commands":[{"earn":{"currency":"COINS","amount":"9223372036854775808"}}]}`, code: "BAD_REQUEST", field: "commands[0].earn.amount", jsonOnly: true},
	{name: "a count beyond 2^31", body: `{"commands":[{"give":{"itemId":1,"count":2147483648}}]}`, code: "BAD_REQUEST", field: "commands[0].give.count", jsonOnly: true},
	{name: "commands as an object", body: `{"commands":{}}`, code: "BAD_REQUEST", field: "commands", jsonOnly: true},
	{name: "null among commands", body: `{"commands":[null]}`, code: "BAD_REQUEST", field: "commands[0]", jsonOnly: true},
	{name: "not an object", body: `[]`, code: "BAD_REQUEST", field: "", jsonOnly: true},
	{name: "torn", body: `{"commands":[{"earn":{"curr`, code: "BAD_REQUEST", field: "commands[0].earn", jsonOnly: true},
	{name: "not JSON", body: `commands=1`, code: "BAD_REQUEST", field: "", jsonOnly: true},
	{name: "more than one value", body: `{"commands":[]}{"commands":[]}`, code: "BAD_REQUEST", field: "", jsonOnly: true},
	{name: "not UTF-8", body: "{\"commands\":[{\"rename\":{\"name\":\"\xff\"}}]}", code: "BAD_REQUEST", field: "commands[0].rename.name", jsonOnly: true},
	{name: "another player than the path", body: `{"player":"1002","commands":[{"claimDailyReward":{}}]}`, code: "BAD_REQUEST", field: "player", jsonOnly: true},
	{name: "over 1 MiB", body: `{"receipt":"` + strings.Repeat("r", 1<<20) + `"}`, code: "TOO_LARGE", field: "", jsonOnly: true},
}

func TestBadCommands(t *testing.T) {
	r := start(t, nil)
	session := r.openSession(t, "1001")
	before, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1001"})
	if err != nil {
		t.Fatal(err)
	}
	stream := r.stream(t)
	commandID := int64(0)
	for _, c := range badCommands {
		commandID++ // over HTTP
		body := strings.Replace(c.body, "{", fmt.Sprintf(`{"commandId":%d,`, commandID), 1)
		if strings.Contains(c.body, "ommandId") || strings.HasPrefix(c.body, "[") {
			body = c.body
		}
		header := []string{"Skerry-Session", session}
		status, answer := r.do(t, http.MethodPost, "/v1/players/1001/commands", body, header...)
		if status < 400 || status >= 500 || !strings.Contains(answer, fmt.Sprintf(`"code":"%s"`, c.code)) || !strings.Contains(answer, fmt.Sprintf(`"field":"%s"`, c.field)) {
			t.Errorf("%s over JSON: %d %s want %s of %q", c.name, status, answer, c.code, c.field)
		}
		if !c.jsonOnly {
			request := &skerryv1.ExecutePlayerRequest{CommandId: commandID + 1, Session: session}
			parsed := &skerryv1.ExecutePlayerRequest{}
			if err := protojson.Unmarshal([]byte(c.body), parsed); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			proto.Merge(request, parsed)
			if strings.Contains(c.body, `"commandId"`) {
				request.CommandId = parsed.GetCommandId()
			}
			request.Player = "1001"
			_, err := r.client.ExecutePlayer(t.Context(), request)
			if e := wireError(err); e.GetCode() != c.code || e.GetField() != c.field {
				t.Errorf("%s over gRPC: %v, want %s of %q", c.name, err, c.code, c.field)
			}
			if request.CommandId > 0 {
				request.CommandId++
			}
			send(t, stream, &skerryv1.Request{Id: 7, Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: request}})
			responses, _ := recvAll(t, stream, 1)
			if e := responses[0].GetError(); responses[0].GetId() != 7 || e.GetCode() != c.code || e.GetField() != c.field {
				t.Errorf("%s over a stream: %v, want %s of %q", c.name, responses[0], c.code, c.field)
			}
			commandID += 2
		}
		after, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1001"})
		if err != nil || !proto.Equal(after.GetPlayer(), before.GetPlayer()) {
			t.Fatalf("%s changed the player (%v):\n%v\n%v", c.name, err, before.GetPlayer(), after.GetPlayer())
		}
	}
}

// badHTTP are requests that are bad in their path, query or headers.
var badHTTP = []struct {
	name, method, path, body string
	header                   []string
	status                   int
	code, field              string
}{
	{name: "id of 300 bytes", method: "GET", path: "/v1/players/" + strings.Repeat("x", 300), status: 400, code: "BAD_REQUEST", field: "player"},
	{name: "id with a control character", method: "GET", path: "/v1/players/a%00b", status: 400, code: "BAD_REQUEST", field: "player"},
	{name: "id not UTF-8", method: "GET", path: "/v1/players/a%FFb", status: 400, code: "BAD_REQUEST", field: "player"},
	{name: "id with a world's number", method: "GET", path: "/v1/players/a~1", status: 400, code: "BAD_REQUEST", field: "player"},
	{name: "id with a dot first", method: "POST", path: "/v1/players/.x/session", body: `{"server":"s1"}`, status: 400, code: "BAD_REQUEST", field: "player"},
	{name: "server id of 300 bytes", method: "POST", path: "/v1/servers/" + strings.Repeat("x", 300), body: `{}`, status: 400, code: "BAD_REQUEST", field: "server"},
	{name: "session without a server", method: "POST", path: "/v1/players/1/session", body: `{}`, status: 400, code: "BAD_REQUEST", field: "server"},
	{name: "session for a bad server", method: "POST", path: "/v1/players/1/session", body: `{"server":"a b"}`, status: 400, code: "BAD_REQUEST", field: "server"},
	{name: "unknown ifTaken", method: "POST", path: "/v1/players/1/session", body: `{"server":"s1","ifTaken":"STEAL"}`, status: 400, code: "BAD_REQUEST", field: "ifTaken"},
	{name: "initial is no object", method: "POST", path: "/v1/players/1/session", body: `{"server":"s1","initial":7}`, status: 400, code: "BAD_REQUEST", field: "initial"},
	{name: "command id in words", method: "GET", path: "/v1/players/1/commands/one", status: 400, code: "BAD_REQUEST", field: "commandId"},
	{name: "unknown parameter", method: "GET", path: "/v1/players?limt=5", status: 400, code: "BAD_REQUEST", field: "limt"},
	{name: "parameter of the path", method: "GET", path: "/v1/players/1?player=2", status: 400, code: "BAD_REQUEST", field: "player"},
	{name: "parameter twice", method: "GET", path: "/v1/players?limit=5&limit=6", status: 400, code: "BAD_REQUEST", field: "limit"},
	{name: "limit in words", method: "GET", path: "/v1/players?limit=many", status: 400, code: "BAD_REQUEST", field: "limit"},
	{name: "limit 1001", method: "GET", path: "/v1/players?limit=1001", status: 400, code: "BAD_REQUEST", field: "limit"},
	{name: "limit negative", method: "GET", path: "/v1/players?limit=-1", status: 400, code: "BAD_REQUEST", field: "limit"},
	{name: "after no id", method: "GET", path: "/v1/players?after=a%20b", status: 400, code: "BAD_REQUEST", field: "after"},
	{name: "broken query", method: "GET", path: "/v1/players?after=%zz", status: 400, code: "BAD_REQUEST"},
	{name: "wait of an hour", method: "GET", path: "/v1/servers/s1/events?wait=1h", status: 400, code: "BAD_REQUEST", field: "wait"},
	{name: "wait in words", method: "GET", path: "/v1/servers/s1/events?wait=long", status: 400, code: "BAD_REQUEST", field: "wait"},
	{name: "players negative", method: "POST", path: "/v1/servers/s1", body: `{"players":-1}`, status: 400, code: "BAD_REQUEST", field: "players"},
	{name: "unknown budget", method: "POST", path: "/v1/servers/s1", body: `{"budget":"endless"}`, status: 400, code: "BAD_REQUEST", field: "budget"},
	{name: "budget with an unknown setting", method: "POST", path: "/v1/servers/s1", body: `{"budget":"roblox-2023,bursts=1"}`, status: 400, code: "BAD_REQUEST", field: "budget"},
	{name: "budget beyond its bounds", method: "POST", path: "/v1/servers/s1", body: `{"budget":"custom,get=60+1001"}`, status: 400, code: "BAD_REQUEST", field: "budget"},
	{name: "budget twice the same", method: "POST", path: "/v1/servers/s1", body: `{"budget":"custom,queue=1,queue=1"}`, status: 400, code: "BAD_REQUEST", field: "budget"},
	{name: "budget of unlimited with settings", method: "POST", path: "/v1/servers/s1", body: `{"budget":"unlimited,burst=1"}`, status: 400, code: "BAD_REQUEST", field: "budget"},
	{name: "budget of 201 bytes", method: "POST", path: "/v1/servers/s1", body: `{"budget":"custom,get=` + strings.Repeat("0", 190) + `"}`, status: 400, code: "BAD_REQUEST", field: "budget"},
	{name: "budget is a number", method: "POST", path: "/v1/servers/s1", body: `{"budget":60}`, status: 400, code: "BAD_REQUEST", field: "budget"},
	{name: "a body on GET", method: "GET", path: "/v1/players/1", body: `{"player":"2"}`, status: 400, code: "BAD_REQUEST"},
	{name: "malformed space", method: "GET", path: "/v1/players/1", header: []string{"Skerry-Space", "My Game"}, status: 400, code: "BAD_REQUEST", field: "skerry-space"},
	{name: "malformed session", method: "GET", path: "/v1/players/1", header: []string{"Skerry-Session", strings.Repeat("s", 129)}, status: 400, code: "BAD_REQUEST", field: "skerry-session"},
	{name: "basic authorization", method: "GET", path: "/v1/players/1", header: []string{"Authorization", "Basic YTpi"}, status: 401, code: "UNAUTHENTICATED", field: "authorization"},
	{name: "batch of 101", method: "POST", path: "/v1/batch", body: `{"requests":[` + strings.TrimSuffix(strings.Repeat(`{},`, 101), ",") + `]}`, status: 400, code: "BAD_REQUEST", field: "requests"},
	{name: "bad place in a batch", method: "POST", path: "/v1/batch", body: `{"requests":[{"getPlayer":{"player":"1"}},{"executePlayer":{"commands":[{"earn":{"amount":"x"}}]}}]}`, status: 400, code: "BAD_REQUEST", field: "requests[1].executePlayer.commands[0].earn.amount"},
	{name: "two documents", method: "PUT", path: "/v1/players/1", body: `{"documentV1":{},"original":{}}`, status: 400, code: "BAD_REQUEST", field: "original"},
	{name: "no document", method: "PUT", path: "/v1/players/1", body: `{}`, status: 400, code: "BAD_REQUEST", field: "document"},
	{name: "import over 4 MiB", method: "PUT", path: "/v1/players/1", body: `{"original":{"a":"` + strings.Repeat("x", 4<<20) + `"}}`, status: 413, code: "TOO_LARGE"},
	{name: "key with an unknown scope", method: "POST", path: "/v1/keys", body: `{"space":"*","scopes":["fly"]}`, status: 400, code: "BAD_REQUEST", field: "scopes"},
	{name: "key with a control character", method: "POST", path: "/v1/keys", body: `{"name":"a\nb","space":"*","scopes":["read"]}`, status: 400, code: "BAD_REQUEST", field: "name"},
	{name: "revoking no key", method: "DELETE", path: "/v1/keys/none", status: 404, code: "NOT_FOUND", field: "id"},
}

func TestBadHTTP(t *testing.T) {
	r := start(t, nil)
	for _, c := range badHTTP {
		status, body := r.do(t, c.method, c.path, c.body, c.header...)
		if status != c.status || !strings.Contains(body, fmt.Sprintf(`{"code":"%s"`, c.code)) || !strings.Contains(body, fmt.Sprintf(`"field":"%s"`, c.field)) {
			t.Errorf("%s: %d %s want %d %s of %q", c.name, status, body, c.status, c.code, c.field)
		}
	}
}

// badMessages are requests that only protobuf can say.
var badMessages = []struct {
	name        string
	request     *skerryv1.Request
	code, field string
}{
	{"name not UTF-8", openAs("\xff"), "BAD_REQUEST", "name"},
	{"attribute not UTF-8", command(setAttribute("a", "\xff")), "BAD_REQUEST", "commands[0].setAttribute.value"},
	{"path not UTF-8", command(setAttribute("\xff", "a")), "BAD_REQUEST", "commands[0].setAttribute.path"},
	{"id not UTF-8", getPlayer(0, "\xff"), "BAD_REQUEST", "player"},
	{"receipt not UTF-8", withReceipt("\xff"), "BAD_REQUEST", "receipt"},
	{"nested beyond reason", command(&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetAttribute{SetAttribute: &skerryv1.SetAttribute{Path: "a", Value: nested(5000)}}}), "BAD_REQUEST", "*"},
	{"a request over 1 MiB", openAs(strings.Repeat("n", 1<<20)), "TOO_LARGE", ""},
	{"no request", &skerryv1.Request{}, "BAD_REQUEST", "request"},
	{"a command of a newer version", unknownCommand(), "BAD_REQUEST", "commands[0]"},
}

func openAs(name string) *skerryv1.Request {
	request := open(0, "1")
	request.GetOpenPlayerSession().Name = name
	return request
}

func command(cmd *skerryv1.PlayerCommand) *skerryv1.Request {
	request := earn("1", "token-1", 1, 1)
	request.GetExecutePlayer().Commands[0] = cmd
	return request
}

func withReceipt(receipt string) *skerryv1.Request {
	request := earn("1", "token-1", 1, 1)
	request.GetExecutePlayer().Receipt = receipt
	return request
}

func unknownCommand() *skerryv1.Request {
	cmd := &skerryv1.PlayerCommand{}
	cmd.ProtoReflect().SetUnknown([]byte{0x9a, 0x06, 0x00}) // field 99, empty
	return command(cmd)
}

func nested(depth int) *structpb.Value {
	value := structpb.NewNullValue()
	for range depth {
		value = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{value}})
	}
	return value
}

func TestBadMessages(t *testing.T) {
	r := start(t, nil)
	r.openSession(t, "1")
	for _, c := range badMessages {
		stream := r.stream(t)
		send(t, stream, c.request)
		responses, _ := recvAll(t, stream, 1)
		batch, err := r.client.Batch(t.Context(), &skerryv1.BatchRequest{Requests: []*skerryv1.Request{c.request}})
		if c.code == "TOO_LARGE" {
			if e := wireError(err); e.GetCode() != c.code || e.GetField() != "requests" {
				t.Errorf("%s in a batch: %v", c.name, err)
			}
		} else if err != nil {
			t.Errorf("%s in a batch: %v", c.name, err)
		} else {
			responses = append(responses, batch.GetResponses()...)
		}
		for _, response := range responses {
			if e := response.GetError(); e.GetCode() != c.code || e.GetField() != c.field && c.field != "*" {
				t.Errorf("%s: %.300v, want %s of %q", c.name, response, c.code, c.field)
			}
		}
	}
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = rawCodec{}

// Goal: broken frames are answered with a typed error, and the server goes on.
func TestBrokenFrames(t *testing.T) {
	r := start(t, nil)
	conn := dial(t, r.grpcAddr)
	whole, err := proto.Marshal(&skerryv1.BatchRequest{Requests: []*skerryv1.Request{getPlayer(1, "1")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bytes []byte
		code  string
	}{
		"garbage":    {[]byte{0xff, 0xff, 0xff, 0xff}, "BAD_REQUEST"},
		"torn":       {whole[:len(whole)-1], "BAD_REQUEST"},
		"over 5 MiB": {bytes.Repeat([]byte{0}, maxMessageBytes+1), "TOO_LARGE"},
	} {
		var answer []byte
		err := conn.Invoke(t.Context(), skerryv1.Skerry_GetPlayer_FullMethodName, &c.bytes, &answer, grpc.ForceCodecV2(rawCodec{}))
		if wireError(err).GetCode() != c.code {
			t.Errorf("%s, unary: %v", name, err)
		}
		stream, err := conn.NewStream(t.Context(), &skerryv1.Skerry_ServiceDesc.Streams[0], skerryv1.Skerry_Stream_FullMethodName, grpc.ForceCodecV2(rawCodec{}))
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.SendMsg(&c.bytes) // the server may have ended it already
		if err := stream.RecvMsg(&answer); wireError(err).GetCode() != c.code {
			t.Errorf("%s, on a stream: %v", name, err)
		}
	}
	if _, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1"}); wireError(err).GetCode() != "NOT_FOUND" {
		t.Errorf("afterwards: %v", err)
	}
}

// Goal: metadata that are bad are refused by name, on every way in.
func TestBadMetadata(t *testing.T) {
	r := start(t, nil)
	for name, c := range map[string]struct {
		md          []string
		code, field string
	}{
		"malformed space":   {[]string{"skerry-space", "NO"}, "BAD_REQUEST", "skerry-space"},
		"two spaces":        {[]string{"skerry-space", "a", "skerry-space", "b"}, "BAD_REQUEST", "skerry-space"},
		"malformed session": {[]string{"skerry-session", "a b"}, "BAD_REQUEST", "skerry-session"},
		"malformed key":     {[]string{"authorization", "Bearer sk_x"}, "UNAUTHENTICATED", "authorization"},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), c.md...)
		_, err := r.client.GetPlayer(ctx, &skerryv1.GetPlayerRequest{Player: "1"})
		if e := wireError(err); e.GetCode() != c.code || e.GetField() != c.field {
			t.Errorf("%s, unary: %v", name, err)
		}
		_, err = r.client.Batch(ctx, &skerryv1.BatchRequest{})
		if e := wireError(err); e.GetCode() != c.code || e.GetField() != c.field {
			t.Errorf("%s, batch: %v", name, err)
		}
		stream := r.stream(t, c.md...)
		_, err = stream.Recv()
		if e := wireError(err); e.GetCode() != c.code || e.GetField() != c.field {
			t.Errorf("%s, stream: %v", name, err)
		}
	}
}

// Goal: a message that nests as deep as its size allows is refused, and brings nothing down.
func TestBottomlessMessage(t *testing.T) {
	r := start(t, nil)
	value := []byte{0x08, 0x00} // a null
	wrap := func(tag byte, inner int) []byte { return binary.AppendUvarint([]byte{tag}, uint64(inner)) }
	var heads [][]byte // of every message, the innermost first: built without copying the inside again and again
	size := len(value)
	for size < maxMessageBytes-100 {
		for _, tag := range []byte{0x0a, 0x32} { // ListValue.values, Value.list_value
			head := wrap(tag, size)
			heads = append(heads, head)
			size += len(head)
		}
	}
	for _, tag := range []byte{0x12, 0x82 /* field 16: set_attribute */, 0x2a, 0x52, 0x0a} { // value, command, commands, execute_player, requests
		head := wrap(tag, size)
		if tag == 0x82 {
			head = binary.AppendUvarint([]byte{0x82, 0x01}, uint64(size))
		}
		heads = append(heads, head)
		size += len(head)
	}
	message := make([]byte, 0, size)
	for _, head := range slices.Backward(heads) {
		message = append(message, head...)
	}
	message = append(message, value...)
	stream, err := dial(t, r.grpcAddr).NewStream(t.Context(), &skerryv1.Skerry_ServiceDesc.Streams[0], skerryv1.Skerry_Stream_FullMethodName, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&message); err != nil {
		t.Fatal(err)
	}
	var answer []byte
	if err := stream.RecvMsg(&answer); wireError(err).GetCode() != "BAD_REQUEST" {
		response := &skerryv1.BatchResponse{}
		if err != nil || proto.Unmarshal(answer, response) != nil || response.GetResponses()[0].GetError().GetCode() != "BAD_REQUEST" {
			t.Errorf("answered %v, %v", err, response)
		}
	}
	t.Logf("%d messages in each other", len(heads))
}
