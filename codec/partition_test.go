package codec_test

import (
	"testing"

	"github.com/skerry-dev/skerry/codec"
)

// Partitions are part of the stored format, and clients compute them too: these values may never change.
func TestPartitionOfIsFixed(t *testing.T) {
	for _, c := range []struct {
		space string
		kind  uint8
		id    string
		count int
		want  uint16
	}{
		{"main", codec.KindPlayer, "1001", 32, 25},
		{"main", codec.KindWorld, "1001", 32, 2},
		{"main", codec.KindServer, "1001", 32, 17},
		{"staging", codec.KindPlayer, "1001", 32, 15},
		{"main", codec.KindPlayer, "1001", 1, 0},
		{"main", codec.KindPlayer, "1001", 4096, 3129},
		{"main", codec.KindWorld, "1001~2", 4096, 654},
	} {
		if got := codec.PartitionOf(c.space, c.kind, c.id, c.count); got != c.want {
			t.Errorf("partition of %s/%d/%s among %d: %d, want %d", c.space, c.kind, c.id, c.count, got, c.want)
		}
	}
}

func BenchmarkPartitionOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		codec.PartitionOf("main", codec.KindPlayer, "123456789", 32)
	}
}
