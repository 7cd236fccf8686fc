package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/vxc1"
)

// roundTrip imports every world into one of its own, kills the node while nothing of them is saved, or while half of it is,
// and exports them: every block of every column must be as it was.
func (b *bench) roundTrip(ctx context.Context) error {
	fmt.Printf("\n%-28s %8s %10s %10s %10s %10s %12s\n", "world", "columns", "import", "restart", "open", "export", "file, bytes")
	for n, from := range b.worlds {
		if err := b.roundTripOne(ctx, from, n%2 == 1); err != nil {
			return fmt.Errorf("%s: %w", from.name, err)
		}
	}
	return nil
}

func (b *bench) roundTripOne(ctx context.Context, from source, saved bool) error {
	header, columns, err := from.columns()
	if err != nil {
		return err
	}
	home := b.home("roundtrip-" + from.name)
	defer os.RemoveAll(home)
	s, err := b.open(ctx, home)
	if err != nil {
		return err
	}
	defer func() { _ = s.kill() }()
	began := time.Now()
	if err := load(ctx, s, from.name, header, columns, saved); err != nil {
		return err
	}
	imported := time.Since(began)
	if err := s.kill(); err != nil {
		return err
	}
	again, err := b.open(ctx, home)
	if err != nil {
		return err
	}
	s = again
	began = time.Now()
	w, err := s.world(ctx, from.name, header)
	if err != nil {
		return err
	}
	opened := time.Since(began)
	began = time.Now()
	path := filepath.Join(home, from.name+".vxc.zst")
	if b.out != "" {
		path = filepath.Join(b.out, from.name+".vxc.zst")
	}
	if err := export(ctx, s.client, w, path); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	exported := time.Since(began)
	if err := same(path, header, columns); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %8d %10v %10v %10v %10v %12d  identical, after kill -9\n", from.name, len(columns), imported.Round(time.Millisecond),
		again.started.Round(time.Millisecond), opened.Round(100*time.Microsecond), exported.Round(time.Millisecond), info.Size())
	return nil
}

// load imports a world. saved says whether half of it is saved meanwhile: then that comes back from snapshots, the rest from
// the journal.
func load(ctx context.Context, s *site, id string, header vxc1.Header, columns []vxc1.Column, saved bool) error {
	w, err := s.world(ctx, id, header)
	if err != nil {
		return err
	}
	half := len(columns) / 2
	if err := put(ctx, w, columns[:half]); err != nil {
		return err
	}
	if saved {
		if _, err := w.Save(ctx); err != nil {
			return err
		}
	}
	return put(ctx, w, columns[half:])
}

// export writes all that is stored of a world to a file, sorted by z, then x.
func export(ctx context.Context, c *client.Client, w *client.World, path string) error {
	var refs []*client.ChunkRef
	for ref, err := range w.ListChunks(ctx) {
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(a, b *client.ChunkRef) int {
		if a.GetZ() != b.GetZ() {
			return int(a.GetZ()) - int(b.GetZ())
		}
		return int(a.GetX()) - int(b.GetX())
	})
	document := w.Document()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := vxc1.NewWriter(f, vxc1.Header{MinY: document.GetMinY(), Names: document.GetBlockNames(), Columns: uint32(len(refs))}) //nolint:gosec // of a file
	if err != nil {
		return err
	}
	var ids []uint16
	for stored, err := range c.Chunks(ctx, w.ID(), refs, client.Encoded) {
		if err != nil {
			return err
		}
		if ids, err = chunk.Decode(ids, stored.GetEncoded(), int(document.GetHeight())); err != nil {
			return fmt.Errorf("chunk %d,%d is %v: %w", stored.GetX(), stored.GetZ(), stored.GetState(), err)
		}
		if err := out.Write(vxc1.Column{X: stored.GetX(), Z: stored.GetZ(), IDs: ids}); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return f.Close()
}

// same compares a file with what it should hold: header, places, and every block.
func same(path string, header vxc1.Header, columns []vxc1.Column) error {
	type place struct{ x, z int32 }
	want := make(map[place][]uint16, len(columns))
	for _, c := range columns {
		want[place{c.X, c.Z}] = c.IDs
	}
	gotHeader, got, err := readFile(path)
	switch {
	case err != nil:
		return err
	case gotHeader.MinY != header.MinY || !slices.Equal(gotHeader.Names, header.Names):
		return fmt.Errorf("minY %d and %d names, want %d and %d", gotHeader.MinY, len(gotHeader.Names), header.MinY, len(header.Names))
	case len(got) != len(columns):
		return fmt.Errorf("%d columns came back, want %d", len(got), len(columns))
	}
	for _, c := range got {
		ids, found := want[place{c.X, c.Z}]
		if !found || !slices.Equal(ids, c.IDs) {
			return fmt.Errorf("column %d,%d is another than the one that was stored (found: %t)", c.X, c.Z, found)
		}
		delete(want, place{c.X, c.Z})
	}
	return nil
}
