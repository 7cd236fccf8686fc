package player

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// tightRules make full inventories, full stacks and the caps common.
func tightRules() *Rules {
	return &Rules{
		HotbarSlots: 2, InventorySlots: 3, MaxStack: 4, MaxStackByItem: map[int32]int32{2: 1}, GreatestMaxStack: 6,
		GreatestBalance: 300, SpawnerSlots: 3, AttributesBytes: 100, NameLength: 4, LevelCurve: LevelCurve{First: 3, Step: 2, GreatestLevel: 5},
		DailyRewards: []int64{1, 20},
	}
}

func drawStack(t *rapid.T) *skerryv1.ItemStack {
	stack := &skerryv1.ItemStack{
		ItemId:   rapid.Int32Range(-1, 3).Draw(t, "item"),
		Count:    rapid.Int32Range(-1, 7).Draw(t, "count"),
		MaxStack: rapid.SampledFrom([]int32{0, 0, 0, 1, 6, 7, -1}).Draw(t, "maxStack"),
	}
	if rapid.IntRange(0, 2).Draw(t, "with metadata") == 0 {
		stack.Metadata = drawStruct(t, 2)
	}
	return stack
}

func drawRef(t *rapid.T) *skerryv1.SlotRef {
	return &skerryv1.SlotRef{
		Container: skerryv1.Container(rapid.SampledFrom([]int32{1, 1, 1, 2, 2, 2, 0, 3}).Draw(t, "container")),
		Index:     rapid.Int32Range(-1, 4).Draw(t, "index"),
	}
}

func drawStacks(t *rapid.T, about int) []*skerryv1.ItemStack {
	stacks := make([]*skerryv1.ItemStack, about+rapid.SampledFrom([]int{0, 0, 0, 0, 1, -1}).Draw(t, "more"))
	for i := range stacks {
		stacks[i] = &skerryv1.ItemStack{}
		if rapid.Bool().Draw(t, "filled") {
			stacks[i] = &skerryv1.ItemStack{ItemId: rapid.Int32Range(1, 3).Draw(t, "item"), Count: 1}
		}
	}
	return stacks
}

// drawCommand draws any command, good or bad.
func drawCommand(t *rapid.T) *skerryv1.PlayerCommand {
	amount := func() int64 {
		return rapid.OneOf(rapid.Int64Range(-1, 200), rapid.Int64()).Draw(t, "amount")
	}
	currency := func() skerryv1.Currency { return skerryv1.Currency(rapid.Int32Range(0, 4).Draw(t, "currency")) }
	count := func() int32 { return rapid.Int32Range(-1, 8).Draw(t, "count") }
	path := func() string {
		return rapid.SampledFrom([]string{"a", "a.b", "a.b.c", "b", "b.a", "", "a..b", "a[0]"}).Draw(t, "path")
	}
	name := func() string {
		return rapid.SampledFrom([]string{"Ann", "Bob", "", "a\x00", "Maximilian", "\xff"}).Draw(t, "name")
	}
	cmd := &skerryv1.PlayerCommand{}
	switch rapid.IntRange(1, 19).Draw(t, "command") {
	case 1:
		cmd.Command = &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: currency(), Amount: amount()}}
	case 2:
		cmd.Command = &skerryv1.PlayerCommand_Spend{Spend: &skerryv1.Spend{Currency: currency(), Amount: amount()}}
	case 3:
		cmd.Command = &skerryv1.PlayerCommand_AddExperience{AddExperience: &skerryv1.AddExperience{Amount: amount()}}
	case 4:
		delta := &skerryv1.Statistics{GamesPlayed: amount(), CoinsEarned: amount(), BlocksBroken: amount()}
		cmd.Command = &skerryv1.PlayerCommand_AddStatistics{AddStatistics: &skerryv1.AddStatistics{Delta: delta}}
	case 5:
		s := drawStack(t)
		cmd.Command = &skerryv1.PlayerCommand_Give{Give: &skerryv1.Give{ItemId: s.GetItemId(), Count: s.GetCount(), MaxStack: s.GetMaxStack(), Metadata: s.Metadata}}
	case 6:
		cmd.Command = &skerryv1.PlayerCommand_Take{Take: &skerryv1.Take{ItemId: rapid.Int32Range(-1, 3).Draw(t, "item"), Count: count()}}
	case 7:
		cmd.Command = &skerryv1.PlayerCommand_Move{Move: &skerryv1.Move{From: drawRef(t), To: drawRef(t), Count: count()}}
	case 8:
		cmd.Command = &skerryv1.PlayerCommand_Swap{Swap: &skerryv1.Swap{A: drawRef(t), B: drawRef(t)}}
	case 9:
		cmd.Command = &skerryv1.PlayerCommand_Split{Split: &skerryv1.Split{From: drawRef(t), To: drawRef(t), Count: count()}}
	case 10:
		cmd.Command = &skerryv1.PlayerCommand_SetSlot{SetSlot: &skerryv1.SetSlot{Slot: drawRef(t), Stack: drawStack(t)}}
	case 11:
		cmd.Command = &skerryv1.PlayerCommand_SetInventory{SetInventory: &skerryv1.SetInventory{Hotbar: drawStacks(t, 2), Inventory: drawStacks(t, 3)}}
	case 12:
		cmd.Command = &skerryv1.PlayerCommand_ClaimDailyReward{ClaimDailyReward: &skerryv1.ClaimDailyReward{}}
	case 13:
		settings := &skerryv1.SetSettings{MusicVolume: new(rapid.Float64Range(-0.2, 1.2).Draw(t, "volume")), EnableNotifications: new(rapid.Bool().Draw(t, "notify"))}
		cmd.Command = &skerryv1.PlayerCommand_SetSettings{SetSettings: settings}
	case 14:
		spawner := &skerryv1.SetSpawnerSlot{Slot: rapid.Int32Range(-1, 3).Draw(t, "slot"), Mob: name(), Metadata: drawStruct(t, 2)}
		cmd.Command = &skerryv1.PlayerCommand_SetSpawnerSlot{SetSpawnerSlot: spawner}
	case 15:
		cmd.Command = &skerryv1.PlayerCommand_ClearSpawnerSlot{ClearSpawnerSlot: &skerryv1.ClearSpawnerSlot{Slot: rapid.Int32Range(-1, 3).Draw(t, "slot")}}
	case 16:
		cmd.Command = &skerryv1.PlayerCommand_SetAttribute{SetAttribute: &skerryv1.SetAttribute{Path: path(), Value: drawValue(t, 3)}}
	case 17:
		cmd.Command = &skerryv1.PlayerCommand_RemoveAttribute{RemoveAttribute: &skerryv1.RemoveAttribute{Path: path()}}
	case 18:
		increment := &skerryv1.IncrementAttribute{Path: path(), By: rapid.Float64Range(-2, 2).Draw(t, "by"), Max: new(3.0)}
		cmd.Command = &skerryv1.PlayerCommand_IncrementAttribute{IncrementAttribute: increment}
	case 19:
		cmd.Command = &skerryv1.PlayerCommand_Rename{Rename: &skerryv1.Rename{Name: name()}}
	}
	if rapid.IntRange(0, 9).Draw(t, "expects") == 0 {
		cmd.Expect = &skerryv1.Expect{Path: "profile.coins", Value: structpb.NewNumberValue(float64(rapid.Int64Range(90, 110).Draw(t, "coins")))}
	}
	return cmd
}

// itemsOf counts what lies in the slots, by item and metadata.
func itemsOf(p *skerryv1.Player) map[string]int64 {
	sum := map[string]int64{}
	for _, container := range containers() {
		for _, stack := range slotsOf(p, container) {
			if !items.IsEmpty(stack) {
				kind, err := proto.MarshalOptions{Deterministic: true}.Marshal(&skerryv1.ItemStack{ItemId: stack.GetItemId(), Metadata: stack.GetMetadata()})
				if err != nil {
					panic(err)
				}
				sum[string(kind)] += int64(stack.GetCount())
			}
		}
	}
	return sum
}

// wipe clears everything in m, in place, as a caller does who uses a message again.
func wipe(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
				wipe(value.Message())
				m.Mutable(field).Map().Clear(key)
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				wipe(value.List().Get(i).Message())
			}
		case field.Message() != nil:
			wipe(value.Message())
		}
		m.Clear(field)
		return true
	})
}

// journal is a player as the cluster keeps one: the document, and copies of the events that made it.
type journal struct {
	rules  *Rules
	p      *skerryv1.Player
	now    time.Time
	events []*storev1.PlayerEvent
}

func newJournal(rules *Rules) *journal {
	j := &journal{rules: rules, p: &skerryv1.Player{}, now: testTurn().Now}
	j.evolve([]*storev1.PlayerEvent{{Event: &storev1.PlayerEvent_Created{Created: New(rules, "Ann", testTurn())}}})
	return j
}

// evolve applies events and wipes them, which must not reach the document.
func (j *journal) evolve(events []*storev1.PlayerEvent) {
	for _, event := range events {
		j.events = append(j.events, event.CloneVT())
		if err := Evolve(j.p, event); err != nil {
			panic(err)
		}
		want := j.p.CloneVT()
		wipe(event.ProtoReflect())
		if !proto.Equal(j.p, want) {
			panic(fmt.Sprintf("wiping the event %v made %v of %v", j.events[len(j.events)-1], j.p, want))
		}
	}
}

// decide does cmds in one turn and checks what must hold of any; it reports whether they were accepted.
func (j *journal) decide(t *rapid.T, cmds ...*skerryv1.PlayerCommand) bool {
	before := j.p.CloneVT()
	asked := make([]*skerryv1.PlayerCommand, len(cmds))
	for i, cmd := range cmds {
		asked[i] = cmd.CloneVT()
	}
	turn := Turn{Now: j.now, Seed: 1}
	events, replies, err := DecideAll(j.rules, j.p, cmds, turn)
	if !proto.Equal(j.p, before) {
		t.Fatalf("deciding %v made %v of %v", cmds, j.p, before)
	}
	for i := range cmds {
		if !proto.Equal(cmds[i], asked[i]) {
			t.Fatalf("deciding made %v of the command %v", cmds[i], asked[i])
		}
	}
	if err != nil {
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.CommandIndex < 0 || refusal.CommandIndex >= len(cmds) || events != nil || replies != nil {
			t.Fatalf("refused with %v, %v and %v", err, events, replies)
		}
		return false
	}
	if len(events) != len(cmds) || len(replies) != len(cmds) {
		t.Fatalf("%d commands, %d events, %d replies", len(cmds), len(events), len(replies))
	}
	again, answers, err := DecideAll(j.rules, j.p, cmds, turn)
	for i := range again {
		if err != nil || !proto.Equal(again[i], events[i]) {
			t.Fatalf("decided %v, then %v (%v)", events[i], again[i], err)
		}
		wipe(again[i].ProtoReflect())
		wipe(answers[i].ProtoReflect())
	}
	if !proto.Equal(j.p, before) {
		t.Fatalf("wiping the events of %v made %v of %v", cmds, j.p, before)
	}
	decided := make([]*storev1.PlayerEvent, len(events))
	for i, event := range events {
		decided[i] = event.CloneVT()
	}
	for _, cmd := range cmds {
		wipe(cmd.ProtoReflect())
	}
	for i, event := range events {
		if !proto.Equal(event, decided[i]) {
			t.Fatalf("wiping the command made %v of the event %v", event, decided[i])
		}
	}
	j.evolve(events)
	return true
}

// Goal: whatever commands come in whatever order, the document stays valid and the events tell the whole story.
func TestAnyCommandsKeepTheDocumentValid(t *testing.T) {
	rules := tightRules()
	rapid.Check(t, func(t *rapid.T) {
		j := newJournal(rules)
		t.Repeat(map[string]func(*rapid.T){
			"one command": func(t *rapid.T) { j.decide(t, drawCommand(t)) },
			"a turn of several": func(t *rapid.T) {
				cmds := []*skerryv1.PlayerCommand{drawCommand(t), drawCommand(t), drawCommand(t)}
				alone := &journal{rules: rules, p: j.p.CloneVT(), now: j.now}
				all := true
				for _, cmd := range cmds {
					all = all && alone.decide(t, cmd.CloneVT())
				}
				if accepted := j.decide(t, cmds...); accepted != all || accepted && !proto.Equal(j.p, alone.p) {
					t.Fatalf("one by one accepted is %v, together %v:\n%v\n%v", all, accepted, alone.p, j.p)
				}
			},
			"some days pass": func(t *rapid.T) { j.now = j.now.AddDate(0, 0, rapid.IntRange(0, 2).Draw(t, "days")) },
			"": func(t *rapid.T) {
				if err := Check(rules, j.p); err != nil {
					t.Fatalf("%v in %v", err, j.p)
				}
			},
		})
		replayed := &skerryv1.Player{}
		for _, event := range j.events {
			bytes, err := event.MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			read := &storev1.PlayerEvent{}
			if err := read.UnmarshalVT(bytes); err != nil {
				t.Fatal(err)
			}
			if err := Evolve(replayed, read); err != nil {
				t.Fatal(err)
			}
		}
		if !proto.Equal(replayed, j.p) {
			t.Fatalf("replay gives\n%v, want\n%v", replayed, j.p)
		}
	})
}

// Goal: items come only from give and set, and go only with take and set.
func TestItemsAreConserved(t *testing.T) {
	rules := tightRules()
	rapid.Check(t, func(t *rapid.T) {
		j := newJournal(rules)
		total := func() (sum int64) {
			for _, count := range itemsOf(j.p) {
				sum += count
			}
			return sum
		}
		t.Repeat(map[string]func(*rapid.T){
			"give": func(t *rapid.T) {
				item, count, before := rapid.Int32Range(1, 3).Draw(t, "item"), rapid.Int32Range(1, 6).Draw(t, "count"), total()
				given := &skerryv1.Give{ItemId: item, Count: count, Metadata: drawStruct(t, 1)}
				accepted := j.decide(t, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Give{Give: given}})
				if want := before + int64(count); accepted && total() != want || !accepted && total() != before {
					t.Fatalf("accepted is %v: %d items became %d", accepted, before, total())
				}
			},
			"take": func(t *rapid.T) {
				item, count, before := rapid.Int32Range(1, 3).Draw(t, "item"), rapid.Int32Range(1, 6).Draw(t, "count"), total()
				accepted := j.decide(t, &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Take{Take: &skerryv1.Take{ItemId: item, Count: count}}})
				if want := before - int64(count); accepted && total() != want || !accepted && total() != before {
					t.Fatalf("accepted is %v: %d items became %d", accepted, before, total())
				}
			},
			"rearrange": func(t *rapid.T) {
				before := itemsOf(j.p)
				from, to, count := drawRef(t), drawRef(t), rapid.Int32Range(0, 4).Draw(t, "count")
				cmd := &skerryv1.PlayerCommand{}
				switch rapid.IntRange(0, 2).Draw(t, "how") {
				case 0:
					cmd.Command = &skerryv1.PlayerCommand_Move{Move: &skerryv1.Move{From: from, To: to, Count: count}}
				case 1:
					cmd.Command = &skerryv1.PlayerCommand_Swap{Swap: &skerryv1.Swap{A: from, B: to}}
				default:
					cmd.Command = &skerryv1.PlayerCommand_Split{Split: &skerryv1.Split{From: from, To: to, Count: count}}
				}
				j.decide(t, cmd)
				after := itemsOf(j.p)
				if len(after) != len(before) {
					t.Fatalf("%v became %v", before, after)
				}
				for kind, count := range before {
					if after[kind] != count {
						t.Fatalf("%v became %v", before, after)
					}
				}
			},
		})
	})
}

// FuzzDecide: no bytes that decode as a command can crash the rules or make an invalid document.
func FuzzDecide(f *testing.F) {
	for _, seed := range []string{
		`{"earn":{"currency":"COINS","amount":1},"expect":{"path":"inventory.hotbar[0].itemId","value":7}}`,
		`{"give":{"itemId":7,"count":70,"metadata":{"a":[1,{"b":null}]}}}`,
		`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"INVENTORY"},"count":4}}`,
		`{"setInventory":{"hotbar":[{},{},{},{},{},{},{},{},{"itemId":1,"count":1}]}}`,
		`{"setAttribute":{"path":"quest.step","value":{"a":[true,"x"]}}}`,
		`{"incrementAttribute":{"path":"quest.step","by":1.5,"min":0,"max":9}}`,
		`{"setSpawnerSlot":{"slot":3,"mob":"slime"}}`, `{"claimDailyReward":{}}`, `{"rename":{"name":"Bob"}}`,
		`{"setSettings":{"musicVolume":0.5}}`, `{"addStatistics":{"delta":{"blocksPlaced":5}}}`,
	} {
		bytes, err := command(f, seed).MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes)
	}
	start := ann(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd := &skerryv1.PlayerCommand{}
		if cmd.UnmarshalVT(data) != nil {
			return
		}
		p := start.CloneVT()
		events, reply, err := Decide(nil, p, cmd, testTurn())
		if !proto.Equal(p, start) {
			t.Fatalf("deciding made %v", p)
		}
		if err != nil {
			var refusal *Refusal
			if !errors.As(err, &refusal) || events != nil || reply != nil {
				t.Fatalf("%v, %v, %v", events, reply, err)
			}
			return
		}
		for _, event := range events {
			bytes, err := proto.Marshal(event) // checks UTF-8, which MarshalVT does not
			if err != nil {
				t.Fatal(err)
			}
			read := &storev1.PlayerEvent{}
			if err := proto.Unmarshal(bytes, read); err != nil {
				t.Fatal(err)
			}
			if err := Evolve(p, read); err != nil {
				t.Fatal(err)
			}
		}
		if err := Check(nil, p); err != nil {
			t.Fatalf("%v made an invalid document: %v", cmd, err)
		}
	})
}
