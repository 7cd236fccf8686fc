// Goal: worlds alive: what waits for chunks stays in order, what is saved is all of it, what fails says so.
package actors

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

func worldKey() persistence.Key {
	return persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: "w"}
}

func sendWorld(h *Host, request *skerryv1.Request) <-chan answer {
	answers := make(chan answer, 2)
	h.Do(&Call{Key: worldKey(), Request: request, Admin: true, Reply: func(r *skerryv1.Response, err error) { answers <- answer{r, err} }})
	return answers
}

func askWorld(tb testing.TB, h *Host, request *skerryv1.Request) *skerryv1.Response {
	tb.Helper()
	got := <-sendWorld(h, request)
	if got.err != nil {
		tb.Fatalf("%v: %v", request, got.err)
	}
	return got.response
}

func openWorld() *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionRequest{
		World: "w", Server: "s1", Create: &skerryv1.Create{},
	}}}
}

func onWorld(token string, id int64, durability skerryv1.Durability, cmds ...*skerryv1.WorldCommand) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldRequest{
		World: "w", Session: token, CommandId: id, Durability: durability, Commands: cmds,
	}}}
}

func block(x, y, z, id int32) *skerryv1.WorldCommand {
	return &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetBlocks{SetBlocks: &skerryv1.SetBlocks{Blocks: []int32{x, y, z, id}}}}
}

func rename(name string) *skerryv1.WorldCommand {
	return &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_Rename{Rename: &skerryv1.Rename{Name: name}}}
}

func clearChunk(x, z int32) *skerryv1.WorldCommand {
	return &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_ClearChunk{ClearChunk: &skerryv1.ClearChunk{X: x, Z: z}}}
}

// putChunk puts a chunk of 65,536 blocks in runs of two ids.
func putChunk(x int32, ids ...string) *skerryv1.Request {
	runs := []uint32{}
	for i := range uint32(1 << 16 / 64) {
		runs = append(runs, i%uint32(len(ids)), 64) //nolint:gosec // a few
	}
	return &skerryv1.Request{Request: &skerryv1.Request_PutChunk{PutChunk: &skerryv1.PutChunkRequest{
		World: "w", X: x, Chunk: &skerryv1.ChunkData{Palette: ids, Runs: runs},
	}}}
}

func getChunk(x, z int32) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_GetChunk{GetChunk: &skerryv1.GetChunkRequest{World: "w", X: x, Z: z}}}
}

func saveWorld() *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_SaveWorld{SaveWorld: &skerryv1.SaveWorldRequest{World: "w"}}}
}

// openedWorld is the token of a new session of the world.
func openedWorld(tb testing.TB, h *Host) string {
	tb.Helper()
	return askWorld(tb, h, openWorld()).GetOpenWorldSession().GetSession()
}

// Calls behind one that waits for its chunk wait too, and are answered in order; the host's messages are not held up.
func TestCallsWaitForChunksInOrder(t *testing.T) {
	s := newStore(t)
	h, kill := runHost(t, s, Options{})
	token := openedWorld(t, h)
	askWorld(t, h, onWorld(token, 1, durable, block(0, 0, 0, 7), block(16, 0, 0, 8)))
	askWorld(t, h, saveWorld())
	kill()

	gate := make(chan struct{})
	s.set(func() {
		s.partFault = func(part persistence.Part) error {
			if part == "c/0/0" {
				<-gate
			}
			return nil
		}
	})
	h, _ = runHost(t, s, Options{})
	order := make(chan int, 10)
	request := func(i int, r *skerryv1.Request) {
		h.Do(&Call{Key: worldKey(), Request: r, Reply: func(_ *skerryv1.Response, err error) {
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
			order <- i
		}})
	}
	request(1, getChunk(0, 0))
	request(2, getChunk(1, 0))
	request(3, onWorld(token, 2, durable, block(0, 0, 0, 9)))
	request(4, getChunk(0, 0))
	select {
	case i := <-order:
		t.Errorf("call %d was answered before the chunk of the first was there", i)
	case <-time.After(20 * time.Millisecond):
	}
	close(gate)
	for want := 1; want <= 4; want++ {
		if got := <-order; got != want {
			t.Fatalf("call %d was answered, want %d", got, want)
		}
	}
	edits := askWorld(t, h, getChunk(0, 0)).GetGetChunk().GetChunk().GetEdits()
	if fmt.Sprint(edits) != "[0 0 0 9]" {
		t.Errorf("the chunk is %v", edits)
	}
}

// While only chunks change, a save is the chunks: the main part, with all the answers that it remembers, waits until it
// changes itself, or the journal is long. What was saved so is there after a crash.
func TestSaveOfChunksLeavesTheMainPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h, kill := runHost(t, s, Options{})
		token := openedWorld(t, h)
		mains := func() (n int) {
			s.set(func() {
				for _, c := range s.changes {
					if c.Snapshot != nil && c.Snapshot.Part == "" {
						n++
					}
				}
				s.changes = nil
			})
			return n
		}
		askWorld(t, h, saveWorld())
		if mains() != 1 {
			t.Fatal("the first save has the main part")
		}
		for i := range int64(3) {
			askWorld(t, h, onWorld(token, 1+i, durable, block(int32(i), 0, 0, 7))) //nolint:gosec // 0 to 2
			askWorld(t, h, saveWorld())
		}
		if n := mains(); n != 0 {
			t.Errorf("three saves of a block wrote the main part %d times", n)
		}
		if a := findWorld(h); a.dirty() {
			t.Error("the world is dirty after a save")
		}
		askWorld(t, h, onWorld(token, 4, durable, rename("Home")))
		askWorld(t, h, saveWorld())
		if n := mains(); n != 1 {
			t.Errorf("the save of a new name wrote the main part %d times", n)
		}
		for i := range int64(maxMainEntries + 2) {
			askWorld(t, h, onWorld(token, 5+i, memory, block(3, 0, 0, int32(i)))) //nolint:gosec // about 1000
		}
		askWorld(t, h, saveWorld())
		if n := mains(); n != 1 {
			t.Errorf("the save after %d entries wrote the main part %d times", maxMainEntries+2, n)
		}
		askWorld(t, h, onWorld(token, 2000, durable, block(4, 0, 0, 9)))
		askWorld(t, h, saveWorld())
		kill()
		h, _ = runHost(t, s, Options{})
		edits := askWorld(t, h, getChunk(0, 0)).GetGetChunk().GetChunk().GetEdits()
		if want := fmt.Sprint([]int32{0, 0, 0, 7, 1, 0, 0, 7, 2, 0, 0, 7, 3, 0, 0, maxMainEntries + 1, 4, 0, 0, 9}); fmt.Sprint(edits) != want {
			t.Errorf("after the crash %v, want %v", edits, want)
		}
		again := <-sendWorld(h, onWorld(token, 2000, durable, block(4, 0, 0, 9)))
		if again.err != nil || again.response.GetExecuteWorld().GetSeq() == 0 {
			t.Errorf("the last command again: %v", again)
		}
	})
}

// A changed main part that the journal had no room for is not taken for saved at the next try.
func TestMainPartIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		token := openedWorld(t, h)
		askWorld(t, h, saveWorld())
		askWorld(t, h, onWorld(token, 1, durable, rename("Home")))
		s.set(func() { s.full, s.changes = true, nil })
		saving := sendWorld(h, saveWorld())
		synctest.Wait()
		s.set(func() { s.full = false })
		if got := <-saving; got.err != nil {
			t.Fatal(got.err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.changes) != 1 || s.changes[0].Snapshot == nil {
			t.Errorf("the save of a new name wrote %v", s.changes)
		}
	})
}

// One chunk that cannot be loaded fails the world's save, and keeps no other chunk from being saved.
func TestBadChunkKeepsNoOtherFromBeingSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const chunks = 40 // more than all tries of a save together would reach
		s := newStore(t)
		h, kill := runHost(t, s, Options{})
		token := openedWorld(t, h)
		for x := range int32(chunks) {
			askWorld(t, h, onWorld(token, int64(x)+1, durable, block(16*x, 0, 0, 7)))
		}
		kill()
		s.partFault = func(part persistence.Part) error {
			if part == "c/0/0" { // the oldest edit is in it
				return persistence.ErrCorrupt
			}
			return nil
		}
		h, _ = runHost(t, s, Options{})
		if got := <-sendWorld(h, saveWorld()); !errors.Is(got.err, ErrSave) {
			t.Errorf("saved with a chunk that cannot be loaded: %v, %v", got.response, got.err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for x := 1; x < chunks; x++ {
			if e := s.entities[worldKey()]; len(e.parts[persistence.Part(fmt.Sprintf("c/%d/0", x))]) == 0 {
				t.Errorf("chunk %d was not saved", x)
			}
		}
	})
}

// A save whose chunks have nothing to write still waits until the journal has what it covers.
func TestSaveWithoutTheMainPartWaitsForTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h := startHost(t, s, Options{})
		token := openedWorld(t, h)
		askWorld(t, h, saveWorld())
		s.set(func() { s.held = true })
		if got := <-sendWorld(h, onWorld(token, 1, memory, clearChunk(5, 5), block(0, 5000, 0, 1))); got.err == nil {
			t.Fatal("a block above the world was set")
		}
		saving := sendWorld(h, saveWorld())
		synctest.Wait()
		select {
		case got := <-saving:
			t.Fatalf("saved before the journal had the refusal: %v, %v", got.response, got.err)
		default:
		}
		s.set(func() { s.held = false })
		s.poke()
		if got := <-saving; got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func findWorld(h *Host) *activation {
	s := h.shardOf(h.partitionOf(worldKey()), "w")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.activations[worldKey()]
}

// A chunk that cannot be loaded is an error for the call that needs it, never an absent chunk, and the queue goes on.
func TestFailedLoadOfAChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		h, kill := runHost(t, s, Options{})
		token := openedWorld(t, h)
		askWorld(t, h, onWorld(token, 1, durable, block(0, 0, 0, 7), block(16, 0, 0, 8)))
		askWorld(t, h, saveWorld())
		kill()

		broken := persistence.ErrCorrupt
		s.partFault = func(part persistence.Part) error {
			if part == "c/0/0" {
				return broken
			}
			return nil
		}
		h, _ = runHost(t, s, Options{})
		first, second := sendWorld(h, onWorld(token, 2, durable, block(1, 0, 0, 9))), sendWorld(h, getChunk(1, 0))
		if got := <-first; !errors.Is(got.err, ErrLoad) || !errors.Is(got.err, persistence.ErrCorrupt) {
			t.Errorf("corrupt: %v, %v", got.response, got.err)
		}
		if got := <-second; got.err != nil || len(got.response.GetGetChunk().GetChunk().GetEdits()) != 4 {
			t.Errorf("the next call: %v, %v", got.response, got.err)
		}
		s.set(func() { broken = errDisk })
		began, loads := time.Now(), s.partLoads
		if got := <-sendWorld(h, getChunk(0, 0)); !errors.Is(got.err, errDisk) || time.Since(began) < time.Second || s.partLoads != loads+3 {
			t.Errorf("after %d tries in %s: %v", s.partLoads-loads, time.Since(began), got.err)
		}
		s.set(func() { s.partFault = nil })
		if got := askWorld(t, h, getChunk(0, 0)).GetGetChunk().GetChunk(); len(got.GetEdits()) != 4 {
			t.Errorf("healed: %v", got)
		}
	})
}

// What happens during a save stays dirty, and whoever asked for a save after it is not told before it is saved.
func TestEditDuringSaveOfAWorldStaysDirty(t *testing.T) {
	s := newStore(t)
	h, kill := runHost(t, s, Options{})
	token := openedWorld(t, h)
	askWorld(t, h, onWorld(token, 1, durable, block(0, 0, 0, 7)))
	s.set(func() { s.held = true })
	save := sendWorld(h, saveWorld())
	edit := sendWorld(h, onWorld(token, 2, durable, block(0, 0, 0, 9), block(32, 0, 0, 5)))
	again := sendWorld(h, saveWorld())
	s.set(func() { s.held = false })
	for _, got := range []<-chan answer{save, edit, again} {
		if a := <-got; a.err != nil {
			t.Fatal(a.err)
		}
	}
	for part, want := range map[persistence.Part]uint64{"c/0/0": 3, "c/2/0": 3} {
		s.mu.Lock()
		found := s.entities[worldKey()].part(part)
		s.mu.Unlock()
		if found == nil || uint64(found.Seq) < want {
			t.Errorf("%s is stored as %+v, want its state at %d", part, found, want)
		}
	}
	kill()
	h, _ = runHost(t, s, Options{})
	if edits := askWorld(t, h, getChunk(0, 0)).GetGetChunk().GetChunk().GetEdits(); fmt.Sprint(edits) != "[0 0 0 9]" {
		t.Errorf("the chunk is %v", edits)
	}
}

// One edited block of an unstored chunk is one block, a chunk of air is full, a cleared one is absent: also after a restart,
// from snapshots as from the journal.
func TestAbsentIsNotAir(t *testing.T) {
	for _, saves := range []bool{true, false} {
		s := newStore(t)
		h, kill := runHost(t, s, Options{})
		restart := func() {
			if saves {
				askWorld(t, h, saveWorld())
			}
			kill()
			h, kill = runHost(t, s, Options{})
		}
		token := openedWorld(t, h)
		askWorld(t, h, onWorld(token, 1, durable, block(5, 6, 7, 8)))
		askWorld(t, h, putChunk(1, "0"))
		askWorld(t, h, putChunk(2, "1", "2"))
		restart()
		askWorld(t, h, onWorld(token, 2, durable, clearChunk(2, 0)))
		for range 2 {
			restart()
			got := askWorld(t, h, getChunk(0, 0)).GetGetChunk().GetChunk()
			if got.GetState() != skerryv1.ChunkState_EDITED || fmt.Sprint(got.GetEdits()) != "[5 6 7 8]" {
				t.Errorf("saved %v: the edited chunk is %v", saves, got)
			}
			got = askWorld(t, h, getChunk(1, 0)).GetGetChunk().GetChunk()
			if got.GetState() != skerryv1.ChunkState_FULL || fmt.Sprint(got.GetPalette(), got.GetRuns()) != "[0] [0 65536]" {
				t.Errorf("saved %v: the chunk of air is %v", saves, got)
			}
			if got = askWorld(t, h, getChunk(2, 0)).GetGetChunk().GetChunk(); got.GetState() != skerryv1.ChunkState_ABSENT {
				t.Errorf("saved %v: the cleared chunk is %v", saves, got.GetState())
			}
			list := askWorld(t, h, &skerryv1.Request{Request: &skerryv1.Request_ListChunks{ListChunks: &skerryv1.ListChunksRequest{World: "w"}}})
			if chunks := list.GetListChunks().GetChunks(); len(chunks) != 2 || chunks[0].GetX() != 0 || chunks[1].GetX() != 1 {
				t.Errorf("saved %v: listed %v", saves, chunks)
			}
		}
	}
}

// A save stores what changed, as a delta where that is small, and lets the journal go.
func TestSaveIsSmall(t *testing.T) {
	s := newStore(t)
	h := startHost(t, s, Options{})
	token := openedWorld(t, h)
	for x := range int32(4) {
		askWorld(t, h, putChunk(x, "1", "2", "3"))
	}
	askWorld(t, h, saveWorld())
	saved := func() (names []string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.changes {
			if c.Snapshot != nil {
				names = append(names, string(c.Snapshot.Part))
			}
		}
		s.changes = nil
		return names
	}
	saved()
	askWorld(t, h, onWorld(token, 1, durable, block(17, 0, 0, 9)))
	askWorld(t, h, saveWorld())
	if got := fmt.Sprint(saved()); got != "[d/1/0]" {
		t.Errorf("one block changed: saved %s", got)
	}
	askWorld(t, h, onWorld(token, 2, durable, block(17, 0, 0, 1)))
	askWorld(t, h, onWorld(token, 3, durable, block(17, 0, 0, 9)))
	askWorld(t, h, saveWorld())
	if got := fmt.Sprint(saved()); got != "[]" {
		t.Errorf("changed there and back: saved %s", got)
	}
	askWorld(t, h, onWorld(token, 4, durable, clearChunk(1, 0)))
	askWorld(t, h, saveWorld())
	if got := fmt.Sprint(saved()); got != "[c/1/0 d/1/0]" {
		t.Errorf("cleared: saved %s", got)
	}
	for id := range int64(2) {
		askWorld(t, h, onWorld(token, 5+id, durable, rename(fmt.Sprint("Home ", id))))
		askWorld(t, h, saveWorld())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entities[worldKey()]; e.trimmed == 0 || e.part("c/1/0").Data != nil {
		t.Errorf("%d entries of %d are trimmed, the cleared chunk has %d bytes", e.trimmed, e.last, len(e.part("c/1/0").Data))
	}
}

// Clean chunks leave memory, dirty ones after their save, and come back as they were.
func TestChunksLeaveMemory(t *testing.T) {
	s := newStore(t)
	h := startHost(t, s, Options{WorldMemoryBytes: 20_000})
	token := openedWorld(t, h)
	const n = 300
	for x := range int32(n) {
		askWorld(t, h, onWorld(token, int64(x+1), durable, block(16*x, 0, 0, x)))
	}
	askWorld(t, h, saveWorld())
	askWorld(t, h, getChunk(0, 0))
	if held := h.Stats().HeldBytes; held > 60_000 {
		t.Errorf("%d bytes are held, want about 20,000 of chunks", held)
	}
	for x := range int32(n) {
		edits := askWorld(t, h, getChunk(x, 0)).GetGetChunk().GetChunk().GetEdits()
		if len(edits) != 4 || edits[3] != x {
			t.Fatalf("chunk %d is %v", x, edits)
		}
	}
}

// Chunks larger than a change go in pieces.
func TestLargeChunkGoesInPieces(t *testing.T) {
	s := newStore(t)
	h, kill := runHost(t, s, Options{})
	request := openWorld()
	request.GetOpenWorldSession().Create.Height = 1024
	askWorld(t, h, request)
	var edits []uint32
	var palette []string
	state := uint32(1)
	for i := range 40000 {
		palette = append(palette, fmt.Sprint(i))
	}
	for range 1024 * 256 {
		state = state*1664525 + 1013904223
		edits = append(edits, (state>>8)%40000, 1)
	}
	for x := range int32(3) {
		askWorld(t, h, &skerryv1.Request{Request: &skerryv1.Request_PutChunk{PutChunk: &skerryv1.PutChunkRequest{
			World: "w", X: x, Chunk: &skerryv1.ChunkData{Palette: palette, Runs: edits},
		}}})
	}
	want := askWorld(t, h, getChunk(2, 0)).GetGetChunk().GetChunk()
	askWorld(t, h, saveWorld())
	s.mu.Lock()
	found := s.entities[worldKey()].part("c/2/0")
	s.mu.Unlock()
	if found == nil || found.Pieces < 2 {
		t.Fatalf("stored as %+v, want pieces", found)
	}
	kill()
	h, _ = runHost(t, s, Options{})
	if got := askWorld(t, h, getChunk(2, 0)).GetGetChunk().GetChunk(); got.String() != want.String() {
		t.Error("the chunk is another after it went in pieces")
	}
}

// A journal is not cut in the middle of events that changed nothing together.
func TestSpansAreNotCut(t *testing.T) {
	w := newParts()
	w.kept = [2]persistence.Seq{15, 10}
	w.spans = []span{{12, 20}, {8, 12}, {30, 40}}
	for _, c := range []struct{ seq, covered, want persistence.Seq }{
		{50, 50, 7}, // storage would cut at 15, in the first span, and before it is the second
		{15, 50, 7}, // at the newest again: the older one, in the second
		{50, 6, 6},  // a dirty chunk
		{50, 7, 7},  // before the first
	} {
		if got := w.trimTo(c.seq, c.covered); got != c.want {
			t.Errorf("the snapshot at %d, %d covered: trims to %d, want %d", c.seq, c.covered, got, c.want)
		}
	}
	p := w.get(world.Coord{})
	w.mark(p, 45)
	w.mark(p, 47)
	if got := w.covered(50); got != 44 {
		t.Errorf("%d is covered, want 44", got)
	}
}

// A server that has players keeps its world; when it falls silent its sessions end, the world's too, with a save.
func TestServersHoldWorlds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{ServerTimeout: 30 * time.Second})
		openWorldOn := func(server string) error {
			request := openWorld()
			request.GetOpenWorldSession().Server = server
			return (<-sendWorld(w.Host, request)).err
		}
		if err := openWorldOn("s1"); err != nil {
			t.Fatal(err)
		}
		if err := openWorldOn("s2"); err != nil {
			t.Errorf("from a server without players: %v", err)
		}
		w.open("p1", "s2")
		if err := openWorldOn("s1"); !errors.Is(err, turn.ErrSessionHeld) {
			t.Errorf("from a server with players: %v, want ErrSessionHeld", err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		held := askWorld(t, w.Host, &skerryv1.Request{Request: &skerryv1.Request_GetWorldSession{GetWorldSession: &skerryv1.GetWorldSessionRequest{World: "w"}}})
		if got := held.GetGetWorldSession(); got.GetServer() != "" || got.GetDirtySeconds() != 0 || got.GetLastSave() == nil {
			t.Errorf("after the server fell silent: %v", got)
		}
		w.stop()
	})
}

// When the node is over its limit, chunks leave memory, and the world stays.
func TestChunksLeaveBeforeEntities(t *testing.T) {
	s := newStore(t)
	h := startHost(t, s, Options{MemoryLimitBytes: 20_000, EncodeIdleAfter: 500 * time.Millisecond})
	token := openedWorld(t, h)
	for x := range int32(200) {
		askWorld(t, h, onWorld(token, int64(x+1), durable, block(16*x, 0, 0, x)))
	}
	askWorld(t, h, saveWorld())
	for began := time.Now(); h.Stats().HeldBytes > 20_000; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d bytes are held", h.Stats().HeldBytes)
		}
	}
	if !h.Active(worldKey()) {
		t.Error("the world left memory before its chunks")
	}
	if edits := askWorld(t, h, getChunk(7, 0)).GetGetChunk().GetChunk().GetEdits(); len(edits) != 4 || edits[3] != 7 {
		t.Errorf("the chunk is %v", edits)
	}
}

// A damaged snapshot of a chunk is made good from the older one and the journal, and saved again; where the journal is trimmed,
// the load fails.
func TestDamagedChunk(t *testing.T) {
	s := newStore(t)
	h, kill := runHost(t, s, Options{})
	token := openedWorld(t, h)
	edit := func(id int64, value int32) {
		askWorld(t, h, onWorld(token, id, durable, block(0, 0, 0, value)))
		askWorld(t, h, saveWorld())
	}
	edit(1, 7)
	edit(2, 9)
	kill()
	s.damagedPart = "c/0/0"
	h, kill = runHost(t, s, Options{})
	if edits := askWorld(t, h, getChunk(0, 0)).GetGetChunk().GetChunk().GetEdits(); fmt.Sprint(edits) != "[0 0 0 9]" {
		t.Errorf("the chunk is %v", edits)
	}
	askWorld(t, h, saveWorld())
	kill()
	s.damagedPart = ""
	h, kill = runHost(t, s, Options{})
	if edits := askWorld(t, h, getChunk(0, 0)).GetGetChunk().GetChunk().GetEdits(); fmt.Sprint(edits) != "[0 0 0 9]" {
		t.Errorf("saved again, the chunk is %v", edits)
	}
	edit(3, 11)
	edit(4, 13)
	for id := range int64(3) { // the main part alone: now the journal begins after the older snapshot of the chunk
		askWorld(t, h, onWorld(token, 5+id, durable, rename(fmt.Sprint("Home ", id))))
		askWorld(t, h, saveWorld())
	}
	kill()
	s.damagedPart = "c/0/0"
	h, _ = runHost(t, s, Options{})
	if got := <-sendWorld(h, getChunk(0, 0)); !errors.Is(got.err, persistence.ErrCorrupt) {
		t.Errorf("the journal is trimmed: %v, %v; want ErrCorrupt", got.response, got.err)
	}
}
