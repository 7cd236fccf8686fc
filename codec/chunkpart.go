package codec

import (
	"fmt"

	"github.com/skerry-dev/skerry/codec/storev1"
)

// EncodeChunk returns part framed, compressed with zstd where that makes it smaller. The result is new memory, the caller's
// own. It returns [ErrTooLarge] when part is over [MaxValueBytes]. Safe for many goroutines, while nobody changes part.
func EncodeChunk(part *storev1.ChunkPart) ([]byte, error) {
	return encodeFramed(FormatChunk, Zstd, part)
}

// DecodeChunk returns the chunk's part in framed, sharing no memory with it. It returns [ErrMalformed] for bytes that are
// damaged or of another format, and [ErrNewer] for what a newer version wrote: a part that says something unknown must not
// be saved without it.
func DecodeChunk(framed []byte) (*storev1.ChunkPart, error) {
	part := &storev1.ChunkPart{}
	if err := decodeFramed(FormatChunk, framed, part); err != nil {
		return nil, err
	}
	if unknown(part) {
		return nil, fmt.Errorf("%w: a chunk with unknown fields", ErrNewer)
	}
	return part, nil
}
