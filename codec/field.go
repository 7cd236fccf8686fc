package codec

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// ErrBadField: a field has a value that it cannot have. A [FieldError] wraps it and names the field.
var ErrBadField = errors.New("bad field")

// FieldError says which field is wrong and why. It is ErrBadField to errors.Is.
type FieldError struct {
	// Field is the JSON path, such as inventory.hotbar[0].count.
	Field string
	// Reason goes on after the field's name: "is negative".
	Reason string
}

// Error is "field reason".
func (e *FieldError) Error() string { return e.Field + " " + e.Reason }

// Unwrap returns [ErrBadField].
func (e *FieldError) Unwrap() error { return ErrBadField }

func badField(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// MaxDepth is how deep messages and JSON values nest in a message that [CheckText] accepts.
const MaxDepth = 64

// CheckText returns a [FieldError] when a string in m is not UTF-8, a JSON number in it is not finite, or m nests deeper
// than [MaxDepth]. What it accepts can be written as JSON, and read by any protobuf. It is for messages that the generated
// decoders read from outside, which check none of this. Safe for many goroutines.
func CheckText(m proto.Message) error { return checkMessage(m.ProtoReflect(), "", MaxDepth) }

func checkMessage(m protoreflect.Message, path string, depth int) error {
	if depth == 0 {
		return tooDeep(path)
	}
	switch v := m.Interface().(type) {
	case *structpb.Struct:
		return checkStruct(v, path, depth)
	case *structpb.Value:
		return checkValue(v, path, depth)
	}
	var err error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			v.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
				if err = checkText(key.String(), join(path, fd.JSONName()), "a key of it"); err == nil {
					err = checkSingular(fd.MapValue(), value, join(path, fd.JSONName())+"."+key.String(), depth)
				}
				return err == nil
			})
		case fd.IsList():
			if k := fd.Kind(); k != protoreflect.StringKind && k != protoreflect.MessageKind {
				return true
			}
			list, name := v.List(), join(path, fd.JSONName())
			for i := 0; i < list.Len() && err == nil; i++ {
				err = checkSingular(fd, list.Get(i), name+"["+strconv.Itoa(i)+"]", depth)
			}
		case fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.MessageKind:
			err = checkSingular(fd, v, join(path, fd.JSONName()), depth)
		}
		return err == nil
	})
	return err
}

func checkSingular(fd protoreflect.FieldDescriptor, v protoreflect.Value, path string, depth int) error {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return checkText(v.String(), path, "it")
	case protoreflect.MessageKind:
		return checkMessage(v.Message(), path, depth-1)
	default:
		return nil
	}
}

func checkStruct(s *structpb.Struct, path string, depth int) error {
	for key, value := range s.GetFields() {
		if err := checkText(key, path, "a key of it"); err != nil {
			return err
		}
		if err := checkValue(value, join(path, key), depth-1); err != nil {
			return err
		}
	}
	return nil
}

func checkValue(v *structpb.Value, path string, depth int) error {
	if depth == 0 {
		return tooDeep(path)
	}
	switch kind := v.GetKind().(type) {
	case nil:
		return badField(path, "has no value")
	case *structpb.Value_NumberValue:
		if math.IsNaN(kind.NumberValue) || math.IsInf(kind.NumberValue, 0) {
			return badField(path, "is not a finite number")
		}
	case *structpb.Value_StringValue:
		return checkText(kind.StringValue, path, "it")
	case *structpb.Value_StructValue:
		return checkStruct(kind.StructValue, path, depth)
	case *structpb.Value_ListValue:
		for i, item := range kind.ListValue.GetValues() {
			if err := checkValue(item, path+"["+strconv.Itoa(i)+"]", depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkText(s, path, what string) error {
	if utf8.ValidString(s) {
		return nil
	}
	return badField(path, "is not valid: %s is not UTF-8", what)
}

func tooDeep(path string) error {
	if len(path) > 100 {
		path = strings.ToValidUTF8(path[:100], "") + "…"
	}
	return badField(path, "nests deeper than %d", MaxDepth)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
