package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/vxc1"
	"github.com/skerry-dev/skerry/codec/worldjson"
)

func (a *app) worldExport() *cobra.Command {
	var original bool
	cmd := &cobra.Command{
		Use: "export WORLD FILE", Short: "Write a world to a new file",
		Long: "Write a world's chunks to a new file, as VXC1 (zstd; only for worlds 256 high, without chests and edited chunks: it says what was left out), " +
			"or with --original everything in the original's JSON. Chunks that change meanwhile may be of different moments.",
		Example: "  skerry world export 1001 ann.vxc.zst\n  skerry world export 1001 ann.json --original",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				w, err := a.findWorld(ctx, c, args[0])
				if err != nil {
					return err
				}
				if !original && w.GetHeight() != vxc1.Height {
					return fmt.Errorf("export %s: VXC1 holds worlds %d high, this one has %d; --original writes any", args[0], vxc1.Height, w.GetHeight())
				}
				file, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return fmt.Errorf("export to a new file: %w", err)
				}
				job := exportJob{app: a, client: c, id: args[0], world: w}
				write := job.vxc1
				if original {
					write = job.original
				}
				if err = errors.Join(write(ctx, file), file.Close()); err != nil {
					return errors.Join(fmt.Errorf("export %s: %w", args[0], err), os.Remove(args[1]))
				}
				return a.print(map[string]any{"world": args[0], "chunks": job.written, "chests": job.chests, "leftOut": job.leftOut},
					"world %s: %d chunks and %d chests written, %d chunks or chests left out\n", args[0], job.written, job.chests, job.leftOut)
			})
		},
	}
	cmd.Flags().BoolVar(&original, "original", false, "in the original's JSON, as game servers keep it in data stores")
	return cmd
}

// exportJob writes one world.
type exportJob struct {
	app    *app
	client *client.Client
	id     string
	world  *skerryv1.World

	written, chests, leftOut int
}

// chunks calls visit with every stored chunk, sorted by z, then x.
func (j *exportJob) chunks(ctx context.Context, form client.ChunkForm, visit func(*client.Chunk) error) error {
	var refs []*client.ChunkRef
	for ref, err := range j.client.ListChunks(ctx, j.id) {
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(x, y *client.ChunkRef) int {
		return cmp.Or(cmp.Compare(x.GetZ(), y.GetZ()), cmp.Compare(x.GetX(), y.GetX()))
	})
	bar := j.app.bar("exporting chunks")
	bar.ChangeMax(len(refs))
	defer func() { _ = bar.Finish() }()
	for len(refs) > 0 {
		some := refs[:min(len(refs), 64)]
		refs = refs[len(some):]
		var page []*client.Chunk
		for one, err := range j.client.Chunks(ctx, j.id, some, form) {
			if err != nil {
				return err
			}
			page = append(page, one)
		}
		slices.SortFunc(page, func(x, y *client.Chunk) int {
			return cmp.Or(cmp.Compare(x.GetZ(), y.GetZ()), cmp.Compare(x.GetX(), y.GetX()))
		})
		for _, one := range page {
			if err := visit(one); err != nil {
				return err
			}
			_ = bar.Add(1)
		}
	}
	return nil
}

// vxc1 writes the full chunks, counting them first: the header says how many there are.
func (j *exportJob) vxc1(ctx context.Context, to io.Writer) error {
	var full []*client.Chunk // encoded: a few KB each
	err := j.chunks(ctx, client.Encoded, func(c *client.Chunk) error {
		switch {
		case c.GetState() == skerryv1.ChunkState_FULL:
			full = append(full, c)
		case c.GetState() == skerryv1.ChunkState_EDITED:
			j.leftOut++
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, err := range j.client.Chests(ctx, j.id) {
		if err != nil {
			return err
		}
		j.leftOut++
	}
	file, err := vxc1.NewWriter(to, vxc1.Header{MinY: j.world.GetMinY(), Names: j.world.GetBlockNames(), Columns: uint32(len(full))}) //nolint:gosec // far below 2^32
	if err != nil {
		return err
	}
	var ids []uint16
	for _, c := range full {
		if ids, err = chunk.Decode(ids, c.GetEncoded(), vxc1.Height); err != nil {
			return fmt.Errorf("chunk %d,%d: %w", c.GetX(), c.GetZ(), err)
		}
		if err = file.Write(vxc1.Column{X: c.GetX(), Z: c.GetZ(), IDs: ids}); err != nil {
			return err
		}
		j.written++
	}
	return file.Close()
}

func (j *exportJob) original(ctx context.Context, to io.Writer) error {
	file, err := worldjson.NewWriter(to, j.world)
	if err != nil {
		return err
	}
	err = j.chunks(ctx, client.Runs, func(c *client.Chunk) error {
		if c.GetState() != skerryv1.ChunkState_ABSENT {
			j.written++
		}
		return file.Chunk(c)
	})
	if err != nil {
		return err
	}
	for chest, err := range j.client.Chests(ctx, j.id) {
		if err != nil {
			return err
		}
		j.chests++
		if err := file.Chest(chest); err != nil {
			return err
		}
	}
	return file.Close()
}
