package chunk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/chunk"
)

// mustComeBack encodes ids in every way and fails the test unless the same come back, with the same content hash.
func mustComeBack(tb testing.TB, ids []uint16) {
	tb.Helper()
	height := len(ids) / chunk.LayerBlocks
	for _, encode := range []func([]byte, []uint16) []byte{chunk.Encode, chunk.EncodeFast} {
		data := encode([]byte("before"), ids)
		if !bytes.HasPrefix(data, []byte("before")) {
			tb.Fatal("what was before is gone")
		}
		data = data[len("before"):]
		if most := 2*len(ids) + chunk.MaxOverheadBytes; len(data) > most {
			tb.Fatalf("%d bytes, want at most %d", len(data), most)
		}
		got, err := chunk.Decode(nil, data, height)
		if err != nil || !slices.Equal(got, ids) {
			tb.Fatalf("%d ids came back, %v", len(got), err)
		}
		info, err := chunk.Inspect(data)
		if want := (chunk.Info{Codec: info.Codec, Height: height, Hash: chunk.Hash(ids)}); err != nil || info != want {
			tb.Fatalf("inspected as %+v, %v; want %+v", info, err, want)
		}
	}
}

func TestShapesComeBack(t *testing.T) {
	for _, height := range []int{16, 48, 256, chunk.MaxHeight} {
		for name, ids := range shapes(height) {
			t.Run(fmt.Sprintf("%d/%s", height, name), func(t *testing.T) { mustComeBack(t, ids) })
		}
	}
}

func TestWorldsComeBack(t *testing.T) {
	for _, path := range worlds(t) {
		for _, ids := range columns(t, path, 50) {
			mustComeBack(t, ids)
		}
	}
}

// Goal: whatever the column, it comes back. Method: rapid draws sections of random runs of random ids.
func TestRandomColumnsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		ids := make([]uint16, 0, 4096*8)
		for range rapid.IntRange(1, 8).Draw(t, "sections") {
			kinds := rapid.IntRange(1, 600).Draw(t, "kinds")
			spread := rapid.SampledFrom([]int{1, 3, 100}).Draw(t, "spread")
			longest := rapid.SampledFrom([]int{1, 2, 16, 130, 5000}).Draw(t, "longest")
			for full := len(ids) + 4096; len(ids) < full; {
				id := uint16(rng.IntN(kinds) * spread)
				for range min(1+rng.IntN(longest), full-len(ids)) {
					ids = append(ids, id)
				}
			}
		}
		mustComeBackRapid(t, ids)
	})
}

func mustComeBackRapid(t *rapid.T, ids []uint16) {
	data := chunk.Encode(nil, ids)
	got, err := chunk.Decode(nil, data, len(ids)/chunk.LayerBlocks)
	if err != nil || !slices.Equal(got, ids) {
		t.Fatalf("%d ids in %d bytes: %v", len(ids), len(data), err)
	}
}

// Goal: callers do not meet in the scratch memory. Method: many at once, under the race detector.
func TestManyGoroutinesEncodeAndDecode(t *testing.T) {
	var group sync.WaitGroup
	for _, ids := range shapes(32) {
		for range 2 {
			group.Go(func() {
				for range 10 {
					got, err := chunk.Decode(nil, chunk.Encode(nil, ids), 32)
					if err != nil || !slices.Equal(got, ids) {
						t.Errorf("%d ids came back, %v", len(got), err)
					}
				}
			})
		}
	}
	group.Wait()
}

func TestCodecIsTheShortest(t *testing.T) {
	for name, want := range map[string]struct {
		codec chunk.Codec
		most  int
	}{
		"air": {chunk.Uniform, 20}, "greatest id": {chunk.Uniform, 20}, "noise": {chunk.Plain, 131090},
		"one at the end": {chunk.Runs, 48}, "a section each": {chunk.Runs, 64}, "checkerboard": {chunk.Runs, 128},
	} {
		data := chunk.Encode(nil, shapes(256)[name])
		if info, err := chunk.Inspect(data); err != nil || info.Codec != want.codec || len(data) > want.most {
			t.Errorf("%s: %v in %d bytes, %v; want %v in at most %d", name, info.Codec, len(data), err, want.codec, want.most)
		}
	}
}

// The content hash is stored: these values may never change.
func TestHashIsFixed(t *testing.T) {
	for name, want := range map[string]uint64{"air": hashAir, "all different": hashDifferent} {
		ids := shapes(16)[name]
		raw := make([]byte, 0, 2*len(ids))
		for _, id := range ids {
			raw = binary.LittleEndian.AppendUint16(raw, id)
		}
		if got := chunk.Hash(ids); got != want || got != xxh3.Hash(raw) {
			t.Errorf("%s: %#x, want %#x, xxh3 of the little-endian bytes %#x", name, got, want, xxh3.Hash(raw))
		}
	}
}

const hashAir, hashDifferent = 0x620797930ab0991a, 0x76a6625fd1562731

func TestDecodeUsesTheMemoryGiven(t *testing.T) {
	ids := shapes(32)["runs of 129"]
	data, dst := chunk.Encode(nil, ids), make([]uint16, 3, len(ids))
	got, err := chunk.Decode(dst, data, 32)
	if err != nil || !slices.Equal(got, ids) || &got[0] != &dst[0] {
		t.Fatalf("%d ids in other memory, %v", len(got), err)
	}
	long := make([]uint16, len(ids)+1)
	long[len(ids)] = 77
	if _, err := chunk.Decode(long[:0], data, 32); err != nil || long[len(ids)] != 77 {
		t.Fatalf("wrote behind the column: %d, %v", long[len(ids)], err)
	}
}

// encodings are one of each codec, small.
func encodings() map[string][]byte {
	all := shapes(16)
	return map[string][]byte{
		"uniform": chunk.Encode(nil, all["air"]),
		"runs":    chunk.Encode(nil, all["noise of few"]),
		"plain":   chunk.Encode(nil, all["noise"]),
		"delta":   chunk.AppendDelta(nil, 16, 0x1234, []chunk.Edit{{Index: 7, ID: 9}, {Index: 8, ID: 9}}),
	}
}

// Goal: no damage goes unseen. Method: every bit flipped, every length cut, a byte added.
func TestMutationsAreRefused(t *testing.T) {
	for name, whole := range encodings() {
		t.Run(name, func(t *testing.T) {
			refused := func(what string, data []byte) {
				t.Helper()
				if _, err := chunk.Inspect(data); !errors.Is(err, codec.ErrMalformed) || errors.Is(err, codec.ErrNewer) {
					t.Fatalf("%s: Inspect says %v, want ErrMalformed", what, err)
				}
				if _, err := chunk.Decode(nil, data, 16); !errors.Is(err, codec.ErrMalformed) {
					t.Fatalf("%s: Decode says %v, want ErrMalformed", what, err)
				}
				if _, _, err := chunk.ReadDelta(nil, data, 16); !errors.Is(err, codec.ErrMalformed) {
					t.Fatalf("%s: ReadDelta says %v, want ErrMalformed", what, err)
				}
			}
			bad := bytes.Clone(whole)
			for i := 0; i < len(whole); i += 1 + i/100 {
				for bit := range 8 {
					bad[i] ^= 1 << bit
					refused(fmt.Sprintf("byte %d bit %d flipped", i, bit), bad)
					bad[i] ^= 1 << bit
				}
				refused(fmt.Sprintf("cut at %d", i), whole[:i])
			}
			refused("a byte added", append(bytes.Clone(whole), 0))
		})
	}
}

// sealed is an encoding as a wrong writer would have written it: with the right checksum.
func sealed(head byte, sections byte, hash uint64, body []byte) []byte {
	data := binary.LittleEndian.AppendUint64([]byte{head, sections}, hash)
	data = append(data, body...)
	return binary.LittleEndian.AppendUint64(data, xxh3.Hash(data))
}

// zstdBody is a zstd frame without its magic.
func zstdBody(tb testing.TB, stream []byte) []byte {
	tb.Helper()
	enc, err := bodyEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	return enc.EncodeAll(stream, nil)[4:]
}

var bodyEncoder = sync.OnceValues(func() (*zstd.Encoder, error) { // once: fuzzing makes many
	return zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1))
})

// Goal: a whole encoding whose inside is wrong is refused, each wrong for its own reason. Method: streams written by hand,
// beside the right one that differs in one place.
func TestLiesAreRefused(t *testing.T) {
	half := make([]uint16, 4096) // 2048 × 5, 2048 × 7
	for i := range half {
		half[i] = 5 + uint16(i/2048)*2
	}
	uniform := chunk.Hash(shapes(16)["air"])
	good := []byte{2, 5, 1, 2, 0, 1, 0xff, 0x0f, 0xff, 0x0f}
	if got, err := chunk.Decode(nil, sealed(0x11, 1, chunk.Hash(half), zstdBody(t, good)), 16); err != nil || !slices.Equal(got, half) {
		t.Fatalf("the right one: %v", err)
	}
	runs := func(stream ...byte) []byte { return sealed(0x11, 1, chunk.Hash(half), zstdBody(t, stream)) }
	for _, c := range []struct {
		name, why string
		data      []byte
		want      error
	}{
		{"version 0", "version 0", sealed(0x00, 1, uniform, []byte{0, 0}), codec.ErrMalformed},
		{"version 2", "version 2", sealed(0x20, 1, uniform, []byte{0, 0}), codec.ErrNewer},
		{"codec 2", "codec(2)", sealed(0x12, 1, uniform, []byte{0, 0}), codec.ErrNewer},
		{"codec 5", "codec(5)", sealed(0x15, 1, uniform, []byte{0, 0}), codec.ErrNewer},
		{"no sections", "0 blocks high", sealed(0x10, 0, uniform, []byte{0, 0}), codec.ErrMalformed},
		{"too high", "1040 blocks high", sealed(0x10, 65, uniform, []byte{0, 0}), codec.ErrMalformed},
		{"another height", "want 16", sealed(0x10, 2, uniform, []byte{0, 0}), codec.ErrMalformed},
		{"another content", "content", sealed(0x10, 1, uniform+1, []byte{0, 0}), codec.ErrMalformed},
		{"uniform too short", "uniform", sealed(0x10, 1, uniform, []byte{0}), codec.ErrMalformed},
		{"uniform too long", "uniform", sealed(0x10, 1, uniform, []byte{0, 0, 0}), codec.ErrMalformed},
		{"plain too short", "plain", sealed(0x14, 1, uniform, make([]byte, 8191)), codec.ErrMalformed},
		{"plain too long", "plain", sealed(0x14, 1, uniform, make([]byte, 8193)), codec.ErrMalformed},
		{"a delta", "delta", sealed(0x13, 1, uniform, []byte{0x10, 0}), codec.ErrMalformed},
		{"longer than the longest", "longest", sealed(0x14, 64, 0, make([]byte, chunk.MaxEncodedBytes)), codec.ErrMalformed},
		{"no zstd", "zstd", sealed(0x11, 1, uniform, []byte("what is this")), codec.ErrMalformed},
		{"a zstd frame that is cut", "zstd", sealed(0x11, 1, uniform, zstdBody(t, good)[:8]), codec.ErrMalformed},
		{"bytes behind zstd", "zstd", sealed(0x11, 1, chunk.Hash(half), append(zstdBody(t, good), 1)), codec.ErrMalformed},
		{"a second frame", "zstd", sealed(0x11, 1, chunk.Hash(half), append(append(zstdBody(t, good), "\x28\xb5\x2f\xfd"...),
			zstdBody(t, good)...)), codec.ErrMalformed},
		{"nothing", "palette of section 0 has", runs(), codec.ErrMalformed},
		{"no ids", "palette of section 0 has", runs(0, 5), codec.ErrMalformed},
		{"more ids than blocks", "palette of section 0 has", runs(0x81, 0x20, 5), codec.ErrMalformed},
		{"palette is cut", "palette of section 0", runs(2, 5), codec.ErrMalformed},
		{"an id over 65535", "palette of section 0", runs(2, 0xff, 0xff, 3, 0, 2, 0, 1, 0xff, 0x0f, 0xff, 0x0f), codec.ErrMalformed},
		{"a gap that overflows", "palette of section 0", runs(2, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 0, 1, 0xff,
			0x0f, 0xff, 0x0f), codec.ErrMalformed},
		{"no count", "in 0 runs", runs(2, 5, 1), codec.ErrMalformed},
		{"fewer runs than ids", "in 1 runs", runs(2, 5, 1, 1, 0, 0xff, 0x1f), codec.ErrMalformed},
		{"more runs than blocks", "in 4097 runs", runs(2, 5, 1, 0x81, 0x20, 0, 1), codec.ErrMalformed},
		{"symbols are cut", "symbols", runs(2, 5, 1, 2, 0), codec.ErrMalformed},
		{"a symbol without id", "runs of section 0", runs(2, 5, 1, 2, 0, 2, 0xff, 0x0f, 0xff, 0x0f), codec.ErrMalformed},
		{"lengths are cut", "runs of section 0", runs(2, 5, 1, 2, 0, 1, 0xff, 0x0f), codec.ErrMalformed},
		{"a length is cut", "runs of section 0", runs(2, 5, 1, 2, 0, 1, 0xff, 0x0f, 0xff), codec.ErrMalformed},
		{"a length written long", "runs of section 0", runs(3, 5, 1, 0, 3, 0, 1, 0, 0xff, 0x0f, 0xfe, 0x0f, 0x80, 0), codec.ErrMalformed},
		{"a length over a section", "runs of section 0", runs(2, 5, 1, 2, 0, 1, 0xff, 0x0f, 0xff, 0x20), codec.ErrMalformed},
		{"one block too few", "runs of section 0", runs(2, 5, 1, 2, 0, 1, 0xff, 0x0f, 0xfe, 0x0f), codec.ErrMalformed},
		{"one block too many", "runs of section 0", runs(2, 5, 1, 2, 0, 1, 0xff, 0x0f, 0x80, 0x10), codec.ErrMalformed},
		{"a byte behind the runs", "behind", runs(append(slices.Clone(good), 0)...), codec.ErrMalformed},
	} {
		if _, err := chunk.Decode(nil, c.data, 16); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %v that says %q", c.name, err, c.want, c.why)
		}
	}
}

func TestInspectRefusesHeightsThatNoColumnHas(t *testing.T) {
	for _, sections := range []byte{0, 65, 255} {
		if _, err := chunk.Inspect(sealed(0x10, sections, 0, []byte{0, 0})); !errors.Is(err, codec.ErrMalformed) {
			t.Errorf("%d sections: %v, want ErrMalformed", sections, err)
		}
	}
}

// Goal: a few bytes cost no memory. Method: zstd frames of far more than a column, well summed.
func TestBombsTakeNoMemory(t *testing.T) {
	stream := make([]byte, 256<<20)
	if _, err := chunk.Decode(nil, encodings()["runs"], 16); err != nil { // makes the shared decoder, once
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{
		"said":         zstdBody(t, stream),
		"said smaller": append([]byte{0x20, 100}, zstdBody(t, stream)[5:]...), // one byte of size instead of four
		"silent":       append([]byte{0x00, 0xb8}, zstdBody(t, stream)[5:]...),
	} {
		for what, decode := range map[string]func() error{
			"Decode": func() error { _, err := chunk.Decode(nil, sealed(0x11, 16, 0, body), 256); return err },
			"ReadEdits": func() error {
				_, err := chunk.ReadEdits(nil, append([]byte{0x11}, body...), 256)
				return err
			},
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := decode(); !errors.Is(err, codec.ErrMalformed) {
				t.Fatalf("%s: %s says %v, want ErrMalformed", name, what, err)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
				t.Errorf("%s: %s took %d bytes", name, what, n)
			}
		}
	}
}

// TestWorldsAreSmall holds the mean of the generated columns that are kept here; what they say of whole worlds is in
// DESIGN.md.
func TestWorldsAreSmall(t *testing.T) {
	small, fast, all := 0, 0, columns(t, "testdata/generated.vxc.zst", 1000)
	for _, ids := range all {
		small += len(chunk.Encode(nil, ids))
		fast += len(chunk.EncodeFast(nil, ids))
	}
	t.Logf("%d columns of %d bytes, fast %d", len(all), small/len(all), fast/len(all))
	if small/len(all) > mostSmall || fast/len(all) > mostFast {
		t.Errorf("%d bytes a column, fast %d; want at most %d and %d", small/len(all), fast/len(all), mostSmall, mostFast)
	}
}

const mostSmall, mostFast = 1550, 1590

func TestWrongProgramsPanic(t *testing.T) {
	for name, call := range map[string]func(){
		"no ids":             func() { chunk.Encode(nil, nil) },
		"half a layer":       func() { chunk.Encode(nil, make([]uint16, 4096+128)) },
		"15 high":            func() { chunk.Encode(nil, make([]uint16, 15*256)) },
		"too high":           func() { chunk.Encode(nil, make([]uint16, 1040*256)) },
		"decode 0 high":      func() { _, _ = chunk.Decode(nil, nil, 0) },
		"read 17 high":       func() { _, _ = chunk.ReadEdits(nil, nil, 17) },
		"edits fall":         func() { chunk.AppendEdits(nil, []chunk.Edit{{Index: 2}, {Index: 1}}) },
		"edits twice":        func() { chunk.AppendEdits(nil, []chunk.Edit{{Index: 2}, {Index: 2}}) },
		"edit outside":       func() { chunk.AppendEdits(nil, []chunk.Edit{{Index: 1024 * 256}}) },
		"delta edit outside": func() { chunk.AppendDelta(nil, 16, 0, []chunk.Edit{{Index: 4096}}) },
		"diff of two kinds":  func() { chunk.Diff(nil, make([]uint16, 4096), make([]uint16, 8192)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}
