package pebblestore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/persistence"
)

// copyVersion is the version of the frames of a partition copy, as DESIGN.md draws them.
const copyVersion = 1

// copyMagic follows a frame's checksum.
const copyMagic = "SKCP"

// The kinds of frames, in their order.
const (
	copyBegin  = 1 // what the copy is of
	copyValues = 2 // keys and values, rising
	copyEnd    = 3 // what had to come before it
)

// copyHeaderBytes are checksum, magic, version, kind and number.
const copyHeaderBytes = 8 + len(copyMagic) + 1 + 1 + 8

// copySubject is what a copy is of.
type copySubject struct {
	partition  persistence.Partition
	partitions int // of the whole store
	format     int // of keys and values
	index      uint64
	term       uint64
}

// copyWriting makes the frames of one copy, in one buffer.
type copyWriting struct {
	frame  []byte
	number uint64 // of the frame under way
	sum    rangeSum
	keys   uint64
}

func (w *copyWriting) begin(kind byte) {
	w.frame = append(append(w.frame[:0], make([]byte, 8)...), copyMagic...)
	w.frame = append(w.frame, copyVersion, kind)
	w.frame = binary.LittleEndian.AppendUint64(w.frame, w.number)
}

// add appends a key and its value to the frame under way.
func (w *copyWriting) add(key, value []byte) {
	w.frame = append(binary.AppendUvarint(w.frame, uint64(len(key))), key...)
	w.frame = append(binary.AppendUvarint(w.frame, uint64(len(value))), value...)
	w.sum.add(key, value)
	w.keys++
}

// seal ends the frame and returns it; it is overwritten by the next one.
func (w *copyWriting) seal() []byte {
	binary.LittleEndian.PutUint64(w.frame, xxh3.Hash(w.frame[8:]))
	w.number++
	return w.frame
}

func (w *copyWriting) first(of copySubject) []byte {
	w.begin(copyBegin)
	w.frame = appendUvarints(w.frame, uint64(of.partition), uint64(of.partitions), uint64(of.format), of.index, of.term) //nolint:gosec // not negative
	return w.seal()
}

func (w *copyWriting) last(damaged uint64) []byte {
	w.begin(copyEnd)
	w.frame = appendUvarints(w.frame, w.keys, damaged)
	w.frame = binary.LittleEndian.AppendUint64(w.frame, w.sum.sum())
	return w.seal()
}

// copyReading takes the frames of one copy, verifies them and their order. It trusts nothing, and keeps only numbers.
type copyReading struct {
	of      copySubject // partition, partitions and format are expected; index and term are found
	number  uint64      // of the frame to come
	last    []byte      // the greatest key so far
	sum     rangeSum
	keys    uint64
	damaged uint64 // counted by the source
	ended   bool
	applied bool // the record of the applied index came, and says what the first frame does
}

func badCopy(format string, args ...any) error {
	return fmt.Errorf("%w: %w", persistence.ErrBadCopy, fmt.Errorf(format, args...))
}

// read verifies the next frame and gives each of its keys and values to each, in order; the bytes are each's during the
// call only. After an error the copy is lost.
func (r *copyReading) read(frame []byte, each func(key, value []byte) error) error {
	if len(frame) < copyHeaderBytes || len(frame) > persistence.MaxCopyFrameBytes {
		return badCopy("a frame of %d bytes", len(frame))
	}
	sum := binary.LittleEndian.Uint64(frame)
	rest, magic := bytes.CutPrefix(frame[8:], []byte(copyMagic))
	if !magic || xxh3.Hash(frame[8:]) != sum {
		return badCopy("the checksum of frame %d does not match", r.number)
	}
	version, kind, body := rest[0], rest[1], rest[10:]
	if version != copyVersion {
		return fmt.Errorf("partition copy: %w: frames of version %d, this build knows %d", persistence.ErrNewer, version, copyVersion)
	}
	switch number := binary.LittleEndian.Uint64(rest[2:]); {
	case number != r.number:
		return badCopy("frame %d in place of %d", number, r.number)
	case r.ended:
		return badCopy("a frame after the last one")
	case (kind == copyBegin) != (number == 0):
		return badCopy("frame %d is of kind %d", number, kind)
	}
	r.number++
	switch kind {
	case copyBegin:
		return r.begin(body)
	case copyValues:
		return r.values(body, each)
	case copyEnd:
		return r.end(body)
	default:
		return badCopy("frame %d is of kind %d", r.number-1, kind)
	}
}

func (r *copyReading) begin(body []byte) error {
	f := fields{left: body}
	partition, partitions, format := f.uvarint(), f.uvarint(), f.uvarint()
	r.of.index, r.of.term = f.uvarint(), f.uvarint()
	switch {
	case f.bad || len(f.left) > 0:
		return badCopy("the first frame does not decode")
	case format > uint64(r.of.format): //nolint:gosec // not negative
		return fmt.Errorf("partition copy: %w: store format %d, this build knows %d", persistence.ErrNewer, format, r.of.format)
	case partition != uint64(r.of.partition) || partitions != uint64(r.of.partitions) || format != uint64(r.of.format): //nolint:gosec // not negative
		return badCopy("it is of partition %d of %d in format %d, not %d of %d in %d", partition, partitions, format,
			r.of.partition, r.of.partitions, r.of.format)
	}
	return nil
}

func (r *copyReading) values(body []byte, each func(key, value []byte) error) error {
	lower, upper := partitionRange(r.of.partition)
	for len(body) > 0 {
		key, rest, ok := cutSized(body)
		value, rest, ok2 := cutSized(rest)
		switch {
		case !ok || !ok2:
			return badCopy("frame %d does not decode", r.number-1)
		case bytes.Compare(key, lower) <= 0 || bytes.Compare(key, upper) >= 0:
			return badCopy("the key %.80q is not of partition %d", key, r.of.partition)
		case bytes.Compare(key, r.last) <= 0:
			return badCopy("the key %.80q comes after %.80q", key, r.last)
		}
		if err := r.one(key, value); err != nil {
			return err
		}
		if err := each(key, value); err != nil {
			return err
		}
		body = rest
	}
	return nil
}

// one counts a key and its value.
func (r *copyReading) one(key, value []byte) error {
	r.last = append(r.last[:0], key...)
	r.keys++
	r.sum.add(key, value)
	if !bytes.Equal(key, appendOwn(nil, r.of.partition, partApplied)) {
		return nil
	}
	index, term, err := decodeApplied(value)
	if err != nil || index != r.of.index || term != r.of.term {
		return badCopy("applied is %x, the first frame says %d at term %d", value, r.of.index, r.of.term)
	}
	r.applied = true
	return nil
}

func (r *copyReading) end(body []byte) error {
	f := fields{left: body}
	keys, damaged := f.uvarint(), f.uvarint()
	switch {
	case f.bad || len(f.left) != 8:
		return badCopy("the last frame does not decode")
	case keys != r.keys || binary.LittleEndian.Uint64(f.left) != r.sum.sum():
		return badCopy("%d keys came of %d, or not the same", r.keys, keys)
	case r.applied != (r.of.index > 0):
		return badCopy("the applied index is missing")
	}
	r.damaged, r.ended = damaged, true
	return nil
}

// cutSized cuts a length and as many bytes from b.
func cutSized(b []byte) (value, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) { //nolint:gosec // n is at most len(b)
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true //nolint:gosec // at most len(b)
}

// rangeSum is a hash over keys and values in their order.
type rangeSum struct {
	hash  xxh3.Hasher
	sizes []byte
}

func (s *rangeSum) add(key, value []byte) {
	s.sizes = appendUvarints(s.sizes[:0], uint64(len(key)), uint64(len(value)))
	for _, b := range [][]byte{s.sizes, key, value} {
		_, _ = s.hash.Write(b) // it cannot fail
	}
}

func (s *rangeSum) sum() uint64 { return s.hash.Sum64() }
