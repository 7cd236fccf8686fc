package replication

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// group is one partition's Raft group. It belongs to the core.
type group struct {
	partition persistence.Partition
	slot      int
	replica   uint64 // this node's id in the group, of the last that it had when node is nil
	node      *raft.RawNode
	tail      tail
	sole      bool // this node is the only voter, and nobody learns
	dirty     bool

	elected bool   // Raft says so
	leading bool   // the leadership was begun here
	term    uint64 // of the leadership, when leading
	// The claim is the first thing proposed in a leadership; the group is owned when it was applied.
	claimID    uint64
	claimIndex uint64 // 0 until it is committed
	owner      bool
	inflight   []*proposal // proposed in this leadership, not committed, in order

	// hurried counts the ticks since the leader was suspected, from 1; 0 when none is. turn is how many voters stand before this one.
	hurried, turn int

	unwritten *hardState // changed, and not worth a record of its own

	members *replicas // as of what was handed on to be applied
	// marked says that mark must be written, before anything that Raft wants.
	marked   bool
	mark     groupBatch
	frozen   bool       // its state is being swapped for a copy: nothing is received, nothing ticks
	offer    copyWanted // of the copy that the state is being swapped for
	dropping bool       // its state is being removed
	swap     persistence.CopyWriter
	coming   *replicas // with the copy that Raft is about to hear of
	// sinceRetry counts ticks since copies were offered again.
	sinceRetry int
	// copied is how many copies of it are being sent, heldFor for how many ticks more the tail keeps what they need.
	copied, heldFor int
}

// take turns one Ready into output.
func (c *core) take(g *group, rd raft.Ready, out *output) error {
	c.takeWrites(g, &rd, out)
	if !raft.IsEmptySnap(rd.Snapshot) {
		c.takeSnapshot(g, rd.Snapshot, out)
	}
	for _, m := range rd.Messages {
		msg := message{Partition: g.partition, Raft: m}
		switch m.GetType() {
		case raftpb.MsgApp, raftpb.MsgHeartbeat: // of a leader, whose term was written when it stood for election
			out.before = append(out.before, msg)
		default: // it promises, or asks on the strength of, what is being written
			out.after = append(out.after, msg)
		}
	}
	if rd.SoftState != nil {
		g.elected = rd.RaftState == raft.StateLeader
	}
	if !g.elected || rd.HardState != nil && rd.GetTerm() != g.term {
		c.stepDown(g, out)
	}
	for _, e := range rd.CommittedEntries {
		entry, err := g.commit(e, out)
		if err != nil {
			return err
		}
		out.commits = append(out.commits, entry)
	}
	g.takeReads(rd.ReadStates, out)
	if g.elected && !g.leading {
		g.leading, g.term = true, g.node.BasicStatus().GetTerm()
		if c.opts.ClaimBeforeApply {
			c.own(g, out)
		}
		return c.claim(g)
	}
	return nil
}

// takeWrites adds what must be durable. A commit index alone is not: it waits for the group's next record.
func (c *core) takeWrites(g *group, rd *raft.Ready, out *output) {
	if !raft.IsEmptyHardState(rd.HardState) {
		g.unwritten = &hardState{Term: rd.GetTerm(), Vote: rd.GetVote(), Commit: rd.GetCommit()}
	}
	restored := !raft.IsEmptySnap(rd.Snapshot)
	if !rd.MustSync && !restored {
		return
	}
	batch := groupBatch{Partition: g.partition, slot: g.slot, Hard: g.unwritten, Entries: rd.Entries}
	if restored {
		at := rd.Snapshot.GetMetadata()
		batch.Restored = &entryID{Index: at.GetIndex(), Term: at.GetTerm()}
		g.tail.restore(*batch.Restored)
	}
	g.tail.append(rd.Entries)
	out.writes = append(out.writes, batch)
	g.unwritten = nil
}

// commit makes e ready to be applied, and finds who waits for it.
func (g *group) commit(e *raftpb.Entry, out *output) (commit, error) {
	c := commit{slot: g.slot, Committed: persistence.Committed{
		Partition: g.partition, Index: e.GetIndex(), Term: e.GetTerm(), Data: e.GetData(),
	}}
	if e.GetType() != raftpb.EntryNormal {
		return c, g.reconfigure(e, &c, out)
	}
	if len(c.Data) == 0 || !g.leading || c.Term != g.term {
		return c, nil
	}
	id, err := persistence.ProposalID(c.Data)
	if err != nil {
		return c, fmt.Errorf("partition %d index %d: %w", g.partition, c.Index, err)
	}
	switch {
	case id == g.claimID:
		g.claimIndex = c.Index
	case len(g.inflight) > 0 && g.inflight[0].id == id:
		c.proposal = g.inflight[0]
		g.inflight = slices.Delete(g.inflight, 0, 1)
	}
	return c, nil
}

// claim proposes the first thing of a leadership. Should Raft drop it, the next tick proposes it again.
func (c *core) claim(g *group) error {
	id := c.newProposalID()
	data, err := persistence.AppendProposal(nil, &persistence.Proposal{ID: id, Generation: c.opts.Generation, Claim: true})
	if err != nil {
		return fmt.Errorf("encode the claim of partition %d: %w", g.partition, err)
	}
	switch err := g.node.Propose(data); {
	case errors.Is(err, raft.ErrProposalDropped):
		return nil
	case err != nil:
		return fmt.Errorf("claim partition %d: %w", g.partition, err)
	}
	g.claimID, g.claimIndex = id, 0
	c.touch(g)
	return nil
}

// own begins the ownership of a group that this node leads.
func (c *core) own(g *group, out *output) {
	g.owner = true
	out.owners = append(out.owners, ownershipChange{slot: g.slot, epoch: c.epoch(g), claimed: true})
}

// stepDown ends a leadership, if there is one.
func (c *core) stepDown(g *group, out *output) {
	if g.owner {
		out.owners = append(out.owners, ownershipChange{slot: g.slot, epoch: c.epoch(g)})
	}
	out.lost = append(out.lost, g.inflight...)
	g.leading, g.owner, g.claimID, g.claimIndex, g.inflight = false, false, 0, 0, nil
}
