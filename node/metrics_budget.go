package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// budgetCollector reads what this node has granted of game servers' budgets.
type budgetCollector struct{ host *actors.Host }

func (budgetCollector) descs() (granted, refused, queued *prometheus.Desc) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"class"}, nil)
	}
	return desc("skerry_budget_granted_total", "Tokens of game servers' budgets that this node has granted, by class: get or set."),
		desc("skerry_budget_refused_total", "Requests that this node refused for want of tokens, by class."),
		desc("skerry_budget_queued", "Requests that wait for tokens in accounts of this node, by class.")
}

// Describe implements [prometheus.Collector].
func (c budgetCollector) Describe(to chan<- *prometheus.Desc) {
	granted, refused, queued := c.descs()
	to <- granted
	to <- refused
	to <- queued
}

// Collect implements [prometheus.Collector].
func (c budgetCollector) Collect(to chan<- prometheus.Metric) {
	granted, refused, queued := c.descs()
	for class, of := range c.host.Budgets() {
		name := budget.Class(class).String() //nolint:gosec // one of two
		to <- prometheus.MustNewConstMetric(granted, prometheus.CounterValue, float64(of.Granted), name)
		to <- prometheus.MustNewConstMetric(refused, prometheus.CounterValue, float64(of.Refused), name)
		to <- prometheus.MustNewConstMetric(queued, prometheus.GaugeValue, float64(of.Queued), name)
	}
}
