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
