package chunk_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/skerry-dev/skerry/codec/vxc1"
)

// worlds is where real worlds are: the folder that SKERRY_VOXEL_DATA names, with files NAME.vxc.zst in it or in its
// folders, or a few generated columns that are kept here.
func worlds(tb testing.TB) []string {
	tb.Helper()
	root := os.Getenv("SKERRY_VOXEL_DATA")
	if root == "" {
		root = "testdata"
	}
	var all []string
	for _, pattern := range []string{"*.vxc.zst", "*/*.vxc.zst"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, paths...)
	}
	if len(all) == 0 {
		tb.Fatalf("no worlds in %s", root)
	}
	return all
}

// columns returns at most limit columns of a world.
func columns(tb testing.TB, path string, limit int) [][]uint16 {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	r, err := vxc1.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var all [][]uint16
	for len(all) < limit {
		var c vxc1.Column
		if err := r.Next(&c); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			tb.Fatal(err)
		}
		all = append(all, c.IDs)
	}
	return all
}

// shapes are columns of one height that look like nothing in a world: the edges of the format.
func shapes(height int) map[string][]uint16 {
	rng := rand.New(rand.NewPCG(uint64(height), 7))
	make1 := func(f func(i int) uint16) []uint16 {
		ids := make([]uint16, 256*height)
		for i := range ids {
			ids[i] = f(i)
		}
		return ids
	}
	last := len(make1(func(int) uint16 { return 0 })) - 1
	return map[string][]uint16{
		"air":             make1(func(int) uint16 { return 0 }),
		"greatest id":     make1(func(int) uint16 { return 0xffff }),
		"noise":           make1(func(int) uint16 { return uint16(rng.Uint32()) }),
		"noise of few":    make1(func(int) uint16 { return uint16(rng.Uint32N(3)) * 1000 }),
		"256 ids":         make1(func(i int) uint16 { return uint16(i % 256) }),
		"257 ids":         make1(func(i int) uint16 { return uint16(i % 257) }),
		"all different":   make1(func(i int) uint16 { return uint16(i) }),
		"all, falling":    make1(func(i int) uint16 { return 0xffff - uint16(i) }),
		"checkerboard":    make1(func(i int) uint16 { return uint16(i+i/16+i/256) % 2 }),
		"a section each":  make1(func(i int) uint16 { return uint16(i / 4096) }),
		"runs of 128":     make1(func(i int) uint16 { return uint16(i/128) % 2 }),
		"runs of 129":     make1(func(i int) uint16 { return uint16(i/129) % 2 }),
		"one at the end":  make1(func(i int) uint16 { return uint16(i / last) }),
		"one at the head": make1(func(i int) uint16 { return uint16((i + last) / last) }),
	}
}
