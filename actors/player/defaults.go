package player

import (
	"cmp"
	"maps"
	"slices"

	"github.com/skerry-dev/skerry/actors/items"
)

// Effective returns the rules with every default filled in, sharing nothing with r.
func (r *Rules) Effective() Rules {
	r = r.orDefault()
	all := Rules{
		NewPlayer:        r.newPlayer(),
		LevelCurve:       LevelCurve{First: r.LevelCurve.first(), Step: cmp.Or(r.LevelCurve.Step, 100), GreatestLevel: r.greatestLevel()},
		HotbarSlots:      r.hotbarSlots(),
		InventorySlots:   r.inventorySlots(),
		ChestSlots:       cmp.Or(r.ChestSlots, 27),
		MaxStack:         r.Stacks().MaxStackOf(0),
		MaxStackByItem:   make(map[int32]int32, len(r.MaxStackByItem)),
		GreatestMaxStack: r.greatestMaxStack(),
		GreatestAmount:   r.greatestAmount(),
		GreatestBalance:  r.greatestBalance(),
		NameLength:       r.nameLength(),
		SpawnerSlots:     r.spawnerSlots(),
		AttributesBytes:  r.attributesBytes(),
	}
	maps.Copy(all.MaxStackByItem, r.MaxStackByItem)
	all.DailyRewards = slices.Clone(r.dailyRewards())
	return all
}

// newPlayer says what Defaults says, in the words of the rules.
func (r *Rules) newPlayer() NewPlayer {
	defaults := r.Defaults()
	return NewPlayer{
		Coins: &defaults.Coins, Gems: &defaults.Gems, ManaCrystals: &defaults.ManaCrystals,
		MusicVolume: &defaults.MusicVolume, SoundVolume: &defaults.SoundVolume,
		EnableNotifications: &defaults.EnableNotifications,
	}
}

// or is what value points to, or otherwise when it is nil.
func or[T any](value *T, otherwise T) T {
	if value != nil {
		return *value
	}
	return otherwise
}

// orDefault lets nil stand for the zero rules.
func (r *Rules) orDefault() *Rules {
	if r == nil {
		return &Rules{}
	}
	return r
}

func (r *Rules) hotbarSlots() int        { return cmp.Or(r.HotbarSlots, 9) }
func (r *Rules) inventorySlots() int     { return cmp.Or(r.InventorySlots, 27) }
func (r *Rules) greatestMaxStack() int32 { return cmp.Or(r.GreatestMaxStack, 10_000) }
func (r *Rules) greatestAmount() int64   { return cmp.Or(r.GreatestAmount, MaxExact) }
func (r *Rules) greatestBalance() int64  { return cmp.Or(r.GreatestBalance, MaxExact) }
func (r *Rules) nameLength() int         { return cmp.Or(r.NameLength, 64) }
func (r *Rules) spawnerSlots() int       { return cmp.Or(r.SpawnerSlots, 10) }
func (r *Rules) attributesBytes() int    { return cmp.Or(r.AttributesBytes, maxAttributesBytes) }
func (r *Rules) greatestLevel() int32    { return cmp.Or(r.LevelCurve.GreatestLevel, 1000) }

// Stacks are the limits of stacks, a player's and a chest's.
func (r *Rules) Stacks() items.Limits {
	r = r.orDefault()
	return items.Limits{MaxStack: r.MaxStack, MaxStackByItem: r.MaxStackByItem, GreatestMaxStack: r.GreatestMaxStack}
}

func (r *Rules) dailyRewards() []int64 {
	if len(r.DailyRewards) == 0 {
		return []int64{50, 75, 100, 125, 150, 200, 300}
	}
	return r.DailyRewards
}

// dailyReward is the coins of a day of a streak, counted from 1.
func (r *Rules) dailyReward(streak int32) int64 {
	table := r.dailyRewards()
	return table[min(int(streak), len(table))-1]
}

func (c *LevelCurve) first() int64 { return cmp.Or(c.First, 100) }

// cost is the experience from level to the next.
func (c *LevelCurve) cost(level int32) int64 {
	return c.first() + max(0, cmp.Or(c.Step, 100))*int64(level-1)
}
