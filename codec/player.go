package codec

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Defaults are what a new player begins with, and what a document that lacks a required field is filled with. Every
// field is taken as it is: start from [StandardDefaults].
type Defaults struct {
	Level        int32
	Experience   int64
	Coins        int64
	Gems         int64
	ManaCrystals int64
	// HotbarSlots and InventorySlots are how many slots a player has.
	HotbarSlots    int
	InventorySlots int
	// MusicVolume and SoundVolume are 0 to 1.
	MusicVolume         float64
	SoundVolume         float64
	EnableNotifications bool
}

// StandardDefaults are those of a space whose rules say nothing else.
func StandardDefaults() Defaults {
	return Defaults{
		Level: 1, Coins: 100, Gems: 10,
		HotbarSlots: 9, InventorySlots: 27,
		MusicVolume: 0.8, SoundVolume: 1, EnableNotifications: true,
	}
}

// NewPlayer returns a new player document, made and last logged in at now (to the millisecond). It shares no memory with
// any other.
func NewPlayer(name string, now time.Time, defaults Defaults) *skerryv1.Player {
	at := now.Truncate(time.Millisecond)
	p := &skerryv1.Player{
		Version:   PlayerVersion,
		Name:      name,
		CreatedAt: timestamppb.New(at),
		LastLogin: timestamppb.New(at),
	}
	fill(p, defaults)
	return p
}

// fill gives p every required field that it lacks, deep, with values of its own. It changes no value that is there.
func fill(p *skerryv1.Player, d Defaults) {
	if p.GetProfile() == nil {
		p.Profile = &skerryv1.Profile{
			Level: d.Level, Experience: d.Experience, Coins: d.Coins, Gems: d.Gems, ManaCrystals: d.ManaCrystals,
		}
	}
	if p.GetStatistics() == nil {
		p.Statistics = &skerryv1.Statistics{}
	}
	if p.GetInventory() == nil {
		p.Inventory = &skerryv1.Inventory{}
	}
	p.Inventory.Hotbar = fillSlots(p.Inventory.GetHotbar(), d.HotbarSlots)
	p.Inventory.Inventory = fillSlots(p.Inventory.GetInventory(), d.InventorySlots)
	if p.GetDailyRewards() == nil {
		p.DailyRewards = &skerryv1.DailyRewards{}
	}
	if p.GetDungeonData() == nil {
		p.DungeonData = &skerryv1.DungeonData{}
	}
	if p.GetSettings() == nil {
		p.Settings = &skerryv1.Settings{
			MusicVolume: d.MusicVolume, SoundVolume: d.SoundVolume, EnableNotifications: d.EnableNotifications,
		}
	}
}

// fillSlots returns slots with at least count entries, none nil. More than count stay: items are never cut off.
func fillSlots(slots []*skerryv1.ItemStack, count int) []*skerryv1.ItemStack {
	if len(slots) < count {
		slots = append(make([]*skerryv1.ItemStack, 0, count), slots...)
		slots = append(slots, make([]*skerryv1.ItemStack, count-len(slots))...)
	}
	for i, slot := range slots {
		if slot == nil {
			slots[i] = &skerryv1.ItemStack{}
		}
	}
	return slots
}
