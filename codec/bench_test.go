package codec_test

import (
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// TestTypicalPlayerIsSmall holds the size of a document with 20 of its 36 slots filled and no spawners, and how much a
// frame and an entity add to it at rest.
func TestTypicalPlayerIsSmall(t *testing.T) {
	p := typicalPlayer()
	with := p.SizeVT()
	p.DungeonData.MobSpawnerSlots = nil
	framed := must(codec.EncodeEntity(&storev1.Entity{
		Seq: 4711, NewestTimeMs: day.UnixMilli(), Document: &storev1.Entity_Player{Player: p},
	}))
	t.Logf("document %d bytes, with two spawners %d, stored %d", p.SizeVT(), with, len(framed))
	if p.SizeVT() > 320 || len(framed) > p.SizeVT()+32 {
		t.Errorf("the document has %d bytes, stored %d; want at most 320, and 32 more", p.SizeVT(), len(framed))
	}
}

// TestSteadyStateAllocatesOnlyTheResult holds the allocations of the hot path.
func TestSteadyStateAllocatesOnlyTheResult(t *testing.T) {
	entry := &storev1.Entry{TimeMs: 1, PlayerEvents: []*storev1.PlayerEvent{{Event: &storev1.PlayerEvent_BalanceChanged{
		BalanceChanged: &storev1.BalanceChanged{Currency: skerryv1.Currency_COINS, Balance: 150},
	}}}}
	if n := testing.AllocsPerRun(200, func() { must(codec.EncodeEntry(entry)) }); n != 1 {
		t.Errorf("EncodeEntry allocates %v times, want once", n)
	}
	framed, buf := must(codec.EncodeEntry(entry)), make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(200, func() {
		f, err := codec.OpenFrame(framed)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := f.Payload(nil)
		if err != nil {
			t.Fatal(err)
		}
		buf, _ = codec.AppendFrame(buf[:0], f.Format, codec.Plain, payload)
	}); n != 0 {
		t.Errorf("opening and framing allocates %v times, want never", n)
	}
}

func BenchmarkPlayer(b *testing.B) {
	p := typicalPlayer()
	data := must(p.MarshalVT())
	b.Run("encode/plain", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = proto.MarshalOptions{}.MarshalAppend(buf[:0], p)
		}
	})
	b.Run("encode/vt", func(b *testing.B) {
		buf := make([]byte, 1024)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = p.MarshalToSizedBufferVT(buf[:p.SizeVT()])
		}
	})
	b.Run("decode/plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(data, &skerryv1.Player{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode/vt", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := (&skerryv1.Player{}).UnmarshalVT(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEntity(b *testing.B) {
	for _, attributes := range []int{0, 100} {
		e := typicalEntity()
		if attributes > 0 {
			fields := map[string]any{}
			for i := range attributes {
				fields["quest"+strconv.Itoa(i)] = map[string]any{"step": i, "done": true}
			}
			e.GetPlayer().Attributes = object(fields)
		}
		framed := must(codec.EncodeEntity(e))
		name := strconv.Itoa(len(framed)) + "B"
		b.Run("encode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(codec.EncodeEntity(e))
			}
		})
		b.Run("decode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.DecodeEntity(framed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEntry(b *testing.B) {
	e := &storev1.Entry{TimeMs: day.UnixMilli(), PlayerEvents: []*storev1.PlayerEvent{{Event: &storev1.PlayerEvent_BalanceChanged{
		BalanceChanged: &storev1.BalanceChanged{Currency: skerryv1.Currency_COINS, Balance: 150, CoinsEarned: 50},
	}}}}
	framed := must(codec.EncodeEntry(e))
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			must(codec.EncodeEntry(e))
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := codec.DecodeEntry(framed); err != nil {
				b.Fatal(err)
			}
		}
	})
}
