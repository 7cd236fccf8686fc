package codec

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// WorldFromOriginal makes a world of the head of a document in the original's JSON: everything but its chunks and chests,
// which codec/worldjson reads. Missing fields stay at their zeros. created is not taken over: a world is created when it is
// imported. It returns a [FieldError] that names the first field that is bad or unknown, and [ErrNewer] when the document's
// version is above 1. Whether the result is a world, the rules say. It shares no memory with doc.
func WorldFromOriginal(doc *structpb.Struct) (*skerryv1.Create, error) {
	if err := CheckText(doc); err != nil {
		return nil, err
	}
	var err error
	root := (&object{err: &err}).asObject("", structpb.NewStructValue(doc))
	if version := root.integer("version", 1, 0, math.MaxInt32); version > 1 {
		return nil, fmt.Errorf("%w: the original's world of version %d, this build knows 1", ErrNewer, version)
	}
	create := &skerryv1.Create{OwnerName: root.text("ownerName")}
	if root.has("ownerId") {
		create.OwnerId = new(root.id("ownerId"))
	}
	if root.has("seed") {
		create.Seed = new(root.integer("seed", 0, math.MinInt64, math.MaxInt64))
	}
	if generator := root.object("generator"); len(generator.fields) > 0 {
		create.Generator = &skerryv1.Generator{Name: generator.text("name"), Version: generator.text("version")}
		generator.end()
	}
	if metadata := root.object("metadata"); len(metadata.fields) > 0 {
		create.Metadata = &skerryv1.WorldMetadata{Name: metadata.text("name"), Description: metadata.text("description")}
		metadata.end()
	}
	create.MinY = int32(root.integer("minY", 0, math.MinInt32, math.MaxInt32)) //nolint:gosec // within the bounds given
	create.Height = root.count("height", 0, 0)
	for i, v := range root.take("blockNames").GetListValue().GetValues() {
		if _, isText := v.GetKind().(*structpb.Value_StringValue); !isText {
			root.bad(fmt.Sprintf("blockNames[%d]", i), "is not a string")
		}
		create.BlockNames = append(create.BlockNames, v.GetStringValue())
	}
	roles := root.object("roles")
	for player := range roles.fields {
		if create.Roles == nil {
			create.Roles = map[string]skerryv1.Role{}
		}
		create.Roles[player] = skerryv1.Role(skerryv1.Role_value[roles.text(player)])
	}
	root.time("created")
	root.time("lastSaved")
	root.end()
	if err != nil {
		return nil, err
	}
	return create, nil
}

// WorldToOriginal returns w in the original's JSON, without chunks and chests.
func WorldToOriginal(w *skerryv1.World) *structpb.Struct {
	names := &structpb.ListValue{}
	for _, name := range w.GetBlockNames() {
		names.Values = append(names.Values, structpb.NewStringValue(name))
	}
	roles := map[string]*structpb.Value{}
	for player, role := range w.GetRoles() {
		roles[player] = structpb.NewStringValue(role.String())
	}
	fields := map[string]*structpb.Value{
		"version":   integer(1),
		"ownerId":   structpb.NewStringValue(w.GetOwnerId()),
		"ownerName": structpb.NewStringValue(w.GetOwnerName()),
		"seed":      integer(w.GetSeed()),
		"generator": objectOf(map[string]*structpb.Value{
			"name":    structpb.NewStringValue(w.GetGenerator().GetName()),
			"version": structpb.NewStringValue(w.GetGenerator().GetVersion()),
		}),
		"metadata": objectOf(map[string]*structpb.Value{
			"name":        structpb.NewStringValue(w.GetMetadata().GetName()),
			"description": structpb.NewStringValue(w.GetMetadata().GetDescription()),
		}),
		"minY":       integer(int64(w.GetMinY())),
		"height":     integer(int64(w.GetHeight())),
		"blockNames": structpb.NewListValue(names),
		"roles":      objectOf(roles),
	}
	for name, at := range map[string]*timestamppb.Timestamp{"created": w.GetCreated(), "lastSaved": w.GetLastSaved()} {
		if at != nil {
			fields[name] = structpb.NewNumberValue(float64(at.AsTime().UnixMilli()) / 1000)
		}
	}
	return &structpb.Struct{Fields: fields}
}

// ChestFromOriginal reads a chest of the original's JSON, whose slots are an array with nulls, or an object with the numbers
// from 1 as names. It has the slots up to the last one that is not empty.
func ChestFromOriginal(doc *structpb.Struct) (*skerryv1.Chest, error) {
	if err := CheckText(doc); err != nil {
		return nil, err
	}
	var err error
	root := (&object{err: &err}).asObject("", structpb.NewStructValue(doc))
	chest := &skerryv1.Chest{}
	for _, field := range []struct {
		name string
		into *int32
	}{{"x", &chest.X}, {"y", &chest.Y}, {"z", &chest.Z}} {
		if !root.has(field.name) {
			root.bad(field.name, "is missing")
		}
		*field.into = int32(root.integer(field.name, 0, math.MinInt32, math.MaxInt32)) //nolint:gosec // within the bounds given
	}
	chest.Slots = originalSlots(root, "slots", 0)
	root.text("key")
	root.end()
	if err != nil {
		return nil, err
	}
	return chest, nil
}

// ChestToOriginal returns a chest in the original's JSON: all slots as an array without nulls.
func ChestToOriginal(chest *skerryv1.Chest) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"x": integer(int64(chest.GetX())), "y": integer(int64(chest.GetY())), "z": integer(int64(chest.GetZ())),
		"slots": stacksToOriginal(chest.GetSlots()),
	}}
}

// id returns a field that is a player's id, which the original keeps as a number or a string.
func (o *object) id(name string) string {
	if _, isNumber := o.fields[name].GetKind().(*structpb.Value_NumberValue); isNumber {
		return fmt.Sprint(o.integer(name, 0, 0, maxExact))
	}
	return o.text(name)
}

// end complains of a field that was not read.
func (o *object) end() {
	for name := range o.fields {
		o.bad(name, "is unknown")
	}
}
