package pebblestore

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// Raw is the database, for tests that harm it.
func (s *Store) Raw() *pebble.DB { return s.db }

// HeadKey, EntryKey, SnapshotKey and InfoKey are the keys that DESIGN.md draws.
func HeadKey(p persistence.Partition, k persistence.Key) []byte { return appendHead(nil, p, k) }

func EntryKey(p persistence.Partition, k persistence.Key, seq persistence.Seq) []byte {
	b := appendJournal(nil, p, k)
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(seq>>shift))
	}
	return b
}

func SnapshotKey(p persistence.Partition, k persistence.Key, part persistence.Part, seq persistence.Seq) []byte {
	return appendSnapshot(nil, p, k, part, seq)
}

func InfoKey() []byte { return infoKey() }
