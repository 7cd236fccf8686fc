package codec

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// maxExact is the greatest whole number that every JSON reader keeps exactly, 2^53-1.
const maxExact = 1<<53 - 1

// object reads the fields of a JSON object one by one and remembers the first that is bad. A field that was read is
// gone; what is left at the end is unknown. The reading methods return their fallback for a field that is absent or null.
type object struct {
	path   string // "" for the document itself
	fields map[string]*structpb.Value
	err    *error // shared by all objects of a document
}

// bad remembers that a field is wrong, unless one was before.
func (o *object) bad(name, format string, args ...any) {
	if *o.err == nil {
		*o.err = &FieldError{Field: shorten(o.at(name)), Reason: fmt.Sprintf(format, args...)}
	}
}

func (o *object) at(name string) string {
	switch {
	case o.path == "":
		return name
	case name == "":
		return o.path
	default:
		return o.path + "." + name
	}
}

// take removes a field and returns it; nil when it is absent or null.
func (o *object) take(name string) *structpb.Value {
	v := o.fields[name]
	delete(o.fields, name)
	if _, null := v.GetKind().(*structpb.Value_NullValue); null {
		return nil
	}
	return v
}

// has reports whether a field is there and not null.
func (o *object) has(name string) bool {
	v := o.take(name)
	if v != nil {
		o.fields[name] = v
	}
	return v != nil
}

// object returns a field that is an object. An absent one is empty, and so is an empty array: the original cannot tell.
func (o *object) object(name string) *object {
	return o.asObject(name, o.take(name))
}

func (o *object) asObject(name string, v *structpb.Value) *object {
	child := &object{path: o.at(name), err: o.err, fields: map[string]*structpb.Value{}}
	switch kind := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
	case *structpb.Value_StructValue:
		child.fields = maps.Clone(kind.StructValue.GetFields())
		if child.fields == nil {
			child.fields = map[string]*structpb.Value{}
		}
	case *structpb.Value_ListValue:
		if len(kind.ListValue.GetValues()) > 0 {
			o.bad(name, "is an array, not an object")
		}
	default:
		o.bad(name, "is not an object")
	}
	return child
}

// integer returns a field that is a whole number, as a number or in a string.
func (o *object) integer(name string, fallback, least, greatest int64) int64 {
	v := o.take(name)
	n := int64(0)
	switch kind := v.GetKind().(type) {
	case nil:
		return fallback
	case *structpb.Value_NumberValue:
		f := kind.NumberValue
		if f != math.Trunc(f) || math.Abs(f) > maxExact { // NaN and infinities too
			o.bad(name, "is %v, not a whole number within %d..%d", f, least, greatest)
			return fallback
		}
		n = int64(f)
	case *structpb.Value_StringValue:
		parsed, err := strconv.ParseInt(kind.StringValue, 10, 64)
		if err != nil {
			o.bad(name, "is %.40q, not a whole number", kind.StringValue)
			return fallback
		}
		n = parsed
	default:
		o.bad(name, "is not a number")
		return fallback
	}
	if n < least || n > greatest {
		o.bad(name, "is %d, not within %d..%d", n, least, greatest)
		return fallback
	}
	return n
}

// count is integer for what is counted in 32 bits, from least.
func (o *object) count(name string, fallback, least int32) int32 {
	return int32(o.integer(name, int64(fallback), int64(least), math.MaxInt32)) //nolint:gosec // within the bounds given
}

// number returns a field that is any number within the bounds.
func (o *object) number(name string, fallback, least, greatest float64) float64 {
	v := o.take(name)
	if v == nil {
		return fallback
	}
	n, ok := v.GetKind().(*structpb.Value_NumberValue)
	if !ok {
		o.bad(name, "is not a number")
		return fallback
	}
	if !(n.NumberValue >= least && n.NumberValue <= greatest) { // NaN is neither
		o.bad(name, "is %v, not within %v..%v", n.NumberValue, least, greatest)
		return fallback
	}
	return n.NumberValue
}

// boolean returns a field that is true or false.
func (o *object) boolean(name string, fallback bool) bool {
	v := o.take(name)
	if v == nil {
		return fallback
	}
	b, ok := v.GetKind().(*structpb.Value_BoolValue)
	if !ok {
		o.bad(name, "is not true or false")
		return fallback
	}
	return b.BoolValue
}

// text returns a field that is a string; "" when it is absent.
func (o *object) text(name string) string {
	v := o.take(name)
	if v == nil {
		return ""
	}
	s, ok := v.GetKind().(*structpb.Value_StringValue)
	if !ok {
		o.bad(name, "is not a string")
		return ""
	}
	return s.StringValue
}

// time returns a field that is a moment after 1970: Unix seconds, RFC 3339, or one of layouts (in UTC). It is zero when
// the field is absent, "" or 0. The result is in UTC, to the millisecond.
func (o *object) time(name string, layouts ...string) time.Time {
	var at time.Time
	switch kind := o.take(name).GetKind().(type) {
	case nil:
		return time.Time{}
	case *structpb.Value_NumberValue:
		at = time.UnixMilli(-1)
		if seconds := kind.NumberValue; seconds >= 0 && seconds < endOf9999 {
			at = time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
		}
	case *structpb.Value_StringValue:
		if kind.StringValue == "" {
			return time.Time{}
		}
		at = parseTime(kind.StringValue, append(layouts, time.RFC3339Nano))
	default:
		at = time.UnixMilli(-1)
	}
	switch ms := at.UnixMilli(); {
	case ms < 0 || ms >= endOf9999*1000:
		o.bad(name, "is no time after 1970")
		return time.Time{}
	case ms == 0:
		return time.Time{}
	default:
		return at
	}
}

// endOf9999 is the first Unix second that a timestamp cannot have.
const endOf9999 = 253402300800

// parseTime returns a time before 1970 when no layout fits.
func parseTime(s string, layouts []string) time.Time {
	for _, layout := range layouts {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC().Truncate(time.Millisecond)
		}
	}
	return time.UnixMilli(-1)
}

// slots calls read for each slot that a field has, by its number from 0: an array with nulls for empty slots, or an object
// with the numbers from 1 as names.
func (o *object) slots(name string, read func(slot int, v *structpb.Value, in *object)) {
	v := o.take(name)
	if list := v.GetListValue().GetValues(); list != nil {
		if len(list) > maxSlots {
			o.bad(name, "has %d slots, at most %d are allowed", len(list), maxSlots)
			return
		}
		for i, item := range list {
			in := &object{path: o.at(name) + "[" + strconv.Itoa(i) + "]", err: o.err}
			read(i, item, in)
		}
		return
	}
	sparse := o.asObject(name, v)
	for _, key := range slices.Sorted(maps.Keys(sparse.fields)) {
		n, err := strconv.Atoi(key)
		if err != nil || n < 1 || n > maxSlots || strconv.Itoa(n) != key {
			sparse.bad(key, "is no slot: slots are named 1 to %d", maxSlots)
			return
		}
		read(n-1, sparse.fields[key], &object{path: sparse.at(key), err: o.err})
	}
}

// rest returns copies of the fields that were not read; nil when there are none.
func (o *object) rest() map[string]*structpb.Value {
	var rest map[string]*structpb.Value
	for key, v := range o.fields {
		if rest == nil {
			rest = map[string]*structpb.Value{}
		}
		rest[key] = proto.CloneOf(v)
	}
	return rest
}
