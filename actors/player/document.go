package player

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// New is the document of a player who was never here: the rules' defaults, every slot, and nothing shared with any other
// document. name is not checked here; see [LogIn].
func New(rules *Rules, name string, turn Turn) *skerryv1.Player {
	rules = rules.orDefault()
	start := rules.NewPlayer
	p := &skerryv1.Player{
		Version: 1,
		Name:    name,
		Profile: &skerryv1.Profile{
			Level: 1, Coins: or(start.Coins, 100), Gems: or(start.Gems, 10), ManaCrystals: or(start.ManaCrystals, 0),
		},
		CreatedAt: timestamppb.New(turn.Now),
		LastLogin: timestamppb.New(turn.Now),
	}
	Fill(rules, p)
	return p
}

// Fill adds to p what a document must have and this one lacks: slots up to the rules' numbers, and the groups of fields,
// with their defaults. It is for a document from elsewhere or from before the rules gave more slots; it takes nothing away.
func Fill(rules *Rules, p *skerryv1.Player) {
	rules = rules.orDefault()
	start := rules.NewPlayer
	if p.Profile == nil {
		p.Profile = &skerryv1.Profile{
			Level: 1, Coins: or(start.Coins, 100), Gems: or(start.Gems, 10), ManaCrystals: or(start.ManaCrystals, 0),
		}
	}
	if p.Statistics == nil {
		p.Statistics = &skerryv1.Statistics{}
	}
	if p.Inventory == nil {
		p.Inventory = &skerryv1.Inventory{}
	}
	p.Inventory.Hotbar = fillSlots(p.Inventory.Hotbar, rules.hotbarSlots())
	p.Inventory.Inventory = fillSlots(p.Inventory.Inventory, rules.inventorySlots())
	if p.DailyRewards == nil {
		p.DailyRewards = &skerryv1.DailyRewards{}
	}
	if p.DungeonData == nil {
		p.DungeonData = &skerryv1.DungeonData{}
	}
	if p.Settings == nil {
		p.Settings = &skerryv1.Settings{
			MusicVolume:         or(start.MusicVolume, 0.8),
			SoundVolume:         or(start.SoundVolume, 1),
			EnableNotifications: or(start.EnableNotifications, true),
		}
	}
}

// fillSlots makes every slot of the list present, and the list at least count long.
func fillSlots(slots []*skerryv1.ItemStack, count int) []*skerryv1.ItemStack {
	for i, stack := range slots {
		if stack == nil {
			slots[i] = &skerryv1.ItemStack{}
		}
	}
	for len(slots) < count {
		slots = append(slots, &skerryv1.ItemStack{})
	}
	return slots
}
