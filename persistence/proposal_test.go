package persistence_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// full is a proposal that uses every field.
func full() *persistence.Proposal {
	player := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "1001"}
	world := persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: "1001~2"}
	epoch := persistence.Epoch{Generation: 3, Term: 7}
	saved := time.UnixMilli(1_700_000_000_123).UTC()
	return &persistence.Proposal{
		ID: 1 << 60, Generation: 3, Claim: true,
		Changes: []*persistence.Change{
			{Key: player, Epoch: epoch, Entries: []persistence.Entry{{Seq: 5, Data: []byte("e5")}, {Seq: 6, Data: []byte("e6")}}},
			{Key: player, Epoch: epoch, Marks: []persistence.Mark{{Name: "session/s1", Value: []byte{}}, {Name: "gone"}, {Name: "v", Value: []byte("x")}}},
			{Key: world, Epoch: epoch, Piece: &persistence.Piece{Part: "c/1/-2", Seq: 9, Index: 3, Data: []byte("piece")}},
			{Key: world, Epoch: epoch, Snapshot: &persistence.Snapshot{Part: "c/1/-2", Seq: 9, SavedAt: saved, Pieces: 4}},
			{Key: player, Epoch: persistence.Epoch{Generation: 2, Term: 1 << 40}, Snapshot: &persistence.Snapshot{Seq: 6, SavedAt: saved, Data: []byte("state")}},
			{Key: world, Epoch: epoch, Snapshot: &persistence.Snapshot{Part: "c/1/-2", Seq: 10, SavedAt: saved, Gone: true}},
			{Key: world, Epoch: epoch, TrimTo: 8, Snapshot: &persistence.Snapshot{Seq: 11, SavedAt: saved, Data: []byte("main")}},
			{Epoch: epoch},
			{Epoch: epoch, Record: &persistence.Record{Name: "key/abc", Value: []byte("r")}},
			{Epoch: epoch, Record: &persistence.Record{Name: "key/abc"}},
			{Epoch: epoch, EraseSpace: "staging"},
		},
	}
}

func encode(tb testing.TB, p *persistence.Proposal) []byte {
	tb.Helper()
	data, err := persistence.AppendProposal(nil, p)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestProposalSurvivesEncoding(t *testing.T) {
	for name, want := range map[string]*persistence.Proposal{"full": full(), "empty": {}, "claim": {Generation: 1, Claim: true}} {
		data := encode(t, want)
		got, err := persistence.DecodeProposal(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: decoded %+v, want %+v", name, got, want)
		}
		if again := encode(t, got); !bytes.Equal(again, data) {
			t.Errorf("%s: encoded again as %x, want %x", name, again, data)
		}
	}
}

// A proposal that an older build can read is written so that it can.
func TestOldestVersionIsWritten(t *testing.T) {
	p := full()
	p.Changes = slices.DeleteFunc(p.Changes, func(c *persistence.Change) bool {
		return c.TrimTo != 0 || c.Snapshot != nil && c.Snapshot.Gone
	})
	if old, newer := encode(t, p)[0], encode(t, full())[0]; old != 1 || newer != 2 {
		t.Errorf("versions %d and %d, want 1 and 2", old, newer)
	}
}

func TestProposalIsAppended(t *testing.T) {
	data, err := persistence.AppendProposal([]byte("before"), full())
	if err != nil || !bytes.Equal(data, append([]byte("before"), encode(t, full())...)) {
		t.Fatalf("got %q, %v", data, err)
	}
}

// A durable 50-byte command costs its entry and little more: space, kind and epoch are said once in a proposal.
func TestSmallChangesAreCompact(t *testing.T) {
	p := &persistence.Proposal{ID: 123}
	for i := range 100 {
		key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: fmt.Sprintf("100%03d", i)}
		entry := persistence.Entry{Seq: 1000, Data: make([]byte, 62)}
		p.Changes = append(p.Changes, &persistence.Change{Key: key, Epoch: persistence.Epoch{Term: 7}, Entries: []persistence.Entry{entry}})
	}
	if perChange := len(encode(t, p)) / 100; perChange > 62+6+8 {
		t.Fatalf("%d bytes a change, want at most 76", perChange)
	}
}

func TestDecodeProposalRefusesBadBytes(t *testing.T) {
	data := encode(t, full())
	for n := range data { // cut anywhere
		if _, err := persistence.DecodeProposal(data[:n]); !errors.Is(err, persistence.ErrMalformedProposal) {
			t.Fatalf("cut to %d of %d bytes: %v, want ErrMalformedProposal", n, len(data), err)
		}
	}
	newer := append([]byte{3}, data[1:]...)
	if _, err := persistence.DecodeProposal(newer); !errors.Is(err, persistence.ErrNewer) {
		t.Errorf("version 3: %v, want ErrNewer", err)
	}
	for name, bad := range map[string][]byte{
		"left over":      append(bytes.Clone(data), 0),
		"version 0":      {0, 0, 0, 0, 0},
		"huge count":     {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"unknown flags":  {1, 0, 0, 2, 0},
		"huge entries":   {1, 0, 0, 0, 1, 4, 0, 0xff, 0xff, 0xff, 0x7f},
		"no entries":     {1, 0, 0, 0, 1, 4, 0, 0, 1},
		"seq overflow":   {1, 0, 0, 0, 1, 4, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0},
		"big generation": {1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0},
	} {
		if _, err := persistence.DecodeProposal(bad); !errors.Is(err, persistence.ErrMalformedProposal) {
			t.Errorf("%s: %v, want ErrMalformedProposal", name, err)
		}
	}
}

func TestChangeValidate(t *testing.T) {
	key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "1"}
	entry := func(seq persistence.Seq, size int) persistence.Entry {
		return persistence.Entry{Seq: seq, Data: make([]byte, size)}
	}
	worldKey := persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: "1"}
	bad := map[string]persistence.Change{
		"no key":           {Entries: []persistence.Entry{entry(1, 1)}},
		"bad key":          {Key: persistence.Key{Space: "Main", Kind: persistence.KindPlayer, ID: "1"}},
		"seq 0":            {Key: key, Entries: []persistence.Entry{entry(0, 1)}},
		"hole":             {Key: key, Entries: []persistence.Entry{entry(1, 1), entry(3, 1)}},
		"empty entry":      {Key: key, Entries: []persistence.Entry{entry(1, 0)}},
		"big entry":        {Key: key, Entries: []persistence.Entry{entry(1, persistence.MaxValueBytes+1)}},
		"many entries":     {Key: key, Entries: make([]persistence.Entry, persistence.MaxEntries+1)},
		"unnamed mark":     {Key: key, Marks: []persistence.Mark{{}}},
		"mark with NUL":    {Key: key, Marks: []persistence.Mark{{Name: "a\x00b"}}},
		"long mark":        {Key: key, Marks: []persistence.Mark{{Name: strings.Repeat("m", persistence.MaxMarkNameBytes+1)}}},
		"big mark":         {Key: key, Marks: []persistence.Mark{{Name: "m", Value: make([]byte, persistence.MaxMarkBytes+1)}}},
		"many marks":       {Key: key, Marks: make([]persistence.Mark, persistence.MaxMarks+1)},
		"piece part":       {Key: key, Piece: &persistence.Piece{Part: "a b", Seq: 1, Data: []byte("x")}},
		"piece seq 0":      {Key: key, Piece: &persistence.Piece{Data: []byte("x")}},
		"piece index":      {Key: key, Piece: &persistence.Piece{Seq: 1, Index: persistence.MaxPieces, Data: []byte("x")}},
		"empty piece":      {Key: key, Piece: &persistence.Piece{Seq: 1}},
		"big piece":        {Key: key, Piece: &persistence.Piece{Seq: 1, Data: make([]byte, persistence.MaxPieceBytes+1)}},
		"snapshot seq 0":   {Key: key, Snapshot: &persistence.Snapshot{Data: []byte("x")}},
		"snapshot part":    {Key: key, Snapshot: &persistence.Snapshot{Part: "\x7f", Seq: 1, Data: []byte("x")}},
		"snapshot nothing": {Key: key, Snapshot: &persistence.Snapshot{Seq: 1}},
		"snapshot both":    {Key: key, Snapshot: &persistence.Snapshot{Seq: 1, Pieces: 1, Data: []byte("x")}},
		"snapshot pieces":  {Key: key, Snapshot: &persistence.Snapshot{Seq: 1, Pieces: persistence.MaxPieces + 1}},
		"snapshot big":     {Key: key, Snapshot: &persistence.Snapshot{Seq: 1, Data: make([]byte, persistence.MaxValueBytes+1)}},
		"gone main":        {Key: key, Snapshot: &persistence.Snapshot{Seq: 1, Gone: true}},
		"gone with data":   {Key: key, Snapshot: &persistence.Snapshot{Part: "c", Seq: 1, Gone: true, Data: []byte("x")}},
		"player trims":     {Key: key, TrimTo: 1, Snapshot: &persistence.Snapshot{Seq: 1, Data: []byte("x")}},
		"part trims":       {Key: worldKey, TrimTo: 1, Snapshot: &persistence.Snapshot{Part: "c", Seq: 1, Data: []byte("x")}},
		"trim beyond":      {Key: worldKey, TrimTo: 2, Snapshot: &persistence.Snapshot{Seq: 1, Data: []byte("x")}},
		"trim alone":       {Key: worldKey, TrimTo: 1},
		"erase and key":    {Key: key, EraseSpace: "main"},
		"erase bad space":  {EraseSpace: "MAIN"},
		"record and key":   {Key: key, Record: &persistence.Record{Name: "r"}},
		"record name":      {Record: &persistence.Record{Name: ""}},
		"record big":       {Record: &persistence.Record{Name: "r", Value: make([]byte, persistence.MaxRecordBytes+1)}},
	}
	for name, c := range bad {
		if err := c.Validate(); !errors.Is(err, persistence.ErrBadChange) {
			t.Errorf("%s: %v, want ErrBadChange", name, err)
		}
		if data, err := persistence.AppendProposal([]byte("b"), &persistence.Proposal{Changes: []*persistence.Change{&c}}); err == nil || string(data) != "b" {
			t.Errorf("%s: encoded as %.20x, %v", name, data, err)
		}
	}
	for i, c := range full().Changes {
		if err := c.Validate(); err != nil {
			t.Errorf("change %d of the full proposal: %v", i, err)
		}
	}
}

func FuzzDecodeProposal(f *testing.F) {
	f.Add(encode(f, full()))
	f.Add(encode(f, &persistence.Proposal{Claim: true}))
	f.Add([]byte{1, 0, 0, 0, 1, 4, 0, 1, 1, 1, 'x'})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := persistence.DecodeProposal(data)
		if err != nil {
			if !errors.Is(err, persistence.ErrMalformedProposal) && !errors.Is(err, persistence.ErrNewer) {
				t.Fatalf("refused with %v, want ErrMalformedProposal", err)
			}
			return
		}
		for _, c := range p.Changes {
			if c.Validate() != nil {
				return // Apply refuses it; it cannot be encoded again
			}
		}
		again, err := persistence.DecodeProposal(encode(t, p))
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("decoded %+v, encoded and decoded again as %+v (%v)", p, again, err)
		}
	})
}

func BenchmarkProposal(b *testing.B) {
	p := &persistence.Proposal{ID: 123}
	for i := range 100 {
		key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: fmt.Sprintf("100%03d", i)}
		entry := persistence.Entry{Seq: 1000, Data: make([]byte, 62)}
		p.Changes = append(p.Changes, &persistence.Change{Key: key, Epoch: persistence.Epoch{Term: 7}, Entries: []persistence.Entry{entry}})
	}
	data := encode(b, p)
	b.Run("append of 100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if data, err = persistence.AppendProposal(data[:0], p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode of 100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := persistence.DecodeProposal(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
