package codec_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// typicalWorld has an owner, two builders and a few named blocks.
func typicalWorld() *skerryv1.World {
	return &skerryv1.World{
		Version: codec.WorldVersion, OwnerId: "1001", OwnerName: "Ann", Created: timestamppb.New(day), Seed: 426860,
		Generator:  &skerryv1.Generator{Name: "v7", Version: "1"},
		Metadata:   &skerryv1.WorldMetadata{Name: "Ann's World", Description: "A player-owned world"},
		MinY:       -64,
		Height:     256,
		BlockNames: []string{"air", "stone", "dirt", "", "grass"},
		Roles:      map[string]skerryv1.Role{"1002": skerryv1.Role_BUILDER},
	}
}

// worldEvents returns one filled event of every kind that the schema has, by field name.
func worldEvents(tb testing.TB) map[string]*storev1.WorldEvent {
	tb.Helper()
	stack := &skerryv1.ItemStack{ItemId: 5, Count: 3, MaxStack: 64, Metadata: object(map[string]any{"sharp": 2})}
	all := map[string]*storev1.WorldEvent{}
	for _, e := range []*storev1.WorldEvent{
		{Event: &storev1.WorldEvent_Created{Created: typicalWorld()}},
		{Event: &storev1.WorldEvent_OwnerChanged{OwnerChanged: &storev1.OwnerChanged{OwnerId: "1003", OwnerName: "Bob"}}},
		{Event: &storev1.WorldEvent_RoleChanged{RoleChanged: &storev1.RoleChanged{Player: "1002", Role: skerryv1.Role_BUILDER}}},
		{Event: &storev1.WorldEvent_Renamed{Renamed: &storev1.Renamed{Name: "Home"}}},
		{Event: &storev1.WorldEvent_Described{Described: &storev1.Described{Description: "a place"}}},
		{X: -3, Z: 17, Event: &storev1.WorldEvent_BlocksEdited{BlocksEdited: &storev1.BlocksEdited{Edits: []byte{0x10, 1, 2, 6}}}},
		{X: -3, Z: 17, Event: &storev1.WorldEvent_ChunkReplaced{ChunkReplaced: &storev1.ChunkReplaced{
			Blocks: &storev1.ChunkReplaced_Edits{Edits: []byte{0x10, 1, 2, 6}}, HeightMap: []int32{1, -2, 3},
		}}},
		{X: -3, Z: 17, Event: &storev1.WorldEvent_ChunkCleared{ChunkCleared: &storev1.ChunkCleared{}}},
		{X: -3, Z: 17, Event: &storev1.WorldEvent_ChestPlaced{ChestPlaced: &storev1.ChestPlaced{At: 16000, Slots: 27}}},
		{X: -3, Z: 17, Event: &storev1.WorldEvent_ChestRemoved{ChestRemoved: &storev1.ChestRemoved{At: 16000}}},
		{X: -3, Z: 17, Event: &storev1.WorldEvent_ChestSlotsSet{ChestSlotsSet: &storev1.ChestSlotsSet{
			At: 16000, Slots: []*storev1.StackAt{{Index: 4, Stack: stack}, {Index: 5}},
		}}},
		{X: -3, Z: 17, Event: &storev1.WorldEvent_Transfer{Transfer: transferEvents(tb)["received"]}},
	} {
		m := e.ProtoReflect()
		all[string(m.WhichOneof(m.Descriptor().Oneofs().ByName("event")).Name())] = e
	}
	fields := (&storev1.WorldEvent{}).ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); all[name] == nil {
			tb.Fatalf("the schema has an event %s that this list does not have", name)
		}
	}
	return all
}

// unknownField is a field that no schema has.
func unknownField() protoreflect.RawFields {
	return protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 5)
}

// Goal: each event the schema has is read, and is refused once it has anything this build does not know.
func TestEntryKnowsEveryWorldEvent(t *testing.T) {
	for name, event := range worldEvents(t) {
		t.Run(name, func(t *testing.T) {
			want := &storev1.Entry{TimeMs: day.UnixMilli(), WorldEvents: []*storev1.WorldEvent{event}}
			got, err := codec.DecodeEntry(must(codec.EncodeEntry(want)))
			if err != nil || !proto.Equal(got, want) {
				t.Fatalf("%v came back as %v (%v)", want, got, err)
			}
			body := event.ProtoReflect().Get(event.ProtoReflect().WhichOneof(
				event.ProtoReflect().Descriptor().Oneofs().ByName("event"))).Message()
			body.SetUnknown(unknownField())
			_, err = codec.DecodeEntry(must(codec.EncodeEntry(want)))
			if _, document := body.Interface().(*skerryv1.World); document {
				if err != nil { // an unknown field of a document is kept
					t.Fatalf("a document with an unknown field: %v, want none", err)
				}
			} else if !errors.Is(err, codec.ErrNewer) {
				t.Fatalf("an unknown field: %v, want ErrNewer", err)
			}
		})
	}
}

func TestEntryRefusesWorldEvents(t *testing.T) {
	newer, negative := typicalWorld(), typicalWorld()
	newer.Version, negative.Version = codec.WorldVersion+1, -1
	known := worldEvents(t)["renamed"]
	both, slot := worldEvents(t)["renamed"], worldEvents(t)["chest_slots_set"]
	both.ProtoReflect().SetUnknown(unknownField())
	slot.GetChestSlotsSet().GetSlots()[1].ProtoReflect().SetUnknown(unknownField())
	for _, c := range []struct {
		name   string
		events []*storev1.WorldEvent
		want   error
	}{
		{"an empty event", []*storev1.WorldEvent{known, {}}, codec.ErrNewer},
		{"an event and an unknown one beside it", []*storev1.WorldEvent{both}, codec.ErrNewer},
		{"an unknown field of a slot", []*storev1.WorldEvent{slot}, codec.ErrNewer},
		{"a chunk replaced by what is unknown", []*storev1.WorldEvent{{Event: &storev1.WorldEvent_ChunkReplaced{ChunkReplaced: &storev1.ChunkReplaced{}}}}, codec.ErrNewer},
		{"a document of a newer version", []*storev1.WorldEvent{{Event: &storev1.WorldEvent_Created{Created: newer}}}, codec.ErrNewer},
		{"a document of a negative version", []*storev1.WorldEvent{{Event: &storev1.WorldEvent_Created{Created: negative}}}, codec.ErrMalformed},
	} {
		e, err := codec.DecodeEntry(must(codec.EncodeEntry(&storev1.Entry{WorldEvents: c.events})))
		if !errors.Is(err, c.want) || e != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, e, err, c.want)
		}
	}
	for _, w := range []*skerryv1.World{newer, negative} {
		e, err := codec.DecodeEntity(must(codec.EncodeEntity(&storev1.Entity{Seq: 1, Document: &storev1.Entity_World{World: w}})))
		if err == nil || e != nil {
			t.Errorf("a world of version %d at rest: %v, %v", w.GetVersion(), e, err)
		}
	}
}
