package player

import (
	"errors"
	"fmt"
	"math"

	"github.com/skerry-dev/skerry/codec/storev1"
)

// MaxExact is the greatest balance, experience or statistic: 2^53-1, so that every JSON reader sees it exactly.
const MaxExact = 1<<53 - 1

// Bounds of the rules themselves, so that no rules make a document that storage refuses.
const (
	maxSlots           = 1024
	maxLevels          = 10_000
	maxAttributesBytes = 64 << 10
	maxRewardDays      = 1000
	maxNameLength      = 256
	maxCount           = math.MaxInt32 // of days claimed, and of days of a streak
)

// Rules is what a space may choose of a player's rules. The zero value, and nil, is right: each field says its default, which 0 stands for.
// Only [Decide] and what makes or checks documents read it, so a change of rules never changes what has happened. Immutable while in use.
type Rules struct {
	// NewPlayer is what a player starts with.
	NewPlayer NewPlayer `yaml:"newPlayer"`
	// LevelCurve says when a level is gained.
	LevelCurve LevelCurve `yaml:"levelCurve"`
	// HotbarSlots and InventorySlots are the numbers of slots, 1 to 1024. Defaults: 9 and 27. Fewer later take no slot from
	// a player who has more; more are there from the player's next load.
	HotbarSlots    int `yaml:"hotbarSlots"`
	InventorySlots int `yaml:"inventorySlots"`
	// ChestSlots is the number of slots of a world's chest, 1 to 1024. Default: 27.
	ChestSlots int `yaml:"chestSlots"`
	// MaxStack is how many of an item a slot holds when the item is not in MaxStackByItem. Default: 64.
	MaxStack int32 `yaml:"maxStack"`
	// MaxStackByItem is how many a slot holds, by item id.
	MaxStackByItem map[int32]int32 `yaml:"maxStackByItem"`
	// GreatestMaxStack is the greatest maxStack that a command may name. Default: 10,000.
	GreatestMaxStack int32 `yaml:"greatestMaxStack"`
	// GreatestAmount is the most that one command may earn, spend or add. Default: 2^53-1.
	GreatestAmount int64 `yaml:"greatestAmount"`
	// GreatestBalance is the most that a player may own of a currency. Default: 2^53-1.
	GreatestBalance int64 `yaml:"greatestBalance"`
	// DailyRewards are the coins of the first, second, … day of a streak; later days give what the last one does.
	// Default: 50, 75, 100, 125, 150, 200, 300.
	DailyRewards []int64 `yaml:"dailyRewards"`
	// NameLength is the greatest number of characters of a name, 1 to 256. Default: 64.
	NameLength int `yaml:"nameLength"`
	// SpawnerSlots is the number of mob spawner slots, 1 to 1024. Default: 10.
	SpawnerSlots int `yaml:"spawnerSlots"`
	// AttributesBytes is the greatest size of the attributes as compact JSON, at most 65,536. Default: 65,536.
	AttributesBytes int `yaml:"attributesBytes"`

	holds []*storev1.Hold // of the player that a turn is about; see holding
}

// NewPlayer is what a player starts with. Absent (nil) fields have the default that they name.
type NewPlayer struct {
	// Coins defaults to 100, Gems to 10, ManaCrystals to 0.
	Coins        *int64 `yaml:"coins"`
	Gems         *int64 `yaml:"gems"`
	ManaCrystals *int64 `yaml:"manaCrystals"`
	// MusicVolume defaults to 0.8, SoundVolume to 1, EnableNotifications to true.
	MusicVolume         *float64 `yaml:"musicVolume"`
	SoundVolume         *float64 `yaml:"soundVolume"`
	EnableNotifications *bool    `yaml:"enableNotifications"`
}

// LevelCurve says what a level costs: from level n to n+1 it takes First + Step × (n-1) experience, which is then used up.
type LevelCurve struct {
	// First is the experience from level 1 to 2. Default: 100.
	First int64 `yaml:"first"`
	// Step is how much more each further level takes. Default: 100; -1 for none.
	Step int64 `yaml:"step"`
	// GreatestLevel is the last level, at most 10,000; experience keeps adding up in it. Default: 1000.
	GreatestLevel int32 `yaml:"greatestLevel"`
}

// Validate returns nil, or every problem of the rules, joined.
func (r *Rules) Validate() error {
	if r == nil {
		return nil
	}
	var problems []error
	within := func(name string, value, least, greatest int64) {
		if value != 0 && (value < least || value > greatest) {
			problems = append(problems, fmt.Errorf("rules: %s is %d, not within %d..%d", name, value, least, greatest))
		}
	}
	within("hotbarSlots", int64(r.HotbarSlots), 1, maxSlots)
	within("inventorySlots", int64(r.InventorySlots), 1, maxSlots)
	within("chestSlots", int64(r.ChestSlots), 1, maxSlots)
	within("maxStack", int64(r.MaxStack), 1, int64(r.greatestMaxStack()))
	within("greatestMaxStack", int64(r.GreatestMaxStack), 1, math.MaxInt32)
	within("greatestAmount", r.GreatestAmount, 1, MaxExact)
	within("greatestBalance", r.GreatestBalance, 1, MaxExact)
	within("nameLength", int64(r.NameLength), 1, maxNameLength)
	within("spawnerSlots", int64(r.SpawnerSlots), 1, maxSlots)
	within("attributesBytes", int64(r.AttributesBytes), 2, maxAttributesBytes)
	within("levelCurve.first", r.LevelCurve.First, 1, MaxExact/maxLevels)
	within("levelCurve.step", r.LevelCurve.Step, -1, MaxExact/maxLevels)
	within("levelCurve.greatestLevel", int64(r.LevelCurve.GreatestLevel), 1, maxLevels)
	within("the number of dailyRewards", int64(len(r.DailyRewards)), 0, maxRewardDays)
	for i, coins := range r.dailyRewards() {
		within(fmt.Sprintf("dailyRewards[%d]", i), coins, 0, r.greatestBalance())
	}
	for item, stack := range r.MaxStackByItem {
		within(fmt.Sprintf("the item id %d of maxStackByItem", item), int64(item), 1, math.MaxInt32)
		if item == 0 || stack < 1 || stack > r.greatestMaxStack() {
			problems = append(problems, fmt.Errorf("rules: maxStackByItem[%d] is %d, not within 1..%d", item, stack, r.greatestMaxStack()))
		}
	}
	return errors.Join(append(problems, r.newPlayer().validate(r.greatestBalance())...)...)
}

// validate takes new players' rules with their defaults filled in.
func (n NewPlayer) validate(greatestBalance int64) []error {
	var problems []error
	for _, field := range []struct {
		name  string
		value *int64
	}{{"coins", n.Coins}, {"gems", n.Gems}, {"manaCrystals", n.ManaCrystals}} {
		if *field.value < 0 || *field.value > greatestBalance {
			problems = append(problems, fmt.Errorf("rules: newPlayer.%s is %d, not within 0..%d", field.name, *field.value, greatestBalance))
		}
	}
	for _, field := range []struct {
		name  string
		value *float64
	}{{"musicVolume", n.MusicVolume}, {"soundVolume", n.SoundVolume}} {
		if !isVolume(*field.value) {
			problems = append(problems, fmt.Errorf("rules: newPlayer.%s is %v, not within 0..1", field.name, *field.value))
		}
	}
	return problems
}
