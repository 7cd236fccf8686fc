package player

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

func testTurn() Turn { return Turn{Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Seed: 1} }

// command reads a command as the JSON API does.
func command(tb testing.TB, text string) *skerryv1.PlayerCommand {
	tb.Helper()
	cmd := &skerryv1.PlayerCommand{}
	if err := protojson.Unmarshal([]byte(text), cmd); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return cmd
}

// run does commands, each of which must be accepted, to p.
func run(tb testing.TB, rules *Rules, p *skerryv1.Player, commands ...string) *skerryv1.PlayerReply {
	tb.Helper()
	var reply *skerryv1.PlayerReply
	for _, text := range commands {
		events, answer, err := Decide(rules, p, command(tb, text), testTurn())
		if err != nil {
			tb.Fatalf("%s: %v", text, err)
		}
		for _, event := range events {
			if err := Evolve(p, event); err != nil {
				tb.Fatalf("%s: %v", text, err)
			}
		}
		reply = answer
	}
	return reply
}

// ann is a player with some of everything.
func ann(tb testing.TB) *skerryv1.Player {
	tb.Helper()
	p := New(nil, "Ann", testTurn())
	run(tb, nil, p,
		`{"setSlot":{"slot":{"container":"HOTBAR","index":0},"stack":{"itemId":7,"count":10}}}`,
		`{"setSlot":{"slot":{"container":"HOTBAR","index":1},"stack":{"itemId":8,"count":1,"maxStack":1,"metadata":{"edge":1}}}}`,
		`{"setSlot":{"slot":{"container":"INVENTORY","index":0},"stack":{"itemId":7,"count":60}}}`,
		`{"setSlot":{"slot":{"container":"INVENTORY","index":26},"stack":{"itemId":7,"count":3,"metadata":{"gold":true}}}}`,
		`{"setSpawnerSlot":{"slot":2,"mob":"zombie","metadata":{"rate":2}}}`,
		`{"setAttribute":{"path":"quest","value":{"step":1,"name":"dragon","gone":null}}}`,
		`{"setAttribute":{"path":"list","value":[1,{"a":2}]}}`,
		`{"setAttribute":{"path":"text","value":"hi"}}`,
	)
	return p
}

// json is what the JSON API shows of a message.
func json(tb testing.TB, m proto.Message) string {
	tb.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.ReplaceAll(string(text), " ", "")
}

func TestDecideAllBoundsTheCommands(t *testing.T) {
	p := ann(t)
	for name, c := range map[string]struct {
		count int
		want  error
	}{"none": {0, ErrBadRequest}, "101": {101, ErrTooLarge}, "100": {100, nil}} {
		cmds := make([]*skerryv1.PlayerCommand, c.count)
		for i := range cmds {
			cmds[i] = command(t, `{"earn":{"currency":"COINS","amount":1}}`)
		}
		_, _, err := DecideAll(nil, p, cmds, testTurn())
		var refusal *Refusal
		if !errors.Is(err, c.want) || errors.As(err, &refusal) && (refusal.CommandIndex != -1 || refusal.Field != "commands") {
			t.Errorf("%s: %v (%+v), want %v", name, err, refusal, c.want)
		}
	}
}

func TestDecideAllSeesWhatCameBefore(t *testing.T) {
	p := ann(t)
	cmds := []*skerryv1.PlayerCommand{
		command(t, `{"earn":{"currency":"COINS","amount":50}}`),
		command(t, `{"spend":{"currency":"COINS","amount":150},"expect":{"path":"profile.coins","value":150}}`),
		command(t, `{"give":{"itemId":9,"count":2}}`),
		command(t, `{"take":{"itemId":9,"count":2}}`),
		command(t, `{"setAttribute":{"path":"new.path","value":1}}`),
		command(t, `{"incrementAttribute":{"path":"new.path","by":1}}`),
		command(t, `{"rename":{"name":"Bob"},"expect":{"path":"attributes.new.path","value":2}}`),
		command(t, `{"clearSpawnerSlot":{"slot":2},"expect":{"path":"name","value":"Bob"}}`),
		command(t, `{"claimDailyReward":{}}`),
		command(t, `{"setSettings":{"enableNotifications":false}}`),
		command(t, `{"addStatistics":{"delta":{"blocksBroken":3}}}`),
		command(t, `{"addExperience":{"amount":100},"expect":{"path":"statistics.blocksBroken","value":"3"}}`),
	}
	before := proto.Clone(p)
	events, replies, err := DecideAll(nil, p, cmds, testTurn())
	if err != nil || len(events) != len(cmds) || len(replies) != len(cmds) {
		t.Fatalf("%d events, %d replies, %v", len(events), len(replies), err)
	}
	if !proto.Equal(p, before) {
		t.Fatalf("deciding changed the document to %v", p)
	}
	for _, event := range events {
		if err := Evolve(p, event); err != nil {
			t.Fatal(err)
		}
	}
	if p.GetProfile().GetCoins() != 50 || p.GetName() != "Bob" || p.GetProfile().GetLevel() != 2 || p.GetStatistics().GetItemsCollected() != 2 {
		t.Fatalf("became %s", json(t, p))
	}
}

// Goal: an accepted command gives exactly these results.
func TestCommands(t *testing.T) {
	for name, c := range map[string]struct {
		command string
		reply   string
		checks  []string // expectations that hold afterwards
	}{
		"earn coins": {
			`{"earn":{"currency":"COINS","amount":50}}`, `{"balance":{"currency":"COINS","balance":"150"}}`,
			[]string{`profile.coins 150`, `statistics.coinsEarned 50`},
		},
		"earn up to the cap": {
			`{"earn":{"currency":"COINS","amount":"9007199254740891"}}`, `{"balance":{"currency":"COINS","balance":"9007199254740991"}}`,
			[]string{`profile.coins "9007199254740991"`},
		},
		"earn gems": {
			`{"earn":{"currency":"GEMS","amount":5}}`, `{"balance":{"currency":"GEMS","balance":"15"}}`,
			[]string{`profile.gems 15`, `statistics.coinsEarned 0`},
		},
		"spend all": {
			`{"spend":{"currency":"COINS","amount":100}}`, `{"balance":{"currency":"COINS"}}`,
			[]string{`profile.coins 0`, `statistics.coinsEarned 0`},
		},
		"give fills stacks, then slots": {
			`{"give":{"itemId":7,"count":60}}`,
			`{"slots":{"slots":[{"container":"HOTBAR","stack":{"itemId":7,"count":64,"maxStack":64}},` +
				`{"container":"INVENTORY","stack":{"itemId":7,"count":64,"maxStack":64}},` +
				`{"container":"HOTBAR","index":2,"stack":{"itemId":7,"count":2,"maxStack":64}}]}}`,
			[]string{`statistics.itemsCollected 60`, `inventory.inventory[26].count 3`},
		},
		"give with metadata finds its like": {
			`{"give":{"itemId":7,"count":2,"metadata":{"gold":true}}}`,
			`{"slots":{"slots":[{"container":"INVENTORY","index":26,"stack":{"itemId":7,"count":5,"maxStack":64,"metadata":{"gold":true}}}]}}`, nil,
		},
		"give with its own maxStack": {
			`{"give":{"itemId":9,"count":3,"maxStack":2}}`,
			`{"slots":{"slots":[{"container":"HOTBAR","index":2,"stack":{"itemId":9,"count":2,"maxStack":2}},` +
				`{"container":"HOTBAR","index":3,"stack":{"itemId":9,"count":1,"maxStack":2}}]}}`, nil,
		},
		"take from the end": {
			`{"take":{"itemId":7,"count":64}}`,
			`{"slots":{"slots":[{"container":"INVENTORY","index":26,"stack":{}},{"container":"INVENTORY","stack":{}},` +
				`{"container":"HOTBAR","stack":{"itemId":7,"count":9,"maxStack":64}}]}}`,
			[]string{`inventory.inventory[26].metadata null`, `inventory.inventory[26].maxStack 0`, `statistics.itemsCollected 0`},
		},
		"move all": {
			`{"move":{"from":{"container":"HOTBAR","index":1},"to":{"container":"INVENTORY","index":5}}}`,
			`{"slots":{"slots":[{"container":"HOTBAR","index":1,"stack":{}},` +
				`{"container":"INVENTORY","index":5,"stack":{"itemId":8,"count":1,"maxStack":1,"metadata":{"edge":1}}}]}}`, nil,
		},
		"move some onto its like": {
			`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"INVENTORY"},"count":4}}`,
			`{"slots":{"slots":[{"container":"HOTBAR","stack":{"itemId":7,"count":6,"maxStack":64}},` +
				`{"container":"INVENTORY","stack":{"itemId":7,"count":64,"maxStack":64}}]}}`, nil,
		},
		"swap": {
			`{"swap":{"a":{"container":"HOTBAR"},"b":{"container":"HOTBAR","index":5}}}`,
			`{"slots":{"slots":[{"container":"HOTBAR","stack":{}},{"container":"HOTBAR","index":5,"stack":{"itemId":7,"count":10,"maxStack":64}}]}}`, nil,
		},
		"split": {
			`{"split":{"from":{"container":"INVENTORY","index":26},"to":{"container":"HOTBAR","index":8},"count":1}}`,
			`{"slots":{"slots":[{"container":"INVENTORY","index":26,"stack":{"itemId":7,"count":2,"maxStack":64,"metadata":{"gold":true}}},` +
				`{"container":"HOTBAR","index":8,"stack":{"itemId":7,"count":1,"maxStack":64,"metadata":{"gold":true}}}]}}`, nil,
		},
		"clear a slot": {
			`{"setSlot":{"slot":{"container":"HOTBAR","index":1}}}`, `{"slots":{"slots":[{"container":"HOTBAR","index":1,"stack":{}}]}}`,
			[]string{`inventory.hotbar[1].itemId 0`},
		},
		"clear a slot, half said": {
			`{"setSlot":{"slot":{"container":"HOTBAR","index":1},"stack":{"maxStack":9,"metadata":{"a":1}}}}`,
			`{"slots":{"slots":[{"container":"HOTBAR","index":1,"stack":{}}]}}`, nil,
		},
		"set a slot without metadata": {
			`{"setSlot":{"slot":{"container":"HOTBAR","index":1},"stack":{"itemId":3,"count":1,"metadata":{}}}}`,
			`{"slots":{"slots":[{"container":"HOTBAR","index":1,"stack":{"itemId":3,"count":1,"maxStack":64}}]}}`, nil,
		},
		"set inventory says what differs": {
			fmt.Sprintf(`{"setInventory":{"hotbar":[{"itemId":7,"count":10},%s],"inventory":[%s]}}`, empties(8), empties(27)),
			`{"slots":{"slots":[{"container":"HOTBAR","index":1,"stack":{}},{"container":"INVENTORY","stack":{}},{"container":"INVENTORY","index":26,"stack":{}}]}}`,
			[]string{`inventory.hotbar[0].count 10`, `statistics.itemsCollected 0`},
		},
		"settings know no minus zero": {
			`{"setSettings":{"soundVolume":-0.0}}`, `{"settings":{"musicVolume":0.8,"enableNotifications":true}}`, nil,
		},
		"settings keep what is absent": {
			`{"setSettings":{"soundVolume":0}}`, `{"settings":{"musicVolume":0.8,"enableNotifications":true}}`,
			[]string{`settings.soundVolume 0`, `settings.musicVolume 0.8`},
		},
		"spawner slots rise": {
			`{"setSpawnerSlot":{"slot":0,"mob":"slime"}}`, `{"done":{}}`,
			[]string{`dungeonData.mobSpawnerSlots[0].mob "slime"`, `dungeonData.mobSpawnerSlots[1].mob "zombie"`, `dungeonData.mobSpawnerSlots[2] null`},
		},
		"spawner slot replaced": {
			`{"setSpawnerSlot":{"slot":2,"mob":"slime"}}`, `{"done":{}}`,
			[]string{`dungeonData.mobSpawnerSlots[0].mob "slime"`, `dungeonData.mobSpawnerSlots[0].metadata null`, `dungeonData.mobSpawnerSlots[1] null`},
		},
		"spawner slot cleared":       {`{"clearSpawnerSlot":{"slot":2}}`, `{"done":{}}`, []string{`dungeonData.mobSpawnerSlots[0] null`}},
		"empty spawner slot cleared": {`{"clearSpawnerSlot":{"slot":9}}`, `{"done":{}}`, []string{`dungeonData.mobSpawnerSlots[0].slot 2`}},
		"attribute makes objects": {
			`{"setAttribute":{"path":"a.b","value":"x"}}`, `{"attribute":{"value":"x"}}`, []string{`attributes.a {"b":"x"}`},
		},
		"attribute through null": {
			`{"setAttribute":{"path":"quest.gone.b","value":[1]}}`, `{"attribute":{"value":[1]}}`, []string{`attributes.quest.gone {"b":[1]}`},
		},
		"attribute replaced": {
			`{"setAttribute":{"path":"quest","value":null}}`, `{"attribute":{"value":null}}`, []string{`attributes.quest null`, `attributes.text "hi"`},
		},
		"attribute 8 names": {
			`{"setAttribute":{"path":"a.b.c.d.e.f.g.h","value":1}}`, `{"attribute":{"value":1}}`, []string{`attributes.a.b.c.d.e.f.g.h 1`},
		},
		"attribute 8 deep": {
			`{"setAttribute":{"path":"a.b.c.d","value":{"e":{"f":{"g":{"h":1}}}}}}`,
			`{"attribute":{"value":{"e":{"f":{"g":{"h":1}}}}}}`,
			[]string{`attributes.a.b.c.d.e.f.g.h 1`},
		},
		"attribute removed": {
			`{"removeAttribute":{"path":"quest.step"}}`, `{"done":{}}`,
			[]string{`attributes.quest {"name":"dragon","gone":null}`},
		},
		"absent attribute removed": {`{"removeAttribute":{"path":"no.such.thing"}}`, `{"done":{}}`, []string{`attributes.no null`}},
		"increment":                {`{"incrementAttribute":{"path":"quest.step","by":-1.5,"min":-0.5}}`, `{"attribute":{"value":-0.5}}`, []string{`attributes.quest.step -0.5`}},
		"increment absent":         {`{"incrementAttribute":{"path":"n.m","by":2,"max":2}}`, `{"attribute":{"value":2}}`, []string{`attributes.n {"m":2}`}},
		"increment null":           {`{"incrementAttribute":{"path":"quest.gone","by":2}}`, `{"attribute":{"value":2}}`, nil},
		"rename":                   {`{"rename":{"name":"Zoë 🗡"}}`, `{"done":{}}`, []string{`name "Zoë 🗡"`}},
		"statistics":               {`{"addStatistics":{"delta":{"gamesPlayed":1,"blocksBroken":2}}}`, `{"statistics":{"gamesPlayed":"1","blocksBroken":"2"}}`, []string{`statistics.blocksBroken 2`}},
	} {
		p := ann(t)
		if got := json(t, run(t, nil, p, c.command)); got != c.reply {
			t.Errorf("%s: replied\n%s, want\n%s", name, got, c.reply)
		}
		for _, check := range c.checks {
			path, value, _ := strings.Cut(check, " ")
			asks := command(t, fmt.Sprintf(`{"expect":{"path":%q,"value":%s}}`, path, value))
			if err := expect(p, asks.GetExpect()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := Check(nil, p); err != nil {
			t.Errorf("%s: the document is no longer valid: %v", name, err)
		}
	}
}

func TestEvolveRefusesTheUnknown(t *testing.T) {
	for name, e := range map[string]*storev1.PlayerEvent{
		"nil":            nil,
		"empty":          {},
		"no document":    {Event: &storev1.PlayerEvent_Created{}},
		"no replacement": {Event: &storev1.PlayerEvent_DocumentReplaced{}},
		"odd currency":   {Event: &storev1.PlayerEvent_BalanceChanged{BalanceChanged: &storev1.BalanceChanged{Currency: 9, CoinsEarned: 4}}},
		"odd slot": {Event: &storev1.PlayerEvent_SlotsChanged{SlotsChanged: &storev1.SlotsChanged{ItemsCollected: 1, Slots: []*skerryv1.Slot{
			{Container: skerryv1.Container_HOTBAR, Index: 5, Stack: &skerryv1.ItemStack{ItemId: 1, Count: 1, MaxStack: 1}},
			{Container: skerryv1.Container_HOTBAR, Index: 1 << 20},
		}}}},
		"through text": {Event: &storev1.PlayerEvent_AttributeSet{AttributeSet: &storev1.AttributeSet{Path: "text.a", Value: number(1)}}},
	} {
		p := ann(t)
		before := proto.Clone(p)
		if err := Evolve(p, e); !errors.Is(err, ErrUnknownEvent) || !proto.Equal(p, before) {
			t.Errorf("%s: %v, and the document became %v", name, err, p)
		}
	}
}

func TestUnknownFieldsSurvive(t *testing.T) {
	newer := []byte{0xf8, 0x07, 0x01}
	p := ann(t)
	for _, m := range []proto.Message{p, p.GetProfile(), p.GetStatistics(), p.GetInventory().GetHotbar()[0], p.GetSettings(), p.GetDungeonData()} {
		m.ProtoReflect().SetUnknown(newer)
	}
	created := &skerryv1.Player{}
	if err := Evolve(created, &storev1.PlayerEvent{Event: &storev1.PlayerEvent_Created{Created: p}}); err != nil || !proto.Equal(created, p) {
		t.Fatalf("created %v (%v), want %v", created, err, p)
	}
	run(t, nil, created,
		`{"earn":{"currency":"COINS","amount":1}}`, `{"addStatistics":{"delta":{"blocksBroken":3}}}`, `{"claimDailyReward":{}}`,
		`{"setSettings":{"musicVolume":0.5}}`, `{"addExperience":{"amount":1}}`, `{"setSpawnerSlot":{"slot":0,"mob":"slime"}}`,
		`{"split":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":6},"count":4}}`,
		`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":7}}}`,
	)
	for name, m := range map[string]proto.Message{
		"player": created, "profile": created.GetProfile(), "statistics": created.GetStatistics(), "settings": created.GetSettings(),
		"dungeonData": created.GetDungeonData(), "the split stack": created.GetInventory().GetHotbar()[6], "the moved stack": created.GetInventory().GetHotbar()[7],
	} {
		if got := m.ProtoReflect().GetUnknown(); string(got) != string(newer) {
			t.Errorf("%s has %x, want %x", name, got, newer)
		}
	}
	onto := command(t, `{"move":{"from":{"container":"HOTBAR","index":6},"to":{"container":"INVENTORY"}}}`)
	if _, _, err := Decide(nil, created, onto, testTurn()); !errors.Is(err, ErrBadSlot) {
		t.Errorf("a stack with unknown fields merged into one without: %v", err)
	}
}

func TestNewPlayersShareNothing(t *testing.T) {
	a, b := New(nil, "Ann", testTurn()), New(nil, "Ann", testTurn())
	before := proto.Clone(b)
	a.Profile.Coins, a.Statistics.GamesPlayed, a.Settings.MusicVolume = 7, 7, 0.7
	a.DailyRewards.CurrentStreak, a.CreatedAt.Seconds, a.LastLogin.Seconds = 7, 7, 8
	for _, stack := range append(a.GetInventory().GetHotbar(), a.GetInventory().GetInventory()...) {
		stack.ItemId = 7
	}
	a.DungeonData.MobSpawnerSlots = append(a.DungeonData.MobSpawnerSlots, &skerryv1.SpawnerSlot{Slot: 1})
	if !proto.Equal(b, before) {
		t.Fatalf("changing one player made the other %v", b)
	}
	if err := Check(nil, b); err != nil {
		t.Fatal(err)
	}
}

func TestLogIn(t *testing.T) {
	p := ann(t)
	turn := Turn{Now: time.Date(2026, 3, 2, 1, 2, 3, 4_000_000, time.UTC)}
	for _, c := range []struct{ name, want string }{{"", "Ann"}, {"Ann", "Ann"}, {"Bob", "Bob"}} {
		event, err := LogIn(nil, p, c.name, turn)
		if err != nil {
			t.Fatal(err)
		}
		if c.name == "Ann" && event.GetLoggedIn().GetName() != "" {
			t.Errorf("the same name is in the event")
		}
		if err := Evolve(p, event); err != nil || p.GetName() != c.want || !p.GetLastLogin().AsTime().Equal(turn.Now) {
			t.Errorf("%q: %v, %s, %s", c.name, err, p.GetName(), p.GetLastLogin().AsTime())
		}
	}
	if p.GetStatistics().GetGamesPlayed() != 3 {
		t.Errorf("gamesPlayed = %d, want 3", p.GetStatistics().GetGamesPlayed())
	}
	if _, err := LogIn(nil, p, "a\x00", turn); !errors.Is(err, ErrBadRequest) {
		t.Errorf("a bad name: %v", err)
	}
}

func BenchmarkEarn(b *testing.B) {
	p := New(nil, "Ann", testTurn())
	cmd, turn := command(b, `{"earn":{"currency":"COINS","amount":1}}`), testTurn()
	b.ReportAllocs()
	for b.Loop() {
		events, _, err := Decide(nil, p, cmd, turn)
		if err != nil {
			b.Fatal(err)
		}
		if err := Evolve(p, events[0]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPurchase is a turn of three commands, as a shop sends it.
func BenchmarkPurchase(b *testing.B) {
	p := ann(b)
	p.Profile.Coins = MaxExact / 2
	cmds := []*skerryv1.PlayerCommand{
		command(b, `{"spend":{"currency":"COINS","amount":1}}`), command(b, `{"give":{"itemId":7,"count":1}}`), command(b, `{"take":{"itemId":7,"count":1}}`),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecideAll(nil, p, cmds, testTurn()); err != nil {
			b.Fatal(err)
		}
	}
}
