package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/vxc1"
	"github.com/skerry-dev/skerry/codec/worldjson"
)

func (a *app) worldImport() *cobra.Command {
	var original, into bool
	cmd := &cobra.Command{
		Use: "import WORLD FILE", Short: "Make a world of a file",
		Long: "Make a world of a file, as `export` writes it. An existing world is only written into with --into: chunks and chests of the file take " +
			"the place of those in the world, all others stay. It holds a session meanwhile, and does not take one from a game server.",
		Example: "  skerry world import 1001 ann.vxc.zst\n  skerry world import 1001~2 from-the-datastore.json --original",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[1])
			if err != nil {
				return fmt.Errorf("import: %w", err)
			}
			defer func() { _ = file.Close() }() // only read
			job := &importJob{app: a, id: args[0], file: file, into: into, bar: a.bar("importing chunks")}
			run := job.vxc1
			if original {
				run = job.original
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				job.client = c
				if err := run(ctx); err != nil {
					return fmt.Errorf("import world %s: %w", args[0], err)
				}
				return a.print(map[string]any{"world": args[0], "isNew": job.world.IsNew(), "chunks": job.chunks, "chests": job.chests},
					"world %s: %d chunks and %d chests imported\n", args[0], job.chunks, job.chests)
			})
		},
	}
	cmd.Flags().BoolVar(&original, "original", false, "the file is in the original's JSON, as game servers keep it in data stores")
	cmd.Flags().BoolVar(&into, "into", false, "write into a world that exists")
	return cmd
}

// maxUnanswered is how many chunks are on their way at once.
const maxUnanswered = 32

// importJob writes one file into a world.
type importJob struct {
	app    *app
	client *client.Client
	id     string
	file   *os.File
	into   bool
	world  *client.World
	bar    *progressbar.ProgressBar

	chunks, chests int

	room    chan struct{} // as many as are unanswered
	pending sync.WaitGroup
	mu      struct {
		sync.Mutex
		err error // the first
	}
}

// open makes the world, or opens the one that exists.
func (j *importJob) open(ctx context.Context, create *skerryv1.Create) error {
	_, err := j.client.World(ctx, j.id)
	switch {
	case err == nil && !j.into:
		return fmt.Errorf("%w; --into writes into it", client.ErrAlreadyExists)
	case err != nil && !errors.Is(err, client.ErrNotFound):
		return err
	}
	j.room = make(chan struct{}, maxUnanswered)
	j.world, err = j.client.OpenWorld(ctx, j.id, client.WorldOptions{Server: "skerry-import", IfTaken: client.Refuse, Create: create})
	return err
}

// close waits for what is unanswered, saves and lets go.
func (j *importJob) close(ctx context.Context, err error) error {
	defer func() { _ = j.bar.Finish() }()
	if j.world == nil {
		return err
	}
	j.pending.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(err, j.mu.err, j.world.Leave(ctx))
}

// put sends a turn, and waits only when too many are on their way. It returns the error of an earlier one.
func (j *importJob) put(ctx context.Context, commands ...*skerryv1.WorldCommand) error {
	select {
	case j.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	j.mu.Lock()
	err := j.mu.err
	j.mu.Unlock()
	if err != nil {
		<-j.room
		return errStopped
	}
	j.pending.Add(1)
	done := func(_ *client.WorldResult, err error) {
		j.mu.Lock()
		if j.mu.err == nil {
			j.mu.err = err
		}
		j.mu.Unlock()
		<-j.room
		j.pending.Done()
	}
	if err := j.world.DoAsync(client.DoOptions{}, done, commands...); err != nil {
		done(nil, err)
	}
	return nil
}

// errStopped: an earlier turn failed, and says why.
var errStopped = errors.New("the rest was not tried")

func (j *importJob) putChunk(ctx context.Context, c *client.Chunk) error {
	j.chunks++
	_ = j.bar.Add(1)
	return j.put(ctx, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PutChunk{PutChunk: &skerryv1.PutChunk{Chunk: c}}})
}

func (j *importJob) vxc1(ctx context.Context) (err error) {
	file, err := vxc1.NewReader(j.file)
	if err != nil {
		return err
	}
	defer file.Close()
	header := file.Header()
	if err = j.open(ctx, &skerryv1.Create{MinY: header.MinY, Height: vxc1.Height, BlockNames: header.Names}); err != nil {
		return err
	}
	defer func() { err = j.close(ctx, err) }()
	if err = j.fits(header); err != nil {
		return err
	}
	j.bar.ChangeMax64(int64(header.Columns))
	var column vxc1.Column
	for {
		if err = file.Next(&column); errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err = j.putChunk(ctx, &client.Chunk{X: column.X, Z: column.Z, Encoded: chunk.Encode(nil, column.IDs)}); err != nil {
			return err
		}
	}
}

// fits refuses a file whose blocks mean something else in the world.
func (j *importJob) fits(header vxc1.Header) error {
	w := j.world.Document()
	if w.GetHeight() != vxc1.Height || w.GetMinY() != header.MinY {
		return fmt.Errorf("the world is %d high from y %d, the file %d from %d", w.GetHeight(), w.GetMinY(), vxc1.Height, header.MinY)
	}
	for id, name := range header.Names {
		if name != "" && (id >= len(w.GetBlockNames()) || w.GetBlockNames()[id] != name) {
			return fmt.Errorf("block %d is %q in the file, and not in the world", id, name)
		}
	}
	return nil
}

// original reads the file twice: what its world begins with may stand behind its chunks.
func (j *importJob) original(ctx context.Context) (err error) {
	create, err := worldjson.Read(j.file, worldjson.Visitor{})
	if err != nil {
		return err
	}
	if _, err = j.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read %s again: %w", j.file.Name(), err)
	}
	if err = j.open(ctx, create); err != nil {
		return err
	}
	defer func() { err = j.close(ctx, err) }()
	there := map[client.Place]int{} // how many slots
	for chest, err := range j.world.Chests(ctx) {
		if err != nil {
			return err
		}
		there[client.Place{X: chest.GetX(), Y: chest.GetY(), Z: chest.GetZ()}] = len(chest.GetSlots())
	}
	_, err = worldjson.Read(j.file, worldjson.Visitor{
		Chunk: func(c *skerryv1.ChunkData) error { return j.putChunk(ctx, c) },
		Chest: func(c *skerryv1.Chest) error {
			j.chests++
			return j.put(ctx, chestCommands(c, there[client.Place{X: c.GetX(), Y: c.GetY(), Z: c.GetZ()}])...)
		},
	})
	return err
}

// chestCommands make a chest, which has so many slots if it is there already, what the file says, as one turn.
func chestCommands(c *skerryv1.Chest, slots int) []*skerryv1.WorldCommand {
	var commands []*skerryv1.WorldCommand
	if slots == 0 {
		commands = append(commands, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PlaceChest{
			PlaceChest: &skerryv1.PlaceChest{X: c.GetX(), Y: c.GetY(), Z: c.GetZ()},
		}})
	}
	for i := range max(slots, len(c.GetSlots())) {
		var stack *skerryv1.ItemStack
		if i < len(c.GetSlots()) {
			stack = c.GetSlots()[i]
		}
		if slots == 0 && stack.GetCount() == 0 {
			continue
		}
		commands = append(commands, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_SetChestSlot{SetChestSlot: &skerryv1.SetChestSlot{
			Slot:  &skerryv1.ChestSlotRef{X: c.GetX(), Y: c.GetY(), Z: c.GetZ(), Index: int32(i)}, //nolint:gosec // at most 1,024
			Stack: stack,
		}}})
	}
	return commands
}
