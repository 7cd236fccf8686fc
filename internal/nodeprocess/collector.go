// Package nodeprocess is what a process does around a node that is its only purpose: cmd/skerry, and cmd/skerry-load where it starts
// itself as one.
package nodeprocess

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// lookAtHeapEvery is how often the collector is adjusted to what is live.
const lookAtHeapEvery = time.Second

// TuneCollector has the garbage collector wait until garbage bytes have gathered, or as many as are live when that is
// more, until ctx ends. Go's own default, as many as are live, collects a small heap several times a second under load:
// measured, that took a tenth to a quarter of a node's throughput. Somebody who sets GOGC is obeyed instead.
func TuneCollector(ctx context.Context, garbage int64) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	ticker := time.NewTicker(lookAtHeapEvery)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	present := 0
	for {
		metrics.Read(sample)
		// Setting the percentage stops the world for some microseconds: only for a change that matters.
		if want := collectorPercent(garbage, int64(sample[0].Value.Uint64())); want > present*5/4 || want < present*4/5 { //nolint:gosec // a size of memory
			debug.SetGCPercent(want)
			present = want
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// collectorPercent is the GOGC that lets garbage bytes gather over live ones, between 100 and 800.
func collectorPercent(garbage, live int64) int {
	return int(min(max(garbage*100/max(live, 1<<20), 100), 800))
}
