package chunk_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/codec/chunk"
)

var update = flag.Bool("update", false, "write goldens that are not there yet; one that is there never changes")

// golden is what was stored once: bytes, and what they say.
type golden struct {
	data []byte
	text string
}

// goldens are of version 1. New ones are added when a version or a codec is; the old ones stay.
func goldens(t *testing.T) map[string]golden {
	t.Helper()
	wide := make([]uint16, 4096)
	for i := range wide {
		wide[i] = uint16(i / 8 * 7 % 300)
	}
	world := columns(t, "testdata/generated.vxc.zst", 3)[2]
	few := []chunk.Edit{{3, 5}, {4, 5}, {5, 6}, {16, 6}, {4095, 65535}}
	var many []chunk.Edit
	for i := range uint32(300) {
		many = append(many, chunk.Edit{Index: i * 13, ID: uint16(i % 3)})
	}
	all := map[string]golden{
		"v1_edits_plain": {chunk.AppendEdits(nil, few), editsText(few)},
		"v1_edits_zstd":  {chunk.AppendEdits(nil, many), editsText(many)},
		"v1_edits_none":  {chunk.AppendEdits(nil, nil), editsText(nil)},
		"v1_delta":       {chunk.AppendDelta(nil, 16, 0x0123456789abcdef, few), "base 0x123456789abcdef\n" + editsText(few)},
	}
	for name, ids := range map[string][]uint16{
		"uniform": shapes(32)["greatest id"], "runs": shapes(32)["runs of 129"], "runs_wide": wide,
		"runs_world": world, "plain": shapes(16)["noise"],
	} {
		all["v1_"+name] = golden{chunk.Encode(nil, ids), columnText(ids)}
	}
	return all
}

func columnText(ids []uint16) string {
	var b strings.Builder
	fmt.Fprintf(&b, "height %d hash %#x\n", len(ids)/chunk.LayerBlocks, chunk.Hash(ids))
	for i := 0; i < len(ids); {
		from := i
		for i < len(ids) && ids[i] == ids[from] {
			i++
		}
		fmt.Fprintf(&b, "%d × %d\n", i-from, ids[from])
	}
	return b.String()
}

func editsText(edits []chunk.Edit) string {
	var b strings.Builder
	for _, e := range edits {
		fmt.Fprintf(&b, "block %d = %d\n", e.Index, e.ID)
	}
	return b.String()
}

// read returns what the bytes of a golden say, of a column as high as it says itself.
func read(name string, data []byte) (string, error) {
	if strings.Contains(name, "_edits_") {
		edits, err := chunk.ReadEdits(nil, data, 16)
		return editsText(edits), err
	}
	info, err := chunk.Inspect(data)
	if err != nil {
		return "", err
	}
	if info.Codec == chunk.Delta {
		base, edits, badDelta := chunk.ReadDelta(nil, data, info.Height)
		return fmt.Sprintf("base %#x\n%s", base, editsText(edits)), badDelta
	}
	ids, err := chunk.Decode(nil, data, info.Height)
	return columnText(ids), err
}

// Goal: what was ever stored is read for ever, and says the same. Method: the bytes as they were written then, and their
// meaning as text beside them; both are only ever added to.
func TestGoldensStillDecode(t *testing.T) {
	dir := filepath.Join("testdata", "golden")
	for name, g := range goldens(t) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path + ".bin"); *update && os.IsNotExist(err) {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for suffix, data := range map[string][]byte{".bin": g.data, ".txt": []byte(g.text)} {
				if err := os.WriteFile(path+suffix, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := os.Stat(path + ".bin"); err != nil {
			t.Errorf("%s has no golden: run the test with -update", name)
		}
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.bin"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".bin")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(strings.TrimSuffix(path, ".bin") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := read(name, data); err != nil || got != string(text) {
				t.Fatalf("%v; got\n%.300s\nwant\n%.300s", err, got, text)
			}
		})
	}
}

// Goal: each form that is stored has a golden. Method: the goldens' own first bytes.
func TestGoldensCoverAllForms(t *testing.T) {
	var heads []byte
	for name, g := range goldens(t) {
		if !strings.Contains(name, "_edits_") {
			heads = append(heads, g.data[0])
		}
	}
	slices.Sort(heads)
	if got, want := slices.Compact(heads), []byte{0x10, 0x11, 0x13, 0x14}; !slices.Equal(got, want) {
		t.Errorf("goldens begin with %x, want %x", got, want)
	}
}
