// Goal: the folders stay the architecture.
// Method: the drawing of the house as a table, held against what `go list` says of the imports.
package skerry_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/skerry-dev/skerry/"

var house = []struct { // floors from the ground up; a package imports only from floors below its own
	floor string
	rooms []string
}{
	{"messages", []string{"codec/skerryv1"}},
	{"stored messages", []string{"codec/storev1"}},
	{"messages between nodes", []string{"codec/peerv1"}},
	{"bytes", []string{"codec", "codec/grpccodec"}},
	{"chunks", []string{"codec/chunk", "codec/vxc1", "codec/worldjson"}},
	{"caller's side", []string{"client"}}, // no Pebble, raft or protoactor behind it, also transitively
	{"promises", []string{"persistence"}},
	{"peer transport", []string{"persistence/replication/peers"}},
	{"state", []string{"persistence/pebblestore", "persistence/budget"}},
	{"log", []string{"persistence/replication"}},
	{"what rules share", []string{"actors/items"}},
	{"what parties share", []string{"actors/transfer"}},
	{"rules", []string{"actors/player", "actors/server", "actors/world"}},
	{"turns", []string{"actors/turn", "actors/gate"}},
	{"life", []string{"actors"}},
	{"who and where", []string{"cluster/members", "cluster/placement", "cluster/routing"}},
	{"cluster", []string{"cluster"}},
	{"front door", []string{"gateway"}},
	{"assembly", []string{"node"}},
	{"processes", []string{"internal/clustertest", "internal/nodeprocess"}}, // nodes as child processes, and what is around a node
	{"what a load test found", []string{"loadtest/report"}},
	{"load", []string{"loadtest"}},
	{"load on others", []string{"loadtest/peers"}},
	{"roof", []string{"cmd/skerry", "cmd/skerry-load", "skerrytest"}},
}

var doors = map[string][]string{ // the only packages that may import each engine
	"github.com/cockroachdb/pebble":          {"persistence/pebblestore"},
	"github.com/cockroachdb/pebble/v2/vfs":   {"persistence/pebblestore", "persistence/replication"}, // the log runs on a crashable disk in tests
	"go.etcd.io/raft":                        {"persistence/replication"},
	"github.com/asynkron/protoactor-go":      {"actors"},
	"github.com/hashicorp/memberlist":        {"cluster/members"},
	"github.com/grpc-ecosystem/grpc-gateway": {"gateway", "codec/skerryv1"}, // the generated mapping is beside its messages
}

func TestHouse(t *testing.T) {
	for _, complaint := range inspect(listImports(t)) {
		t.Error(complaint)
	}
}

// TestHouseComplains sees each rule of the house broken once.
func TestHouseComplains(t *testing.T) {
	for name, imports := range map[string]map[string][]string{
		"a room on no floor": {"util": nil},
		"an upper floor":     {"codec": {module + "persistence"}},
		"a neighbour":        {"codec/grpccodec": {module + "codec"}},
		"a wrong door":       {"gateway": {"github.com/cockroachdb/pebble/v2"}},
		"vfs, wrong door":    {"actors": {"github.com/cockroachdb/pebble/v2/vfs"}},
		"a heavy client":     {"client": {module + "codec"}, "codec": {"go.etcd.io/raft/v3"}},
	} {
		if len(inspect(imports)) == 0 {
			t.Errorf("%s: nobody complained", name)
		}
	}
}

// inspect holds the imports of every room against the drawing; its complaints say what to do.
func inspect(imports map[string][]string) []string {
	var complaints []string
	floorOf := map[string]int{}
	for i, f := range house {
		for _, room := range f.rooms {
			floorOf[room] = i
		}
	}
	for room, imported := range imports {
		here, ok := floorOf[room]
		if !ok {
			complaints = append(complaints, room+" is on no floor: give it one in house_test.go and ARCHITECTURE.md")
			continue
		}
		for _, name := range imported {
			if other, ours := strings.CutPrefix(name, module); ours {
				if there, known := floorOf[other]; !known || there >= here {
					complaints = append(complaints, room+" imports "+other+": "+house[here].floor+" may see only the floors below")
				}
			}
			if door := doorOf(name); door != nil && !slices.Contains(door, room) {
				complaints = append(complaints, room+" imports "+name+": go through "+strings.Join(door, " or "))
			}
		}
	}
	for name := range reach(imports, "client") {
		if door := doorOf(name); door != nil && !slices.Contains(door, "codec/skerryv1") {
			complaints = append(complaints, "client reaches "+name+": a game server would link it")
		}
	}
	return complaints
}

// doorOf returns who may import the package: the entry with the longest matching prefix; nil means everybody.
func doorOf(name string) []string {
	var longest string
	for library := range doors {
		if strings.HasPrefix(name, library) && len(library) > len(longest) {
			longest = library
		}
	}
	return doors[longest]
}

// reach returns everything that room imports, also through our other rooms.
func reach(imports map[string][]string, room string) map[string]bool {
	seen := map[string]bool{}
	var visit func(string)
	visit = func(room string) {
		for _, name := range imports[room] {
			if !seen[name] {
				seen[name] = true
				visit(strings.TrimPrefix(name, module))
			}
		}
	}
	visit(room)
	return seen
}

// listImports returns the non-test imports of every package in the house.
func listImports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		room, ours := strings.CutPrefix(fields[0], module)
		helper := path.Base(room) == path.Base(path.Dir(room))+"test" // persistence/persistencetest
		if ours && !helper && !strings.HasPrefix(room, "internal/") {
			imports[room] = fields[1:]
		}
	}
	return imports
}
