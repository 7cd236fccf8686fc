package main

import (
	"context"
	"fmt"
	"os"

	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/codec/vxc1"
)

const (
	// maxSetBlocks is how many blocks one command may set.
	maxSetBlocks = world.MaxBlocks
	// crossChecks is how many of the pairs' commands are also looked at in the log.
	crossChecks = 12

	maxMedianEdits, max90Edits = 60, 600 // bytes of the events for a chunk
)

// realEdits takes columns as they were before and after somebody played: what differs goes in one command, and its events
// are weighed as they are stored. Some are also sent to a node, whose log says what they take there.
func (b *bench) realEdits(ctx context.Context) error {
	header, columns, err := b.pairs.columns()
	if err != nil {
		return err
	}
	document := &skerryv1.World{MinY: header.MinY, Height: vxc1.Height, BlockNames: header.Names}
	var blocks, bytes []float64
	var edited []int // the pairs with a changed block
	for i := 0; i+1 < len(columns); i += 2 {
		changes := differing(header, columns[i], columns[i+1])
		if len(changes) == 0 {
			continue
		}
		size, err := eventBytes(document, columns[i], changes)
		if err != nil {
			return fmt.Errorf("pair %d: %w", i/2, err)
		}
		edited = append(edited, i)
		blocks, bytes = append(blocks, float64(len(changes))), append(bytes, float64(size))
	}
	var limits bounds
	fmt.Printf("\nedits of %s: %d pairs, %d with a changed block; blocks changed: median %.0f, p90 %.0f, most %.0f\n", b.pairs.name, len(columns)/2, len(edited),
		quantile(blocks, 0.5), quantile(blocks, 0.9), quantile(blocks, 1))
	fmt.Printf("event bytes for a modified chunk: median %s, p90 %s, most %.0f\n",
		limits.atMost("the median of event bytes", quantile(bytes, 0.5), maxMedianEdits),
		limits.atMost("the ninth decile of event bytes", quantile(bytes, 0.9), max90Edits), quantile(bytes, 1))
	if err := b.crossCheck(ctx, header, columns, edited, bytes); err != nil {
		return err
	}
	return limits.err()
}

// differing returns the blocks in which after is not before.
func differing(header vxc1.Header, before, after vxc1.Column) []client.Block {
	var blocks []client.Block
	for _, e := range chunk.Diff(nil, before.IDs, after.IDs) {
		blocks = append(blocks, block(header.MinY, after.X, after.Z, int(e.Index), e.ID))
	}
	return blocks
}

// loaded is the one chunk that a decision needs.
type loaded struct{ chunk *world.Chunk }

// Chunk implements [world.Parts].
func (l loaded) Chunk(world.Coord) *world.Chunk { return l.chunk }

// eventBytes asks the world's rules for the events of the changes, and returns how many bytes they take in an entry.
func eventBytes(document *skerryv1.World, before vxc1.Column, changes []client.Block) (int, error) {
	held := &world.Chunk{Height: vxc1.Height, State: skerryv1.ChunkState_FULL, Base: chunk.Encode(nil, before.IDs)}
	size := 0
	for len(changes) > 0 {
		some := changes[:min(len(changes), maxSetBlocks)]
		changes = changes[len(some):]
		var flat []int32
		for _, c := range some {
			flat = append(flat, c.X, c.Y, c.Z, int32(c.ID))
		}
		events, _, err := world.Decide(nil, document, loaded{held}, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetBlocks{
			SetBlocks: &skerryv1.SetBlocks{Blocks: flat},
		}}, world.Turn{})
		if err != nil {
			return 0, err
		}
		for _, event := range events {
			size += (&storev1.Entry{WorldEvents: []*storev1.WorldEvent{event}}).SizeVT() // with its tag and length
		}
	}
	return size, nil
}

// crossCheck sends some of the pairs to a node, and compares the log's bytes with the events': what is beyond them is the
// same few bytes for each turn, whatever it changes. What comes back must be the columns after the edits.
func (b *bench) crossCheck(ctx context.Context, header vxc1.Header, columns []vxc1.Column, edited []int, bytes []float64) error {
	home := b.home("pairs")
	defer os.RemoveAll(home)
	s, err := b.open(ctx, home)
	if err != nil {
		return err
	}
	defer func() { _ = s.kill() }()
	w, err := s.world(ctx, "pairs", header)
	if err != nil {
		return err
	}
	var beyond []float64
	for n := range crossChecks {
		of := n * len(edited) / crossChecks
		before, after := columns[edited[of]], columns[edited[of]+1]
		if err := put(ctx, w, []vxc1.Column{{X: after.X, Z: after.Z, IDs: before.IDs}}); err != nil {
			return err
		}
		changes, sent := differing(header, before, after), 0.0
		logged, err := s.logged(ctx, func() error {
			for ; len(changes) > 0; sent++ {
				some := changes[:min(len(changes), maxSetBlocks)]
				changes = changes[len(some):]
				if _, err := w.SetBlocks(ctx, some); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		beyond = append(beyond, (logged-bytes[of])/sent)
		if err := b.isNow(ctx, s, after); err != nil {
			return err
		}
	}
	fmt.Printf("%d of them sent to a node: their turns took %.0f to %.0f log bytes beyond the events, median %.0f; the columns are those after the edits\n",
		crossChecks, quantile(beyond, 0), quantile(beyond, 1), quantile(beyond, 0.5))
	return nil
}

func (b *bench) isNow(ctx context.Context, s *site, want vxc1.Column) error {
	got, err := s.client.Chunk(ctx, "pairs", want.X, want.Z, client.Encoded)
	if err != nil {
		return err
	}
	ids, err := chunk.Decode(nil, got.GetEncoded(), vxc1.Height)
	if err != nil {
		return err
	}
	if len(chunk.Diff(nil, ids, want.IDs)) > 0 {
		return fmt.Errorf("chunk %d,%d is not the one after the edits", want.X, want.Z)
	}
	return nil
}
