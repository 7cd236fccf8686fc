package worldjson

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Writer writes a file: all chunks first, then the chests. It belongs to one goroutine. The first error stays.
type Writer struct {
	out    *bufio.Writer
	ids    map[string]uint16
	list   string // the list that is open
	isNext bool   // it has an element
	err    error
}

// errOrder: a chunk after a chest.
var errOrder = errors.New("chunks come before chests")

// NewWriter begins a file with what is known of its world.
func NewWriter(w io.Writer, world *skerryv1.World) (*Writer, error) {
	out := &Writer{out: bufio.NewWriter(w), ids: map[string]uint16{}}
	for id, name := range world.GetBlockNames() {
		if name != "" {
			out.ids[name] = uint16(id) //nolint:gosec // at most 65,536
		}
	}
	head, err := plain(codec.WorldToOriginal(world))
	if err != nil {
		return nil, err
	}
	out.text(string(bytes.TrimSuffix(head, []byte("}"))))
	return out, out.err
}

// Chunk writes a chunk in the form of runs, or of edits; one that is absent is left out.
func (w *Writer) Chunk(chunk *skerryv1.ChunkData) error {
	if len(chunk.GetRuns()) == 0 && len(chunk.GetEdits()) == 0 {
		return w.err
	}
	if w.list == "chests" {
		return errOrder
	}
	w.next("chunks")
	w.text(fmt.Sprintf(`{"key":%q,"x":%d,"z":%d`, key(chunk.GetX(), chunk.GetZ()), chunk.GetX(), chunk.GetZ()))
	if runs := chunk.GetRuns(); len(runs) > 0 {
		ids, err := w.palette(chunk.GetPalette())
		if err != nil {
			return err
		}
		w.text(`,"data":[`)
		for i := 0; i+1 < len(runs); i += 2 {
			if int(runs[i]) >= len(ids) {
				return fmt.Errorf("%w: a run of block %d of a palette of %d", codec.ErrMalformed, runs[i], len(ids))
			}
			w.numbers(i > 0, int64(ids[runs[i]]), int64(runs[i+1]))
		}
		w.text("]")
	}
	if edits := chunk.GetEdits(); len(edits) > 0 {
		w.text(`,"edits":[`)
		for i := 0; i+3 < len(edits); i += 4 {
			w.numbers(i > 0, int64(edits[i]), int64(edits[i+1]), int64(edits[i+2]), int64(edits[i+3]))
		}
		w.text("]")
	}
	if heights := chunk.GetHeightMap(); len(heights) > 0 {
		list, err := json.Marshal(heights)
		if err != nil {
			return fmt.Errorf("write a height map: %w", err)
		}
		w.text(`,"heightMap":` + string(list))
	}
	w.text("}")
	return w.err
}

// Chest writes a chest.
func (w *Writer) Chest(chest *skerryv1.Chest) error {
	doc, err := plain(codec.ChestToOriginal(chest))
	if err != nil {
		return err
	}
	w.next("chests")
	w.text(string(doc))
	return w.err
}

// Close ends the file. It does not close what the file is written to.
func (w *Writer) Close() error {
	if w.list == "" {
		w.open("chunks")
	}
	if w.list == "chunks" {
		w.open("chests")
	}
	w.text("\n]}\n")
	if w.err == nil {
		w.err = w.out.Flush()
	}
	return w.err
}

func (w *Writer) palette(names []string) ([]uint16, error) {
	ids := make([]uint16, len(names))
	for i, name := range names {
		if id, known := w.ids[name]; known {
			ids[i] = id
			continue
		}
		id, err := strconv.ParseUint(name, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%w: %.40q is no block of the world", codec.ErrMalformed, name)
		}
		ids[i] = uint16(id)
	}
	return ids, nil
}

// next begins an element of a list, which is opened when it is not.
func (w *Writer) next(list string) {
	if w.list == "" && list == "chests" {
		w.open("chunks")
	}
	if w.list != list {
		w.open(list)
	}
	if w.isNext {
		w.text(",")
	}
	w.text("\n")
	w.isNext = true
}

func (w *Writer) open(list string) {
	if w.list != "" {
		w.text("\n]")
	}
	w.text(",\n\"" + list + "\":[")
	w.list, w.isNext = list, false
}

func (w *Writer) numbers(isNext bool, numbers ...int64) {
	buf := make([]byte, 0, 48)
	if isNext {
		buf = append(buf, ',')
	}
	for i, n := range numbers {
		buf = append(buf, "[,"[min(i, 1)])
		buf = strconv.AppendInt(buf, n, 10)
	}
	w.text(string(append(buf, ']')))
}

func (w *Writer) text(s string) {
	if w.err == nil {
		_, w.err = w.out.WriteString(s)
	}
}

// plain is compact JSON that is always the same.
func plain(doc *structpb.Struct) ([]byte, error) {
	data, err := protojson.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("write a world's JSON: %w", err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, data); err != nil {
		return nil, fmt.Errorf("write a world's JSON: %w", err)
	}
	return out.Bytes(), nil
}
