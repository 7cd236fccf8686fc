package chunk_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/codec/chunk"
)

// BenchmarkWorlds measures each world's columns, one an operation; bytes/column are the mean over all of them.
func BenchmarkWorlds(b *testing.B) {
	for _, path := range worlds(b) {
		all := columns(b, path, 900)
		name := strings.TrimSuffix(filepath.Base(path), ".vxc.zst")
		for mode, encode := range map[string]func([]byte, []uint16) []byte{"fast": chunk.EncodeFast, "small": chunk.Encode} {
			b.Run(name+"/encode/"+mode, func(b *testing.B) {
				total, buf := 0, make([]byte, 0, chunk.MaxEncodedBytes)
				for _, ids := range all {
					total += len(encode(buf[:0], ids))
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					buf = encode(buf[:0], all[i%len(all)])
					i++
				}
				b.ReportMetric(float64(total)/float64(len(all)), "bytes/column")
			})
		}
		b.Run(name+"/decode", func(b *testing.B) {
			var encoded [][]byte
			for _, ids := range all {
				encoded = append(encoded, chunk.Encode(nil, ids))
			}
			buf, err := make([]uint16, len(all[0])), error(nil)
			height := len(all[0]) / chunk.LayerBlocks
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if buf, err = chunk.Decode(buf, encoded[i%len(encoded)], height); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
