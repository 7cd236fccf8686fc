package codec_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// transferEvents returns one filled event of every kind that the schema has, by field name.
func transferEvents(tb testing.TB) map[string]*storev1.TransferEvent {
	tb.Helper()
	stack := &skerryv1.ItemStack{ItemId: 5, Count: 3, MaxStack: 64, Metadata: object(map[string]any{"sharp": 2})}
	slot := &skerryv1.SlotRef{Container: skerryv1.Container_HOTBAR, Index: 2}
	ann := &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Player{Player: "ann"}}
	chest := &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Chest{Chest: &skerryv1.ChestRef{World: "1001", X: -3, Y: 64, Z: 7}}}
	request := &skerryv1.CreateTransferRequest{Id: "t1", Legs: []*skerryv1.TransferLeg{
		{From: ann, To: chest, What: &skerryv1.TransferLeg_Item{Item: &skerryv1.TransferItem{Slot: slot, Count: 3}}},
		{From: chest, To: ann, What: &skerryv1.TransferLeg_Item{Item: &skerryv1.TransferItem{ItemId: 9, Count: 1}}},
	}}
	refused := &skerryv1.Error{Code: "INVENTORY_FULL", Message: "it is full"}
	all := map[string]*storev1.TransferEvent{}
	for _, e := range []*storev1.TransferEvent{
		{Event: &storev1.TransferEvent_Held{Held: &storev1.Hold{
			Transfer: "t1", SinceMs: day.UnixMilli(), Request: request, Seq: 7, Status: skerryv1.TransferStatus_TRANSFER_OPEN,
			Legs: []*storev1.HeldLeg{
				{Slot: slot, Stack: stack},
				{Leg: 1, Slot: &skerryv1.SlotRef{Container: skerryv1.Container_INVENTORY, Index: 4}, Incoming: true},
				{Leg: 2, Currency: skerryv1.Currency_GEMS, Amount: 5},
			},
		}}},
		{Event: &storev1.TransferEvent_Ended{Ended: &storev1.HoldEnded{Seq: 7, Status: skerryv1.TransferStatus_TRANSFER_RETURNED, Error: refused}}},
		{Event: &storev1.TransferEvent_Dropped{Dropped: &storev1.HoldDropped{Seq: 7}}},
		{Event: &storev1.TransferEvent_Received{Received: &storev1.Received{
			Transfer: "t1", AtMs: day.UnixMilli(), From: "ann", HoldSeq: 7, SinceMs: day.UnixMilli(),
			Legs: []*storev1.HeldLeg{{Leg: 1, Stack: stack}},
		}}},
		{Event: &storev1.TransferEvent_Closed{Closed: &storev1.ReceivedClosed{From: "ann", HoldSeq: 7}}},
	} {
		m := e.ProtoReflect()
		all[string(m.WhichOneof(m.Descriptor().Oneofs().ByName("event")).Name())] = e
	}
	fields := (&storev1.TransferEvent{}).ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); all[name] == nil {
			tb.Fatalf("the schema has an event %s that this list does not have", name)
		}
	}
	return all
}

// Goal: each step of a transfer is read, of a player and of a chest, and refused once it has anything that this build does not know.
func TestEntryKnowsEveryTransferEvent(t *testing.T) {
	for name := range transferEvents(t) {
		t.Run(name, func(t *testing.T) {
			for _, chest := range []bool{false, true} {
				event := transferEvents(t)[name]
				want := &storev1.Entry{TimeMs: day.UnixMilli()}
				if chest {
					want.WorldEvents = []*storev1.WorldEvent{{X: 1, Event: &storev1.WorldEvent_Transfer{Transfer: event}}}
				} else {
					want.TransferEvents = []*storev1.TransferEvent{event}
				}
				got, err := codec.DecodeEntry(must(codec.EncodeEntry(want)))
				if err != nil || !proto.Equal(got, want) {
					t.Fatalf("%v came back as %v (%v)", want, got, err)
				}
				m := event.ProtoReflect()
				m.Get(m.WhichOneof(m.Descriptor().Oneofs().ByName("event"))).Message().SetUnknown(unknownField())
				if _, err = codec.DecodeEntry(must(codec.EncodeEntry(want))); !errors.Is(err, codec.ErrNewer) {
					t.Fatalf("an unknown field: %v, want ErrNewer", err)
				}
			}
		})
	}
	held, received := transferEvents(t)["held"], transferEvents(t)["received"]
	held.GetHeld().GetLegs()[1].ProtoReflect().SetUnknown(unknownField())
	received.GetReceived().GetLegs()[0].ProtoReflect().SetUnknown(unknownField())
	for name, event := range map[string]*storev1.TransferEvent{"nothing": {}, "a leg held": held, "a leg received": received} {
		e, err := codec.DecodeEntry(must(codec.EncodeEntry(&storev1.Entry{TransferEvents: []*storev1.TransferEvent{event}})))
		if !errors.Is(err, codec.ErrNewer) || e != nil {
			t.Errorf("%s: %v, %v; want ErrNewer", name, e, err)
		}
	}
}
