package turn_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// realm is a world and its chunks, as the shell keeps them.
type realm struct {
	t      *testing.T
	state  *storev1.Entity
	chunks map[world.Coord]*world.Chunk
	env    turn.Env
}

func newRealm(t *testing.T) *realm {
	t.Helper()
	r := &realm{t: t, state: &storev1.Entity{}, chunks: map[world.Coord]*world.Chunk{}}
	r.env = turn.Env{Now: time.UnixMilli(1_700_000_000_000), Token: "t0", Parts: r}
	return r
}

func (r *realm) Chunk(at world.Coord) *world.Chunk {
	if r.chunks[at] == nil {
		r.chunks[at] = world.NewChunk(r.state.GetWorld())
	}
	return r.chunks[at]
}

// do decides a request and evolves the world and its chunks by it.
func (r *realm) do(request *skerryv1.Request) (*skerryv1.Response, error) {
	r.t.Helper()
	r.env.Seq = persistence.Seq(r.state.GetSeq())
	before := r.state.CloneVT()
	result := turn.Decide(r.state, persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: "7"}, request, r.env)
	if !proto.Equal(before, r.state) {
		r.t.Fatal("deciding changed the state")
	}
	if result.Entry == nil {
		return result.Response, result.Err
	}
	if err := turn.Evolve(r.state, r.env.Seq+1, result.Entry); err != nil {
		r.t.Fatal(err)
	}
	for _, event := range result.Entry.GetWorldEvents() {
		if at, ofChunk := world.ChunkOf(event); ofChunk {
			if err := world.EvolveChunk(r.Chunk(at), event); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return result.Response, result.Err
}

func (r *realm) open(server, token string, ifTaken skerryv1.IfTaken, create *skerryv1.Create) error {
	r.t.Helper()
	r.env.Token = token
	got, err := r.do(&skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionRequest{
		World: "7", Server: server, IfTaken: ifTaken, Create: create,
	}}})
	if err == nil && got.GetOpenWorldSession().GetSession() != token {
		r.t.Errorf("opened as %q, want %q", got.GetOpenWorldSession().GetSession(), token)
	}
	return err
}

func (r *realm) execute(token string, id int64, cmds ...*skerryv1.WorldCommand) (*skerryv1.ExecuteWorldResponse, error) {
	r.t.Helper()
	got, err := r.do(&skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldRequest{
		World: "7", Session: token, CommandId: id, Commands: cmds,
	}}})
	return got.GetExecuteWorld(), err
}

func setBlocks(blocks ...int32) *skerryv1.WorldCommand {
	return &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetBlocks{SetBlocks: &skerryv1.SetBlocks{Blocks: blocks}}}
}

// Goal: who may hold a world, and what makes one.
func TestOpenWorld(t *testing.T) {
	const unsaid, takes, refuses = skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED, skerryv1.IfTaken_TAKE, skerryv1.IfTaken_REFUSE
	r := newRealm(t)
	if err := r.open("s1", "t1", unsaid, nil); !errors.Is(err, turn.ErrNotFound) {
		t.Errorf("absent, without create: %v, want ErrNotFound", err)
	}
	if err := r.open("s1", "t1", unsaid, &skerryv1.Create{Height: 17}); err == nil {
		t.Error("a height of 17 was accepted")
	}
	if err := r.open("s1", "t1", unsaid, &skerryv1.Create{}); err != nil || r.state.GetWorld().GetOwnerId() != "7" {
		t.Fatalf("%v, %v", r.state, err)
	}
	if err := r.open("s2", "t2", refuses, nil); !errors.Is(err, turn.ErrSessionHeld) {
		t.Errorf("REFUSE: %v, want ErrSessionHeld", err)
	}
	r.env.HolderPresent = true
	if err := r.open("s2", "t2", unsaid, nil); !errors.Is(err, turn.ErrSessionHeld) {
		t.Errorf("while players are present: %v, want ErrSessionHeld", err)
	}
	if err := r.open("s1", "t2", unsaid, nil); err != nil {
		t.Errorf("the holder again: %v", err)
	}
	if err := r.open("s2", "t3", takes, &skerryv1.Create{Height: 32}); err != nil || r.state.GetWorld().GetHeight() != 256 {
		t.Errorf("TAKE: %v, the world is %d high", err, r.state.GetWorld().GetHeight())
	}
	r.env.HolderPresent = false
	if err := r.open("s3", "t4", unsaid, nil); err != nil {
		t.Errorf("while nobody is present: %v", err)
	}
	if _, err := r.execute("t3", 1, setBlocks(0, 0, 0, 1)); !errors.Is(err, turn.ErrSessionTaken) {
		t.Errorf("the older token: %v, want ErrSessionTaken", err)
	}
}

// Goal: a world's command takes effect once, and its fate can be asked.
func TestWorldCommandTakesEffectOnce(t *testing.T) {
	r := newRealm(t)
	if err := r.open("s1", "t1", 0, &skerryv1.Create{}); err != nil {
		t.Fatal(err)
	}
	chest := &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PlaceChest{PlaceChest: &skerryv1.PlaceChest{X: 1, Y: 2, Z: 3}}}
	first, err := r.execute("t1", 1, chest, setBlocks(0, 0, 0, 5, 17, 0, 0, 6))
	if err != nil || len(first.GetReplies()) != 2 || first.GetReplies()[1].GetBlocksSet().GetChanged() != 2 {
		t.Fatalf("%v, %v", first, err)
	}
	again, err := r.execute("t1", 1, chest, setBlocks(0, 0, 0, 5, 17, 0, 0, 6))
	if err != nil || !proto.Equal(again, first) || r.state.GetSeq() != 2 {
		t.Errorf("again: %v, %v at %d; want %v", again, err, r.state.GetSeq(), first)
	}
	if _, err = r.execute("t1", 1, setBlocks(0, 0, 0, 9)); !errors.Is(err, turn.ErrIDReused) {
		t.Errorf("another command with that id: %v, want ErrIDReused", err)
	}
	if _, err = r.execute("t1", 2, setBlocks(0, 0, 0, 9), chest); !errors.Is(err, world.ErrChestExists) {
		t.Errorf("a second chest: %v, want ErrChestExists", err)
	}
	if c := r.chunks[world.Coord{}]; len(c.Overlay) != 1 || c.Overlay[0].ID != 5 || len(c.Chests) != 1 {
		t.Errorf("the chunk after a refused turn: %+v", c)
	}
	for id, want := range map[int64]string{1: "APPLIED", 2: "REFUSED", 3: "NOT_SEEN"} {
		got, err := r.do(&skerryv1.Request{Request: &skerryv1.Request_GetWorldCommand{GetWorldCommand: &skerryv1.GetWorldCommandRequest{World: "7", Session: "t1", CommandId: id}}})
		if err != nil || got.GetGetWorldCommand().GetStatus() != want {
			t.Errorf("command %d: %v, %v; want %s", id, got, err, want)
		}
		if id == 1 && !proto.Equal(got.GetGetWorldCommand().GetReply(), first) {
			t.Errorf("the reply is remembered as %v, want %v", got.GetGetWorldCommand().GetReply(), first)
		}
	}
}

// Goal: what does not fit into a response is named, and pages of chests end where they should.
func TestReadWorld(t *testing.T) {
	r := newRealm(t)
	if err := r.open("s1", "t1", 0, &skerryv1.Create{Height: 512}); err != nil {
		t.Fatal(err)
	}
	get := &skerryv1.GetChunksRequest{World: "7"}
	for x := range int32(5) {
		runs := []uint32{}
		for i := range uint32(512 * 256) {
			runs = append(runs, i%2, 1)
		}
		put := &skerryv1.PutChunkRequest{World: "7", Session: "t1", X: x, Chunk: &skerryv1.ChunkData{Palette: []string{"1", "2"}, Runs: runs}}
		if _, err := r.do(&skerryv1.Request{Request: &skerryv1.Request_PutChunk{PutChunk: put}}); err != nil {
			t.Fatal(err)
		}
		get.Chunks = append(get.Chunks, &skerryv1.ChunkRef{X: x})
	}
	got, err := r.do(&skerryv1.Request{Request: &skerryv1.Request_GetChunks{GetChunks: get}})
	if chunks := got.GetGetChunks(); err != nil || proto.Size(got) > 1<<20+100 || len(chunks.GetChunks()) == 0 ||
		len(chunks.GetChunks())+len(chunks.GetLeftOut()) != 5 || len(chunks.GetLeftOut()) == 0 {
		t.Errorf("%d bytes: %d chunks, %d left out (%v)", proto.Size(got), len(chunks.GetChunks()), len(chunks.GetLeftOut()), err)
	}
	var id int64
	for x := range int32(2) {
		for z := range int32(3) {
			id++
			if _, err = r.execute("t1", id, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PlaceChest{PlaceChest: &skerryv1.PlaceChest{X: 16 * x, Z: z}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen, after := 0, ""
	for pages := 0; pages == 0 || after != ""; pages++ {
		list := &skerryv1.Request{Request: &skerryv1.Request_ListChests{ListChests: &skerryv1.ListChestsRequest{World: "7", After: after, Limit: 2}}}
		query, ok := turn.PageOf(list)
		if !ok || pages > 6 {
			t.Fatalf("page %d after %q", pages, after)
		}
		r.env.Page = turn.Page{}
		for _, at := range []world.Coord{{X: 0}, {X: 1}, {X: 2}} {
			if at.Part() > query.After {
				r.env.Page.Chunks = append(r.env.Page.Chunks, at)
			}
		}
		got, err := r.do(list)
		if err != nil || len(got.GetListChests().GetChests()) > 2 {
			t.Fatalf("%v, %v", got, err)
		}
		seen += len(got.GetListChests().GetChests())
		after = got.GetListChests().GetNext()
	}
	if seen != 6 {
		t.Errorf("%d chests were listed, want 6", seen)
	}
}
