package player

import (
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// New is the document of a player who was never here: the rules' defaults, every slot, and nothing shared with any other
// document. It does not check name, which may be empty; see [LogIn].
func New(rules *Rules, name string, turn Turn) *skerryv1.Player {
	return codec.NewPlayer(name, turn.Now, rules.Defaults())
}

// Defaults are what the rules give to a new player, and to an older document that lacks something ([codec.Migrate]).
func (r *Rules) Defaults() codec.Defaults {
	r = r.orDefault()
	defaults := codec.StandardDefaults()
	start := r.NewPlayer
	defaults.Coins = or(start.Coins, defaults.Coins)
	defaults.Gems = or(start.Gems, defaults.Gems)
	defaults.ManaCrystals = or(start.ManaCrystals, defaults.ManaCrystals)
	defaults.HotbarSlots = r.hotbarSlots()
	defaults.InventorySlots = r.inventorySlots()
	defaults.MusicVolume = or(start.MusicVolume, defaults.MusicVolume)
	defaults.SoundVolume = or(start.SoundVolume, defaults.SoundVolume)
	defaults.EnableNotifications = or(start.EnableNotifications, defaults.EnableNotifications)
	return defaults
}
