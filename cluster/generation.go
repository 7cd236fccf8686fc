package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// clusterRecord says of which generation the records are. There is none before the cluster was recovered for the first time.
const clusterRecord = "cluster"

// Fenced returns [ErrFenced] when a member of the same cluster is of a greater generation than self: the cluster went on without
// this node, whose data must not be seen or changed any more.
func Fenced(self members.Member, list []members.Member) error {
	for _, m := range list {
		if m.Cluster == self.Cluster && self.Cluster != "" && m.Generation > self.Generation {
			return fmt.Errorf("%w: cluster %s was recovered without it. %s is of generation %d, this node (id %d) of %d. What it has "+
				"is not the cluster's any more: keep its data directory for as long as somebody may ask what was in it, and start with an empty one and --join",
				ErrFenced, self.Cluster, m.Name, m.Generation, self.Node, self.Generation)
		}
	}
	return nil
}

// members are those that belong here: of this generation, or not admitted yet. One of an older generation finds out that it is fenced.
func (c *Cluster) members() []members.Member {
	return slices.DeleteFunc(c.opts.Gossip.List(), func(m members.Member) bool {
		return m.Node != 0 && m.Generation != c.opts.Generation
	})
}

// recovered brings the records to this node's generation: after a recovery they still name those that were given up. Each of
// them is removed first, so that a crash in between is made good by doing it again.
func (c *Cluster) recovered(ctx context.Context, k *known) error {
	if c.opts.Generation <= k.generation {
		return nil
	}
	self := proto.CloneOf(k.nodes[c.opts.Self.Node])
	if self == nil { // it was admitted, and lost the record of that
		self = &storev1.Node{Id: uint32(c.opts.Self.Node), Name: c.opts.Self.Name, Nonce: c.opts.Self.Nonce, AdmittedMs: time.Now().UnixMilli()}
	}
	self.Draining, self.Removing = false, false // there is nobody else
	if !proto.Equal(self, k.nodes[c.opts.Self.Node]) {
		if err := c.putNode(ctx, c.opts.Records.Put, self, "the cluster goes on with this node"); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(k.nodes)) {
		if id == c.opts.Self.Node || k.nodes[id].GetRemoved() {
			continue
		}
		gone := proto.CloneOf(k.nodes[id])
		gone.Removed, gone.Removing = true, false
		if err := c.putNode(ctx, c.opts.Records.Put, gone, "node given up: the cluster was recovered without it"); err != nil {
			return err
		}
	}
	if err := c.put(ctx, clusterRecord, &storev1.Identity{
		Cluster: c.opts.Self.Cluster, Partitions: uint32(c.opts.Partitions), Generation: c.opts.Generation, //nolint:gosec // at most 4096
	}); err != nil {
		return err
	}
	c.log.LogAttrs(ctx, slog.LevelWarn, "the cluster was recovered", slog.Uint64("generation", uint64(c.opts.Generation)))
	return nil
}

// readGeneration returns that of the records.
func (c *Cluster) readGeneration(ctx context.Context) (uint32, error) {
	records, err := c.opts.Records.Records(ctx, clusterRecord, 1)
	if err != nil || len(records) == 0 || records[0].Name != clusterRecord {
		return 0, err
	}
	recorded := &storev1.Identity{}
	if err := proto.Unmarshal(records[0].Value, recorded); err != nil {
		return 0, fmt.Errorf("record %q: %w", clusterRecord, err)
	}
	return recorded.GetGeneration(), nil
}
