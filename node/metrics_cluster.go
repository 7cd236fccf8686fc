package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerry-dev/skerry/cluster"
	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/routing"
)

// clusterMetrics are read from the cluster and the router when somebody asks.
func clusterMetrics(n *Node) []prometheus.Collector {
	number := func(kind prometheus.ValueType, name, help string, read func() int64) prometheus.Collector {
		value := func() float64 { return float64(read()) }
		if kind == prometheus.CounterValue {
			return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
		}
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	ofCluster := func(read func(cluster.Stats) int64) func() int64 {
		return func() int64 { return read(n.cluster.Stats()) }
	}
	ofRouter := func(read func(routing.Stats) int64) func() int64 {
		return func() int64 { return read(n.router.Stats()) }
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	all := []prometheus.Collector{
		number(gauge, "skerry_cluster_moving_partitions", "Partitions that this node owns and that have a step towards the plan before them.",
			ofCluster(func(s cluster.Stats) int64 { return int64(s.Moving) })),
		number(counter, "skerry_cluster_claims_total", "Ownerships that began on this node.",
			ofCluster(func(s cluster.Stats) int64 { return s.Claims })),
		number(counter, "skerry_cluster_handovers_total", "Partitions that this node handed over.",
			ofCluster(func(s cluster.Stats) int64 { return s.HandedOver })),
		number(counter, "skerry_cluster_failed_handovers_total", "Handovers that did not come about: this node went on.",
			ofCluster(func(s cluster.Stats) int64 { return s.Kept })),
		number(gauge, "skerry_routing_waiting_calls", "Calls that wait for an owner or for another node's answer.",
			ofRouter(func(s routing.Stats) int64 { return s.Waiting })),
		number(gauge, "skerry_routing_serving_calls", "Calls of other nodes that are not answered yet.",
			ofRouter(func(s routing.Stats) int64 { return s.Serving })),
		number(gauge, "skerry_routing_serving_asks", "Questions of other nodes that are not answered yet.",
			ofRouter(func(s routing.Stats) int64 { return s.Asks })),
		number(counter, "skerry_routing_passed_calls_total", "Calls and questions that were passed on to another node.",
			n.router.Passed),
	}
	for _, state := range []members.State{members.Joining, members.Active, members.Draining} {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skerry_cluster_members", Help: "Nodes that this one sees, itself included, by state.",
			ConstLabels: prometheus.Labels{"state": state.String()},
		}, func() float64 { return float64(n.cluster.Stats().Members[state]) }))
	}
	return all
}
