package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skerry-dev/skerry/codec"
)

// fieldError is a JSON request that is malformed, and where. The generated handlers keep only the text of an error, so the
// text has all of it, and parseFieldError reads it again.
type fieldError struct{ field, message string }

func (e *fieldError) Error() string { return "field " + strconv.Quote(e.field) + " " + e.message }

// parameterError is what the generated handlers say of a parameter of the path, or of the query, that is no number.
var parameterError = regexp.MustCompile(`^(?:type mismatch, parameter: |parsing field ")(\w+)`)

// parseFieldError makes a refusal of what a generated handler says of a malformed request.
func parseFieldError(text string) error {
	if rest, ok := strings.CutPrefix(text, "field "); ok {
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			field, _ := strconv.Unquote(quoted)
			return refuse(errBadRequest, field, strings.TrimPrefix(rest[len(quoted):], " "))
		}
	}
	if found := parameterError.FindStringSubmatch(text); found != nil {
		return refuse(errBadRequest, jsonName(found[1]), "is no whole number that the field can have")
	}
	return refuse(errBadRequest, "", text)
}

// jsonName is the JSON name of a field of this name.
func jsonName(name string) string {
	head, rest, more := strings.Cut(name, "_")
	for more {
		var word string
		word, rest, more = strings.Cut(rest, "_")
		if word != "" {
			head += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return head
}

// marshaler is proto3 JSON as the API speaks it: strict in, compact and whole out.
type marshaler struct{}

var _ runtime.Marshaler = marshaler{}

// ContentType is JSON's.
func (marshaler) ContentType(any) string { return "application/json" }

// Marshal writes zeros, leaves out what is absent, and ends with a line feed.
func (marshaler) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("encode %T: not a message", v)
	}
	loose, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Compact(&out, loose); err != nil { // protojson varies its spaces on purpose
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Unmarshal reads v. Its errors are fieldErrors.
func (marshaler) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("decode %T: not a message", v)
	}
	if err := checkJSON(data, m.ProtoReflect().Descriptor()); err != nil {
		return err
	}
	if err := (protojson.UnmarshalOptions{RecursionLimit: 4 * codec.MaxDepth}).Unmarshal(data, m); err != nil {
		return explainJSON(data, m.ProtoReflect().Descriptor(), err)
	}
	return nil
}

// NewDecoder reads one message, the whole of r. An empty r is [io.EOF], which the handlers take for an empty message.
func (m marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r) // bounded by who made it
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(data)) == 0 {
			return io.EOF
		}
		if err := m.Unmarshal(data, v); err != nil {
			return err
		}
		if body, ok := r.(*jsonBody); ok {
			return body.agrees(v.(proto.Message)) //nolint:forcetypeassert // Unmarshal checked
		}
		return nil
	})
}

// NewEncoder writes messages.
func (m marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		data, err := m.Marshal(v)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	})
}

// jsonBody is a request's body, and what its path names: a field of the body that says otherwise is refused.
type jsonBody struct {
	*bytes.Reader
	path map[string]string
}

// Close does nothing.
func (b *jsonBody) Close() error { return nil }

func (b *jsonBody) agrees(m proto.Message) error {
	for name, value := range b.path {
		field := m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil || !m.ProtoReflect().Has(field) {
			continue
		}
		if said := m.ProtoReflect().Get(field).String(); said != value && !sameNumber(said, value) {
			return &fieldError{field.JSONName(), "is not the one that the path names"}
		}
	}
	return nil
}

// sameNumber reports whether both are one whole number, such as 7 and 07.
func sameNumber(a, b string) bool {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 0, 64)
	return errX == nil && errY == nil && x == y
}

// jsonPlace is where protojson says that it stopped, and how it begins.
var (
	jsonPlace = regexp.MustCompile(`\(line (\d+):(\d+)\)`)
	jsonHead  = regexp.MustCompile(`^(?:proto:)?[\s\x{a0}]*(?:syntax error )?(?:\(line \d+:\d+\): )?`)
)

// explainJSON makes a fieldError of what protojson says, with the path of the field at which it stopped.
func explainJSON(data []byte, message protoreflect.MessageDescriptor, err error) error {
	text := err.Error()
	offset := int64(never64) // a text that is torn ends before
	if found := jsonPlace.FindStringSubmatch(text); found != nil {
		line, _ := strconv.Atoi(found[1])
		column, _ := strconv.Atoi(found[2])
		offset = offsetOf(data, line, column)
	}
	return &fieldError{pathAt(data, message, offset), jsonHead.ReplaceAllString(text, "")}
}

// checkJSON refuses what protojson would not: numbers for 64-bit fields that a sender may have rounded, and depth.
func checkJSON(data []byte, message protoreflect.MessageDescriptor) error {
	w := newWalker(data, never64)
	err := w.value(messageType(message), 0)
	if found, ok := errors.AsType[*fieldError](err); ok {
		return found
	}
	return nil // anything else protojson says better
}
