package codec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// FieldError says which field is wrong and why. It is ErrBadField to errors.Is.
type FieldError struct {
	// Field is the JSON path, such as inventory.hotbar[0].count; "" is the message itself.
	Field string
	// Reason goes on after the field's name: "is negative".
	Reason string
}

// Error is "field reason".
func (e *FieldError) Error() string { return e.Field + " " + e.Reason }

// Unwrap returns [ErrBadField].
func (e *FieldError) Unwrap() error { return ErrBadField }

// MaxDepth is how deep messages and JSON values nest in a message that [CheckText] accepts.
const MaxDepth = 64

// CheckText returns a [FieldError] when a string in m is not UTF-8, a JSON number in it is not finite, or m nests deeper
// than [MaxDepth]. What it accepts can be written as JSON, and read by any protobuf. It is for messages that the generated
// decoders read from outside, which check none of this. Safe for many goroutines.
func CheckText(m proto.Message) error {
	if err := checkMessage(m.ProtoReflect(), MaxDepth); err != nil {
		err.Field = shorten(strings.TrimPrefix(err.Field, "."))
		return err
	}
	return nil
}

// The checks below return a FieldError whose Field is relative to what they checked, beginning with "." or "[": who calls
// puts its own name before it. So a path costs nothing where all is well.

func checkMessage(m protoreflect.Message, depth int) *FieldError {
	if depth == 0 {
		return tooDeep()
	}
	switch v := m.Interface().(type) {
	case *structpb.Struct:
		return checkStruct(v, depth)
	case *structpb.Value:
		return checkValue(v, depth)
	}
	var err *FieldError
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			err = checkMap(fd.MapValue(), v.Map(), depth)
		case fd.Kind() != protoreflect.StringKind && fd.Kind() != protoreflect.MessageKind:
			return true
		case fd.IsList():
			for i, list := 0, v.List(); i < list.Len() && err == nil; i++ {
				err = checkSingular(fd, list.Get(i), depth).at("[" + strconv.Itoa(i) + "]")
			}
		default:
			err = checkSingular(fd, v, depth)
		}
		err = err.at("." + fd.JSONName())
		return err == nil
	})
	return err
}

func checkMap(fd protoreflect.FieldDescriptor, m protoreflect.Map, depth int) *FieldError {
	var err *FieldError
	m.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		if err = checkText(key.String(), "has a key that is not UTF-8"); err == nil {
			err = checkSingular(fd, value, depth).at("." + key.String())
		}
		return err == nil
	})
	return err
}

func checkSingular(fd protoreflect.FieldDescriptor, v protoreflect.Value, depth int) *FieldError {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return checkText(v.String(), "is not UTF-8")
	case protoreflect.MessageKind:
		return checkMessage(v.Message(), depth-1)
	default:
		return nil
	}
}

func checkStruct(s *structpb.Struct, depth int) *FieldError {
	for key, value := range s.GetFields() {
		if err := checkText(key, "has a key that is not UTF-8"); err != nil {
			return err
		}
		if err := checkValue(value, depth-1); err != nil {
			return err.at("." + key)
		}
	}
	return nil
}

func checkValue(v *structpb.Value, depth int) *FieldError {
	if depth == 0 {
		return tooDeep()
	}
	switch kind := v.GetKind().(type) {
	case nil:
		return &FieldError{Reason: "has no value"}
	case *structpb.Value_NumberValue:
		if math.IsNaN(kind.NumberValue) || math.IsInf(kind.NumberValue, 0) {
			return &FieldError{Reason: "is not a finite number"}
		}
	case *structpb.Value_StringValue:
		return checkText(kind.StringValue, "is not UTF-8")
	case *structpb.Value_StructValue:
		return checkStruct(kind.StructValue, depth)
	case *structpb.Value_ListValue:
		for i, item := range kind.ListValue.GetValues() {
			if err := checkValue(item, depth-1); err != nil {
				return err.at("[" + strconv.Itoa(i) + "]")
			}
		}
	}
	return nil
}

func checkText(s, reason string) *FieldError {
	if utf8.ValidString(s) {
		return nil
	}
	return &FieldError{Reason: reason}
}

func tooDeep() *FieldError { return &FieldError{Reason: fmt.Sprintf("nests deeper than %d", MaxDepth)} }

// at returns e with a name before its field. A nil e stays nil.
func (e *FieldError) at(name string) *FieldError {
	if e != nil {
		e.Field = name + e.Field
	}
	return e
}

// shorten keeps a path short enough for an error.
func shorten(path string) string {
	const most = 200
	if len(path) <= most {
		return path
	}
	return strings.ToValidUTF8(path[:most], "") + "…"
}
