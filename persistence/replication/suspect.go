package replication

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/raft/v3"

	"github.com/skerry-dev/skerry/persistence"
)

// suspect says that a node seems to be gone: the groups that it leads forget it, so that they can elect another, and the
// voter that is next after it stands for election at once. A handover to that node is given up. A wrong suspicion costs
// an election that the leader, if it is there, wins or loses: the epoch keeps it safe.
func (c *core) suspect(node persistence.NodeID) error {
	for _, g := range c.groups {
		if g.node == nil || g.frozen {
			continue
		}
		status := g.node.BasicStatus()
		if status.LeadTransferee != raft.None && nodeOf(status.LeadTransferee) == node {
			g.node.TransferLeader(g.replica) // to itself: Raft gives the other up, and takes proposals again
			c.touch(g)
		}
		if status.Lead == raft.None || status.Lead == g.replica || nodeOf(status.Lead) != node {
			continue
		}
		if err := g.node.ForgetLeader(); err != nil {
			return fmt.Errorf("forget the leader of partition %d: %w", g.partition, err)
		}
		g.hurried, g.turn = 1, g.turnAfter(status.Lead)
		if g.turn == 0 {
			if err := g.node.Campaign(); err != nil {
				return fmt.Errorf("campaign in partition %d: %w", g.partition, err)
			}
		}
		c.touch(g)
	}
	return nil
}

// hurry makes the voters stand again while nobody follows a suspected leader: the first may have asked before the others
// heard of the suspicion, or lack an entry that another has. Each has a period of its own, in ticks, so that two who
// take each other's votes do not meet again the next time. After an election time-out Raft goes on by itself.
func (g *group) hurry() error {
	if g.hurried == 0 {
		return nil
	}
	if g.hurried > electionTicks || g.node.BasicStatus().Lead != raft.None {
		g.hurried = 0
		return nil
	}
	stand := g.hurried >= g.turn && (g.hurried-g.turn)%(g.turn+2) == 0
	g.hurried++
	if !stand {
		return nil
	}
	if err := g.node.Campaign(); err != nil {
		return fmt.Errorf("campaign in partition %d: %w", g.partition, err)
	}
	return nil
}

// turnAfter returns how many voters stand before this one, rising from lead and round.
func (g *group) turnAfter(lead uint64) int {
	ids := slices.Collect(maps.Keys(g.node.Status().Config.Voters.IDs()))
	slices.SortFunc(ids, func(a, b uint64) int { return cmp.Compare(a-lead-1, b-lead-1) })
	return max(0, slices.Index(ids, g.replica))
}
