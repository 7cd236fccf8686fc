package player

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// maxPathBytes is the greatest size of an expectation's path.
const maxPathBytes = 1 << 10

// expect refuses unless the value of p that e names is what e says. Numbers are compared as numbers, whole ones exactly;
// of a whole number e may also say the text, as JSON does for 64 bits. Absent is null.
func expect(p *skerryv1.Player, e *skerryv1.Expect) error {
	if len(e.GetPath()) > maxPathBytes {
		return refuse(ErrTooLarge, "expect.path", "has %d bytes, at most %d are allowed", len(e.GetPath()), maxPathBytes)
	}
	found, problem := find(p, e.GetPath())
	if problem != "" {
		return refuse(ErrBadRequest, "expect.path", "%.80q %s", e.GetPath(), problem)
	}
	switch found.(type) {
	case protoreflect.Message, protoreflect.List:
		if !items.IsNull(e.GetValue()) {
			return refuse(ErrBadRequest, "expect.path", "%.80q is not a single value: name one of those in it", e.GetPath())
		}
	}
	if !equals(found, e.GetValue()) {
		return refuse(ErrExpectation, "expect", "%.80q is %.80s, not %.80s", e.GetPath(), show(found), show(e.GetValue()))
	}
	return nil
}

// find walks a path such as inventory.hotbar[0].itemId. It returns nil (absent), an int64, float64, bool, string or
// time.Time, a *structpb.Value, a protoreflect.Message or List; or what is wrong with the path.
func find(p *skerryv1.Player, path string) (found any, problem string) {
	found = p.ProtoReflect()
	for step := range strings.SplitSeq(path, ".") {
		name, indexes, problem := parseStep(step)
		if problem == "" {
			found, problem = member(found, name)
		}
		for _, index := range indexes {
			if problem == "" {
				found, problem = element(found, index)
			}
		}
		if problem != "" {
			return nil, problem
		}
	}
	return found, ""
}

// parseStep takes apart what stands between two dots: a name and any number of indexes in brackets.
func parseStep(step string) (name string, indexes []int, problem string) {
	name, rest, indexed := strings.Cut(step, "[")
	if name == "" {
		return "", nil, "has an empty name"
	}
	for indexed {
		digits, after, closed := strings.Cut(rest, "]")
		index, err := strconv.ParseUint(digits, 10, 31)
		if !closed || err != nil {
			return "", nil, "has brackets without a whole number between them"
		}
		indexes = append(indexes, int(index))
		if rest, indexed = strings.CutPrefix(after, "["); !indexed && after != "" {
			return "", nil, "has something between a bracket and the next name"
		}
	}
	return name, indexes, ""
}

// member is the named field of an object.
func member(of any, name string) (any, string) {
	switch of := of.(type) {
	case nil:
		return nil, ""
	case protoreflect.Message:
		field := of.Descriptor().Fields().ByJSONName(name)
		if field == nil {
			return nil, "names no field of the document"
		}
		return fieldOf(of, field), ""
	case *structpb.Value:
		if object := of.GetStructValue(); object != nil {
			return jsonValue(object.GetFields()[name]), ""
		}
		return nil, "" // what a plain value does not have is absent
	default:
		return nil, "names a field of something that has none"
	}
}

func fieldOf(m protoreflect.Message, field protoreflect.FieldDescriptor) any {
	switch {
	case field.IsList():
		return m.Get(field).List()
	case field.HasPresence() && !m.Has(field):
		return nil
	case field.Message() != nil:
		return messageOf(m.Get(field).Message())
	}
	switch value := m.Get(field).Interface().(type) {
	case int32:
		return int64(value)
	default:
		return value
	}
}

// messageOf is a message as JSON sees it.
func messageOf(m protoreflect.Message) any {
	switch message := m.Interface().(type) {
	case *structpb.Struct:
		return structpb.NewStructValue(message)
	case *timestamppb.Timestamp:
		return message.AsTime()
	default:
		return m
	}
}

// element is an element of a list; absent beyond its end.
func element(of any, index int) (any, string) {
	switch of := of.(type) {
	case nil:
		return nil, ""
	case protoreflect.List:
		if index >= of.Len() {
			return nil, ""
		}
		return messageOf(of.Get(index).Message()), ""
	case *structpb.Value:
		if items := of.GetListValue().GetValues(); index < len(items) {
			return jsonValue(items[index]), ""
		}
		return nil, ""
	default:
		return nil, "has an index into something that is no list"
	}
}

// jsonValue makes null absent.
func jsonValue(v *structpb.Value) any {
	if items.IsNull(v) {
		return nil
	}
	return v
}

// equals compares what find returned with what is expected.
func equals(found any, want *structpb.Value) bool {
	switch found := found.(type) {
	case nil:
		return items.IsNull(want)
	case int64:
		switch kind := want.GetKind().(type) {
		case *structpb.Value_NumberValue:
			return kind.NumberValue >= math.MinInt64 && kind.NumberValue < math.MaxInt64 &&
				kind.NumberValue == math.Trunc(kind.NumberValue) && int64(kind.NumberValue) == found
		case *structpb.Value_StringValue:
			number, err := strconv.ParseInt(kind.StringValue, 10, 64)
			return err == nil && number == found
		default:
			return false
		}
	case float64:
		return items.EqualValue(structpb.NewNumberValue(found), want)
	case bool:
		return items.EqualValue(structpb.NewBoolValue(found), want)
	case string:
		return items.EqualValue(structpb.NewStringValue(found), want)
	case time.Time:
		at, err := time.Parse(time.RFC3339, want.GetStringValue())
		return err == nil && at.Equal(found)
	case *structpb.Value:
		return items.EqualValue(found, want)
	default:
		return false
	}
}

// show is a found or expected value for a message.
func show(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case *structpb.Value:
		return show(value.AsInterface())
	case string:
		return strconv.Quote(value)
	case time.Time:
		return value.Format(time.RFC3339Nano)
	case protoreflect.Message:
		return "an object"
	case protoreflect.List:
		return "a list"
	default:
		return fmt.Sprint(value)
	}
}
