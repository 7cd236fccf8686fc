package vxc1_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/vxc1"
)

var update = flag.Bool("update", false, "write the golden if it is not there yet; once there it never changes")

// column is column x, z of ids below kinds, in runs.
func column(x, z int32, kinds int) vxc1.Column {
	rng := rand.New(rand.NewPCG(uint64(uint32(x)), uint64(uint32(z))))
	ids := make([]uint16, vxc1.ColumnIDs)
	for i := 0; i < len(ids); {
		id := uint16(rng.IntN(kinds))
		for range min(1+rng.IntN(400), len(ids)-i) {
			ids[i] = id
			i++
		}
	}
	return vxc1.Column{X: x, Z: z, Stored: uint32(rng.IntN(5000)), IDs: ids}
}

// file is a whole file.
func file(tb testing.TB, header vxc1.Header, columns ...vxc1.Column) []byte {
	tb.Helper()
	header.Columns = uint32(len(columns))
	var b bytes.Buffer
	w, err := vxc1.NewWriter(&b, header)
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range columns {
		if err := w.Write(c); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// read reads a whole file.
func read(r io.Reader) (vxc1.Header, []vxc1.Column, error) {
	rd, err := vxc1.NewReader(r)
	if err != nil {
		return vxc1.Header{}, nil, err
	}
	defer rd.Close()
	var all []vxc1.Column
	for {
		var c vxc1.Column
		if err := rd.Next(&c); errors.Is(err, io.EOF) {
			return rd.Header(), all, nil
		} else if err != nil {
			return rd.Header(), all, err
		}
		all = append(all, c)
	}
}

func TestFilesComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		header  vxc1.Header
		columns []vxc1.Column
	}{
		"empty":    {vxc1.Header{MinY: -64, Names: []string{"air"}}, nil},
		"no names": {vxc1.Header{}, []vxc1.Column{column(0, 0, 65536)}},
		"names": {
			vxc1.Header{MinY: 1 << 30, Names: []string{"air", "", "stone", strings.Repeat("long", 1000)}},
			[]vxc1.Column{column(-1<<31, 1<<31-1, 4), column(0, 0, 1), column(5, -7, 4)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := file(t, c.header, c.columns...)
			c.header.Columns = uint32(len(c.columns))
			// A byte at a time: nothing depends on how the source cuts.
			header, columns, err := read(iotest.OneByteReader(bytes.NewReader(data)))
			if err != nil || !reflect.DeepEqual(header, c.header) || !reflect.DeepEqual(columns, c.columns) {
				t.Fatalf("%d columns of %d came back, %+v, %v", len(columns), len(c.columns), header, err)
			}
		})
	}
}

func TestNextUsesMemoryAgain(t *testing.T) {
	r, err := vxc1.NewReader(bytes.NewReader(file(t, vxc1.Header{}, column(1, 1, 9), column(2, 2, 9))))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var c vxc1.Column
	if err := r.Next(&c); err != nil {
		t.Fatal(err)
	}
	first := &c.IDs[0]
	if err := r.Next(&c); err != nil || &c.IDs[0] != first || !reflect.DeepEqual(c, column(2, 2, 9)) {
		t.Fatalf("column %d,%d in other memory, %v", c.X, c.Z, err)
	}
	for range 2 {
		if err := r.Next(&c); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last: %v, want EOF", err)
		}
	}
}

// raw is a file's content, before zstd.
func raw(tb testing.TB, data []byte) []byte {
	tb.Helper()
	d, err := zstd.NewReader(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer d.Close()
	content, err := d.DecodeAll(data, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return content
}

func pack(tb testing.TB, content []byte) []byte {
	tb.Helper()
	e, err := packer()
	if err != nil {
		tb.Fatal(err)
	}
	return e.EncodeAll(content, nil)
}

var packer = sync.OnceValues(func() (*zstd.Encoder, error) { // once: fuzzing makes many
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
})

// Goal: what is no whole file is refused, each for its own reason. Method: a right one changed in one place.
func TestReaderRefusesWhatIsNoFile(t *testing.T) {
	data := file(t, vxc1.Header{Names: []string{"air", "stone"}}, column(0, 0, 2), column(1, 0, 2))
	content := raw(t, data)
	set := func(at int, value byte) []byte {
		b := bytes.Clone(content)
		b[at] = value
		return pack(t, b)
	}
	for _, c := range []struct {
		name, why string
		data      []byte
		want      error
	}{
		{"nothing", "EOF", nil, codec.ErrMalformed},
		{"no zstd", "", []byte("what is this"), codec.ErrMalformed},
		{"no magic", "begins with", set(0, 'v'), codec.ErrMalformed},
		{"version 0", "version 0", set(4, 0), codec.ErrMalformed},
		{"version 2", "version 2", set(4, 2), codec.ErrNewer},
		{"flags", "flags", set(6, 1), codec.ErrNewer},
		{"wide", "17 × 256 × 16", set(8, 17), codec.ErrMalformed},
		{"high", "16 × 512 × 16", set(11, 2), codec.ErrMalformed},
		{"deep", "16 × 256 × 17", set(12, 17), codec.ErrMalformed},
		{"reserved", "(1)", set(14, 1), codec.ErrMalformed},
		{"too many names", "names, at most", set(22, 2), codec.ErrMalformed},
		{"an id without name", "block 7", set(28+2+3+2+5+12, 7), codec.ErrMalformed},
		{"a column too few", "column 2 of 3", set(24, 3), codec.ErrMalformed},
		{"a column too many", "behind", set(24, 1), codec.ErrMalformed},
		{"header cut", "EOF", pack(t, content[:20]), codec.ErrMalformed},
		{"name cut", "name of block 1", pack(t, content[:36]), codec.ErrMalformed},
		{"column cut", "column 1 of 2", pack(t, content[:len(content)-1]), codec.ErrMalformed},
		{"zstd cut", "", data[:len(data)-5], codec.ErrMalformed},
		{"bytes behind zstd", "", append(bytes.Clone(data), "behind"...), codec.ErrMalformed},
		{"a window of 32 MiB", "window", stream(t, content, zstd.WithWindowSize(32<<20)), codec.ErrMalformed},
	} {
		if _, _, err := read(bytes.NewReader(c.data)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %v that says %q", c.name, err, c.want, c.why)
		}
	}
	if _, _, err := read(bytes.NewReader(stream(t, content, zstd.WithWindowSize(16<<20)))); err != nil {
		t.Errorf("a window of 16 MiB: %v", err)
	}
}

// stream packs content as a stream of unknown length, which has a window.
func stream(tb testing.TB, content []byte, options ...zstd.EOption) []byte {
	tb.Helper()
	var b bytes.Buffer
	e, err := zstd.NewWriter(&b, options...)
	if err != nil {
		tb.Fatal(err)
	}
	for _, half := range [][]byte{content[:len(content)/2], content[len(content)/2:]} {
		if _, err := e.Write(half); err != nil {
			tb.Fatal(err)
		}
		if err := e.Flush(); err != nil {
			tb.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestReaderPassesTheSourcesErrorOn(t *testing.T) {
	data, broken := file(t, vxc1.Header{}, column(0, 0, 9)), errors.New("the disk is gone")
	for _, n := range []int{0, 3, len(data) / 2, len(data) - 1} {
		_, _, err := read(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || errors.Is(err, codec.ErrMalformed) {
			t.Errorf("after %d bytes: %v, want the source's error alone", n, err)
		}
	}
}

// Goal: a file that says much and holds little takes little memory. Method: the most that a header can say.
func TestReaderTakesBoundedMemory(t *testing.T) {
	content := raw(t, file(t, vxc1.Header{}))
	binary.LittleEndian.PutUint32(content[20:], vxc1.MaxNames)
	binary.LittleEndian.PutUint32(content[24:], 1<<32-1)
	for range 40 {
		content = append(append(content, 0xff, 0xff), make([]byte, 0xffff)...)
	}
	data := pack(t, content)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := read(bytes.NewReader(data))
	runtime.ReadMemStats(&after)
	if !errors.Is(err, codec.ErrMalformed) || !strings.Contains(err.Error(), "names of more") {
		t.Fatalf("%v, want ErrMalformed for the names", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 {
		t.Errorf("took %d bytes for %d", n, len(data))
	}
}

func TestWriterRefuses(t *testing.T) {
	for name, names := range map[string][]string{
		"a name of 64 KiB": {strings.Repeat("x", 1<<16)}, "too many": make([]string, vxc1.MaxNames+1),
		"too long": {strings.Repeat("x", 0xffff), strings.Repeat("x", 0xffff), 16: "", 17: strings.Repeat("x", 0xffff)},
	} {
		if name == "too long" {
			for i := range names {
				names[i] = strings.Repeat("x", 0xffff)
			}
		}
		if _, err := vxc1.NewWriter(io.Discard, vxc1.Header{Names: names}); !errors.Is(err, codec.ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
	w, err := vxc1.NewWriter(io.Discard, vxc1.Header{Columns: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err = w.Write(vxc1.Column{IDs: make([]uint16, 5)}); err == nil {
		t.Error("wrote a column of 5 ids")
	}
	if err = w.Write(column(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); !errors.Is(err, vxc1.ErrColumns) {
		t.Errorf("one column missing: %v, want ErrColumns", err)
	}
	if w, err = vxc1.NewWriter(io.Discard, vxc1.Header{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(column(0, 0, 1)); !errors.Is(err, vxc1.ErrColumns) {
		t.Errorf("one column too many: %v, want ErrColumns", err)
	}
}

// full fails after some bytes.
type full struct{ left int }

var errFull = errors.New("the disk is full")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriterPassesTheTargetsErrorOn(t *testing.T) {
	for _, left := range []int{0, 100, 5000} {
		w, err := vxc1.NewWriter(&full{left}, vxc1.Header{Columns: 20})
		for i := int32(0); err == nil && i < 20; i++ {
			err = w.Write(column(i, i, 60000))
		}
		if err == nil {
			err = w.Close()
		}
		if !errors.Is(err, errFull) {
			t.Errorf("after %d bytes: %v, want %v", left, err, errFull)
		}
	}
}

// Goal: a file that was ever written is read for ever. Method: its bytes as they were written then.
func TestGoldenIsStillRead(t *testing.T) {
	const path = "testdata/v1.vxc.zst"
	header := vxc1.Header{MinY: -64, Names: []string{"air", "", "stone", "dirt", "grün"}}
	columns := []vxc1.Column{column(-3, 17, 5), column(-2, 17, 5)}
	if _, err := os.Stat(path); *update && os.IsNotExist(err) {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file(t, header, columns...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header.Columns = 2
	gotHeader, gotColumns, err := read(bytes.NewReader(data))
	if err != nil || !reflect.DeepEqual(gotHeader, header) || !reflect.DeepEqual(gotColumns, columns) {
		t.Fatalf("%+v with %d columns, %v; want %+v", gotHeader, len(gotColumns), err, header)
	}
}

func FuzzReader(f *testing.F) {
	data := file(f, vxc1.Header{MinY: -64, Names: []string{"air", "stone"}}, column(0, 0, 2))
	f.Add(data)
	f.Add(raw(f, data)[:200])
	f.Add(raw(f, file(f, vxc1.Header{Names: []string{"air"}})))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, form := range [][]byte{data, pack(t, data)} {
			header, columns, err := read(io.LimitReader(bytes.NewReader(form), 1<<20))
			if err != nil {
				if !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrNewer) {
					t.Fatalf("refused with %v, want ErrMalformed or ErrNewer", err)
				}
				continue
			}
			if len(columns) > 50 {
				continue // whole, and slow to write again
			}
			again, same, err := read(bytes.NewReader(file(t, header, columns...)))
			if err != nil || !reflect.DeepEqual(again, header) || !reflect.DeepEqual(same, columns) {
				t.Fatalf("%+v with %d columns came back as %+v with %d, %v", header, len(columns), again, len(same), err)
			}
		}
	})
}

func BenchmarkFile(b *testing.B) {
	columns := make([]vxc1.Column, 16)
	for i := range columns {
		columns[i] = column(int32(i), 0, 50)
	}
	data := file(b, vxc1.Header{}, columns...)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(columns)) * 2 * vxc1.ColumnIDs)
		var c vxc1.Column
		for b.Loop() {
			r, err := vxc1.NewReader(bytes.NewReader(data))
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				err = r.Next(&c)
			}
			if !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
			r.Close()
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(columns)) * 2 * vxc1.ColumnIDs)
		for b.Loop() {
			file(b, vxc1.Header{}, columns...)
		}
	})
}
