package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// worlds are imported worlds that nobody changes, and one that is built in all the time.
type worlds struct {
	files    map[string]string // of the imported ones: where they were exported to, before anything happened
	builders []*builder
	stop     chan struct{}
	running  sync.WaitGroup
}

// builder sets blocks of its own chunk, one durable command after another.
type builder struct {
	world  *client.World
	x      int32
	acked  map[client.Place]uint16
	doubt  map[client.Place][]uint16 // may have been set since
	failed []error
}

const (
	builders   = 4
	blockNames = 64
)

// openWorlds imports every VXC1 file below the directory into a world of its own, and makes the one that is built in.
func (c *cluster) openWorlds(ctx context.Context, dir string) (*worlds, error) {
	w := &worlds{files: map[string]string{}}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".vxc.zst") || strings.Contains(name, "PAIRS") {
			return err
		}
		id := strings.ReplaceAll(strings.TrimSuffix(name, ".vxc.zst"), "~", "-")
		if err := c.skerry(ctx, "world", "import", id, path); err != nil {
			return err
		}
		w.files[id] = filepath.Join(c.Dir, id+".before")
		return c.skerry(ctx, "world", "export", id, w.files[id])
	})
	if err != nil {
		return nil, fmt.Errorf("import the worlds in %s: %w", dir, err)
	}
	names := make([]string, blockNames)
	for i := range names {
		names[i] = fmt.Sprintf("block%d", i)
	}
	built, err := c.load.server.OpenWorld(ctx, "built", client.WorldOptions{Create: &skerryv1.Create{BlockNames: names}})
	if err != nil {
		return nil, err
	}
	for i := range builders {
		w.builders = append(w.builders, &builder{
			world: built, x: int32(i), acked: map[client.Place]uint16{}, doubt: map[client.Place][]uint16{},
		})
	}
	fmt.Printf("%d worlds imported\n", len(w.files))
	return w, nil
}

// skerry runs the command against the cluster.
func (c *cluster) skerry(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, c.Program, append(args, "--addr", c.Addrs())...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("skerry %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// begin lets the builders build until end.
func (w *worlds) begin(ctx context.Context) {
	w.stop = make(chan struct{})
	for _, b := range w.builders {
		w.running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				select {
				case <-w.stop:
					return
				default:
					b.build(ctx, n)
				}
			}
		})
	}
}

// build sets the nth block.
func (b *builder) build(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	at := client.Place{X: 16*b.x + int32(n%16), Y: int32(n / 256 % 64), Z: int32(n / 16 % 16)}
	id := uint16(1 + n%(blockNames-1))
	_, err := b.world.SetBlocks(ctx, []client.Block{{X: at.X, Y: at.Y, Z: at.Z, ID: id}})
	if err != nil {
		b.failed = append(b.failed, err)
		b.doubt[at] = append(b.doubt[at], id)
		return
	}
	b.acked[at] = id
	delete(b.doubt, at)
}

// end stops the builders.
func (w *worlds) end() {
	close(w.stop)
	w.running.Wait()
}

// verify reads everything back. It returns how many blocks were acknowledged, and how many of them are not there.
func (c *cluster) verifyWorlds(ctx context.Context, w *worlds) (acked, lost int, failed []error, err error) {
	for id, before := range w.files {
		after := filepath.Join(c.Dir, id+".after")
		if err := c.skerry(ctx, "world", "export", id, after); err != nil {
			return 0, 0, nil, err
		}
		was, err := os.ReadFile(before)
		if err != nil {
			return 0, 0, nil, err
		}
		is, err := os.ReadFile(after)
		if err != nil {
			return 0, 0, nil, err
		}
		if !bytes.Equal(was, is) {
			return 0, 0, nil, fmt.Errorf("world %s is not what it was: %d bytes, now %d", id, len(was), len(is))
		}
	}
	for _, b := range w.builders {
		chunk, err := b.world.Chunk(ctx, b.x, 0)
		if err != nil {
			return 0, 0, nil, err
		}
		have := map[client.Place]uint16{}
		for e := chunk.GetEdits(); len(e) >= 4; e = e[4:] {
			have[client.Place{X: e[0], Y: e[1], Z: e[2]}] = uint16(e[3])
		}
		for at, id := range b.acked {
			if have[at] != id && !slices.Contains(b.doubt[at], have[at]) {
				lost++
			}
		}
		acked += len(b.acked)
		failed = append(failed, b.failed...)
	}
	return acked, lost, failed, nil
}
