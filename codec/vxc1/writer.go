package vxc1

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Writer writes a file, column after column. It belongs to one goroutine.
type Writer struct {
	zstd    *zstd.Encoder
	columns uint32
	left    uint32
	buf     []byte // one column's bytes
	err     error  // sticky
}

// NewWriter writes header to w and returns a writer of the columns that header promises. Nothing is whole before
// [Writer.Close]. It returns [codec.ErrTooLarge] for names that a file cannot hold.
func NewWriter(w io.Writer, header Header) (*Writer, error) {
	if err := header.check(); err != nil {
		return nil, fmt.Errorf("write a VXC1 header: %w", err)
	}
	// One goroutine: the caller's. Neighbours repeat each other, 8 MiB are about sixty columns.
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20),
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, fmt.Errorf("write a VXC1 file: %w", err)
	}
	b := make([]byte, 0, columnBytes)
	b = append(b, magic...)
	for _, v := range []uint16{version, 0, 16, Height, 16, 0} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(header.MinY))       //nolint:gosec // the bits of an i32
	b = binary.LittleEndian.AppendUint32(b, uint32(len(header.Names))) //nolint:gosec // checked above
	b = binary.LittleEndian.AppendUint32(b, header.Columns)
	for _, name := range header.Names {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(name))) //nolint:gosec // checked above
		b = append(b, name...)
	}
	if _, err := z.Write(b); err != nil {
		return nil, fmt.Errorf("write a VXC1 header: %w", err)
	}
	return &Writer{zstd: z, columns: header.Columns, left: header.Columns, buf: b}, nil
}

// Write writes the next column, whose IDs are [ColumnIDs] long and are not retained. It returns [ErrColumns] for one more
// than the header said, and after any error that error.
func (w *Writer) Write(c Column) error {
	if w.err != nil {
		return w.err
	}
	if len(c.IDs) != ColumnIDs {
		return fmt.Errorf("column %d,%d has %d ids, want %d", c.X, c.Z, len(c.IDs), ColumnIDs)
	}
	if w.left == 0 {
		return fmt.Errorf("%w: the header said %d", ErrColumns, w.columns)
	}
	b := binary.LittleEndian.AppendUint32(w.buf[:0], uint32(c.X)) //nolint:gosec // the bits of an i32
	b = binary.LittleEndian.AppendUint32(b, uint32(c.Z))          //nolint:gosec // the bits of an i32
	b = binary.LittleEndian.AppendUint32(b, c.Stored)
	for _, id := range c.IDs {
		b = binary.LittleEndian.AppendUint16(b, id)
	}
	if _, err := w.zstd.Write(b); err != nil {
		w.err = fmt.Errorf("write column %d,%d: %w", c.X, c.Z, err)
		return w.err
	}
	w.left--
	return nil
}

// Close ends the file. It does not close what the file is written to. It returns [ErrColumns] when columns are missing:
// then the file's header is wrong. After a failed Write it fails too.
func (w *Writer) Close() error {
	if err := w.zstd.Close(); err != nil {
		return fmt.Errorf("end a VXC1 file: %w", err)
	}
	if w.left > 0 {
		return fmt.Errorf("%w: %d of %d are missing", ErrColumns, w.left, w.columns)
	}
	return nil
}
