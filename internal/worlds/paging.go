package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/schollz/progressbar/v3"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/vxc1"
)

const (
	pagingRows  = 100 // of the world for paging, from z = 0
	pagingSight = 4   // how many chunks a player sees to each side
	pagingOpens = 5   // how often the world is opened after a stop, and after a kill
	// pagingPace is how long a player takes for a chunk: some hundred times as fast as one that runs.
	pagingPace = 10 * time.Millisecond
	// pagingLimit is the node's limit for what it holds of entities, encoded: a quarter of what the player sees on the way.
	pagingLimit = 1 << 20
	// maxOpen is how long a world may take to open.
	maxOpen = 50 * time.Millisecond
	// maxHeld is what the node may hold at most: it looks at the limit now and then, not at every chunk.
	maxHeld = 2 * pagingLimit
	// maxHeapMore bounds how much larger the node's live heap may become by a walk, the store's cache and memtable included.
	maxHeapMore = 8 << 20
)

// paging makes a world of many chunks, opens it after a stop and after a kill, and lets a player walk through it.
func (b *bench) paging(ctx context.Context) error {
	home := b.home("paging")
	defer os.RemoveAll(home)
	fmt.Printf("\npaging: a world of %d chunks\n", b.chunks)
	if err := b.fill(ctx, home); err != nil {
		return err
	}
	var limits bounds
	for _, killed := range []bool{false, true} {
		if err := b.opens(ctx, home, killed, &limits); err != nil {
			return err
		}
	}
	s, err := b.open(ctx, home, "--memory-limit", fmt.Sprint(pagingLimit))
	if err != nil {
		return err
	}
	defer func() { _ = s.kill() }()
	if err := b.walk(ctx, s, &limits); err != nil {
		return err
	}
	return limits.err()
}

// opens opens the world in one node after another; the first finds what was there, the others what the one before left.
func (b *bench) opens(ctx context.Context, home string, killed bool, limits *bounds) error {
	var ready, opened []float64
	how := "a stop"
	if killed {
		how = "kill -9"
	}
	for n := range pagingOpens {
		s, err := b.open(ctx, home)
		if err != nil {
			return err
		}
		began := time.Now()
		w, err := s.server.OpenWorld(ctx, "large", client.WorldOptions{})
		ready, opened = append(ready, float64(s.started.Milliseconds())), append(opened, float64(time.Since(began).Microseconds())/1000)
		if err == nil { // something that is in no snapshot
			_, err = w.SetBlocks(ctx, []client.Block{{X: int32(n) * 16, Y: 10, ID: planks}}) //nolint:gosec // small
		}
		if err != nil || killed {
			err = errors.Join(err, s.kill())
		} else {
			err = s.stop(ctx)
		}
		if err != nil {
			return err
		}
	}
	fmt.Printf("after %s, %d times: the node ready in %.0f ms, the world opened in %.1f ms, medians; the slowest in whole ms %s\n", how, pagingOpens,
		quantile(ready, 0.5), quantile(opened, 0.5),
		limits.atMost("ms to open the world after "+how, math.Floor(quantile(opened, 1)), float64(maxOpen.Milliseconds())))
	return nil
}

// fill makes the world and stops the node.
func (b *bench) fill(ctx context.Context, home string) error {
	s, err := b.open(ctx, home)
	if err != nil {
		return err
	}
	defer func() { _ = s.kill() }()
	w, err := s.world(ctx, "large", madeHeader(0))
	if err != nil {
		return err
	}
	began := time.Now()
	bar := progressbar.Default(int64(b.chunks), "storing chunks")
	const patterns = 64 // a world of so many different columns: making each anew would take longer than storing it
	var some []vxc1.Column
	ids := make([][]uint16, patterns)
	for i := range ids {
		ids[i] = flat(b.seed, i)
	}
	for n := range b.chunks {
		some = append(some, vxc1.Column{X: int32(n / pagingRows), Z: int32(n % pagingRows), IDs: ids[n%patterns]}) //nolint:gosec // small
		if len(some) < putChunks && n < b.chunks-1 {
			continue
		}
		if err := put(ctx, w, some); err != nil {
			return err
		}
		_ = bar.Add(len(some))
		some = some[:0]
	}
	stored := time.Since(began)
	began = time.Now()
	if _, err := w.Save(ctx); err != nil {
		return err
	}
	saved := time.Since(began)
	began = time.Now()
	if err := s.stop(ctx); err != nil {
		return err
	}
	fmt.Printf("\nstored in %v, what was left saved in %v, the node stopped in %v\n",
		stored.Round(time.Millisecond), saved.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	return nil
}

// flat is a small column: some layers, and a few blocks in them.
func flat(seed uint64, pattern int) []uint16 {
	rng := rand.New(rand.NewPCG(seed, uint64(pattern))) //nolint:gosec // not negative
	ids := make([]uint16, vxc1.ColumnIDs)
	for i := range 70 * 256 {
		ids[i] = stone
	}
	for i := 70 * 256; i < 74*256; i++ {
		ids[i] = dirt
	}
	for range 60 {
		ids[rng.IntN(70*256)] = ore
	}
	return ids
}

// walk lets a player walk through the world, chunk after chunk: he sees what comes into sight, and builds a block in each.
func (b *bench) walk(ctx context.Context, s *site, limits *bounds) error {
	w, err := s.server.OpenWorld(ctx, "large", client.WorldOptions{})
	if err != nil {
		return err
	}
	before, err := s.liveHeap(ctx)
	if err != nil {
		return err
	}
	took := hdrhistogram.New(1, 60_000_000, 3)
	pace := time.NewTicker(pagingPace)
	defer pace.Stop()
	most, mostHeld, seen, bytes := before, 0.0, 0, 0
	for step := range b.steps {
		got, err := b.step(ctx, s, w, step, took)
		if err != nil {
			return err
		}
		seen, bytes = seen+len(got), bytes+sizeOf(got)
		now, err := s.node.Metrics(ctx, heldBytes)
		if err != nil {
			return err
		}
		mostHeld = max(mostHeld, now[heldBytes])
		if step%50 == 49 {
			heap, err := s.liveHeap(ctx)
			if err != nil {
				return err
			}
			most = max(most, heap)
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	us := func(q float64) time.Duration { return time.Duration(took.ValueAtQuantile(q)) * time.Microsecond }
	fmt.Printf("a walk of %d chunks: %d seen, %d KiB encoded; the next ones came in p50 %v, p99 %v, max %v\n", b.steps, seen, bytes>>10, us(50), us(99), us(100))
	fmt.Printf("with a memory limit of %d KiB the node held at most, in KiB, %s; its live heap was %d before, at most %d, more: %s\n", pagingLimit>>10,
		limits.atMost("KiB that the node holds", mostHeld/1024, maxHeld/1024), before>>10, most>>10,
		limits.atMost("growth of the heap in KiB", float64(most-before)/1024, maxHeapMore/1024))
	return nil
}

// step is one chunk of the way.
func (b *bench) step(ctx context.Context, s *site, w *client.World, step int, took *hdrhistogram.Histogram) ([]*client.Chunk, error) {
	length := b.chunks / pagingRows
	x, z := int32(step%length), int32(pagingSight+step/length*(2*pagingSight+1)%(pagingRows-2*pagingSight)) //nolint:gosec // small
	var refs []*client.ChunkRef
	for side := int32(-pagingSight); side <= pagingSight; side++ {
		refs = append(refs, &client.ChunkRef{X: x + pagingSight, Z: z + side})
	}
	var got []*client.Chunk
	from := time.Now()
	for c, err := range s.client.Chunks(ctx, w.ID(), refs, client.Encoded) {
		if err != nil {
			return nil, err
		}
		if len(c.GetEncoded()) > 0 {
			got = append(got, c)
		}
	}
	_ = took.RecordValue(max(1, time.Since(from).Microseconds())) // a minute is the most it records
	_, err := w.SetBlocks(ctx, []client.Block{{X: x*16 + 8, Y: 20, Z: z*16 + 8, ID: planks}}, client.InMemory())
	return got, err
}

func sizeOf(chunks []*client.Chunk) (sum int) {
	for _, c := range chunks {
		sum += len(c.GetEncoded())
	}
	return sum
}
