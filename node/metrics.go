package node

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// metrics are those of the rooms below the front door; the rooms tell of them through their Events.
type metrics struct {
	registry *prometheus.Registry

	logBytes, logRecords, logTruncated prometheus.Counter
	logSync, logFlush                  prometheus.Histogram

	activated, loads     *prometheus.CounterVec
	passivated, saves    *prometheus.CounterVec
	activation, saveTook prometheus.Histogram
	savedBytes           prometheus.Counter
}

func newMetrics(registry *prometheus.Registry) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(.00005, 2, 18)})
	}
	return &metrics{
		registry:     registry,
		logBytes:     counter("skerry_replication_written_bytes_total", "Bytes written to the log."),
		logRecords:   counter("skerry_replication_records_total", "Records written to the log, one per loop with something to write."),
		logTruncated: counter("skerry_replication_truncated_segments_total", "Segments of the log that were dropped."),
		logSync:      seconds("skerry_replication_fsync_duration_seconds", "Duration of the log's fsyncs."),
		logFlush:     seconds("skerry_replication_store_flush_duration_seconds", "Duration of the store's flushes that shorten the log."),
		activated:    counters("skerry_actors_activations_total", "Entities that became live, by kind and whether they were new.", "kind", "new"),
		loads:        counters("skerry_actors_load_failures_total", "Failed tries to load an entity, by kind and whether the callers were told.", "kind", "final"),
		passivated:   counters("skerry_actors_passivations_total", "Activations that ended, by reason.", "reason"),
		saves:        counters("skerry_actors_saves_total", "Snapshots of entities, by outcome: saved, retried or failed.", "outcome"),
		activation:   seconds("skerry_actors_activation_duration_seconds", "From the first call to a live entity."),
		saveTook:     seconds("skerry_actors_save_duration_seconds", "From a snapshot's begin to its acceptance."),
		savedBytes:   counter("skerry_actors_saved_bytes_total", "Bytes of accepted snapshots."),
	}
}

func (m *metrics) logEvents() replication.Events {
	return replication.Events{
		Written:   func(bytes int) { m.logBytes.Add(float64(bytes)); m.logRecords.Inc() },
		Synced:    func(took time.Duration) { m.logSync.Observe(took.Seconds()) },
		Flushed:   func(took time.Duration) { m.logFlush.Observe(took.Seconds()) },
		Truncated: func(segments int) { m.logTruncated.Add(float64(segments)) },
	}
}

func (m *metrics) actorEvents(charged *charges) actors.Events {
	word := func(yes bool) string {
		if yes {
			return "true"
		}
		return "false"
	}
	return actors.Events{
		Charged: charged.add,
		Activated: func(key persistence.Key, took time.Duration, isNew bool) {
			m.activated.WithLabelValues(key.Kind.String(), word(isNew)).Inc()
			m.activation.Observe(took.Seconds())
		},
		Passivated: func(_ persistence.Key, reason string) { m.passivated.WithLabelValues(reason).Inc() },
		LoadFailed: func(key persistence.Key, _ error, final bool) {
			m.loads.WithLabelValues(key.Kind.String(), word(final)).Inc()
		},
		Saved: func(_ persistence.Key, bytes int, took time.Duration) {
			m.saves.WithLabelValues("saved").Inc()
			m.savedBytes.Add(float64(bytes))
			m.saveTook.Observe(took.Seconds())
		},
		SaveFailed: func(_ persistence.Key, _ error, final bool) {
			if final {
				m.saves.WithLabelValues("failed").Inc()
			} else {
				m.saves.WithLabelValues("retried").Inc()
			}
		},
	}
}

// watch registers everything, with what is read from the node when somebody asks.
func (m *metrics) watch(n *Node) error {
	all := []prometheus.Collector{
		m.logBytes, m.logRecords, m.logTruncated, m.logSync, m.logFlush, m.activated, m.loads, m.passivated, m.saves,
		m.activation, m.saveTook, m.savedBytes, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	gauge := func(name, help string, read func() float64) {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	actorStat := func(read func(actors.Stats) float64) func() float64 {
		return func() float64 { return read(n.actors.Stats()) }
	}
	gauge("skerry_actors_active", "Entities live in memory.", actorStat(func(s actors.Stats) float64 { return float64(s.Activations) }))
	gauge("skerry_actors_dirty", "Entities with events that no snapshot covers.", actorStat(func(s actors.Stats) float64 { return float64(s.Dirty) }))
	gauge("skerry_actors_waiting_calls", "Calls without an answer.", actorStat(func(s actors.Stats) float64 { return float64(s.Calls) }))
	gauge("skerry_actors_held_bytes", "Encoded size of all live entities.", actorStat(func(s actors.Stats) float64 { return float64(s.HeldBytes) }))
	gauge("skerry_actors_dirty_oldest_seconds", "Age of the oldest change without a snapshot, of those that are not being saved.", actorStat(func(s actors.Stats) float64 {
		return s.DirtyOldest.Seconds()
	}))
	all = append(all, budgetCollector{n.actors})
	gauge("skerry_actors_critical", "1 while loads or saves keep failing.", actorStat(func(s actors.Stats) float64 {
		if s.Critical {
			return 1
		}
		return 0
	}))
	all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "skerry_actors_turns_total", Help: "Turns that were run.",
	}, actorStat(func(s actors.Stats) float64 { return float64(s.Turns) })))
	gauge("skerry_replication_waiting_changes", "Changes accepted and not done.", func() float64 { return float64(n.journal.Usage().WaitingChanges) })
	gauge("skerry_replication_log_bytes", "Length of the log's live segments.", func() float64 { return float64(n.journal.Usage().LogBytes) })
	gauge("skerry_replication_owned_partitions", "Partitions that this node owns.", func() float64 {
		owned := 0
		for _, s := range n.journal.Status() {
			if s.Owner {
				owned++
			}
		}
		return float64(owned)
	})
	all = append(all, storeCollector{n.store})
	all = append(all, clusterMetrics(n)...)
	for _, c := range all {
		if err := m.registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// storeCollector reads the store's numbers once for all of them.
type storeCollector struct{ store *pebblestore.Store }

// storeMetrics names what the store counts.
func storeMetrics() []struct {
	name, help string
	kind       prometheus.ValueType
	read       func(*pebblestore.Metrics) float64
} {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return []struct {
		name, help string
		kind       prometheus.ValueType
		read       func(*pebblestore.Metrics) float64
	}{
		{"skerry_pebblestore_flushed_bytes_total", "Bytes that went from memory to tables.", counter, func(m *pebblestore.Metrics) float64 { return float64(m.FlushedBytes) }},
		{"skerry_pebblestore_compacted_bytes_total", "Bytes written when tables were merged.", counter, func(m *pebblestore.Metrics) float64 { return float64(m.CompactedBytes) }},
		{"skerry_pebblestore_table_bytes", "Size of the tables.", gauge, func(m *pebblestore.Metrics) float64 { return float64(m.TableBytes) }},
		{"skerry_pebblestore_memtable_bytes", "What is not yet in any table.", gauge, func(m *pebblestore.Metrics) float64 { return float64(m.MemTableBytes) }},
		{"skerry_pebblestore_read_amplification", "How many places a read may have to look into.", gauge, func(m *pebblestore.Metrics) float64 { return float64(m.ReadAmplification) }},
		{"skerry_pebblestore_cache_hits_total", "Blocks found in the cache.", counter, func(m *pebblestore.Metrics) float64 { return float64(m.CacheHits) }},
		{"skerry_pebblestore_cache_misses_total", "Blocks read from disk.", counter, func(m *pebblestore.Metrics) float64 { return float64(m.CacheMisses) }},
		{"skerry_pebblestore_quarantined_total", "Values put into quarantine since the start.", counter, func(m *pebblestore.Metrics) float64 { return float64(m.Quarantined) }},
		{"skerry_pebblestore_corrupt_blocks_total", "Blocks that could not be read since the start.", counter, func(m *pebblestore.Metrics) float64 { return float64(m.Corruptions) }},
	}
}

// Describe implements [prometheus.Collector].
func (c storeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range storeMetrics() {
		to <- prometheus.NewDesc(m.name, m.help, nil, nil)
	}
}

// Collect implements [prometheus.Collector]; a closed store has no numbers.
func (c storeCollector) Collect(to chan<- prometheus.Metric) {
	now, err := c.store.Metrics()
	if err != nil {
		return
	}
	for _, m := range storeMetrics() {
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.name, m.help, nil, nil), m.kind, m.read(&now))
	}
}
