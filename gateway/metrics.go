package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerry-dev/skerry/codec"
)

// metrics are the door's own. Labels are bounded: the calls, and the codes.
type metrics struct {
	requests  *prometheus.CounterVec // by call and code
	succeeded [callCount]prometheus.Counter
	took      [callCount]prometheus.Observer
	perSend   prometheus.Histogram
	streams   prometheus.Gauge
}

// codeOK is the label of a request that succeeded.
const codeOK = "OK"

func newMetrics(registry *prometheus.Registry, inFlight func() float64) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_gateway_requests_total", Help: "Requests answered, by call and code.",
		}, []string{"call", "code"}),
		perSend: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "skerry_gateway_stream_responses_per_message", Help: "How many responses one message of a stream carried.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7),
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "skerry_gateway_streams", Help: "Open streams."}),
	}
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "skerry_gateway_request_duration_seconds", Help: "From a request's arrival to its answer.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
	}, []string{"call"})
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "skerry_gateway_requests_in_flight", Help: "Requests not answered yet, or whose answer waits to be sent.",
	}, inFlight)
	for _, c := range []prometheus.Collector{m.requests, took, m.perSend, m.streams, waiting} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	for which := range calls {
		m.succeeded[which] = m.requests.WithLabelValues(calls[which].name, codeOK)
		m.took[which] = took.WithLabelValues(calls[which].name)
	}
	return m, nil
}

// answered counts one answer; code is "" for success.
func (m *metrics) answered(which call, code codec.Code, took time.Duration) {
	m.took[which].Observe(took.Seconds())
	if code == "" {
		m.succeeded[which].Inc()
		return
	}
	m.requests.WithLabelValues(calls[which].name, string(meaningOf(code).code)).Inc()
}
