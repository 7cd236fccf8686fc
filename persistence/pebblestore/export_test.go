package pebblestore

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// DB is the database, for tests that harm it.
func (s *Store) DB() *pebble.DB {
	_ = s.settleAll() // a failed one has nothing more to settle
	return s.db
}

// SetCopySizes makes copies of many frames and tables from little.
func (s *Store) SetCopySizes(frameBytes, tableBytes int) {
	s.copies.frameBytes, s.copies.tableBytes = frameBytes, tableBytes
}

// BacklogMemory is what the backlog holds for entries, used or not.
func (s *Store) BacklogMemory() int {
	s.apply.mu.Lock()
	defer s.apply.mu.Unlock()
	blocks := len(s.apply.backlog.free)
	for _, p := range s.apply.partitions {
		blocks += len(p.blocks)
	}
	return blocks * blockBytes
}

// ReadAt returns a reader of p at this moment, as loads use it, and what ends it.
func (s *Store) ReadAt(p persistence.Partition) (r pebble.Reader, end func() error) {
	v, _ := s.view(p)
	return v, v.Close
}

// ReadCopy gives frames to a new reader of a copy, and returns how many values its source found damaged.
func ReadCopy(p persistence.Partition, partitions int, frames [][]byte, each func(key, value []byte) error) (damaged uint64, err error) {
	r := copyReading{of: copySubject{partition: p, partitions: partitions, format: storeFormat}}
	for _, frame := range frames {
		if err = r.read(frame, each); err != nil {
			return 0, err
		}
	}
	if !r.ended {
		return 0, badCopy("the last frame is missing")
	}
	return r.damaged, nil
}

// WriteCopy is a copy with these keys and values.
func WriteCopy(p persistence.Partition, partitions int, index, term uint64, pairs [][2][]byte) (frames [][]byte) {
	w := copyWriting{}
	add := func(frame []byte) { frames = append(frames, bytes.Clone(frame)) }
	add(w.first(copySubject{partition: p, partitions: partitions, format: storeFormat, index: index, term: term}))
	for _, pair := range pairs {
		w.begin(copyValues)
		w.add(pair[0], pair[1])
		add(w.seal())
	}
	add(w.last(0))
	return frames
}

// ForgeFrame is a frame of this number, kind and body whose checksum fits.
func ForgeFrame(number uint64, kind byte, body []byte) []byte {
	w := copyWriting{number: number}
	w.begin(kind)
	w.frame = append(w.frame, body...)
	return w.seal()
}

// FrameBody is what follows a frame's header.
func FrameBody(frame []byte) []byte { return frame[copyHeaderBytes:] }

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
