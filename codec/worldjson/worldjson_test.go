package worldjson_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/worldjson"
)

// whole is all that a file says.
type whole struct {
	create *skerryv1.Create
	chunks []*skerryv1.ChunkData
	chests []*skerryv1.Chest
}

func read(text string) (whole, error) {
	var got whole
	var err error
	got.create, err = worldjson.Read(strings.NewReader(text), worldjson.Visitor{
		Chunk: func(c *skerryv1.ChunkData) error { got.chunks = append(got.chunks, c); return nil },
		Chest: func(c *skerryv1.Chest) error { got.chests = append(got.chests, c); return nil },
	})
	return got, err
}

func write(tb testing.TB, w *skerryv1.World, chunks []*skerryv1.ChunkData, chests []*skerryv1.Chest) string {
	tb.Helper()
	var out bytes.Buffer
	to, err := worldjson.NewWriter(&out, w)
	for _, c := range chunks {
		err = errors.Join(err, to.Chunk(c))
	}
	for _, c := range chests {
		err = errors.Join(err, to.Chest(c))
	}
	if err = errors.Join(err, to.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

func TestWorldComesBack(t *testing.T) {
	w := &skerryv1.World{
		Version: 1, OwnerId: "1001", OwnerName: "Ann", Seed: -7, MinY: -64, Height: 256, BlockNames: []string{"air", "stone", ""},
		Generator: &skerryv1.Generator{Name: "v7", Version: "2"}, Metadata: &skerryv1.WorldMetadata{Name: "Home", Description: "ours"},
		Roles: map[string]skerryv1.Role{"1002": skerryv1.Role_BUILDER},
	}
	chests := []*skerryv1.Chest{{X: -1, Y: 64, Z: 5, Slots: []*skerryv1.ItemStack{{}, {ItemId: 7, Count: 20, MaxStack: 64}}}}
	text := write(t, w, []*skerryv1.ChunkData{
		{X: 3, Z: -1, State: skerryv1.ChunkState_FULL, Palette: []string{"stone", "air", "2"}, Runs: []uint32{0, 256, 1, 65000, 2, 280}, HeightMap: []int32{1, -2}},
		{X: 4, Z: -1, State: skerryv1.ChunkState_ABSENT},
		{X: 5, Z: -1, State: skerryv1.ChunkState_EDITED, Edits: []int32{80, -3, -1, 1, 81, 9, -2, 0}},
	}, chests)
	got, err := read(text)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	want := whole{
		create: &skerryv1.Create{
			OwnerId: new("1001"), OwnerName: "Ann", Seed: new(int64(-7)), MinY: -64, Height: 256, BlockNames: w.GetBlockNames(),
			Generator: w.GetGenerator(), Metadata: w.GetMetadata(), Roles: w.GetRoles(),
		},
		chunks: []*skerryv1.ChunkData{
			{X: 3, Z: -1, Palette: []string{"1", "0", "2"}, Runs: []uint32{0, 256, 1, 65000, 2, 280}, HeightMap: []int32{1, -2}},
			{X: 5, Z: -1, Edits: []int32{80, -3, -1, 1, 81, 9, -2, 0}},
		},
		chests: chests,
	}
	if !proto.Equal(got.create, want.create) || len(got.chunks) != 2 || !proto.Equal(got.chunks[0], want.chunks[0]) ||
		!proto.Equal(got.chunks[1], want.chunks[1]) || len(got.chests) != 1 || !proto.Equal(got.chests[0], want.chests[0]) {
		t.Errorf("got %+v\nwant %+v\nof %s", got, want, text)
	}
}

// What Lua writes: empty tables are empty arrays, slots are sparse, numbers stand for ids, members come in any order.
func TestOriginalsAreRead(t *testing.T) {
	got, err := read(`{"chests":[{"x":1,"y":2,"z":3,"slots":{"2":{"itemId":5,"count":1}}},{"x":4,"y":5,"z":6,"slots":[]}],
		"chunks":[{"x":0,"z":0,"key":"0,0","data":[[1,256],[0,65280]]}],"metadata":{"name":"Ann's World"},"ownerId":1001,"roles":[],"created":1700000000}`)
	if err != nil {
		t.Fatal(err)
	}
	if got.create.GetOwnerId() != "1001" || got.create.GetMetadata().GetName() != "Ann's World" || len(got.chunks) != 1 ||
		len(got.chests) != 2 || len(got.chests[0].GetSlots()) != 2 || got.chests[0].GetSlots()[1].GetItemId() != 5 {
		t.Errorf("%+v", got)
	}
}

func TestReadRefuses(t *testing.T) {
	chunk := func(text string) string { return `{"chunks":[{"x":0,"z":0,` + text + `}]}` }
	for name, text := range map[string]string{
		"nothing": "", "a list": "[]", "cut off": `{"chunks":[{"x":0,"z"`, "more behind": "{} {}", "an unknown field": `{"fly":1}`,
		"a newer version": `{"version":2}`, "chunks that are none": `{"chunks":7}`, "a chunk that is none": `{"chunks":[7]}`,
		"no place": `{"chunks":[{"data":[]}]}`, "another key": chunk(`"key":"1,1"`), "an unknown field of a chunk": chunk(`"y":1`),
		"a run of one": chunk(`"data":[[1]]`), "a run of three": chunk(`"data":[[1,2,3]]`), "a flat run": chunk(`"data":[1,2]`),
		"half a block": chunk(`"data":[[1.5,2]]`), "no blocks": chunk(`"data":[[1,0]]`), "a negative id": chunk(`"data":[[-1,2]]`),
		"an id of 17 bits": chunk(`"data":[[65536,2]]`), "deep": chunk(`"data":[[[1,2]]]`), "text": chunk(`"data":[["a",2]]`),
		"a chest nowhere": `{"chests":[{"slots":[]}]}`, "a bad stack": `{"chests":[{"x":1,"y":2,"z":3,"slots":[{"itemId":1}]}]}`,
		"slot 0":   `{"chests":[{"x":1,"y":2,"z":3,"slots":{"0":{"itemId":1,"count":1}}}]}`,
		"too long": `{"chunks":[{"x":0,"z":0,"data":[` + strings.Repeat("[1,1],", 1<<20) + `[1,1]]}]}`,
	} {
		if got, err := read(text); !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrBadField) && !errors.Is(err, codec.ErrNewer) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	stop := errors.New("stop")
	_, err := worldjson.Read(strings.NewReader(chunk(`"data":[[1,2]]`)), worldjson.Visitor{Chunk: func(*skerryv1.ChunkData) error { return stop }})
	if !errors.Is(err, stop) || errors.Is(err, codec.ErrMalformed) {
		t.Errorf("the visitor's error: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"version":1,"ownerId":"1","chunks":[{"key":"0,0","x":0,"z":0,"data":[[1,2]],"edits":[[1,2,3,4]],"heightMap":[1]}],"chests":[{"x":1,"y":2,"z":3,"slots":{"1":{"itemId":1,"count":1}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := read(text)
		if err != nil {
			if !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrBadField) && !errors.Is(err, codec.ErrNewer) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again, err := read(write(t, &skerryv1.World{}, got.chunks, got.chests))
		if err != nil || len(again.chests) != len(got.chests) {
			t.Fatalf("%+v came back as %+v, %v", got, again, err)
		}
	})
}
