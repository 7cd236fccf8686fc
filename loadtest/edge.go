package loadtest

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/loadtest/report"
)

// runBudgetEdge needs a clock that can be stepped.
func runBudgetEdge(context.Context, *Scenario, *Options) (*report.Report, error) {
	return nil, errors.New("budget-edge: not yet")
}
