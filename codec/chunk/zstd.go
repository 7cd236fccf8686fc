package chunk

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/skerry-dev/skerry/codec"
)

const (
	// maxStreamBytes bounds what a zstd frame decodes to: a longer stream is stored without zstd.
	maxStreamBytes = 4 * LayerBlocks * MaxHeight
	// zstdMagic begins every zstd frame, and so need not be stored.
	zstdMagic = "\x28\xb5\x2f\xfd"
)

// encoders and decoder are made at their first use and are immutable from then on. They hold a bounded pool of states,
// one per processor, start no goroutines, and are safe for many.
//
//nolint:gochecknoglobals // made once, immutable, and a state per call would cost a megabyte each
var (
	fastEncoder  = sync.OnceValue(func() *zstd.Encoder { return newEncoder(zstd.SpeedFastest) })
	smallEncoder = sync.OnceValue(func() *zstd.Encoder { return newEncoder(zstd.SpeedDefault) })
	decoder      = sync.OnceValue(newDecoder)
)

func newEncoder(level zstd.EncoderLevel) *zstd.Encoder {
	// Single: the frame says the stream's length, and no window. What it is in has a checksum of its own, over more.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true),
		zstd.WithWindowSize(maxStreamBytes), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(fmt.Sprintf("chunk: zstd encoder options: %v", err)) // constants above are wrong
	}
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxStreamBytes), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(fmt.Sprintf("chunk: zstd decoder options: %v", err)) // constants above are wrong
	}
	return d
}

// compress returns the zstd frame of stream without its magic, good until the next call.
func (c *coder) compress(stream []byte, encoder *zstd.Encoder) []byte {
	c.frame = encoder.EncodeAll(stream, c.frame[:0])
	return c.frame[len(zstdMagic):]
}

// decompress returns what a frame without its magic holds, good until the next call. It takes memory for what the frame
// says that it holds, at most limit bytes.
func (c *coder) decompress(stored []byte, limit int) ([]byte, error) {
	c.frame = append(append(c.frame[:0], zstdMagic...), stored...)
	var header zstd.Header
	if err := header.Decode(c.frame); err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", codec.ErrMalformed, err)
	}
	if !header.HasFCS || header.FrameContentSize > uint64(limit) { //nolint:gosec // a limit is never negative
		return nil, fmt.Errorf("%w: a zstd frame of %d bytes, at most %d are allowed", codec.ErrMalformed, header.FrameContentSize, limit)
	}
	size := int(header.FrameContentSize) //nolint:gosec // at most limit
	if cap(c.stream) < size {
		c.stream = make([]byte, size)
	}
	// The decoder writes within the capacity only: never more than was declared.
	stream, err := decoder().DecodeAll(c.frame, c.stream[:0:size])
	if err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", codec.ErrMalformed, err)
	}
	if len(stream) != size {
		return nil, fmt.Errorf("%w: zstd gave %d bytes, %d were declared", codec.ErrMalformed, len(stream), size)
	}
	return stream, nil
}
