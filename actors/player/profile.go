package player

import (
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// maxMobLength is the greatest number of characters of a mob's name.
const maxMobLength = 64

// LogIn is the event of a session that opens at turn.Now: the last login, one more game played, and the name when it is
// given and new. It returns a [*Refusal] when the name is not one. It changes nothing.
func LogIn(rules *Rules, p *skerryv1.Player, name string, turn Turn) (*storev1.PlayerEvent, error) {
	if name != "" {
		if err := checkName(rules.orDefault(), name, "name"); err != nil {
			return nil, err
		}
	}
	played := p.GetStatistics().GetGamesPlayed()
	login := &storev1.LoggedIn{TimeMs: turn.Now.UnixMilli(), GamesPlayed: played + countable(played, 1)}
	if name != p.GetName() {
		login.Name = strings.Clone(name)
	}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_LoggedIn{LoggedIn: login}}, nil
}

func rename(rules *Rules, cmd *skerryv1.Rename) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	if err := checkName(rules, cmd.GetName(), "rename.name"); err != nil {
		return nil, nil, err
	}
	renamed := &storev1.Renamed{Name: strings.Clone(cmd.GetName())}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_Renamed{Renamed: renamed}}, done(), nil
}

func checkName(rules *Rules, name, field string) error {
	if name == "" {
		return refuse(ErrBadRequest, field, "is empty")
	}
	return items.CheckText(name, rules.nameLength(), field)
}

func setSettings(p *skerryv1.Player, cmd *skerryv1.SetSettings) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	next := p.GetSettings().CloneVT()
	if next == nil {
		next = &skerryv1.Settings{}
	}
	switch {
	case cmd == nil || cmd.MusicVolume == nil && cmd.SoundVolume == nil && cmd.EnableNotifications == nil:
		return nil, nil, refuse(ErrBadRequest, "setSettings", "sets nothing")
	case !isVolume(or(cmd.MusicVolume, 0)):
		return nil, nil, refuse(ErrBadRequest, "setSettings.musicVolume", "is %v, not within 0..1", cmd.GetMusicVolume())
	case !isVolume(or(cmd.SoundVolume, 0)):
		return nil, nil, refuse(ErrBadRequest, "setSettings.soundVolume", "is %v, not within 0..1", cmd.GetSoundVolume())
	}
	next.MusicVolume = volume(or(cmd.MusicVolume, next.MusicVolume))
	next.SoundVolume = volume(or(cmd.SoundVolume, next.SoundVolume))
	next.EnableNotifications = or(cmd.EnableNotifications, next.EnableNotifications)
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_SettingsChanged{SettingsChanged: &storev1.SettingsChanged{Settings: next}}},
		&skerryv1.PlayerReply{Reply: &skerryv1.PlayerReply_Settings{Settings: next}}, nil
}

func setSpawnerSlot(rules *Rules, cmd *skerryv1.SetSpawnerSlot) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	slot := &skerryv1.SpawnerSlot{Slot: cmd.GetSlot(), Mob: strings.Clone(cmd.GetMob())}
	if slot.GetSlot() < 0 || int(slot.GetSlot()) >= rules.spawnerSlots() {
		return nil, nil, refuse(ErrBadSlot, "setSpawnerSlot.slot", "is %d, not within 0..%d", slot.GetSlot(), rules.spawnerSlots()-1)
	}
	if err := checkMob(slot.GetMob(), "setSpawnerSlot.mob"); err != nil {
		return nil, nil, err
	}
	var err error
	if slot.Metadata, err = items.Metadata(cmd.GetMetadata(), "setSpawnerSlot.metadata"); err != nil {
		return nil, nil, err
	}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_SpawnerSlotSet{SpawnerSlotSet: &storev1.SpawnerSlotSet{Slot: slot}}}, done(), nil
}

func checkMob(mob, field string) error {
	if mob == "" {
		return refuse(ErrBadRequest, field, "is empty")
	}
	return items.CheckText(mob, maxMobLength, field)
}

// clearSpawnerSlot empties a slot; emptying an empty one is fine. A slot beyond what the rules give now may be emptied too.
func clearSpawnerSlot(rules *Rules, p *skerryv1.Player, cmd *skerryv1.ClearSpawnerSlot) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	slot := cmd.GetSlot()
	if _, filled := findSpawner(p, slot); !filled && (slot < 0 || int(slot) >= rules.spawnerSlots()) {
		return nil, nil, refuse(ErrBadSlot, "clearSpawnerSlot.slot", "is %d, not within 0..%d", slot, rules.spawnerSlots()-1)
	}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_SpawnerSlotCleared{SpawnerSlotCleared: &storev1.SpawnerSlotCleared{Slot: slot}}}, done(), nil
}

// findSpawner returns the place of a slot among the filled ones, and whether it is there.
func findSpawner(p *skerryv1.Player, slot int32) (int, bool) {
	return slices.BinarySearchFunc(p.GetDungeonData().GetMobSpawnerSlots(), slot, func(s *skerryv1.SpawnerSlot, slot int32) int {
		return int(s.GetSlot()) - int(slot)
	})
}

func evolveSpawner(p *skerryv1.Player, slot *skerryv1.SpawnerSlot) {
	if p.DungeonData == nil {
		p.DungeonData = &skerryv1.DungeonData{}
	}
	filled := slot.CloneVT()
	if filled == nil {
		filled = &skerryv1.SpawnerSlot{}
	}
	slots := &p.DungeonData.MobSpawnerSlots
	if at, found := findSpawner(p, slot.GetSlot()); found {
		(*slots)[at] = filled
	} else {
		*slots = slices.Insert(*slots, at, filled)
	}
}

func clearSpawner(p *skerryv1.Player, slot int32) {
	if at, found := findSpawner(p, slot); found {
		p.DungeonData.MobSpawnerSlots = slices.Delete(p.DungeonData.MobSpawnerSlots, at, at+1)
	}
}
