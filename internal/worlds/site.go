package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/vxc1"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

// site is a node process, and a client of it that is a game server.
type site struct {
	node   *clustertest.Process
	client *client.Client
	server *client.Server
	// started is how long the process took to its ready line.
	started time.Duration
}

// open starts a node on the directory home and connects to it.
func (b *bench) open(ctx context.Context, home string, args ...string) (*site, error) {
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	from := time.Now()
	node, err := clustertest.Start(starting, b.program, home, args...)
	if err != nil {
		return nil, err
	}
	s := &site{node: node, started: time.Since(from)}
	if s.client, err = client.Dial(starting, node.Ready.GRPC, client.Options{Timeout: time.Minute}); err != nil {
		return nil, errors.Join(err, node.Kill())
	}
	if s.server, err = s.client.RegisterServer(starting, "worlds", client.ServerOptions{}); err != nil {
		return nil, errors.Join(err, s.kill())
	}
	return s, nil
}

func (s *site) kill() error {
	err := s.node.Kill()
	_ = s.client.Close() // there is nobody to say it to
	return err
}

// stop ends the node, which saves everything.
func (s *site) stop(ctx context.Context) error {
	_ = s.client.Close() // what is not saved yet, the node saves now
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return s.node.Stop(ctx)
}

// world opens a world, or makes it as the file says.
func (s *site) world(ctx context.Context, id string, header vxc1.Header) (*client.World, error) {
	return s.server.OpenWorld(ctx, id, client.WorldOptions{Create: &skerryv1.Create{
		MinY: header.MinY, Height: vxc1.Height, BlockNames: header.Names,
	}})
}

// putChunks is how many chunks go in one turn.
const putChunks = 32

// put stores columns of a world, each whole.
func put(ctx context.Context, w *client.World, columns []vxc1.Column) error {
	for len(columns) > 0 {
		some := columns[:min(putChunks, len(columns))]
		columns = columns[len(some):]
		commands := make([]*skerryv1.WorldCommand, 0, len(some))
		for _, c := range some {
			commands = append(commands, &skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PutChunk{PutChunk: &skerryv1.PutChunk{
				Chunk: &skerryv1.ChunkData{X: c.X, Z: c.Z, Encoded: chunk.EncodeFast(nil, c.IDs)},
			}}})
		}
		if _, err := w.Do(ctx, client.DoOptions{}, commands...); err != nil {
			return err
		}
	}
	return nil
}

const (
	writtenBytes = "skerry_replication_written_bytes_total"
	flushedBytes = "skerry_pebblestore_flushed_bytes_total"
	savedBytes   = "skerry_actors_saved_bytes_total"
	heldBytes    = "skerry_actors_held_bytes"
)

// logged returns how many bytes went to the log while f ran.
func (s *site) logged(ctx context.Context, f func() error) (float64, error) {
	before, err := s.node.Metrics(ctx, writtenBytes)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := s.node.Metrics(ctx, writtenBytes)
	return after[writtenBytes] - before[writtenBytes], err
}

// save saves a world, and returns how many bytes went to the log for it, and how many of them were snapshots.
func (s *site) save(ctx context.Context, w *client.World) (log, snapshots float64, err error) {
	before, err := s.node.Metrics(ctx, writtenBytes, savedBytes)
	if err != nil {
		return 0, 0, err
	}
	if _, err := w.Save(ctx); err != nil {
		return 0, 0, err
	}
	after, err := s.node.Metrics(ctx, writtenBytes, savedBytes)
	return after[writtenBytes] - before[writtenBytes], after[savedBytes] - before[savedBytes], err
}

// liveHeap collects garbage in the node and returns the bytes in use.
func (s *site) liveHeap(ctx context.Context) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.node.Ready.Admin+"/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(body), "# HeapAlloc = ")
	if !found {
		return 0, fmt.Errorf("no HeapAlloc in the heap profile of %s", s.node.Ready.Admin)
	}
	var bytes int64
	_, err = fmt.Sscan(rest, &bytes)
	return bytes, err
}

// tables returns the sizes of the store's tables, by name. The node must not run.
func tables(home string) (map[string]int64, error) {
	sizes := map[string]int64{}
	err := filepath.WalkDir(filepath.Join(home, "data"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".sst") {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sizes[filepath.Base(path)] = info.Size()
		}
		return err
	})
	if err == nil && len(sizes) == 0 {
		err = fmt.Errorf("no tables in %s: %w", home, os.ErrNotExist)
	}
	return sizes, err
}
