package loadtest

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skerry-dev/skerry/loadtest/report"
)

// rounds are the latencies of the other servers' operations, round by round, quiet and noisy ones in turn.
type rounds struct {
	quiet, noisy []float64 // 99th percentiles in milliseconds
	now          *hdrhistogram.Histogram
}

// end finishes a round.
func (r *rounds) end(noisy bool) {
	if r.now.TotalCount() == 0 {
		return
	}
	p99 := milliseconds(r.now, 99)
	if noisy {
		r.noisy = append(r.noisy, p99)
	} else {
		r.quiet = append(r.quiet, p99)
	}
	r.now.Reset()
}

// check holds the noisy rounds against the quiet ones: their median must stay within the spread of the quiet rounds, or at
// most so many percent above the quiet ones' median.
func (r *rounds) check(percent float64) report.Check {
	check := report.Check{
		Name:  "neighbours",
		Bound: fmt.Sprintf("the others' p99 in noisy rounds within the spread of quiet ones, or at most %v %% above their median", percent),
	}
	if len(r.quiet) == 0 || len(r.noisy) == 0 {
		check.Found = "not measured: there was no noise, or no quiet"
		return check
	}
	calm := r.quiet
	if len(calm) > 1 {
		calm = calm[1:] // in the first, everybody joins
	}
	quiet, noisy := median(calm), median(r.noisy)
	most := 0.0
	for _, q := range calm {
		most = max(most, q)
	}
	check.OK = noisy <= max(most, quiet*(1+percent/100))
	check.Found = fmt.Sprintf("p99 %.3g ms in the noisy median, %.3g ms in the quiet one (%+.0f %%)", noisy, quiet, 100*(noisy/quiet-1))
	check.Detail = fmt.Sprintf("quiet %.3g (the first is not counted), noisy %.3g ms", r.quiet, r.noisy)
	return check
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
