package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// day is a fixed moment for documents in tests.
var day = time.Date(2026, 8, 1, 12, 30, 0, 0, time.UTC)

// object is a JSON object, which must be valid.
func object(fields map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(fields)
	if err != nil {
		panic(err)
	}
	return s
}

// typicalPlayer has 20 of its 36 slots filled and has played for a while.
func typicalPlayer() *skerryv1.Player {
	p := codec.NewPlayer("Annika_2009", day, codec.StandardDefaults())
	p.Profile = &skerryv1.Profile{Level: 17, Experience: 48_211, Coins: 12_450, Gems: 85, ManaCrystals: 12}
	p.Statistics = &skerryv1.Statistics{
		GamesPlayed: 212, EnemiesDefeated: 4_811, CoinsEarned: 190_233, ItemsCollected: 8_120, TotalPlayTime: 412_330,
		BlocksPlaced: 22_011, BlocksBroken: 31_007,
	}
	for i := range 20 {
		stack := &skerryv1.ItemStack{ItemId: int32(i*7 + 1), Count: int32(i*3 + 1), MaxStack: 64} //nolint:gosec // small
		if i < 9 {
			p.Inventory.Hotbar[i] = stack
		} else {
			p.Inventory.Inventory[i-9] = stack
		}
	}
	p.DailyRewards = &skerryv1.DailyRewards{CurrentStreak: 4, LastClaimDate: new("2026-07-31"), TotalDaysClaimed: 61}
	p.DungeonData.MobSpawnerSlots = []*skerryv1.SpawnerSlot{{Slot: 1, Mob: "zombie"}, {Slot: 3, Mob: "skeleton"}}
	return p
}

func typicalEntity() *storev1.Entity {
	return &storev1.Entity{
		Seq: 4711, NewestTimeMs: day.UnixMilli(),
		Sessions: []*storev1.Session{{Token: "tok", Server: "s1", Incarnation: "i", OpenedMs: day.UnixMilli(), NewestId: 9, Number: 3}},
		Outcomes: []byte{13, 0x08, 3, 0x10, 9, 0x19, 77, 0, 0, 0, 0, 0, 0, 0}, OutcomeCount: 1,
		Document: &storev1.Entity_Player{Player: typicalPlayer()},
	}
}

func TestEntityComesBack(t *testing.T) {
	bare := &storev1.Entity{Seq: 1, Document: &storev1.Entity_Player{Player: codec.NewPlayer("", day, codec.Defaults{})}}
	server := &storev1.Entity{Seq: 2, Document: &storev1.Entity_Server{Server: &storev1.Server{Incarnation: "i1", Players: 7}}}
	large := typicalEntity()
	large.GetPlayer().Attributes = object(map[string]any{"text": string(bytes.Repeat([]byte("abc "), 12_000)), "list": []any{1, nil, true}})
	for name, want := range map[string]*storev1.Entity{
		"nothing": {}, "bare": bare, "server": server, "typical": typicalEntity(), "large": large,
	} {
		framed, err := codec.EncodeEntity(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := codec.DecodeEntity(framed)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v came back as %v (%v)", name, want, got, err)
		}
	}
}

func TestEntitySharesNoMemoryWithItsBytes(t *testing.T) {
	for _, compress := range []bool{false, true} {
		want := typicalEntity()
		if compress {
			want.GetPlayer().Attributes = object(map[string]any{"text": string(bytes.Repeat([]byte("abc "), 1000))})
		}
		framed, err := codec.EncodeEntity(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec.DecodeEntity(framed)
		if err != nil {
			t.Fatal(err)
		}
		clear(framed)
		for range 4 { // whoever decodes next uses the same scratch memory
			other := typicalEntity()
			other.GetPlayer().Attributes = object(map[string]any{"text": string(bytes.Repeat([]byte("xyz "), 1000))})
			if framed, err = codec.EncodeEntity(other); err != nil {
				t.Fatal(err)
			}
			if _, err = codec.DecodeEntity(framed); err != nil {
				t.Fatal(err)
			}
		}
		if !proto.Equal(got, want) {
			t.Fatalf("compress=%v: the entity changed under its reader", compress)
		}
	}
}

func TestEntityKeepsUnknownFieldsOfItsDocument(t *testing.T) {
	e := typicalEntity()
	extra := protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 5)
	e.GetPlayer().ProtoReflect().SetUnknown(extra)
	framed, err := codec.EncodeEntity(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := codec.DecodeEntity(framed)
	if err != nil || !bytes.Equal(got.GetPlayer().ProtoReflect().GetUnknown(), extra) {
		t.Fatalf("unknown field %x came back as %x (%v)", extra, got.GetPlayer().ProtoReflect().GetUnknown(), err)
	}
}

func TestEntityRefuses(t *testing.T) {
	newer := typicalEntity()
	newer.GetPlayer().Version = codec.PlayerVersion + 1
	room := &storev1.Entity{Seq: 1}
	room.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("room")))
	for _, c := range []struct {
		name   string
		framed []byte
		want   error
	}{
		{"a newer document", must(codec.EncodeEntity(newer)), codec.ErrNewer},
		{"an unknown kind of document", must(codec.EncodeEntity(room)), codec.ErrNewer},
		{"an entry", must(codec.EncodeEntry(&storev1.Entry{})), codec.ErrMalformed},
		{"no message", frame(t, codec.FormatEntity, codec.Plain, []byte{0xff, 0xff}), codec.ErrMalformed},
		{"nothing", nil, codec.ErrMalformed},
	} {
		if e, err := codec.DecodeEntity(c.framed); !errors.Is(err, c.want) || e != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, e, err, c.want)
		}
	}
	huge := typicalEntity()
	huge.GetPlayer().Name = string(make([]byte, codec.MaxValueBytes))
	if _, err := codec.EncodeEntity(huge); !errors.Is(err, codec.ErrTooLarge) {
		t.Errorf("over the limit: %v, want ErrTooLarge", err)
	}
}

func must(framed []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return framed
}

// events returns one filled event of every kind that the schema has, by field name.
func events(tb testing.TB) map[string]*storev1.PlayerEvent {
	tb.Helper()
	all := map[string]*storev1.PlayerEvent{}
	for _, e := range []*storev1.PlayerEvent{
		{Event: &storev1.PlayerEvent_Created{Created: typicalPlayer()}},
		{Event: &storev1.PlayerEvent_DocumentReplaced{DocumentReplaced: typicalPlayer()}},
		{Event: &storev1.PlayerEvent_BalanceChanged{BalanceChanged: &storev1.BalanceChanged{
			Currency: skerryv1.Currency_COINS, Balance: 150, CoinsEarned: 50,
		}}},
		{Event: &storev1.PlayerEvent_ExperienceChanged{ExperienceChanged: &storev1.ExperienceChanged{Level: 2, Experience: 120}}},
		{Event: &storev1.PlayerEvent_StatisticsChanged{StatisticsChanged: &storev1.StatisticsChanged{
			Statistics: typicalPlayer().GetStatistics(),
		}}},
		{Event: &storev1.PlayerEvent_SlotsChanged{SlotsChanged: &storev1.SlotsChanged{ItemsCollected: 3, Slots: []*skerryv1.Slot{{
			Container: skerryv1.Container_HOTBAR, Index: 2,
			Stack: &skerryv1.ItemStack{ItemId: 5, Count: 3, MaxStack: 64, Metadata: object(map[string]any{"sharp": 2})},
		}}}}},
		{Event: &storev1.PlayerEvent_DailyRewardClaimed{DailyRewardClaimed: &storev1.DailyRewardClaimed{
			DailyRewards: typicalPlayer().GetDailyRewards(), Coins: 200, CoinsEarned: 50,
		}}},
		{Event: &storev1.PlayerEvent_SettingsChanged{SettingsChanged: &storev1.SettingsChanged{
			Settings: &skerryv1.Settings{MusicVolume: 0.25, SoundVolume: 0.5, EnableNotifications: true},
		}}},
		{Event: &storev1.PlayerEvent_SpawnerSlotSet{SpawnerSlotSet: &storev1.SpawnerSlotSet{
			Slot: &skerryv1.SpawnerSlot{Slot: 4, Mob: "zombie", Metadata: object(map[string]any{"level": 3})},
		}}},
		{Event: &storev1.PlayerEvent_SpawnerSlotCleared{SpawnerSlotCleared: &storev1.SpawnerSlotCleared{Slot: 4}}},
		{Event: &storev1.PlayerEvent_AttributeSet{AttributeSet: &storev1.AttributeSet{
			Path: "quest.step", Value: structpb.NewNumberValue(3),
		}}},
		{Event: &storev1.PlayerEvent_AttributeRemoved{AttributeRemoved: &storev1.AttributeRemoved{Path: "quest.step"}}},
		{Event: &storev1.PlayerEvent_Renamed{Renamed: &storev1.Renamed{Name: "Ann"}}},
		{Event: &storev1.PlayerEvent_LoggedIn{LoggedIn: &storev1.LoggedIn{TimeMs: day.UnixMilli(), Name: "Ann", GamesPlayed: 8}}},
	} {
		m := e.ProtoReflect()
		all[string(m.WhichOneof(m.Descriptor().Oneofs().ByName("event")).Name())] = e
	}
	fields := (&storev1.PlayerEvent{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); all[name] == nil {
			tb.Fatalf("the schema has an event %s that this list does not have", name)
		}
	}
	return all
}

// Goal: each event the schema has is read, and is refused once it has anything this build does not know.
func TestEntryKnowsEveryEvent(t *testing.T) {
	extra := protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 5)
	for name, event := range events(t) {
		t.Run(name, func(t *testing.T) {
			want := &storev1.Entry{TimeMs: day.UnixMilli(), PlayerEvents: []*storev1.PlayerEvent{event}}
			got, err := codec.DecodeEntry(must(codec.EncodeEntry(want)))
			if err != nil || !proto.Equal(got, want) {
				t.Fatalf("%v came back as %v (%v)", want, got, err)
			}
			body := event.ProtoReflect().Get(event.ProtoReflect().WhichOneof(
				event.ProtoReflect().Descriptor().Oneofs().ByName("event"))).Message()
			body.SetUnknown(extra)
			_, err = codec.DecodeEntry(must(codec.EncodeEntry(want)))
			if _, document := body.Interface().(*skerryv1.Player); document {
				if err != nil { // an unknown field of a document is kept
					t.Fatalf("a document with an unknown field: %v, want none", err)
				}
			} else if !errors.Is(err, codec.ErrNewer) {
				t.Fatalf("an unknown field: %v, want ErrNewer", err)
			}
		})
	}
}

func TestEntryRefuses(t *testing.T) {
	extra := protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 5)
	unknownField := func(m proto.Message) { m.ProtoReflect().SetUnknown(extra) }
	entry := &storev1.Entry{}
	unknownField(entry)
	event := &storev1.PlayerEvent{}
	unknownField(event)
	known := &storev1.PlayerEvent{Event: &storev1.PlayerEvent_Renamed{Renamed: &storev1.Renamed{Name: "Ann"}}}
	both := proto.CloneOf(known)
	unknownField(both)
	newer := typicalPlayer()
	newer.Version = codec.PlayerVersion + 1
	change := &storev1.ServerChange{}
	unknownField(change)
	registered := &storev1.Server{}
	unknownField(registered)

	players := func(events ...*storev1.PlayerEvent) []byte {
		return must(codec.EncodeEntry(&storev1.Entry{PlayerEvents: events}))
	}
	servers := func(changes ...*storev1.ServerChange) []byte {
		return must(codec.EncodeEntry(&storev1.Entry{ServerChanges: changes}))
	}
	for _, c := range []struct {
		name   string
		framed []byte
		want   error
	}{
		{"an unknown field of the entry", must(codec.EncodeEntry(entry)), codec.ErrNewer},
		{"an unknown event", players(known, event), codec.ErrNewer},
		{"an event with nothing in it", players(&storev1.PlayerEvent{}), codec.ErrNewer},
		{"an event and an unknown one beside it", players(both), codec.ErrNewer},
		{"a document of a newer version", players(&storev1.PlayerEvent{Event: &storev1.PlayerEvent_Created{Created: newer}}), codec.ErrNewer},
		{"a replaced document of a newer version", players(&storev1.PlayerEvent{
			Event: &storev1.PlayerEvent_DocumentReplaced{DocumentReplaced: newer},
		}), codec.ErrNewer},
		{"an unknown change of a server", servers(change), codec.ErrNewer},
		{"an empty change of a server", servers(&storev1.ServerChange{}), codec.ErrNewer},
		{"an unknown field of a server", servers(&storev1.ServerChange{
			Event: &storev1.ServerChange_Registered{Registered: registered},
		}), codec.ErrNewer},
		{"an entity", must(codec.EncodeEntity(typicalEntity())), codec.ErrMalformed},
		{"no message", frame(t, codec.FormatEntry, codec.Plain, []byte{0xff, 0xff}), codec.ErrMalformed},
	} {
		if e, err := codec.DecodeEntry(c.framed); !errors.Is(err, c.want) || e != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, e, err, c.want)
		}
	}
}

func FuzzDecodeEntity(f *testing.F) {
	f.Add([]byte{})
	f.Add(must(typicalEntity().MarshalVT()))
	f.Add(must((&storev1.Entity{Seq: 12, Document: &storev1.Entity_World{World: typicalWorld()}}).MarshalVT()))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := codec.DecodeEntity(frame(t, codec.FormatEntity, codec.Plain, data))
		if err != nil {
			mustRefuse(t, err)
			return
		}
		again, err := codec.DecodeEntity(must(codec.EncodeEntity(e)))
		if err != nil || !sameBytes(e, again) {
			t.Fatalf("%v, encoded and decoded again: %v (%v)", e, again, err)
		}
		if err := codec.Migrate(e.GetPlayer(), codec.StandardDefaults()); err != nil {
			t.Fatalf("a decoded document does not migrate: %v", err)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{})
	for _, event := range events(f) {
		f.Add(must((&storev1.Entry{TimeMs: 1, PlayerEvents: []*storev1.PlayerEvent{event}}).MarshalVT()))
	}
	for _, event := range worldEvents(f) {
		f.Add(must((&storev1.Entry{TimeMs: 1, WorldEvents: []*storev1.WorldEvent{event}}).MarshalVT()))
	}
	for _, event := range transferEvents(f) {
		f.Add(must((&storev1.Entry{TimeMs: 1, TransferEvents: []*storev1.TransferEvent{event}}).MarshalVT()))
	}
	f.Add(must((&storev1.Entry{ServerChanges: []*storev1.ServerChange{{Event: &storev1.ServerChange_Closed{Closed: "dead"}}}}).MarshalVT()))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := codec.DecodeEntry(frame(t, codec.FormatEntry, codec.Plain, data))
		if err != nil {
			mustRefuse(t, err)
			return
		}
		again, err := codec.DecodeEntry(must(codec.EncodeEntry(e)))
		if err != nil || !sameBytes(e, again) {
			t.Fatalf("%v, encoded and decoded again: %v (%v)", e, again, err)
		}
	})
}

// sameBytes reports whether a and b are the same message. It compares text, since NaN is not equal to itself.
func sameBytes(a, b proto.Message) bool {
	return proto.Equal(a, b) || fmt.Sprint(a) == fmt.Sprint(b)
}
