package budget

import "time"

// roundTo is what the bytes of each request are rounded up to.
const roundTo = 1 << 10

// Window counts the bytes of one key in the last minute. Its size is bounded: what happens within the same second is one
// entry, so it forgets up to a second late. The zero value is empty.
type Window struct {
	entries []windowEntry // in order; at most 61
	bytes   int64
}

type windowEntry struct {
	at    time.Duration // the newest that it holds
	begun time.Duration
	bytes int64
}

// Add counts a request of so many bytes.
func (w *Window) Add(now time.Duration, bytes int64) {
	w.forget(now)
	bytes = rounded(bytes)
	w.bytes += bytes
	if last := len(w.entries) - 1; last >= 0 && now < w.entries[last].begun+time.Second {
		w.entries[last].at = max(w.entries[last].at, now)
		w.entries[last].bytes += bytes
		return
	}
	w.entries = append(w.entries, windowEntry{now, now, bytes})
}

// Wait is how long it takes until a request of so many bytes stays within the limit; one that is larger than the limit itself
// goes when nothing else was in the minute before it. A limit of 0 is none.
func (w *Window) Wait(now time.Duration, limit, bytes int64) time.Duration {
	w.forget(now)
	if limit <= 0 {
		return 0
	}
	bytes = rounded(bytes)
	left := w.bytes
	for _, e := range w.entries {
		if left+bytes <= limit {
			break
		}
		left -= e.bytes
		if left+bytes <= limit || left == 0 {
			return e.at + Minute - now
		}
	}
	return 0
}

// rounded is what a request counts: 1 KiB at least, 1 TiB at the most.
func rounded(bytes int64) int64 {
	return (min(max(bytes, 1), 1<<40) + roundTo - 1) / roundTo * roundTo
}

// Empty reports whether the last minute had nothing: the window may be forgotten.
func (w *Window) Empty(now time.Duration) bool {
	w.forget(now)
	return len(w.entries) == 0
}

func (w *Window) forget(now time.Duration) {
	gone := 0
	for gone < len(w.entries) && w.entries[gone].at+Minute <= now {
		w.bytes -= w.entries[gone].bytes
		gone++
	}
	w.entries = append(w.entries[:0], w.entries[gone:]...)
}
