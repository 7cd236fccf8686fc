package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// Comparison is two runs side by side.
type Comparison struct {
	A Run `json:"a"`
	B Run `json:"b"`
	// Notes say why the two may not be comparable; none: they were made alike.
	Notes  []string      `json:"notes"`
	Checks []CheckChange `json:"checks"`
	Values []ValueChange `json:"values"`
}

// Run names one of the two.
type Run struct {
	Scenario string  `json:"scenario"`
	Began    string  `json:"began"`
	Seconds  float64 `json:"seconds"`
	OK       bool    `json:"ok"`
}

// CheckChange is a bound in both. A side that did not have it says so with "absent".
type CheckChange struct {
	Name    string `json:"name"`
	A       string `json:"a"` // held, broken, absent
	B       string `json:"b"`
	AFound  string `json:"aFound"`
	BFound  string `json:"bFound"`
	Changed bool   `json:"changed"`
}

// ValueChange is a number in both. A side that did not have it has none.
type ValueChange struct {
	Name string   `json:"name"`
	Unit string   `json:"unit"`
	A    *float64 `json:"a"`
	B    *float64 `json:"b"`
	// Ratio is B / A; none where A is 0 or one of them is not there.
	Ratio *float64 `json:"ratio"`
}

// Compared compares two runs: A is the one before.
func Compared(a, b *Report) *Comparison {
	a, b = finite(a), finite(b)
	c := &Comparison{A: runOf(a), B: runOf(b), Notes: notes(a, b), Checks: []CheckChange{}, Values: []ValueChange{}}
	for name, pair := range pairs(a.Checks, b.Checks, func(c Check) string { return c.Name }) {
		change := CheckChange{Name: name}
		change.A, change.AFound = state(pair[0])
		change.B, change.BFound = state(pair[1])
		change.Changed = change.A != change.B
		c.Checks = append(c.Checks, change)
	}
	for name, pair := range pairs(a.Totals, b.Totals, func(t Total) string { return t.Name }) {
		change := ValueChange{Name: name}
		for i, to := range []**float64{&change.A, &change.B} {
			if pair[i] != nil {
				*to, change.Unit = &pair[i].Value, pair[i].Unit
			}
		}
		c.Values = append(c.Values, change.rated())
	}
	for name, pair := range pairs(a.Operations, b.Operations, func(o Operation) string { return o.Name }) {
		c.Values = append(c.Values, operationChanges(name, pair)...)
	}
	return c
}

// pairs yields what both lists have, by name, in the order of the first, then what only the second has.
func pairs[T any](a, b []T, name func(T) string) func(yield func(string, [2]*T) bool) {
	type entry struct {
		name string
		pair [2]*T
	}
	var order []*entry
	known := map[string]*entry{}
	for side, list := range [][]T{a, b} {
		for i := range list {
			key := name(list[i])
			if known[key] == nil {
				known[key] = &entry{name: key}
				order = append(order, known[key])
			}
			if known[key].pair[side] == nil { // the first of two of a name
				known[key].pair[side] = &list[i]
			}
		}
	}
	return func(yield func(string, [2]*T) bool) {
		for _, e := range order {
			if !yield(e.name, e.pair) {
				return
			}
		}
	}
}

func operationChanges(name string, pair [2]*Operation) []ValueChange {
	failed := func(o *Operation) float64 {
		sum, _ := failures(o.Failed)
		return float64(sum)
	}
	var out []ValueChange
	for _, part := range []struct {
		name, unit string
		of         func(*Operation) float64
	}{
		{"count", "", func(o *Operation) float64 { return float64(o.Count) }},
		{"failed", "", failed},
		{"p50", "ms", func(o *Operation) float64 { return o.P50 }},
		{"p99", "ms", func(o *Operation) float64 { return o.P99 }},
		{"p99.9", "ms", func(o *Operation) float64 { return o.P999 }},
	} {
		change := ValueChange{Name: name + ", " + part.name, Unit: part.unit}
		for i, to := range []**float64{&change.A, &change.B} {
			if pair[i] != nil {
				value := part.of(pair[i])
				*to = &value
			}
		}
		if part.name == "failed" && (change.A == nil || *change.A == 0) && (change.B == nil || *change.B == 0) {
			continue
		}
		out = append(out, change.rated())
	}
	return out
}

// rated returns the change with its ratio.
func (v ValueChange) rated() ValueChange {
	if v.A != nil && v.B != nil {
		if ratio := *v.B / *v.A; !math.IsInf(ratio, 0) && !math.IsNaN(ratio) {
			v.Ratio = &ratio
		}
	}
	return v
}

func runOf(r *Report) Run {
	return Run{Scenario: r.Scenario, Began: r.Began.UTC().Format("2006-01-02 15:04:05"), Seconds: r.Seconds, OK: r.OK()}
}

func state(c *Check) (string, string) {
	switch {
	case c == nil:
		return "absent", ""
	case c.OK:
		return "held", c.Found
	}
	return "broken", c.Found
}

// notes lists what was not alike in how the two were made.
func notes(a, b *Report) []string {
	out := []string{}
	differ := func(what, x, y string) {
		if x != y {
			out = append(out, what+": "+orNone(x)+" and "+orNone(y))
		}
	}
	differ("scenario", a.Scenario, b.Scenario)
	differ("seed", strconv.FormatUint(a.Seed, 10), strconv.FormatUint(b.Seed, 10))
	differ("load lasted", clock(a.Seconds), clock(b.Seconds))
	differ("a minute lasts", number(a.Minute)+" s", number(b.Minute)+" s")
	differ("nodes", number(a.Nodes), number(b.Nodes))
	differ("system", a.Machine.System, b.Machine.System)
	differ("cores", number(a.Machine.Cores), number(b.Machine.Cores))
	if x, y := a.Machine.Fdatasync, b.Machine.Fdatasync; x > 0 && y > 0 && max(x, y) > 1.5*min(x, y) {
		out = append(out, "fdatasync: "+latency(x)+" and "+latency(y)+": another disk, or others used it")
	}
	type setting struct{ name, value string }
	settings := func(r *Report) []setting {
		var list []setting
		for _, s := range sortedSettings(r.Settings) {
			list = append(list, setting{s[0], s[1]})
		}
		return list
	}
	for name, pair := range pairs(settings(a), settings(b), func(s setting) string { return s.name }) {
		var value [2]string
		for i := range pair {
			if pair[i] != nil {
				value[i] = pair[i].value
			}
		}
		differ("setting "+name, value[0], value[1])
	}
	return out
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// Compare writes two runs side by side as plain text; A is the one before, a ratio is B / A.
func Compare(w io.Writer, a, b *Report) error {
	c := Compared(a, b)
	var out strings.Builder
	for _, run := range []struct {
		name string
		of   *Report
		run  Run
	}{{"A", a, c.A}, {"B", b, c.B}} {
		fmt.Fprintf(&out, "%s: %s of %s, %s. %s\n", run.name, line(run.run.Scenario), run.run.Began, clock(run.run.Seconds), verdict(run.of))
	}
	if len(c.Notes) > 0 {
		out.WriteString("\nnot made alike:\n")
		for _, note := range c.Notes {
			out.WriteString("  " + line(note) + "\n")
		}
	}
	out.WriteString("\n")
	rows := [][]string{{"BOUND", "A", "B", "FOUND IN A", "FOUND IN B"}}
	for _, check := range c.Checks {
		name := check.Name
		if check.Changed {
			name += " (changed)"
		}
		rows = append(rows, []string{name, check.A, check.B, check.AFound, check.BFound})
	}
	table(&out, rows, left)
	out.WriteString("\n")
	rows = [][]string{{"VALUE", "A", "B", "RATIO"}}
	for _, v := range c.Values {
		ratio := "–"
		if v.Ratio != nil {
			ratio = "× " + number(*v.Ratio)
		}
		rows = append(rows, []string{v.Name, amount(v.A, v.Unit), amount(v.B, v.Unit), ratio})
	}
	table(&out, rows, right)
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

func amount(value *float64, unit string) string {
	if value == nil {
		return "absent"
	}
	if unit == "ms" {
		return latency(*value)
	}
	return number(*value) + " " + unit
}

// CompareFiles compares two report.json files, as text or as JSON.
func CompareFiles(w io.Writer, pathA, pathB string, asJSON bool) error {
	var reports [2]*Report
	for i, path := range []string{pathA, pathB} {
		var err error
		if reports[i], err = readFile(path); err != nil {
			return err
		}
	}
	if !asJSON {
		return Compare(w, reports[0], reports[1])
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(Compared(reports[0], reports[1])); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

func readFile(path string) (r *Report, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open report: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if r, err = Read(file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
