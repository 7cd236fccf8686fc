package node

import (
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// routes are who owns what, for clients: it is gateway's Routes.
type routes struct{ node *Node }

// Routes returns them as this node knows them now. A node that is not seen is not in them.
func (r *routes) Routes() *skerryv1.Routes {
	known := &skerryv1.Routes{Owners: make([]uint32, r.node.store.Partitions())}
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
		}
	}
	return known
}

// Changed is closed when an owner changes.
func (r *routes) Changed() <-chan struct{} { return r.node.table.Changed() }
