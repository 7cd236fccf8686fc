package loadtest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/loadtest/report"
)

// sampler takes a sample of everything at equal intervals.
type sampler struct {
	e        *engine
	charges  *charges
	interval time.Duration

	samples []report.Sample
	before  []nodeCounters
}

// nodeCounters are a node's, which only grow during one of its lives.
type nodeCounters struct {
	life                  int
	loads, saves, refused float64
}

// The interval of samples: enough for a plot, few enough for a page.
const (
	leastInterval = 250 * time.Millisecond
	mostInterval  = 10 * time.Second
	samplesOfRun  = 240
)

func intervalOf(run time.Duration) time.Duration {
	return min(max((run/samplesOfRun).Round(10*time.Millisecond), leastInterval), mostInterval)
}

// run takes samples until ctx ends.
func (s *sampler) run(ctx context.Context) {
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	last := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := s.e.sinceBegan()
		sample := report.Sample{At: now.Seconds()}
		s.e.rec.sample(&sample, max((now-last).Seconds(), 0.001))
		last = now
		for _, server := range s.e.servers {
			sample.Players += server.players()
		}
		s.ask(ctx, &sample)
		s.charges.gather(ctx, time.Unix(0, s.e.began.Load()))
		s.samples = append(s.samples, sample)
		if s.e.opts.Watch != nil {
			s.e.opts.Watch.Add(sample)
		}
	}
}

func (s *gameServer) players() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// The metrics that a sample shows.
const (
	metricLoads    = "skerry_actors_activations_total"
	metricSaves    = `skerry_actors_saves_total{outcome="saved"}`
	metricDirty    = "skerry_actors_dirty"
	metricDirtyAge = "skerry_actors_dirty_oldest_seconds"
	metricQueueGet = `skerry_budget_queued{class="get"}`
	metricRefused  = "skerry_budget_refused_total"
	metricQueueSet = `skerry_budget_queued{class="set"}`
)

// ask adds what the nodes say. One that does not answer says nothing: it was killed.
func (s *sampler) ask(ctx context.Context, sample *report.Sample) {
	addrs, lives := s.e.target.admins()
	for len(s.before) < len(addrs) {
		s.before = append(s.before, nodeCounters{})
	}
	for i, addr := range addrs {
		all, err := metrics(ctx, addr)
		if err != nil {
			continue
		}
		now := nodeCounters{lives[i], all.sum(metricLoads), all.sum(metricSaves), all.sum(metricRefused)}
		before := s.before[i]
		if before.life != now.life {
			before = nodeCounters{}
		}
		s.before[i] = now
		sample.Loads += max(now.loads-before.loads, 0) / s.interval.Seconds()
		sample.Saves += max(now.saves-before.saves, 0) / s.interval.Seconds()
		sample.Refused += int64(max(now.refused-before.refused, 0))
		sample.Dirty += int64(all.sum(metricDirty))
		sample.DirtyAge = max(sample.DirtyAge, all.sum(metricDirtyAge))
		s.e.dirtySeen = s.e.dirtySeen || all.has(metricDirtyAge)
		sample.QueueGet += int(all.sum(metricQueueGet))
		sample.QueueSet += int(all.sum(metricQueueSet))
	}
}

// series of a node, by name and labels as it writes them.
type seriesOf map[string]float64

// sum adds up all series of a name, or returns the one whose labels are given too.
func (m seriesOf) sum(name string) float64 {
	sum := m[name]
	if strings.Contains(name, "{") {
		return sum
	}
	for series, value := range m {
		if strings.HasPrefix(series, name+"{") {
			sum += value
		}
	}
	return sum
}

// has reports whether there is any series of the name.
func (m seriesOf) has(name string) bool {
	for series := range m {
		if series == name || strings.HasPrefix(series, name+"{") {
			return true
		}
	}
	return false
}

// metrics reads a node's metrics of this tool's interest.
func metrics(ctx context.Context, addr string) (seriesOf, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", addr, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", addr, err)
	}
	defer response.Body.Close()
	all := seriesOf{}
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		line := scanner.Text()
		if !strings.HasPrefix(line, "skerry_actors_") && !strings.HasPrefix(line, "skerry_budget_") {
			continue
		}
		series, text, _ := strings.Cut(line, " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			all[series] = value
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", addr, err)
	}
	return all, nil
}
