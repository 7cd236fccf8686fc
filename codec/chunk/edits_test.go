package chunk_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/chunk"
)

// Goal: edits come back, alone and in a delta, and make one column into another. Method: rapid draws two columns.
func TestEditsMakeBeforeIntoAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		height := 16 * rapid.IntRange(1, 4).Draw(t, "sections")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		before := make([]uint16, height*chunk.LayerBlocks)
		for i := range before {
			before[i] = uint16(i / 1000)
		}
		after := slices.Clone(before)
		for range rapid.IntRange(0, 200).Draw(t, "changes") {
			from := rng.IntN(len(after))
			id := uint16(rng.IntN(70000))
			for i := from; i < min(from+1+rng.IntN(20), len(after)); i++ {
				after[i] = id
			}
		}
		edits := chunk.Diff(nil, before, after)
		applied := slices.Clone(before)
		if chunk.Apply(applied, edits); !slices.Equal(applied, after) {
			t.Fatal("the edits make something else")
		}
		first := chunk.Edit{Index: 99, ID: 99}
		got, err := chunk.ReadEdits([]chunk.Edit{first}, chunk.AppendEdits(nil, edits), height)
		if err != nil || got[0] != first || !slices.Equal(got[1:], edits) {
			t.Fatalf("%d edits came back as %d, %v", len(edits), len(got)-1, err)
		}
		data := chunk.AppendDelta([]byte("x"), height, chunk.Hash(before), edits)[1:]
		base, got, err := chunk.ReadDelta(nil, data, height)
		if err != nil || base != chunk.Hash(before) || !slices.Equal(got, edits) {
			t.Fatalf("%d edits came back as %d of base %#x, %v", len(edits), len(got), base, err)
		}
	})
}

func TestDiffOfTheSameIsNothing(t *testing.T) {
	ids := shapes(32)["noise"]
	if edits := chunk.Diff(nil, ids, slices.Clone(ids)); len(edits) != 0 {
		t.Fatalf("%d edits", len(edits))
	}
}

func TestSortKeepsTheLastOfEachBlock(t *testing.T) {
	got := chunk.Sort([]chunk.Edit{{5, 1}, {3, 2}, {5, 3}, {0, 4}, {3, 5}, {5, 6}})
	if want := []chunk.Edit{{0, 4}, {3, 5}, {5, 6}}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
}

// Goal: what a player does to a chunk between two saves is a few bytes. Method: the kinds of edits that real saves had.
func TestDeltasAreSmall(t *testing.T) {
	at := func(x, y, z int) uint32 { return uint32(y*256 + z*16 + x) }
	var tunnel, tree, house []chunk.Edit
	for x := range 16 {
		for y := 20; y < 23; y++ {
			tunnel = append(tunnel, chunk.Edit{Index: at(x, y, 7), ID: 0}, chunk.Edit{Index: at(x, y, 8), ID: 0})
		}
	}
	for y := 64; y < 70; y++ {
		tree = append(tree, chunk.Edit{Index: at(5, y, 9), ID: 0})
	}
	for y := 64; y < 69; y++ {
		for i := range 9 {
			for _, e := range [][2]int{{i, 0}, {i, 8}, {0, i}, {8, i}} {
				house = append(house, chunk.Edit{Index: at(3+e[0], y, 3+e[1]), ID: uint16(300 + y%2)})
			}
		}
	}
	for _, c := range []struct {
		name  string
		edits []chunk.Edit
		most  int
	}{
		{"nothing", nil, 20},
		{"a block", []chunk.Edit{{at(3, 70, 4), 1042}}, 26},
		{"four blocks", []chunk.Edit{{at(3, 70, 4), 0}, {at(9, 64, 4), 0}, {at(3, 65, 11), 1042}, {at(1, 77, 1), 7}}, 40},
		{"a tree felled", tree, 40},
		{"a tunnel of 96 blocks", tunnel, 40},
		{"walls of 160 blocks", house, 90},
	} {
		if n := len(chunk.AppendDelta(nil, 256, 1, chunk.Sort(c.edits))); n > c.most {
			t.Errorf("%s: %d bytes, want at most %d", c.name, n, c.most)
		}
	}
}

// Goal: the same, of edits that people made. Method: pairs of one chunk in two saves of a real world, where there are any.
func TestRealDeltasAreSmall(t *testing.T) {
	path := filepath.Join(os.Getenv("SKERRY_VOXEL_DATA"), "fetched", "mc_PAIRS_aviad.vxc.zst")
	if _, err := os.Stat(path); err != nil {
		t.Skip("no pairs of columns: SKERRY_VOXEL_DATA names no folder that has them")
	}
	var blocks, deltas, whole []int
	all := columns(t, path, 1000)
	for i := 0; i+1 < len(all); i += 2 {
		if edits := chunk.Diff(nil, all[i], all[i+1]); len(edits) > 0 {
			blocks = append(blocks, len(edits))
			deltas = append(deltas, len(chunk.AppendDelta(nil, 256, chunk.Hash(all[i]), edits)))
			whole = append(whole, len(chunk.Encode(nil, all[i+1])))
		}
	}
	for _, sizes := range [][]int{blocks, deltas, whole} {
		slices.Sort(sizes)
	}
	half, tenth := len(deltas)/2, len(deltas)*9/10
	t.Logf("%d pairs: edits p50 %d p90 %d, delta p50 %d p90 %d bytes, whole column p50 %d p90 %d", len(deltas),
		blocks[half], blocks[tenth], deltas[half], deltas[tenth], whole[half], whole[tenth])
	if deltas[half] > 40 || deltas[tenth] > 450 {
		t.Errorf("deltas of %d bytes, p90 %d; want at most 40 and 450", deltas[half], deltas[tenth])
	}
}

// Goal: a list is exactly its edits, of rising index, inside the column. Method: lists written by hand, beside the right
// one. Height 16: 4096 blocks.
func TestReadEditsRefusesWhatIsNoList(t *testing.T) {
	good := []byte{0x10, 2, 3<<1 | 1, 1, 9 << 1, 5<<1 | 1, 0, 6<<1 | 1, 0} // 3, 4, 5 and 16
	want := []chunk.Edit{{3, 5}, {4, 5}, {5, 6}, {16, 6}}
	if got, err := chunk.ReadEdits(nil, good, 16); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
	if last, err := chunk.ReadEdits(nil, []byte{0x10, 1, 0xfe, 0x3f, 2}, 16); err != nil || last[0] != (chunk.Edit{4095, 1}) {
		t.Fatalf("the last block: %v, %v", last, err)
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, codec.ErrMalformed},
		{"version 0", []byte{0x00, 0}, codec.ErrMalformed},
		{"version 2", []byte{0x20, 0}, codec.ErrNewer},
		{"form 2", []byte{0x12, 0}, codec.ErrNewer},
		{"no count", []byte{0x10}, codec.ErrMalformed},
		{"a count that never ends", bytes.Repeat([]byte{0xff}, 12), codec.ErrNewer},
		{"a stretch is missing", []byte{0x10, 2, 6, 10}, codec.ErrMalformed},
		{"behind the column", []byte{0x10, 1, 0x80, 0x40, 2}, codec.ErrMalformed},
		{"a stretch over the end", []byte{0x10, 1, 0xff, 0x3f, 0, 3, 0}, codec.ErrMalformed},
		{"a stretch longer than the column", []byte{0x10, 1, 1, 0xff, 0x1f, 3, 0xff, 0x1f}, codec.ErrMalformed},
		{"another after the last block", []byte{0x10, 2, 0xfe, 0x3f, 0, 3, 0}, codec.ErrMalformed},
		{"a length that overflows", []byte{0x10, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2}, codec.ErrMalformed},
		{"an id over 65535", []byte{0x10, 1, 6, 0x80, 0x80, 0x08}, codec.ErrMalformed},
		{"an id is missing", good[:len(good)-2], codec.ErrMalformed},
		{"a length is missing", good[:len(good)-1], codec.ErrMalformed},
		{"one id too many", []byte{0x10, 2, 3<<1 | 1, 1, 9 << 1, 5<<1 | 1, 0, 6<<1 | 1, 1}, codec.ErrMalformed},
		{"a byte behind", append(slices.Clone(good), 0), codec.ErrMalformed},
		{"a byte behind nothing", []byte{0x10, 0, 0}, codec.ErrMalformed},
		{"no zstd", []byte{0x11, 1, 2, 3}, codec.ErrMalformed},
	} {
		if got, err := chunk.ReadEdits(nil, c.data, 16); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestReadDeltaRefusesColumnsAndOtherHeights(t *testing.T) {
	delta := chunk.AppendDelta(nil, 32, 1, []chunk.Edit{{Index: 1, ID: 1}})
	if _, _, err := chunk.ReadDelta(nil, delta, 16); !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("another height: %v, want ErrMalformed", err)
	}
	column := make([]uint16, 4096)
	for i := range column {
		column[i] = 0x0010 // its bytes are a list of no edits
	}
	if _, _, err := chunk.ReadDelta(nil, chunk.Encode(nil, column), 16); !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("a column: %v, want ErrMalformed", err)
	}
	if _, _, err := chunk.ReadDelta(nil, sealed(0x13, 1, 1, []byte{0x20, 0}), 16); !errors.Is(err, codec.ErrNewer) {
		t.Errorf("edits of version 2: %v, want ErrNewer", err)
	}
}

// Goal: a list of a few bytes takes at most the memory of a column's edits. Method: the most that a list can say.
func TestReadEditsTakesBoundedMemory(t *testing.T) {
	data := []byte{0x10, 1, 1, 0xfe, 0xff, 0x0f, 3, 0xfe, 0xff, 0x0f} // 262144 blocks
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	edits, err := chunk.ReadEdits(nil, data, chunk.MaxHeight)
	runtime.ReadMemStats(&after)
	if err != nil || len(edits) != chunk.MaxHeight*chunk.LayerBlocks {
		t.Fatalf("%d edits, %v", len(edits), err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 6<<20 {
		t.Errorf("took %d bytes", n)
	}
	if _, err := chunk.ReadEdits(nil, data, 512); !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("in half the column: %v, want ErrMalformed", err)
	}
}
