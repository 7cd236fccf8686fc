package pebblestore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// BenchmarkCopy is a partition of 256 MiB, in snapshots of 16 KiB that do not compress: out alone, and out of one store
// into another on the same disk, with its Commit.
func BenchmarkCopy(b *testing.B) {
	const players, size = 16 << 10, 16 << 10
	from, to := benchStore(b), benchStore(b)
	d := persistencetest.NewDriver(b, from, 0)
	rng := rand.New(rand.NewPCG(1, 1))
	payload := make([]byte, size)
	for i := range players {
		for j := range payload {
			payload[j] = byte(rng.Uint32()) //nolint:gosec // any byte
		}
		framed, err := codec.AppendFrame(nil, codec.FormatEntity, codec.Plain, payload)
		if err != nil {
			b.Fatal(err)
		}
		d.Must(persistence.Change{
			Key: persistencetest.Player(fmt.Sprint(i)), Entries: persistencetest.Entries(b, 1, 1),
			Snapshot: &persistence.Snapshot{Seq: 1, SavedAt: persistencetest.SavedAt, Data: framed},
		})
		d.Log = nil
	}
	if err := from.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Run("out", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(players * size)
		for b.Loop() {
			if _, err := from.CopyOut(b.Context(), 0, func([]byte) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("out and in", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(players * size)
		for b.Loop() {
			if err := to.Drop(0); err != nil {
				b.Fatal(err)
			}
			w, err := to.CopyIn(0)
			if err != nil {
				b.Fatal(err)
			}
			if _, err = from.CopyOut(b.Context(), 0, w.Write); err != nil {
				b.Fatal(err)
			}
			if _, _, err = w.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
