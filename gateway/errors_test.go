package gateway

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Goal: no sentinel of the rooms below becomes INTERNAL because nobody thought of it.
// Method: the exported Err… of their sources, held against the names in the table's source.
func TestEverySentinelHasACode(t *testing.T) {
	same := map[string]string{"persistence.ErrNewer": "codec.ErrNewer"} // one value, two names
	for _, name := range []string{"ErrBadRequest", "ErrBadAmount", "ErrInventoryFull", "ErrNoSuchItem", "ErrBadSlot", "ErrTooLarge"} {
		same["items."+name], same["world."+name] = "player."+name, "player."+name
	}
	known := namesIn(t, "errors.go")
	for _, room := range []string{"../actors", "../actors/turn", "../actors/items", "../actors/player", "../actors/server", "../actors/world", "../persistence", "../codec"} {
		found := sentinelsOf(t, room)
		if len(found) == 0 {
			t.Errorf("%s: no sentinels found; is the test looking in the right place?", room)
		}
		for _, name := range found {
			if other, ok := same[name]; ok {
				name = other
			}
			if !known[name] {
				t.Errorf("%s is not in the table of gateway/errors.go: give it a code", name)
			}
		}
	}
}

// parse returns the files of a folder that are no tests.
func parse(t *testing.T, folder string) []*ast.File {
	t.Helper()
	packages, err := parser.ParseDir(token.NewFileSet(), folder, func(info fs.FileInfo) bool { //nolint:staticcheck // enough for names
		return !strings.HasSuffix(info.Name(), "_test.go")
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, p := range packages {
		for _, file := range p.Files {
			files = append(files, file)
		}
	}
	return files
}

// sentinelsOf returns the exported error variables of a room, with its name before.
func sentinelsOf(t *testing.T, room string) []string {
	t.Helper()
	var names []string
	for _, file := range parse(t, room) {
		for _, decl := range file.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || general.Tok != token.VAR {
				continue
			}
			for _, spec := range general.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, path.Base(room)+"."+name.Name)
					}
				}
			}
		}
	}
	return names
}

// namesIn returns every package.Name that the table sentinels of a file has.
func namesIn(t *testing.T, name string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok || general.Tok != token.VAR || general.Specs[0].(*ast.ValueSpec).Names[0].Name != "sentinels" {
			continue
		}
		ast.Inspect(general, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				if from, ok := selector.X.(*ast.Ident); ok {
					names[from.Name+"."+selector.Sel.Name] = true
				}
			}
			return true
		})
	}
	return names
}

func TestEveryCodeHasAMeaning(t *testing.T) {
	listed := map[codec.Code]bool{}
	for _, doc := range codec.Codes() {
		listed[doc.Code] = true
		if m := meaningOf(doc.Code); m.code != doc.Code {
			t.Errorf("%s has no meaning in gateway/errors.go", doc.Code)
		}
	}
	for _, m := range meanings {
		if !listed[m.code] {
			t.Errorf("%s is not in codec.Codes", m.code)
		}
		if m.retryable && m.http != 429 && m.http != 503 && m.http != 504 {
			t.Errorf("%s is retryable with HTTP status %d", m.code, m.http)
		}
	}
}

func TestDescribe(t *testing.T) {
	index := int32(2)
	for _, c := range []struct {
		err  error
		want *skerryv1.Error
		grpc codes.Code
		http int
	}{
		{
			&player.Refusal{Err: player.ErrInsufficientFunds, Field: "commands[2].spend.amount", CommandIndex: 2, Message: "too much"},
			&skerryv1.Error{Code: "INSUFFICIENT_FUNDS", Message: "too much", Field: "commands[2].spend.amount", CommandIndex: &index, Outcome: notApplied},
			codes.FailedPrecondition, 422,
		},
		{
			&player.Refusal{Err: player.ErrBadRequest, Field: "commands", CommandIndex: -1, Message: "none"},
			&skerryv1.Error{Code: "BAD_REQUEST", Message: "none", Field: "commands", Outcome: notApplied},
			codes.InvalidArgument, 400,
		},
		{
			fmt.Errorf("player x: %w", turn.ErrSessionTaken),
			&skerryv1.Error{Code: "SESSION_TAKEN", Message: "player x: " + turn.ErrSessionTaken.Error(), Outcome: notApplied},
			codes.Aborted, 409,
		},
		{ // what is inside a failed load decides
			fmt.Errorf("%w: %w", actors.ErrLoad, persistence.ErrCorrupt),
			&skerryv1.Error{Code: "CORRUPT", Message: "load failed: stored bytes are corrupt", Outcome: notApplied},
			codes.DataLoss, 500,
		},
		{
			fmt.Errorf("%w: %w", actors.ErrLoad, errors.New("disk on fire")),
			&skerryv1.Error{Code: "UNAVAILABLE", Message: "load failed: disk on fire", Retryable: true, Outcome: notApplied, RetryAfterMs: 200},
			codes.Unavailable, 503,
		},
		{
			persistence.ErrOutcomeUnknown,
			&skerryv1.Error{Code: "OUTCOME_UNKNOWN", Message: "outcome unknown", Retryable: true, Outcome: unknown},
			codes.DeadlineExceeded, 504,
		},
		{ // never says what is inside
			errors.New("password is hunter2"),
			&skerryv1.Error{Code: "INTERNAL", Message: "an internal error; the node's log has it", Outcome: unknown},
			codes.Internal, 500,
		},
		{
			&refusal{err: errTooMany, message: "slower", retryAfter: 1500 * time.Millisecond},
			&skerryv1.Error{Code: "OVERLOADED", Message: "slower", Retryable: true, Outcome: notApplied, RetryAfterMs: 1501},
			codes.ResourceExhausted, 429,
		},
		{ // a retry's refusal is the one that was remembered
			&turn.RememberedError{Refused: &skerryv1.Error{Code: "BAD_SLOT", Message: "as before", Outcome: notApplied}},
			&skerryv1.Error{Code: "BAD_SLOT", Message: "as before", Outcome: notApplied},
			codes.FailedPrecondition, 422,
		},
	} {
		got := Describe(c.err)
		if !proto.Equal(got, c.want) {
			t.Errorf("%v\n described as %v\n       want %v", c.err, got, c.want)
		}
		if m := meaningOf(codec.Code(got.GetCode())); m.grpc != c.grpc || m.http != c.http {
			t.Errorf("%v: gRPC %s and HTTP %d, want %s and %d", c.err, m.grpc, m.http, c.grpc, c.http)
		}
		if wire := wireError(asStatus(c.err)); !proto.Equal(wire, c.want) || status.Code(asStatus(c.err)) != c.grpc {
			t.Errorf("%v: the status is %v with %v", c.err, status.Code(asStatus(c.err)), wire)
		}
	}
}
