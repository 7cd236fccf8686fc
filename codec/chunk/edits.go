package chunk

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/skerry-dev/skerry/codec"
)

// Edit is one block of a column set to an id.
type Edit struct {
	// Index is the block's place in the column, y·256 + z·16 + x.
	Index uint32
	ID    uint16
}

const (
	// editsPlain and editsZstd begin a list of edits: a version and how its stream is stored.
	editsPlain = version << 4
	editsZstd  = version<<4 | 1
	// minCompressEdits: below it zstd makes nothing shorter.
	minCompressEdits = 48
	// maxCompressEdits bounds what a list of a few bytes can decompress to. Longer streams are stored plain.
	maxCompressEdits = 128 << 10
)

// Sort sorts edits by index, in their own memory, and returns them with one edit a block: of several the last wins.
func Sort(edits []Edit) []Edit {
	slices.SortStableFunc(edits, func(a, b Edit) int { return cmp.Compare(a.Index, b.Index) })
	kept := edits[:0]
	for _, e := range edits {
		if n := len(kept); n > 0 && kept[n-1].Index == e.Index {
			kept[n-1] = e
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// Apply sets the blocks of ids as edits say, in their order. It panics for an edit outside ids.
func Apply(ids []uint16, edits []Edit) {
	for _, e := range edits {
		ids[e.Index] = e.ID
	}
}

// Diff appends to dst the edits that make before into after, sorted, and returns the whole. It panics when before and
// after are not two columns of one height.
func Diff(dst []Edit, before, after []uint16) []Edit {
	if heightOf(before) != heightOf(after) {
		panic(fmt.Sprintf("chunk: columns %d and %d blocks high", heightOf(before), heightOf(after)))
	}
	x, y := memoryOf(before), memoryOf(after)
	for i := 0; i < len(after); i += 4 {
		if binary.NativeEndian.Uint64(x[2*i:]) == binary.NativeEndian.Uint64(y[2*i:]) {
			continue
		}
		for j := i; j < i+4; j++ {
			if before[j] != after[j] {
				dst = append(dst, Edit{Index: uint32(j), ID: after[j]}) //nolint:gosec // at most MaxHeight*LayerBlocks
			}
		}
	}
	return dst
}

// AppendEdits appends the encoding of edits to dst and returns the whole. The list has no checksum: what it is stored in
// has one. It panics unless the edits are of rising index, inside a column of [MaxHeight]: see [Sort].
func AppendEdits(dst []byte, edits []Edit) []byte {
	c := borrow()
	defer give(c)
	stream := c.writeEdits(edits)
	if len(stream) >= minCompressEdits && len(stream) <= maxCompressEdits {
		if body := c.compress(stream, smallEncoder()); len(body) < len(stream) {
			return append(append(dst, editsZstd), body...)
		}
	}
	return append(append(dst, editsPlain), stream...)
}

// writeEdits returns the stream of edits, good until the next call: the number of stretches of neighbours; for each the
// gap before it and its length; and then the ids, in runs.
func (c *coder) writeEdits(edits []Edit) []byte {
	stretches, gaps := uint64(0), c.lengths[:0]
	next := uint32(0) // the smallest index that may follow
	for from := 0; from < len(edits); stretches++ {
		first := edits[from].Index
		to := from + 1
		for to < len(edits) && edits[to].Index == edits[to-1].Index+1 {
			to++
		}
		if last := edits[to-1].Index; first < next || last >= MaxHeight*LayerBlocks {
			panic(fmt.Sprintf("chunk: edits of blocks %d to %d after %d", first, last, next))
		}
		gaps = appendRepeated(gaps, uint64(first-next), to-from)
		// Neighbours are one stretch: what follows begins at least one block later.
		next, from = edits[to-1].Index+2, to
	}
	c.lengths = gaps
	c.stream = append(binary.AppendUvarint(c.stream[:0], stretches), gaps...)
	for from := 0; from < len(edits); {
		to := from + 1
		for to < len(edits) && edits[to].ID == edits[from].ID {
			to++
		}
		c.stream = appendRepeated(c.stream, uint64(edits[from].ID), to-from)
		from = to
	}
	return c.stream
}

// appendRepeated appends value and times, at least 1: one number for once, two for more.
func appendRepeated(dst []byte, value uint64, times int) []byte {
	if times == 1 {
		return binary.AppendUvarint(dst, value<<1)
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, value<<1|1), uint64(times-2)) //nolint:gosec // at least 2
}

// readRepeated reads what appendRepeated wrote; ok is false for a value over most or more times than that.
func readRepeated(stream []byte, mostValue, mostTimes int) (value, times int, rest []byte, ok bool) {
	v, n := binary.Uvarint(stream)
	if n <= 0 || v>>1 > uint64(mostValue) { //nolint:gosec // never negative
		return 0, 0, nil, false
	}
	stream = stream[n:]
	if v&1 == 0 {
		return int(v >> 1), 1, stream, mostTimes >= 1 //nolint:gosec // checked above
	}
	t, n := binary.Uvarint(stream)
	if n <= 0 || mostTimes < 2 || t > uint64(mostTimes-2) { //nolint:gosec // never negative
		return 0, 0, nil, false
	}
	return int(v >> 1), int(t) + 2, stream[n:], true //nolint:gosec // checked above
}

// ReadEdits appends the edits in data, of a column that is height blocks high, to dst and returns the whole. They are of
// rising index and inside the column. It returns [codec.ErrMalformed] for bytes that are not exactly such a list, and
// [codec.ErrNewer] for those of a newer version; then dst's memory behind its length may have been overwritten. It panics
// for a height that no column has.
func ReadEdits(dst []Edit, data []byte, height int) ([]Edit, error) {
	checkHeight(height)
	c := borrow()
	defer give(c)
	return c.readEdits(dst, data, height*LayerBlocks)
}

func (c *coder) readEdits(dst []Edit, data []byte, blocks int) ([]Edit, error) {
	if len(data) == 0 || data[0]>>4 == 0 {
		return nil, fmt.Errorf("%w: no list of edits", codec.ErrMalformed)
	}
	stream := data[1:]
	switch data[0] {
	case editsPlain:
	case editsZstd:
		var err error
		if stream, err = c.decompress(stream, maxCompressEdits); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: a list of edits that begins with %#02x", codec.ErrNewer, data[0])
	}
	first := len(dst)
	dst, rest, ok := readStretches(dst, stream, blocks)
	if ok {
		ok = readIDs(dst[first:], rest)
	}
	if !ok {
		return nil, fmt.Errorf("%w: edits to %d blocks", codec.ErrMalformed, blocks)
	}
	return dst, nil
}

// readStretches appends edits without ids to dst.
func readStretches(dst []Edit, stream []byte, blocks int) (edits []Edit, rest []byte, ok bool) {
	stretches, n := binary.Uvarint(stream)
	if n <= 0 {
		return nil, nil, false
	}
	stream = stream[n:]
	next := 0
	for range stretches { // each takes a byte or ends the loop
		// Checked before anything is taken: all edits lie inside the column, so they are at most as many as its blocks.
		if next >= blocks {
			return nil, nil, false
		}
		var gap, length int
		if gap, length, stream, ok = readRepeated(stream, blocks-next-1, blocks); !ok || length > blocks-next-gap {
			return nil, nil, false
		}
		dst = slices.Grow(dst, length)
		for i := range length {
			dst = append(dst, Edit{Index: uint32(next + gap + i)}) //nolint:gosec // below blocks
		}
		next += gap + length + 1
	}
	return dst, stream, true
}

// readIDs sets the ids of edits and reports whether the stream ends with the last.
func readIDs(edits []Edit, stream []byte) bool {
	for len(edits) > 0 {
		id, times, rest, ok := readRepeated(stream, 0xffff, len(edits))
		if !ok {
			return false
		}
		for i := range edits[:times] {
			edits[i].ID = uint16(id) //nolint:gosec // at most 0xffff
		}
		edits, stream = edits[times:], rest
	}
	return len(stream) == 0
}

// AppendDelta appends to dst the encoding of edits to a column that is stored elsewhere, height blocks high and with the
// content hash base, and returns the whole. It panics for edits as [AppendEdits] does, and for a height that no column has.
func AppendDelta(dst []byte, height int, base uint64, edits []Edit) []byte {
	checkHeight(height)
	if n := len(edits); n > 0 && int(edits[n-1].Index) >= height*LayerBlocks {
		panic(fmt.Sprintf("chunk: an edit of block %d in a column %d blocks high", edits[n-1].Index, height))
	}
	start := len(dst)
	return appendSum(AppendEdits(appendHeader(dst, Delta, height, base), edits), start)
}

// ReadDelta appends the edits in data, a delta to a column that is height blocks high, to dst, and returns the content
// hash of the base that they belong to, which the caller compares before it applies them. The errors and panics are those
// of [Decode].
func ReadDelta(dst []Edit, data []byte, height int) (base uint64, edits []Edit, err error) {
	checkHeight(height)
	info, body, err := open(data)
	if err != nil {
		return 0, nil, err
	}
	if info.Codec != Delta || info.Height != height {
		return 0, nil, fmt.Errorf("%w: %v %d blocks high, want a delta %d high", codec.ErrMalformed, info.Codec, info.Height, height)
	}
	c := borrow()
	defer give(c)
	if edits, err = c.readEdits(dst, body, height*LayerBlocks); err != nil {
		return 0, nil, err
	}
	return info.Hash, edits, nil
}
