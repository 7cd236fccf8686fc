package codec

import (
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

const (
	// maxSlots is how many slots a list has at most.
	maxSlots = 1024
	// usualMaxStack is the maxStack of a stack that says none, where nothing else is known.
	usualMaxStack = 64
)

// PlayerFromOriginal makes a player of a document in the original's JSON: tables as game servers keep them in data
// stores. Missing fields get defaults, each on its own. Slots are arrays with nulls or objects with "1", "2", … as names;
// an empty array stands for an empty object. Times are Unix seconds or RFC 3339; the last claim also a date. CreatedAt
// and LastLogin stay nil when the document does not have them. More slots than the defaults say are kept where an item
// needs them. Nothing is dropped: unknown fields go to the attributes, under their section's name when they are in one,
// those of a stack or a spawner to its metadata.
//
// It returns a [FieldError] that names the first field that is bad, and [ErrNewer] when the document's version is above
// 1. Whether sizes, names and maxStack are within a space's rules is the rules' to check. The result shares no memory
// with doc.
func PlayerFromOriginal(doc *structpb.Struct, defaults Defaults) (*skerryv1.Player, error) {
	if doc == nil {
		return nil, &FieldError{Reason: "the document is no object"}
	}
	if err := CheckText(doc); err != nil {
		return nil, err
	}
	var err error
	root := (&object{err: &err}).asObject("", structpb.NewStructValue(doc))
	if version := root.integer("version", 1, 0, math.MaxInt32); version > 1 {
		return nil, fmt.Errorf("%w: the original's document of version %d, this build knows 1", ErrNewer, version)
	}
	kept := map[string]map[string]*structpb.Value{} // what sections have beyond what is known
	section := func(name string, read func(*object)) {
		o := root.object(name)
		read(o)
		kept[name] = o.rest()
	}

	p := &skerryv1.Player{Version: PlayerVersion, Name: root.text("name")}
	section("profile", func(o *object) { p.Profile = originalProfile(o, defaults) })
	section("statistics", func(o *object) { p.Statistics = originalStatistics(o) })
	section("inventory", func(o *object) {
		p.Inventory = &skerryv1.Inventory{
			Hotbar:    originalSlots(o, "hotbar", defaults.HotbarSlots),
			Inventory: originalSlots(o, "inventory", defaults.InventorySlots),
		}
	})
	section("dailyRewards", func(o *object) { p.DailyRewards = originalDailyRewards(o) })
	section("dungeonData", func(o *object) { p.DungeonData = originalDungeonData(o) })
	section("settings", func(o *object) {
		p.Settings = &skerryv1.Settings{
			MusicVolume:         o.number("musicVolume", defaults.MusicVolume, 0, 1),
			SoundVolume:         o.number("soundVolume", defaults.SoundVolume, 0, 1),
			EnableNotifications: o.boolean("enableNotifications", defaults.EnableNotifications),
		}
	})
	p.CreatedAt = timestamp(root.time("createdAt"))
	p.LastLogin = timestamp(root.time("lastLogin"))
	root.time("lastSave") // comes from the snapshot, not from the document
	p.Attributes = originalAttributes(root, kept)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func originalProfile(o *object, d Defaults) *skerryv1.Profile {
	return &skerryv1.Profile{
		Level:        o.count("level", d.Level, 1),
		Experience:   o.integer("experience", d.Experience, 0, maxExact),
		Coins:        o.integer("coins", d.Coins, 0, maxExact),
		Gems:         o.integer("gems", d.Gems, 0, maxExact),
		ManaCrystals: o.integer("manaCrystals", d.ManaCrystals, 0, maxExact),
	}
}

func originalStatistics(o *object) *skerryv1.Statistics {
	return &skerryv1.Statistics{
		GamesPlayed:     o.integer("gamesPlayed", 0, 0, maxExact),
		EnemiesDefeated: o.integer("enemiesDefeated", 0, 0, maxExact),
		CoinsEarned:     o.integer("coinsEarned", 0, 0, maxExact),
		ItemsCollected:  o.integer("itemsCollected", 0, 0, maxExact),
		TotalPlayTime:   originalSeconds(o, "totalPlayTime"),
		BlocksPlaced:    o.integer("blocksPlaced", 0, 0, maxExact),
		BlocksBroken:    o.integer("blocksBroken", 0, 0, maxExact),
	}
}

// originalSeconds reads a play time, which game servers add up from clocks with fractions.
func originalSeconds(o *object, name string) int64 {
	if v := o.fields[name]; v != nil {
		if n, ok := v.GetKind().(*structpb.Value_NumberValue); ok {
			o.fields[name] = structpb.NewNumberValue(math.Floor(n.NumberValue))
		}
	}
	return o.integer(name, 0, 0, maxExact)
}

func originalSlots(o *object, name string, least int) []*skerryv1.ItemStack {
	var slots []*skerryv1.ItemStack
	o.slots(name, func(slot int, v *structpb.Value, in *object) {
		stack := originalStack(in.asObject("", v))
		if stack == nil {
			return
		}
		for len(slots) <= slot {
			slots = append(slots, nil)
		}
		slots[slot] = stack
	})
	return fillSlots(slots, least)
}

// originalStack returns nil for a slot that is empty, whatever else it says.
func originalStack(o *object) *skerryv1.ItemStack {
	counted := o.has("count")
	stack := &skerryv1.ItemStack{ItemId: o.count("itemId", 0, 0), Count: o.count("count", 0, 0)}
	switch {
	case stack.GetItemId() > 0 && !counted:
		o.bad("count", "is missing")
	case stack.GetItemId() == 0 && stack.GetCount() > 0:
		o.bad("itemId", "is 0, but count is %d", stack.GetCount())
	}
	if stack.GetCount() == 0 {
		return nil
	}
	stack.MaxStack = o.count("maxStack", 0, 0)
	switch {
	case stack.GetMaxStack() == 0:
		stack.MaxStack = max(usualMaxStack, stack.GetCount())
	case stack.GetCount() > stack.GetMaxStack():
		o.bad("count", "is %d, more than maxStack, %d", stack.GetCount(), stack.GetMaxStack())
	}
	stack.Metadata = originalMetadata(o)
	return stack
}

// originalMetadata returns the metadata of a stack or a spawner, with every other field that was not read.
func originalMetadata(o *object) *structpb.Struct {
	metadata := o.object("metadata").rest()
	return merge(o, metadata, o.rest())
}

func originalDailyRewards(o *object) *skerryv1.DailyRewards {
	rewards := &skerryv1.DailyRewards{
		CurrentStreak:    o.count("currentStreak", 0, 0),
		TotalDaysClaimed: o.count("totalDaysClaimed", 0, 0),
	}
	if at := o.time("lastClaimDate", time.DateOnly); !at.IsZero() {
		rewards.LastClaimDate = new(at.Format(time.DateOnly))
	}
	return rewards
}

// originalDungeonData reads spawners that are a mob's name, or an object with the name in "mob".
func originalDungeonData(o *object) *skerryv1.DungeonData {
	data := &skerryv1.DungeonData{}
	o.slots("mobSpawnerSlots", func(slot int, v *structpb.Value, in *object) {
		spawner := &skerryv1.SpawnerSlot{Slot: int32(slot)} //nolint:gosec // below maxSlots
		switch kind := v.GetKind().(type) {
		case *structpb.Value_NullValue:
			return
		case *structpb.Value_StringValue:
			spawner.Mob = kind.StringValue
		case *structpb.Value_BoolValue:
			if kind.BoolValue {
				in.bad("", "is true, not a mob")
			}
		default:
			fields := in.asObject("", v)
			if len(fields.fields) == 0 {
				return
			}
			if !fields.has("mob") {
				fields.bad("mob", "is missing")
			}
			spawner.Mob = fields.text("mob")
			spawner.Metadata = originalMetadata(fields)
		}
		if spawner.GetMob() != "" {
			data.MobSpawnerSlots = append(data.MobSpawnerSlots, spawner)
		}
	})
	slices.SortFunc(data.GetMobSpawnerSlots(), func(a, b *skerryv1.SpawnerSlot) int { return int(a.GetSlot() - b.GetSlot()) })
	return data
}

// originalAttributes returns the document's attributes with every field of the document that was not read.
func originalAttributes(root *object, kept map[string]map[string]*structpb.Value) *structpb.Struct {
	attributes := root.object("attributes").rest()
	sections := map[string]*structpb.Value{}
	for name, fields := range kept {
		if fields == nil {
			continue
		}
		if own, ok := attributes[name].GetKind().(*structpb.Value_StructValue); ok {
			within := &object{path: "attributes." + name, err: root.err}
			sections[name] = structpb.NewStructValue(merge(within, own.StructValue.GetFields(), fields))
			delete(attributes, name)
			continue
		}
		sections[name] = structpb.NewStructValue(&structpb.Struct{Fields: fields})
	}
	within := &object{path: "attributes", err: root.err}
	all := merge(within, attributes, sections)
	return merge(within, all.GetFields(), root.rest())
}

// merge returns an object with the fields of a and b, nil when there are none. A field of both is bad.
func merge(o *object, a, b map[string]*structpb.Value) *structpb.Struct {
	if len(a)+len(b) == 0 {
		return nil
	}
	if a == nil {
		a = map[string]*structpb.Value{}
	}
	for key, v := range b {
		if _, twice := a[key]; twice {
			o.bad(key, "is there twice: as a field of its own as well")
		}
		a[key] = v
	}
	return &structpb.Struct{Fields: a}
}

func timestamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}
