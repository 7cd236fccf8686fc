package world

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// ask does cmds in one turn and checks what must hold of any; it reports whether they were accepted.
func (l *land) ask(t *rapid.T, cmds ...*skerryv1.WorldCommand) bool {
	for _, at := range Needs(execute(cmds)) {
		l.chunk(at)
	}
	before, asked := l.fingerprint(), make([]*skerryv1.WorldCommand, len(cmds))
	for i, cmd := range cmds {
		asked[i] = cmd.CloneVT()
	}
	events, replies, err := l.decide(cmds...)
	if l.fingerprint() != before {
		t.Fatalf("deciding %v made %s of %s", cmds, l.fingerprint(), before)
	}
	for i := range cmds {
		if !proto.Equal(cmds[i], asked[i]) {
			t.Fatalf("deciding made %v of the command %v", cmds[i], asked[i])
		}
	}
	if err != nil {
		refusal, ok := errors.AsType[*items.Refusal](err)
		if !ok || refusal.CommandIndex < 0 || refusal.CommandIndex >= len(cmds) || events != nil || replies != nil {
			t.Fatalf("refused with %v, %v and %v", err, events, replies)
		}
		return false
	}
	if len(replies) != len(cmds) {
		t.Fatalf("%d commands, %d replies", len(cmds), len(replies))
	}
	decided := make([]*storev1.WorldEvent, len(events))
	for i, event := range events {
		decided[i] = event.CloneVT()
	}
	again, answers, err := l.decide(cmds...)
	for i := range again {
		if err != nil || !proto.Equal(again[i], events[i]) {
			t.Fatalf("decided %v, then %v (%v)", events[i], again[i], err)
		}
		scribble(again[i].ProtoReflect())
	}
	for _, answer := range answers {
		scribble(answer.ProtoReflect())
	}
	if l.fingerprint() != before {
		t.Fatalf("wiping the events of %v changed the world", cmds)
	}
	for _, cmd := range cmds {
		scribble(cmd.ProtoReflect())
	}
	for i, event := range events {
		if !proto.Equal(event, decided[i]) {
			t.Fatalf("wiping the command made %v of the event %v", event, decided[i])
		}
	}
	l.evolve(events)
	after := l.fingerprint()
	for _, event := range events {
		scribble(event.ProtoReflect())
	}
	if l.fingerprint() != after {
		t.Fatalf("wiping the events %v changed the world", decided)
	}
	return true
}

// Goal: whatever commands come in whatever order, the stored blocks are those of a map, everything stays valid, and the
// events tell the whole story.
func TestAnyCommandsAgreeWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLand(t, tightRules(), "7", tightWorld)
		m := &model{blocks: map[place3]uint16{}, full: map[Coord]bool{}, chests: map[place3]bool{}}
		t.Repeat(map[string]func(*rapid.T){
			"one command": func(t *rapid.T) {
				cmd := drawCommand(t)
				if asked := cmd.CloneVT(); l.ask(t, cmd) {
					m.apply(t, asked)
				}
			},
			"a turn of several": func(t *rapid.T) {
				cmds := []*skerryv1.WorldCommand{drawCommand(t), drawCommand(t), drawCommand(t)}
				alone := &land{tb: l.tb, rules: l.rules, world: l.world.CloneVT(), chunks: map[Coord]*Chunk{}}
				for at, c := range l.chunks {
					alone.chunks[at] = c.Clone()
				}
				asked, all := make([]*skerryv1.WorldCommand, len(cmds)), true
				for i, cmd := range cmds {
					asked[i] = cmd.CloneVT()
					all = all && alone.ask(t, cmd.CloneVT())
				}
				accepted := l.ask(t, cmds...)
				if accepted != all || accepted && l.fingerprintOf(alone) != alone.fingerprint() {
					t.Fatalf("one by one accepted is %v, together %v:\n%s\n%s", all, accepted, alone.fingerprint(), l.fingerprint())
				}
				for _, cmd := range asked {
					if accepted {
						m.apply(t, cmd)
					}
				}
			},
			"a chunk is stored and loaded": func(t *rapid.T) {
				if len(l.chunks) == 0 {
					return
				}
				all := slices.SortedFunc(maps.Keys(l.chunks), func(a, b Coord) int { return int(a.X-b.X)*100 + int(a.Z-b.Z) })
				at := rapid.SampledFrom(all).Draw(t, "chunk")
				l.chunks[at] = stored(t, l.chunks[at])
			},
			"": func(t *rapid.T) {
				if err := Check(l.rules, l.world); err != nil {
					t.Fatalf("%v in %v", err, l.world)
				}
				m.check(t, l)
			},
		})
		l.replay(t)
	})
}

// fingerprintOf is l's without chunks that other never needed.
func (l *land) fingerprintOf(other *land) string {
	kept := &land{world: l.world, chunks: maps.Clone(l.chunks)}
	maps.DeleteFunc(kept.chunks, func(at Coord, _ *Chunk) bool { return other.chunks[at] == nil })
	return kept.fingerprint()
}

// stored is c after it was saved, whole or with a delta upon it, and loaded.
func stored(t *rapid.T, c *Chunk) *Chunk {
	var whole, delta *storev1.ChunkPart
	saved := uint64(0)
	for seq := range uint64(2) {
		part, err := c.Save(seq+1, saved)
		if err != nil {
			t.Fatal(err)
		}
		data, err := part.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		read := &storev1.ChunkPart{}
		if err = read.UnmarshalVT(data); err != nil {
			t.Fatal(err)
		}
		if IsDelta(read) {
			delta = read
		} else {
			whole = read
		}
		if saved, err = ColumnHash(whole); err != nil {
			t.Fatal(err)
		}
	}
	loaded, seq, err := Load(c.Height, whole, delta)
	if err != nil || seq != 2 || fingerprint(loaded) != fingerprint(c) {
		t.Fatalf("at %d %s was loaded of %s: %v", seq, fingerprint(loaded), fingerprint(c), err)
	}
	return loaded
}

// replay makes the land again from the bytes of its events.
func (l *land) replay(t *rapid.T) {
	again := &land{tb: l.tb, rules: l.rules, world: &skerryv1.World{}, chunks: map[Coord]*Chunk{}}
	for _, event := range l.events {
		data, err := event.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		read := &storev1.WorldEvent{}
		if err = read.UnmarshalVT(data); err != nil {
			t.Fatal(err)
		}
		again.evolve([]*storev1.WorldEvent{read})
	}
	if !proto.Equal(again.world, l.world) {
		t.Fatalf("replay gives\n%v, want\n%v", again.world, l.world)
	}
	for at, want := range l.chunks {
		got := again.chunk(at)
		gotData, err := Show(again.world, at, got, skerryv1.ChunkForm_RUNS)
		if err != nil {
			t.Fatal(err)
		}
		wantData, err := Show(l.world, at, want, skerryv1.ChunkForm_RUNS)
		if err != nil || !proto.Equal(gotData, wantData) {
			t.Fatalf("replay gives %v %v, want %v (%v)", at, gotData, wantData, err)
		}
		if !slices.EqualFunc(got.Chests, want.Chests, func(a, b *storev1.StoredChest) bool { return proto.Equal(a, b) }) {
			t.Fatalf("replay gives %v the chests %v, want %v", at, got.Chests, want.Chests)
		}
	}
}

// Goal: items come into chests only by put and set, and go only by take and set.
func TestItemsInChestsAreConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLand(t, tightRules(), "7", tightWorld)
		l.run(`{"placeChest":{"x":0,"y":0,"z":0}}`, `{"placeChest":{"x":-1,"y":7,"z":0}}`)
		t.Repeat(map[string]func(*rapid.T){
			"a chest command": func(t *rapid.T) {
				cmd := &skerryv1.WorldCommand{}
				drawChestCommand(t, cmd)
				before, asked := l.items(), cmd.CloneVT()
				var old int64 // what lies in the one slot that a command names
				if ref := asked.GetSetChestSlot().GetSlot(); ref != nil {
					old = l.inSlot(ref.GetX(), ref.GetY(), ref.GetZ(), ref.GetIndex())
				}
				if take := asked.GetChestTake(); take != nil && take.Slot != nil && take.GetCount() == 0 {
					old = l.inSlot(take.GetX(), take.GetY(), take.GetZ(), take.GetSlot())
				}
				accepted := l.ask(t, cmd)
				want := before
				if accepted {
					switch c := asked.GetCommand().(type) {
					case *skerryv1.WorldCommand_ChestPut:
						want += int64(c.ChestPut.GetCount())
					case *skerryv1.WorldCommand_ChestTake:
						want -= max(int64(c.ChestTake.GetCount()), old)
					case *skerryv1.WorldCommand_SetChestSlot:
						want += int64(c.SetChestSlot.GetStack().GetCount()) - old
					}
				}
				if got := l.items(); got != want {
					t.Fatalf("%v, accepted is %v: %d items became %d, want %d", asked, accepted, before, got, want)
				}
			},
		})
	})
}

// items counts what lies in all chests.
func (l *land) items() (sum int64) {
	for _, c := range l.chunks {
		for _, chest := range c.Chests {
			for _, stack := range chest.GetSlots() {
				sum += int64(stack.GetCount())
			}
		}
	}
	return sum
}

func (l *land) inSlot(x, y, z, index int32) int64 {
	c := l.chunk(coordOf(x, z))
	if i, found := c.chest(inColumn(x, y+8, z)); found && index >= 0 && int(index) < len(c.Chests[i].GetSlots()) {
		return int64(c.Chests[i].GetSlots()[index].GetCount())
	}
	return 0
}
