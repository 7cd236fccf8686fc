package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/vxc1"
)

// source is a world that is not Skerry's: a file, or one made here.
type source struct {
	name string
	// columns returns all columns of the world, in new memory.
	columns func() (vxc1.Header, []vxc1.Column, error)
}

// sources finds the worlds of a run, and the one that holds pairs.
func sources(o options) (worlds []source, pairs source, err error) {
	if o.data == "" {
		return []source{
			{"made_hills", made(o.seed, 30)},
			{"made_more", made(o.seed+1, 12)},
		}, source{"made_pairs", madePairs(o.seed)}, nil
	}
	for _, pattern := range []string{"*.vxc.zst", "*/*.vxc.zst"} {
		paths, err := filepath.Glob(filepath.Join(o.data, pattern))
		if err != nil {
			return nil, source{}, err
		}
		for _, path := range paths {
			found := source{strings.TrimSuffix(filepath.Base(path), ".vxc.zst"), func() (vxc1.Header, []vxc1.Column, error) { return readFile(path) }}
			if strings.Contains(found.name, "PAIRS") {
				pairs = found
				continue
			}
			worlds = append(worlds, found)
		}
	}
	if len(worlds) == 0 {
		return nil, source{}, fmt.Errorf("no VXC1 files in %q", o.data)
	}
	if pairs.name == "" {
		pairs = source{"made_pairs", madePairs(o.seed)}
	}
	return worlds, pairs, nil
}

func readFile(path string) (vxc1.Header, []vxc1.Column, error) {
	f, err := os.Open(path)
	if err != nil {
		return vxc1.Header{}, nil, err
	}
	defer f.Close()
	r, err := vxc1.NewReader(f)
	if err != nil {
		return vxc1.Header{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	defer r.Close()
	var columns []vxc1.Column
	for {
		var c vxc1.Column
		switch err := r.Next(&c); {
		case errors.Is(err, io.EOF):
			return r.Header(), columns, nil
		case err != nil:
			return vxc1.Header{}, nil, fmt.Errorf("%s: %w", path, err)
		}
		columns = append(columns, c)
	}
}

// The blocks of worlds that are made.
const (
	air = iota
	stone
	dirt
	grass
	water
	ore
	planks
)

func madeHeader(columns int) vxc1.Header {
	return vxc1.Header{MinY: -64, Names: []string{"air", "stone", "dirt", "grass", "water", "ore", "planks"}, Columns: uint32(columns)} //nolint:gosec // a small number
}

// made returns a world of side × side columns: hills, lakes, caves and ore.
func made(seed uint64, side int32) func() (vxc1.Header, []vxc1.Column, error) {
	return func() (vxc1.Header, []vxc1.Column, error) {
		var columns []vxc1.Column
		for z := -side / 2; z < side-side/2; z++ {
			for x := -side / 2; x < side-side/2; x++ {
				columns = append(columns, vxc1.Column{X: x, Z: z, IDs: terrain(seed, x, z)})
			}
		}
		return madeHeader(len(columns)), columns, nil
	}
}

// terrain makes one column: the same for the same arguments.
func terrain(seed uint64, x, z int32) []uint16 {
	const sea = 90
	ids := make([]uint16, vxc1.ColumnIDs)
	rng := rand.New(rand.NewPCG(seed, uint64(uint32(x))<<32|uint64(uint32(z)))) //nolint:gosec // bits
	shift := float64(seed % 1000)
	for i := range 256 {
		bx, bz := float64(x)*16+float64(i%16), float64(z)*16+float64(i/16)
		top := int(100 + 14*math.Sin((bx+shift)/31) + 11*math.Cos((bz-shift)/23) + 5*math.Sin((bx+bz)/9))
		for y := range max(top, sea) {
			id := uint16(stone)
			switch {
			case y >= top:
				id = water
			case y == top-1 && top > sea:
				id = grass
			case y >= top-4:
				id = dirt
			case math.Sin(bx/7)*math.Sin(float64(y)/5)*math.Sin(bz/8) > 0.6:
				id = air
			case rng.IntN(120) == 0:
				id = ore
			}
			ids[y*256+i] = id
		}
	}
	return ids
}

// madePairs returns columns before and after invented edits: a few blocks dug, now and then a room or a tunnel.
func madePairs(seed uint64) func() (vxc1.Header, []vxc1.Column, error) {
	return func() (vxc1.Header, []vxc1.Column, error) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var columns []vxc1.Column
		for x := range int32(100) {
			before := terrain(seed, x, 0)
			after := append([]uint16(nil), before...)
			for range 1 + rng.IntN(12) {
				after[rng.IntN(100*256)] = planks
			}
			if rng.IntN(5) == 0 {
				chunk.Apply(after, room(rng))
			}
			columns = append(columns, vxc1.Column{X: x, IDs: before}, vxc1.Column{X: x, IDs: after, Stored: 1})
		}
		return madeHeader(len(columns)), columns, nil
	}
}

// room is a box of air with walls of planks.
func room(rng *rand.Rand) []chunk.Edit {
	var edits []chunk.Edit
	low, wide, high := uint32(40+rng.IntN(60)), uint32(4+rng.IntN(9)), uint32(3+rng.IntN(3)) //nolint:gosec // small
	for y := range high {
		for z := range wide {
			for x := range wide {
				id := uint16(air)
				if y == 0 || y == high-1 || x == 0 || z == 0 || x == wide-1 || z == wide-1 {
					id = planks
				}
				edits = append(edits, chunk.Edit{Index: (low+y)*256 + (z+1)*16 + x + 1, ID: id})
			}
		}
	}
	return edits
}
