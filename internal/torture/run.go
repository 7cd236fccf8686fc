package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// run is the driver's side of a torture: writers for each partition, readers for each voter, and who breaks the voters.
type run struct {
	options options
	cluster *cluster
	tally   *tally
	breaker *breaker
	ledgers []*ledger
	writers []*worker
	readers []*reader
	lost    int64
	differ  int
}

const (
	readersEach = 2 // of a voter
	readPace    = 3 * time.Millisecond
)

func newRun(o options, c *cluster) *run {
	t := newTally(o.partitions)
	r := &run{options: o, cluster: c, tally: t, breaker: &breaker{cluster: c, tally: t, rng: rand.New(rand.NewPCG(o.seed, 0))}}
	byPartition := make([][]*ledger, o.partitions)
	for entity, missing := uint64(0), o.partitions; missing > 0; entity++ {
		p := partitionOf(entity, o.partitions)
		if want := o.writers * o.entities; len(byPartition[p]) < want {
			byPartition[p] = append(byPartition[p], &ledger{entity: entity})
			if len(byPartition[p]) == want {
				missing--
			}
		}
	}
	for p, ledgers := range byPartition {
		r.ledgers = append(r.ledgers, ledgers...)
		for own := range slices.Chunk(ledgers, o.entities) {
			r.writers = append(r.writers, &worker{
				cluster: c, tally: t, partition: persistence.Partition(p), entities: own, pace: o.pace, //nolint:gosec // at most 4096
				rng: rand.New(rand.NewPCG(o.seed, uint64(len(r.writers))+1)),
			})
		}
	}
	for n := range nodes * readersEach {
		r.readers = append(r.readers, &reader{
			cluster: c, tally: t, node: n % nodes, ledgers: r.ledgers, pace: readPace, rng: rand.New(rand.NewPCG(o.seed, uint64(1_000_000+n))),
		})
	}
	return r
}

// underLoad writes, reads and breaks until the time is over, and everything is healed again. The error says what was not.
func (r *run) underLoad(ctx context.Context, progress io.Writer) error {
	loading, unload := context.WithCancel(context.WithoutCancel(ctx))
	var load, telling sync.WaitGroup
	r.tally.beginGaps(time.Now())
	r.breaker.begin = time.Now()
	for _, w := range r.writers {
		load.Go(func() { w.run(loading) })
	}
	for _, w := range r.readers {
		load.Go(func() { w.run(loading) })
	}
	telling.Go(func() { r.tell(loading, progress) })
	breaking, cancel := context.WithTimeout(ctx, r.options.time)
	defer cancel()
	err := r.breaker.run(breaking)
	unload()
	load.Wait()
	telling.Wait()
	return err
}

// tell prints how it goes, every five seconds.
func (r *run) tell(ctx context.Context, progress io.Writer) {
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			fmt.Fprintf(progress, "%4.0f s: %d acknowledged, %d unknown, %d reads, %d kills, %d stops, %d wrong\n", now.Sub(r.breaker.begin).Seconds(),
				r.tally.acks.Load(), r.tally.unknown.Load(), r.tally.reads.Load(), r.breaker.kills.Load(), r.breaker.stops.Load(), r.tally.total())
		case <-ctx.Done():
			return
		}
	}
}

// readBack reads every entity behind a barrier, and then from every voter's own store: nothing settled may be missing, and
// all replicas must show the same.
func (r *run) readBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	work := make(chan *ledger)
	var reading sync.WaitGroup
	var sum sync.Mutex
	for range 16 {
		reading.Go(func() {
			for l := range work {
				lost, same := r.readBackOne(ctx, l)
				sum.Lock()
				r.lost += lost
				if !same {
					r.differ++
				}
				sum.Unlock()
			}
		})
	}
	for _, l := range r.ledgers {
		work <- l
	}
	close(work)
	reading.Wait()
}

// staleFor is how long a read that misses something is tried again before what it misses is called lost.
const staleFor = 3 * time.Second

func (r *run) readBackOne(ctx context.Context, l *ledger) (lost int64, same bool) {
	p, begin := partitionOf(l.entity, r.options.partitions), time.Now()
	var f found
	for read := false; !read; {
		if ctx.Err() != nil {
			r.tally.violation("stuck", fmt.Errorf("entity %d cannot be read back", l.entity))
			return 0, true
		}
		var answered bool
		var floor persistence.Seq
		f, floor, answered = ask(ctx, r.cluster, l, opRead, r.cluster.pick(p), r.tally)
		lost = max(0, int64(floor)-int64(f.last)) //nolint:gosec // small
		if read = answered && (lost == 0 || time.Since(begin) > staleFor); !read {
			pause(ctx, retryPause)
		}
	}
	want := f.encode(nil)
	for node := range nodes {
		for same = false; !same && ctx.Err() == nil && time.Since(begin) < stuckAfter; {
			g, _, answered := ask(ctx, r.cluster, l, opLocal, node, r.tally)
			if same = answered && slices.Equal(g.encode(nil), want); !same {
				pause(ctx, 10*time.Millisecond) // it may not have applied the last ones yet
			}
		}
		if !same {
			r.tally.violation("differ", fmt.Errorf("entity %d: node %d does not show what the owner shows", l.entity, node+1))
			return lost, false
		}
	}
	return lost, true
}

// report is what is printed at the end.
type report struct {
	Seed         uint64           `json:"seed"`
	Seconds      float64          `json:"seconds"`
	Fault        string           `json:"fault,omitempty"`
	Acknowledged int64            `json:"acknowledged"`
	Unknown      int64            `json:"unknown"`         // no answer, or one that says so
	Applied      int64            `json:"unknownApplied"`  // of those, shown by a read
	Reads        int64            `json:"reads"`           // answered behind a barrier
	Lost         int64            `json:"lost"`            // settled entries that were not read back
	Doubled      int              `json:"doubled"`         // entries replaced, or there and never sent
	Stale        int              `json:"stale"`           // reads that missed what was settled before them
	Differ       int              `json:"replicasDiffer"`  // entities that are not the same on all voters
	Other        map[string]int   `json:"other,omitempty"` // other violations
	Kills        int64            `json:"kills"`
	Stops        int64            `json:"stops"`
	Gaps         map[kind]gapStat `json:"gaps"`
	Faults       []fault          `json:"faults"`
	Reasons      []string         `json:"reasons,omitempty"`
}

// gapStat is the longest time without a durable answer, of all faults of a kind: of the partition that waited longest in each, and of
// each partition that the voter owned.
type gapStat struct {
	Faults      int           `json:"faults"`
	Median      time.Duration `json:"medianNs"`
	Worst       time.Duration `json:"worstNs"`
	OwnedMedian time.Duration `json:"ownedMedianNs"`
	OwnedP99    time.Duration `json:"ownedP99Ns"`
}

func (r *run) report() report {
	t, b := r.tally, r.breaker
	out := report{
		Seed: r.options.seed, Seconds: time.Since(b.begin).Seconds(), Fault: r.options.fault,
		Acknowledged: t.acks.Load(), Unknown: t.unknown.Load(), Applied: t.resolved.Load(), Reads: t.reads.Load(),
		Lost: r.lost, Doubled: t.count("doubled"), Stale: t.count("stale"), Differ: r.differ, Other: t.others("doubled", "stale", "differ"),
		Kills: b.kills.Load(), Stops: b.stops.Load(), Gaps: map[kind]gapStat{}, Faults: b.faults, Reasons: t.reasons(),
	}
	for _, k := range []kind{killOne, stopOne, killAll, stopTwo} {
		var worst, owned []time.Duration
		for _, f := range b.faults {
			if f.Kind == k {
				worst = append(worst, f.Gap)
				for _, p := range f.owned {
					owned = append(owned, f.gapsOf[p])
				}
			}
		}
		if len(worst) > 0 {
			out.Gaps[k] = gapStat{
				Faults: len(worst), Median: quantile(worst, 0.5), Worst: slices.Max(worst),
				OwnedMedian: quantile(owned, 0.5), OwnedP99: quantile(owned, 0.99),
			}
		}
	}
	return out
}

func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// held reports whether nothing happened that must not.
func (r *report) held() bool {
	return r.Lost == 0 && r.Doubled == 0 && r.Stale == 0 && r.Differ == 0 && len(r.Other) == 0
}

func (r *report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	fmt.Fprintf(w, "%d acknowledged, %d unknown (%d of them applied), %d reads: %d lost, %d doubled, %d stale reads, %d entities differ between replicas\n",
		r.Acknowledged, r.Unknown, r.Applied, r.Reads, r.Lost, r.Doubled, r.Stale, r.Differ)
	if len(r.Other) > 0 {
		fmt.Fprintf(w, "also wrong: %v\n", r.Other)
	}
	fmt.Fprintf(w, "%d kills, %d stops; longest time without a durable answer:\n", r.Kills, r.Stops)
	fmt.Fprintf(w, "%-12s %6s %10s %10s   %s\n", "fault", "count", "median", "worst", "partitions it owned: median, p99")
	for _, k := range []kind{killOne, stopOne, killAll, stopTwo} {
		if g, ok := r.Gaps[k]; ok {
			fmt.Fprintf(w, "%-12s %6d %10v %10v   %v, %v\n", k, g.Faults, rounded(g.Median), rounded(g.Worst), rounded(g.OwnedMedian), rounded(g.OwnedP99))
		}
	}
	return nil
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
