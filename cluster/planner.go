package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/placement"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// planning is what the planner remembers while this node owns the meta partition. It belongs to the planner's goroutine.
type planning struct {
	epoch   persistence.Epoch // of the meta partition
	seen    string            // the nodes and their health, as looked at last
	since   time.Time         // when that was first so
	planned string            // for which of them the records say what is to be
}

// planAll does the work of the meta partition's owner: it admits nodes, notes who is absent, plans, and writes the history.
// An error is tried again at the next look. It is busy until the nodes, as they are, are planned for, and all removals are done.
func (c *Cluster) planAll(ctx context.Context) (busy bool) {
	c.mu.Lock()
	epoch, owned := c.mu.owned[persistence.MetaPartition]
	applications := c.mu.applications
	c.mu.applications = nil
	if !owned || c.planning.epoch != epoch { // what was missed in an earlier time as planner may have been here since
		c.planning = planning{epoch: epoch}
		clear(c.mu.missing)
	}
	c.mu.Unlock()
	if !owned {
		c.forgetHeard()
		return false
	}
	k, err := c.read(ctx)
	if err == nil {
		err = c.planWith(ctx, k, applications)
	}
	if err != nil && ctx.Err() == nil {
		level := slog.LevelWarn
		if errors.Is(err, persistence.ErrOutcomeUnknown) || errors.Is(err, persistence.ErrNotOwner) { // another node owns the meta partition now
			level = slog.LevelDebug
		}
		c.log.LogAttrs(ctx, level, "the cluster's records could not be brought up to date; it is tried again", slog.Any("err", err))
	}
	return err != nil || c.planning.planned != c.planning.seen || k.removing()
}

func (c *Cluster) planWith(ctx context.Context, k *known, applications []application) error {
	if err := c.recovered(ctx, k); err != nil { // before anybody is admitted
		return err
	}
	if err := c.enterSelf(ctx, k); err != nil {
		return err
	}
	for _, a := range applications {
		if err := c.admit(ctx, a); err != nil {
			return err
		}
	}
	k, err := c.read(ctx)
	if err != nil {
		return err
	}
	if err = c.noteFeatures(ctx, k); err != nil {
		return err
	}
	nodes, seen := c.healths(k)
	if err = c.noteAbsent(ctx, k, nodes); err != nil {
		return err
	}
	if err = c.planReplicas(ctx, k, nodes, seen); err != nil {
		return err
	}
	if err = c.finishRemovals(ctx, k); err != nil {
		return err
	}
	return c.writeHistory(ctx)
}

// enterSelf writes the record of the node that made the cluster.
func (c *Cluster) enterSelf(ctx context.Context, k *known) error {
	if k.nodes[c.opts.Self.Node] != nil || c.opts.Self.Node != firstNode {
		return nil
	}
	return c.putNode(ctx, c.opts.Records.Put, &storev1.Node{
		Id: uint32(firstNode), Name: c.opts.Self.Name, Nonce: c.opts.Self.Nonce, AdmittedMs: time.Now().UnixMilli(),
	}, "made the cluster")
}

// admit gives a node its id, and tells it when the record is durable.
func (c *Cluster) admit(ctx context.Context, a application) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	k, err := c.read(ctx)
	if err != nil {
		return err
	}
	node, refused := nextNode(k, a.apply, time.Now())
	if refused == "" {
		refused = k.tooOld(a.apply.GetFeature())
	}
	if refused == "" && k.nodes[persistence.NodeID(node.GetId())] == nil {
		old := k.byName(node.GetName())
		if old != nil && c.seen(persistence.NodeID(old.GetId())) { // two processes with one name, or the old one's end is not known yet
			c.log.LogAttrs(ctx, slog.LevelWarn, "a node that is there has the name of one that wants to join, which waits", slog.String("name", node.GetName()))
			return nil
		}
		if old != nil { // its directory is another one now: what the old one had is copied anew
			gone := proto.CloneOf(old)
			gone.Removed = true
			if err = c.putNode(ctx, c.opts.Records.Put, gone, "came back with another directory: its old id is removed"); err != nil {
				return err
			}
		}
		if err = c.putNode(ctx, c.opts.Records.Put, node, "was admitted"); err != nil {
			return err
		}
	}
	answer := &peerv1.Admit{
		Nonce: a.apply.GetNonce(), Cluster: c.opts.Self.Cluster, Node: node.GetId(),
		Partitions: uint32(c.opts.Partitions), Generation: c.opts.Generation, Refused: refused, //nolint:gosec // at most 4096
	}
	payload, err := proto.Marshal(&peerv1.Gossip{Admit: answer})
	if err != nil {
		return fmt.Errorf("encode an admission: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	_ = c.opts.Gossip.Send(ctx, a.from, payload) // who did not hear it asks again
	return nil
}

// nextNode is the record of a node that applies: the one that it has, or a new one with an id that none ever had.
func nextNode(k *known, a *peerv1.Apply, now time.Time) (node *storev1.Node, refused string) {
	greatest := uint32(firstNode)
	for id, n := range k.nodes {
		greatest = max(greatest, uint32(id))
		if n.GetNonce() != a.GetNonce() {
			continue
		}
		if n.GetRemoved() {
			return nil, fmt.Sprintf("node %d (%s) was removed; its data directory cannot come back: start with an empty one", n.GetId(), n.GetName())
		}
		return n, ""
	}
	if a.GetNonce() == 0 || a.GetName() == "" {
		return nil, "the application has no nonce or no name"
	}
	if old := k.byName(a.GetName()); old != nil {
		if alone := k.alone(persistence.NodeID(old.GetId())); alone > 0 {
			return nil, fmt.Sprintf("%s is node %d, which alone has the vote of %d partitions: start it with its own data directory; "+
				"if that is lost for ever, so are they: skerry cluster remove %s --force", a.GetName(), old.GetId(), alone, a.GetName())
		}
	}
	return &storev1.Node{Id: greatest + 1, Name: a.GetName(), Nonce: a.GetNonce(), AdmittedMs: now.UnixMilli()}, ""
}

// healths says how each node that was not removed is, and the same in a line that differs when that does.
func (c *Cluster) healths(k *known) (nodes []placement.Node, line string) {
	states := map[persistence.NodeID]members.State{}
	for _, m := range c.members() {
		if m.Node != 0 && m.Cluster == c.opts.Self.Cluster {
			states[m.Node] = m.State
		}
	}
	var text strings.Builder
	for _, id := range slices.Sorted(maps.Keys(k.nodes)) {
		n := k.nodes[id]
		if n.GetRemoved() {
			continue
		}
		state, seen := states[id]
		health := healthOf(n, state, seen, k.absent[id], time.Now(), c.opts.AbsentAfter)
		nodes = append(nodes, placement.Node{ID: id, Health: health})
		fmt.Fprintf(&text, "%s (%d) is %v, ", n.GetName(), id, health) // with its id: a wiped node comes back under its name
	}
	return nodes, strings.TrimSuffix(text.String(), ", ")
}

// healthOf says how a node is. absent is since when it is not seen, as written down; zero when that is not so, or not yet.
func healthOf(n *storev1.Node, state members.State, seen bool, absent, now time.Time, absentAfter time.Duration) placement.Health {
	switch {
	case n.GetRemoving():
		return placement.Removed
	case !seen && !absent.IsZero() && now.Sub(absent) >= absentAfter:
		return placement.Lost
	case !seen:
		return placement.Absent
	case n.GetDraining() || state == members.Draining:
		return placement.Leaving
	case state == members.Active:
		return placement.Usable
	default:
		return placement.Absent // it joins, and has what it has
	}
}

// noteAbsent writes down since when nodes are not seen: whoever plans next goes on from that.
func (c *Cluster) noteAbsent(ctx context.Context, k *known, nodes []placement.Node) error {
	now := time.Now()
	for _, n := range nodes {
		noted := !k.absent[n.ID].IsZero()
		here := c.seen(n.ID)
		c.mu.Lock()
		since, missing := c.mu.missing[n.ID]
		switch {
		case here:
			delete(c.mu.missing, n.ID)
			missing = false
		case !missing:
			c.mu.missing[n.ID] = now
			since, missing = now, true
		}
		c.mu.Unlock()
		var err error
		switch {
		case noted && !missing:
			err = c.put(ctx, recordName(absentRecords, uint32(n.ID)), nil)
		case !noted && missing && now.Sub(since) >= absentFor:
			err = c.put(ctx, recordName(absentRecords, uint32(n.ID)), &storev1.Absence{SinceMs: since.UnixMilli()})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// planReplicas writes who is to have what, once the nodes are as they are for a moment.
func (c *Cluster) planReplicas(ctx context.Context, k *known, nodes []placement.Node, seen string) error {
	now := time.Now()
	if seen != c.planning.seen {
		c.planning.seen, c.planning.since = seen, now
	}
	if c.planning.planned == seen || now.Sub(c.planning.since) < settleFor {
		return nil
	}
	targets := slices.Clone(k.targets)
	for p := range targets {
		targets[p] = orFirst(targets[p])
	}
	changed := 0
	for p, target := range placement.Plan(nodes, targets) {
		if sameTarget(target, targets[p]) {
			continue
		}
		if err := c.put(ctx, recordName(placeRecords, uint32(p)), placementOf(target)); err != nil { //nolint:gosec // at most 4096
			return err
		}
		changed++
	}
	before := orFirst(k.meta)
	if meta := placement.PlanMeta(nodes, before); !sameTarget(meta, before) {
		if err := c.put(ctx, recordName(placeRecords, uint32(persistence.MetaPartition)), placementOf(meta)); err != nil {
			return err
		}
		changed++
	}
	c.planning.planned = seen
	c.log.LogAttrs(ctx, slog.LevelInfo, "planned", slog.String("nodes", seen), slog.Int("partitions_changed", changed))
	if usable(nodes) == 2 {
		c.log.LogAttrs(ctx, slog.LevelWarn, "two nodes: each partition has one voter and a copy. Nothing is lost with the copy's node, but while "+
			"a voter's node is away what it owns is not served; a third node changes that")
	}
	c.poke()
	return nil
}

func usable(nodes []placement.Node) int {
	n := 0
	for _, node := range nodes {
		if node.Health == placement.Usable {
			n++
		}
	}
	return n
}

// orFirst is who has a partition of which no record says anything.
func orFirst(t placement.Target) placement.Target {
	if len(t.Voters) == 0 {
		return placement.Target{Voters: []persistence.NodeID{firstNode}, Owner: firstNode}
	}
	return t
}

// finishRemovals writes that a node is removed, once nobody plans with it and it says that it has nothing any more.
func (c *Cluster) finishRemovals(ctx context.Context, k *known) error {
	for id, n := range k.nodes {
		if !n.GetRemoving() || n.GetRemoved() || c.planning.planned != c.planning.seen || k.has(id) || !c.seen(id) {
			continue // one that is not seen may have what nobody else has yet
		}
		asking, cancel := context.WithTimeout(ctx, tellTimeout)
		replicas, err := c.opts.Replicas(asking, id)
		cancel()
		if err != nil || replicas > 0 {
			continue
		}
		gone := proto.CloneOf(n)
		gone.Removed, gone.Removing = true, false
		c.writing.Lock()
		err = c.putNode(ctx, c.opts.Records.Put, gone, "was removed")
		c.writing.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// removing reports whether a node is to be removed, and is not yet.
func (k *known) removing() bool {
	for _, n := range k.nodes {
		if n.GetRemoving() && !n.GetRemoved() {
			return true
		}
	}
	return false
}

// alone counts the partitions in which a node is to have the only vote, the meta partition's too.
func (k *known) alone(id persistence.NodeID) (n int) {
	for _, t := range append(slices.Clone(k.targets), k.meta) {
		if slices.Equal(orFirst(t).Voters, []persistence.NodeID{id}) {
			n++
		}
	}
	return n
}

// has reports whether a node is to have anything.
func (k *known) has(id persistence.NodeID) bool {
	is := func(t placement.Target) bool { return slices.Contains(t.Voters, id) || slices.Contains(t.Learners, id) }
	return is(orFirst(k.meta)) || slices.ContainsFunc(k.targets, func(t placement.Target) bool { return is(orFirst(t)) })
}
