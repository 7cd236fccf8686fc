package nodeprocess

import "testing"

// Goal: a small heap may gather the garbage that the setting allows, a large one as much as is live.
func TestCollectorPercent(t *testing.T) {
	for _, c := range []struct {
		garbage, live int64
		want          int
	}{
		{512 << 20, 128 << 20, 400},
		{512 << 20, 300 << 20, 170},
		{512 << 20, 2 << 30, 100},
		{512 << 20, 0, 800},
		{0, 64 << 20, 100},
	} {
		if got := collectorPercent(c.garbage, c.live); got != c.want {
			t.Errorf("%d MiB of garbage over %d MiB: %d, want %d", c.garbage>>20, c.live>>20, got, c.want)
		}
	}
}
