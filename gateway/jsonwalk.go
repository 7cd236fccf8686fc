package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skerry-dev/skerry/codec"
)

// maxExact is the greatest whole number that every JSON reader and writer keeps exactly: 2^53.
const maxExact = 1 << 53

// walker goes through a JSON text along with the message that it is for, knowing the path of where it is.
type walker struct {
	decoder *json.Decoder
	path    []byte
	stop    int64 // the offset whose path is wanted
}

// errStopped: the walker is at the wanted offset.
var errStopped = errors.New("stopped")

// never64 is beyond every text.
const never64 = math.MaxInt64

func newWalker(data []byte, stop int64) *walker {
	w := &walker{decoder: json.NewDecoder(bytes.NewReader(data)), stop: stop}
	w.decoder.UseNumber()
	return w
}

// jsonType is what the schema says of a JSON value: a message, a field (perhaps one of a list), or nothing.
type jsonType struct {
	message protoreflect.MessageDescriptor
	field   protoreflect.FieldDescriptor
	isItem  bool
}

func messageType(m protoreflect.MessageDescriptor) jsonType {
	if m != nil && m.ParentFile().Package() == "google.protobuf" {
		return jsonType{} // JSON of the caller's own
	}
	return jsonType{message: m}
}

// member is the type of a message's member.
func (t jsonType) member(name string) jsonType {
	if t.message == nil {
		return jsonType{}
	}
	field := t.message.Fields().ByJSONName(name)
	if field == nil {
		field = t.message.Fields().ByTextName(name)
	}
	if field == nil {
		return jsonType{}
	}
	if field.IsList() {
		return jsonType{field: field}
	}
	return single(field)
}

// single is the type of a field's one value.
func single(field protoreflect.FieldDescriptor) jsonType {
	if field.IsMap() {
		return jsonType{}
	}
	if field.Message() != nil {
		return messageType(field.Message())
	}
	return jsonType{field: field, isItem: true}
}

// item is the type of a list's entry.
func (t jsonType) item() jsonType {
	if t.field == nil || t.isItem {
		return jsonType{}
	}
	return single(t.field)
}

// isWhole64 reports whether the value is a 64-bit integer.
func (t jsonType) isWhole64() bool {
	if t.field == nil || !t.isItem {
		return false
	}
	switch t.field.Kind() {
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return true
	default:
		return false
	}
}

// token reads one, and stops at the wanted offset.
func (w *walker) token() (json.Token, error) {
	token, err := w.decoder.Token()
	if err != nil {
		return nil, err
	}
	if w.decoder.InputOffset() > w.stop {
		return nil, errStopped
	}
	return token, nil
}

// value goes through one value.
func (w *walker) value(t jsonType, depth int) error {
	if depth > codec.MaxDepth {
		return &fieldError{string(w.path), fmt.Sprintf("nests deeper than %d", codec.MaxDepth)}
	}
	token, err := w.token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return w.object(t, depth)
		}
		return w.array(t, depth)
	case json.Number:
		if t.isWhole64() && !isExact(token) {
			return &fieldError{string(w.path), fmt.Sprintf("is a number beyond 2^53 (%.40s): write such as a string", token)}
		}
	}
	return nil
}

// isExact reports whether no reader or writer of JSON can have rounded the number.
func isExact(number json.Number) bool {
	if whole, err := number.Int64(); err == nil {
		return -maxExact <= whole && whole <= maxExact
	}
	rough, err := number.Float64()
	return err == nil && math.Abs(rough) <= maxExact
}

func (w *walker) object(t jsonType, depth int) error {
	for w.decoder.More() {
		before := len(w.path)
		key, err := w.decoder.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if before > 0 {
			w.path = append(w.path, '.')
		}
		w.path = append(w.path, shorten(name)...)
		if w.decoder.InputOffset() > w.stop {
			return errStopped
		}
		if err := w.value(t.member(name), depth+1); err != nil {
			return err
		}
		w.path = w.path[:before]
	}
	_, err := w.token()
	return err
}

func (w *walker) array(t jsonType, depth int) error {
	for i := 0; w.decoder.More(); i++ {
		before := len(w.path)
		w.path = append(strconv.AppendInt(append(w.path, '['), int64(i), 10), ']')
		if err := w.value(t.item(), depth+1); err != nil {
			return err
		}
		w.path = w.path[:before]
	}
	_, err := w.token()
	return err
}

// shorten keeps a name of the sender's from filling the answer.
func shorten(name string) string {
	if len(name) > 64 {
		return strings.ToValidUTF8(name[:64], "")
	}
	return name
}

// pathAt returns the path of what is at an offset of a JSON text, as far as the text can be read.
func pathAt(data []byte, message protoreflect.MessageDescriptor, offset int64) string {
	w := newWalker(data, offset)
	if err := w.value(messageType(message), 0); err == nil {
		return ""
	}
	return string(w.path)
}

// offsetOf returns the offset of a line and column, both counted from 1, columns in characters.
func offsetOf(data []byte, line, column int) int64 {
	start := 0
	for ; line > 1; line-- {
		end := bytes.IndexByte(data[start:], '\n')
		if end < 0 {
			return never64
		}
		start += end + 1
	}
	for ; column > 1 && start < len(data); column-- {
		_, size := utf8.DecodeRune(data[start:])
		start += size
	}
	return int64(start)
}
