// Package vxc1 reads and writes VXC1, a file of columns of blocks: what worlds are exported to and imported from.
//
// # Format
//
// A zstd stream whose window is at most 16 MiB, of, little endian:
//
//	"VXC1", u16 version = 1, u16 flags = 0, u16 16, u16 256, u16 16, u16 0, i32 minY, u32 names, u32 columns
//	names × (u16 length, bytes)                 the name of block id i; "" = not used by this file
//	columns × (i32 x, i32 z, u32 stored, 65536 × u16 id)
//
// Block (x, y, z) of a column is id[y·256 + z·16 + x] and lies at the world's height minY + y. A file without names has
// the ids of old Minecraft, block<<4 | data. Stored is how many bytes the source game kept for the column, 0 = unknown.
//
// # Guarantees
//
//   - Bounded: a [Reader] takes the names, one column and zstd's window, whatever the file says of itself.
//   - Whole: what is cut off, has bytes behind its end, or does not hold what its header says is refused with
//     [codec.ErrMalformed]; a newer version with [codec.ErrNewer]. An error of the source is returned as it is.
//
// Start at [NewReader] and [NewWriter].
package vxc1

import (
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/codec"
)

const (
	// Height is how many blocks a column is high.
	Height = 256
	// ColumnIDs is how many ids a column has.
	ColumnIDs = 16 * Height * 16
	// MaxNames is how many names a file may have: one for each id.
	MaxNames = 1 << 16
	// MaxNamesBytes is how long all names of a file may be together.
	MaxNamesBytes = 1 << 20

	magic       = "VXC1"
	version     = 1
	headerBytes = 28
	columnBytes = 12 + 2*ColumnIDs
	windowBytes = 16 << 20
)

// ErrColumns says that more or fewer columns were written than the header says. The file is of no use.
var ErrColumns = errors.New("wrong number of columns")

// Header is what a file says of all its columns.
type Header struct {
	// MinY is the world's height of a column's lowest block.
	MinY int32
	// Names has the name of each block id, "" where an id is not used. Empty means the ids of old Minecraft.
	Names []string
	// Columns is how many columns the file has.
	Columns uint32
}

// check returns nil, or what a file cannot say.
func (h Header) check() error {
	if len(h.Names) > MaxNames {
		return fmt.Errorf("%w: %d names, at most %d are allowed", codec.ErrTooLarge, len(h.Names), MaxNames)
	}
	total := 0
	for i, name := range h.Names {
		if len(name) > 0xffff {
			return fmt.Errorf("%w: the name of block %d has %d bytes", codec.ErrTooLarge, i, len(name))
		}
		total += len(name)
	}
	if total > MaxNamesBytes {
		return fmt.Errorf("%w: names of %d bytes, at most %d are allowed", codec.ErrTooLarge, total, MaxNamesBytes)
	}
	return nil
}

// Column is one column of a file.
type Column struct {
	// X and Z are its place, in columns.
	X, Z int32
	// Stored is how many bytes the source game kept for it, 0 = unknown.
	Stored uint32
	// IDs are its blocks, y-z-x: [ColumnIDs] of them.
	IDs []uint16
}
