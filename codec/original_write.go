package codec

import (
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// PlayerToOriginal returns p in the original's JSON: all slots as arrays of objects without nulls, spawners by their
// numbers from 1, times as Unix seconds, attributes as fields of the document where no known field has their name, else
// under "attributes". [PlayerFromOriginal] makes the same player of it. The result shares no memory with p.
func PlayerToOriginal(p *skerryv1.Player) *structpb.Struct {
	profile, statistics, settings := p.GetProfile(), p.GetStatistics(), p.GetSettings()
	fields := map[string]*structpb.Value{
		"version": integer(1),
		"profile": objectOf(map[string]*structpb.Value{
			"level":        integer(int64(profile.GetLevel())),
			"experience":   integer(profile.GetExperience()),
			"coins":        integer(profile.GetCoins()),
			"gems":         integer(profile.GetGems()),
			"manaCrystals": integer(profile.GetManaCrystals()),
		}),
		"statistics": objectOf(map[string]*structpb.Value{
			"gamesPlayed":     integer(statistics.GetGamesPlayed()),
			"enemiesDefeated": integer(statistics.GetEnemiesDefeated()),
			"coinsEarned":     integer(statistics.GetCoinsEarned()),
			"itemsCollected":  integer(statistics.GetItemsCollected()),
			"totalPlayTime":   integer(statistics.GetTotalPlayTime()),
			"blocksPlaced":    integer(statistics.GetBlocksPlaced()),
			"blocksBroken":    integer(statistics.GetBlocksBroken()),
		}),
		"inventory": objectOf(map[string]*structpb.Value{
			"hotbar":    stacksToOriginal(p.GetInventory().GetHotbar()),
			"inventory": stacksToOriginal(p.GetInventory().GetInventory()),
		}),
		"dailyRewards": dailyRewardsToOriginal(p.GetDailyRewards()),
		"dungeonData":  dungeonDataToOriginal(p.GetDungeonData()),
		"settings": objectOf(map[string]*structpb.Value{
			"musicVolume":         structpb.NewNumberValue(settings.GetMusicVolume()),
			"soundVolume":         structpb.NewNumberValue(settings.GetSoundVolume()),
			"enableNotifications": structpb.NewBoolValue(settings.GetEnableNotifications()),
		}),
	}
	for name, at := range map[string]*timestamppb.Timestamp{
		"createdAt": p.GetCreatedAt(), "lastLogin": p.GetLastLogin(), "lastSave": p.GetLastSave(),
	} {
		if at != nil {
			fields[name] = structpb.NewNumberValue(float64(at.AsTime().UnixMilli()) / 1000)
		}
	}
	if p.GetName() != "" {
		fields["name"] = structpb.NewStringValue(p.GetName())
	}
	attributesToOriginal(fields, p.GetAttributes())
	return &structpb.Struct{Fields: fields}
}

func stacksToOriginal(slots []*skerryv1.ItemStack) *structpb.Value {
	list := &structpb.ListValue{Values: make([]*structpb.Value, 0, len(slots))}
	for _, stack := range slots {
		fields := map[string]*structpb.Value{
			"itemId":   integer(int64(stack.GetItemId())),
			"count":    integer(int64(stack.GetCount())),
			"maxStack": integer(int64(stack.GetMaxStack())),
		}
		addMetadata(fields, stack.GetMetadata())
		list.Values = append(list.Values, objectOf(fields))
	}
	return structpb.NewListValue(list)
}

func dailyRewardsToOriginal(rewards *skerryv1.DailyRewards) *structpb.Value {
	fields := map[string]*structpb.Value{
		"currentStreak":    integer(int64(rewards.GetCurrentStreak())),
		"totalDaysClaimed": integer(int64(rewards.GetTotalDaysClaimed())),
	}
	if rewards.GetLastClaimDate() != "" {
		fields["lastClaimDate"] = structpb.NewStringValue(rewards.GetLastClaimDate())
	}
	return objectOf(fields)
}

func dungeonDataToOriginal(data *skerryv1.DungeonData) *structpb.Value {
	spawners := map[string]*structpb.Value{}
	for _, spawner := range data.GetMobSpawnerSlots() {
		fields := map[string]*structpb.Value{"mob": structpb.NewStringValue(spawner.GetMob())}
		addMetadata(fields, spawner.GetMetadata())
		spawners[strconv.Itoa(int(spawner.GetSlot())+1)] = objectOf(fields)
	}
	return objectOf(map[string]*structpb.Value{"mobSpawnerSlots": objectOf(spawners)})
}

// attributesToOriginal adds attributes to the document's fields.
func attributesToOriginal(fields map[string]*structpb.Value, attributes *structpb.Struct) {
	hidden := map[string]*structpb.Value{}
	for key, v := range attributes.GetFields() {
		if knownOriginal(key) {
			hidden[key] = proto.CloneOf(v)
		} else {
			fields[key] = proto.CloneOf(v)
		}
	}
	if len(hidden) > 0 {
		fields["attributes"] = objectOf(hidden)
	}
}

// knownOriginal reports whether the original's documents have a field of this name.
func knownOriginal(name string) bool {
	switch name {
	case "version", "name", "profile", "statistics", "inventory", "dailyRewards", "dungeonData", "settings",
		"createdAt", "lastLogin", "lastSave", "attributes":
		return true
	default:
		return false
	}
}

func addMetadata(fields map[string]*structpb.Value, metadata *structpb.Struct) {
	if len(metadata.GetFields()) > 0 {
		fields["metadata"] = structpb.NewStructValue(proto.CloneOf(metadata))
	}
}

// integer is exact up to 2^53, which the rules keep every balance below; beyond, it is a string.
func integer(n int64) *structpb.Value {
	if n > maxExact || n < -maxExact {
		return structpb.NewStringValue(strconv.FormatInt(n, 10))
	}
	return structpb.NewNumberValue(float64(n))
}

func objectOf(fields map[string]*structpb.Value) *structpb.Value {
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}
