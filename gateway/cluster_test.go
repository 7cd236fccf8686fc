package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: what an operator asks for over HTTP reaches the node as asked, or is refused with the field that is wrong.
func TestOperatorsCalls(t *testing.T) {
	r := start(t, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string // in the answer, or what was ordered
	}{
		{"POST", "/v1/cluster/nodes/a:drain", "", 200, "drain a"},
		{"POST", "/v1/cluster/nodes/a:drain", `{"undo":true}`, 200, "undrain a"},
		{"POST", "/v1/cluster/nodes/b:remove", `{"force":true}`, 200, "remove b true"},
		{"POST", "/v1/cluster/nodes/b:remove", "", 200, "remove b false"},
		{"POST", "/v1/cluster/partitions/7:handover", `{"to":"b"}`, 200, "hand over 7 to b"},
		{"POST", "/v1/cluster/nodes/c:drain", "", 404, `"field":"node"`},
		{"POST", "/v1/cluster/nodes/c:remove", "", 404, `"field":"node"`},
		{"POST", "/v1/cluster/partitions/7:handover", `{"to":"c"}`, 404, `"field":"to"`},
		{"POST", "/v1/cluster/nodes/last:drain", "", 409, `NOT_POSSIBLE","message":"not possible: it is the last one"`},
		{"POST", "/v1/cluster/nodes/$:drain", "", 400, `"field":"node"`},
		{"POST", "/v1/cluster/partitions/8:handover", `{"to":"b"}`, 400, `is 8, not 0 to 7`},
		{"POST", "/v1/cluster/partitions/-1:handover", `{"to":"b"}`, 400, `"field":"partition"`},
		{"POST", "/v1/cluster/partitions/1:handover", "", 400, `"field":"to"`},
	} {
		r.admin.ordered = nil
		status, answer := r.do(t, c.method, c.path, c.body)
		if status != c.status || status == 200 && !slices.Equal(r.admin.ordered, []string{c.want}) || status != 200 && !strings.Contains(answer, c.want) {
			t.Errorf("%s %s %s: %d %s, ordered %v; want %d %s", c.method, c.path, c.body, status, answer, r.admin.ordered, c.status, c.want)
		}
	}
}

// Goal: "who owned player 42 at 20:14, under which epoch, why did it move" has an answer.
func TestOwnersOverHTTP(t *testing.T) {
	r := start(t, nil)
	partition := persistence.PartitionOf(persistence.Key{Space: "staging", Kind: persistence.KindPlayer, ID: "42"}, 8)
	for _, c := range []struct {
		query  string
		status int
		want   string // of the answer
	}{
		{"player=42&at=2026-03-01T13:00:00Z", 200, fmt.Sprintf(`{"partition":%d,"owners":[{"node":"b","epoch":"1.3","since":"2026-03-01T12:00:00Z","why":"handed_over"}]}`, partition)},
		{"player=42&at=2026-03-01T12:30:00%2B01:00", 200, `{"node":"a","epoch":"1.2"`},
		{"player=42&at=2026-03-01T12:00:00Z", 200, `[{"node":"b"`},
		{"player=42&at=2025-03-01T12:00:00Z", 200, `"owners":[]`},
		{"partition=0", 200, `{"partition":0,"owners":[{"node":"a",`},
		{"world=42~2", 200, `"why":"started"`},
		{"server=s1", 200, `"why":"started"`},
		{"", 400, "one of player, world, server and partition"},
		{"partition=8", 400, `"field":"partition"`},
		{"player=", 400, `"field":"player"`},
		{"player=1&world=1", 400, "BAD_REQUEST"},
		{"player=1&at=noon", 400, `"field":"at"`},
	} {
		status, answer := r.do(t, "GET", "/v1/cluster/owners?"+c.query, "", "Skerry-Space", "staging")
		if status != c.status || !strings.Contains(answer, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.query, status, answer, c.status, c.want)
		}
	}
}
