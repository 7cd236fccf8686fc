package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Chunk is a chunk's blocks; see the fields of the message.
type Chunk = skerryv1.ChunkData

// ChunkRef names a chunk.
type ChunkRef = skerryv1.ChunkRef

// ChunkForm says how a chunk is shown whose every block is stored.
type ChunkForm = skerryv1.ChunkForm

// The forms of chunks.
const (
	// Runs is a palette and runs. The default.
	Runs = skerryv1.ChunkForm_RUNS
	// Encoded is Skerry's own form: shorter, and read by codec/chunk.
	Encoded = skerryv1.ChunkForm_ENCODED
)

// maxChunks is how many chunks one request names.
const maxChunks = 64

// World reads a world's document without a session. [ErrNotFound] means that it is proven not to exist.
func (c *Client) World(ctx context.Context, id string) (*skerryv1.World, error) {
	read, err := c.getWorld(ctx, id)
	return read.GetWorld(), err
}

func (c *Client) getWorld(ctx context.Context, id string) (*skerryv1.GetWorldResponse, error) {
	answer, err := c.do(ctx, &call{req: skerryv1.Request{
		Request: &skerryv1.Request_GetWorld{GetWorld: &skerryv1.GetWorldRequest{World: id}},
	}})
	if err != nil {
		return nil, fmt.Errorf("read world %s: %w", id, err)
	}
	return answer.GetGetWorld(), nil
}

// Chunk reads one chunk of a world; form is [Runs] or [Encoded]. One of which nothing is stored is ABSENT, not an error.
func (c *Client) Chunk(ctx context.Context, world string, x, z int32, form ChunkForm) (*Chunk, error) {
	answer, err := c.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_GetChunk{
		GetChunk: &skerryv1.GetChunkRequest{World: world, X: x, Z: z, Form: form},
	}}})
	if err != nil {
		return nil, fmt.Errorf("read chunk %d,%d of world %s: %w", x, z, world, err)
	}
	return answer.GetGetChunk().GetChunk(), nil
}

// Chunks yields chunks of a world, each once, not in order; it asks for as many at a time as an answer holds, and stops at
// the first error. All chunks of one answer are of one moment.
func (c *Client) Chunks(ctx context.Context, world string, refs []*ChunkRef, form ChunkForm) iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		for left := refs; len(left) > 0; {
			some := left[:min(len(left), maxChunks)]
			answer, err := c.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_GetChunks{
				GetChunks: &skerryv1.GetChunksRequest{World: world, Chunks: some, Form: form},
			}}})
			got := answer.GetGetChunks()
			if err == nil && len(got.GetChunks()) == 0 {
				err = fmt.Errorf("%w: the node answered with none of %d chunks", ErrInternal, len(some))
			}
			if err != nil {
				yield(nil, fmt.Errorf("read chunks of world %s: %w", world, err))
				return
			}
			for _, chunk := range got.GetChunks() {
				if !yield(chunk, nil) {
					return
				}
			}
			left = append(got.GetLeftOut(), left[len(some):]...)
		}
	}
}

// ListChunks yields the chunks of a world of which something is stored, a page at a time, and stops at the first error.
func (c *Client) ListChunks(ctx context.Context, world string) iter.Seq2[*ChunkRef, error] {
	return pages("list chunks of world "+world, func(after string) ([]*ChunkRef, string, error) {
		answer, err := c.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_ListChunks{
			ListChunks: &skerryv1.ListChunksRequest{World: world, After: after, Limit: 1000},
		}}})
		return answer.GetListChunks().GetChunks(), answer.GetListChunks().GetNext(), err
	})
}

// Chests yields the chests of a world with what they hold, a page at a time, and stops at the first error.
func (c *Client) Chests(ctx context.Context, world string) iter.Seq2[*skerryv1.Chest, error] {
	return pages("list chests of world "+world, func(after string) ([]*skerryv1.Chest, string, error) {
		answer, err := c.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_ListChests{
			ListChests: &skerryv1.ListChestsRequest{World: world, After: after},
		}}})
		return answer.GetListChests().GetChests(), answer.GetListChests().GetNext(), err
	})
}

// Worlds yields the ids of the space's worlds, rising, after the given one, a page at a time; with an owner, only the
// owner's. It stops at the first error. Nothing is tried again: go on after the last id.
func (c *Client) Worlds(ctx context.Context, owner, after string) iter.Seq2[string, error] {
	first := after
	return pages("list worlds", func(after string) ([]string, string, error) {
		if after == "" {
			after = first
		}
		limited, cancel := c.bounded(ctx)
		defer cancel()
		page, err := c.api.ListWorlds(limited, &skerryv1.ListWorldsRequest{Owner: owner, After: after, Limit: 1000})
		return page.GetWorlds(), page.GetNext(), err
	})
}

// bounded is ctx with a deadline: its own, or Options.Timeout.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.opts.Timeout)
}

// pages yields what page returns, from the first page, whose after is "", to the last, whose next is "".
func pages[T any](what string, page func(after string) (some []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for after := ""; ; {
			some, next, err := page(after)
			if err != nil {
				var none T
				yield(none, fmt.Errorf("%s: %w", what, err))
				return
			}
			for _, one := range some {
				if !yield(one, nil) {
					return
				}
			}
			if after = next; after == "" {
				return
			}
		}
	}
}

// Chunk is [Client.Chunk] of this world, as runs.
func (w *World) Chunk(ctx context.Context, x, z int32) (*Chunk, error) {
	return w.client.Chunk(ctx, w.id, x, z, Runs)
}

// Chunks is [Client.Chunks] of this world, as runs.
func (w *World) Chunks(ctx context.Context, refs ...*ChunkRef) iter.Seq2[*Chunk, error] {
	return w.client.Chunks(ctx, w.id, refs, Runs)
}

// ListChunks is [Client.ListChunks] of this world.
func (w *World) ListChunks(ctx context.Context) iter.Seq2[*ChunkRef, error] {
	return w.client.ListChunks(ctx, w.id)
}

// Chests is [Client.Chests] of this world.
func (w *World) Chests(ctx context.Context) iter.Seq2[*skerryv1.Chest, error] {
	return w.client.Chests(ctx, w.id)
}
