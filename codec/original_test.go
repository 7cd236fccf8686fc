package codec_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// parse returns the JSON object in text.
func parse(tb testing.TB, text string) *structpb.Struct {
	tb.Helper()
	doc := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(text), doc); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return doc
}

// whole is a document with everything in it, as a data store gave it.
const whole = `{"version": 1,
	"profile": {"level": 7, "experience": 320, "coins": 1250, "gems": 3, "manaCrystals": 2},
	"statistics": {"gamesPlayed": 12, "enemiesDefeated": 40, "coinsEarned": 5000, "itemsCollected": 77,
		"totalPlayTime": 3600.75, "blocksPlaced": 10, "blocksBroken": "11"},
	"inventory": {
		"hotbar": [{"itemId": 5, "count": 3, "maxStack": 16}, null, {"itemId": 0, "count": 0}, {"itemId": 9, "count": 1, "maxStack": 1,
			"metadata": {"name": "Excalibur"}, "durability": 40}],
		"inventory": {"1": {"itemId": 2, "count": 64}, "27": {"itemId": 3, "count": 99}, "4": []}},
	"dailyRewards": {"currentStreak": 2, "lastClaimDate": "2026-07-31", "totalDaysClaimed": 30},
	"dungeonData": {"mobSpawnerSlots": {"10": "skeleton", "2": {"mob": "zombie", "level": 4}, "3": {}}},
	"settings": {"musicVolume": 0.5, "soundVolume": 0, "enableNotifications": false},
	"createdAt": 1700000000, "lastLogin": "2026-08-01T12:30:00.5+02:00", "lastSave": 1700000001,
	"pets": [{"kind": "dog"}], "attributes": {"quest": {"step": 2}}}`

func TestPlayerFromOriginalReadsAWholeDocument(t *testing.T) {
	want := codec.NewPlayer("", day, codec.StandardDefaults())
	want.Profile = &skerryv1.Profile{Level: 7, Experience: 320, Coins: 1250, Gems: 3, ManaCrystals: 2}
	want.Statistics = &skerryv1.Statistics{
		GamesPlayed: 12, EnemiesDefeated: 40, CoinsEarned: 5000, ItemsCollected: 77, TotalPlayTime: 3600, BlocksPlaced: 10, BlocksBroken: 11,
	}
	want.Inventory.Hotbar[0] = &skerryv1.ItemStack{ItemId: 5, Count: 3, MaxStack: 16}
	want.Inventory.Hotbar[3] = &skerryv1.ItemStack{
		ItemId: 9, Count: 1, MaxStack: 1, Metadata: object(map[string]any{"name": "Excalibur", "durability": 40}),
	}
	want.Inventory.Inventory[0] = &skerryv1.ItemStack{ItemId: 2, Count: 64, MaxStack: 64}
	want.Inventory.Inventory[26] = &skerryv1.ItemStack{ItemId: 3, Count: 99, MaxStack: 99}
	want.DailyRewards = &skerryv1.DailyRewards{CurrentStreak: 2, LastClaimDate: new("2026-07-31"), TotalDaysClaimed: 30}
	want.DungeonData.MobSpawnerSlots = []*skerryv1.SpawnerSlot{
		{Slot: 1, Mob: "zombie", Metadata: object(map[string]any{"level": 4})}, {Slot: 9, Mob: "skeleton"},
	}
	want.Settings = &skerryv1.Settings{MusicVolume: 0.5}
	want.CreatedAt = timestamppb.New(time.Unix(1_700_000_000, 0))
	want.LastLogin = timestamppb.New(time.Date(2026, 8, 1, 10, 30, 0, 5e8, time.UTC))
	want.Attributes = object(map[string]any{"pets": []any{map[string]any{"kind": "dog"}}, "quest": map[string]any{"step": 2}})

	doc := parse(t, whole)
	before := proto.CloneOf(doc)
	got, err := codec.PlayerFromOriginal(doc, codec.StandardDefaults())
	if err != nil || !proto.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v\n(%v)", got, want, err)
	}
	got.Attributes.Fields["pets"].GetListValue().Values[0] = structpb.NewNullValue()
	got.Inventory.Hotbar[3].Metadata.Fields["name"] = structpb.NewNullValue()
	if !proto.Equal(doc, before) {
		t.Error("changing the player changed the document it came from")
	}
}

func TestPlayerFromOriginalFillsWhatIsMissing(t *testing.T) {
	want := codec.NewPlayer("", day, codec.StandardDefaults())
	want.CreatedAt, want.LastLogin = nil, nil
	for _, text := range []string{
		`{}`, `{"version": 0}`, `{"profile": {}, "inventory": {"hotbar": {}, "inventory": []}, "settings": null, "statistics": []}`,
		`{"profile": [], "dailyRewards": {"lastClaimDate": ""}, "dungeonData": {"mobSpawnerSlots": []}, "createdAt": 0, "lastLogin": ""}`,
		`{"dailyRewards": {"lastClaimDate": null}, "inventory": {"hotbar": [{"itemId": 0, "count": 0, "maxStack": 64}, null, []]}}`,
	} {
		got, err := codec.PlayerFromOriginal(parse(t, text), codec.StandardDefaults())
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v (%v), want %v", text, got, err, want)
		}
	}
	want.Profile.Coins = 5
	got, err := codec.PlayerFromOriginal(parse(t, `{"profile": {"coins": 5}}`), codec.StandardDefaults())
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("one field: %v (%v), want the others to be defaults", got, err)
	}
}

func TestPlayerFromOriginalReadsClaimDates(t *testing.T) {
	for text, want := range map[string]string{
		`"2026-07-31"`: "2026-07-31", `1785542399`: "2026-07-31", `1785542400`: "2026-08-01",
		`"2026-08-01T01:00:00+02:00"`: "2026-07-31", `0`: "", `""`: "", `null`: "",
	} {
		p, err := codec.PlayerFromOriginal(parse(t, `{"dailyRewards": {"lastClaimDate": `+text+`}}`), codec.StandardDefaults())
		if err != nil || p.GetDailyRewards().GetLastClaimDate() != want || (p.DailyRewards.LastClaimDate == nil) != (want == "") {
			t.Errorf("%s: %q (%v), want %q", text, p.GetDailyRewards().GetLastClaimDate(), err, want)
		}
	}
}

func TestPlayerFromOriginalKeepsWhatItDoesNotKnow(t *testing.T) {
	got, err := codec.PlayerFromOriginal(parse(t, `{"pets": [1], "profile": {"clan": "red", "level": 2}, "dungeonData": {"depth": 3},
		"attributes": {"profile": {"title": "sir"}}}`), codec.StandardDefaults())
	want := object(map[string]any{
		"pets": []any{1}, "profile": map[string]any{"clan": "red", "title": "sir"}, "dungeonData": map[string]any{"depth": 3},
	})
	if err != nil || !proto.Equal(got.GetAttributes(), want) {
		t.Errorf("%v (%v), want %v", got.GetAttributes(), err, want)
	}
	got, err = codec.PlayerFromOriginal(parse(t, `{"inventory": {"hotbar": {"12": {"itemId": 1, "count": 1}}}}`), codec.StandardDefaults())
	if err != nil || len(got.GetInventory().GetHotbar()) != 12 || got.GetInventory().GetHotbar()[11].GetItemId() != 1 {
		t.Errorf("an item beyond the usual slots: %v (%v)", got.GetInventory(), err)
	}
}

func TestPlayerFromOriginalNamesTheBadField(t *testing.T) {
	for text, field := range map[string]string{
		`{"version": "x"}`:                                        "version",
		`{"version": -1}`:                                         "version",
		`{"name": 5}`:                                             "name",
		`{"profile": 5}`:                                          "profile",
		`{"profile": [1]}`:                                        "profile",
		`{"profile": {"level": 0}}`:                               "profile.level",
		`{"profile": {"coins": -1}}`:                              "profile.coins",
		`{"profile": {"coins": 1.5}}`:                             "profile.coins",
		`{"profile": {"coins": 1e300}}`:                           "profile.coins",
		`{"profile": {"gems": "9007199254740992"}}`:               "profile.gems",
		`{"profile": {"gems": true}}`:                             "profile.gems",
		`{"statistics": {"totalPlayTime": -0.5}}`:                 "statistics.totalPlayTime",
		`{"inventory": {"hotbar": 3}}`:                            "inventory.hotbar",
		`{"inventory": {"hotbar": [null, 3]}}`:                    "inventory.hotbar[1]",
		`{"inventory": {"hotbar": [{"itemId": 5}]}}`:              "inventory.hotbar[0].count",
		`{"inventory": {"hotbar": [{"count": 5}]}}`:               "inventory.hotbar[0].itemId",
		`{"inventory": {"hotbar": [{"itemId": -5, "count": 1}]}}`: "inventory.hotbar[0].itemId",
		`{"inventory": {"hotbar": {"0": {}}}}`:                    "inventory.hotbar.0",
		`{"inventory": {"hotbar": {"01": {}}}}`:                   "inventory.hotbar.01",
		`{"inventory": {"hotbar": {"1025": {}}}}`:                 "inventory.hotbar.1025",
		`{"inventory": {"inventory": {"2": {"itemId": 1, "count": 65, "maxStack": 64}}}}`:         "inventory.inventory.2.count",
		`{"inventory": {"inventory": [{"itemId": 1, "count": 1, "metadata": 4}]}}`:                "inventory.inventory[0].metadata",
		`{"inventory": {"inventory": [{"itemId": 1, "count": 1, "metadata": {"a": 1}, "a": 2}]}}`: "inventory.inventory[0].a",
		`{"dailyRewards": {"lastClaimDate": "yesterday"}}`:                                        "dailyRewards.lastClaimDate",
		`{"dailyRewards": {"lastClaimDate": -5}}`:                                                 "dailyRewards.lastClaimDate",
		`{"dailyRewards": {"lastClaimDate": 1e20}}`:                                               "dailyRewards.lastClaimDate",
		`{"dailyRewards": {"currentStreak": 3000000000}}`:                                         "dailyRewards.currentStreak",
		`{"dungeonData": {"mobSpawnerSlots": {"one": "zombie"}}}`:                                 "dungeonData.mobSpawnerSlots.one",
		`{"dungeonData": {"mobSpawnerSlots": {"1": {"level": 3}}}}`:                               "dungeonData.mobSpawnerSlots.1.mob",
		`{"dungeonData": {"mobSpawnerSlots": [true]}}`:                                            "dungeonData.mobSpawnerSlots[0]",
		`{"settings": {"musicVolume": 1.01}}`:                                                     "settings.musicVolume",
		`{"settings": {"soundVolume": "loud"}}`:                                                   "settings.soundVolume",
		`{"settings": {"enableNotifications": 1}}`:                                                "settings.enableNotifications",
		`{"createdAt": []}`:                                                "createdAt",
		`{"createdAt": "0001-01-01T00:00:00Z"}`:                            "createdAt",
		`{"lastLogin": "12:30"}`:                                           "lastLogin",
		`{"attributes": 5}`:                                                "attributes",
		`{"pets": 1, "attributes": {"pets": 2}}`:                           "attributes.pets",
		`{"profile": {"clan": 1}, "attributes": {"profile": {"clan": 2}}}`: "attributes.profile.clan",
		`{"profile": {"clan": 1}, "attributes": {"profile": 5}}`:           "attributes.profile",
	} {
		p, err := codec.PlayerFromOriginal(parse(t, text), codec.StandardDefaults())
		var bad *codec.FieldError
		if p != nil || !errors.As(err, &bad) || bad.Field != field || !errors.Is(err, codec.ErrBadField) {
			t.Errorf("%s: %v, %v; want %s named", text, p, err, field)
		}
	}
	if _, err := codec.PlayerFromOriginal(parse(t, `{"version": 2}`), codec.StandardDefaults()); !errors.Is(err, codec.ErrNewer) {
		t.Errorf("version 2: %v, want ErrNewer", err)
	}
	if _, err := codec.PlayerFromOriginal(nil, codec.StandardDefaults()); !errors.Is(err, codec.ErrBadField) {
		t.Errorf("no document: %v, want ErrBadField", err)
	}
	bad := &structpb.Struct{Fields: map[string]*structpb.Value{"name": structpb.NewStringValue("\xff")}}
	if _, err := codec.PlayerFromOriginal(bad, codec.StandardDefaults()); !errors.Is(err, codec.ErrBadField) {
		t.Errorf("no UTF-8: %v, want ErrBadField", err)
	}
}

func TestPlayerToOriginalComesBack(t *testing.T) {
	p := typicalPlayer()
	p.Inventory.Hotbar[2].Metadata = object(map[string]any{"sharp": 2})
	p.CreatedAt = timestamppb.New(day.Add(123 * time.Millisecond))
	p.Attributes = object(map[string]any{"quest": map[string]any{"step": 3}, "profile": map[string]any{"clan": "red"}, "name": "x"})
	doc := codec.PlayerToOriginal(p)
	if doc.GetFields()["quest"] == nil || doc.GetFields()["name"].GetStringValue() != p.GetName() {
		t.Errorf("attributes are not fields of the document, or hide one: %v", doc)
	}
	got, err := codec.PlayerFromOriginal(doc, codec.StandardDefaults())
	if err != nil || !proto.Equal(got, p) {
		t.Fatalf("got  %v\nwant %v\n(%v)", got, p, err)
	}
	doc.Fields["quest"].GetStructValue().Fields["step"] = structpb.NewNullValue()
	if p.GetAttributes().GetFields()["quest"].GetStructValue().GetFields()["step"].GetNumberValue() != 3 {
		t.Error("changing the document changed the player")
	}
}

func FuzzPlayerFromOriginal(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"inventory": {"hotbar": {"12": {"itemId": 1, "count": 1}}}, "attributes": {"profile": {}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc := &structpb.Struct{}
		if err := protojson.Unmarshal(data, doc); err != nil {
			return
		}
		p, err := codec.PlayerFromOriginal(doc, codec.StandardDefaults())
		if err != nil {
			if !errors.Is(err, codec.ErrBadField) && !errors.Is(err, codec.ErrNewer) {
				t.Fatalf("refused with %v, want ErrBadField or ErrNewer", err)
			}
			return
		}
		again, err := codec.PlayerFromOriginal(codec.PlayerToOriginal(p), codec.StandardDefaults())
		if err != nil || !proto.Equal(again, p) {
			t.Fatalf("%v came back as %v (%v)", p, again, err)
		}
	})
}
