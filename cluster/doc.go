// Package cluster says who is there and who should own what, and makes it so: it admits nodes, keeps the cluster's records in
// the meta partition, and takes, for every partition that this node owns, the next step towards what the records say.
//
// # Guarantees
//
//   - A node owns nothing before it was admitted and has joined: it is made without a replica.
//   - A node's id is never used again: an id stands for one data directory.
//   - What gossip says moves leadership at most, never data: data moves because the meta partition's records say so, and those
//     are changed 10 minutes after a node was last seen, or by an operator.
//   - Handing a partition over loses nothing that was answered: the actors bring everything to the journal first.
//
// Start at [Cluster], then placement.Plan and placement.Next; DESIGN.md draws who decides what.
package cluster

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// The ways in which the cluster refuses.
var (
	// ErrUnknownNode: no node of the cluster has that name.
	ErrUnknownNode = errors.New("no such node in the cluster")
	// ErrLastNode: the cluster would be left without a node that can have what this one has.
	ErrLastNode = errors.New("this cluster has one node, or no other one is active: nobody could take over what it has")
	// ErrStillThere: a node that is seen must be drained, not given up.
	ErrStillThere = errors.New("the node is still there")
	// ErrNotSeen: a node that is not seen cannot give away what it has; it may come back with data that it alone has.
	ErrNotSeen = errors.New("the node is not seen, and may have what nobody else has")
	// ErrNotVoter: the node has no vote in the partition, so it cannot own it.
	ErrNotVoter = errors.New("the node does not vote in the partition")
	// ErrRemoved: this node was removed from the cluster. Its directory cannot be used for this cluster any more.
	ErrRemoved = errors.New("this node was removed from its cluster")
	// ErrFenced: the cluster was recovered without this node, which was given up. What it has belongs to nobody any more.
	ErrFenced = errors.New("this node is fenced")
	// ErrRefused: the cluster does not admit this node; the message says why.
	ErrRefused = errors.New("the cluster does not admit this node")
	// ErrNoAnswer: nobody of the cluster admitted this node in time. Nothing was changed here; try again.
	ErrNoAnswer = errors.New("no node of the cluster answered")
)

// Log is what the cluster needs of the replicated log.
type Log interface {
	Status() []replication.PartitionStatus
	HandOver(p persistence.Partition, to persistence.NodeID) error
	ChangeReplicas(p persistence.Partition, changes []replication.ReplicaChange, decided func(error)) error
	Suspect(node persistence.NodeID)
}

// Entities are what lives in a partition while this node owns it.
type Entities interface {
	// Prepare makes the pause short in which nobody has p: what the next owner would have to replay is saved, while p is served.
	Prepare(ctx context.Context, p persistence.Partition)
	// Yield brings what was answered to the journal and lets go of p, so that it can be handed over.
	Yield(ctx context.Context, p persistence.Partition) error
	// Resume takes p up again: the handover did not come about.
	Resume(p persistence.Partition)
}

// Gossip is what the cluster needs of the membership.
type Gossip interface {
	List() []members.Member
	Set(self members.Member) error
	Send(ctx context.Context, to string, payload []byte) error
}

// Records are what the meta partition holds.
type Records interface {
	// Records lists what is applied on this node, rising by name, at most limit.
	Records(ctx context.Context, prefix string, limit int) ([]persistence.Record, error)
	// Put proposes a record, which only the meta partition's owner can; nil removes it.
	Put(ctx context.Context, name string, value []byte) error
}
