package pebblestore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/skerry-dev/skerry/persistence"
)

// Every key, drawn with its reasons, is in DESIGN.md. All begin with a partition of two bytes; localPrefix is the number
// that no partition has, for what belongs to this node alone.
const localPrefix persistence.Partition = 0xFFFE

// maxPartitions leaves every partition far below localPrefix and persistence.MetaPartition.
const maxPartitions = 4096

// After localPrefix.
const (
	localInfo       = 'i' // what was fixed when the store was made
	localQuarantine = 'q'
)

// After a partition and a zero byte, which sorts before every space.
const (
	partApplied = 'a' // applied index and term
	partConf    = 'c' // who the replicas are, in bytes that only the log understands
	partEpoch   = 'e' // the claimed epoch
	partRecord  = 'r' // records of the meta partition
	partStaged  = 's' // which pieces are staged and not yet counted by a snapshot
)

// After a partition, a space and a zero byte.
const (
	tableHeads     = 'h'
	tableJournal   = 'j'
	tableMarks     = 'm'
	tablePartHeads = 'p' // heads of the parts that are not the main one
	tableSnapshots = 's'
)

func appendPartition(b []byte, p persistence.Partition) []byte {
	return binary.BigEndian.AppendUint16(b, uint16(p))
}

// partitionRange is all of p: [lower, upper).
func partitionRange(p persistence.Partition) (lower, upper []byte) {
	lower = appendPartition(nil, p)
	if p == persistence.MetaPartition {
		return lower, []byte{0xFF, 0xFF, 0xFF} // no space and no name begins with 0xFF
	}
	return lower, appendPartition(nil, p+1)
}

// appendOwn appends the key of one of p's own records.
func appendOwn(b []byte, p persistence.Partition, what byte) []byte {
	return append(appendPartition(b, p), 0, what)
}

// appendSpace appends what every key of a space in p begins with.
func appendSpace(b []byte, p persistence.Partition, space string) []byte {
	return append(append(appendPartition(b, p), space...), 0)
}

// appendTable appends what every key of a kind in a table begins with.
func appendTable(b []byte, p persistence.Partition, space string, table byte, kind persistence.Kind) []byte {
	return append(appendSpace(b, p, space), table, byte(kind))
}

// appendHead appends the key of an entity's head.
func appendHead(b []byte, p persistence.Partition, k persistence.Key) []byte {
	return append(appendTable(b, p, k.Space, tableHeads, k.Kind), k.ID...)
}

// appendJournal appends what every entry of k begins with; its seq follows.
func appendJournal(b []byte, p persistence.Partition, k persistence.Key) []byte {
	return append(append(appendTable(b, p, k.Space, tableJournal, k.Kind), k.ID...), 0)
}

// journalOf appends what every entry of the entity with this head begins with.
func journalOf(b []byte, head string) []byte {
	table := 2 + strings.IndexByte(head[2:], 0) + 1
	from := len(b)
	b = append(append(b, head...), 0)
	b[from+table] = tableJournal
	return b
}

// appendSnapshots appends what every snapshot of k begins with; part, 0, seq and piece index follow.
func appendSnapshots(b []byte, p persistence.Partition, k persistence.Key) []byte {
	return append(append(appendTable(b, p, k.Space, tableSnapshots, k.Kind), k.ID...), 0)
}

// appendSnapshot appends the key of a snapshot's piece; the whole data of one that is not in pieces is at index 0.
func appendSnapshot(b []byte, p persistence.Partition, k persistence.Key, part persistence.Part, seq persistence.Seq) []byte {
	b = append(append(appendSnapshots(b, p, k), part...), 0)
	return append(binary.BigEndian.AppendUint64(b, uint64(seq)), 0)
}

// appendPartHeads appends what the head of every part of k begins with; the part follows.
func appendPartHeads(b []byte, p persistence.Partition, k persistence.Key) []byte {
	return append(append(appendTable(b, p, k.Space, tablePartHeads, k.Kind), k.ID...), 0)
}

// appendStaged appends the key of the record of what is staged for a part.
func appendStaged(b []byte, p persistence.Partition, k persistence.Key, part persistence.Part) []byte {
	b = append(appendOwn(b, p, partStaged), k.Space...)
	b = append(b, 0, byte(k.Kind))
	b = append(b, k.ID...)
	return append(append(b, 0), part...)
}

// appendMarks appends what every mark of this name begins with; kind and id follow.
func appendMarks(b []byte, p persistence.Partition, space, name string) []byte {
	return append(append(append(appendSpace(b, p, space), tableMarks), name...), 0)
}

// after returns the least key greater than every key that begins with prefix, which ends in a byte below 0xFF.
func after(prefix []byte) []byte {
	upper := bytes.Clone(prefix)
	upper[len(upper)-1]++
	return upper
}

// place is a decoded key of the tables of a space.
type place struct {
	partition persistence.Partition
	table     byte
	key       persistence.Key
	part      persistence.Part // of snapshots and part heads
	seq       persistence.Seq  // of entries and snapshots
	index     int              // of snapshots
}

// parsePlace decodes a key of heads, journal, part heads or snapshots.
func parsePlace(b []byte) (place, error) {
	bad := fmt.Errorf("%w: unknown key %q", persistence.ErrCorrupt, b)
	if len(b) < 3 {
		return place{}, bad
	}
	at := place{partition: persistence.Partition(binary.BigEndian.Uint16(b))}
	space, rest, found := bytes.Cut(b[2:], []byte{0})
	if !found || len(rest) < 3 {
		return place{}, bad
	}
	at.table = rest[0]
	at.key = persistence.Key{Space: string(space), Kind: persistence.Kind(rest[1])}
	rest = rest[2:]
	if at.table == tableHeads {
		at.key.ID = string(rest)
		return at, at.key.Validate()
	}
	id, rest, found := bytes.Cut(rest, []byte{0})
	at.key.ID = string(id)
	if err := at.key.Validate(); err != nil || !found {
		return place{}, bad
	}
	switch at.table {
	case tablePartHeads:
		at.part = persistence.Part(rest)
		return at, nil
	case tableSnapshots:
		part, left, split := bytes.Cut(rest, []byte{0})
		if !split || len(left) != 9 {
			return place{}, bad
		}
		at.part, at.index, rest = persistence.Part(part), int(left[8]), left[:8]
	}
	if at.table != tableSnapshots && at.table != tableJournal || len(rest) != 8 {
		return place{}, bad
	}
	at.seq = persistence.Seq(binary.BigEndian.Uint64(rest))
	return at, nil
}
