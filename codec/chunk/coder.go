package chunk

import (
	"encoding/binary"
	"sync"
	"unsafe"
)

// coder is the scratch memory of one call. It belongs to one goroutine at a time.
type coder struct {
	seen    [1 << 16 / 64]uint64 // a bit for each id in the section's palette; clear between sections
	symbol  [1 << 16]uint16      // an id's index in the section's palette, where seen
	palette []uint16
	ends    [sectionBlocks]uint16 // where the section's runs end
	section [2*sectionBlocks + 2]byte

	sizes, palettes, counts, symbols, lengths []byte // the streams being written
	stream                                    []byte // all streams, plain
	frame                                     []byte // a zstd frame with its magic
	swapped                                   []byte // ids in little endian, on machines that are not
}

// coders hold a few hundred kilobytes each; the collector takes those that nobody needs.
//
//nolint:gochecknoglobals // scratch memory, shared by all callers
var coders = sync.Pool{New: func() any { return new(coder) }}

func borrow() *coder {
	c, _ := coders.Get().(*coder)
	return c
}

func give(c *coder) { coders.Put(c) }

// rawBytes returns ids as little-endian bytes: the ids' own memory where the machine keeps them so, else a copy that is
// good until the next call. The caller does not change them.
func (c *coder) rawBytes(ids []uint16) []byte {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return memoryOf(ids)
	}
	c.swapped = c.swapped[:0]
	for _, id := range ids {
		c.swapped = binary.LittleEndian.AppendUint16(c.swapped, id)
	}
	return c.swapped
}

// memoryOf returns the memory of ids. Comparing and filling eight bytes at a time, and hashing without a copy, are what
// makes a column of 128 KiB take microseconds.
func memoryOf(ids []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(ids))), 2*len(ids))
}

// fill sets ids[from:to] to id. It may write up to fifteen more behind, inside ids: what follows is filled later. Memory is
// that of ids.
func fill(ids []uint16, memory []byte, from, to int, id uint16) {
	const row = 16 // most runs are shorter: written whole, without a loop that ends in a guess
	if from+row > len(ids) {
		for ; from < to; from++ {
			ids[from] = id
		}
		return
	}
	four := uint64(id) * 0x0001_0001_0001_0001 // the same in any byte order
	m := memory[2*from : 2*(from+row)]
	binary.NativeEndian.PutUint64(m, four)
	binary.NativeEndian.PutUint64(m[8:], four)
	binary.NativeEndian.PutUint64(m[16:], four)
	binary.NativeEndian.PutUint64(m[24:], four)
	if from+row < to {
		rest := memory[2*from : 2*to]
		for done := len(m); done < len(rest); {
			done += copy(rest[done:], rest[:done])
		}
	}
}
