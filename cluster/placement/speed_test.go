package placement

import (
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// BenchmarkPlan plans anew for all partitions when a node joins: the default cluster, and the largest.
func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct {
		name              string
		nodes, partitions int
	}{{"nodes=4/partitions=32", 4, 32}, {"nodes=21/partitions=4096", 21, 4096}} {
		b.Run(c.name, func(b *testing.B) {
			var nodes []Node
			for id := range c.nodes {
				nodes = append(nodes, Node{persistence.NodeID(id + 1), Usable}) //nolint:gosec // small
			}
			now := Plan(nodes[:c.nodes-1], make([]Target, c.partitions))
			b.ReportAllocs()
			for b.Loop() {
				Plan(nodes, now)
			}
		})
	}
}
