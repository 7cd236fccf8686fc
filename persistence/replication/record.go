package replication

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/persistence"
)

// A record is a header and a payload, little-endian:
//
//	 0  8  xxh3-64 of everything from byte 8 to the payload's end
//	 8  4  magic "SKL1"
//	12  4  length of the payload
//	16  8  id of the segment: its number in the upper half, random bits in the lower
//	24  8  record number, rising by one through all segments
//	32     payload: a checkpoint or a batch
const headerBytes = 32

// recordMagic also tells the version of the format.
const recordMagic = "SKL1"

// The first byte of a payload.
const (
	soleCheckpointPayload = 1 // of a build that knew no other replica than 1; only read
	batchPayload          = 2
	checkpointPayload     = 3
)

// segmentID names a segment's records. The random half makes it impossible to forge a record inside of a value.
type segmentID uint64

func newSegmentID(number uint32, random uint32) segmentID {
	return segmentID(uint64(number)<<32 | uint64(random))
}

func (id segmentID) number() uint32 { return uint32(id >> 32) } //nolint:gosec // the upper half

// header is a record's header as read.
type header struct {
	sum    uint64
	length uint32
	id     segmentID
	number uint64
}

// beginRecord returns dst emptied, with room for a header.
func beginRecord(dst []byte) []byte {
	return append(dst[:0], make([]byte, headerBytes)...)
}

// sealRecord fills the header of rec, which [beginRecord] began and the payload followed.
func sealRecord(rec []byte, id segmentID, number uint64) {
	copy(rec[8:], recordMagic)
	binary.LittleEndian.PutUint32(rec[12:], uint32(len(rec)-headerBytes)) //nolint:gosec // a loop's batch is far below 4 GiB
	binary.LittleEndian.PutUint64(rec[16:], uint64(id))
	binary.LittleEndian.PutUint64(rec[24:], number)
	binary.LittleEndian.PutUint64(rec, xxh3.Hash(rec[8:]))
}

// parseHeader reads the header at the start of b. It is false when there is none: too short, or no magic.
func parseHeader(b []byte) (header, bool) {
	if len(b) < headerBytes || !bytes.Equal(b[8:12], []byte(recordMagic)) {
		return header{}, false
	}
	return header{
		sum:    binary.LittleEndian.Uint64(b),
		length: binary.LittleEndian.Uint32(b[12:]),
		id:     segmentID(binary.LittleEndian.Uint64(b[16:])),
		number: binary.LittleEndian.Uint64(b[24:]),
	}, true
}

// verifies reports whether rec, header and payload, has the sum that its header names.
func (h header) verifies(rec []byte) bool { return xxh3.Hash(rec[8:]) == h.sum }

// hardState is what Raft must not forget besides entries.
type hardState struct {
	Term, Vote, Commit uint64
}

// groupCheckpoint is one group's state at the beginning of a segment, so that all segments before it can be dropped.
type groupCheckpoint struct {
	Partition persistence.Partition
	// Replica is this node's id in the group, 0 when it has none. Gone is then the id of the last that it had, 0 when it never
	// had any: neither that one nor an older one may begin again.
	Replica, Gone uint64
	// Copying says that the state may be swapped for a copy, or was, and the log does not go on from it yet.
	Copying bool
	Hard    hardState
	// Conf is what the log began with; the state machine knows of every change since.
	Conf *raftpb.ConfState
	// Truncated is the index up to which entries may be missing from the log: the state machine held them durably.
	Truncated uint64
	// Last and LastTerm are the newest entry's.
	Last, LastTerm uint64
}

// groupBatch is what one loop writes for one group. What is set holds in this order.
type groupBatch struct {
	Partition persistence.Partition
	slot      int // the group's place in the writer's tables; not stored
	// Replica begins an empty log, of a new replica; 0 says that this node has none any more, and Gone which it was.
	Replica *uint64
	Gone    uint64
	// Copying says that the state may be swapped for a copy from now on.
	Copying bool
	// Restored says that the state was swapped, and that the log goes on from this entry.
	Restored *entryID
	Hard     *hardState
	// Entries follow one another.
	Entries []*raftpb.Entry
}

// entryID names an entry.
type entryID struct{ Index, Term uint64 }

// What the replica of a checkpoint is; replicaHere also when there is none.
const (
	replicaHere    = 0
	replicaCopying = 1
	replicaGone    = 2
)

// appendCheckpoint appends the payload of a checkpoint.
func appendCheckpoint(b []byte, groups []groupCheckpoint) ([]byte, error) {
	b = append(b, checkpointPayload)
	b = binary.AppendUvarint(b, uint64(len(groups)))
	for i := range groups {
		g := &groups[i]
		conf, err := proto.Marshal(g.Conf)
		if err != nil {
			return nil, fmt.Errorf("encode configuration of partition %d: %w", g.Partition, err)
		}
		b = binary.AppendUvarint(b, uint64(g.Partition))
		b = binary.AppendUvarint(b, g.Replica+g.Gone) // one of them is 0
		switch {
		case g.Gone != 0:
			b = append(b, replicaGone)
		case g.Copying:
			b = append(b, replicaCopying)
		default:
			b = append(b, replicaHere)
		}
		b = appendHard(b, g.Hard)
		b = appendCounted(b, conf)
		b = binary.AppendUvarint(b, g.Truncated)
		b = binary.AppendUvarint(b, g.Last)
		b = binary.AppendUvarint(b, g.LastTerm)
	}
	return b, nil
}

// The flags of a group in a batch.
const (
	hasHard     = 1
	hasEntries  = 2
	hasReplica  = 4
	hasCopying  = 8
	hasRestored = 16
	hasGone     = 32
	hasAll      = 63
)

// flags says what of b is set.
func (b *groupBatch) flags() (flags byte) {
	if b.Hard != nil {
		flags |= hasHard
	}
	if len(b.Entries) > 0 {
		flags |= hasEntries
	}
	if b.Replica != nil {
		flags |= hasReplica
	}
	if b.Copying {
		flags |= hasCopying
	}
	if b.Restored != nil {
		flags |= hasRestored
	}
	if b.Gone != 0 {
		flags |= hasGone
	}
	return flags
}

// appendBatch appends the payload of a batch.
func appendBatch(b []byte, groups []groupBatch) []byte {
	b = append(b, batchPayload)
	b = binary.AppendUvarint(b, uint64(len(groups)))
	for i := range groups {
		g := &groups[i]
		b = binary.AppendUvarint(b, uint64(g.Partition))
		b = append(b, g.flags())
		if g.Replica != nil {
			b = binary.AppendUvarint(b, *g.Replica)
		}
		if g.Gone != 0 {
			b = binary.AppendUvarint(b, g.Gone)
		}
		if g.Restored != nil {
			b = binary.AppendUvarint(b, g.Restored.Index)
			b = binary.AppendUvarint(b, g.Restored.Term)
		}
		if g.Hard != nil {
			b = appendHard(b, *g.Hard)
		}
		if len(g.Entries) > 0 {
			b = binary.AppendUvarint(b, uint64(len(g.Entries)))
			b = binary.AppendUvarint(b, g.Entries[0].GetIndex())
			for _, e := range g.Entries {
				b = binary.AppendUvarint(b, e.GetTerm())
				b = append(b, byte(e.GetType()))
				b = appendCounted(b, e.GetData())
			}
		}
	}
	return b
}

func appendHard(b []byte, h hardState) []byte {
	b = binary.AppendUvarint(b, h.Term)
	b = binary.AppendUvarint(b, h.Vote)
	return binary.AppendUvarint(b, h.Commit)
}

func appendCounted(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}
