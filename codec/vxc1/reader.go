package vxc1

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/skerry-dev/skerry/codec"
)

// Reader reads a file, column after column. It belongs to one goroutine.
type Reader struct {
	zstd   *zstd.Decoder
	source *source
	header Header
	left   uint32
	buf    []byte // one column's bytes
	err    error  // sticky
}

// source remembers the error of what it reads from, to tell it from damage.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err //nolint:wrapcheck // a reader's error is passed on as it is
}

// NewReader reads a file's header from r and returns a reader of its columns, which the caller closes. Reads ahead of
// what it returns.
func NewReader(r io.Reader) (*Reader, error) {
	s := &source{r: r}
	// One goroutine: the caller's.
	z, err := zstd.NewReader(s, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(windowBytes), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		return nil, fmt.Errorf("read a VXC1 file: %w", err)
	}
	rd := &Reader{zstd: z, source: s, buf: make([]byte, columnBytes)}
	if err := rd.readHeader(); err != nil {
		z.Close()
		return nil, fmt.Errorf("read a VXC1 header: %w", err)
	}
	return rd, nil
}

// Header is what the file says of all its columns. The names are the reader's: do not change them.
func (r *Reader) Header() Header { return r.header }

// Next reads the next column into c, whose IDs it uses again when they are long enough. It returns [io.EOF] after the
// last one, when the file ends there. After any error every call returns that error.
func (r *Reader) Next(c *Column) error {
	if r.err == nil {
		r.err = r.next(c)
	}
	return r.err
}

// Close releases what the reader holds. It never fails; a second call does nothing.
func (r *Reader) Close() {
	r.zstd.Close()
	if r.err == nil {
		r.err = zstd.ErrDecoderClosed
	}
}

func (r *Reader) next(c *Column) error {
	if r.left == 0 {
		return r.end()
	}
	number := r.header.Columns - r.left
	if err := r.fill(r.buf); err != nil {
		return fmt.Errorf("read column %d of %d: %w", number, r.header.Columns, err)
	}
	r.left--
	c.X = int32(binary.LittleEndian.Uint32(r.buf))     //nolint:gosec // the bits of an i32
	c.Z = int32(binary.LittleEndian.Uint32(r.buf[4:])) //nolint:gosec // the bits of an i32
	c.Stored = binary.LittleEndian.Uint32(r.buf[8:])
	if cap(c.IDs) < ColumnIDs {
		c.IDs = make([]uint16, ColumnIDs)
	}
	c.IDs = c.IDs[:ColumnIDs]
	greatest := uint16(0)
	for i, raw := 0, r.buf[12:]; i < ColumnIDs; i, raw = i+1, raw[2:] {
		id := binary.LittleEndian.Uint16(raw)
		c.IDs[i], greatest = id, max(greatest, id)
	}
	if names := len(r.header.Names); names > 0 && int(greatest) >= names {
		return fmt.Errorf("%w: column %d has block %d, the file names %d", codec.ErrMalformed, number, greatest, names)
	}
	return nil
}

// end returns io.EOF when the file ends here.
func (r *Reader) end() error {
	switch _, err := io.ReadFull(r.zstd, r.buf[:1]); {
	case err == nil:
		return fmt.Errorf("%w: bytes behind the last column", codec.ErrMalformed)
	case errors.Is(err, io.EOF):
		return io.EOF
	default:
		return r.blame(err)
	}
}

func (r *Reader) readHeader() error {
	b := r.buf[:headerBytes]
	if err := r.fill(b); err != nil {
		return err
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	if string(b[:4]) != magic {
		return fmt.Errorf("%w: it begins with %q, want %q", codec.ErrMalformed, b[:4], magic)
	}
	if v, flags := u16(b[4:]), u16(b[6:]); v != version || flags != 0 {
		if v == 0 {
			return fmt.Errorf("%w: version 0", codec.ErrMalformed)
		}
		return fmt.Errorf("%w: version %d with flags %#x", codec.ErrNewer, v, flags)
	}
	if x, y, z, zero := u16(b[8:]), u16(b[10:]), u16(b[12:]), u16(b[14:]); x != 16 || y != Height || z != 16 || zero != 0 {
		return fmt.Errorf("%w: columns of %d × %d × %d (%d), want 16 × 256 × 16 (0)", codec.ErrMalformed, x, y, z, zero)
	}
	r.header.MinY = int32(u32(b[16:])) //nolint:gosec // the bits of an i32
	r.header.Columns, r.left = u32(b[24:]), u32(b[24:])
	return r.readNames(u32(b[20:]))
}

// readNames grows with what the file holds, not with what it says.
func (r *Reader) readNames(names uint32) error {
	if names > MaxNames {
		return fmt.Errorf("%w: %d names, at most %d are allowed", codec.ErrMalformed, names, MaxNames)
	}
	total := 0
	for i := range names {
		if err := r.fill(r.buf[:2]); err != nil {
			return fmt.Errorf("the name of block %d: %w", i, err)
		}
		length := int(binary.LittleEndian.Uint16(r.buf))
		if total += length; total > MaxNamesBytes {
			return fmt.Errorf("%w: names of more than %d bytes", codec.ErrMalformed, MaxNamesBytes)
		}
		if err := r.fill(r.buf[:length]); err != nil {
			return fmt.Errorf("the name of block %d: %w", i, err)
		}
		r.header.Names = append(r.header.Names, string(r.buf[:length]))
	}
	return nil
}

// fill reads all of b.
func (r *Reader) fill(b []byte) error {
	if _, err := io.ReadFull(r.zstd, b); err != nil {
		return r.blame(err)
	}
	return nil
}

// blame returns the source's own error, where it had one, or ErrMalformed; never io.EOF, which means that all is well.
func (r *Reader) blame(err error) error {
	if r.source.err != nil {
		return r.source.err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", codec.ErrMalformed, err)
}
