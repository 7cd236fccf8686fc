package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Goal: a chunk's part is found as it was written, and nothing that this version does not know is dropped from it.
func TestChunkSurvivesEncoding(t *testing.T) {
	want := &storev1.ChunkPart{Seq: 7, State: skerryv1.ChunkState_FULL, Column: bytes.Repeat([]byte("column"), 500), ContentHash: 1 << 60}
	framed, err := codec.EncodeChunk(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := codec.DecodeChunk(framed)
	if err != nil || !proto.Equal(got, want) || len(framed) > 1000 {
		t.Errorf("%d bytes: %v (%v), want %v", len(framed), got, err, want)
	}
	if _, err = codec.DecodeEntity(framed); !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("a chunk as an entity: %v, want ErrMalformed", err)
	}
	newer, err := codec.AppendFrame(nil, codec.FormatChunk, codec.Plain, []byte{0xF8, 0x07, 1}) // field 127
	if err != nil {
		t.Fatal(err)
	}
	if _, err = codec.DecodeChunk(newer); !errors.Is(err, codec.ErrNewer) {
		t.Errorf("an unknown field: %v, want ErrNewer", err)
	}
}

// chunkParts are a chunk's part in each of its forms. What column and edits say is codec/chunk's business.
func chunkParts() map[string]*storev1.ChunkPart {
	chest := &storev1.StoredChest{At: 16_500, Slots: []*skerryv1.ItemStack{{ItemId: 7, Count: 3, MaxStack: 64}, {}}}
	return map[string]*storev1.ChunkPart{
		"full":   {Seq: 9, State: skerryv1.ChunkState_FULL, Column: []byte("column"), ContentHash: 77, Chests: []*storev1.StoredChest{chest}},
		"delta":  {Seq: 12, State: skerryv1.ChunkState_FULL, Edits: []byte("edits"), BaseHash: 42, ContentHash: 78, HeightMap: []int32{-3, 70}},
		"edited": {Seq: 3, State: skerryv1.ChunkState_EDITED, Edits: []byte("edits"), ContentHash: 79},
		"held": {Seq: 4, State: skerryv1.ChunkState_ABSENT, Chests: []*storev1.StoredChest{chest}, Holds: []*storev1.Hold{{
			Transfer: "t1", SinceMs: 5, Legs: []*storev1.HeldLeg{{Leg: 1, Chest: 16_500, Index: 1, Stack: &skerryv1.ItemStack{ItemId: 7, Count: 1}}},
		}}, Received: []*storev1.Received{{Transfer: "t0", AtMs: 4}}},
	}
}

// Every form comes back, and no changed byte is taken for one.
func TestChunkPartRoundTrip(t *testing.T) {
	for name, part := range chunkParts() {
		framed, err := codec.EncodeChunk(part)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := codec.DecodeChunk(framed); err != nil || !proto.Equal(got, part) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, part)
		}
		for i := range framed {
			framed[i] ^= 1
			if got, err := codec.DecodeChunk(framed); err == nil {
				t.Fatalf("%s with byte %d changed: %v", name, i, got)
			}
			framed[i] ^= 1
		}
	}
}

func FuzzDecodeChunk(f *testing.F) {
	f.Add([]byte{})
	for _, part := range chunkParts() {
		f.Add(must(part.MarshalVT()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		part, err := codec.DecodeChunk(frame(t, codec.FormatChunk, codec.Plain, data))
		if err != nil {
			mustRefuse(t, err)
			return
		}
		again, err := codec.DecodeChunk(must(codec.EncodeChunk(part)))
		if err != nil || !sameBytes(part, again) {
			t.Fatalf("%v, encoded and decoded again: %v (%v)", part, again, err)
		}
	})
}
