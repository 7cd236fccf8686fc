package persistence

import (
	"context"
	"time"
)

// MaxRepairBytes bounds what one [Repairer].Raw returns: a snapshot, or many entries.
const MaxRepairBytes = 2 * MaxValueBytes

// ValueName names a stored value of an entity.
type ValueName struct {
	Part Part
	Seq  Seq
	// Snapshot is set for the part's snapshot at Seq; else it is the entry at Seq, and Part is "".
	Snapshot bool
}

// RawValue is a value as it is stored, and what says which one it is.
type RawValue struct {
	Name ValueName
	// Epoch and SavedAt are those of a snapshot; zero for an entry.
	Epoch   Epoch
	SavedAt time.Time
	// Stored are the bytes of each of its keys: one, or a snapshot's pieces. Together they are a framed value.
	Stored [][]byte
}

// RawValues are values of one entity on a replica where they verify.
type RawValues struct {
	// Index was the applied index of the partition when they were read.
	Index uint64
	// Snapshots are those of the entity's main part at Index, without Data: they tell it from one of the same name that
	// was erased.
	Snapshots []Snapshot
	Values    []RawValue
}

// Repairer mends single values that do not verify on one replica with those of another: Damaged and Repair here, Raw
// there. It is for values that the store can read, or that are missing: a store that cannot read its own tables needs
// the whole partition again ([Copier]); so does a head that does not verify. Implemented by the [Storage] of the node.
type Repairer interface {
	// Damaged lists at most limit entries (of the main part) and snapshots of a part that do not verify here or are missing.
	// Other errors are as for Load; [ErrCorrupt] is what cannot be mended value by value. Any goroutine may call it.
	Damaged(ctx context.Context, p Partition, key Key, part Part, limit int) ([]ValueName, error)

	// Raw returns those of the named values that are here and verify, as many as fit into [MaxRepairBytes] in the order of
	// names, at least one. Any goroutine may call it; the bytes are the caller's.
	Raw(ctx context.Context, p Partition, key Key, names []ValueName) (RawValues, error)

	// Repair writes back those of the values whose stored bytes here do not verify or are missing, whose replacement does
	// verify, and which are proven to be the same, and returns how many; the damaged bytes are in quarantine before. The
	// same is a snapshot of the same seq, epoch and time; and an entry of the same seq when both replicas have applied the
	// same index, when a main snapshot of the same seq, epoch and time is on both (so the entity was not erased and made
	// again between them), or when the damaged bytes still end in the replacement's checksum. Everything else is left as
	// it is. What was repaired is equal to the other replica's to the byte, and durable. It belongs to the goroutine that
	// calls Apply; after an error some may have been repaired.
	Repair(ctx context.Context, p Partition, key Key, from RawValues) (repaired int, err error)
}
