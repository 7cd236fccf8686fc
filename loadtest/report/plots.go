package report

import "strconv"

// maxPoints is how many points a line of a plot has at most: more than a screen has columns for it.
const maxPoints = 1200

// plots is what the page draws: samples turned into columns, and thinned when there are too many.
type plots struct {
	// Every is how many samples a point stands for: the mean of the rates, the greatest of all else.
	Every   int               `json:"every"`
	Minute  float64           `json:"minute"`
	Bound   float64           `json:"bound"`
	At      column            `json:"at"`
	Samples map[string]column `json:"samples"`
	Marks   []Mark            `json:"marks"`
	Servers []serverPlot      `json:"servers"`
}

// column is numbers of four digits: nobody sees more in a plot.
type column []float64

// MarshalJSON is a JSON array.
func (c column) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, 2+5*len(c))
	out = append(out, '[')
	for i, v := range c {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendFloat(out, v, 'g', 4, 64)
	}
	return append(out, ']'), nil
}

// serverPlot is a server's budget.
type serverPlot struct {
	Name    string  `json:"name"`
	Profile string  `json:"profile"`
	Get     usePlot `json:"get"`
	Set     usePlot `json:"set"`
}

// usePlot is a class: Limit is in runs, a value and how many points have it, for it seldom changes.
type usePlot struct {
	Used    []int64 `json:"used"`
	Limit   []int64 `json:"limit"`
	Most    int64   `json:"most"`
	Allowed int64   `json:"allowed"`
	Granted int64   `json:"granted"`
	Refused int64   `json:"refused"`
}

func plotsOf(r *Report) plots {
	p := plots{
		Every: max(1, (len(r.Samples)+maxPoints-1)/maxPoints), Minute: r.Minute, Bound: r.DirtyAgeBound, Samples: map[string]column{},
		Marks: r.Marks, Servers: make([]serverPlot, 0, len(r.Servers)),
	}
	if p.Marks == nil {
		p.Marks = []Mark{}
	}
	for from := 0; from < len(r.Samples); from += p.Every {
		point := thin(r.Samples[from:min(from+p.Every, len(r.Samples))])
		p.At = append(p.At, point.At)
		for name, value := range map[string]float64{
			"players": float64(point.Players), "commands": point.Commands, "failed": point.Failed, "loads": point.Loads, "saves": point.Saves,
			"queueGet": float64(point.QueueGet), "queueSet": float64(point.QueueSet), "refused": float64(point.Refused),
			"dirty": float64(point.Dirty), "dirtyAge": point.DirtyAge,
			"p50": point.P50, "p90": point.P90, "p99": point.P99, "p999": point.P999, "max": point.Max,
		} {
			p.Samples[name] = append(p.Samples[name], value)
		}
	}
	for _, s := range r.Servers {
		p.Servers = append(p.Servers, serverPlot{
			Name: s.Name, Profile: s.Profile, Get: useOf(s.Get, len(r.Samples), p.Every), Set: useOf(s.Set, len(r.Samples), p.Every),
		})
	}
	return p
}

// thin makes one sample of several that follow each other.
func thin(samples []Sample) Sample {
	out := samples[0]
	for _, s := range samples[1:] {
		out.At = s.At
		out.Commands, out.Failed, out.Loads, out.Saves = out.Commands+s.Commands, out.Failed+s.Failed, out.Loads+s.Loads, out.Saves+s.Saves
		out.Players, out.QueueGet, out.QueueSet = max(out.Players, s.Players), max(out.QueueGet, s.QueueGet), max(out.QueueSet, s.QueueSet)
		out.Refused += s.Refused
		out.Dirty, out.DirtyAge = max(out.Dirty, s.Dirty), max(out.DirtyAge, s.DirtyAge)
		out.P50, out.P90, out.P99 = max(out.P50, s.P50), max(out.P90, s.P90), max(out.P99, s.P99)
		out.P999, out.Max = max(out.P999, s.P999), max(out.Max, s.Max)
	}
	n := float64(len(samples))
	out.Commands, out.Failed, out.Loads, out.Saves = out.Commands/n, out.Failed/n, out.Loads/n, out.Saves/n
	return out
}

// useOf is a class with a point for each of the samples' points; what was not counted is 0.
func useOf(u Use, samples, every int) usePlot {
	out := usePlot{Used: []int64{}, Limit: []int64{}, Most: u.Most, Allowed: u.Allowed, Granted: u.Granted, Refused: u.Refused}
	for from := 0; from < samples; from += every {
		var used, limit int64
		for i := from; i < min(from+every, samples); i++ { // the one that went furthest over its limit, or came nearest to it
			if u, l := at(u.Used, i), at(u.Limit, i); i == from || u-l > used-limit {
				used, limit = u, l
			}
		}
		out.Used = append(out.Used, used)
		if last := len(out.Limit) - 2; last >= 0 && out.Limit[last] == limit {
			out.Limit[last+1]++
		} else {
			out.Limit = append(out.Limit, limit, 1)
		}
	}
	return out
}

func at(values []int64, i int) int64 {
	if i < len(values) {
		return values[i]
	}
	return 0
}
