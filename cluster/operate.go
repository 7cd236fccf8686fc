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
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// Drain makes this node own nothing: it says that it leaves, and hands everything over to voters that have it. It returns what
// it still owns when ctx ends, or when nobody can take more; 0 is success.
func (c *Cluster) Drain(ctx context.Context) (owned int) {
	c.mu.Lock()
	c.mu.draining = true
	c.mu.self.State = members.Draining
	self := c.mu.self
	c.mu.Unlock()
	if err := c.opts.Gossip.Set(self); err != nil {
		c.log.LogAttrs(ctx, slog.LevelWarn, "the others were not told that this node leaves", slog.Any("err", err))
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		c.poke()
		if owned = c.countOwned(); owned == 0 || !c.anybodyTakes(ctx) {
			return owned
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return owned
		}
	}
}

func (c *Cluster) countOwned() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.owned)
}

// anybodyTakes reports whether a partition is being handed over, or another node could be given one.
func (c *Cluster) anybodyTakes(ctx context.Context) bool {
	c.mu.Lock()
	handing := len(c.mu.handing)
	c.mu.Unlock()
	if handing > 0 {
		return true
	}
	k, err := c.read(ctx)
	if err != nil {
		return false
	}
	active := c.active(k, c.members())
	for _, s := range c.opts.Log.Status() {
		if s.Owner && slices.ContainsFunc(s.Replicas, func(r replication.Replica) bool {
			return r.Node != c.opts.Self.Node && r.Role == replication.Voter && active(r.Node)
		}) {
			return true
		}
	}
	return false
}

// DrainNode makes a node own nothing, or with drain false lets it own again. It returns when that is written down; what the node
// owns then goes partition by partition. Like RemoveNode and HandOver it is for the meta partition's owner; elsewhere it returns
// [persistence.ErrNotOwner]: only who writes the records knows what they say now.
func (c *Cluster) DrainNode(ctx context.Context, name string, drain bool) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	k, err := c.read(ctx)
	if err != nil {
		return err
	}
	n := k.byName(name)
	switch {
	case n == nil:
		return c.unknown(k, name)
	case n.GetDraining() == drain:
		return nil
	case drain && !c.others(k, persistence.NodeID(n.GetId())):
		return fmt.Errorf("drain %s: %w", name, ErrLastNode)
	}
	changed := proto.CloneOf(n)
	changed.Draining = drain
	what := "is to be drained"
	if !drain {
		what = "may own again"
	}
	return c.putNode(ctx, c.opts.Records.Put, changed, what)
}

// RemoveNode makes a node have nothing, then its id is never used again. Without force the node gives what it has to others
// first, so it must be there ([ErrNotSeen]). With force the id of a node that is not there ([ErrStillThere]) ends at once: what it
// alone had is lost.
func (c *Cluster) RemoveNode(ctx context.Context, name string, force bool) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	k, err := c.read(ctx)
	if err != nil {
		return err
	}
	n := k.byName(name)
	if n == nil {
		return c.unknown(k, name)
	}
	switch seen := c.seen(persistence.NodeID(n.GetId())); {
	case !c.others(k, persistence.NodeID(n.GetId())):
		return fmt.Errorf("remove %s: %w", name, ErrLastNode)
	case force && seen:
		return fmt.Errorf("remove %s with force: %w: without --force it gives what it has to the others first", name, ErrStillThere)
	case !force && !seen:
		return fmt.Errorf("remove %s: %w: start it, so that it gives that to the others; with --force it is given up", name, ErrNotSeen)
	case n.GetRemoving() && !force:
		return nil
	}
	changed := proto.CloneOf(n)
	if force {
		changed.Removed, changed.Removing = true, false
		return c.putNode(ctx, c.opts.Records.Put, changed, "was given up")
	}
	changed.Removing = true
	return c.putNode(ctx, c.opts.Records.Put, changed, "is to be removed")
}

// HandOver makes another voter the owner of a partition, from now on. It returns its id when that is written down.
func (c *Cluster) HandOver(ctx context.Context, p persistence.Partition, to string) (persistence.NodeID, error) {
	if int(p) >= c.opts.Partitions {
		return 0, fmt.Errorf("%w: there are %d partitions, 0 to %d", ErrUnknownNode, c.opts.Partitions, c.opts.Partitions-1)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	k, err := c.read(ctx)
	if err != nil {
		return 0, err
	}
	n := k.byName(to)
	if n == nil {
		return 0, c.unknown(k, to)
	}
	target := orFirst(k.target(p))
	if !slices.Contains(target.Voters, persistence.NodeID(n.GetId())) {
		return 0, fmt.Errorf("hand partition %d over to %s: %w", p, to, ErrNotVoter)
	}
	target.Owner = persistence.NodeID(n.GetId())
	return target.Owner, c.putWith(ctx, c.opts.Records.Put, recordName(placeRecords, uint32(p)), placementOf(target))
}

func (c *Cluster) unknown(k *known, name string) error {
	var names []string
	for _, n := range k.nodes {
		if !n.GetRemoved() {
			names = append(names, n.GetName())
		}
	}
	slices.Sort(names)
	return fmt.Errorf("%w: %q; there are %v", ErrUnknownNode, name, names)
}

// others reports whether there is another node that can own something.
func (c *Cluster) others(k *known, id persistence.NodeID) bool {
	active := c.active(k, c.members())
	for other := range k.nodes {
		if other != id && active(other) {
			return true
		}
	}
	return false
}

// Entered reports whether this node has the cluster's records, and is in them.
func (c *Cluster) Entered(ctx context.Context) (bool, error) {
	k, err := c.read(ctx)
	if err != nil {
		return false, err
	}
	return k.nodes[c.opts.Self.Node] != nil, nil
}

// NodeView is a node as an operator sees it.
type NodeView struct {
	ID     persistence.NodeID
	Name   string
	State  string // joining, active, draining, removing, absent
	Member members.Member
	Owned  int
	// Feature is the feature level of its build, as last seen.
	Feature uint32
}

// View is the cluster as this node sees it.
type View struct {
	Nodes []NodeView // by id
	// FeatureLevel is that of the cluster.
	FeatureLevel uint32
	// Moving says for a partition what is on its way, of those that this node owns.
	Moving map[persistence.Partition]string
	// Has are the names of who has a copy of a partition, and of those among them that do not vote: what holds, where this node
	// has one too, else what is to be.
	Has func(persistence.Partition) (replicas, learners []string)
}

// View returns the cluster as this node sees it now.
func (c *Cluster) View(ctx context.Context) (*View, error) {
	k, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[persistence.NodeID]members.Member{}
	for _, m := range c.members() {
		seen[m.Node] = m
	}
	v := &View{FeatureLevel: k.featureLevel()}
	nodes := k.nodes
	if len(nodes) == 0 { // a cluster of one, in its first moments
		nodes = map[persistence.NodeID]*storev1.Node{c.opts.Self.Node: {Id: uint32(c.opts.Self.Node), Name: c.opts.Self.Name}}
	}
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		n := nodes[id]
		if n.GetRemoved() {
			continue
		}
		m, here := seen[id]
		v.Nodes = append(v.Nodes, NodeView{ID: id, Name: n.GetName(), State: stateOf(n, m.State, here), Member: m, Owned: c.ownedBy(id), Feature: k.feature(id)})
	}
	c.mu.Lock()
	v.Moving = maps.Clone(c.mu.why)
	c.mu.Unlock()
	holds := map[persistence.Partition][]replication.Replica{}
	for _, status := range c.opts.Log.Status() {
		holds[status.Partition] = status.Replicas
	}
	v.Has = func(p persistence.Partition) (replicas, learners []string) {
		list := holds[p]
		if len(list) == 0 {
			t := orFirst(k.target(p))
			for _, id := range t.Voters {
				list = append(list, replication.Replica{Node: id, Role: replication.Voter})
			}
			for _, id := range t.Learners {
				list = append(list, replication.Replica{Node: id, Role: replication.Learner})
			}
		}
		for _, r := range list {
			replicas = append(replicas, k.name(r.Node))
			if r.Role == replication.Learner {
				learners = append(learners, k.name(r.Node))
			}
		}
		return replicas, learners
	}
	return v, nil
}

func stateOf(n *storev1.Node, state members.State, seen bool) string {
	switch {
	case n.GetRemoving():
		return "removing"
	case !seen:
		return "absent"
	case n.GetDraining() || state == members.Draining:
		return "draining"
	case state == members.Active:
		return "active"
	default:
		return "joining"
	}
}
