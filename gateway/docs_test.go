package gateway

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: docs/api.md is true: its bodies are read, its commands run, and it has every call, command and code.

var (
	docBlock   = regexp.MustCompile("(?s)```json (\\w+)\n(.*?)```")
	docCommand = regexp.MustCompile("(?m)^\\| `(\\{.*?\\})` \\| .* \\| (?:`(\\w+)`) \\| (.*) \\|$")
)

func apiDoc(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func TestDocBodiesAreRead(t *testing.T) {
	blocks := docBlock.FindAllStringSubmatch(apiDoc(t), -1)
	if len(blocks) < 10 {
		t.Fatalf("only %d bodies found", len(blocks))
	}
	for _, block := range blocks {
		name, body := block[1], []byte(block[2])
		if name == "error" {
			decoder := json.NewDecoder(strings.NewReader(block[2]))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&errorBody{}); err != nil {
				t.Errorf("error body: %v", err)
			}
			continue
		}
		kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("skerry.v1." + name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := (marshaler{}).Unmarshal(body, kind.New().Interface()); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, body)
		}
	}
}

func TestDocCommandsRun(t *testing.T) {
	r := start(t, nil)
	ann, err := r.client.OpenPlayerSession(t.Context(), &skerryv1.OpenPlayerSessionRequest{Player: "1", Server: "s1", Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	home, err := r.client.OpenWorldSession(t.Context(), &skerryv1.OpenWorldSessionRequest{World: "1", Server: "s1", Create: &skerryv1.Create{
		OwnerId: new(""), BlockNames: []string{"air", "stone", "dirt"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ofPlayers, rest, _ := strings.Cut(apiDoc(t), "\n## World commands")
	ofWorlds, _, found := strings.Cut(rest, "\n## ")
	if !found {
		t.Fatal("docs/api.md has no world commands")
	}
	r.runDocCommands(t, ofPlayers, "/v1/players/1/commands", ann.GetSession(), (&skerryv1.PlayerCommand{}).ProtoReflect().Descriptor())
	r.runDocCommands(t, ofWorlds, "/v1/worlds/1/commands", home.GetSession(), (&skerryv1.WorldCommand{}).ProtoReflect().Descriptor())
}

// runDocCommands runs the examples in a table of commands, which must have all that the schema has.
func (r *running) runDocCommands(t *testing.T, doc, path, session string, schema protoreflect.MessageDescriptor) {
	t.Helper()
	missing := map[string]bool{}
	fields := schema.Oneofs().ByName("command").Fields()
	for i := range fields.Len() {
		missing[fields.Get(i).JSONName()] = true
	}
	codes := map[string]bool{}
	for _, doc := range codec.Codes() {
		codes[string(doc.Code)] = true
	}
	for i, row := range docCommand.FindAllStringSubmatch(doc, -1) {
		example, reply, refusals := row[1], row[2], row[3]
		status, answer := r.do(t, "POST", path, fmt.Sprintf(`{"commandId":%d,"commands":[%s]}`, i+1, example), "Skerry-Session", session)
		if status != 200 || !strings.Contains(answer, fmt.Sprintf(`"replies":[{"%s":`, reply)) {
			t.Errorf("%s: %d %s, want a reply %s", example, status, answer, reply)
		}
		var command map[string]json.RawMessage
		if err := json.Unmarshal([]byte(example), &command); err != nil {
			t.Errorf("%s: %v", example, err)
		}
		for name := range command {
			delete(missing, name)
		}
		for _, code := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(refusals, -1) {
			if !codes[code[1]] {
				t.Errorf("%s may be refused with %s, which is no code", example, code[1])
			}
		}
	}
	if len(missing) > 0 {
		t.Errorf("docs/api.md has no command %v", missing)
	}
}

func TestDocHasEveryCode(t *testing.T) {
	doc := apiDoc(t)
	for _, c := range codec.Codes() {
		m := meaningOf(c.Code)
		retryable := map[bool]string{true: "yes", false: "no"}[m.retryable]
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s |", c.Code, strconv.Itoa(m.http), m.grpc, retryable, c.Meaning)
		if !strings.Contains(doc, row) {
			t.Errorf("docs/api.md has no row\n%s", row)
		}
	}
}

func TestDocHasEveryCall(t *testing.T) {
	doc := apiDoc(t)
	for i := range skerryv1.File_skerry_v1_skerry_proto.Services().Get(0).Methods().Len() {
		name := string(skerryv1.File_skerry_v1_skerry_proto.Services().Get(0).Methods().Get(i).Name())
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(doc) {
			t.Errorf("docs/api.md does not name %s", name)
		}
	}
	var described struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(openAPI, &described); err != nil {
		t.Fatal(err)
	}
	for path, methods := range described.Paths {
		for method := range methods {
			route := "`" + strings.ToUpper(method) + " " + path
			if !strings.Contains(doc, route+"`") && !strings.Contains(doc, route+"?") {
				t.Errorf("docs/api.md has no %s", route)
			}
		}
	}
	for which := range calls {
		if name := calls[which].name; which != int(callNone) && !strings.Contains(doc, name) {
			t.Errorf("docs/api.md does not name %s", name)
		}
	}
}
