package simulation

import (
	"context"
	"fmt"
	"strings"

	"github.com/skerry-dev/skerry/persistence"
)

// partitions are all of them, the meta partition last.
func (w *World) partitions() []persistence.Partition {
	var all []persistence.Partition
	for p := range w.Config.Partitions {
		all = append(all, persistence.Partition(p)) //nolint:gosec // few
	}
	return append(all, persistence.MetaPartition)
}

// whole reports whether the healed cluster is at rest: one owner of everything, every replica at the same index, and
// everybody answered.
func (w *World) whole() bool {
	for _, p := range w.partitions() {
		if !w.wholePartition(p) {
			return false
		}
	}
	for _, n := range w.nodes {
		if n.up && len(n.unanswered) > 0 {
			return false
		}
	}
	return w.app.Settled()
}

func (w *World) wholePartition(p persistence.Partition) bool {
	var owner *Node
	for _, n := range w.nodes {
		if !n.up && !n.refused {
			return false
		}
		if _, ok := n.Owns(p); ok {
			if owner != nil {
				return false
			}
			owner = n
		}
	}
	if owner == nil {
		return false
	}
	for _, n := range w.members(p) {
		if index, _, err := n.machine.Applied(p); err != nil || index != w.book.last[p] {
			return false
		}
	}
	return true
}

// members are the nodes that are up and have a replica of p, as its owner knows it.
func (w *World) members(p persistence.Partition) (members []*Node) {
	if owner := w.Owner(p); owner != nil {
		for _, r := range w.replicas(owner, p) {
			if n := w.Node(r.Node); n.up {
				members = append(members, n)
			}
		}
	}
	return members
}

// missing is a partition that is not whole, for the story.
func (w *World) missing() persistence.Partition {
	for _, p := range w.partitions() {
		if !w.wholePartition(p) {
			w.describe(p)
			return p
		}
	}
	for _, n := range w.nodes {
		for a := range n.unanswered {
			w.Tell(a.partition, "%v never answered %s of %v", n, a.what, a.at)
			return a.partition
		}
	}
	return everyPartition
}

// describe tells how each node stands in a partition.
func (w *World) describe(p persistence.Partition) {
	for _, n := range w.nodes {
		if !n.up {
			w.Tell(p, "%v is not up; refused its disk: %v", n, n.refused)
			continue
		}
		for _, s := range n.step.Host().Status() {
			if s.Partition == p {
				w.Tell(p, "%v: partition %d applied to %d, log to %d, owner %v, epoch %v, replicas %v", n, p, s.Applied, s.Last, s.Owner, s.Epoch, s.Replicas)
			}
		}
	}
}

// compareReplicas holds all replicas against each other, everything that they store.
func (w *World) compareReplicas() {
	for _, p := range w.partitions() {
		var first string
		var by *Node
		for _, n := range w.members(p) {
			if w.book.rotten[n.id] {
				continue
			}
			stored, err := dump(n.machine, p)
			switch {
			case err != nil:
				w.Fail("replicas equal", p, "%v cannot be read: %v", n, err)
			case by == nil:
				first, by = stored, n
			case stored != first:
				w.Fail("replicas equal", p, "%v and %v differ:\n%s\n%s", by, n, first, stored)
			}
		}
	}
}

// dump puts everything in words that a machine has of a partition.
func dump(m Machine, p persistence.Partition) (string, error) {
	ctx := context.Background()
	var out strings.Builder
	spaces, err := m.Spaces(ctx, p)
	if err != nil {
		return "", err
	}
	for _, space := range spaces {
		for _, kind := range []persistence.Kind{persistence.KindPlayer, persistence.KindWorld, persistence.KindServer} {
			ids, err := m.Entities(ctx, p, space, kind, "", 1<<20)
			if err != nil {
				return "", err
			}
			for _, id := range ids {
				found, err := m.Load(ctx, p, persistence.Key{Space: space, Kind: kind, ID: id})
				if err != nil {
					return "", fmt.Errorf("load %s: %w", id, err)
				}
				fmt.Fprintf(&out, "%s: %+v\n", id, *found)
			}
		}
	}
	return out.String(), nil
}
