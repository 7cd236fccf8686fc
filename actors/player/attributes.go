package player

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// maxNameBytes is the greatest size of a name within an attribute's path.
const maxNameBytes = 64

func setAttribute(rules *Rules, p *skerryv1.Player, cmd *skerryv1.SetAttribute) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	names, err := pathOf(cmd.GetPath(), "setAttribute.path")
	if err != nil {
		return nil, nil, err
	}
	if cmd.GetValue() == nil {
		return nil, nil, refuse(ErrBadRequest, "setAttribute.value", "is not set")
	}
	if problem := items.CheckValue(cmd.GetValue(), items.MaxDepth-len(names)); problem != "" {
		return nil, nil, refuse(ErrBadRequest, "setAttribute.value", "%s", problem)
	}
	if _, err := attribute(p, names, "setAttribute.path"); err != nil {
		return nil, nil, err
	}
	if err := rules.checkAttributes(p, names, cmd.GetValue(), "setAttribute.value"); err != nil {
		return nil, nil, err
	}
	return attributeSet(cmd.GetPath(), items.CloneValue(cmd.GetValue()))
}

// removeAttribute removes what is there; removing what is not is fine.
func removeAttribute(p *skerryv1.Player, cmd *skerryv1.RemoveAttribute) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	names, err := pathOf(cmd.GetPath(), "removeAttribute.path")
	if err != nil {
		return nil, nil, err
	}
	if _, err := attribute(p, names, "removeAttribute.path"); err != nil {
		return nil, nil, err
	}
	removed := &storev1.AttributeRemoved{Path: strings.Clone(cmd.GetPath())}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_AttributeRemoved{AttributeRemoved: removed}}, done(), nil
}

func incrementAttribute(rules *Rules, p *skerryv1.Player, cmd *skerryv1.IncrementAttribute) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	names, err := pathOf(cmd.GetPath(), "incrementAttribute.path")
	if err != nil {
		return nil, nil, err
	}
	least, greatest := or(cmd.Min, -MaxExact), or(cmd.Max, MaxExact)
	switch by := cmd.GetBy(); {
	case math.IsNaN(by) || math.IsInf(by, 0) || by == 0:
		return nil, nil, refuse(ErrBadAmount, "incrementAttribute.by", "is %v, not a finite number other than 0", by)
	case math.IsNaN(least) || math.IsInf(least, 0):
		return nil, nil, refuse(ErrBadRequest, "incrementAttribute.min", "is %v, not a finite number", least)
	case math.IsNaN(greatest) || math.IsInf(greatest, 0) || greatest < least:
		return nil, nil, refuse(ErrBadRequest, "incrementAttribute.max", "is %v, not a finite number of at least %v", greatest, least)
	}
	old, err := attribute(p, names, "incrementAttribute.path")
	if err != nil {
		return nil, nil, err
	}
	if _, ok := old.GetKind().(*structpb.Value_NumberValue); !ok && !items.IsNull(old) {
		return nil, nil, refuse(ErrBadRequest, "incrementAttribute.path", "%.80q is not a number", cmd.GetPath())
	}
	result := old.GetNumberValue() + cmd.GetBy()
	switch {
	case math.Abs(result) > MaxExact:
		return nil, nil, refuse(ErrOverflow, "incrementAttribute.by", "would make %v, beyond 2^53-1", result)
	case result < least || result > greatest:
		return nil, nil, refuse(ErrOutOfRange, "incrementAttribute.by", "would make %v, not within %v..%v", result, least, greatest)
	}
	value := structpb.NewNumberValue(result)
	if err := rules.checkAttributes(p, names, value, "incrementAttribute.path"); err != nil {
		return nil, nil, err
	}
	return attributeSet(cmd.GetPath(), value)
}

func attributeSet(path string, value *structpb.Value) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	set := &storev1.AttributeSet{Path: strings.Clone(path), Value: value}
	reply := &skerryv1.AttributeValue{Value: value}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_AttributeSet{AttributeSet: set}},
		&skerryv1.PlayerReply{Reply: &skerryv1.PlayerReply_Attribute{Attribute: reply}}, nil
}

func done() *skerryv1.PlayerReply {
	return &skerryv1.PlayerReply{Reply: &skerryv1.PlayerReply_Done{Done: &skerryv1.Done{}}}
}

// pathOf takes a dotted path apart: 1 to 8 names of 1 to 64 bytes, without control characters and brackets.
func pathOf(path, field string) ([]string, error) {
	if len(path) > items.MaxDepth*(maxNameBytes+1) {
		return nil, refuse(ErrTooLarge, field, "has %d bytes, at most %d are allowed", len(path), items.MaxDepth*(maxNameBytes+1))
	}
	names := strings.Split(path, ".")
	if len(names) > items.MaxDepth {
		return nil, refuse(ErrBadRequest, field, "has %d names, at most %d are allowed", len(names), items.MaxDepth)
	}
	for _, name := range names {
		switch {
		case name == "" || len(name) > maxNameBytes:
			return nil, refuse(ErrBadRequest, field, "has a name of %d bytes, not within 1..%d", len(name), maxNameBytes)
		case !utf8.ValidString(name):
			return nil, refuse(ErrBadRequest, field, "is not valid UTF-8")
		case strings.ContainsAny(name, "[]") || strings.ContainsFunc(name, unicode.IsControl):
			return nil, refuse(ErrBadRequest, field, "has brackets or control characters")
		}
	}
	return names, nil
}

// attribute returns the value at names, nil when absent. It refuses a path through something that is no object; null is
// as good as absent.
func attribute(p *skerryv1.Player, names []string, field string) (*structpb.Value, error) {
	object := p.GetAttributes()
	last := len(names) - 1
	for i, name := range names[:last] {
		value := object.GetFields()[name]
		if items.IsNull(value) {
			return nil, nil //nolint:nilnil // absent is a value
		}
		if object = value.GetStructValue(); object == nil {
			return nil, refuse(ErrBadRequest, field, "%.80q is not an object", strings.Join(names[:i+1], "."))
		}
	}
	return object.GetFields()[names[last]], nil
}

// checkAttributes refuses a value that would make the attributes, as compact JSON, larger than the rules allow. A change
// that does not make them larger is always fine. The whole is measured only when it grows.
func (r *Rules) checkAttributes(p *skerryv1.Player, names []string, value *structpb.Value, field string) error {
	grows := growth(p.GetAttributes(), names, value)
	if grows <= 0 {
		return nil
	}
	if size := items.StructSize(p.GetAttributes()) + grows; size > r.attributesBytes() {
		return refuse(ErrTooLarge, field, "would make the attributes %d bytes as JSON, at most %d are allowed", size, r.attributesBytes())
	}
	return nil
}

// growth is by how many bytes object grows as compact JSON when names is set to value; attribute must have allowed it.
func growth(object *structpb.Struct, names []string, value *structpb.Value) int {
	name, rest := names[0], names[1:]
	old, found := object.GetFields()[name]
	if !found {
		comma := min(1, len(object.GetFields()))
		return comma + items.TextSize(name) + 1 + nestedSize(rest, value)
	}
	if len(rest) > 0 && !items.IsNull(old) {
		return growth(old.GetStructValue(), rest, value)
	}
	return nestedSize(rest, value) - items.ValueSize(old)
}

// nestedSize is the size of value inside one new object for each name.
func nestedSize(names []string, value *structpb.Value) int {
	size := items.ValueSize(value)
	for _, name := range names {
		size += 2 + items.TextSize(name) + 1
	}
	return size
}

func evolveAttributeSet(p *skerryv1.Player, e *storev1.AttributeSet) error {
	names := strings.Split(e.GetPath(), ".")
	if _, err := attribute(p, names, "path"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownEvent, err)
	}
	if p.Attributes == nil {
		p.Attributes = &structpb.Struct{}
	}
	object := p.Attributes
	last := len(names) - 1
	for _, name := range names[:last] {
		next := object.GetFields()[name]
		if items.IsNull(next) {
			next = structpb.NewStructValue(&structpb.Struct{})
			put(object, name, next)
		}
		object = next.GetStructValue()
	}
	put(object, names[last], items.CloneValue(e.GetValue()))
	return nil
}

func put(object *structpb.Struct, name string, value *structpb.Value) {
	if object.Fields == nil {
		object.Fields = make(map[string]*structpb.Value)
	}
	object.Fields[name] = value
}

func evolveAttributeRemoved(p *skerryv1.Player, e *storev1.AttributeRemoved) {
	names := strings.Split(e.GetPath(), ".")
	object := p.GetAttributes()
	last := len(names) - 1
	for _, name := range names[:last] {
		object = object.GetFields()[name].GetStructValue()
	}
	delete(object.GetFields(), names[last])
}
