package codec

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// windowBytes is how far back zstd looks; documents repeat themselves nearby.
	windowBytes = 256 << 10
	// maxDecoderBytes bounds what a zstd frame may ask for, besides the declared size.
	maxDecoderBytes = 8 << 20
)

// encoder and decoder are made at their first use and are immutable from then on. Both hold a bounded pool of states,
// one per processor, start no goroutines, and are safe for many.
//
//nolint:gochecknoglobals // made once, immutable, and a state per call would cost a megabyte each
var (
	encoder = sync.OnceValue(newEncoder)
	decoder = sync.OnceValue(newDecoder)
)

func newEncoder() *zstd.Encoder {
	// The frame has a checksum of its own, over more.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(windowBytes), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(fmt.Sprintf("codec: zstd encoder options: %v", err)) // constants above are wrong
	}
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxDecoderBytes), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(fmt.Sprintf("codec: zstd decoder options: %v", err)) // constants above are wrong
	}
	return d
}

// decompress decodes stored into scratch, or into new memory, exactly size bytes.
func decompress(scratch, stored []byte, size int) ([]byte, error) {
	if cap(scratch) < size {
		scratch = make([]byte, size)
	}
	// The decoder writes within the capacity only: never more than was declared.
	payload, err := decoder().DecodeAll(stored, scratch[:0:size])
	if err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrMalformed, err)
	}
	if len(payload) != size {
		return nil, fmt.Errorf("%w: zstd gave %d bytes, %d were declared", ErrMalformed, len(payload), size)
	}
	return payload, nil
}
