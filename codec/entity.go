package codec

import (
	"fmt"
	"slices"
	"sync"

	"github.com/skerry-dev/skerry/codec/storev1"
)

// EncodeEntity returns e framed, compressed with zstd where that makes it smaller. The result is new memory,
// the caller's own. It returns [ErrTooLarge] when e is over [MaxValueBytes]. Safe for many goroutines, while nobody changes e.
func EncodeEntity(e *storev1.Entity) ([]byte, error) { return encodeFramed(FormatEntity, Zstd, e) }

// DecodeEntity returns the entity in framed, sharing no memory with it. It returns [ErrMalformed] for bytes that are
// damaged or of another format, and [ErrNewer] for what a newer version wrote: its frame, its kind of document, or its
// document. Old documents are returned as they were: call [Migrate] before using one.
func DecodeEntity(framed []byte) (*storev1.Entity, error) {
	e := &storev1.Entity{}
	if err := decodeFramed(FormatEntity, framed, e); err != nil {
		return nil, err
	}
	if e.GetDocument() == nil && len(e.ProtoReflect().GetUnknown()) > 0 {
		return nil, fmt.Errorf("%w: an unknown kind of document", ErrNewer)
	}
	if err := checkPlayerVersion(e.GetPlayer()); err != nil {
		return nil, err
	}
	if err := checkWorldVersion(e.GetWorld()); err != nil {
		return nil, err
	}
	return e, nil
}

// message is what vtprotobuf generates.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT(data []byte) (int, error)
	UnmarshalVT(data []byte) error
}

// scratch holds byte slices between calls; their contents mean nothing.
//
//nolint:gochecknoglobals // a pool is safe for many and holds nothing that anybody sees
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// maxScratchBytes is the largest slice worth keeping for the next call.
const maxScratchBytes = 64 << 10

func putScratch(buf *[]byte, used []byte) {
	if cap(used) <= maxScratchBytes {
		*buf = used[:0]
		scratch.Put(buf)
	}
}

func encodeFramed(format Format, compression Compression, m message) ([]byte, error) {
	size := m.SizeVT()
	if size > MaxValueBytes {
		return nil, fmt.Errorf("%w: %d bytes of %v, at most %d are allowed", ErrTooLarge, size, format, MaxValueBytes)
	}
	if compression == Plain || size <= minCompressBytes {
		framed := appendHeader(make([]byte, 0, size+maxOverheadBytes), format, Plain, size)
		body := framed[len(framed) : len(framed)+size]
		if _, err := m.MarshalToSizedBufferVT(body); err != nil {
			return nil, fmt.Errorf("encode %v: %w", format, err)
		}
		return appendSum(framed[:len(framed)+size], 0), nil
	}

	raw, packed := scratch.Get().(*[]byte), scratch.Get().(*[]byte)
	payload := slices.Grow((*raw)[:0], size)[:size]
	defer func() { putScratch(raw, payload) }()
	if _, err := m.MarshalToSizedBufferVT(payload); err != nil {
		return nil, fmt.Errorf("encode %v: %w", format, err)
	}
	framed, err := AppendFrame((*packed)[:0], format, compression, payload)
	defer func() { putScratch(packed, framed) }()
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(framed)), framed...), nil
}

func decodeFramed(format Format, framed []byte, m message) error {
	frame, err := OpenFrame(framed)
	if err != nil {
		return err
	}
	if frame.Format != format {
		return fmt.Errorf("%w: %v where %v belongs", ErrMalformed, frame.Format, format)
	}
	if frame.Compression == Plain {
		return unmarshal(format, frame.stored, m)
	}
	buf := scratch.Get().(*[]byte)
	payload, err := frame.Payload(*buf)
	if err != nil {
		scratch.Put(buf)
		return err
	}
	defer putScratch(buf, payload)
	return unmarshal(format, payload, m) // copies what it keeps
}

func unmarshal(format Format, payload []byte, m message) error {
	if err := m.UnmarshalVT(payload); err != nil {
		return fmt.Errorf("%w: %v: %w", ErrMalformed, format, err)
	}
	return nil
}
