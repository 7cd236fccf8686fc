package codec_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

var update = flag.Bool("update", false, "write goldens that are not there yet; one that is there never changes")

// goldens are the bytes and what they say, of version 1 of everything stored. New ones are added when a version or an
// event is; the old ones stay.
func goldens(t *testing.T) map[string]proto.Message {
	t.Helper()
	all := map[string]proto.Message{
		"v1_entity_player": typicalEntity(),
		"v1_entity_server": &storev1.Entity{Seq: 3, Document: &storev1.Entity_Server{Server: &storev1.Server{
			Version: 1, Incarnation: "i1", Players: 7, Budget: "roblox-2023", RegisteredMs: day.UnixMilli(),
		}}},
		"v1_entry_session": &storev1.Entry{TimeMs: day.UnixMilli(), Opened: &storev1.Session{Token: "tok", Server: "s1", Number: 1}},
		"v1_entry_outcome": &storev1.Entry{
			TimeMs: day.UnixMilli(), EndedSession: 3, Receipt: "r-1",
			Outcome: &storev1.Outcome{SessionNumber: 3, CommandId: 9, PayloadHash: 77},
		},
	}
	attributes := typicalEntity()
	attributes.GetPlayer().Attributes = object(map[string]any{"text": strings.Repeat("abc ", 1000)})
	all["v1_entity_compressed"] = attributes
	for name, event := range events(t) {
		all["v1_entry_"+name] = &storev1.Entry{TimeMs: day.UnixMilli(), PlayerEvents: []*storev1.PlayerEvent{event}}
	}
	all["v1_entity_world"] = &storev1.Entity{Seq: 12, NewestTimeMs: day.UnixMilli(), Document: &storev1.Entity_World{World: typicalWorld()}}
	for name, event := range worldEvents(t) {
		all["v1_entry_world_"+name] = &storev1.Entry{TimeMs: day.UnixMilli(), WorldEvents: []*storev1.WorldEvent{event}}
	}
	for name, event := range transferEvents(t) {
		all["v1_entry_transfer_"+name] = &storev1.Entry{TimeMs: day.UnixMilli(), TransferEvents: []*storev1.TransferEvent{event}}
	}
	for name, change := range map[string]*storev1.ServerChange{
		"registered":       {Event: &storev1.ServerChange_Registered{Registered: &storev1.Server{Incarnation: "i1", Players: 7}}},
		"players_reported": {Event: &storev1.ServerChange_PlayersReported{PlayersReported: 8}},
		"server_closed":    {Event: &storev1.ServerChange_Closed{Closed: "dead"}},
		"server_world_changed": {Event: &storev1.ServerChange_WorldChanged{WorldChanged: &skerryv1.ServerWorld{
			Id: "p1", State: skerryv1.ClaimState_CLAIM_REFUSED, Refused: "held",
		}}},
	} {
		all["v1_entry_"+name] = &storev1.Entry{TimeMs: day.UnixMilli(), ServerChanges: []*storev1.ServerChange{change}}
	}
	for name, part := range chunkParts() {
		all["v1_chunk_"+name] = part
	}
	return all
}

// Goal: what was ever stored still loads, and says the same. Method: the bytes as they were written then, and their
// meaning as text beside them; both are only ever added to.
func TestGoldensStillDecode(t *testing.T) {
	for name, m := range goldens(t) {
		path := filepath.Join("testdata", "golden", name)
		if _, err := os.Stat(path + ".bin"); *update && os.IsNotExist(err) {
			writeGolden(t, path, m)
		}
		if _, err := os.Stat(path + ".bin"); err != nil {
			t.Errorf("%s has no golden: run the test with -update", name)
		}
	}
	paths, err := filepath.Glob(filepath.Join("testdata", "golden", "*.bin"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".bin"), func(t *testing.T) {
			framed, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(strings.TrimSuffix(path, ".bin") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			got, want, err := decodeAny(framed)
			if err != nil {
				t.Fatal(err)
			}
			if err := prototext.Unmarshal(text, want); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// decodeAny decodes an entity or an entry, and returns an empty message of its kind beside it.
func decodeAny(framed []byte) (got, empty proto.Message, err error) {
	frame, err := codec.OpenFrame(framed)
	if err != nil {
		return nil, nil, err
	}
	switch frame.Format {
	case codec.FormatEntity:
		got, err = codec.DecodeEntity(framed)
		return got, &storev1.Entity{}, err
	case codec.FormatChunk:
		got, err = codec.DecodeChunk(framed)
		return got, &storev1.ChunkPart{}, err
	default:
		got, err = codec.DecodeEntry(framed)
		return got, &storev1.Entry{}, err
	}
}

func writeGolden(t *testing.T, path string, m proto.Message) {
	t.Helper()
	var framed []byte
	var err error
	switch m := m.(type) {
	case *storev1.Entity:
		framed, err = codec.EncodeEntity(m)
	case *storev1.Entry:
		framed, err = codec.EncodeEntry(m)
	case *storev1.ChunkPart:
		framed, err = codec.EncodeChunk(m)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := prototext.MarshalOptions{Multiline: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	for suffix, data := range map[string][]byte{".bin": framed, ".txt": text} {
		if err := os.WriteFile(path+suffix, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
