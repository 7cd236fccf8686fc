package player

import (
	"fmt"
	"math"
	"time"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Check returns nil when p is a document that the rules could have made, else a [*Refusal] of [ErrBadRequest] or
// [ErrTooLarge] that names the first field that is wrong, as a JSON path within the document. It is for documents from
// outside, after codec.Migrate with the rules' Defaults: an import must pass it before it is stored.
func Check(rules *Rules, p *skerryv1.Player) error {
	rules = rules.orDefault()
	for _, check := range []func(*Rules, *skerryv1.Player) error{
		checkTop, checkNumbers, checkSlots, checkDailyRewards, checkSpawners, checkSettings, checkAttributes,
	} {
		if err := check(rules, p); err != nil {
			if refusal, ok := err.(*Refusal); ok { //nolint:errorlint // made by refuse, never wrapped
				refusal.CommandIndex = -1
			}
			return err
		}
	}
	return nil
}

func checkTop(rules *Rules, p *skerryv1.Player) error {
	for _, part := range []struct {
		field   string
		missing bool
	}{
		{"profile", p.GetProfile() == nil},
		{"statistics", p.GetStatistics() == nil},
		{"inventory", p.GetInventory() == nil},
		{"dailyRewards", p.GetDailyRewards() == nil},
		{"dungeonData", p.GetDungeonData() == nil},
		{"settings", p.GetSettings() == nil},
	} {
		if part.missing {
			return refuse(ErrBadRequest, part.field, "is missing")
		}
	}
	switch {
	case p.GetCreatedAt() != nil && !p.GetCreatedAt().IsValid():
		return refuse(ErrBadRequest, "createdAt", "is no time")
	case p.GetLastLogin() != nil && !p.GetLastLogin().IsValid():
		return refuse(ErrBadRequest, "lastLogin", "is no time")
	}
	return items.CheckText(p.GetName(), rules.nameLength(), "name")
}

func checkNumbers(rules *Rules, p *skerryv1.Player) error {
	profile, statistics, greatest := p.GetProfile(), p.GetStatistics(), rules.greatestBalance()
	for _, number := range []struct {
		field                  string
		value, least, greatest int64
	}{
		{"profile.level", int64(profile.GetLevel()), 1, math.MaxInt32},
		{"profile.experience", profile.GetExperience(), 0, MaxExact},
		{"profile.coins", profile.GetCoins(), 0, greatest},
		{"profile.gems", profile.GetGems(), 0, greatest},
		{"profile.manaCrystals", profile.GetManaCrystals(), 0, greatest},
		{"statistics.gamesPlayed", statistics.GetGamesPlayed(), 0, MaxExact},
		{"statistics.enemiesDefeated", statistics.GetEnemiesDefeated(), 0, MaxExact},
		{"statistics.coinsEarned", statistics.GetCoinsEarned(), 0, MaxExact},
		{"statistics.itemsCollected", statistics.GetItemsCollected(), 0, MaxExact},
		{"statistics.totalPlayTime", statistics.GetTotalPlayTime(), 0, MaxExact},
		{"statistics.blocksPlaced", statistics.GetBlocksPlaced(), 0, MaxExact},
		{"statistics.blocksBroken", statistics.GetBlocksBroken(), 0, MaxExact},
		{"dailyRewards.currentStreak", int64(p.GetDailyRewards().GetCurrentStreak()), 0, math.MaxInt32},
		{"dailyRewards.totalDaysClaimed", int64(p.GetDailyRewards().GetTotalDaysClaimed()), 0, math.MaxInt32},
	} {
		if number.value < number.least || number.value > number.greatest {
			return refuse(ErrBadRequest, number.field, "is %d, not within %d..%d", number.value, number.least, number.greatest)
		}
	}
	return nil
}

func checkSlots(rules *Rules, p *skerryv1.Player) error {
	for _, list := range []struct {
		field string
		slots []*skerryv1.ItemStack
		least int
	}{
		{"inventory.hotbar", p.GetInventory().GetHotbar(), rules.hotbarSlots()},
		{"inventory.inventory", p.GetInventory().GetInventory(), rules.inventorySlots()},
	} {
		if len(list.slots) < list.least || len(list.slots) > maxSlots {
			return refuse(ErrBadRequest, list.field, "has %d slots, not within %d..%d", len(list.slots), list.least, maxSlots)
		}
		for i, stack := range list.slots {
			if err := rules.Stacks().Check(stack, fmt.Sprintf("%s[%d]", list.field, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkDailyRewards(_ *Rules, p *skerryv1.Player) error {
	if rewards := p.GetDailyRewards(); rewards.LastClaimDate != nil {
		if _, err := time.Parse(time.DateOnly, rewards.GetLastClaimDate()); err != nil {
			return refuse(ErrBadRequest, "dailyRewards.lastClaimDate", "%.20q is no date", rewards.GetLastClaimDate())
		}
	}
	return nil
}

func checkSpawners(_ *Rules, p *skerryv1.Player) error {
	before := int32(-1)
	for i, slot := range p.GetDungeonData().GetMobSpawnerSlots() {
		field := fmt.Sprintf("dungeonData.mobSpawnerSlots[%d]", i)
		if slot.GetSlot() <= before || slot.GetSlot() >= maxSlots {
			return refuse(ErrBadRequest, field+".slot", "is %d, not rising within 0..%d", slot.GetSlot(), maxSlots-1)
		}
		before = slot.GetSlot()
		if err := checkMob(slot.GetMob(), field+".mob"); err != nil {
			return err
		}
		if err := items.CheckMetadata(slot.GetMetadata(), field+".metadata"); err != nil {
			return err
		}
	}
	return nil
}

func checkSettings(_ *Rules, p *skerryv1.Player) error {
	if volume := p.GetSettings().GetMusicVolume(); !isVolume(volume) {
		return refuse(ErrBadRequest, "settings.musicVolume", "is %v, not within 0..1", volume)
	}
	if volume := p.GetSettings().GetSoundVolume(); !isVolume(volume) {
		return refuse(ErrBadRequest, "settings.soundVolume", "is %v, not within 0..1", volume)
	}
	return nil
}

func checkAttributes(rules *Rules, p *skerryv1.Player) error {
	if problem := items.CheckStruct(p.GetAttributes(), items.MaxDepth); problem != "" {
		return refuse(ErrBadRequest, "attributes", "%s", problem)
	}
	if size := items.StructSize(p.GetAttributes()); size > rules.attributesBytes() {
		return refuse(ErrTooLarge, "attributes", "has %d bytes as JSON, at most %d are allowed", size, rules.attributesBytes())
	}
	return nil
}
