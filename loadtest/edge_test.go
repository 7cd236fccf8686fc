// Goal: the edge of a budget is where its profile says, in numbers, to the step.
// Method: budget-edge itself: a whole node on a stepped clock.
package loadtest_test

import (
	"testing"

	"github.com/skerry-dev/skerry/loadtest"
)

func TestBudgetEdge(t *testing.T) {
	s, err := loadtest.Find("budget-edge")
	if err != nil {
		t.Fatal(err)
	}
	r, err := loadtest.Run(t.Context(), s, loadtest.Options{Embedded: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range r.Checks {
		if !check.OK {
			t.Errorf("%s: %s; found: %s", check.Name, check.Bound, check.Found)
		}
	}
	if len(r.Checks) != 4 || len(r.Samples) != 31 || r.Samples[0].QueueGet != 30 || r.Samples[30].QueueGet != 0 {
		t.Errorf("%d checks, samples %+v", len(r.Checks), r.Samples)
	}
}
