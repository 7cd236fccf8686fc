package peers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// kind is what a frame carries.
type kind uint8

// The kinds. Their numbers are on the wire.
const (
	kindPing    kind = 0 // nothing: the sender lives
	kindBatch   kind = 1 // a batch of messages
	kindRequest kind = 2 // what a fetch asks for
	kindData    kind = 3 // one frame of the answer
	kindEnd     kind = 4 // the answer was whole; the number of its frames, 8 bytes
	kindFailed  kind = 5 // the answer cannot be given; why, as text
	kindCalls   kind = 6 // calls and answers of nodes
)

// A frame is 4 bytes of length of the payload, little-endian, one of its kind, and the payload.
const (
	frameHeaderBytes = 5
	endBytes         = 8
	maxFailureBytes  = 1 << 10
	// keptBytes is the longest buffer that a reader keeps between frames: all frames of a fetch fit, and most batches.
	keptBytes = MaxFrameBytes
)

// limits say how long a frame of each kind may be; a kind that is not in it must not come.
type limits map[kind]int

// frameWriter writes the frames of one connection, many small ones with one write. It belongs to one goroutine.
type frameWriter struct {
	to     *bufio.Writer
	header [frameHeaderBytes]byte
}

func newFrameWriter(to io.Writer) *frameWriter {
	return &frameWriter{to: bufio.NewWriterSize(to, pieceBytes)}
}

// begin writes the beginning of a frame; its payload must follow.
func (w *frameWriter) begin(k kind, length int) error {
	binary.LittleEndian.PutUint32(w.header[:], uint32(length)) //nolint:gosec // bounded by maxBatchBytes
	w.header[4] = byte(k)
	_, err := w.to.Write(w.header[:])
	return err
}

// write writes a whole frame. It may stay in the buffer until flush.
func (w *frameWriter) write(k kind, payload []byte) error {
	if err := w.begin(k, len(payload)); err != nil {
		return err
	}
	_, err := w.to.Write(payload)
	return err
}

// writeNow writes a whole frame and all before it.
func (w *frameWriter) writeNow(k kind, payload []byte) error {
	if err := w.write(k, payload); err != nil {
		return err
	}
	return w.to.Flush()
}

// frameReader reads the frames of one connection. It belongs to one goroutine.
type frameReader struct {
	from   io.Reader
	limits limits
	buffer []byte
	header [frameHeaderBytes]byte
}

// next returns the next frame; its payload is good until the next call. A frame whose kind or length is not allowed gives
// ErrMalformed before memory is taken for it. io.EOF means that the stream ended between two frames.
func (r *frameReader) next() (kind, []byte, error) {
	if cap(r.buffer) > keptBytes {
		r.buffer = nil
	}
	if _, err := io.ReadFull(r.from, r.header[:]); err != nil {
		return 0, nil, err
	}
	k, length := kind(r.header[4]), binary.LittleEndian.Uint32(r.header[:])
	limit, ok := r.limits[k]
	if !ok {
		return 0, nil, fmt.Errorf("%w: a frame of kind %d", ErrMalformed, k)
	}
	if uint64(length) > uint64(limit) { //nolint:gosec // a limit is not negative
		return 0, nil, fmt.Errorf("%w: a frame of kind %d with %d bytes, more than %d", ErrMalformed, k, length, limit)
	}
	if int(length) > cap(r.buffer) {
		r.buffer = make([]byte, length)
	}
	payload := r.buffer[:length]
	if _, err := io.ReadFull(r.from, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return k, payload, nil
}
