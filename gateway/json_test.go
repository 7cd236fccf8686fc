package gateway

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// keyInText finds API keys in answers: each is another.
var keyInText = regexp.MustCompile(`sk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}|"id":"[0-9a-f]{16}"|"createdAt":"[^"]*"`)

// Goal: the JSON of every call looks like this, errors included.
// Method: transcripts of requests and answers. What is in them are the rules of players and servers, and the fake admin.
func TestJSON(t *testing.T) {
	datadriven.Walk(t, "testdata/json", func(t *testing.T, path string) {
		t.Helper()
		r := start(t, nil)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var method, target, space, session, key string
			method = strings.ToUpper(d.Cmd)
			d.ScanArgs(t, "path", &target)
			d.MaybeScanArgs(t, "space", &space)
			d.MaybeScanArgs(t, "session", &session)
			d.MaybeScanArgs(t, "key", &key)
			header := []string{"Skerry-Space", space, "Skerry-Session", session}
			if key != "" {
				header = append(header, "Authorization", "Bearer "+key)
			}
			status, body := r.do(t, method, target, d.Input, header...)
			body = keyInText.ReplaceAllStringFunc(body, func(s string) string {
				if name, _, ok := strings.Cut(s, ":"); ok {
					return name + `:"…"`
				}
				return "sk_…"
			})
			return fmt.Sprintf("%d\n%s", status, body)
		})
	})
}
