package loadtest

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skerry-dev/skerry/loadtest/report"
)

// recorder counts what operations came to, and their latencies in microseconds. Its methods may be called from any goroutine.
type recorder struct {
	mu       sync.Mutex
	kinds    [actions]tally
	interval *hdrhistogram.Histogram // since the last sample
	done     int64                   // in the interval
	failed   int64
	lag      *hdrhistogram.Histogram

	rounds rounds // of the other servers, while the first makes noise and while it does not
	noisy  bool

	lastDurable time.Time
	gap         time.Duration // the longest between durable answers while watching
	watching    bool
}

// tally is one kind of operation.
type tally struct {
	histogram *hdrhistogram.Histogram
	count     int64
	refused   int64
	failed    map[string]int64
}

// verdict is what an operation came to.
type verdict struct {
	act     action
	server  int
	latency time.Duration
	// refused by the rules of the game; failed is the code of a failure, "" for none.
	refused bool
	failed  string
	durable bool
}

// codeExhausted is what an operation is answered that found no budget: counted beside the failures.
const codeExhausted = "BUDGET_EXHAUSTED"

// maxLatency bounds what the histograms can hold.
const maxLatency = 5 * time.Minute

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), 2)
}

func newRecorder() *recorder {
	r := &recorder{interval: newHistogram(), lag: newHistogram(), rounds: rounds{now: newHistogram()}}
	for i := range r.kinds {
		r.kinds[i] = tally{histogram: newHistogram(), failed: map[string]int64{}}
	}
	return r
}

func micros(d time.Duration) int64 { return min(max(d, time.Microsecond), maxLatency).Microseconds() }

func (r *recorder) add(v *verdict) {
	took := micros(v.latency)
	now := time.Time{}
	if v.durable && v.failed == "" {
		now = time.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	kind := &r.kinds[v.act]
	kind.count++
	r.done++
	if v.failed != "" {
		kind.failed[v.failed]++
		if v.failed != codeExhausted {
			r.failed++
		}
		return
	}
	if v.refused {
		kind.refused++
	}
	_ = kind.histogram.RecordValue(took) // within the bounds, by micros
	_ = r.interval.RecordValue(took)
	if v.server != 0 {
		_ = r.rounds.now.RecordValue(took)
	}
	if v.durable {
		if r.watching {
			r.gap = max(r.gap, now.Sub(r.lastDurable))
		}
		r.lastDurable = now
	}
}

// late counts how late this program was with an action.
func (r *recorder) late(by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.lag.RecordValue(micros(by))
}

// watch begins to look for gaps between durable answers.
func (r *recorder) watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watching = true
}

// unwatch ends it, and returns the longest gap so far.
func (r *recorder) unwatch(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watching {
		r.gap = max(r.gap, now.Sub(r.lastDurable))
	}
	r.watching = false
	return r.gap
}

func (r *recorder) makeNoise(noisy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rounds.end(r.noisy)
	r.noisy = noisy
}

// neighbours is the check of the rounds.
func (r *recorder) neighbours(percent float64) report.Check {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rounds.end(r.noisy)
	return r.rounds.check(percent)
}

// sample fills in what the recorder knows of the interval that ends now, and begins the next.
func (r *recorder) sample(s *report.Sample, seconds float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.interval
	s.Commands, s.Failed = float64(r.done)/seconds, float64(r.failed)/seconds
	s.P50, s.P90, s.P99, s.P999, s.Max = milliseconds(h, 50), milliseconds(h, 90), milliseconds(h, 99), milliseconds(h, 99.9), milliseconds(h, 100)
	h.Reset()
	r.done, r.failed = 0, 0
}

func milliseconds(h *hdrhistogram.Histogram, percentile float64) float64 {
	if h.TotalCount() == 0 {
		return 0
	}
	return float64(h.ValueAtPercentile(percentile)) / 1000
}

// operations are the kinds of which there were any.
func (r *recorder) operations() []report.Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []report.Operation
	for i, name := range actionNames() {
		kind := &r.kinds[i]
		if kind.count == 0 {
			continue
		}
		h := kind.histogram
		all = append(all, report.Operation{
			Name: name, Count: kind.count, Refused: kind.refused, Failed: kind.failed,
			P50: milliseconds(h, 50), P90: milliseconds(h, 90), P99: milliseconds(h, 99), P999: milliseconds(h, 99.9), Max: milliseconds(h, 100),
		})
	}
	return all
}

// whole is all kinds in one histogram, with how many failed, how many of those for want of budget, and all.
func (r *recorder) whole() (h *hdrhistogram.Histogram, count, failed, exhausted int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h = newHistogram()
	for i := range r.kinds {
		h.Merge(r.kinds[i].histogram)
		count += r.kinds[i].count
		for code, n := range r.kinds[i].failed {
			if code == codeExhausted {
				exhausted += n
			} else {
				failed += n
			}
		}
	}
	return h, count, failed, exhausted
}

// lagged is how late this program was.
func (r *recorder) lagged() *hdrhistogram.Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	return hdrhistogram.Import(r.lag.Export())
}
