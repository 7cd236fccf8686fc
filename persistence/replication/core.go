package replication

import (
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// core is the Raft groups of a node, without clock, disk and network: what happens goes in through campaign, tick,
// receive, propose, synced and applied; what is to be done comes out of collect. It belongs to one goroutine. The same
// inputs give the same outputs, but for Raft's election time-outs, which no group with a sole voter ever reaches.
type core struct {
	opts   coreOptions
	groups []*group // by slot
	dirty  []*group // may have something to say
	spare  []*group // dirty's other half
	asked  []*group // said something in the last collect, and wait for synced
	ticks  uint64
	nextID uint64 // of proposals; only their (partition, term, id) must be unique
}

// The applied entries that a group of several voters keeps in memory for followers that lag, as long as they are within
// both. Who lags more gets a copy of the partition.
const (
	keptEntries = 8192
	keptBytes   = 2 << 20
	// maxHeldBytes bounds what is kept more for a replica that is being copied.
	maxHeldBytes = 64 << 20
)

// maxInflightBytes bounds the entries on their way to one follower of one group that it did not confirm yet.
const maxInflightBytes = 8 << 20

// coreOptions are what the core needs to know.
type coreOptions struct {
	// Node is this node. Its replica of each group is in what was recovered.
	Node persistence.NodeID
	// Generation is the store's; with Raft's term it makes the epoch.
	Generation uint32
	// ElectionTicks and HeartbeatTicks are Raft's, for groups of more than one voter.
	ElectionTicks, HeartbeatTicks int
	// ClaimBeforeApply is the fault of that name.
	ClaimBeforeApply bool
	// LearnersVote is the fault of that name.
	LearnersVote bool
	Logger       raft.Logger
}

// proposal is one Raft entry on its way, with those who wait for it.
type proposal struct {
	id      uint64
	data    []byte // Raft keeps it until it is applied
	waiting []waiting
}

// commit is an entry to apply. Its proposal is nil when nobody here waits for it.
type commit struct {
	persistence.Committed
	slot     int
	proposal *proposal
	// drop and swap stand alone, for the applier: remove the partition's state, or swap it for a copy.
	drop bool
	swap persistence.CopyWriter
	run  func()
}

// ownershipChange says that a partition was claimed or lost.
type ownershipChange struct {
	slot    int
	epoch   persistence.Epoch
	claimed bool
}

// output is what the core wants done, in this order: before, writes and their sync, synced(), after, commits, lost, owners.
type output struct {
	writes []groupBatch
	// before may be sent at once: a leader's entries travel while it writes them itself.
	before []message
	// after promises something that writes holds.
	after   []message
	commits []commit
	// lost have an unknown outcome: this node no longer leads their group.
	lost   []*proposal
	owners []ownershipChange
	// changed are the slots whose replicas are others now.
	changed []int
	// wanted are the copies that this node needs.
	wanted []copyWanted
	// reads are the rounds of core.read that a majority confirmed.
	reads []readPassed
}

func (o *output) reset() {
	clear(o.commits)
	*o = output{
		writes: o.writes[:0], before: o.before[:0], after: o.after[:0],
		commits: o.commits[:0], lost: o.lost[:0], owners: o.owners[:0], reads: o.reads[:0],
		changed: o.changed[:0], wanted: o.wanted[:0],
	}
}

// newCore starts the groups as they were recovered.
func newCore(opts coreOptions, recovered []replayed) (*core, error) {
	c := &core{opts: opts}
	for slot := range recovered {
		g, err := newGroup(opts, slot, &recovered[slot])
		if err != nil {
			return nil, fmt.Errorf("start the group of partition %d: %w", recovered[slot].Partition, err)
		}
		c.groups = append(c.groups, g)
	}
	return c, nil
}

// newGroup starts one group, which has no node while this node has no replica of it.
func newGroup(opts coreOptions, slot int, r *replayed) (*group, error) {
	g := &group{partition: r.Partition, slot: slot, members: &replicas{conf: &raftpb.ConfState{}}}
	if r.Replica == 0 {
		g.replica = r.Gone
		return g, nil
	}
	return g, g.start(opts, r)
}

// start makes the group's node, of what was recovered.
func (g *group) start(opts coreOptions, r *replayed) error {
	g.replica, g.tail, g.members = r.Replica, newTail(r), &replicas{conf: r.Conf, retired: r.retired}
	g.sole = g.members.sole(g.replica)
	if r.changed {
		g.tail.needCopy()
	}
	var err error
	g.node, err = raft.NewRawNode(&raft.Config{
		ID:                        g.replica,
		ElectionTick:              opts.ElectionTicks,
		HeartbeatTick:             opts.HeartbeatTicks,
		Storage:                   &g.tail,
		Applied:                   r.Applied,
		MaxSizePerMsg:             maxProposalBytes,
		MaxCommittedSizePerReady:  maxProposalBytes, // a long recovery is applied in pieces
		MaxUncommittedEntriesSize: math.MaxUint64,   // the host bounds what waits
		MaxInflightMsgs:           256,
		MaxInflightBytes:          maxInflightBytes,
		CheckQuorum:               true,
		PreVote:                   true,
		Logger:                    opts.Logger,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	})
	return err
}

// campaign makes every group of which this node is the sole voter stand for election: there is nobody to wait for.
func (c *core) campaign() error {
	for _, g := range c.groups {
		if !g.sole {
			continue
		}
		if err := g.node.Campaign(); err != nil {
			return fmt.Errorf("campaign in partition %d: %w", g.partition, err)
		}
		c.touch(g)
	}
	return nil
}

// tick moves Raft's clock. The sole voter that leads needs none. Leaders' clocks move only every HeartbeatTicks, by as much: so the
// heartbeats of all groups that this node leads are due at once, and go in one batch for each peer.
func (c *core) tick(out *output) error {
	c.ticks++
	for _, g := range c.groups {
		if g.leading && g.claimID == 0 { // Raft dropped it
			if err := c.claim(g); err != nil {
				return err
			}
		}
		if g.owner && c.ticks%goneTicks == 0 { // a sole voter too: those that it had beside it may not know
			for _, id := range g.members.retired {
				out.before = append(out.before, message{Partition: g.partition, Gone: id})
			}
		}
		if g.node == nil || g.frozen || g.sole && g.leading {
			continue
		}
		c.moveClock(g)
		g.retrySnapshots()
		g.releaseHeld()
		c.touch(g)
		if err := g.hurry(); err != nil {
			return err
		}
	}
	return nil
}

// moveClock moves one group's clock.
func (c *core) moveClock(g *group) {
	ticks := 1
	if every := c.opts.HeartbeatTicks; g.elected {
		if c.ticks%uint64(every) != 0 { //nolint:gosec // a few
			return
		}
		ticks = every
	}
	for range ticks {
		g.node.Tick()
	}
}

// receive takes a message from another node. Raft copes with any that is well-formed and comes from a node that keeps its
// log; one it does not want changes nothing. A message from a leader to a replica that is not here yet begins it.
func (c *core) receive(slot int, msg *message, out *output) error {
	g, m := c.groups[slot], msg.Raft
	if msg.Gone != 0 {
		if g.node != nil && !g.frozen && nodeOf(msg.Gone) == c.opts.Node && g.replica <= msg.Gone {
			c.retire(g, out)
		}
		return nil
	}
	if g.frozen || nodeOf(m.GetTo()) != c.opts.Node {
		return nil
	}
	if m.GetTo() > g.replica && !g.dropping {
		if t := m.GetType(); t != raftpb.MsgApp && t != raftpb.MsgHeartbeat && t != raftpb.MsgSnap {
			return nil
		}
		if g.node != nil { // it was removed, and nobody told it; when its state is gone, the leader's next message comes
			c.retire(g, out)
			return nil
		}
		if err := c.begin(g, m.GetTo()); err != nil {
			return err
		}
	}
	switch {
	case g.node == nil || m.GetTo() != g.replica || !wellFormed(m):
	case m.GetType() == raftpb.MsgApp && m.GetIndex() == 0 && len(g.members.ids()) == 0:
		// From its beginning a log means nothing to a replica that does not know its first configuration.
	case m.GetType() == raftpb.MsgSnap:
		out.wanted = append(out.wanted, copyWanted{
			slot: slot, from: m.GetFrom(), to: m.GetTo(), term: m.GetTerm(), index: m.GetSnapshot().GetMetadata().GetIndex(),
			conf: m.GetSnapshot().GetMetadata().GetConfState(),
		})
	default:
		if err := g.node.Step(m); err == nil {
			c.touch(g)
		}
	}
	return nil
}

// newProposalID returns an id for the next proposal.
func (c *core) newProposalID() uint64 {
	c.nextID++
	return c.nextID
}

// propose hands p to its group, where it is applied after everything proposed there before. It returns
// [persistence.ErrNotOwner], having done nothing, unless this node owns the partition.
func (c *core) propose(slot int, p *proposal) error {
	g := c.groups[slot]
	if !g.owner {
		return persistence.ErrNotOwner
	}
	if err := g.node.Propose(p.data); err != nil {
		return fmt.Errorf("%w: partition %d: %w", persistence.ErrNotOwner, g.partition, err)
	}
	g.inflight = append(g.inflight, p)
	c.touch(g)
	return nil
}

// busy reports whether collect may have something to say.
func (c *core) busy() bool { return len(c.dirty) > 0 }

// collect adds to out what is to be done. It must be answered by synced before the next collect.
func (c *core) collect(out *output) error {
	look := c.dirty
	c.dirty, c.spare = c.spare[:0], look // a claim made here is for the next time
	for _, g := range look {
		g.dirty = false
		if g.marked {
			c.takeMark(g, out)
		}
		if g.node == nil || !g.node.HasReady() {
			continue
		}
		if err := c.take(g, g.node.Ready(), out); err != nil {
			return err
		}
		c.asked = append(c.asked, g)
	}
	return nil
}

// synced says that all that the last collect wanted written is durable.
func (c *core) synced() {
	for _, g := range c.asked {
		if g.node != nil {
			g.node.Advance(raft.Ready{})
			c.touch(g)
		}
	}
	c.asked = c.asked[:0]
}

// applied says that the state machine has applied the group's entries up to index. It adds a claim to out when that
// was the last thing that the claim waited for.
func (c *core) applied(slot int, index uint64, out *output) {
	g := c.groups[slot]
	if g.node == nil || index < g.tail.applied || index > g.tail.last() { // of a replica that is gone, or before its copy
		return
	}
	if g.sole {
		g.tail.keepNone(index)
	} else {
		g.tail.keep(index, keptEntries, keptBytes)
	}
	if g.leading && !g.owner && g.claimIndex != 0 && index >= g.claimIndex {
		c.own(g, out)
	}
}

// handOver asks the group to make another node its leader, which Raft does when that one has all entries, within an
// election time-out; until then nothing can be proposed. It does nothing when this node does not own the partition or the
// other has no voter of it.
func (c *core) handOver(slot int, to persistence.NodeID) {
	g := c.groups[slot]
	if !g.owner {
		return
	}
	for id := range g.node.Status().Config.Voters.IDs() {
		if nodeOf(id) == to && id != g.replica {
			g.node.TransferLeader(id)
			c.touch(g)
		}
	}
}

// resign gives up every group: what is on its way has an unknown outcome. The core is of no use after it.
func (c *core) resign(out *output) {
	for _, g := range c.groups {
		c.stepDown(g, out)
	}
}

func (c *core) epoch(g *group) persistence.Epoch {
	return persistence.Epoch{Generation: c.opts.Generation, Term: g.term}
}

func (c *core) touch(g *group) {
	if !g.dirty {
		g.dirty = true
		c.dirty = append(c.dirty, g)
	}
}
