// Package codec turns documents into bytes and back: the frame around every stored value, entities and journal entries,
// migrations of old documents, and the words that name errors on the wire.
//
// # Guarantees
//
//   - Verified: nothing is decoded before the checksum over its header and payload matched.
//   - Bounded: no input makes a decoder take more memory than [MaxValueBytes] of payload and what it decodes to, and none panics.
//   - For ever: bytes of every older version still decode (see testdata); bytes of a newer version are refused with
//     [ErrNewer] and are never mistaken for damage.
//   - Whole: an unknown event is a failed load, never a skipped one.
//
// Start at [AppendFrame] for the bytes, at [EncodeEntity] and [EncodeEntry] for what is stored, at [Migrate] for old
// documents. DESIGN.md has the layout and the measurements.
package codec

import "errors"

// The ways in which bytes are refused. Compare with errors.Is.
var (
	// ErrMalformed: the bytes are torn, flipped, or not of this format at all. Do not retry.
	ErrMalformed = errors.New("malformed bytes")
	// ErrNewer: the bytes are whole, and were written by a newer version of Skerry than this build. They must not be
	// overwritten.
	ErrNewer = errors.New("written by a newer version")
	// ErrTooLarge: the value is over [MaxValueBytes]. Nothing was encoded.
	ErrTooLarge = errors.New("value is too large")
	// ErrBadField: a field has a value that it cannot have. A [FieldError] wraps it and names the field.
	ErrBadField = errors.New("bad field")
)

// MaxValueBytes is the greatest payload that a frame holds, decoded. A greater one is neither written nor read.
const MaxValueBytes = 4 << 20
