package cluster

import (
	"context"

	"github.com/skerry-dev/skerry/cluster/members"
)

// Stats is a look at a node's part of the cluster's work.
type Stats struct {
	// Members counts who is there, this node included, by what they say that they do.
	Members map[members.State]int
	// Owned counts the partitions that this node owns, the meta partition's included; Moving those of them with a step on its way.
	Owned, Moving int
	// Claims, HandedOver and Kept count ownerships that began here, handovers that came about, and that did not, since the start.
	Claims, HandedOver, Kept int64
}

// Stats returns the present numbers, each right for itself.
func (c *Cluster) Stats() Stats {
	s := Stats{Members: map[members.State]int{}, Claims: c.claims.Load(), HandedOver: c.handedOver.Load(), Kept: c.kept.Load()}
	for _, m := range c.opts.Gossip.List() {
		s.Members[m.State]++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Owned, s.Moving = len(c.mu.owned), len(c.mu.why)
	return s
}

// Leaving reports whether this node is to own nothing: it drains or is removed, by itself or because an operator said so.
func (c *Cluster) Leaving(ctx context.Context) bool {
	c.mu.Lock()
	draining := c.mu.draining
	c.mu.Unlock()
	if draining {
		return true
	}
	k, err := c.read(ctx)
	if err != nil {
		return false // what it owns is served; that the store fails is the health's to say
	}
	n := k.nodes[c.opts.Self.Node]
	return n.GetDraining() || n.GetRemoving() || n.GetRemoved()
}
