package peers

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// BenchmarkBatches is one stream over loopback, sender and receiver in one process; nothing may be dropped.
func BenchmarkBatches(b *testing.B) {
	for _, encrypted := range []bool{false, true} {
		for _, length := range []int{1 << 10, 64 << 10} {
			for _, inFlight := range []int{1, 64} {
				b.Run(fmt.Sprintf("tls=%v/bytes=%d/inflight=%d", encrypted, length, inFlight), func(b *testing.B) {
					var change func(*Options)
					if encrypted {
						change = secure(b)
					}
					benchmarkBatches(b, change, length, int64(inFlight))
				})
			}
		}
	}
}

func benchmarkBatches(b *testing.B, change func(*Options), length int, inFlight int64) {
	b.Helper()
	heard := &counter{recorder: newRecorder(), came: make(chan struct{}, 1)}
	from := start(b, 1, change)
	to := start(b, 2, func(o *Options) {
		if change != nil {
			change(o)
		}
		o.Handler = heard
	})
	introduce(from, to)
	from.waitSending(b)
	batch := make([]byte, length) // only read from here on
	b.SetBytes(int64(length))
	b.ReportAllocs()
	b.ResetTimer()
	for sent := int64(0); sent < int64(b.N); {
		if sent-heard.batches.Load() < inFlight {
			from.Send(2, batch)
			sent++
			continue
		}
		<-heard.came
	}
	for heard.batches.Load() < int64(b.N) {
		<-heard.came
	}
}

// counter counts batches, and leaves the rest to the recorder.
type counter struct {
	*recorder
	batches atomic.Int64
	came    chan struct{}
}

func (c *counter) Receive(persistence.NodeID, []byte) {
	c.batches.Add(1)
	notify(c.came)
}

// BenchmarkFetch is 64 MiB in frames of 1 MiB, without a rate limit.
func BenchmarkFetch(b *testing.B) {
	for _, encrypted := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%v", encrypted), func(b *testing.B) {
			var change func(*Options)
			if encrypted {
				change = secure(b)
			}
			frame := make([]byte, 1<<20)
			from, _ := pair(b, serving(func(_ context.Context, _ persistence.NodeID, _ []byte, send func([]byte) error) error {
				for range 64 {
					if err := send(frame); err != nil {
						return err
					}
				}
				return nil
			}, func(o *Options) {
				o.CopyBytesPerSecond = -1
				if change != nil {
					change(o)
				}
			}))
			b.SetBytes(64 << 20)
			b.ReportAllocs()
			for b.Loop() {
				if err := from.Fetch(b.Context(), 2, nil, func([]byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
