package items

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// MaxDepth is how deep attributes and metadata nest: every value in them has a path of at most this many names.
	MaxDepth = 8
	// maxMetadataBytes is the greatest size of a stack's or spawner's metadata as compact JSON.
	maxMetadataBytes = 1 << 10
)

// CheckText refuses a text that people see when it has more than greatest characters, or any that cannot be shown.
func CheckText(text string, greatest int, field string) error {
	switch {
	case !utf8.ValidString(text):
		return Refuse(ErrBadRequest, field, "is not valid UTF-8")
	case utf8.RuneCountInString(text) > greatest:
		return Refuse(ErrTooLarge, field, "has %d characters, at most %d are allowed", utf8.RuneCountInString(text), greatest)
	case strings.ContainsFunc(text, unicode.IsControl):
		return Refuse(ErrBadRequest, field, "has control characters")
	default:
		return nil
	}
}

// CheckStruct says why s is no JSON object that nests at most depth deep; "" when it is one.
func CheckStruct(s *structpb.Struct, depth int) string {
	if len(s.GetFields()) > 0 && depth < 1 {
		return fmt.Sprintf("nests more than %d deep", MaxDepth)
	}
	for key, value := range s.GetFields() {
		if !utf8.ValidString(key) {
			return "has a name that is not valid UTF-8"
		}
		if problem := CheckValue(value, depth-1); problem != "" {
			return problem
		}
	}
	return ""
}

// CheckValue is CheckStruct for any value; a plain one has depth 0.
func CheckValue(v *structpb.Value, depth int) string {
	switch kind := v.GetKind().(type) {
	case *structpb.Value_NullValue, *structpb.Value_BoolValue:
		return ""
	case *structpb.Value_NumberValue:
		if math.IsNaN(kind.NumberValue) || math.IsInf(kind.NumberValue, 0) {
			return "has a number that is not finite"
		}
		return ""
	case *structpb.Value_StringValue:
		if !utf8.ValidString(kind.StringValue) {
			return "has a text that is not valid UTF-8"
		}
		return ""
	case *structpb.Value_StructValue:
		return CheckStruct(kind.StructValue, depth)
	case *structpb.Value_ListValue:
		items := kind.ListValue.GetValues()
		if len(items) > 0 && depth < 1 {
			return fmt.Sprintf("nests more than %d deep", MaxDepth)
		}
		for _, item := range items {
			if problem := CheckValue(item, depth-1); problem != "" {
				return problem
			}
		}
		return ""
	default:
		return "has a value that is not set"
	}
}

// StructSize is the size of s as compact JSON, in bytes.
func StructSize(s *structpb.Struct) int {
	size := 2 + max(0, len(s.GetFields())-1) // braces and commas
	for key, value := range s.GetFields() {
		size += TextSize(key) + 1 + ValueSize(value)
	}
	return size
}

// ValueSize is the size of v as compact JSON, in bytes. CheckValue must hold.
func ValueSize(v *structpb.Value) int {
	switch kind := v.GetKind().(type) {
	case *structpb.Value_BoolValue:
		if kind.BoolValue {
			return len("true")
		}
		return len("false")
	case *structpb.Value_NumberValue:
		return numberSize(kind.NumberValue)
	case *structpb.Value_StringValue:
		return TextSize(kind.StringValue)
	case *structpb.Value_StructValue:
		return StructSize(kind.StructValue)
	case *structpb.Value_ListValue:
		items := kind.ListValue.GetValues()
		size := 2 + max(0, len(items)-1)
		for _, item := range items {
			size += ValueSize(item)
		}
		return size
	default:
		return len("null")
	}
}

// numberSize is the size of the shortest decimal form that reads back as n.
func numberSize(n float64) int {
	var buf [32]byte
	if whole := int64(n); n > -1e15 && n < 1e15 && float64(whole) == n && (n != 0 || !math.Signbit(n)) {
		return len(strconv.AppendInt(buf[:0], whole, 10))
	}
	if size := math.Abs(n); n == 0 || size >= 1e-6 && size < 1e21 {
		return len(strconv.AppendFloat(buf[:0], n, 'f', -1, 64))
	}
	text := strconv.AppendFloat(buf[:0], n, 'e', -1, 64)
	if zero := len(text) - 2; text[zero] == '0' && text[zero-1] == '-' { // JSON's 1e-7 is Go's 1e-07
		return len(text) - 1
	}
	return len(text)
}

// TextSize is the size of text as a JSON string, in bytes.
func TextSize(text string) int {
	size := 2 + len(text)
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t':
			size++
		case c < ' ':
			size += len(`\u0000`) - 1
		}
	}
	return size
}

// CloneStruct copies s deep, strings too, without fields that JSON does not have; none becomes an empty one.
func CloneStruct(s *structpb.Struct) *structpb.Struct {
	fields := make(map[string]*structpb.Value, len(s.GetFields()))
	for key, value := range s.GetFields() {
		fields[strings.Clone(key)] = CloneValue(value)
	}
	return &structpb.Struct{Fields: fields}
}

// CloneValue is [CloneStruct] for any value.
func CloneValue(v *structpb.Value) *structpb.Value {
	switch kind := v.GetKind().(type) {
	case *structpb.Value_BoolValue:
		return structpb.NewBoolValue(kind.BoolValue)
	case *structpb.Value_NumberValue:
		return structpb.NewNumberValue(kind.NumberValue)
	case *structpb.Value_StringValue:
		return structpb.NewStringValue(strings.Clone(kind.StringValue))
	case *structpb.Value_StructValue:
		return structpb.NewStructValue(CloneStruct(kind.StructValue))
	case *structpb.Value_ListValue:
		items := make([]*structpb.Value, len(kind.ListValue.GetValues()))
		for i, item := range kind.ListValue.GetValues() {
			items[i] = CloneValue(item)
		}
		return structpb.NewListValue(&structpb.ListValue{Values: items})
	default:
		return structpb.NewNullValue()
	}
}

// EqualStruct reports whether two objects are the same JSON; none is the same as an empty one.
func EqualStruct(a, b *structpb.Struct) bool {
	if len(a.GetFields()) != len(b.GetFields()) {
		return false
	}
	for key, value := range a.GetFields() {
		other, ok := b.GetFields()[key]
		if !ok || !EqualValue(value, other) {
			return false
		}
	}
	return true
}

// EqualValue reports whether two values are the same JSON; none is the same as null.
func EqualValue(a, b *structpb.Value) bool {
	switch kind := a.GetKind().(type) {
	case *structpb.Value_BoolValue:
		other, ok := b.GetKind().(*structpb.Value_BoolValue)
		return ok && kind.BoolValue == other.BoolValue
	case *structpb.Value_NumberValue:
		other, ok := b.GetKind().(*structpb.Value_NumberValue)
		return ok && kind.NumberValue == other.NumberValue
	case *structpb.Value_StringValue:
		other, ok := b.GetKind().(*structpb.Value_StringValue)
		return ok && kind.StringValue == other.StringValue
	case *structpb.Value_StructValue:
		other, ok := b.GetKind().(*structpb.Value_StructValue)
		return ok && EqualStruct(kind.StructValue, other.StructValue)
	case *structpb.Value_ListValue:
		other, ok := b.GetKind().(*structpb.Value_ListValue)
		if !ok || len(kind.ListValue.GetValues()) != len(other.ListValue.GetValues()) {
			return false
		}
		for i, item := range kind.ListValue.GetValues() {
			if !EqualValue(item, other.ListValue.GetValues()[i]) {
				return false
			}
		}
		return true
	default:
		return IsNull(b)
	}
}

// IsNull reports whether v is null or absent.
func IsNull(v *structpb.Value) bool {
	switch v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return true
	default:
		return false
	}
}

// Metadata checks a command's metadata and returns a copy of it; none for an empty object.
func Metadata(metadata *structpb.Struct, field string) (*structpb.Struct, error) {
	if len(metadata.GetFields()) == 0 {
		return nil, nil //nolint:nilnil // no metadata is a value
	}
	if err := CheckMetadata(metadata, field); err != nil {
		return nil, err
	}
	return CloneStruct(metadata), nil
}

// CheckMetadata refuses what is no JSON object, nests too deep or is over 1 KiB.
func CheckMetadata(metadata *structpb.Struct, field string) error {
	if problem := CheckStruct(metadata, MaxDepth); problem != "" {
		return Refuse(ErrBadRequest, field, "%s", problem)
	}
	if size := StructSize(metadata); size > maxMetadataBytes {
		return Refuse(ErrTooLarge, field, "has %d bytes as JSON, at most %d are allowed", size, maxMetadataBytes)
	}
	return nil
}
