package peers

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is what a run found. It is committed as JSON: fields are only added.
type Report struct {
	When          time.Time `json:"when"`
	Go            string    `json:"go"`
	Machine       string    `json:"machine"`
	Cores         int       `json:"cores"`
	Nodes         int       `json:"nodes"`
	Players       int       `json:"players"`
	Rounds        int       `json:"rounds"`
	WindowSeconds float64   `json:"windowSeconds"`
	// LoadBefore and LoadAfter are the machine's load averages of a minute, this run in the second; -1 where it cannot be read.
	LoadBefore float64   `json:"loadBefore"`
	LoadAfter  float64   `json:"loadAfter"`
	Fdatasync  Fdatasync `json:"fdatasync"`
	// Missing are systems that are not installed, Failed those that did not do what they were asked.
	Missing []Missing `json:"missing,omitempty"`
	Failed  []Missing `json:"failed,omitempty"`
	Tables  []Table   `json:"tables"`
	Disk    *Disk     `json:"disk,omitempty"`
	// Costs are the first lines of the node's profile.
	Costs []string `json:"costs,omitempty"`
}

// Fdatasync is the median time of one durable 4 KiB write, in milliseconds.
type Fdatasync struct {
	Overwriting float64 `json:"overwritingMs"`
	Appending   float64 `json:"appendingMs"`
}

// Missing is a system without figures, and why.
type Missing struct {
	System string `json:"system"`
	Why    string `json:"why"`
}

// Table is one operation, asked in one way, so many in flight.
type Table struct {
	Op       Op     `json:"op"`
	What     string `json:"what"`
	Way      Way    `json:"way"`
	Inflight int    `json:"inflight"`
	Rows     []Row  `json:"rows"`
}

// Row is one system's figures: medians over the rounds, quantiles over all of them.
type Row struct {
	System    string  `json:"system"`
	Ours      bool    `json:"ours,omitempty"`
	PerSecond float64 `json:"perSecond"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
	// ServerCPU and ClientCPU are microseconds of processor an operation, of the server's processes and of this one. Has no
	// server of its own: 0.
	ServerCPU float64 `json:"serverCpuUs"`
	ClientCPU float64 `json:"clientCpuUs"`
	// Ratios are, for each of ours in the table, in its order, the median over the rounds of its rate divided by this one's.
	Ratios []float64 `json:"ratios,omitempty"`
	// Failed is why there are no figures.
	Failed string `json:"failed,omitempty"`
}

// Disk is what durable changes wrote, in bytes each.
type Disk struct {
	Log     float64 `json:"log"`
	Flushed float64 `json:"flushed"`
	BareLog float64 `json:"bareLog"`
	Changes float64 `json:"changes"`
	Flushes int     `json:"flushes"`
}

func (r *Report) err() error {
	var failed []string
	for _, f := range r.Failed {
		failed = append(failed, f.System+": "+f.Why)
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrFailed, strings.Join(failed, "; "))
}

// rowsOf sums up the rounds.
func rowsOf(systems []System, rounds []figures) []Row {
	rows := make([]Row, len(systems))
	for i, s := range systems {
		f := &rounds[i]
		rows[i] = Row{System: s.Name(), Ours: ours(s)}
		if f.failed != nil || len(f.rates) == 0 {
			rows[i].Failed = "no window"
			if f.failed != nil {
				rows[i].Failed = f.failed.Error()
			}
			continue
		}
		rows[i].PerSecond, rows[i].ServerCPU, rows[i].ClientCPU = median(f.rates), median(f.serverCPU), median(f.clientCPU)
		rows[i].P50 = float64(f.latency.ValueAtQuantile(50)) / 1000
		rows[i].P99 = float64(f.latency.ValueAtQuantile(99)) / 1000
		if rows[i].Ours {
			continue
		}
		for j, other := range systems {
			if ours(other) {
				rows[i].Ratios = append(rows[i].Ratios, medianOfRatios(rounds[j].rates, f.rates))
			}
		}
	}
	return rows
}

// medianOfRatios is the median of a[i] / b[i]; 0 when one of them has not every round, since then they are not of the same ones.
func medianOfRatios(a, b []float64) float64 {
	if len(a) != len(b) || len(a) == 0 {
		return 0
	}
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}

// median of an even number of values is the mean of the two in the middle; of none 0.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}
