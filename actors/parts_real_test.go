// Goal: worlds on the storage that they are made for. Method: the real log and store on a disk in memory that loses what was
// not synced, and counts of what is written.
package actors

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// crashed is a disk after a power cut, and what was known then: of each block the newest value that was acknowledged before,
// and the newest that was asked for until after.
type crashed struct {
	disk        pebblestore.FS
	least, most map[int32]int32
}

// A power cut at any moment, also in the middle of a save, an eviction or a load, loses no acknowledged edit, and none is there
// that nobody asked for.
func TestCrashOfAWorldLosesNothing(t *testing.T) {
	points := 100
	if underRace || testing.Short() {
		points = 15
	}
	const chunks = 12
	disk, crash := pebblestore.CrashableFS()
	opts := Options{WorldMemoryBytes: 3000, AutosaveInterval: 20 * time.Millisecond}
	h, _, stop := startOn(t, disk, "node", 1, opts)
	token := openedWorld(t, h)
	for x := range int32(chunks / 2) { // half of the chunks are full
		askWorld(t, h, putChunk(x, "0", "1000"))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	asked, acknowledged := map[int32]int32{}, map[int32]int32{}
	var mu sync.Mutex
	known := func(of map[int32]int32) map[int32]int32 {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(of)
	}
	var cuts []crashed
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		for i := range points {
			time.Sleep(time.Duration(1+i%7) * time.Millisecond)
			c := crashed{least: known(acknowledged)}
			c.disk = crash(uint64(i)) //nolint:gosec // not negative
			c.most = known(asked)
			cuts = append(cuts, c)
		}
	}()
	done, id := false, int64(0)
	for value := int32(1); !done; value = value%60_000 + 1 {
		x := rng.Int32N(chunks)
		id++
		mu.Lock()
		asked[x] = value
		mu.Unlock()
		askWorld(t, h, onWorld(token, id, durable, block(16*x, 0, 0, value)))
		mu.Lock()
		acknowledged[x] = value
		mu.Unlock()
		if rng.IntN(40) == 0 {
			askWorld(t, h, saveWorld())
		}
		select {
		case <-cut:
			done = true
		default:
		}
	}
	stop()
	t.Logf("%d edits, %d power cuts", id, len(cuts))
	for i, c := range cuts {
		h, _, stop := startOn(t, c.disk, "node", 1, opts)
		for x := range int32(chunks) {
			if v := blockAt(t, h, x); v < c.least[x] || v > c.most[x] && c.most[x] >= c.least[x] {
				t.Errorf("cut %d: chunk %d has %d, want %d to %d", i, x, v, c.least[x], c.most[x])
			}
		}
		stop()
	}
}

// blockAt is the block at the corner of a chunk; 0 when it was never set.
func blockAt(t *testing.T, h *Host, x int32) int32 {
	t.Helper()
	got := askWorld(t, h, getChunk(x, 0)).GetGetChunk().GetChunk()
	value := int32(0)
	switch {
	case got.GetState() == skerryv1.ChunkState_FULL:
		_, err := fmt.Sscan(got.GetPalette()[got.GetRuns()[0]], &value)
		if err != nil {
			t.Error(err)
		}
	case len(got.GetEdits()) == 4:
		value = got.GetEdits()[3]
	}
	return value
}

// A world of 100,000 chunks opens without a look at any of them.
func TestLargeWorldOpensAtOnce(t *testing.T) {
	n := int32(100_000)
	if underRace || testing.Short() {
		n = 5_000
	}
	fs := pebblestore.MemFS()
	h, _, stop := startOn(t, fs, "node", 1, Options{WorldMemoryBytes: 1 << 20})
	token := openedWorld(t, h)
	const at = 1000 // blocks in a command, in 50 chunks
	id := int64(0)
	for from := int32(0); from < n; from += 50 {
		id++
		var blocks []int32
		for x := from; x < from+50; x++ {
			blocks = append(blocks, 16*(x%1000), 0, 16*(x/1000), 1+x%at)
		}
		cmd := &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetBlocks{SetBlocks: &skerryv1.SetBlocks{Blocks: blocks}}}
		askWorld(t, h, onWorld(token, id, memory, cmd))
	}
	if report, err := h.Shutdown(t.Context()); err != nil || report.Saved != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	stop()

	h, disk, _ := startOn(t, fs, "node", 1, Options{})
	began := time.Now()
	askWorld(t, h, &skerryv1.Request{Request: &skerryv1.Request_GetWorld{GetWorld: &skerryv1.GetWorldRequest{World: "w"}}})
	open := time.Since(began)
	began = time.Now()
	edits := askWorld(t, h, getChunk(77, 3)).GetGetChunk().GetChunk().GetEdits()
	t.Logf("%d chunks: open in %s, first chunk in %s, %d bytes held", n, open, time.Since(began), h.Stats().HeldBytes)
	if len(edits) != 4 || edits[3] != 1+(3077%at) {
		t.Errorf("the chunk is %v", edits)
	}
	if held := h.Stats().HeldBytes; held > 4<<20 {
		t.Errorf("%d bytes are held after one chunk was read", held)
	}
	if open > time.Second { // about 10 ms on an idle machine; a look at each chunk takes seconds
		t.Errorf("it opened in %s", open)
	}
	if sum, err := disk.Verify(t.Context(), func(p pebblestore.Problem) { t.Errorf("%s: %v", p.Key, p.Err) }); err != nil || sum.Snapshots < int(n) {
		t.Errorf("%+v, %v", sum, err)
	}
}

// sized is a journal that counts what is proposed.
type sized struct {
	persistence.Journal
	mu    sync.Mutex
	bytes int
}

func (j *sized) Propose(p persistence.Partition, c *persistence.Change, done func(error)) error {
	data, err := persistence.AppendProposal(nil, &persistence.Proposal{Changes: []*persistence.Change{c}})
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.bytes += len(data)
	j.mu.Unlock()
	return j.Journal.Propose(p, c, done)
}

// take is the bytes since it was asked last.
func (j *sized) take() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := j.bytes
	j.bytes = 0
	return n
}

// One block of a world of 2 MB costs the log 300 bytes at most, and its save, as a delta, 600.
func TestOneBlockIsCheap(t *testing.T) {
	s := newStore(t)
	journal := &sized{Journal: s}
	h, _ := runHost(t, s, Options{}, func(o *Options) { o.Journal = journal })
	token := openedWorld(t, h)
	rng := rand.New(rand.NewPCG(3, 4))
	for x := range int32(420) { // of some 5 KB each
		runs := []uint32{}
		for left := uint32(1 << 16); left > 0; {
			n := min(left, 1+rng.Uint32N(64))
			runs, left = append(runs, rng.Uint32N(8), n), left-n
		}
		askWorld(t, h, &skerryv1.Request{Request: &skerryv1.Request_PutChunk{PutChunk: &skerryv1.PutChunkRequest{
			World: "w", X: x, Chunk: &skerryv1.ChunkData{Palette: []string{"0", "1", "2", "3", "4", "5", "6", "7"}, Runs: runs},
		}}})
	}
	askWorld(t, h, saveWorld())
	askWorld(t, h, saveWorld())
	if total := journal.take(); total < 2<<20 {
		t.Errorf("the world has %d bytes, want 2 MB", total)
	}
	for id := range int64(5) {
		askWorld(t, h, onWorld(token, id+1, durable, block(int32(16*id), 5, 0, 99))) //nolint:gosec // small
		change := journal.take()
		askWorld(t, h, saveWorld())
		save := journal.take()
		t.Logf("change %d bytes, save %d", change, save)
		if change > 300 || save > 600 {
			t.Errorf("change of %d bytes, save of %d, want at most 300 and 600", change, save)
		}
	}
}
