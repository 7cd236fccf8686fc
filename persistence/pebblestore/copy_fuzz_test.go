package pebblestore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// Goal: no bytes of a peer's can crash us, or bring keys that are not the partition's or not in order; what is taken is
// the same when it is copied once more. Method: forge frames around any bodies, and let some be raw.
func FuzzReadCopy(f *testing.F) {
	k := persistencetest.Player("1001")
	frames := pebblestore.WriteCopy(0, 2, 3, 1, [][2][]byte{
		{[]byte("\x00\x00\x00a"), {3, 1}}, {pebblestore.HeadKey(0, k), []byte("head")}, {pebblestore.EntryKey(0, k, 1), []byte("entry")},
	})
	f.Add(join(frames))
	for _, key := range []string{"\x00\x00\x00a", "\x00\x00", "\x00\x01\x00a", "\xff", ""} { // not greater, or not the partition's
		f.Add(join(pebblestore.WriteCopy(0, 2, 3, 1, [][2][]byte{{[]byte("\x00\x00\x00a"), {3, 1}}, {[]byte(key), {3, 1}}})))
	}
	f.Add(append(append([]byte{0x80}, binary.AppendUvarint(nil, uint64(len(frames[0])))...), frames[0]...))
	f.Add([]byte{1, 5, 0, 2, 1, 0, 0, 3, 10, 0, 0, 5, 0x48, 0xCC, 0x25, 0x3A, 0xD6, 0x94, 0xD9})
	f.Fuzz(func(t *testing.T, data []byte) {
		type pair = [2][]byte
		var pairs []pair
		collect := func(key, value []byte) error {
			if len(pairs) > 0 && bytes.Compare(pairs[len(pairs)-1][0], key) >= 0 || !bytes.HasPrefix(key, []byte{0, 0}) || len(key) < 3 {
				t.Fatalf("the key %q is not the partition's, or not greater than the one before", key)
			}
			pairs = append(pairs, pair{bytes.Clone(key), bytes.Clone(value)})
			return nil
		}
		_, err := pebblestore.ReadCopy(0, 2, forge(data), collect)
		if err != nil {
			if !errors.Is(err, persistence.ErrBadCopy) && !errors.Is(err, persistence.ErrNewer) {
				t.Fatalf("refused with %v, want ErrBadCopy or ErrNewer", err)
			}
			return
		}
		first := pairs
		pairs = nil
		var index, term uint64
		for _, p := range first {
			if string(p[0]) == "\x00\x00\x00a" {
				n := 0
				index, n = binary.Uvarint(p[1])
				term, _ = binary.Uvarint(p[1][n:])
			}
		}
		if _, err = pebblestore.ReadCopy(0, 2, pebblestore.WriteCopy(0, 2, index, term, first), collect); err != nil {
			t.Fatalf("taken, but not when copied again: %v", err)
		}
		if len(pairs) != len(first) {
			t.Fatalf("%d keys, copied again %d", len(first), len(pairs))
		}
	})
}

// join is what forge makes frames of.
func join(frames [][]byte) (data []byte) {
	for _, frame := range frames {
		data = append(data, frame[13])
		data = binary.AppendUvarint(data, uint64(len(pebblestore.FrameBody(frame))))
		data = append(data, pebblestore.FrameBody(frame)...)
	}
	return data
}

// forge cuts data into frames: a kind, a length, a body. A kind from 128 is of a frame that is given as it is.
func forge(data []byte) (frames [][]byte) {
	for len(data) > 1 && len(frames) < 64 {
		kind := data[0]
		size, n := binary.Uvarint(data[1:])
		if n <= 0 {
			return frames
		}
		body := data[1+n:]
		if size < uint64(len(body)) {
			body = body[:size]
		}
		data = data[1+n+len(body):]
		frame := body
		if kind < 128 {
			frame = pebblestore.ForgeFrame(uint64(len(frames)), kind, body)
		}
		frames = append(frames, frame)
	}
	return frames
}
