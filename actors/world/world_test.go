package world

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

func testTurn() Turn { return Turn{Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Seed: 1 << 60} }

// tester is a *testing.T, or a rapid one.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// command reads a command as the JSON API does.
func command(tb tester, text string) *skerryv1.WorldCommand {
	tb.Helper()
	cmd := &skerryv1.WorldCommand{}
	if err := protojson.Unmarshal([]byte(text), cmd); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return cmd
}

// land is a world as the cluster keeps one, with all its chunks loaded, and copies of the events that made it.
type land struct {
	tb     tester
	rules  *Rules
	world  *skerryv1.World
	chunks map[Coord]*Chunk
	events []*storev1.WorldEvent
}

func newLand(tb tester, rules *Rules, id, create string) *land {
	tb.Helper()
	asked := &skerryv1.Create{}
	if err := protojson.Unmarshal([]byte(create), asked); err != nil {
		tb.Fatal(err)
	}
	w, err := New(rules, id, asked, testTurn())
	if err != nil {
		tb.Fatal(err)
	}
	l := &land{tb: tb, rules: rules, world: &skerryv1.World{}, chunks: map[Coord]*Chunk{}}
	l.evolve([]*storev1.WorldEvent{{Event: &storev1.WorldEvent_Created{Created: w}}})
	return l
}

// island has three block names, a height of 16 from -8 up, a builder, a chest with something in it, and a full chunk.
func island(tb tester) *land {
	tb.Helper()
	l := newLand(tb, nil, "7~2", `{"ownerName":"Ann","minY":-8,"height":16,"blockNames":["air","stone","dirt"],"roles":{"9":"BUILDER"}}`)
	l.run(
		`{"placeChest":{"x":-1,"y":0,"z":-16}}`,
		`{"chestPut":{"x":-1,"y":0,"z":-16,"itemId":3,"count":70}}`,
		`{"placeChest":{"x":0,"y":0,"z":0}}`,
		`{"putChunk":{"chunk":{"x":2,"z":2,"palette":["stone","air"],"runs":[0,1024,1,3072]}}}`,
	)
	return l
}

// loaded lends only the chunks that are needed: another one is nil, and the rules panic.
type loaded struct {
	of     *land
	needed []Coord
}

func (p loaded) Chunk(at Coord) *Chunk {
	if !slices.Contains(p.needed, at) {
		return nil
	}
	return p.of.chunk(at)
}

func (l *land) chunk(at Coord) *Chunk {
	if l.chunks[at] == nil {
		l.chunks[at] = NewChunk(l.world)
	}
	return l.chunks[at]
}

// decide asks as an activation does: it loads what is needed, then decides.
func (l *land) decide(cmds ...*skerryv1.WorldCommand) ([]*storev1.WorldEvent, []*skerryv1.WorldReply, error) {
	needed := Needs(&skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldRequest{Commands: cmds}}})
	for _, at := range needed {
		l.chunk(at)
	}
	return DecideAll(l.rules, l.world, loaded{l, needed}, cmds, testTurn())
}

func (l *land) evolve(events []*storev1.WorldEvent) {
	l.tb.Helper()
	for _, event := range events {
		l.events = append(l.events, event.CloneVT())
		err := error(nil)
		if at, ofChunk := ChunkOf(event); ofChunk {
			err = EvolveChunk(l.chunk(at), event)
		} else {
			err = Evolve(l.world, event)
		}
		if err != nil {
			l.tb.Fatalf("%v: %v", event, err)
		}
	}
}

// run does commands, each of which must be accepted, and returns the last reply.
func (l *land) run(commands ...string) *skerryv1.WorldReply {
	l.tb.Helper()
	var reply *skerryv1.WorldReply
	for _, text := range commands {
		events, replies, err := l.decide(command(l.tb, text))
		if err != nil {
			l.tb.Fatalf("%s: %v", text, err)
		}
		l.evolve(events)
		reply = replies[0]
	}
	return reply
}

// fingerprint is everything that is stored of a chunk, however it is held.
func fingerprint(c *Chunk) string {
	text := fmt.Sprintf("%d %v %v %v %x", c.Height, c.State, c.HeightMap, c.Overlay, c.Base)
	for _, message := range allOf(c) {
		bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
		text += fmt.Sprintf(" %x %v", bytes, err)
	}
	return text
}

func allOf(c *Chunk) []proto.Message {
	var all []proto.Message
	for _, chest := range c.Chests {
		all = append(all, chest)
	}
	for _, hold := range c.Holds {
		all = append(all, hold)
	}
	for _, received := range c.Received {
		all = append(all, received)
	}
	return all
}

func (l *land) fingerprint() string {
	var lines []string
	for at, c := range l.chunks {
		lines = append(lines, at.String()+" "+fingerprint(c))
	}
	slices.Sort(lines)
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(l.world)
	return fmt.Sprintf("%x %v\n%s", bytes, err, strings.Join(lines, "\n"))
}

// Goal: editing one block of a chunk that is not stored stores that block and nothing else.
func TestAbsentIsNotAir(t *testing.T) {
	l := island(t)
	at := Coord{-1, 0}
	reply := l.run(`{"setBlocks":{"blocks":[-16,-8,0,1]}}`)
	c := l.chunks[at]
	if c.State != skerryv1.ChunkState_EDITED || !slices.Equal(c.Overlay, []chunk.Edit{{Index: 0, ID: 1}}) || reply.GetBlocksSet().GetChanged() != 1 {
		t.Fatalf("%v %v, %v", c.State, c.Overlay, reply)
	}
	data, err := Show(l.world, at, c, skerryv1.ChunkForm_RUNS)
	if err != nil || !proto.Equal(data, &skerryv1.ChunkData{X: -1, State: skerryv1.ChunkState_EDITED, Edits: []int32{-16, -8, 0, 1}}) {
		t.Fatalf("%v, %v", data, err)
	}
}

func TestAllAirIsFullAndClearIsAbsent(t *testing.T) {
	l := island(t)
	l.run(`{"putChunk":{"chunk":{"x":5,"z":-5,"palette":["air"],"runs":[0,4096]}}}`)
	c := l.chunks[Coord{5, -5}]
	if c.State != skerryv1.ChunkState_FULL || c.IsEmpty() {
		t.Fatalf("a chunk of air is %v", c.State)
	}
	data, err := Show(l.world, Coord{5, -5}, c, skerryv1.ChunkForm_RUNS)
	if err != nil || !slices.Equal(data.GetPalette(), []string{"air"}) || !slices.Equal(data.GetRuns(), []uint32{0, 4096}) {
		t.Fatalf("%v, %v", data, err)
	}
	l.run(`{"clearChunk":{"x":5,"z":-5}}`)
	if c.State != skerryv1.ChunkState_ABSENT || !c.IsEmpty() {
		t.Fatalf("a cleared chunk is %v", c.State)
	}
}

func TestAnEditedChunkWithEveryBlockIsFull(t *testing.T) {
	l := island(t)
	var blocks []string
	for i := range 16 * 16 * 16 {
		blocks = append(blocks, fmt.Sprintf("%d,%d,%d,2", i%16, i/256-8, i/16%16))
	}
	most := strings.Join(blocks[1:], ",")
	l.run(`{"setBlocks":{"blocks":[` + most + `]}}`)
	if c := l.chunks[Coord{}]; c.State != skerryv1.ChunkState_EDITED {
		t.Fatalf("a chunk with a block missing is %v", c.State)
	}
	l.run(`{"setBlocks":{"blocks":[` + blocks[0] + `]}}`)
	ids, err := l.chunks[Coord{}].Blocks()
	if err != nil || slices.ContainsFunc(ids, func(id uint16) bool { return id != 2 }) || len(l.chunks[Coord{}].Overlay) > 0 {
		t.Fatalf("%v", err)
	}
}

func TestEditsOfAFullChunkAreFolded(t *testing.T) {
	l := island(t)
	c, base := l.chunks[Coord{2, 2}], l.chunks[Coord{2, 2}].Base
	want, err := c.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	for i := range foldAfter + 1 {
		if i == foldAfter && (len(c.Overlay) != foldAfter || &c.Base[0] != &base[0]) {
			t.Fatalf("%d edits before the fold", len(c.Overlay))
		}
		l.run(fmt.Sprintf(`{"setBlocks":{"blocks":[%d,%d,%d,2]}}`, 32+i%16, i/256-8, 32+i/16%16))
		want[i] = 2
	}
	got, err := c.Blocks()
	if err != nil || !slices.Equal(got, want) || len(c.Overlay) != 0 || &c.Base[0] == &base[0] {
		t.Fatalf("%d edits after the fold, %v", len(c.Overlay), err)
	}
}

// What is so already makes no event: an edit's overlay says it, a full chunk's column is not asked.
func TestWhatIsSoAlreadyMakesNoEvent(t *testing.T) {
	l := island(t)
	l.run(`{"setBlocks":{"blocks":[0,0,0,1, 32,7,32,1]}}`)
	for text, events := range map[string]int{
		`{"setBlocks":{"blocks":[0,0,0,1]}}`:                    0,
		`{"setBlocks":{"blocks":[0,0,0,1, 32,7,32,1]}}`:         0,
		`{"setBlocks":{"blocks":[0,0,0,0]}}`:                    1,
		`{"setBlocks":{"blocks":[0,0,0,1, 0,0,0,2]}}`:           1,
		`{"setBlocks":{"blocks":[0,0,0,2, 0,0,0,1]}}`:           0,
		`{"setBlocks":{"blocks":[32,-8,32,1]}}`:                 1, // the column says so, which is not looked at
		`{"setBlocks":{"blocks":[0,0,1,1, 16,0,0,1, 0,0,2,1]}}`: 2,
		`{"clearChunk":{"x":9,"z":9}}`:                          0,
		`{"giveAway":{"player":"7","name":"Ann"}}`:              0,
		`{"setRole":{"player":"9","role":"BUILDER"}}`:           0,
		`{"setRole":{"player":"5","role":"VISITOR"}}`:           0,
		`{"rename":{"name":"Ann's World"}}`:                     0,
		`{"describe":{"description":"A player-owned world"}}`:   0,
		`{"setChestSlot":{"slot":{"x":0,"y":0,"z":0}}}`:         0,
		`{"setRole":{"player":"9","role":"VISITOR"}}`:           1,
		`{"giveAway":{"player":"7","name":"Anna"}}`:             1,
	} {
		if got, replies, err := l.decide(command(t, text)); err != nil || len(got) != events || len(replies) != 1 {
			t.Errorf("%s: %v %v, want %d events", text, got, err, events)
		}
	}
}

// Goal: each role may what it may, and nobody named is the game server, which may everything.
func TestRoles(t *testing.T) {
	owners := []string{
		`{"giveAway":{"player":"5"}}`, `{"setRole":{"player":"5","role":"BUILDER"}}`, `{"rename":{"name":"x"}}`, `{"describe":{"description":"x"}}`,
	}
	builders := []string{
		`{"setBlocks":{"blocks":[0,0,0,1]}}`, `{"putChunk":{"chunk":{"palette":["air"],"runs":[0,4096]}}}`, `{"clearChunk":{"x":4,"z":4}}`,
		`{"placeChest":{"x":5,"y":0,"z":0}}`, `{"removeChest":{"x":0,"y":0,"z":0}}`, `{"chestPut":{"x":0,"y":0,"z":0,"itemId":1,"count":1}}`,
		`{"chestTake":{"x":-1,"y":0,"z":-16,"itemId":3,"count":1}}`, `{"setChestSlot":{"slot":{"x":0,"y":0,"z":0}}}`,
		`{"chestMove":{"from":{"x":-1,"y":0,"z":-16},"to":{"x":0,"y":0,"z":0}}}`,
	}
	l := island(t)
	l.run(`{"setRole":{"player":"8","role":"BUILDER"}}`, `{"setRole":{"player":"8","role":"VISITOR"}}`)
	for as, may := range map[string][]bool{"": {true, true}, "7": {true, true}, "9": {false, true}, "8": {false, false}, "nobody": {false, false}} {
		for i, commands := range [][]string{owners, builders} {
			for _, text := range commands {
				cmd := command(t, text)
				cmd.As = as
				_, _, err := l.decide(cmd)
				if may[i] && err != nil || !may[i] && !errors.Is(err, ErrForbiddenRole) {
					t.Errorf("%s as %q: %v", text, as, err)
				}
			}
		}
	}
	if named := len(owners) + len(builders) + 1; named != (&skerryv1.WorldCommand{}).ProtoReflect().Descriptor().Oneofs().ByName("command").Fields().Len() {
		t.Errorf("%d commands are tried, claim among them: one is missing", named)
	}
}

func TestOwnership(t *testing.T) {
	l := newLand(t, nil, "7", `{"ownerId":""}`)
	if l.world.GetOwnerId() != "" || RoleOf(l.world, "") != skerryv1.Role_VISITOR {
		t.Fatalf("%v", l.world)
	}
	other := command(t, `{"claim":{"player":"5","name":"Eve"},"as":"6"}`)
	if _, _, err := l.decide(other); !errors.Is(err, ErrForbiddenRole) {
		t.Errorf("claiming for another: %v", err)
	}
	reply := l.run(`{"claim":{"player":"5","name":"Eve"},"as":"5"}`)
	if l.world.GetOwnerId() != "5" || l.world.GetOwnerName() != "Eve" || reply.GetOwnership().GetOwnerId() != "5" {
		t.Errorf("claimed: %v, %v", l.world, reply)
	}
	if _, _, err := l.decide(command(t, `{"claim":{"player":"5","name":"Eve"}}`)); !errors.Is(err, ErrAlreadyOwned) {
		t.Errorf("claiming again: %v", err)
	}
	l.run(`{"setRole":{"player":"6","role":"BUILDER"}}`, `{"giveAway":{"player":"6","name":"Bob"},"as":"5"}`)
	if RoleOf(l.world, "6") != skerryv1.Role_OWNER || RoleOf(l.world, "5") != skerryv1.Role_VISITOR || len(l.world.GetRoles()) != 0 {
		t.Errorf("given away: %v", l.world)
	}
}

// A player's name may be longer than a world's: the world is named all the same.
func TestNewNamesAWorldOfALongName(t *testing.T) {
	rules := &Rules{NameLength: 200}
	w, err := New(rules, "1001", &skerryv1.Create{OwnerName: strings.Repeat("é", 128)}, Turn{})
	if err != nil {
		t.Fatal(err)
	}
	if name := w.GetMetadata().GetName(); name != strings.Repeat("é", 120)+"'s World" || Check(rules, w) != nil {
		t.Errorf("the world is named %q, %v", name, Check(rules, w))
	}
}

func TestNew(t *testing.T) {
	for id, want := range map[string]string{"7": "7", "7~2": "7"} {
		w, err := New(nil, id, nil, testTurn())
		if err != nil || w.GetOwnerId() != want || w.GetMetadata().GetName() != "7's World" || w.GetMetadata().GetDescription() != "A player-owned world" ||
			w.GetHeight() != 256 || w.GetVersion() != 1 || w.GetSeed() != 0 || !w.GetCreated().AsTime().Equal(testTurn().Now) {
			t.Errorf("%s: %v, %v", id, w, err)
		}
	}
	long := strings.Repeat("x", 300)
	for create, want := range map[string]string{
		`{"height":8}`: "height", `{"height":24}`: "height", `{"height":1040}`: "height", `{"minY":40000}`: "minY", `{"minY":-40000}`: "minY",
		`{"ownerId":"a b"}`: "ownerId", `{"ownerName":"` + long + `"}`: "ownerName", `{"generator":{"name":"` + long + `"}}`: "generator.name",
		`{"metadata":{"name":"` + long + `"}}`: "metadata.name", `{"metadata":{"description":"a\u0000"}}`: "metadata.description",
		`{"blockNames":["air","","air"]}`: "blockNames[2]", `{"blockNames":["17"]}`: "blockNames[0]", `{"blockNames":["` + long + `"]}`: "blockNames[0]",
		`{"roles":{"7":"BUILDER"}}`: `roles["7"]`, `{"roles":{"a b":"BUILDER"}}`: `roles["a b"]`, `{"roles":{"5":"OWNER"}}`: `roles["5"]`,
	} {
		asked := &skerryv1.Create{}
		if err := protojson.Unmarshal([]byte(create), asked); err != nil {
			t.Fatal(err)
		}
		_, err := New(nil, "7", asked, testTurn())
		if refusal, ok := errors.AsType[*items.Refusal](err); !ok || refusal.Field != want {
			t.Errorf("%.60s: %v, want a refusal of %s", create, err, want)
		}
	}
}

func TestPartNames(t *testing.T) {
	for at, want := range map[Coord]string{{-3, 17}: "c/-3/17", {0, 0}: "c/0/0", {-maxCoord - 1, maxCoord}: "c/-134217728/134217727"} {
		if at.Part() != want || at.Delta() != "d"+want[1:] {
			t.Errorf("%v has the parts %s and %s", at, at.Part(), at.Delta())
		}
		for _, delta := range []bool{false, true} {
			name := map[bool]string{false: at.Part(), true: at.Delta()}[delta]
			if got, isDelta, ok := ParsePart(name); got != at || isDelta != delta || !ok {
				t.Errorf("%s is %v, %v, %v", name, got, isDelta, ok)
			}
		}
	}
	for _, name := range []string{"", "c", "c/1", "c/1/", "c/1/2/3", "e/1/2", "c/01/2", "c/+1/2", "c/-0/2", "/1/2", "c/1/99999999999", "main"} {
		if at, _, ok := ParsePart(name); ok {
			t.Errorf("%q is %v", name, at)
		}
	}
}
