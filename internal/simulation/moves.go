package simulation

import (
	"errors"
	"slices"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// The bounds of how many voters a partition has while its replicas move: with three, one may be rotten for ever.
const (
	minVoters = 3
	maxVoters = 5
)

// voteOf is a node in a partition.
type voteOf struct {
	partition persistence.Partition
	node      persistence.NodeID
}

// scheduleMove makes the next change of replicas come.
func (w *World) scheduleMove() {
	if w.Config.Moves == 0 {
		return
	}
	w.After(w.Between(0, 2*w.Config.Moves), func() {
		if !w.healed {
			w.move(w.anyPartition())
			w.scheduleMove()
		}
	})
}

// move asks p's owner for a change of replicas: a new learner, a learner that is to vote, one voter for another in a joint
// step, or a removal.
func (w *World) move(p persistence.Partition) {
	n := w.Owner(p)
	if n == nil {
		return
	}
	replicas := w.replicas(n, p)
	for _, r := range replicas {
		if r.Role == replication.Voter && int(r.Node) > w.Config.Voters && !w.votes[voteOf{p, r.Node}] {
			w.Fail("moves", p, "%v votes in partition %d, and was only asked to learn", r.Node, p)
		}
	}
	changes := w.drawChange(n, replicas)
	if changes == nil {
		return
	}
	for _, c := range changes {
		if c.Role == replication.Voter {
			w.votes[voteOf{p, c.Node}] = true
		}
	}
	err := n.step.Host().ChangeReplicas(p, changes, func(err error) {
		if err != nil && !errors.Is(err, replication.ErrReplicaChange) && !errors.Is(err, persistence.ErrNotOwner) {
			w.Fail("moves", p, "%v was asked for %v: %v", n, changes, err)
		}
		if n.up && err == nil {
			w.Counts.Changes++
			w.Tell(p, "%v proposes %v of partition %d", n, changes, p)
		}
	})
	if err == nil {
		n.wake()
	}
}

// replicas are p's as n knows them.
func (w *World) replicas(n *Node, p persistence.Partition) []replication.Replica {
	for _, s := range n.step.Host().Status() {
		if s.Partition == p {
			return s.Replicas
		}
	}
	return nil
}

// maxBehind is by how many entries a learner may be behind and yet vote: more is not for an operator, nor for a plan, to do.
const maxBehind = 20

// last is the newest entry that the owner knows somebody to have.
func last(replicas []replication.Replica) (newest uint64) {
	for _, r := range replicas {
		newest = max(newest, r.Match)
	}
	return newest
}

// drawChange draws one that leaves enough voters.
func (w *World) drawChange(owner *Node, replicas []replication.Replica) []replication.ReplicaChange {
	var voters, learners, none []persistence.NodeID
	var possible [][]replication.ReplicaChange
	for _, n := range w.nodes {
		i := slices.IndexFunc(replicas, func(r replication.Replica) bool { return r.Node == n.id })
		switch {
		case i < 0:
			none = append(none, n.id)
		case replicas[i].Role == replication.Learner && replicas[i].Active && replicas[i].Match+maxBehind > last(replicas):
			learners = append(learners, n.id)
		case replicas[i].Role == replication.Learner:
			possible = append(possible, []replication.ReplicaChange{{Node: n.id, Role: replication.NoReplica}})
		case n != owner:
			voters = append(voters, n.id)
		}
	}
	for _, id := range none {
		possible = append(possible, []replication.ReplicaChange{{Node: id, Role: replication.Learner}})
	}
	for _, id := range learners {
		if len(voters)+1 < maxVoters {
			possible = append(possible, []replication.ReplicaChange{{Node: id, Role: replication.Voter}})
		}
		for _, other := range voters {
			possible = append(possible, []replication.ReplicaChange{{Node: id, Role: replication.Voter}, {Node: other, Role: replication.NoReplica}})
		}
		possible = append(possible, []replication.ReplicaChange{{Node: id, Role: replication.NoReplica}})
	}
	for _, id := range voters {
		if len(voters)+1 > minVoters {
			possible = append(possible, []replication.ReplicaChange{{Node: id, Role: replication.NoReplica}}, []replication.ReplicaChange{{Node: id, Role: replication.Learner}})
		}
	}
	if len(possible) == 0 {
		return nil
	}
	return possible[w.Rand.IntN(len(possible))]
}
