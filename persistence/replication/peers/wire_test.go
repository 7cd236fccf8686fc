package peers

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: what is on the wire stays as drawn, and no bytes can crash a node or make it take memory.
// Method: goldens, every prefix, and fuzzing.

func TestHelloBytes(t *testing.T) {
	h := hello{lowest: 1, highest: 2, word: 1, features: 7, from: 3, to: 4, cluster: "isle"}
	const golden = "534b5048" + "1600" + "0100" + "0200" + "01" + "07000000" + "03000000" + "04000000" + "04" + "69736c65"
	if got := hex.EncodeToString(h.encode(magicHello)); got != golden {
		t.Errorf("encoded as %s, want %s", got, golden)
	}
	later := h.encode(magicHello) // a later version says more
	later = append(later, "more"...)
	binary.LittleEndian.PutUint16(later[4:], uint16(len(later)-helloPrefixBytes))
	got, err := readHello(bytes.NewReader(later), magicHello, 1, 1)
	if err != nil || got != h {
		t.Errorf("read %+v (%v), want %+v", got, err, h)
	}
}

func TestHelloOfOtherVersions(t *testing.T) {
	for _, test := range []struct {
		lowest, highest uint16
		want            error
		says            string
	}{
		{1, 2, errOtherVersion, "that node is older"},
		{3, 4, nil, ""},
		{1, 9, nil, ""},
		{6, 9, errOtherVersion, "this node is older"},
		{4, 3, ErrMalformed, ""},
	} {
		h := hello{lowest: test.lowest, highest: test.highest, cluster: "c"}
		got, err := readHello(bytes.NewReader(h.encode(magicHello)), magicHello, 3, 5)
		if !errors.Is(err, test.want) {
			t.Errorf("%d to %d: %v, want %v", test.lowest, test.highest, err, test.want)
		}
		if says := (&VersionError{2, 3, 5, got.lowest, got.highest}).Error(); test.says != "" && !strings.Contains(says, test.says) {
			t.Errorf("%d to %d: says %q, want %q", test.lowest, test.highest, says, test.says)
		}
	}
	short := append([]byte(magicHello), 4, 0, 9, 0, 9, 0) // of a version whose form is quite another
	if got, err := readHello(bytes.NewReader(short), magicHello, 3, 5); !errors.Is(err, errOtherVersion) || got.lowest != 9 {
		t.Errorf("a hello of version 9: %v", err)
	}
}

// TestFetchCutAnywhere: an answer that ends early, at any byte, is never taken for a whole one.
func TestFetchCutAnywhere(t *testing.T) {
	var answer bytes.Buffer
	frames := [][]byte{[]byte("one"), nil, []byte("three")}
	for _, frame := range frames {
		if err := writeFrame(&answer, kindData, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFrame(&answer, kindEnd, binary.LittleEndian.AppendUint64(nil, uint64(len(frames)))); err != nil {
		t.Fatal(err)
	}
	for cut := range answer.Len() + 1 {
		taken := 0
		err := takeAll(bytes.NewReader(answer.Bytes()[:cut]), 2, func(frame []byte) error {
			if !bytes.Equal(frame, frames[taken]) {
				t.Errorf("cut at %d: took %q", cut, frame)
			}
			taken++
			return nil
		})
		if whole := cut == answer.Len(); whole != (err == nil) || !whole && !errors.Is(err, ErrIncomplete) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	wrong := bytes.Replace(answer.Bytes(), []byte("\x00\x00\x00\x00\x03"), nil, 1) // the empty frame is missing
	if err := takeAll(bytes.NewReader(wrong), 2, func([]byte) error { return nil }); !errors.Is(err, ErrIncomplete) {
		t.Errorf("a frame is missing: %v", err)
	}
}

func TestTooLongFrameTakesNoMemory(t *testing.T) {
	header := []byte{0xFF, 0xFF, 0xFF, 0xFF, byte(kindBatch)}
	r := frameReader{from: bytes.NewReader(header), limits: limits{kindBatch: 1 << 20}}
	if _, _, err := r.next(); !errors.Is(err, ErrMalformed) || cap(r.buffer) != 0 {
		t.Errorf("%v, and %d bytes were taken", err, cap(r.buffer))
	}
}

func TestLongBufferIsGivenBack(t *testing.T) {
	var stream bytes.Buffer
	for _, length := range []int{keptBytes + 1, 8} {
		if err := writeFrame(&stream, kindBatch, make([]byte, length)); err != nil {
			t.Fatal(err)
		}
	}
	r := frameReader{from: &stream, limits: limits{kindBatch: 16 << 20}}
	for range 2 {
		if _, _, err := r.next(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.buffer) > keptBytes {
		t.Errorf("%d bytes are kept", cap(r.buffer))
	}
}

func FuzzReadHello(f *testing.F) {
	whole := hello{lowest: 1, highest: 1, word: 1, from: 1, to: 2, cluster: "test"}
	f.Add(whole.encode(magicHello))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0x16, 3, 1, 2, 0, 1})
	f.Add(append([]byte(magicHello), 4, 0, 9, 0, 9, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := readHello(bytes.NewReader(data), magicHello, 1, 1)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, errOtherVersion) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again, err := readHello(bytes.NewReader(h.encode(magicHello)), magicHello, 1, 1)
		if err != nil || again != h {
			t.Fatalf("read %+v, and again %+v (%v)", h, again, err)
		}
	})
}

func FuzzReadFrames(f *testing.F) {
	var whole bytes.Buffer
	for _, k := range []kind{kindPing, kindBatch, kindRequest, kindData, kindFailed, kindEnd, kindCalls} {
		if err := writeFrame(&whole, k, []byte("12345678")); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(whole.Bytes())
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 64
		r := frameReader{from: bytes.NewReader(data), limits: limits{kindPing: 0, kindBatch: limit, kindEnd: endBytes, kindCalls: limit}}
		var again bytes.Buffer
		for {
			k, payload, err := r.next()
			if cap(r.buffer) > limit {
				t.Fatalf("%d bytes were taken", cap(r.buffer))
			}
			if err != nil {
				if !errors.Is(err, ErrMalformed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("refused with %v", err)
				}
				break
			}
			if err := writeFrame(&again, k, payload); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(data, again.Bytes()) {
			t.Fatalf("read %x as %x", data, again.Bytes())
		}
		_ = takeAll(bytes.NewReader(data), persistence.NodeID(2), func([]byte) error { return nil })
	})
}
