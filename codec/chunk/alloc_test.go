//go:build !race

package chunk_test

import (
	"testing"

	"github.com/skerry-dev/skerry/codec/chunk"
)

// Goal: once warm, nothing is allocated besides the results. Method: results in memory that is there. Under the race
// detector sync.Pool forgets on purpose, so not there.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	before := columns(t, "testdata/generated.vxc.zst", 1)[0]
	after := append([]uint16(nil), before...)
	for i := range 300 {
		after[i*i%len(after)] = uint16(i % 5)
	}
	data, ids := make([]byte, 0, chunk.MaxEncodedBytes), make([]uint16, len(before))
	edits, list := chunk.Diff(nil, before, after), make([]byte, 0, 1<<16)
	encoded := chunk.Encode(nil, before)
	listed, delta := chunk.AppendEdits(nil, edits), chunk.AppendDelta(nil, 256, 1, edits)
	read := make([]chunk.Edit, 0, len(edits))
	for name, call := range map[string]func() error{
		"Encode":      func() error { data = chunk.Encode(data[:0], before); return nil },
		"EncodeFast":  func() error { data = chunk.EncodeFast(data[:0], before); return nil },
		"Decode":      func() error { _, err := chunk.Decode(ids, encoded, 256); return err },
		"Inspect":     func() error { _, err := chunk.Inspect(encoded); return err },
		"Hash":        func() error { chunk.Hash(before); return nil },
		"Diff":        func() error { edits = chunk.Diff(edits[:0], before, after); return nil },
		"AppendEdits": func() error { list = chunk.AppendEdits(list[:0], edits); return nil },
		"ReadEdits":   func() error { _, err := chunk.ReadEdits(read, listed, 256); return err },
		"AppendDelta": func() error { list = chunk.AppendDelta(list[:0], 256, 1, edits); return nil },
		"ReadDelta":   func() error { _, _, err := chunk.ReadDelta(read, delta, 256); return err },
		"Sort":        func() error { chunk.Sort(edits); return nil },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times, want never", name, n)
		}
	}
}
