package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/skerrytest"
)

// Goal: a world's session keeps a player's promises, and each method sends the command it says.
// Method: the fake node for retries and events, a real one for what the commands do.

// worldEcho answers a world's requests with success; of blocks it says that all were written.
func worldEcho(req *skerryv1.Request) *skerryv1.Response {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_OpenWorldSession:
		return &skerryv1.Response{Response: &skerryv1.Response_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionResponse{
			Session: "token-" + r.OpenWorldSession.GetWorld(), Seq: 1, World: &skerryv1.World{OwnerId: "1001"},
		}}}
	case *skerryv1.Request_ExecuteWorld:
		reply := &skerryv1.ExecuteWorldResponse{Seq: r.ExecuteWorld.GetCommandId(), Durable: true}
		for _, command := range r.ExecuteWorld.GetCommands() {
			reply.Replies = append(reply.Replies, &skerryv1.WorldReply{Reply: &skerryv1.WorldReply_BlocksSet{
				BlocksSet: &skerryv1.BlocksSet{Changed: int32(len(command.GetSetBlocks().GetBlocks()) / 4)}, //nolint:gosec // a few
			}})
		}
		return &skerryv1.Response{Response: &skerryv1.Response_ExecuteWorld{ExecuteWorld: reply}}
	default:
		return echo(req)
	}
}

func TestWorldRetriesWithOneID(t *testing.T) {
	var tries atomic.Int32
	var ids []int64
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if execute := req.GetExecuteWorld(); execute != nil {
			ids = append(ids, execute.GetCommandId()) // one reader
			if tries.Add(1) < 3 {
				return no("UNAVAILABLE", true, client.NotApplied)
			}
		}
		return worldEcho(req)
	})
	w, err := dial(t, f, client.Options{}).OpenWorld(t.Context(), "7", client.WorldOptions{Server: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	changed, err := w.SetBlocks(t.Context(), []client.Block{{X: 1, Y: 2, Z: 3, ID: 4}, {X: 5}}, client.As("1001"), client.InMemory())
	if err != nil || changed != 2 || !slices.Equal(ids, []int64{1, 1, 1}) {
		t.Errorf("%d blocks, %v, with ids %v", changed, err, ids)
	}
}

func TestWorldSaysWhatIsUnknown(t *testing.T) {
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecuteWorld() != nil {
			return nil
		}
		return worldEcho(req)
	})
	w, err := dial(t, f, client.Options{Timeout: 50 * time.Millisecond}).OpenWorld(t.Context(), "7", client.WorldOptions{Server: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Rename(t.Context(), "Home")
	failed, ok := errors.AsType[*client.Error](err)
	if !ok || failed.Outcome != client.Unknown || failed.CommandID != 1 {
		t.Errorf("%+v", failed)
	}
}

func TestWorldEndsWithItsEvents(t *testing.T) {
	f := startFake(t, worldEcho)
	server, err := dial(t, f, client.Options{}).RegisterServer(t.Context(), "s1", client.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Abandon()
	for event, want := range map[string]error{client.EventSessionTaken: client.ErrSessionTaken, client.EventSessionEnded: client.ErrSessionEnded} {
		w, err := server.OpenWorld(t.Context(), "7", client.WorldOptions{})
		if err != nil {
			t.Fatal(err)
		}
		f.events <- &skerryv1.ServerEvent{Id: 1, Type: event, Kind: "world", Entity: "7", Session: "token-7"}
		select {
		case <-w.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s ends nothing", event)
		}
		if !errors.Is(w.Err(), want) {
			t.Errorf("%s: %v", event, w.Err())
		}
	}
}

func TestChunksAsksForWhatWasLeftOut(t *testing.T) {
	asked := 0
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		refs := req.GetGetChunks().GetChunks()
		asked++
		out := &skerryv1.GetChunksResponse{LeftOut: refs[min(2, len(refs)):]}
		for _, ref := range refs[:min(2, len(refs))] {
			out.Chunks = append(out.Chunks, &skerryv1.ChunkData{X: ref.GetX(), Z: ref.GetZ()})
		}
		return &skerryv1.Response{Response: &skerryv1.Response_GetChunks{GetChunks: out}}
	})
	var refs []*client.ChunkRef
	for x := range int32(5) {
		refs = append(refs, &client.ChunkRef{X: x, Z: -x})
	}
	seen := map[int32]int{}
	for chunk, err := range dial(t, f, client.Options{}).Chunks(t.Context(), "7", refs, client.Runs) {
		if err != nil {
			t.Fatal(err)
		}
		seen[chunk.GetX()]++
	}
	if len(seen) != 5 || asked != 3 || seen[4] != 1 {
		t.Errorf("%v in %d requests", seen, asked)
	}
}

// Every command has a method, and a real node does what it says.
func TestWorldMethods(t *testing.T) {
	ctx := t.Context()
	c := skerrytest.Start(t).Client(t)
	w, err := c.OpenWorld(ctx, "1001", client.WorldOptions{Server: "s1", Create: &skerryv1.Create{
		OwnerId: new(""), Height: 16, BlockNames: []string{"air", "stone"},
	}})
	if err != nil || !w.IsNew() || w.Document().GetHeight() != 16 {
		t.Fatalf("%+v, %v", w, err)
	}
	at, slot := client.Place{X: 1, Y: 2, Z: 3}, &skerryv1.ChestSlotRef{X: 1, Y: 2, Z: 3, Index: 4}
	second := func(_ any, err error) error { return err }
	for i, step := range []struct {
		name string
		do   func() error
		want error
	}{
		{"claim", func() error { return w.Claim(ctx, "1001", "Ann", client.As("1001")) }, nil},
		{"claim again", func() error { return w.Claim(ctx, "1002", "Bob") }, client.ErrAlreadyOwned},
		{"role", func() error { return w.SetRole(ctx, "1002", client.Builder, client.As("1001")) }, nil},
		{"blocks", func() error {
			return second(w.SetBlocks(ctx, []client.Block{{X: 1, Y: 1, Z: 1, ID: 1}}, client.As("1002")))
		}, nil},
		{"blocks of a visitor", func() error { return second(w.SetBlocks(ctx, []client.Block{{ID: 1}}, client.As("9"))) }, client.ErrForbiddenRole},
		{"a bad block", func() error { return second(w.SetBlocks(ctx, []client.Block{{ID: 2}})) }, client.ErrBadBlock},
		{"a block too high", func() error { return second(w.SetBlocks(ctx, []client.Block{{Y: 16}})) }, client.ErrOutOfRange},
		{"put", func() error {
			return w.PutChunk(ctx, &client.Chunk{X: 5, Z: -5, Palette: []string{"stone", "air"}, Runs: []uint32{0, 256, 1, 3840}}, client.InMemory())
		}, nil},
		{"chest", func() error { return w.PlaceChest(ctx, at) }, nil},
		{"chest again", func() error { return w.PlaceChest(ctx, at) }, client.ErrChestExists},
		{"items", func() error { return second(w.ChestPut(ctx, at, 7, 20)) }, nil},
		{"take", func() error { return second(w.ChestTake(ctx, at, 7, 5)) }, nil},
		{"take too many", func() error { return second(w.ChestTake(ctx, at, 7, 50)) }, client.ErrNoSuchItem},
		{"move", func() error { return second(w.ChestMove(ctx, &skerryv1.ChestSlotRef{X: 1, Y: 2, Z: 3}, slot, 0)) }, nil},
		{"remove a full one", func() error { return w.RemoveChest(ctx, at) }, client.ErrChestNotEmpty},
		{"clear a full one", func() error { return w.ClearChunk(ctx, 0, 0) }, client.ErrChestNotEmpty},
		{"empty it", func() error { return second(w.SetChestSlot(ctx, slot, nil)) }, nil},
		{"remove", func() error { return w.RemoveChest(ctx, at) }, nil},
		{"remove none", func() error { return w.RemoveChest(ctx, at) }, client.ErrNoSuchChest},
		{"clear", func() error { return w.ClearChunk(ctx, 0, 0) }, nil},
		{"rename", func() error { return w.Rename(ctx, "Home") }, nil},
		{"describe", func() error { return w.Describe(ctx, "ours") }, nil},
		{"give away", func() error { return w.GiveAway(ctx, "1003", "Eve", client.As("1001")) }, nil},
		{"save", func() error { return second(w.Save(ctx)) }, nil},
	} {
		if got := step.do(); !errors.Is(got, step.want) {
			t.Errorf("step %d, %s: %v, want %v", i, step.name, got, step.want)
		}
	}
	chunk, err := w.Chunk(ctx, 5, -5)
	if err != nil || chunk.GetState() != skerryv1.ChunkState_FULL || !slices.Equal(chunk.GetRuns(), []uint32{0, 256, 1, 3840}) {
		t.Errorf("%v, %v", chunk, err)
	}
	var stored []string
	for ref, err := range w.ListChunks(ctx) {
		stored = append(stored, fmt.Sprint(ref.GetX(), ref.GetZ(), err))
	}
	if want := "5 -5 <nil>"; strings.Join(stored, ", ") != want {
		t.Errorf("stored: %v, want %s", stored, want)
	}
	document, err := w.Refresh(ctx)
	if err != nil || document.GetOwnerId() != "1003" || document.GetMetadata().GetName() != "Home" || document.GetMetadata().GetDescription() != "ours" {
		t.Errorf("%v, %v", document, err)
	}
	status, err := w.Outcome(ctx, 1)
	if err != nil || status.Status != "APPLIED" || !proto.Equal(status.World.Replies[0].GetOwnership(), &skerryv1.Ownership{OwnerId: "1001", OwnerName: "Ann"}) {
		t.Errorf("%+v, %v", status, err)
	}
	if err := w.Leave(ctx); err != nil || !errors.Is(w.Err(), client.ErrSessionEnded) {
		t.Errorf("leave: %v, %v", err, w.Err())
	}
}

// A block set in a chunk of which nothing is stored is stored alone: the terrain around it stays the game's.
func ExampleWorld() {
	addr, stop := startNode()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Panic(err)
	}
	defer func() { _ = c.Close() }()
	home, err := c.OpenWorld(ctx, "1001", client.WorldOptions{Server: "s1", Create: &skerryv1.Create{
		OwnerName: "Ann", BlockNames: []string{"air", "stone"},
	}})
	if err != nil {
		log.Panic(err)
	}

	changed, err := home.SetBlocks(ctx, []client.Block{{X: 5, Y: 64, Z: -3, ID: 1}}, client.As("1001"))
	fmt.Println(changed, err)
	_, err = home.SetBlocks(ctx, []client.Block{{X: 5, Y: 64, Z: -3, ID: 0}}, client.As("1002"))
	fmt.Println(errors.Is(err, client.ErrForbiddenRole))
	chunk, err := home.Chunk(ctx, 0, -1)
	fmt.Println(chunk.GetState(), chunk.GetEdits(), err)
	// Output:
	// 1 <nil>
	// true
	// EDITED [5 64 -3 1] <nil>
}
