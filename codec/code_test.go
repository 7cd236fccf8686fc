package codec_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"

	"github.com/skerry-dev/skerry/codec"
)

// Goal: the documentation's list of codes is whole. Method: compare it with the constants in the source.
func TestCodesListsEveryCode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := map[codec.Code]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				word, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				constants[codec.Code(word)] = true
			}
		}
		return true
	})
	form := regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`)
	for _, doc := range codec.Codes() {
		if !constants[doc.Code] || !form.MatchString(string(doc.Code)) || doc.Meaning == "" {
			t.Errorf("%q is twice in the list, or no constant, or has no meaning", doc.Code)
		}
		delete(constants, doc.Code)
	}
	for code := range constants {
		t.Errorf("%s is not in the list", code)
	}
}
