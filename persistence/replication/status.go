package replication

import (
	"github.com/skerry-dev/skerry/persistence"
)

// PartitionStatus is what a node knows of one partition's group.
type PartitionStatus struct {
	Partition persistence.Partition
	// Owner says that this node owns the partition, under Epoch.
	Owner bool
	Epoch persistence.Epoch
	// Applied is the newest applied index, Last the newest in the log.
	Applied, Last uint64
	// Replicas are who has the partition as far as this node knows, rising by id; empty when it has none itself.
	Replicas []Replica
}

// Replica is one replica of a partition.
type Replica struct {
	// ID is never used again; Node is where it is.
	ID   uint64
	Node persistence.NodeID
	// Role is what it will be when a change is on its way.
	Role Role
	// Match is the newest entry that it is known to have, and Active whether it answered lately: as of about a second ago,
	// and only where this node is the owner, else zero.
	Match  uint64
	Active bool
}

// Status returns every partition's, rising, the meta partition last. The fields of one partition may be of different moments.
func (h *Host) Status() []PartitionStatus {
	status := make([]PartitionStatus, len(h.partitions))
	for slot, p := range h.partitions {
		epoch, owned, _ := h.queue.owner(slot)
		status[slot] = PartitionStatus{Partition: p, Owner: owned, Epoch: epoch, Applied: h.marks[slot].applied.Load(), Last: h.marks[slot].last.Load()}
		if list := h.marks[slot].replicas.Load(); list != nil {
			status[slot].Replicas = *list
		}
	}
	return status
}

// Usage is how much of its bounds the log uses.
type Usage struct {
	// WaitingChanges, of WaitingBytes, were accepted and are not done.
	WaitingChanges, WaitingBytes int
	// LogBytes is the length of all live segments, written or not.
	LogBytes int64
}

// Usage returns what the log uses now.
func (h *Host) Usage() Usage {
	changes, bytes := h.queue.usage()
	size, _ := h.log.size()
	return Usage{WaitingChanges: changes, WaitingBytes: bytes, LogBytes: size}
}
