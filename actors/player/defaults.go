package player

import "cmp"

// Effective returns the rules with every default filled in, sharing nothing with r.
func (r *Rules) Effective() Rules {
	r = r.orDefault()
	all := Rules{
		NewPlayer:        r.NewPlayer.effective(),
		LevelCurve:       LevelCurve{First: r.LevelCurve.first(), Step: r.LevelCurve.Step, GreatestLevel: r.greatestLevel()},
		HotbarSlots:      r.hotbarSlots(),
		InventorySlots:   r.inventorySlots(),
		ChestSlots:       cmp.Or(r.ChestSlots, 27),
		MaxStack:         cmp.Or(r.MaxStack, 64),
		MaxStackByItem:   make(map[int32]int32, len(r.MaxStackByItem)),
		GreatestMaxStack: r.greatestMaxStack(),
		GreatestAmount:   r.greatestAmount(),
		GreatestBalance:  r.greatestBalance(),
		NameLength:       r.nameLength(),
		SpawnerSlots:     r.spawnerSlots(),
		AttributesBytes:  r.attributesBytes(),
	}
	all.LevelCurve.Step = cmp.Or(r.LevelCurve.Step, 100)
	for item, stack := range r.MaxStackByItem {
		all.MaxStackByItem[item] = stack
	}
	days := max(len(r.DailyRewards), 7)
	if r.DailyRewards != nil {
		days = len(r.DailyRewards)
	}
	for day := range days {
		all.DailyRewards = append(all.DailyRewards, r.dailyReward(int32(day)+1)) //nolint:gosec // at most 1000
	}
	return all
}

func (n *NewPlayer) effective() NewPlayer {
	return NewPlayer{
		Coins:               new(or(n.Coins, 100)),
		Gems:                new(or(n.Gems, 10)),
		ManaCrystals:        new(or(n.ManaCrystals, 0)),
		MusicVolume:         new(or(n.MusicVolume, 0.8)),
		SoundVolume:         new(or(n.SoundVolume, 1)),
		EnableNotifications: new(or(n.EnableNotifications, true)),
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

// maxStack is how many of an item a slot holds.
func (r *Rules) maxStack(item int32) int32 {
	if stack, ok := r.MaxStackByItem[item]; ok {
		return stack
	}
	return min(cmp.Or(r.MaxStack, 64), r.greatestMaxStack())
}

// dailyReward is the coins of a day of a streak, counted from 1.
func (r *Rules) dailyReward(streak int32) int64 {
	table := r.DailyRewards
	if table == nil {
		table = []int64{50, 75, 100, 125, 150, 200, 300}
	}
	if len(table) == 0 {
		return 0
	}
	return table[min(int(streak), len(table))-1]
}

func (c *LevelCurve) first() int64 { return cmp.Or(c.First, 100) }

// cost is the experience from level to the next.
func (c *LevelCurve) cost(level int32) int64 {
	step := cmp.Or(c.Step, 100)
	if step < 0 {
		step = 0
	}
	return c.first() + step*int64(level-1)
}
