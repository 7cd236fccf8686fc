package codec

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"
)

// Format says which schema a frame's payload has. The numbers are stored: never change one.
type Format uint8

// The formats.
const (
	// FormatEntry is a storev1.Entry, one line of a journal.
	FormatEntry Format = 1
	// FormatEntity is a storev1.Entity, a snapshot of an entity's main part.
	FormatEntity Format = 2
	// FormatRecord is a record of the meta partition, such as a storev1.KeyRecord.
	FormatRecord Format = 3
	// FormatChunk is a storev1.ChunkPart, a snapshot of one chunk of a world.
	FormatChunk Format = 4

	formatNewest = FormatChunk
)

// String is the format's name.
func (f Format) String() string {
	switch f {
	case FormatEntry:
		return "entry"
	case FormatEntity:
		return "entity"
	case FormatRecord:
		return "record"
	case FormatChunk:
		return "chunk"
	default:
		return fmt.Sprintf("format(%d)", uint8(f))
	}
}

// version is the newest version of f that this build writes and reads, 1 to 15.
func (f Format) version() uint8 { return 1 }

// Compression says how a frame's payload is stored. The numbers are stored: never change one.
type Compression uint8

// The compressions.
const (
	// Plain stores the payload as it is.
	Plain Compression = 0
	// Zstd stores the payload as one zstd frame of level 1. [AppendFrame] falls back to Plain for a payload of at most
	// minCompressBytes, and where zstd does not make it smaller.
	Zstd Compression = 1

	compressionNewest = Zstd
)

const (
	// frameMagic begins every frame. It is no ASCII, no UTF-8 start byte and no likely protobuf tag.
	frameMagic = 0xB9
	// headerBytes are the magic, the format, and version and compression in one byte; the length follows.
	headerBytes = 3
	// sumBytes are the xxh3-64 at the end.
	sumBytes = 8
	// minFrameBytes is an empty payload's frame.
	minFrameBytes = headerBytes + 1 + sumBytes
	// maxOverheadBytes is what the frame of the longest payload adds.
	maxOverheadBytes = headerBytes + binary.MaxVarintLen32 + sumBytes
	// minCompressBytes: below it the time costs more than the few bytes gained.
	minCompressBytes = 512
)

// Frame is a verified frame. It aliases the bytes it was opened from.
type Frame struct {
	Format  Format
	Version uint8
	// Compression is how the payload is stored.
	Compression Compression
	// Size is the length of the payload, decoded.
	Size int

	stored []byte
}

// AppendFrame appends the frame of payload to dst, in format's newest version, and returns the whole. The payload is not
// retained. It returns [ErrTooLarge], and dst as it was, when the payload is over [MaxValueBytes]. A plain frame adds 12
// bytes to a payload under 128 bytes, at most 15 to any. Safe for many goroutines.
func AppendFrame(dst []byte, format Format, compression Compression, payload []byte) ([]byte, error) {
	if len(payload) > MaxValueBytes {
		return dst, fmt.Errorf("%w: %d bytes of %v, at most %d are allowed", ErrTooLarge, len(payload), format, MaxValueBytes)
	}
	start := len(dst)
	if compression == Zstd && len(payload) > minCompressBytes {
		framed := appendHeader(dst, format, Zstd, len(payload))
		body := len(framed)
		framed = encoder().EncodeAll(payload, framed)
		if len(framed)-body < len(payload) {
			return appendSum(framed, start), nil
		}
		dst = framed[:start]
	}
	dst = appendHeader(dst, format, Plain, len(payload))
	return appendSum(append(dst, payload...), start), nil
}

// OpenFrame verifies framed, which must be exactly one frame, and returns it without decompressing. It returns
// [ErrMalformed] for anything that is not a whole, unchanged frame, and [ErrNewer] for one that is whole and of a format,
// version or compression that this build does not know. It takes no memory.
func OpenFrame(framed []byte) (Frame, error) {
	if len(framed) < minFrameBytes {
		return Frame{}, fmt.Errorf("%w: a frame of %d bytes, the shortest has %d", ErrMalformed, len(framed), minFrameBytes)
	}
	if framed[0] != frameMagic {
		return Frame{}, fmt.Errorf("%w: no frame: it begins with %#02x", ErrMalformed, framed[0])
	}
	end := len(framed) - sumBytes
	if sum := xxh3.Hash(framed[:end]); sum != binary.LittleEndian.Uint64(framed[end:]) {
		return Frame{}, fmt.Errorf("%w: the checksum of %d bytes does not match", ErrMalformed, len(framed))
	}
	// From here on the bytes are what somebody wrote.
	f := Frame{Format: Format(framed[1]), Version: framed[2] >> 4, Compression: Compression(framed[2] & 0x0f)}
	if f.Format == 0 || f.Version == 0 {
		return Frame{}, fmt.Errorf("%w: %v version %d", ErrMalformed, f.Format, f.Version)
	}
	if f.Format > formatNewest || f.Version > f.Format.version() || f.Compression > compressionNewest {
		return Frame{}, fmt.Errorf("%w: %v version %d compression %d", ErrNewer, f.Format, f.Version, f.Compression)
	}
	size, n := binary.Uvarint(framed[headerBytes:end])
	if n <= 0 || size > MaxValueBytes {
		return Frame{}, fmt.Errorf("%w: bad length of %v", ErrMalformed, f.Format)
	}
	f.Size, f.stored = int(size), framed[headerBytes+n:end]
	if f.Compression == Plain && len(f.stored) != f.Size {
		return Frame{}, fmt.Errorf("%w: %v has %d bytes, %d were declared", ErrMalformed, f.Format, len(f.stored), f.Size)
	}
	return f, nil
}

// Payload returns the payload: aliasing the frame's bytes when it is stored plain, else decoded into scratch (overwritten
// from its start, nil is fine) or, where that is too short, into new memory of exactly Size bytes. It returns
// [ErrMalformed] when the stored bytes do not decode to exactly Size bytes.
func (f Frame) Payload(scratch []byte) ([]byte, error) {
	if f.Compression == Plain {
		return f.stored, nil
	}
	return decompress(scratch, f.stored, f.Size)
}

func appendHeader(dst []byte, format Format, compression Compression, size int) []byte {
	dst = append(dst, frameMagic, byte(format), format.version()<<4|byte(compression))
	return binary.AppendUvarint(dst, uint64(size)) //nolint:gosec // a length is never negative
}

func appendSum(framed []byte, start int) []byte {
	return binary.LittleEndian.AppendUint64(framed, xxh3.Hash(framed[start:]))
}
