// Package placement says who should have which partition, and what the next step towards that is.
//
// # Guarantees
//
//   - Pure: the same input gives the same output, in whatever order nodes are given. Nothing waits, nothing is remembered.
//   - Settled: a plan of a plan is the same plan.
//   - Fair: replicas, and owners, of usable nodes differ by at most one where health allows it, and as little as possible moves.
//   - Careful: two voters are never planned, because they survive nothing that one does not; and no step takes a majority away.
//
// Begin with [Plan], which looks at all partitions, and [Next], which looks at one.
package placement

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/persistence"
)

// Health is what the planner may count on of a node.
type Health uint8

// The healths, best first.
const (
	// Usable: it is there and may be given replicas and partitions.
	Usable Health = iota + 1
	// Leaving: it keeps its replicas, gets no new ones, and owns nothing where somebody else can.
	Leaving
	// Absent: it is not seen and may come back. It keeps its replicas, gets no new ones, and is not wanted as an owner.
	Absent
	// Lost: it is not seen for so long that its replicas are given to others, as far as there are others.
	Lost
	// Removed: it is to have nothing. A node that is not named is one.
	Removed
)

// String is the health in a word.
func (h Health) String() string {
	switch h {
	case Usable:
		return "usable"
	case Leaving:
		return "leaving"
	case Absent:
		return "absent"
	case Lost:
		return "lost"
	default:
		return "removed"
	}
}

// Node is one node that was admitted to the cluster.
type Node struct {
	ID     persistence.NodeID
	Health Health
}

// Target is who should have one partition. The zero Target says that nothing was planned yet.
type Target struct {
	// Voters and Learners are rising, and no node is both.
	Voters, Learners []persistence.NodeID
	// Owner is one of Voters: who should own the partition when it can.
	Owner persistence.NodeID
}

// fullVoters is how many voters a partition has where there are as many nodes.
const fullVoters = 3

// Plan returns who should have each partition, given who was to have it until now (by partition; what exists already of a new
// cluster is to be said as the target of the node that has it). now is not changed, and shares nothing with what is returned.
func Plan(nodes []Node, now []Target) []Target {
	p := newPlanner(nodes)
	p.parts = make([]part, len(now))
	for i := range now {
		p.parts[i] = p.choose(persistence.Partition(i), &now[i]) //nolint:gosec // there are at most 4096 partitions
	}
	p.balanceReplicas()
	p.chooseOwners()
	p.balanceOwners()
	targets := make([]Target, len(now))
	for i := range p.parts {
		targets[i] = p.parts[i].target()
	}
	return targets
}

// PlanMeta returns who should have the meta partition: voters as of any partition, and every other node that is usable,
// leaving or absent a learner, because every node reads it. Its owner stays where it is unless that one is no usable voter.
func PlanMeta(nodes []Node, now Target) Target {
	p := newPlanner(nodes)
	p.parts = []part{p.choose(persistence.MetaPartition, &now)}
	p.chooseOwners()
	t := p.parts[0].target()
	if p.parts[0].stuck {
		return t
	}
	t.Learners = nil
	for _, n := range p.nodes {
		if n.Health <= Absent && !slices.Contains(t.Voters, n.ID) {
			t.Learners = append(t.Learners, n.ID)
		}
	}
	return t
}

// planner is one plan in the making.
type planner struct {
	nodes  []Node // rising, each once, without those removed
	usable []persistence.NodeID
	parts  []part
}

// part is one partition's target in the making.
type part struct {
	partition persistence.Partition
	now       *Target
	// voters has fullVoters of them, or, when few, every replica: which of them votes is who becomes owner.
	voters []persistence.NodeID
	few    bool
	owner  persistence.NodeID
	// owners are who may be chosen as owner; empty when owner stands already.
	owners []persistence.NodeID
	// stuck: nobody is left who could have it, so it stays as it was.
	stuck bool
}

func newPlanner(nodes []Node) *planner {
	p := &planner{nodes: slices.Clone(nodes)}
	slices.SortFunc(p.nodes, func(a, b Node) int { // of a node that is named twice the worse counts
		return cmp.Or(cmp.Compare(a.ID, b.ID), -cmp.Compare(a.Health, b.Health))
	})
	p.nodes = slices.CompactFunc(p.nodes, func(a, b Node) bool { return a.ID == b.ID })
	p.nodes = slices.DeleteFunc(p.nodes, func(n Node) bool { return n.ID == 0 || n.Health == 0 || n.Health >= Removed })
	for _, n := range p.nodes {
		if n.Health == Usable {
			p.usable = append(p.usable, n.ID)
		}
	}
	return p
}

// health returns what is known of a node.
func (p *planner) health(id persistence.NodeID) Health {
	i, ok := slices.BinarySearchFunc(p.nodes, id, func(n Node, id persistence.NodeID) int { return cmp.Compare(n.ID, id) })
	if !ok {
		return Removed
	}
	return p.nodes[i].Health
}

// among returns those of ids whose health is between best and worst.
func (p *planner) among(ids []persistence.NodeID, best, worst Health) []persistence.NodeID {
	var found []persistence.NodeID
	for _, id := range ids {
		if h := p.health(id); h >= best && h <= worst {
			found = append(found, id)
		}
	}
	return found
}

// choose says who has a partition, before anything is balanced.
func (p *planner) choose(partition persistence.Partition, now *Target) part {
	c := part{partition: partition, now: now.clean()}
	others := p.among(c.now.Voters, Leaving, Lost) // they can vote only where they do already
	switch able := len(p.usable) + len(others); {
	case able == 0 && len(p.among(c.now.Learners, Leaving, Lost)) == 0:
		c.stuck = true
	case able < fullVoters:
		p.chooseFew(&c)
	default:
		p.chooseVoters(&c)
	}
	return c
}

// chooseVoters fills the voters: those that vote and may come back, learners that can vote, who ranks first, and at last
// those that are lost, where nobody replaces them.
func (p *planner) chooseVoters(c *part) {
	for _, more := range [][]persistence.NodeID{
		p.among(c.now.Voters, Usable, Absent),
		p.among(c.now.Learners, Usable, Usable),
		p.ranked(p.usable, c.partition),
		p.among(c.now.Voters, Lost, Lost),
	} {
		for _, id := range more {
			if len(c.voters) < fullVoters && !slices.Contains(c.voters, id) {
				c.voters = append(c.voters, id)
			}
		}
	}
	c.owners = p.among(c.voters, Usable, Usable)
	if len(c.owners) == 0 {
		c.owner = p.best(c.voters, c.now.Owner)
	}
}

// chooseFew gives everybody a replica. One will vote: who owns the partition.
func (p *planner) chooseFew(c *part) {
	c.few = true
	replicas := slices.Concat(p.usable, p.among(c.now.Voters, Leaving, Absent), p.among(c.now.Learners, Leaving, Absent))
	lost := slices.Concat(p.among(c.now.Voters, Lost, Lost), p.among(c.now.Learners, Lost, Lost))
	voters := p.among(c.now.Voters, Usable, Lost)
	switch {
	case len(p.usable) > 0 && (len(voters) == 0 || p.health(p.best(voters, 0)) <= Leaving):
		c.owners = p.usable
	case len(voters) > 0: // who votes is not here, and without it nobody can be made a voter
		c.owner = p.best(voters, c.now.Owner)
	default: // there are learners only, and they are better than nobody
		c.owner = p.best(slices.Concat(replicas, lost), c.now.Owner)
	}
	if len(replicas) < 2 || slices.Contains(lost, c.owner) {
		replicas = append(replicas, lost...)
	}
	slices.Sort(replicas)
	c.voters = slices.Compact(replicas)
}

// best returns the healthiest, and of those preferred, or the smallest.
func (p *planner) best(ids []persistence.NodeID, preferred persistence.NodeID) persistence.NodeID {
	return slices.MinFunc(ids, func(a, b persistence.NodeID) int {
		if byHealth := cmp.Compare(p.health(a), p.health(b)); byHealth != 0 || a == b {
			return byHealth
		}
		switch preferred {
		case a:
			return -1
		case b:
			return 1
		default:
			return cmp.Compare(a, b)
		}
	})
}

// ranked returns ids in the order in which a partition prefers them.
func (p *planner) ranked(ids []persistence.NodeID, partition persistence.Partition) []persistence.NodeID {
	return slices.SortedFunc(slices.Values(ids), func(a, b persistence.NodeID) int {
		return cmp.Or(-cmp.Compare(score(a, partition), score(b, partition)), cmp.Compare(a, b))
	})
}

// score is how much a partition prefers a node. It has to be well mixed: neighbouring ids must not give neighbouring scores.
func score(id persistence.NodeID, partition persistence.Partition) uint64 {
	var b [6]byte
	binary.LittleEndian.PutUint32(b[:], uint32(id))
	binary.LittleEndian.PutUint16(b[4:], uint16(partition))
	return xxh3.Hash(b[:])
}

// target is the part as a target.
func (c *part) target() Target {
	if c.stuck {
		return *c.now
	}
	t := Target{Owner: c.owner}
	for _, id := range c.voters {
		if c.few && id != c.owner {
			t.Learners = append(t.Learners, id)
		} else {
			t.Voters = append(t.Voters, id)
		}
	}
	slices.Sort(t.Voters)
	slices.Sort(t.Learners)
	return t
}

// clean returns the target as it should be: in order, nobody twice.
func (t *Target) clean() *Target {
	tidy := func(ids []persistence.NodeID, other []persistence.NodeID) []persistence.NodeID {
		var kept []persistence.NodeID
		for _, id := range ids {
			if id != 0 && !slices.Contains(kept, id) && !slices.Contains(other, id) {
				kept = append(kept, id)
			}
		}
		slices.Sort(kept)
		return kept
	}
	return &Target{Voters: tidy(t.Voters, nil), Learners: tidy(t.Learners, t.Voters), Owner: t.Owner}
}

// has reports whether a node was to have a replica until now.
func (t *Target) has(id persistence.NodeID) bool {
	return slices.Contains(t.Voters, id) || slices.Contains(t.Learners, id)
}
