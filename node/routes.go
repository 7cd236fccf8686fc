package node

import (
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// routes are who owns what, for clients: it is gateway's Routes.
type routes struct{ node *Node }

// Routes returns them as this node knows them now. A node that is not seen is not in them.
func (r *routes) Routes() *skerryv1.Routes {
	count := r.node.store.Partitions()
	known := &skerryv1.Routes{Owners: make([]uint32, count), Epochs: make([]uint64, count)}
	places := map[persistence.NodeID]uint32{}
	for _, m := range r.node.members.List() {
		if m.Node != 0 && m.GRPC != "" {
			known.Nodes = append(known.Nodes, m.GRPC)
			places[m.Node] = uint32(len(known.Nodes)) //nolint:gosec // a cluster's nodes
		}
	}
	for p := range known.Owners {
		if owner, ok := r.node.table.Owner(persistence.Partition(p)); ok { //nolint:gosec // at most 4096
			known.Owners[p] = places[owner.Node]
			known.Epochs[p] = uint64(owner.Epoch.Generation)<<generationShift | owner.Epoch.Term
		}
	}
	return known
}

// Changed is closed when an owner changes.
func (r *routes) Changed() <-chan struct{} { return r.node.table.Changed() }

// generationShift leaves terms enough room: one election a millisecond for 8,000 years.
const generationShift = 48
