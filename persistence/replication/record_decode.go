package replication

import (
	"encoding/binary"
	"fmt"
	"math"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/persistence"
)

// decodePayload decodes a payload that verified. Exactly one of the results is not nil. The data of entries aliases
// payload. Every count is checked against what is left before memory is taken for it.
func decodePayload(payload []byte) (checkpoint []groupCheckpoint, batch []groupBatch, err error) {
	d := decoder{left: payload}
	switch kind := d.byte(); kind {
	case checkpointPayload, soleCheckpointPayload:
		checkpoint = d.checkpoint(kind)
	case batchPayload:
		batch, err = d.batch()
	default:
		return nil, nil, fmt.Errorf("%w: payload of kind %d: %w", errMalformed, kind, persistence.ErrNewer)
	}
	if err != nil {
		return nil, nil, err
	}
	if d.bad || len(d.left) > 0 {
		return nil, nil, fmt.Errorf("%w: %d of %d bytes left over or missing", errMalformed, len(d.left), len(payload))
	}
	return checkpoint, batch, nil
}

// decoder reads from left. After the first bad field, bad is set and everything reads as zero.
type decoder struct {
	left []byte
	bad  bool
}

func (d *decoder) checkpoint(kind byte) []groupCheckpoint {
	groups := make([]groupCheckpoint, d.count(8)) // a group has eight fields of a byte at least
	for i := range groups {
		g := &groups[i]
		g.Partition = d.partition()
		g.Replica = 1
		if kind == checkpointPayload {
			g.Replica = d.uvarint()
			switch d.byte() {
			case replicaHere:
			case replicaCopying:
				g.Copying = true
			case replicaGone:
				g.Replica, g.Gone = 0, g.Replica
			default:
				d.fail()
			}
		}
		g.Hard = d.hard()
		g.Conf = d.conf()
		g.Truncated, g.Last, g.LastTerm = d.uvarint(), d.uvarint(), d.uvarint()
		if d.bad {
			return nil
		}
	}
	return groups
}

func (d *decoder) batch() ([]groupBatch, error) {
	groups := make([]groupBatch, d.count(2))
	for i := range groups {
		g := &groups[i]
		g.Partition = d.partition()
		flags := d.byte()
		if flags > hasAll {
			d.fail()
		}
		if flags&hasReplica != 0 {
			replica := d.uvarint()
			g.Replica = &replica
		}
		if flags&hasGone != 0 {
			g.Gone = d.uvarint()
		}
		g.Copying = flags&hasCopying != 0
		if flags&hasRestored != 0 {
			g.Restored = &entryID{Index: d.uvarint(), Term: d.uvarint()}
		}
		if flags&hasHard != 0 {
			hard := d.hard()
			g.Hard = &hard
		}
		if flags&hasEntries != 0 {
			entries, err := d.entries()
			if err != nil {
				return nil, err
			}
			g.Entries = entries
		}
		if d.bad {
			return nil, nil
		}
	}
	return groups, nil
}

func (d *decoder) entries() ([]*raftpb.Entry, error) {
	entries := make([]*raftpb.Entry, d.count(3))
	first := d.uvarint()
	if len(entries) == 0 || first == 0 || first > math.MaxUint64-uint64(len(entries)) {
		d.fail()
		return nil, nil
	}
	for i := range entries {
		term, kind := d.uvarint(), d.byte()
		data := d.bytes()
		if d.bad {
			return nil, nil
		}
		if kind > byte(raftpb.EntryConfChangeV2) {
			return nil, fmt.Errorf("%w: entry %d is of type %d: %w", errMalformed, first+uint64(i), kind, persistence.ErrNewer)
		}
		index := first + uint64(i)
		entries[i] = &raftpb.Entry{Term: &term, Index: &index, Type: raftpb.EntryType(kind).Enum(), Data: data}
	}
	return entries, nil
}

func (d *decoder) hard() hardState {
	return hardState{Term: d.uvarint(), Vote: d.uvarint(), Commit: d.uvarint()}
}

func (d *decoder) conf() *raftpb.ConfState {
	conf := &raftpb.ConfState{}
	if data := d.bytes(); !d.bad {
		if err := proto.Unmarshal(data, conf); err != nil {
			d.fail()
		}
	}
	return conf
}

func (d *decoder) partition() persistence.Partition {
	v := d.uvarint()
	if v > math.MaxUint16 {
		d.fail()
		return 0
	}
	return persistence.Partition(v)
}

func (d *decoder) fail() { d.left, d.bad = nil, true }

func (d *decoder) byte() byte {
	if len(d.left) == 0 {
		d.fail()
		return 0
	}
	b := d.left[0]
	d.left = d.left[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.left)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.left = d.left[n:]
	return v
}

// count reads a number of things of which each takes at least size bytes of what is left.
func (d *decoder) count(size int) int {
	v := d.uvarint()
	if v > uint64(len(d.left)/size) {
		d.fail()
		return 0
	}
	return int(v) //nolint:gosec // bounded above
}

func (d *decoder) bytes() []byte {
	n := d.count(1)
	b := d.left[:n:n]
	d.left = d.left[n:]
	return b
}
