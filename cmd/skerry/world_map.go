package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/vxc1"
)

// maxMapPixels bounds a picture's memory: 256 MiB.
const maxMapPixels = 64 << 20

func (a *app) worldMap() *cobra.Command {
	var paletteFile string
	var fromFile bool
	cmd := &cobra.Command{
		Use: "map WORLD PNG", Short: "Draw a world from above",
		Long: "Draw a world's full chunks from above into a new PNG, a pixel a block, north up, shaded by height. " +
			"The palette file has lines of a pattern for block names and a colour; without one, common blocks of Minetest and Minecraft have theirs.",
		Example: "  skerry world map 1001 ann.png\n  skerry world map --file ann.vxc.zst ann.png",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := standardPalette
			if paletteFile != "" {
				data, err := a.readAll(paletteFile)
				if err != nil {
					return fmt.Errorf("read the palette: %w", err)
				}
				text = string(data)
			}
			colours, err := parsePalette(text)
			if err != nil {
				return err
			}
			if fromFile {
				m, err := mapOfFile(args[0], colours)
				if err != nil {
					return fmt.Errorf("draw %s: %w", args[0], err)
				}
				return a.writeMap(args[1], m)
			}
			return a.with(cmd, func(ctx context.Context, c *client.Client) error {
				m, err := a.mapOfWorld(ctx, c, args[0], colours)
				if err != nil {
					return err
				}
				return a.writeMap(args[1], m)
			})
		},
	}
	cmd.Flags().StringVar(&paletteFile, "palette", "", "a file of patterns and colours")
	cmd.Flags().BoolVar(&fromFile, "file", false, "WORLD is a VXC1 file, not a world")
	return cmd
}

func (a *app) mapOfWorld(ctx context.Context, c *client.Client, id string, colours palette) (*worldMap, error) {
	w, err := a.findWorld(ctx, c, id)
	if err != nil {
		return nil, err
	}
	m := &worldMap{colourOf: colours.table(w.GetBlockNames()), tiles: map[[2]int32]*tile{}}
	job := exportJob{app: a, client: c, id: id, world: w}
	var ids []uint16
	err = job.chunks(ctx, client.Encoded, func(c *client.Chunk) (err error) {
		if c.GetState() != skerryv1.ChunkState_FULL {
			return nil
		}
		if ids, err = chunk.Decode(ids, c.GetEncoded(), int(w.GetHeight())); err != nil {
			return fmt.Errorf("chunk %d,%d: %w", c.GetX(), c.GetZ(), err)
		}
		m.add(c.GetX(), c.GetZ(), ids)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", id, err)
	}
	return m, nil
}

func mapOfFile(name string, colours palette) (*worldMap, error) {
	opened, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }() // only read
	file, err := vxc1.NewReader(opened)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m := &worldMap{colourOf: colours.table(file.Header().Names), tiles: map[[2]int32]*tile{}}
	var column vxc1.Column
	for {
		if err = file.Next(&column); errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return nil, err
		}
		m.add(column.X, column.Z, column.IDs)
	}
}

// writeMap writes the picture to a new file.
func (a *app) writeMap(name string, m *worldMap) error {
	picture, err := m.picture()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("draw to a new file: %w", err)
	}
	if err = errors.Join(png.Encode(file, picture), file.Close()); err != nil {
		return fmt.Errorf("draw to %s: %w", name, err)
	}
	size := picture.Bounds().Size()
	return a.print(map[string]any{"file": name, "width": size.X, "height": size.Y, "chunks": len(m.tiles)},
		"%s: %d × %d blocks, %d chunks\n", name, size.X, size.Y, len(m.tiles))
}

// tile is a chunk from above: the colour and the layer of the highest block of each place that is not looked through.
type tile struct {
	colour [256]color.RGBA
	layer  [256]int32
}

// worldMap is what is seen of a world from above.
type worldMap struct {
	colourOf func(uint16) color.RGBA
	tiles    map[[2]int32]*tile
}

func (m *worldMap) add(x, z int32, ids []uint16) {
	t := &tile{}
	for at := range 256 {
		t.layer[at] = -1
		for layer := len(ids)/256 - 1; layer >= 0; layer-- {
			if c := m.colourOf(ids[layer*256+at]); c.A != 0 {
				t.colour[at], t.layer[at] = c, int32(layer) //nolint:gosec // at most 1,024
				break
			}
		}
	}
	m.tiles[[2]int32{x, z}] = t
}

// picture draws the map: x to the right, z down.
func (m *worldMap) picture() (*image.RGBA, error) {
	if len(m.tiles) == 0 {
		return nil, errors.New("the world has no full chunk to draw")
	}
	first := true
	var minX, maxX, minZ, maxZ int32
	for at := range m.tiles {
		if first {
			minX, maxX, minZ, maxZ, first = at[0], at[0], at[1], at[1], false
		}
		minX, maxX, minZ, maxZ = min(minX, at[0]), max(maxX, at[0]), min(minZ, at[1]), max(maxZ, at[1])
	}
	width, height := 16*(int64(maxX)-int64(minX)+1), 16*(int64(maxZ)-int64(minZ)+1)
	if width > maxMapPixels || height > maxMapPixels || width*height > maxMapPixels {
		return nil, fmt.Errorf("the chunks lie %d × %d blocks apart, a picture has at most %d pixels", width, height, maxMapPixels)
	}
	picture := image.NewRGBA(image.Rect(0, 0, int(width), int(height)))
	for at, t := range m.tiles {
		for place := range 256 {
			x, z := place%16, place/16
			if t.layer[place] < 0 {
				continue
			}
			px, pz := int(at[0]-minX)*16+x, int(at[1]-minZ)*16+z
			picture.SetRGBA(px, pz, shade(t.colour[place], t.layer[place]-m.layerAt(at, x-1, z-1, t.layer[place])))
		}
	}
	return picture, nil
}

// layerAt is the layer of a neighbour's highest block, perhaps in the next chunk; otherwise, where there is none.
func (m *worldMap) layerAt(at [2]int32, x, z int, otherwise int32) int32 {
	if x < 0 {
		at[0], x = at[0]-1, x+16
	}
	if z < 0 {
		at[1], z = at[1]-1, z+16
	}
	t := m.tiles[at]
	if t == nil || t.layer[z*16+x] < 0 {
		return otherwise
	}
	return t.layer[z*16+x]
}

// shade makes what rises from the north-west lighter and what falls darker, as if the sun stood there.
func shade(c color.RGBA, rise int32) color.RGBA {
	percent := 100 + 9*max(-5, min(5, rise))
	scale := func(v uint8) uint8 { return uint8(min(255, int32(v)*percent/100)) } //nolint:gosec // within 0..255
	return color.RGBA{R: scale(c.R), G: scale(c.G), B: scale(c.B), A: 255}
}
