package chunk_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/chunk"
)

// mustRefuse fails the test unless err is one of the refusals that decoders promise.
func mustRefuse(tb testing.TB, err error) {
	tb.Helper()
	if !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrNewer) {
		tb.Fatalf("refused with %v, want ErrMalformed or ErrNewer", err)
	}
}

// forms are data as it is; with the right checksum behind; and as a stream in zstd with the right checksum: so fuzzing
// sees beyond all of them.
func forms(tb testing.TB, data []byte) [][]byte {
	tb.Helper()
	all := [][]byte{data, binary.LittleEndian.AppendUint64(slices.Clone(data), xxh3.Hash(data))}
	if len(data) > 10 && data[0] == 0x11 {
		all = append(all, sealed(data[0], data[1], binary.LittleEndian.Uint64(data[2:]), zstdBody(tb, data[10:])))
	}
	return all
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"air", "runs of 129", "one at the end"} { // short ones: fuzzing changes a byte of many
		data := chunk.Encode(nil, shapes(16)[name])
		f.Add(data)
		f.Add(data[:len(data)-8])
	}
	half := []byte{0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 5, 1, 2, 0, 1, 0xff, 0x0f, 0xff, 0x0f}
	f.Add(half)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, form := range forms(t, data) {
			info, err := chunk.Inspect(form)
			if err != nil {
				mustRefuse(t, err)
				if _, err = chunk.Decode(nil, form, 16); err == nil {
					t.Fatal("Inspect refused what Decode takes")
				}
				continue
			}
			ids, err := chunk.Decode(nil, form, info.Height)
			if err != nil {
				mustRefuse(t, err)
				continue
			}
			again, err := chunk.Decode(nil, chunk.Encode(nil, ids), info.Height)
			if err != nil || !slices.Equal(again, ids) {
				t.Fatalf("decoded, encoded and decoded again: %v", err)
			}
			if chunk.Hash(ids) != info.Hash {
				t.Fatal("another content than the header says")
			}
		}
	})
}

// mustBeEdits fails the test unless edits keep what ReadEdits promises, and come back.
func mustBeEdits(tb testing.TB, edits []chunk.Edit, height int) {
	tb.Helper()
	for i, e := range edits {
		if int(e.Index) >= height*chunk.LayerBlocks || i > 0 && e.Index <= edits[i-1].Index {
			tb.Fatalf("edit %d is of block %d", i, e.Index)
		}
	}
	again, err := chunk.ReadEdits(nil, chunk.AppendEdits(nil, edits), height)
	if err != nil || !slices.Equal(again, edits) {
		tb.Fatalf("%d edits came back as %d, %v", len(edits), len(again), err)
	}
}

func FuzzReadEdits(f *testing.F) {
	f.Add([]byte{0x10, 2, 3<<1 | 1, 1, 9 << 1, 5<<1 | 1, 0, 6<<1 | 1, 0})
	f.Add([]byte{0x10, 1, 1, 0xfe, 0xff, 0x0f, 3, 0xfe, 0xff, 0x0f})
	var many []chunk.Edit
	for i := range uint32(200) {
		many = append(many, chunk.Edit{Index: i * 5, ID: uint16(i % 3)})
	}
	f.Add(chunk.AppendEdits(nil, many))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, height := range []int{16, chunk.MaxHeight} {
			edits, err := chunk.ReadEdits(nil, data, height)
			if err != nil {
				mustRefuse(t, err)
				continue
			}
			mustBeEdits(t, edits, height)
		}
	})
}

func FuzzReadDelta(f *testing.F) {
	data := encodings()["delta"]
	f.Add(data)
	f.Add(data[:len(data)-8])
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, form := range forms(t, data) {
			base, edits, err := chunk.ReadDelta(nil, form, 16)
			if err != nil {
				mustRefuse(t, err)
				continue
			}
			mustBeEdits(t, edits, 16)
			got, again, err := chunk.ReadDelta(nil, chunk.AppendDelta(nil, 16, base, edits), 16)
			if err != nil || got != base || !slices.Equal(again, edits) {
				t.Fatalf("%d edits came back as %d of base %#x, %v", len(edits), len(again), got, err)
			}
		}
	})
}
