package player

import (
	"errors"
	"math"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func TestRulesReportEveryProblem(t *testing.T) {
	bad := &Rules{
		NewPlayer:      NewPlayer{Coins: new(int64(-1)), MusicVolume: new(math.NaN())},
		LevelCurve:     LevelCurve{First: -1, Step: -2, GreatestLevel: 10_001},
		HotbarSlots:    -1,
		InventorySlots: 1025, ChestSlots: 1025, MaxStack: -1, GreatestMaxStack: -1, GreatestAmount: MaxExact + 1, GreatestBalance: -1,
		MaxStackByItem: map[int32]int32{0: 1, -4: 1, 3: 0},
		DailyRewards:   []int64{-1},
		NameLength:     257, SpawnerSlots: -1, AttributesBytes: 1,
	}
	err := bad.Validate()
	for _, name := range []string{
		"newPlayer.coins", "newPlayer.musicVolume", "levelCurve.first", "levelCurve.step", "levelCurve.greatestLevel", "hotbarSlots",
		"inventorySlots", "chestSlots", "maxStack is", "greatestMaxStack", "greatestAmount", "greatestBalance", "maxStackByItem[0]",
		"item id -4", "maxStackByItem[3]", "dailyRewards[0]", "nameLength", "spawnerSlots", "attributesBytes",
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not among the problems: %v", name, err)
		}
	}
	if err := (&Rules{GreatestBalance: 99}).Validate(); err == nil || !strings.Contains(err.Error(), "newPlayer.coins") {
		t.Errorf("a default over the greatest balance: %v", err)
	}
}

func TestZeroRulesAreRight(t *testing.T) {
	effective := (*Rules)(nil).Effective()
	for name, rules := range map[string]*Rules{"nil": nil, "zero": {}, "effective": &effective} {
		if err := rules.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		p := New(rules, "Ann", testTurn())
		if err := Check(rules, p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := New(nil, "Ann", testTurn())
		if got := json(t, p); got != json(t, want) {
			t.Errorf("%s: a new player is %s", name, got)
		}
	}
	if effective.ChestSlots != 27 || effective.MaxStack != 64 || effective.LevelCurve.Step != 100 || *effective.NewPlayer.Coins != 100 {
		t.Errorf("effective rules = %+v", effective)
	}
}

func TestRulesFromYAML(t *testing.T) {
	var rules Rules
	if err := yaml.Unmarshal([]byte(`
newPlayer: {coins: 0, enableNotifications: false}
maxStack: 10
maxStackByItem: {5: 1}
hotbarSlots: 2
inventorySlots: 3
spawnerSlots: 1
greatestAmount: 5
greatestBalance: 8
nameLength: 3
`), &rules); err != nil {
		t.Fatal(err)
	}
	if err := rules.Validate(); err == nil || !strings.Contains(err.Error(), "dailyRewards[0]") {
		t.Fatalf("rewards over the greatest balance: %v", err)
	}
	rules.DailyRewards = []int64{1}
	rules.NewPlayer.Gems = new(int64(0))
	if err := rules.Validate(); err != nil {
		t.Fatal(err)
	}
	p := New(&rules, "Ann", testTurn())
	if p.GetProfile().GetCoins() != 0 || p.GetSettings().GetEnableNotifications() || len(p.GetInventory().GetHotbar()) != 2 {
		t.Fatalf("a new player is %s", json(t, p))
	}
	run(t, &rules, p, `{"earn":{"currency":"COINS","amount":5}}`, `{"give":{"itemId":5,"count":2}}`, `{"give":{"itemId":6,"count":11}}`)
	for text, want := range map[string]error{
		`{"earn":{"currency":"COINS","amount":6}}`:                                                        ErrBadAmount,
		`{"earn":{"currency":"COINS","amount":4}}`:                                                        ErrOverflow,
		`{"give":{"itemId":5,"count":2}}`:                                                                 ErrInventoryFull,
		`{"setSlot":{"slot":{"container":"HOTBAR","index":2}}}`:                                           ErrBadSlot,
		`{"setSlot":{"slot":{"container":"HOTBAR"},"stack":{"itemId":5,"count":2}}}`:                      ErrBadAmount,
		`{"setSpawnerSlot":{"slot":1,"mob":"a"}}`:                                                         ErrBadSlot,
		`{"rename":{"name":"Anna"}}`:                                                                      ErrTooLarge,
		`{"setInventory":{"hotbar":[{},{}],"inventory":[{},{},{"itemId":5,"count":1},{}]}}`:               ErrBadSlot,
		`{"setInventory":{"hotbar":[{},{}],"inventory":[{},{},{"itemId":5,"count":1,"maxStack":10001}]}}`: ErrBadAmount,
	} {
		if _, _, err := Decide(&rules, p, command(t, text), testTurn()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

// Goal: a space may change its numbers of slots under its players.
func TestSlotsGrowAndNeverShrink(t *testing.T) {
	small, large := &Rules{HotbarSlots: 2, InventorySlots: 2}, &Rules{HotbarSlots: 5, InventorySlots: 2}
	p := New(small, "Ann", testTurn())
	run(t, large, p, `{"setSlot":{"slot":{"container":"HOTBAR","index":3},"stack":{"itemId":1,"count":1}}}`)
	if got := len(p.GetInventory().GetHotbar()); got != 4 {
		t.Fatalf("the hotbar has %d slots, want those up to the one that was set", got)
	}
	run(t, small, p, `{"take":{"itemId":1,"count":1}}`, `{"setSlot":{"slot":{"container":"HOTBAR","index":3},"stack":{"itemId":1,"count":1}}}`)
	if err := Check(small, p); err != nil {
		t.Fatal(err)
	}
	if got := stackAt(p, skerryv1.Container_HOTBAR, 3).GetItemId(); got != 1 {
		t.Fatalf("slot 3 holds item %d", got)
	}
}

func TestCheckNamesTheField(t *testing.T) {
	for field, spoil := range map[string]func(*skerryv1.Player){
		"profile":                             func(p *skerryv1.Player) { p.Profile = nil },
		"settings":                            func(p *skerryv1.Player) { p.Settings = nil },
		"name":                                func(p *skerryv1.Player) { p.Name = "a\x00" },
		"createdAt":                           func(p *skerryv1.Player) { p.CreatedAt.Nanos = -1 },
		"lastLogin":                           func(p *skerryv1.Player) { p.LastLogin.Nanos = -1 },
		"profile.level":                       func(p *skerryv1.Player) { p.Profile.Level = 0 },
		"profile.coins":                       func(p *skerryv1.Player) { p.Profile.Coins = -1 },
		"profile.gems":                        func(p *skerryv1.Player) { p.Profile.Gems = MaxExact + 1 },
		"statistics.blocksBroken":             func(p *skerryv1.Player) { p.Statistics.BlocksBroken = -1 },
		"dailyRewards.currentStreak":          func(p *skerryv1.Player) { p.DailyRewards.CurrentStreak = -1 },
		"dailyRewards.lastClaimDate":          func(p *skerryv1.Player) { p.DailyRewards.LastClaimDate = new("") },
		"inventory.hotbar":                    func(p *skerryv1.Player) { p.Inventory.Hotbar = p.Inventory.Hotbar[1:] },
		"inventory.inventory[3]":              func(p *skerryv1.Player) { p.Inventory.Inventory[3] = nil },
		"inventory.inventory[4]":              func(p *skerryv1.Player) { p.Inventory.Inventory[4].MaxStack = 64 },
		"inventory.hotbar[0].count":           func(p *skerryv1.Player) { p.Inventory.Hotbar[0].Count = 65 },
		"inventory.hotbar[0].maxStack":        func(p *skerryv1.Player) { p.Inventory.Hotbar[0].MaxStack = 0 },
		"inventory.hotbar[0].itemId":          func(p *skerryv1.Player) { p.Inventory.Hotbar[0].ItemId = -7 },
		"inventory.hotbar[1].metadata":        func(p *skerryv1.Player) { p.Inventory.Hotbar[1].Metadata.Fields["a"] = nan() },
		"dungeonData.mobSpawnerSlots[0].slot": func(p *skerryv1.Player) { p.DungeonData.MobSpawnerSlots[0].Slot = -1 },
		"dungeonData.mobSpawnerSlots[0].mob":  func(p *skerryv1.Player) { p.DungeonData.MobSpawnerSlots[0].Mob = "" },
		"settings.musicVolume":                func(p *skerryv1.Player) { p.Settings.MusicVolume = math.NaN() },
		"settings.soundVolume":                func(p *skerryv1.Player) { p.Settings.SoundVolume = 2 },
		"attributes":                          func(p *skerryv1.Player) { p.Attributes.Fields["a"] = nan() },
		"dungeonData.mobSpawnerSlots[1].slot": func(p *skerryv1.Player) { twice(p) },
		"dungeonData.mobSpawnerSlots[0].metadata": func(p *skerryv1.Player) {
			p.DungeonData.MobSpawnerSlots[0].Metadata.Fields["a"] = text(strings.Repeat("x", 1100))
		},
	} {
		p := ann(t)
		if err := Check(nil, p); err != nil {
			t.Fatal(err)
		}
		spoil(p)
		var refusal *Refusal
		if err := Check(nil, p); !errors.As(err, &refusal) || refusal.Field != field || refusal.CommandIndex != -1 {
			t.Errorf("%s: %v", field, err)
		}
	}
	p := ann(t)
	p.Attributes.Fields["a"] = text(strings.Repeat("x", 64<<10))
	if err := Check(nil, p); !errors.Is(err, ErrTooLarge) {
		t.Errorf("huge attributes: %v", err)
	}
}

// twice fills the same spawner slot a second time.
func twice(p *skerryv1.Player) {
	p.DungeonData.MobSpawnerSlots = append(p.DungeonData.MobSpawnerSlots, p.DungeonData.MobSpawnerSlots[0].CloneVT())
}
