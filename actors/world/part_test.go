package world

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// hilly puts a full chunk that is not short at 0, 0 of a world 256 blocks high.
func hilly(t *testing.T) (*land, *Chunk) {
	t.Helper()
	l := newLand(t, nil, "7", `{}`)
	ids := make([]uint16, 256*area)
	for i := range ids {
		if y := i / area; y < 60+(i*i/7)%9 {
			ids[i] = uint16(1 + (i*2654435761>>13)%7) //nolint:gosec // small
		}
	}
	put := &skerryv1.PutChunk{Chunk: &skerryv1.ChunkData{Encoded: chunk.Encode(nil, ids)}}
	events, _, err := l.decide(&skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PutChunk{PutChunk: put}})
	if err != nil {
		t.Fatal(err)
	}
	l.evolve(events)
	return l, l.chunks[Coord{}]
}

func save(t *testing.T, c *Chunk, seq, saved uint64) *storev1.ChunkPart {
	t.Helper()
	part, err := c.Save(seq, saved)
	if err != nil {
		t.Fatal(err)
	}
	return part.CloneVT()
}

// Goal: a chunk is saved as a delta while that is small, and comes back the same from whole and delta.
func TestSavesAsDeltaWhileItIsSmall(t *testing.T) {
	l, c := hilly(t)
	l.run(`{"placeChest":{"x":1,"y":70,"z":1}}`)
	whole := save(t, c, 10, 0)
	base, err := ColumnHash(whole)
	if err != nil || base == 0 || IsDelta(whole) {
		t.Fatalf("%x, %v", base, err)
	}
	l.run(`{"setBlocks":{"blocks":[3,61,3,0]}}`, `{"chestPut":{"x":1,"y":70,"z":1,"itemId":4,"count":5}}`)
	delta := save(t, c, 12, base)
	if !IsDelta(delta) || len(delta.GetColumn()) > 0 || delta.SizeVT() > 500 || delta.GetContentHash() == whole.GetContentHash() {
		t.Fatalf("the delta has %d bytes: %v", delta.SizeVT(), delta)
	}
	if again := save(t, c, 13, base); again.GetContentHash() != delta.GetContentHash() {
		t.Error("the same content has another hash")
	}
	if other := save(t, c.Clone(), 13, 0); IsDelta(other) || other.GetContentHash() != delta.GetContentHash() {
		t.Error("the same content has another hash when it is whole")
	}
	want, err := c.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	got, seq, err := Load(256, whole.CloneVT(), delta.CloneVT())
	if err != nil || seq != 12 {
		t.Fatalf("%d, %v", seq, err)
	}
	blocks, err := got.Blocks()
	if err != nil || !slices.Equal(blocks, want) || got.Chests[0].GetSlots()[0].GetCount() != 5 {
		t.Errorf("came back with %v, %v", got.Chests, err)
	}

	for i := 0; IsDelta(delta); i++ { // until it is too large
		if len(c.Overlay) >= foldAfter {
			t.Fatalf("%d edits are a delta of %d bytes, of a column of %d", len(c.Overlay), delta.SizeVT(), len(c.Base))
		}
		l.run(fmt.Sprintf(`{"setBlocks":{"blocks":[%d,%d,%d,%d]}}`, i%16, 100+3*(i/256), i/16%16, i*i%50021))
		column := len(c.Base)
		delta = save(t, c, uint64(20+i), base)
		if IsDelta(delta) && 100*len(delta.GetEdits()) >= 40*column {
			t.Fatalf("a delta of %d bytes to a column of %d", len(delta.GetEdits()), column)
		}
	}
	if len(c.Overlay) > 0 || len(delta.GetColumn()) == 0 {
		t.Errorf("saved whole, with %d edits left and a column of %d bytes", len(c.Overlay), len(delta.GetColumn()))
	}
}

func TestLoadChoosesTheNewest(t *testing.T) {
	l, c := hilly(t)
	whole := save(t, c, 10, 0)
	base, err := ColumnHash(whole)
	if err != nil {
		t.Fatal(err)
	}
	l.run(`{"setBlocks":{"blocks":[3,61,3,9]}}`)
	delta := save(t, c, 12, base)
	l.run(`{"setBlocks":{"blocks":[3,61,3,8]}}`)
	newer := save(t, c, 14, 0)
	l.run(`{"clearChunk":{}}`)
	cleared := save(t, c, 16, base)
	at := inColumn(3, 61, 3)
	block := func(whole, delta *storev1.ChunkPart) string {
		c, seq, err := Load(256, whole.CloneVT(), delta.CloneVT())
		if err != nil {
			return err.Error()
		}
		if c.State != skerryv1.ChunkState_FULL {
			return fmt.Sprint(seq, " ", c.State)
		}
		ids, err := c.Blocks()
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(seq, " ", ids[at])
	}
	for want, got := range map[string]string{
		"0 ABSENT":  block(nil, nil),
		"12 9":      block(whole, delta),
		"14 8":      block(newer, delta),
		"16 ABSENT": block(cleared, delta),
	} {
		if got != want {
			t.Errorf("loaded %s, want %s", got, want)
		}
	}
	other := newer.CloneVT()
	other.Seq = 11
	if _, _, err := Load(256, other, delta.CloneVT()); !errors.Is(err, ErrOtherBase) {
		t.Errorf("a delta of another column: %v", err)
	}
	if _, _, err := Load(256, nil, delta.CloneVT()); !errors.Is(err, ErrOtherBase) {
		t.Errorf("a delta alone: %v", err)
	}
	if _, _, err := Load(128, whole.CloneVT(), nil); !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("a column of another height: %v", err)
	}
	damaged := whole.CloneVT()
	damaged.Column[20] ^= 1
	if _, _, err := Load(256, damaged, nil); !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("a damaged column: %v", err)
	}
}

// Content decides: what was changed and changed back has the hash it had.
func TestContentHashIsOfContent(t *testing.T) {
	l, c := hilly(t)
	l.run(`{"placeChest":{"x":1,"y":70,"z":1}}`)
	ids, err := c.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	before := save(t, c, 1, 0)
	change := fmt.Sprintf(`{"setBlocks":{"blocks":[3,61,3,%d]}}`, ids[inColumn(3, 61, 3)]+1)
	for _, text := range []string{change, `{"chestPut":{"x":1,"y":70,"z":1,"itemId":4,"count":5}}`} {
		last := save(t, c.Clone(), 2, 0).GetContentHash()
		l.run(text)
		if save(t, c.Clone(), 2, 0).GetContentHash() == last {
			t.Errorf("after %s the hash is the same", text)
		}
	}
	l.run(fmt.Sprintf(`{"setBlocks":{"blocks":[3,61,3,%d]}}`, ids[inColumn(3, 61, 3)]), `{"chestTake":{"x":1,"y":70,"z":1,"itemId":4,"count":5}}`)
	if save(t, c, 3, 0).GetContentHash() != before.GetContentHash() {
		t.Error("changed and changed back, the hash is another")
	}
	held := c.Clone()
	held.Holds = []*storev1.Hold{{Transfer: "t"}}
	if save(t, held, 3, 0).GetContentHash() == before.GetContentHash() {
		t.Error("a hold does not change the hash")
	}
}
