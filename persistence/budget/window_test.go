package budget

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type sent struct {
	at    time.Duration
	bytes int64
}

// exactWait is how long until a list of requests leaves room.
func exactWait(list []sent, now time.Duration, limit, bytes int64) time.Duration {
	wait := func(at time.Duration) (in int64) {
		for _, s := range list {
			if s.at+Minute > at {
				in += s.bytes
			}
		}
		return in
	}
	bytes = (max(bytes, 1) + 1023) / 1024 * 1024
	fits := func(at time.Duration) bool { in := wait(at); return in+bytes <= limit || in == 0 }
	if limit == 0 || fits(now) {
		return 0
	}
	for _, s := range list {
		if s.at+Minute > now && fits(s.at+Minute) {
			return s.at + Minute - now
		}
	}
	return -1
}

// A window against the list of all that it counted: it may tell to wait a second longer, never shorter, and stays small.
func TestWindowIsTheListWithinASecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Window
		var list []sent
		now := time.Duration(0)
		limit := rapid.Int64Range(0, 40).Draw(t, "limit") << 10
		for range rapid.IntRange(1, 300).Draw(t, "requests") {
			now += rapid.OneOf(rapid.Just(time.Duration(0)), rapid.Custom(func(t *rapid.T) time.Duration {
				return time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "pause"))
			}), rapid.Just(30*time.Second)).Draw(t, "step")
			bytes := rapid.Int64Range(0, 10<<10).Draw(t, "bytes")
			exact, got := exactWait(list, now, limit, bytes), w.Wait(now, limit, bytes)
			if got < exact || got > exact+time.Second {
				t.Fatalf("at %v %d bytes wait %v, want %v or a second longer", now, bytes, got, exact)
			}
			if got > 0 && rapid.Bool().Draw(t, "waits") {
				now += got
				if again := w.Wait(now, limit, bytes); again != 0 {
					t.Fatalf("after the wait: %v", again)
				}
			}
			w.Add(now, bytes)
			list = append(list, sent{now, (max(bytes, 1) + 1023) / 1024 * 1024})
			if len(w.entries) > 61 || w.Empty(now) {
				t.Fatalf("%d entries", len(w.entries))
			}
		}
		if !w.Empty(now+Minute+time.Second) || w.bytes != 0 {
			t.Fatalf("a minute later %d bytes", w.bytes)
		}
	})
}

// At the finest steps a window has its most entries, and never more.
func TestWindowIsBounded(t *testing.T) {
	var w Window
	most := 0
	for i := range 100_000 {
		w.Add(time.Duration(i)*7*time.Millisecond, 1)
		most = max(most, len(w.entries))
	}
	if most != 61 || cap(w.entries) > 128 {
		t.Errorf("%d entries, room for %d", most, cap(w.entries))
	}
}

func TestWindowRoundsUpAndLetsTheLargeGoAlone(t *testing.T) {
	var w Window
	w.Add(0, 1)
	for _, c := range []struct {
		limit, bytes int64
		want         time.Duration
	}{
		{2048, 1024, 0},
		{2048, 1025, Minute},
		{1024, 1, Minute},
		{1024, 5000, Minute},
		{0, 1 << 40, 0},
		{-1, 1, 0},
		{math.MaxInt64, math.MaxInt64, 0},
		{4096, math.MaxInt64, Minute},
		{1024, math.MinInt64, Minute},
	} {
		if got := w.Wait(0, c.limit, c.bytes); got != c.want {
			t.Errorf("%d more bytes of %d wait %v, want %v", c.bytes, c.limit, got, c.want)
		}
	}
	if got := w.Wait(Minute, 1024, 5000); got != 0 {
		t.Errorf("the large one, alone, waits %v", got)
	}
	w.Add(30*time.Second, math.MaxInt64)
	w.Add(29*time.Second, 1) // a clock that goes back shortens nothing
	if got := w.Wait(30*time.Second, 1<<20, 1); got != Minute || !slices.Equal(w.entries, []windowEntry{{30 * time.Second, 30 * time.Second, 1<<40 + 1024}}) {
		t.Errorf("after going back: %v, %v", got, w.entries)
	}
}
