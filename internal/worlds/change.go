package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/codec/vxc1"
)

const (
	// worldBytes is how large the world should be whose blocks are changed.
	worldBytes = 2 << 20
	// samples is how many single changes the figures of the log are the medians of: the node writes for others too.
	samples = 9
	// manyChunks and manyBlocks are of the large change.
	manyChunks, manyBlocks = 50, 1000

	maxChangeBytes = 300 // of the log, for a change of one block
	maxDeltaBytes  = 600 // of the log, for a save as a delta
	maxMoreBytes   = 300 // of the log, for a save beyond the chunk's stored size
	maxFlushTimes  = 3   // of what the store flushes, of the chunk's stored size
)

// changing is the world whose blocks are changed.
type changing struct {
	bench   *bench
	home    string
	name    string
	header  vxc1.Header
	columns []vxc1.Column // as they are stored now
	rng     *rand.Rand
	bounds  bounds
}

// change measures what one block changed and saved costs, and a thousand: in the log, and flushed by the store.
func (b *bench) change(ctx context.Context) error {
	c := &changing{bench: b, home: b.home("change"), rng: rand.New(rand.NewPCG(b.seed, 3))}
	stored, err := c.choose(b.worlds)
	if err != nil {
		return err
	}
	defer os.RemoveAll(c.home)
	document, err := codec.EncodeEntity(&storev1.Entity{Document: &storev1.Entity_World{World: &skerryv1.World{BlockNames: c.header.Names}}})
	if err != nil {
		return err
	}
	fmt.Printf("\nchanges in %s: %d columns, %d bytes as columns; its block names alone take %d bytes in a snapshot\n", c.name, len(c.columns), stored, len(document))
	if _, err := c.life(ctx, func(w *client.World, _ *site) error { return put(ctx, w, c.columns) }); err != nil && !errors.Is(err, errMerged) {
		return err
	}
	if err := c.logOfOne(ctx); err != nil {
		return err
	}
	if err := c.flushOfOne(ctx); err != nil {
		return err
	}
	if err := c.flushOfMany(ctx); err != nil {
		return err
	}
	if err := c.flushOfSeries(ctx); err != nil {
		return err
	}
	return c.bounds.err()
}

// choose takes the world whose columns are nearest to worldBytes, and returns how many bytes they are.
func (c *changing) choose(worlds []source) (int, error) {
	best := math.MaxInt
	size := func(columns []vxc1.Column) (sum int) {
		for _, column := range columns {
			sum += len(chunk.Encode(nil, column.IDs))
		}
		return sum
	}
	chosen := 0
	for _, from := range worlds {
		header, columns, err := from.columns()
		if err != nil {
			return 0, err
		}
		stored := size(columns)
		if off := max(stored, worldBytes) - min(stored, worldBytes); off < best {
			best, chosen = off, stored
			c.name, c.header, c.columns = from.name, header, columns
		}
	}
	return chosen, nil
}

// errMerged says that the store merged tables meanwhile, so that new ones hold more than what was flushed.
var errMerged = errors.New("the store merged tables")

// flushed returns how many more bytes the store flushed in a life in which f worked than in one without: both end with a
// node that stops, which flushes everything. f may run again.
func (c *changing) flushed(ctx context.Context, f func(*client.World, *site) error) (more, without int64, err error) {
	for range 8 {
		without, err = c.life(ctx, func(*client.World, *site) error { return nil })
		if err == nil {
			more, err = c.life(ctx, f)
		}
		if !errors.Is(err, errMerged) {
			return more - without, without, err
		}
	}
	return 0, 0, err
}

// life runs a node, lets f work in the world, saves it and stops the node, which flushes the store. It returns the bytes of
// the tables that are new since, or errMerged, with which everything else is well.
func (c *changing) life(ctx context.Context, f func(*client.World, *site) error) (int64, error) {
	before, err := tables(c.home)
	if err != nil {
		before = nil // it is the first life
	}
	s, err := c.bench.open(ctx, c.home)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.kill() }()
	w, err := s.world(ctx, c.name, c.header)
	if err != nil {
		return 0, err
	}
	if _, err := w.Save(ctx); err != nil { // the opening: what f saves is its own
		return 0, err
	}
	if err := f(w, s); err != nil {
		return 0, err
	}
	if err := w.Leave(ctx); err != nil {
		return 0, err
	}
	if err := s.stop(ctx); err != nil {
		return 0, err
	}
	after, err := tables(c.home)
	if err != nil {
		return 0, err
	}
	fresh := int64(0)
	for name, bytes := range after {
		if _, old := before[name]; !old {
			fresh += bytes
		}
	}
	for name := range before {
		if _, still := after[name]; !still {
			return 0, errMerged
		}
	}
	return fresh, nil
}

// blocks changes n random blocks of a column to ids that it has elsewhere, and returns them as a command has them.
func (c *changing) blocks(column, n int) []client.Block {
	at := &c.columns[column]
	blocks := make([]client.Block, 0, n)
	for len(blocks) < n {
		index := c.rng.IntN(len(at.IDs))
		id := at.IDs[c.rng.IntN(len(at.IDs))]
		if id == at.IDs[index] {
			continue
		}
		at.IDs[index] = id
		blocks = append(blocks, block(c.header.MinY, at.X, at.Z, index, id))
	}
	return blocks
}

// block is a place in a column in the world's coordinates.
func block(minY, x, z int32, index int, id uint16) client.Block {
	return client.Block{X: x*16 + int32(index%16), Y: minY + int32(index/256), Z: z*16 + int32(index/16%16), ID: id} //nolint:gosec // within a column
}

// stored is how many bytes a column takes now.
func (c *changing) stored(column int) float64 {
	return float64(len(chunk.Encode(nil, c.columns[column].IDs)))
}

// logOfOne measures single changes, their saves as deltas, and saves of whole chunks.
func (c *changing) logOfOne(ctx context.Context) error {
	_, err := c.life(ctx, func(w *client.World, s *site) error {
		var changed, delta, deltaSaved, more, whole []float64
		for n := range samples {
			column := n * len(c.columns) / samples
			blocks := c.blocks(column, 1)
			bytes, err := s.logged(ctx, func() error { _, err := w.SetBlocks(ctx, blocks); return err })
			if err != nil {
				return err
			}
			changed = append(changed, bytes)
			log, saved, err := s.save(ctx, w)
			if err != nil {
				return err
			}
			delta, deltaSaved = append(delta, log), append(deltaSaved, saved)
			c.blocks(column, 1)
			if err := put(ctx, w, c.columns[column:column+1]); err != nil {
				return err
			}
			if log, _, err = s.save(ctx, w); err != nil {
				return err
			}
			whole, more = append(whole, log), append(more, log-c.stored(column))
		}
		fmt.Printf("log bytes, medians of %d: one block changed %s\n", samples, c.bounds.atMost("log bytes of a change", quantile(changed, 0.5), maxChangeBytes))
		fmt.Printf("  its save as a delta %s, %.0f of them snapshots\n",
			c.bounds.atMost("log bytes of a save as a delta", quantile(delta, 0.5), maxDeltaBytes), quantile(deltaSaved, 0.5))
		fmt.Printf("  the save of a whole chunk %.0f, beyond its stored size %s\n",
			quantile(whole, 0.5), c.bounds.atMost("log bytes of a whole save beyond the chunk", quantile(more, 0.5), maxMoreBytes))
		return nil
	})
	if errors.Is(err, errMerged) {
		return nil // only the log was looked at
	}
	return err
}

// flushOfOne measures what one block, changed and saved, leaves in tables.
func (c *changing) flushOfOne(ctx context.Context) error {
	stored := 0.0
	more, without, err := c.flushed(ctx, func(w *client.World, _ *site) error {
		column := c.rng.IntN(len(c.columns))
		if _, err := w.SetBlocks(ctx, c.blocks(column, 1)); err != nil {
			return err
		}
		stored = c.stored(column)
		_, err := w.Save(ctx)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("flushed for one block changed and saved: %s; the chunk is stored in %.0f; a start and a stop without it flush %d\n",
		c.bounds.atMost("bytes flushed for a block", float64(more), maxFlushTimes*stored), stored, without)
	return nil
}

// flushOfMany does the same for a thousand blocks in one command, and looks at the log too.
func (c *changing) flushOfMany(ctx context.Context) error {
	var changed, saved, stored float64
	more, _, err := c.flushed(ctx, func(w *client.World, s *site) error {
		var blocks []client.Block
		stored = 0
		for _, column := range c.rng.Perm(len(c.columns))[:manyChunks] {
			blocks = append(blocks, c.blocks(column, manyBlocks/manyChunks)...)
			stored += c.stored(column)
		}
		var err error
		if changed, err = s.logged(ctx, func() error { _, err := w.SetBlocks(ctx, blocks); return err }); err != nil {
			return err
		}
		saved, err = s.logged(ctx, func() error { _, err := w.Save(ctx); return err })
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d blocks over %d chunks, one command: log bytes of the change %s, of the save %s; flushed %s; the chunks are stored in %.0f\n", manyBlocks, manyChunks,
		c.bounds.atMost("log bytes of the large change", changed, manyChunks*maxChangeBytes),
		c.bounds.atMost("log bytes of the large save", saved, manyChunks*maxDeltaBytes),
		c.bounds.atMost("bytes flushed for the large change", float64(more), maxFlushTimes*stored), stored)
	return nil
}

// flushOfSeries changes and saves block after block, each in another chunk, until the store has flushed by itself a few
// times, and counts with the node's own metrics.
func (c *changing) flushOfSeries(ctx context.Context) error {
	const wantFlushes = 2
	s, err := c.bench.open(ctx, c.home, "--store-memtable", "1MiB")
	if err != nil {
		return err
	}
	defer func() { _ = s.kill() }()
	w, err := s.world(ctx, c.name, c.header)
	if err != nil {
		return err
	}
	type end struct {
		changes                 int
		flushed, written, saved float64
	}
	var ends []end
	last, stored := -1.0, 0.0
	from := time.Now()
	n := 0
	for ; len(ends) <= wantFlushes && n < 20_000; n++ {
		column := n * 7 % len(c.columns)
		stored += c.stored(column)
		if _, err := w.SetBlocks(ctx, c.blocks(column, 1)); err != nil {
			return err
		}
		if _, err := w.Save(ctx); err != nil {
			return err
		}
		now, err := s.node.Metrics(ctx, flushedBytes, writtenBytes, savedBytes)
		if err != nil {
			return err
		}
		if now[flushedBytes] != last && last >= 0 {
			ends = append(ends, end{n, now[flushedBytes], now[writtenBytes], now[savedBytes]})
		}
		last = now[flushedBytes]
	}
	if len(ends) < 2 {
		return fmt.Errorf("the store flushed %d times in %d changes", len(ends), n)
	}
	first, final := ends[0], ends[len(ends)-1]
	count := float64(final.changes - first.changes)
	fmt.Printf("%d changes of one block, each saved, in %v: each %.0f bytes in the log, %.0f of them snapshots, and %s flushed by the store, %d flushes\n", n,
		time.Since(from).Round(time.Millisecond), (final.written-first.written)/count, (final.saved-first.saved)/count,
		c.bounds.atMost("bytes flushed for each of a series of blocks", (final.flushed-first.flushed)/count, maxFlushTimes*stored/float64(n)), len(ends)-1)
	return nil
}
