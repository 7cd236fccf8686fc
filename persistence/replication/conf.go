package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/persistence"
)

// Role is what a node is to a partition.
type Role uint8

// The roles. A voter counts for the majority; a learner copies only.
const (
	NoReplica Role = iota
	Learner
	Voter
)

// String is "none", "learner" or "voter".
func (r Role) String() string {
	switch r {
	case Learner:
		return "learner"
	case Voter:
		return "voter"
	default:
		return "none"
	}
}

// ReplicaChange makes a node have a role in a partition.
type ReplicaChange struct {
	Node persistence.NodeID
	Role Role
}

// ErrReplicaChange says that a change of replicas cannot be made; the message says why. Nothing was proposed.
var ErrReplicaChange = errors.New("replicas cannot be changed so")

// replicas is who has a partition, as the state machine keeps it: Raft's configuration, and the greatest id of each node
// that was a replica and is none any more, so that no id is used again.
type replicas struct {
	conf    *raftpb.ConfState
	retired []uint64 // rising
}

// replicasVersion begins the encoded form.
const replicasVersion = 1

// appendReplicas appends the encoded form: the same replicas always give the same bytes.
func appendReplicas(b []byte, r *replicas) ([]byte, error) {
	conf, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.conf)
	if err != nil {
		return nil, fmt.Errorf("encode a configuration: %w", err)
	}
	b = appendCounted(append(b, replicasVersion), conf)
	b = binary.AppendUvarint(b, uint64(len(r.retired)))
	for _, id := range r.retired {
		b = binary.AppendUvarint(b, id)
	}
	return b, nil
}

// decodeReplicas decodes what appendReplicas made. Errors wrap errMalformed or [persistence.ErrNewer].
func decodeReplicas(b []byte) (*replicas, error) {
	d := decoder{left: b}
	if version := d.byte(); !d.bad && version != replicasVersion {
		return nil, fmt.Errorf("replicas of version %d: %w", version, persistence.ErrNewer)
	}
	r := &replicas{conf: d.conf(), retired: make([]uint64, 0, 4)}
	for range d.count(1) {
		r.retired = append(r.retired, d.uvarint())
	}
	if d.bad || len(d.left) > 0 {
		return nil, fmt.Errorf("%w: replicas of %d bytes", errMalformed, len(b))
	}
	return r, nil
}

// role returns what a replica is. In a joint configuration it is what it will be.
func (r *replicas) role(id uint64) Role {
	switch {
	case slices.Contains(r.conf.GetVoters(), id):
		return Voter
	case slices.Contains(r.conf.GetLearners(), id), slices.Contains(r.conf.GetLearnersNext(), id):
		return Learner
	default:
		return NoReplica
	}
}

// joint reports whether two configurations hold, until Raft leaves the older one.
func (r *replicas) joint() bool { return len(r.conf.GetVotersOutgoing()) > 0 }

// ids lists all replicas, rising, those of an outgoing configuration too.
func (r *replicas) ids() []uint64 {
	all := slices.Concat(r.conf.GetVoters(), r.conf.GetLearners(), r.conf.GetVotersOutgoing(), r.conf.GetLearnersNext())
	slices.Sort(all)
	return slices.Compact(all)
}

// on returns the replica on a node, 0 for none.
func (r *replicas) on(node persistence.NodeID) uint64 {
	for _, id := range r.ids() {
		if nodeOf(id) == node {
			return id
		}
	}
	return 0
}

// fresh returns an id for a node that has no replica: one that was never used.
func (r *replicas) fresh(node persistence.NodeID) uint64 {
	for _, id := range r.retired {
		if nodeOf(id) == node {
			return id + 1<<32
		}
	}
	return replicaOn(node)
}

// follow returns the replicas after Raft's configuration became conf.
func (r *replicas) follow(conf *raftpb.ConfState) *replicas {
	next := &replicas{conf: conf, retired: slices.Clone(r.retired)}
	for _, id := range r.ids() {
		if next.on(nodeOf(id)) == 0 {
			next.retired = slices.DeleteFunc(next.retired, func(old uint64) bool { return nodeOf(old) == nodeOf(id) })
			next.retired = append(next.retired, id)
		}
	}
	slices.Sort(next.retired)
	return next
}

// plan turns changes into Raft's, or says why they cannot be made. Several are made in one joint step.
func (r *replicas) plan(changes []ReplicaChange) (*raftpb.ConfChangeV2, error) {
	if r.joint() {
		return nil, fmt.Errorf("%w: the change before is not finished", ErrReplicaChange)
	}
	cc := &raftpb.ConfChangeV2{}
	voters := slices.Clone(r.conf.GetVoters())
	for i, c := range changes {
		if c.Node == 0 || slices.ContainsFunc(changes[:i], func(other ReplicaChange) bool { return other.Node == c.Node }) {
			return nil, fmt.Errorf("%w: node %d is none, or named twice", ErrReplicaChange, c.Node)
		}
		id := r.on(c.Node)
		if id == 0 {
			id = r.fresh(c.Node)
		}
		if r.role(id) == c.Role {
			continue
		}
		step, err := raftStep(r.role(id), c)
		if err != nil {
			return nil, err
		}
		voters = slices.DeleteFunc(voters, func(v uint64) bool { return v == id })
		if c.Role == Voter {
			voters = append(voters, id)
		}
		cc.Changes = append(cc.Changes, &raftpb.ConfChangeSingle{Type: step.Enum(), NodeId: &id})
	}
	switch {
	case len(cc.Changes) == 0:
		return nil, nil //nolint:nilnil // nothing is to be done
	case len(voters) == 0:
		return nil, fmt.Errorf("%w: no voter would be left", ErrReplicaChange)
	}
	return cc, nil
}

// raftStep is Raft's name of a change. A voter learns first: one that is behind would count for the majority at once.
func raftStep(now Role, c ReplicaChange) (raftpb.ConfChangeType, error) {
	switch c.Role {
	case NoReplica:
		return raftpb.ConfChangeRemoveNode, nil
	case Learner:
		return raftpb.ConfChangeAddLearnerNode, nil
	case Voter:
		if now != Learner {
			return 0, fmt.Errorf("%w: node %d must be a learner before it votes", ErrReplicaChange, c.Node)
		}
		return raftpb.ConfChangeAddNode, nil
	default:
		return 0, fmt.Errorf("%w: role %d", ErrReplicaChange, c.Role)
	}
}
