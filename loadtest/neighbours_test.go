// Goal: noise is judged against the quiet rounds' own spread, without the one in which everybody joins.
// Method: a table of rounds.
package loadtest

import "testing"

func TestNeighbours(t *testing.T) {
	for name, c := range map[string]struct {
		quiet, noisy []float64
		ok           bool
	}{
		"as quiet":             {[]float64{90, 10, 11, 10}, []float64{10, 11, 10}, true},
		"a quarter more":       {[]float64{90, 10, 10, 10}, []float64{12, 12, 12}, true},
		"more":                 {[]float64{90, 10, 10, 10}, []float64{13, 13, 13}, false},
		"within the spread":    {[]float64{90, 10, 20, 10}, []float64{15, 15, 15}, true},
		"one wild noisy round": {[]float64{90, 10, 10, 10}, []float64{10, 80, 10}, true},
		"no noise":             {[]float64{90, 10}, nil, false},
	} {
		r := rounds{quiet: c.quiet, noisy: c.noisy}
		if got := r.check(25); got.OK != c.ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
