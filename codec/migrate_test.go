package codec_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Goal: the mechanism of migrations. Method: steps of a made-up future, each seeing what the one before left.
func TestMigrationsRunInOrderOnce(t *testing.T) {
	steps := []codec.Step{
		{From: 1, Apply: func(p *skerryv1.Player) { p.Name += " one" }},
		{From: 2, Apply: func(p *skerryv1.Player) { p.Name += " two" }},
		{From: 3, Apply: func(p *skerryv1.Player) { p.Name += " three" }},
	}
	for _, c := range []struct {
		version int32
		want    string
	}{{0, "Ann one two three"}, {1, "Ann one two three"}, {2, "Ann two three"}, {3, "Ann three"}, {4, "Ann"}} {
		p := &skerryv1.Player{Version: c.version, Name: "Ann"}
		p.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 5))
		if err := codec.RunSteps(steps, p); err != nil || p.GetName() != c.want || p.GetVersion() != 4 {
			t.Errorf("from %d: %q at version %d, %v; want %q at 4", c.version, p.GetName(), p.GetVersion(), err, c.want)
		}
		if err := codec.RunSteps(steps, p); err != nil || p.GetName() != c.want {
			t.Errorf("from %d, again: %q, %v", c.version, p.GetName(), err)
		}
		if len(p.ProtoReflect().GetUnknown()) == 0 {
			t.Errorf("from %d: an unknown field was dropped", c.version)
		}
	}
	for version, want := range map[int32]error{5: codec.ErrNewer, 1 << 30: codec.ErrNewer, -1: codec.ErrMalformed} {
		p := &skerryv1.Player{Version: version, Name: "Ann"}
		if err := codec.RunSteps(steps, p); !errors.Is(err, want) || p.GetName() != "Ann" || p.GetVersion() != version {
			t.Errorf("version %d: %v with error %v, want %v and nothing changed", version, p, err, want)
		}
	}
}

func TestMigrationsAreNamedAndGapless(t *testing.T) {
	from, names := codec.PlayerSteps()
	for i := range from {
		if from[i] != int32(i)+1 || names[i] == "" { //nolint:gosec // a handful
			t.Errorf("step %d is from version %d, called %q", i, from[i], names[i])
		}
	}
	if want := int32(len(from)) + 1; codec.PlayerVersion != want { //nolint:gosec // a handful
		t.Errorf("PlayerVersion is %d, the steps end at %d", codec.PlayerVersion, want)
	}
}

func TestMigrateFillsDeepAndKeepsTheRest(t *testing.T) {
	d := codec.StandardDefaults()
	bare := &skerryv1.Player{Name: "Ann"}
	if err := codec.Migrate(bare, d); err != nil {
		t.Fatal(err)
	}
	want := codec.NewPlayer("Ann", day, d)
	want.CreatedAt, want.LastLogin = nil, nil
	if !proto.Equal(bare, want) {
		t.Errorf("an empty document became %v, want %v", bare, want)
	}

	partial := &skerryv1.Player{
		Profile: &skerryv1.Profile{Level: 3, Coins: 0},
		Inventory: &skerryv1.Inventory{
			Hotbar:    []*skerryv1.ItemStack{nil, {ItemId: 5, Count: 2, MaxStack: 64}},
			Inventory: make([]*skerryv1.ItemStack, 40),
		},
		Settings: &skerryv1.Settings{},
	}
	if err := codec.Migrate(partial, d); err != nil {
		t.Fatal(err)
	}
	hotbar, inventory := partial.GetInventory().GetHotbar(), partial.GetInventory().GetInventory()
	if partial.GetProfile().GetCoins() != 0 || partial.GetProfile().GetLevel() != 3 || partial.GetSettings().GetMusicVolume() != 0 ||
		len(hotbar) != 9 || hotbar[0] == nil || hotbar[1].GetItemId() != 5 || hotbar[8] == nil || len(inventory) != 40 || inventory[39] == nil {
		t.Errorf("filled to %v", partial)
	}

	newer := &skerryv1.Player{Version: codec.PlayerVersion + 1, Name: "Ann"}
	if err := codec.Migrate(newer, d); !errors.Is(err, codec.ErrNewer) || newer.GetProfile() != nil {
		t.Errorf("a newer document: %v, %v; want ErrNewer and nothing filled", newer, err)
	}
	if err := codec.Migrate(nil, d); err != nil {
		t.Errorf("no document: %v", err)
	}
}

// Goal: no two documents share what they were filled with. Method: change everything in one, look at the other.
func TestMigrateSharesNothing(t *testing.T) {
	d := codec.StandardDefaults()
	a, b := &skerryv1.Player{}, &skerryv1.Player{}
	for _, p := range []*skerryv1.Player{a, b} {
		if err := codec.Migrate(p, d); err != nil {
			t.Fatal(err)
		}
	}
	a.Profile.Coins, a.Statistics.GamesPlayed, a.Settings.MusicVolume = 7, 7, 0.7
	a.DailyRewards.CurrentStreak = 7
	a.DungeonData.MobSpawnerSlots = append(a.DungeonData.MobSpawnerSlots, &skerryv1.SpawnerSlot{Slot: 1})
	for i := range a.Inventory.Hotbar {
		a.Inventory.Hotbar[i].Count = 7
	}
	fresh := &skerryv1.Player{}
	if err := codec.Migrate(fresh, d); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(b, fresh) || a.Inventory.Hotbar[0] == a.Inventory.Hotbar[1] {
		t.Errorf("changing one player changed another: %v", b)
	}
}

func TestMigrateEntryReachesDocumentsInEvents(t *testing.T) {
	created, replaced := &skerryv1.Player{Name: "Ann"}, &skerryv1.Player{Name: "Bea"}
	e := &storev1.Entry{PlayerEvents: []*storev1.PlayerEvent{
		{Event: &storev1.PlayerEvent_Created{Created: created}},
		{Event: &storev1.PlayerEvent_Renamed{Renamed: &storev1.Renamed{Name: "Cid"}}},
		{Event: &storev1.PlayerEvent_DocumentReplaced{DocumentReplaced: replaced}},
	}}
	if err := codec.MigrateEntry(e, codec.StandardDefaults()); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*skerryv1.Player{created, replaced} {
		if p.GetVersion() != codec.PlayerVersion || p.GetProfile().GetCoins() != 100 {
			t.Errorf("not migrated: %v", p)
		}
	}
	replaced.Version = codec.PlayerVersion + 1
	if err := codec.MigrateEntry(e, codec.StandardDefaults()); !errors.Is(err, codec.ErrNewer) {
		t.Errorf("a newer document: %v, want ErrNewer", err)
	}
}
