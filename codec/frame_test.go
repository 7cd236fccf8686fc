package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/codec"
)

// frame frames payload, which must be possible.
func frame(tb testing.TB, format codec.Format, compression codec.Compression, payload []byte) []byte {
	tb.Helper()
	framed, err := codec.AppendFrame(nil, format, compression, payload)
	if err != nil {
		tb.Fatal(err)
	}
	return framed
}

// resum puts the right checksum at the end of a changed frame: what a writer of these bytes would have written.
func resum(framed []byte) []byte {
	end := len(framed) - 8
	return binary.LittleEndian.AppendUint64(framed[:end:end], xxh3.Hash(framed[:end]))
}

func TestFrameComesBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	payloads := map[string][]byte{
		"empty": {}, "one byte": {7}, "127": noise[:127], "128": noise[:128], "512 zeros": make([]byte, 512),
		"513 zeros": make([]byte, 513), "noise": noise, "4 MiB": make([]byte, codec.MaxValueBytes),
	}
	for name, payload := range payloads {
		for _, compression := range []codec.Compression{codec.Plain, codec.Zstd} {
			t.Run(fmt.Sprintf("%s/%d", name, compression), func(t *testing.T) {
				prefix := []byte("before")
				framed, err := codec.AppendFrame(bytes.Clone(prefix), codec.FormatRecord, compression, payload)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.HasPrefix(framed, prefix) {
					t.Fatal("what was before is gone")
				}
				framed = framed[len(prefix):]
				f, err := codec.OpenFrame(framed)
				if err != nil {
					t.Fatal(err)
				}
				got, err := f.Payload(nil)
				if err != nil || !bytes.Equal(got, payload) {
					t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(payload))
				}
				if f.Format != codec.FormatRecord || f.Version != 1 || f.Size != len(payload) {
					t.Fatalf("opened as %v version %d size %d", f.Format, f.Version, f.Size)
				}
				if len(framed) > len(payload)+15 {
					t.Fatalf("%d bytes for %d", len(framed), len(payload))
				}
			})
		}
	}
}

func TestFrameOfSmallPayloadAddsTwelveBytes(t *testing.T) {
	for _, n := range []int{0, 1, 50, 127} {
		if got := len(frame(t, codec.FormatEntry, codec.Plain, make([]byte, n))) - n; got != 12 {
			t.Errorf("a payload of %d bytes is framed with %d more, want 12", n, got)
		}
	}
}

func TestFrameCompressesOnlyWhatGetsSmaller(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 2000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for _, c := range []struct {
		name    string
		payload []byte
		want    codec.Compression
	}{
		{"zeros", make([]byte, 2000), codec.Zstd},
		{"noise", noise, codec.Plain},
		{"short", make([]byte, 512), codec.Plain},
	} {
		f, err := codec.OpenFrame(frame(t, codec.FormatEntity, codec.Zstd, c.payload))
		if err != nil || f.Compression != c.want {
			t.Errorf("%s: compression %d, %v; want %d", c.name, f.Compression, err, c.want)
		}
	}
}

func TestFrameRefusesTooLarge(t *testing.T) {
	dst := []byte("as it was")
	got, err := codec.AppendFrame(dst, codec.FormatEntity, codec.Zstd, make([]byte, codec.MaxValueBytes+1))
	if !errors.Is(err, codec.ErrTooLarge) || string(got) != "as it was" {
		t.Fatalf("%q, %v; want ErrTooLarge", got, err)
	}
}

// Goal: no damage goes unseen. Method: every bit flipped, every length cut, bytes added.
func TestFrameRefusesDamage(t *testing.T) {
	for _, whole := range [][]byte{
		frame(t, codec.FormatEntry, codec.Plain, []byte("coins+50")),
		frame(t, codec.FormatEntity, codec.Zstd, bytes.Repeat([]byte("slot"), 200)),
	} {
		for i := range whole {
			for bit := range 8 {
				bad := bytes.Clone(whole)
				bad[i] ^= 1 << bit
				if _, err := codec.OpenFrame(bad); !errors.Is(err, codec.ErrMalformed) || errors.Is(err, codec.ErrNewer) {
					t.Fatalf("byte %d bit %d flipped: %v, want ErrMalformed", i, bit, err)
				}
			}
			if _, err := codec.OpenFrame(whole[:i]); !errors.Is(err, codec.ErrMalformed) {
				t.Fatalf("cut at %d: %v, want ErrMalformed", i, err)
			}
		}
		if _, err := codec.OpenFrame(append(bytes.Clone(whole), 0)); !errors.Is(err, codec.ErrMalformed) {
			t.Fatalf("a byte added: %v, want ErrMalformed", err)
		}
	}
}

func TestFrameTellsNewerFromMalformed(t *testing.T) {
	whole := frame(t, codec.FormatEntry, codec.Plain, []byte("coins+50"))
	for _, c := range []struct {
		name string
		at   int
		to   byte
		want error
	}{
		{"unknown format", 1, 200, codec.ErrNewer},
		{"version 2", 2, 2 << 4, codec.ErrNewer},
		{"compression 2", 2, 1<<4 | 2, codec.ErrNewer},
		{"format 0", 1, 0, codec.ErrMalformed},
		{"version 0", 2, 0, codec.ErrMalformed},
		{"length too small", 3, 7, codec.ErrMalformed},
		{"length too great", 3, 9, codec.ErrMalformed},
		{"length never ends", 3, 0xff, codec.ErrMalformed},
		{"magic", 0, 0, codec.ErrMalformed},
	} {
		bad := bytes.Clone(whole)
		bad[c.at] = c.to
		if _, err := codec.OpenFrame(resum(bad)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// Goal: a frame that lies about its length costs no memory. Method: real zstd frames inside well-summed frames.
func TestFramePayloadNeverExceedsItsLength(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, 256<<20), nil)
	var silent bytes.Buffer
	stream, err := zstd.NewWriter(&silent)
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if _, err := stream.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		length uint64
		stored []byte
	}{
		{"a bomb said to be small", 100, bomb},
		{"a smaller bomb that is silent about its size", 100, silent.Bytes()},
		{"a bomb said to be the most", codec.MaxValueBytes, bomb},
		{"shorter than declared", 100, enc.EncodeAll(make([]byte, 99), nil)},
		{"longer than declared", 100, enc.EncodeAll(make([]byte, 101), nil)},
		{"no zstd", 100, []byte("what is this")},
		{"nothing", 100, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			framed := binary.AppendUvarint([]byte{0xB9, byte(codec.FormatEntity), 1<<4 | 1}, c.length)
			framed = resum(append(append(framed, c.stored...), make([]byte, 8)...))
			f, err := codec.OpenFrame(framed)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Payload(nil); err == nil { // makes the shared decoder, once
				t.Fatal("no refusal")
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := f.Payload(nil); !errors.Is(err, codec.ErrMalformed) {
				t.Fatalf("%v, want ErrMalformed", err)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > c.length+1<<20 {
				t.Errorf("took %d bytes for a declared length of %d", n, c.length)
			}
		})
	}
	if _, err := codec.OpenFrame(resum(append(binary.AppendUvarint([]byte{0xB9, 2, 0x11}, codec.MaxValueBytes+1),
		make([]byte, 20)...))); !errors.Is(err, codec.ErrMalformed) {
		t.Errorf("more than the most declared: %v, want ErrMalformed", err)
	}
}

func FuzzOpenFrame(f *testing.F) {
	f.Add(frame(f, codec.FormatEntry, codec.Plain, []byte("coins+50")))
	f.Add(frame(f, codec.FormatEntity, codec.Zstd, make([]byte, 1000)))
	f.Add([]byte{0xB9, 1, 0x10, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, framed := range [][]byte{data, sealed(data)} {
			opened, err := codec.OpenFrame(framed)
			if err != nil {
				mustRefuse(t, err)
				continue
			}
			payload, err := opened.Payload(nil)
			if err != nil {
				mustRefuse(t, err)
				continue
			}
			again, err := codec.OpenFrame(frame(t, opened.Format, opened.Compression, payload))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := again.Payload(nil); err != nil || !bytes.Equal(got, payload) {
				t.Fatalf("%x came back as %x (%v)", payload, got, err)
			}
		}
	})
}

// sealed returns data with the magic before it and the right checksum behind, so that fuzzing sees beyond both.
func sealed(data []byte) []byte {
	framed := append([]byte{0xB9}, data...)
	return binary.LittleEndian.AppendUint64(framed, xxh3.Hash(framed))
}

// mustRefuse fails the test unless err is one of the refusals that decoders promise.
func mustRefuse(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrNewer) {
		t.Fatalf("refused with %v, want ErrMalformed or ErrNewer", err)
	}
}
