// Package worldjson reads and writes worlds in the original's JSON, as game servers keep them in data stores: one object
// with what is known of the world, and in it
//
//	"chunks": [{"key": "3,-1", "x": 3, "z": -1, "data": [[blockId, count], …], "heightMap": […]}, …]
//	"chests": [{"x": 50, "y": 64, "z": -3, "slots": [{"itemId": 7, "count": 20, "maxStack": 64}, null, …]}, …]
//
// The runs go over the whole column, x fastest, then z, then y. Slots count from 1 where they have names. A chunk of which
// only edits are stored has "edits": [[x, y, z, blockId], …] in place of data.
//
// # Guarantees
//
//   - Bounded: reading takes one chunk or chest at a time, of at most [MaxElementBytes], whatever the file's size.
//   - Whole: what is malformed, unknown or cut off is refused with [codec.ErrMalformed] or a [codec.FieldError].
//
// Start at [Read] and [NewWriter].
package worldjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// MaxElementBytes is the longest chunk or chest, and the longest head.
const MaxElementBytes = 4 << 20

// Visitor is called with what a file has, in its order; a nil func skips. An error ends the reading and is returned.
type Visitor struct {
	Chunk func(*skerryv1.ChunkData) error
	Chest func(*skerryv1.Chest) error
}

// Read reads a whole file and returns how its world begins, which may stand behind its chunks: read twice where that is
// needed first. An error of r is returned as it is.
func Read(r io.Reader, visit Visitor) (*skerryv1.Create, error) {
	source := &bounded{r: r}
	d := json.NewDecoder(source)
	head := map[string]json.RawMessage{}
	size := 0
	err := members(d, func(name string) error {
		source.left = MaxElementBytes
		switch name {
		case "chunks":
			return elements(d, source, name, visit.Chunk != nil, func(raw []byte) error {
				chunk, err := readChunk(raw)
				if err != nil {
					return err
				}
				return asVisitors(visit.Chunk(chunk))
			})
		case "chests":
			return elements(d, source, name, visit.Chest != nil, func(raw []byte) error {
				chest, err := readChest(raw)
				if err != nil {
					return err
				}
				return asVisitors(visit.Chest(chest))
			})
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err //nolint:wrapcheck // explained below
		}
		if size += len(raw); size > MaxElementBytes {
			return errTooLong
		}
		head[name] = raw
		return nil
	}, source)
	if err == nil {
		err = atEnd(d)
	}
	if err != nil {
		return nil, source.explain(err)
	}
	return readHead(head)
}

var (
	errTooLong = errors.New("an element is too long")
	errShape   = errors.New("not of the form of a world")
)

// bounded fails once more is read than is left, and remembers the error of what it reads from.
type bounded struct {
	r    io.Reader
	left int
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err //nolint:wrapcheck // a reader's error is passed on as it is
}

// visitError is the visitor's own.
type visitError struct{ error }

func (e visitError) Unwrap() error { return e.error }

func asVisitors(err error) error {
	if err == nil {
		return nil
	}
	return visitError{err}
}

// explain tells the errors of the source and of the visitor from damage.
func (b *bounded) explain(err error) error {
	if visited, ok := errors.AsType[visitError](err); ok {
		return visited.error
	}
	switch {
	case b.err != nil:
		return b.err
	case errors.Is(err, codec.ErrBadField), errors.Is(err, codec.ErrMalformed):
		return err
	default:
		return fmt.Errorf("%w: a world's JSON: %w", codec.ErrMalformed, err)
	}
}

// members calls read for each member of the object that begins, which it has to read.
func members(d *json.Decoder, read func(name string) error, source *bounded) error {
	source.left = MaxElementBytes
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errors.Join(errShape, err)
	}
	for d.More() {
		source.left = MaxElementBytes
		name, err := d.Token()
		if err != nil {
			return err //nolint:wrapcheck // explained by the caller
		}
		if err := read(name.(string)); err != nil { //nolint:forcetypeassert // a member's name
			return err
		}
	}
	_, err := d.Token()
	return err //nolint:wrapcheck // explained by the caller
}

// elements calls read for each element of a list, or of an object with keys as names; empty ones are the same.
func elements(d *json.Decoder, source *bounded, name string, wanted bool, read func(raw []byte) error) error {
	open, err := d.Token()
	if err != nil {
		return err //nolint:wrapcheck // explained by the caller
	}
	if open != json.Delim('[') && open != json.Delim('{') {
		return fmt.Errorf("%w: %s is no list", errShape, name)
	}
	for i := 0; d.More(); i++ {
		source.left = MaxElementBytes
		if open == json.Delim('{') {
			if _, err = d.Token(); err != nil {
				return err //nolint:wrapcheck // explained by the caller
			}
		}
		var raw json.RawMessage
		if err = d.Decode(&raw); err != nil {
			return fmt.Errorf("%s[%d]: %w", name, i, err)
		}
		if wanted {
			if err = read(raw); err != nil {
				return fmt.Errorf("%s[%d]: %w", name, i, err)
			}
		}
	}
	_, err = d.Token()
	return err //nolint:wrapcheck // explained by the caller
}

func atEnd(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more behind its end", errShape)
	}
	return nil
}

func readHead(head map[string]json.RawMessage) (*skerryv1.Create, error) {
	raw, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", codec.ErrMalformed, err)
	}
	doc, err := object(raw)
	if err != nil {
		return nil, err
	}
	return codec.WorldFromOriginal(doc)
}

func object(raw []byte) (*structpb.Struct, error) {
	doc := &structpb.Struct{}
	if err := (protojson.UnmarshalOptions{RecursionLimit: codec.MaxDepth}).Unmarshal(raw, doc); err != nil {
		return nil, fmt.Errorf("%w: %w", codec.ErrMalformed, err)
	}
	return doc, nil
}

func readChest(raw []byte) (*skerryv1.Chest, error) {
	if len(raw) > 1<<20 {
		return nil, fmt.Errorf("%w: a chest of %d bytes", codec.ErrMalformed, len(raw))
	}
	doc, err := object(raw)
	if err != nil {
		return nil, err
	}
	return codec.ChestFromOriginal(doc)
}

// chunkJSON is a chunk as the file has it; its lists stay text, which takes the least memory.
type chunkJSON struct {
	Key       *string         `json:"key"`
	X         *int32          `json:"x"`
	Z         *int32          `json:"z"`
	Data      json.RawMessage `json:"data"`
	Edits     json.RawMessage `json:"edits"`
	HeightMap json.RawMessage `json:"heightMap"`
}

func readChunk(raw []byte) (*skerryv1.ChunkData, error) {
	var in chunkJSON
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("%w: %w", codec.ErrMalformed, err)
	}
	if in.X == nil || in.Z == nil {
		return nil, &codec.FieldError{Field: "x, z", Reason: "are missing"}
	}
	if in.Key != nil && *in.Key != key(*in.X, *in.Z) {
		return nil, &codec.FieldError{Field: "key", Reason: fmt.Sprintf("is %.40q, x and z are %d and %d", *in.Key, *in.X, *in.Z)}
	}
	chunk := &skerryv1.ChunkData{X: *in.X, Z: *in.Z}
	var data []int32
	for _, list := range []struct {
		name  string
		raw   []byte
		group int
		into  *[]int32
	}{{"data", in.Data, 2, &data}, {"edits", in.Edits, 4, &chunk.Edits}, {"heightMap", in.HeightMap, 0, &chunk.HeightMap}} {
		numbers, err := flatten(list.raw, list.group)
		if err != nil {
			return nil, &codec.FieldError{Field: list.name, Reason: err.Error()}
		}
		*list.into = numbers
	}
	return chunk, rollUp(chunk, data)
}

// rollUp makes palette and runs of a flat list of ids and counts.
func rollUp(chunk *skerryv1.ChunkData, data []int32) error {
	places := map[int32]uint32{}
	for i := 0; i < len(data); i += 2 {
		id, count := data[i], data[i+1]
		if id < 0 || id > math.MaxUint16 || count < 1 {
			return &codec.FieldError{Field: fmt.Sprintf("data[%d]", i/2), Reason: fmt.Sprintf("is %d of block %d", count, id)}
		}
		place, known := places[id]
		if !known {
			place = uint32(len(places)) //nolint:gosec // at most 65,536
			places[id] = place
			chunk.Palette = append(chunk.Palette, strconv.Itoa(int(id)))
		}
		chunk.Runs = append(chunk.Runs, place, uint32(count)) //nolint:gosec // positive
	}
	return nil
}

// flatten reads a list of lists of group numbers, or with group 0 a list of numbers.
func flatten(raw []byte, group int) ([]int32, error) {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == "{}" {
		return nil, nil
	}
	var numbers []int32
	depth, count, want := 0, 0, 1
	if group > 0 {
		want = 2
	}
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '[':
			if depth++; depth > want {
				return nil, errors.New("nests too deep")
			}
			count = 0
		case ']':
			if depth == 2 && count != group {
				return nil, fmt.Errorf("has %d numbers where %d belong", count, group)
			}
			depth--
		case ',', ' ', '\n', '\t', '\r':
		default:
			end := i + numberBytes(raw[i:])
			n, err := strconv.ParseInt(string(raw[i:end]), 10, 32)
			if err != nil || depth != want {
				return nil, fmt.Errorf("has %.20q where a whole number belongs", raw[i:max(end, i+1)])
			}
			numbers = append(numbers, int32(n)) //nolint:gosec // read as 32 bits
			count++
			i = end - 1
		}
	}
	return numbers, nil
}

// numberBytes is how many bytes of text may be of the number that begins it.
func numberBytes(text []byte) int {
	n := 0
	for n < len(text) && bytes.IndexByte([]byte("-+.eE0123456789"), text[n]) >= 0 {
		n++
	}
	return n
}

func key(x, z int32) string { return fmt.Sprintf("%d,%d", x, z) }
