package replication

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/persistence"
)

// sole reports whether the replica is the only one.
func (r *replicas) sole(id uint64) bool {
	all := r.ids()
	return len(all) == 1 && all[0] == id && r.role(id) == Voter
}

// reconfigure makes a committed change of replicas hold in Raft, and gives it to the state machine.
func (g *group) reconfigure(e *raftpb.Entry, c *commit, out *output) error {
	var change raftpb.ConfChangeI
	if e.GetType() == raftpb.EntryConfChange {
		change = &raftpb.ConfChange{}
	} else {
		change = &raftpb.ConfChangeV2{}
	}
	message, ok := change.(proto.Message)
	if !ok {
		return fmt.Errorf("partition %d index %d: a change of replicas is no message", g.partition, c.Index)
	}
	if err := proto.Unmarshal(e.GetData(), message); err != nil {
		return fmt.Errorf("partition %d index %d: decode a change of replicas: %w", g.partition, c.Index, err)
	}
	conf := g.node.ApplyConfChange(change)
	g.tail.needCopy()
	g.tail.conf, g.tail.confAt = conf, c.Index
	g.members = g.members.follow(conf)
	g.sole = g.members.sole(g.replica)
	out.changed = append(out.changed, g.slot)
	var err error
	c.Data = nil
	c.Conf, err = appendReplicas(nil, g.members)
	return err
}

// changeReplicas proposes a change. It returns [ErrReplicaChange], [persistence.ErrNotOwner], or nil when it was proposed, or
// nothing was to be done. Raft makes one at a time and ignores one that comes too early: the caller looks and asks again.
func (c *core) changeReplicas(slot int, changes []ReplicaChange) error {
	g := c.groups[slot]
	if !g.owner {
		return persistence.ErrNotOwner
	}
	cc, err := g.members.plan(changes)
	if err != nil || cc == nil {
		return err
	}
	for _, change := range cc.GetChanges() {
		if c.opts.LearnersVote && change.GetType() == raftpb.ConfChangeAddLearnerNode {
			change.Type = raftpb.ConfChangeAddNode.Enum()
		}
		if change.GetNodeId() == g.replica {
			return fmt.Errorf("%w: this node owns the partition: hand it over first", ErrReplicaChange)
		}
	}
	if err := g.node.ProposeConfChange(cc); err != nil {
		return fmt.Errorf("%w: %w", ErrReplicaChange, err)
	}
	c.touch(g)
	return nil
}

// begin starts a replica that a leader has sent its first message to: empty, and a member of nothing that it knows of.
func (c *core) begin(g *group, replica uint64) error {
	fresh := &replayed{groupCheckpoint: groupCheckpoint{Partition: g.partition, Replica: replica, Conf: &raftpb.ConfState{}}}
	if err := g.start(c.opts, fresh); err != nil {
		return fmt.Errorf("begin replica %d of partition %d: %w", replica, g.partition, err)
	}
	g.unwritten = nil
	c.write(g, func(b *groupBatch) { b.Replica = &replica })
	return nil
}

// write adds to the mark that the next collect writes.
func (c *core) write(g *group, set func(*groupBatch)) {
	if !g.marked {
		g.marked, g.mark = true, groupBatch{Partition: g.partition, slot: g.slot}
	}
	set(&g.mark)
	c.touch(g)
}

// takeMark adds the mark, and what may go on once it is durable.
func (c *core) takeMark(g *group, out *output) {
	out.writes = append(out.writes, g.mark)
	g.marked = false
	switch {
	case g.dropping && g.mark.Replica != nil:
		out.commits = append(out.commits, commit{slot: g.slot, Committed: persistence.Committed{Partition: g.partition}, drop: true})
	case g.swap != nil:
		out.commits = append(out.commits, commit{slot: g.slot, Committed: persistence.Committed{Partition: g.partition}, swap: g.swap})
		g.swap = nil
	}
}

// goneTicks is how often an owner tells those that were removed that they are. A replica that only knows of its own removal
// must stay: it may be the only one that knows, and the others need its vote to learn of it.
const goneTicks = 50

// retire ends this node's replica: its partition's owner says that it was removed. The log says so first, then its state goes.
func (c *core) retire(g *group, out *output) {
	c.stepDown(g, out)
	none, gone := uint64(0), g.replica
	*g = group{
		partition: g.partition, slot: g.slot, dirty: g.dirty, members: &replicas{conf: &raftpb.ConfState{}},
		replica:  g.replica, // a message to it, or to an older one, begins nothing
		dropping: true, marked: g.marked, mark: g.mark, swap: nil,
	}
	out.changed = append(out.changed, g.slot)
	c.write(g, func(b *groupBatch) { *b = groupBatch{Partition: g.partition, slot: g.slot, Replica: &none, Gone: gone} })
}

// dropped says that the state of a replica that was retired is gone.
func (c *core) dropped(slot int) { c.groups[slot].dropping = false }

// freeze begins to swap a group's state for a copy. It is false when the group does not follow anybody any more.
func (c *core) freeze(slot int, wanted copyWanted, w persistence.CopyWriter) bool {
	g := c.groups[slot]
	if g.node == nil || g.frozen || g.dropping || g.swap != nil {
		return false
	}
	status := g.node.BasicStatus()
	if status.RaftState != raft.StateFollower || wanted.conf == nil {
		return false
	}
	g.offer = wanted
	if term := status.GetTerm(); term > wanted.term {
		g.offer.term = term
		if status.Lead != raft.None {
			g.offer.from = status.Lead
		}
	}
	g.frozen, g.swap = true, w
	c.write(g, func(b *groupBatch) { b.Copying = true })
	return true
}

// swapped ends what freeze began: Raft hears of the copy as of a snapshot. at is zero when the state stayed as it was.
func (c *core) swapped(slot int, at entryID, members *replicas) error {
	g := c.groups[slot]
	g.frozen = false
	if g.node == nil || at.Index == 0 {
		return nil
	}
	if members == nil { // they never changed, so the leader's are the ones
		members = &replicas{conf: g.offer.conf}
	}
	err := g.node.Step(&raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: &g.offer.from, To: &g.replica, Term: &g.offer.term,
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: members.conf, Index: &at.Index, Term: &at.Term}},
	})
	if err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
		return fmt.Errorf("partition %d: go on from the copy at index %d: %w", g.partition, at.Index, err)
	}
	g.coming = members
	c.touch(g)
	return nil
}

// takeSnapshot makes the configuration that came with a copy hold.
func (c *core) takeSnapshot(g *group, s *raftpb.Snapshot, out *output) {
	g.members = g.coming
	if g.members == nil {
		g.members = &replicas{conf: s.GetMetadata().GetConfState()}
	}
	g.coming = nil
	g.tail.conf, g.tail.confAt = g.members.conf, 0
	g.sole = g.members.sole(g.replica)
	out.changed = append(out.changed, g.slot)
}

// heldTicks is how long after a copy was sent its receiver has time to ask for what comes after it.
const heldTicks = 300

// hold keeps the entries from now on for a replica that is being copied, for begun = 1, until some time after -1. It is false
// when this node has no replica.
func (c *core) hold(slot int, begun int) bool {
	g := c.groups[slot]
	if g.node == nil {
		return false
	}
	g.copied = max(0, g.copied+begun)
	g.heldFor = heldTicks
	if g.tail.held == 0 {
		g.tail.held = max(g.tail.applied, 1)
	}
	return true
}

// releaseHeld forgets what was held for copies long ago.
func (g *group) releaseHeld() {
	if g.tail.held == 0 || g.copied > 0 {
		return
	}
	if g.heldFor--; g.heldFor <= 0 {
		g.tail.held = 0
	}
}

// replicaStatus lists the replicas, with what the leader knows of how far they are.
func (g *group) replicaStatus() []Replica {
	ids := g.members.ids()
	list := make([]Replica, len(ids))
	for i, id := range ids {
		list[i] = Replica{ID: id, Node: nodeOf(id), Role: g.members.role(id)}
	}
	if g.leading {
		g.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
			if i, ok := slices.BinarySearch(ids, id); ok {
				list[i].Match, list[i].Active = pr.Match, pr.RecentActive || id == g.replica
			}
		})
	}
	return list
}

// retryTicks is after how many ticks a leader offers a copy again to a replica that did not take it.
const retryTicks = 50

// retrySnapshots offers copies again: a fetch that failed is not reported.
func (g *group) retrySnapshots() {
	if !g.leading {
		return
	}
	if g.sinceRetry++; g.sinceRetry < retryTicks {
		return
	}
	g.sinceRetry = 0
	var waiting []uint64
	g.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if pr.State == tracker.StateSnapshot {
			waiting = append(waiting, id)
		}
	})
	slices.Sort(waiting)
	for _, id := range waiting {
		g.node.ReportSnapshot(id, raft.SnapshotFailure)
	}
}
