// Package chunk turns columns of blocks into few bytes and back: whole columns, lists of edits, and deltas against a
// column that is stored elsewhere.
//
// A column is 16 × height × 16 block ids, y-z-x: block (x, y, z) is ids[y·256 + z·16 + x]. Its height is a multiple of 16,
// 16 to 1024.
//
// # Guarantees
//
//   - Total: every column has an encoding, never longer than [MaxEncodedBytes].
//   - Verified: nothing is decoded before the checksum over all of it matched; a column is handed out only when it has the
//     content hash that its encoding says.
//   - Bounded: decoding takes at most the memory of the column that is asked for, and no bytes make it panic.
//   - Exact: every stream is consumed to its last byte, or the whole is refused.
//   - For ever: bytes of every older version still decode (see testdata); bytes of a newer one are refused with
//     [codec.ErrNewer] and are never mistaken for damage, which is [codec.ErrMalformed].
//
// All functions are safe for many goroutines, retain nothing, and take no memory once warm, besides what they return.
//
// Start at [Encode] and [Decode]; at [Diff], [AppendEdits] and [AppendDelta] for what changed. DESIGN.md has the layout,
// byte by byte, and the measurements.
package chunk

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/codec"
)

const (
	// LayerBlocks is how many blocks a column has for each block of its height.
	LayerBlocks = 16 * 16
	// MaxHeight is the greatest height of a column.
	MaxHeight = 1024
	// MaxOverheadBytes is how much an encoded column can be longer than its raw ids: its header and checksum.
	MaxOverheadBytes = headerBytes + sumBytes
	// MaxEncodedBytes is the longest encoding of any column.
	MaxEncodedBytes = 2*LayerBlocks*MaxHeight + MaxOverheadBytes

	sectionHeight = 16
	sectionBlocks = sectionHeight * LayerBlocks
	maxSections   = MaxHeight / sectionHeight
	version       = 1
	// headerBytes are version and codec in one byte, the number of sections, and a content hash.
	headerBytes = 2 + 8
	// sumBytes are the xxh3-64 at the end.
	sumBytes = 8
)

// Codec says how a column is encoded. The numbers are stored: never change one; 2 is kept for a codec to come.
type Codec uint8

// The codecs.
const (
	// Uniform is one id for all blocks.
	Uniform Codec = 0
	// Runs is a palette and run lengths for each section of 16 layers, in one zstd frame.
	Runs Codec = 1
	// Delta is edits to a column stored elsewhere, named by its content hash.
	Delta Codec = 3
	// Plain is the ids as they are: for a column that nothing makes shorter.
	Plain Codec = 4
)

// String is the codec's name.
func (c Codec) String() string {
	switch c {
	case Uniform:
		return "uniform"
	case Runs:
		return "runs"
	case Delta:
		return "delta"
	case Plain:
		return "plain"
	default:
		return fmt.Sprintf("codec(%d)", uint8(c))
	}
}

// Info is what the header of an encoding says.
type Info struct {
	Codec Codec
	// Height is the column's height in blocks.
	Height int
	// Hash is the content hash of the column; of a delta, that of its base.
	Hash uint64
}

// Inspect verifies data, an encoded column or delta, and returns what its header says, without decoding it. It returns
// [codec.ErrMalformed] for anything that is not a whole, unchanged encoding, and [codec.ErrNewer] for one that is whole
// and of a version or codec that this build does not know. What Inspect accepts may still be refused by [Decode], if
// whoever wrote it was wrong.
func Inspect(data []byte) (Info, error) {
	info, _, err := open(data)
	return info, err
}

// Hash returns the content hash of a column, or of any ids: xxh3-64 of the ids in order, two bytes each, little endian.
// Two columns are the same exactly when their hashes are, whatever codec they are stored with. The result is stored: it
// never changes.
func Hash(ids []uint16) uint64 {
	c := borrow()
	defer give(c)
	return xxh3.Hash(c.rawBytes(ids))
}

// open verifies data and returns its header and its body, which aliases data.
func open(data []byte) (Info, []byte, error) {
	if len(data) < headerBytes+sumBytes {
		return Info{}, nil, fmt.Errorf("%w: a column of %d bytes, the shortest has %d", codec.ErrMalformed, len(data), headerBytes+sumBytes)
	}
	if len(data) > MaxEncodedBytes {
		return Info{}, nil, fmt.Errorf("%w: a column of %d bytes, the longest has %d", codec.ErrMalformed, len(data), MaxEncodedBytes)
	}
	end := len(data) - sumBytes
	if binary.LittleEndian.Uint64(data[end:]) != xxh3.Hash(data[:end]) {
		return Info{}, nil, fmt.Errorf("%w: the checksum of a column of %d bytes does not match", codec.ErrMalformed, len(data))
	}
	// From here on the bytes are what somebody wrote.
	info := Info{Codec: Codec(data[0] & 0x0f), Height: int(data[1]) * sectionHeight, Hash: binary.LittleEndian.Uint64(data[2:])}
	switch v := data[0] >> 4; {
	case v == 0:
		return Info{}, nil, fmt.Errorf("%w: a column of version 0", codec.ErrMalformed)
	case v > version:
		return Info{}, nil, fmt.Errorf("%w: a column of version %d", codec.ErrNewer, v)
	case info.Codec > Plain || info.Codec == 2:
		return Info{}, nil, fmt.Errorf("%w: a column with %v", codec.ErrNewer, info.Codec)
	case info.Height == 0 || info.Height > MaxHeight:
		return Info{}, nil, fmt.Errorf("%w: a column %d blocks high", codec.ErrMalformed, info.Height)
	}
	return info, data[headerBytes:end], nil
}

// appendHeader appends a header; what is encoded follows it, and then appendSum.
func appendHeader(dst []byte, c Codec, height int, hash uint64) []byte {
	dst = append(dst, version<<4|byte(c), byte(height/sectionHeight)) //nolint:gosec // checked by checkHeight
	return binary.LittleEndian.AppendUint64(dst, hash)
}

// appendSum ends the encoding that begins at start.
func appendSum(dst []byte, start int) []byte {
	return binary.LittleEndian.AppendUint64(dst, xxh3.Hash(dst[start:]))
}

// checkHeight panics for a height that no column has: a program that asks for one is wrong.
func checkHeight(height int) {
	if height <= 0 || height > MaxHeight || height%sectionHeight != 0 {
		panic(fmt.Sprintf("chunk: a column %d blocks high", height))
	}
}

// heightOf returns the height of a column, and panics when it has not the length of one.
func heightOf(ids []uint16) int {
	if len(ids)%LayerBlocks != 0 {
		panic(fmt.Sprintf("chunk: a column of %d ids", len(ids)))
	}
	height := len(ids) / LayerBlocks
	checkHeight(height)
	return height
}
