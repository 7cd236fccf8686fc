package player

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// ErrUnknownEvent means that the event is of a newer version, or makes no sense for the document. A load that meets it has failed.
var ErrUnknownEvent = errors.New("unknown player event")

// Evolve applies what happened to p. It applies results, never rules, keeps no memory of e, and changes nothing when it
// returns an error, which wraps [ErrUnknownEvent]. p belongs to the caller and is not nil; a new player's is empty.
func Evolve(p *skerryv1.Player, e *storev1.PlayerEvent) error {
	switch event := e.GetEvent().(type) {
	case *storev1.PlayerEvent_Created:
		return replace(p, event.Created)
	case *storev1.PlayerEvent_DocumentReplaced:
		return replace(p, event.DocumentReplaced)
	case *storev1.PlayerEvent_BalanceChanged:
		return evolveBalance(p, event.BalanceChanged)
	case *storev1.PlayerEvent_ExperienceChanged:
		profile(p).Level = event.ExperienceChanged.GetLevel()
		profile(p).Experience = event.ExperienceChanged.GetExperience()
	case *storev1.PlayerEvent_StatisticsChanged:
		p.Statistics = event.StatisticsChanged.GetStatistics().CloneVT()
	case *storev1.PlayerEvent_SlotsChanged:
		return evolveSlots(p, event.SlotsChanged)
	case *storev1.PlayerEvent_DailyRewardClaimed:
		p.DailyRewards = event.DailyRewardClaimed.GetDailyRewards().CloneVT()
		profile(p).Coins = event.DailyRewardClaimed.GetCoins()
		statistics(p).CoinsEarned += event.DailyRewardClaimed.GetCoinsEarned()
	case *storev1.PlayerEvent_SettingsChanged:
		p.Settings = event.SettingsChanged.GetSettings().CloneVT()
	case *storev1.PlayerEvent_SpawnerSlotSet:
		evolveSpawner(p, event.SpawnerSlotSet.GetSlot())
	case *storev1.PlayerEvent_SpawnerSlotCleared:
		clearSpawner(p, event.SpawnerSlotCleared.GetSlot())
	case *storev1.PlayerEvent_AttributeSet:
		return evolveAttributeSet(p, event.AttributeSet)
	case *storev1.PlayerEvent_AttributeRemoved:
		evolveAttributeRemoved(p, event.AttributeRemoved)
	case *storev1.PlayerEvent_Renamed:
		p.Name = strings.Clone(event.Renamed.GetName())
	case *storev1.PlayerEvent_LoggedIn:
		evolveLogIn(p, event.LoggedIn)
	default:
		return fmt.Errorf("%w: %T", ErrUnknownEvent, event)
	}
	return nil
}

// replace makes p a copy of document, unknown fields included.
func replace(p, document *skerryv1.Player) error {
	if document == nil {
		return fmt.Errorf("%w: a document that is not there", ErrUnknownEvent)
	}
	proto.Reset(p)
	proto.Merge(p, document)
	return nil
}

func evolveBalance(p *skerryv1.Player, e *storev1.BalanceChanged) error {
	switch e.GetCurrency() {
	case skerryv1.Currency_COINS:
		profile(p).Coins = e.GetBalance()
	case skerryv1.Currency_GEMS:
		profile(p).Gems = e.GetBalance()
	case skerryv1.Currency_MANA_CRYSTALS:
		profile(p).ManaCrystals = e.GetBalance()
	default:
		return fmt.Errorf("%w: a balance of currency %d", ErrUnknownEvent, e.GetCurrency())
	}
	if earned := e.GetCoinsEarned(); earned != 0 {
		statistics(p).CoinsEarned += earned
	}
	return nil
}

// evolveSlots puts new stacks in place of old ones. A slot that the document does not have yet is made, with those before it.
func evolveSlots(p *skerryv1.Player, e *storev1.SlotsChanged) error {
	for _, slot := range e.GetSlots() {
		known := slot.GetContainer() == skerryv1.Container_HOTBAR || slot.GetContainer() == skerryv1.Container_INVENTORY
		if !known || slot.GetIndex() < 0 || slot.GetIndex() >= maxSlots {
			return fmt.Errorf("%w: slot %d of container %d", ErrUnknownEvent, slot.GetIndex(), slot.GetContainer())
		}
	}
	if p.Inventory == nil {
		p.Inventory = &skerryv1.Inventory{}
	}
	for _, slot := range e.GetSlots() {
		list := &p.Inventory.Inventory
		if slot.GetContainer() == skerryv1.Container_HOTBAR {
			list = &p.Inventory.Hotbar
		}
		for len(*list) <= int(slot.GetIndex()) {
			*list = append(*list, &skerryv1.ItemStack{})
		}
		stack := slot.GetStack().CloneVT()
		if stack == nil {
			stack = &skerryv1.ItemStack{}
		}
		(*list)[slot.GetIndex()] = stack
	}
	if e.GetItemsCollected() != 0 {
		statistics(p).ItemsCollected += e.GetItemsCollected()
	}
	return nil
}

func evolveLogIn(p *skerryv1.Player, e *storev1.LoggedIn) {
	p.LastLogin = timestamppb.New(time.UnixMilli(e.GetTimeMs()))
	if e.GetName() != "" {
		p.Name = strings.Clone(e.GetName())
	}
	statistics(p).GamesPlayed = e.GetGamesPlayed()
}

// profile returns p's profile, made when missing.
func profile(p *skerryv1.Player) *skerryv1.Profile {
	if p.Profile == nil {
		p.Profile = &skerryv1.Profile{}
	}
	return p.Profile
}

// statistics returns p's statistics, made when missing.
func statistics(p *skerryv1.Player) *skerryv1.Statistics {
	if p.Statistics == nil {
		p.Statistics = &skerryv1.Statistics{}
	}
	return p.Statistics
}

// draft is a copy of p for a turn of several commands, as deep as Evolve changes things in place: it puts new stacks,
// rewards, settings and spawners in place of the old ones, so those are shared. Fields of p that no command reads stay behind.
func draft(p *skerryv1.Player, cmds []*skerryv1.PlayerCommand) *skerryv1.Player {
	copied := &skerryv1.Player{
		Version: p.GetVersion(), Name: p.GetName(),
		Profile: p.GetProfile().CloneVT(), Statistics: p.GetStatistics().CloneVT(),
		Inventory: &skerryv1.Inventory{
			Hotbar:    slices.Clone(p.GetInventory().GetHotbar()),
			Inventory: slices.Clone(p.GetInventory().GetInventory()),
		},
		DailyRewards: p.GetDailyRewards(),
		DungeonData:  &skerryv1.DungeonData{MobSpawnerSlots: slices.Clone(p.GetDungeonData().GetMobSpawnerSlots())},
		Settings:     p.GetSettings(),
		CreatedAt:    p.GetCreatedAt(), LastLogin: p.GetLastLogin(), LastSave: p.GetLastSave(),
		Attributes: p.GetAttributes(),
	}
	if copied.Attributes != nil && slices.ContainsFunc(cmds, changesAttributes) {
		copied.Attributes = items.CloneStruct(p.GetAttributes())
	}
	return copied
}

func changesAttributes(cmd *skerryv1.PlayerCommand) bool {
	switch cmd.GetCommand().(type) {
	case *skerryv1.PlayerCommand_SetAttribute, *skerryv1.PlayerCommand_RemoveAttribute, *skerryv1.PlayerCommand_IncrementAttribute:
		return true
	default:
		return false
	}
}
