package world

import (
	"testing"

	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// BenchmarkSetOneBlock is a player who digs in a full chunk, 256 blocks high: the fold after every 2,048 edits is in it.
func BenchmarkSetOneBlock(b *testing.B) {
	l := newLand(b, nil, "7", `{}`)
	ids := make([]uint16, 256*area)
	for i := range ids[:70*area] {
		ids[i] = uint16(1 + (i*2654435761>>13)%7) //nolint:gosec // small
	}
	c := l.chunk(Coord{})
	c.State, c.Base = skerryv1.ChunkState_FULL, chunk.Encode(nil, ids)
	cmd := &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetBlocks{SetBlocks: &skerryv1.SetBlocks{Blocks: make([]int32, 4)}}}
	parts := loaded{l, []Coord{{}}}
	bytes, turns := 0, 0
	b.ReportAllocs()
	for i := int32(0); b.Loop(); i++ {
		blocks := cmd.GetSetBlocks().GetBlocks()
		blocks[0], blocks[1], blocks[2], blocks[3] = i*7%16, i/16%256, i*5/7%16, i%50_000
		events, _, err := Decide(nil, l.world, parts, cmd, testTurn())
		if err != nil {
			b.Fatal(err)
		}
		for _, event := range events {
			bytes += event.SizeVT()
			if err := EvolveChunk(c, event); err != nil {
				b.Fatal(err)
			}
		}
		turns++
	}
	b.ReportMetric(float64(bytes)/float64(turns), "B/event")
}
