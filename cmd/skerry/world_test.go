package main

import (
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/vxc1"
	"github.com/skerry-dev/skerry/skerrytest"
)

// Goal: what goes into a world through the command comes out of it, in both forms; maps are what they show.
// Method: a node in memory, files made here; exports are read back by the packages that know the formats.

// must is skerry that has to succeed.
func must(t *testing.T, node *skerrytest.Node, args ...string) string {
	t.Helper()
	code, out, errs := skerry(t, node.GRPC(), "", args...)
	if code != exitOK {
		t.Fatalf("skerry %v: exit code %d: %s", args, code, errs)
	}
	return out
}

// hills are columns of stone under grass, of different heights.
func hills() (vxc1.Header, []vxc1.Column) {
	header := vxc1.Header{MinY: -64, Names: []string{"air", "default:stone", "", "default:dirt_with_grass"}}
	var columns []vxc1.Column
	for z := int32(-1); z <= 1; z++ {
		for x := int32(-1); x <= 0; x++ {
			ids := make([]uint16, vxc1.ColumnIDs)
			for i := range ids {
				switch layer, top := i/256, 60+i%16/(int(x)+3)+int(z); {
				case layer < top:
					ids[i] = 1
				case layer == top:
					ids[i] = 3
				}
			}
			columns = append(columns, vxc1.Column{X: x, Z: z, IDs: ids})
			header.Columns++
		}
	}
	return header, columns
}

func readVXC1(t *testing.T, name string) (vxc1.Header, []vxc1.Column) {
	t.Helper()
	opened, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = opened.Close() }()
	file, err := vxc1.NewReader(opened)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var columns []vxc1.Column
	for {
		var c vxc1.Column
		if err = file.Next(&c); errors.Is(err, io.EOF) {
			return file.Header(), columns
		}
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, c)
	}
}

func TestWorldRoundTrips(t *testing.T) {
	node := skerrytest.Start(t)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	header, columns := hills()
	file, err := os.Create(in("a.vxc"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := vxc1.NewWriter(file, header)
	for _, c := range columns {
		err = errors.Join(err, w.Write(c))
	}
	if err = errors.Join(err, w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}

	must(t, node, "world", "import", "1001", in("a.vxc"))
	if code, _, errs := skerry(t, node.GRPC(), "", "world", "import", "1001", in("a.vxc")); code != exitFailure || !strings.Contains(errs, "--into") {
		t.Errorf("importing over a world: %d %s", code, errs)
	}
	node.Restart(t)
	must(t, node, "world", "export", "1001", in("b.vxc"))
	if gotHeader, got := readVXC1(t, in("b.vxc")); !reflect.DeepEqual(gotHeader, header) || !reflect.DeepEqual(got, columns) {
		t.Errorf("%d columns of %+v came back as %d of %+v, or changed", len(columns), header, len(got), gotHeader)
	}

	// The original's JSON has chests, edits and height maps too.
	session, err := node.Client(t).OpenWorld(t.Context(), "1001", client.WorldOptions{Server: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	at := client.Place{X: -3, Y: 0, Z: 5}
	_, errBlocks := session.SetBlocks(t.Context(), []client.Block{{X: 1000, Y: 7, Z: -1000, ID: 3}})
	errPut := session.PlaceChest(t.Context(), at)
	_, errItems := session.ChestPut(t.Context(), at, 7, 70)
	if err = errors.Join(errBlocks, errPut, errItems, session.Leave(t.Context())); err != nil {
		t.Fatal(err)
	}
	must(t, node, "world", "export", "1001", in("a.json"), "--original")
	must(t, node, "world", "import", "1001~2", in("a.json"), "--original")
	must(t, node, "world", "import", "1001~2", in("a.json"), "--original", "--into")
	must(t, node, "world", "export", "1001~2", in("b.json"), "--original")
	if a, b := lists(t, in("a.json")), lists(t, in("b.json")); a != b || !strings.Contains(a, `"edits":[[1000,7,-1000,3]]`) || !strings.Contains(a, `"itemId":7`) {
		t.Errorf("came back changed:\n%.2000s\n%.2000s", a, b)
	}
	if out := must(t, node, "world", "export", "1001~2", in("c.vxc"), "--json"); !strings.Contains(out, `"leftOut": 2`) {
		t.Errorf("an export without a chest and an edited chunk says %s", out)
	}
	if _, got := readVXC1(t, in("c.vxc")); !reflect.DeepEqual(got, columns) {
		t.Error("columns changed on their way through JSON")
	}
	if out := must(t, node, "world", "list", "--owner", "1001", "--json"); strings.Join(strings.Fields(out), "") != `["1001","1001~2"]` {
		t.Errorf("list: %s", out)
	}
	if out := must(t, node, "world", "get", "1001~2"); !strings.Contains(out, `"1001's World"`) || !strings.Contains(out, "256, from y -64") {
		t.Errorf("get: %s", out)
	}
	if code, _, errs := skerry(t, node.GRPC(), "", "world", "get", "1003"); code != exitFailure || !strings.Contains(errs, "no such world") {
		t.Errorf("get of none: %d %s", code, errs)
	}

	must(t, node, "world", "map", "1001", in("a.png"))
	must(t, node, "world", "map", "--file", in("a.vxc"), in("b.png"))
	checkMap(t, in("a.png"))
	if a, b := read(t, in("a.png")), read(t, in("b.png")); a != b {
		t.Error("the map of the world and that of its file differ")
	}
}

// lists are all but the first line, which has the times.
func lists(t *testing.T, name string) string {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, name), "\n")
	return rest
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func checkMap(t *testing.T, name string) {
	t.Helper()
	picture, err := png.Decode(strings.NewReader(read(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	if size := picture.Bounds().Size(); size.X != 32 || size.Y != 48 {
		t.Errorf("the map is %v, want 32 × 48", size)
	}
	r, g, b, _ := picture.At(16, 16).RGBA() // grass, on a slope that falls to the east
	if g <= r || g <= b {
		t.Errorf("grass is drawn as %d %d %d", r>>8, g>>8, b>>8)
	}
}

func TestPaletteRefuses(t *testing.T) {
	for _, text := range []string{"stone", "stone #12", "stone red", "[ #112233", "stone #11223344"} {
		if _, err := parsePalette(text); err == nil {
			t.Errorf("%q is a palette", text)
		}
	}
	rules, err := parsePalette(standardPalette)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"air": false, "default:stone": true, "default:torch_wall": false, "minecraft:cave_air": false, "0": false, "unknown:thing": true, "a/b": true} {
		if got := rules.colourOf(name).A != 0; got != want {
			t.Errorf("%s is seen: %v, want %v", name, got, want)
		}
	}
	if wet, leaves := rules.colourOf("minecraft:oak_leaves[persistent=false,waterlogged=false]"), rules.colourOf("minecraft:oak_leaves"); wet != leaves {
		t.Errorf("leaves that could be under water are %v, leaves %v", wet, leaves)
	}
}
