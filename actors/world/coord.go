package world

import (
	"math"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Coord names a chunk of a world: the blocks with x in 16·X .. 16·X+15, and z likewise.
type Coord struct{ X, Z int32 }

// side is the blocks of a chunk from side to side; area is those of one layer.
const (
	side = 16
	area = side * side
)

// maxCoord bounds a chunk's coordinates, so that those of its blocks are within 32 bits: -maxCoord-1 .. maxCoord.
const maxCoord = math.MaxInt32 / side

// Part is the name of the part that holds the chunk whole.
func (c Coord) Part() string { return c.name('c') }

// Delta is the name of the part that holds what changed since the whole one was written.
func (c Coord) Delta() string { return c.name('d') }

func (c Coord) name(kind byte) string {
	b := append(make([]byte, 0, 26), kind, '/')
	b = strconv.AppendInt(b, int64(c.X), 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, int64(c.Z), 10))
}

// String is the chunk's part.
func (c Coord) String() string { return c.Part() }

// ParsePart reads the name of a chunk's part, and whether it is the delta. It returns false for any other name.
func ParsePart(name string) (at Coord, delta, ok bool) {
	kind, rest, _ := strings.Cut(name, "/")
	x, z, _ := strings.Cut(rest, "/")
	numberX, errX := strconv.ParseInt(x, 10, 32)
	numberZ, errZ := strconv.ParseInt(z, 10, 32)
	at = Coord{int32(numberX), int32(numberZ)}
	if errX != nil || errZ != nil || kind != "c" && kind != "d" || name != at.name(kind[0]) {
		return Coord{}, false, false
	}
	return at, kind == "d", true
}

// coordOf is the chunk of a block.
func coordOf(x, z int32) Coord { return Coord{x >> 4, z >> 4} }

// inColumn is a block's place in its column, y-z-x: y counts from the column's lowest layer.
func inColumn(x, y, z int32) uint32 {
	return uint32(y)*area + uint32(z&(side-1))*side + uint32(x&(side-1)) //nolint:gosec // y is checked by place
}

// place finds the chunk of a block, and its place in the column; field is the path of y.
func place(w *skerryv1.World, x, y, z int32, field string) (Coord, uint32, error) {
	low, layers := int64(w.GetMinY()), int64(w.GetHeight())
	layer := int64(y) - low
	if layer < 0 || layer >= layers {
		return Coord{}, 0, refuse(ErrOutOfRange, field, "is %d, not within %d..%d", y, low, low+layers-1)
	}
	return coordOf(x, z), inColumn(x, int32(layer), z), nil
}

// position is the reverse of place.
func position(w *skerryv1.World, chunk Coord, at uint32) (x, y, z int32) {
	return chunk.X*side + int32(at%side), w.GetMinY() + int32(at/area), chunk.Z*side + int32(at/side%side) //nolint:gosec // at is within the column
}

// checkCoord refuses a chunk whose blocks would have coordinates beyond 32 bits.
func checkCoord(at Coord, field string) error {
	for _, c := range []struct {
		name  string
		value int32
	}{{".x", at.X}, {".z", at.Z}} {
		if c.value > maxCoord || c.value < -maxCoord-1 {
			return refuse(ErrOutOfRange, field+c.name, "is %d, not within %d..%d", c.value, -maxCoord-1, maxCoord)
		}
	}
	return nil
}

// ChunkOf is the chunk that an event happened to; false when it happened to the world's main part, or is of a newer version.
func ChunkOf(e *storev1.WorldEvent) (Coord, bool) {
	switch e.GetEvent().(type) {
	case *storev1.WorldEvent_BlocksEdited, *storev1.WorldEvent_ChunkReplaced, *storev1.WorldEvent_ChunkCleared,
		*storev1.WorldEvent_ChestPlaced, *storev1.WorldEvent_ChestRemoved, *storev1.WorldEvent_ChestSlotsSet, *storev1.WorldEvent_Transfer:
		return Coord{e.GetX(), e.GetZ()}, true
	default:
		return Coord{}, false
	}
}
