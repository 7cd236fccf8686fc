package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

//go:embed page/page.html page/page.css page/page.js page/uplot.min.js page/uplot.min.css page/uplot.LICENSE
var pageFiles embed.FS

// WriteHTML writes the report as one page that needs nothing else: no network, no other file. It draws with uPlot, whose code and
// licence are in it. Every text of the report is shown as the text it is, whatever it is.
func WriteHTML(w io.Writer, r *Report) error {
	r = finite(r)
	page, err := template.New("page.html").Funcs(template.FuncMap{
		"number":  number,
		"latency": latency,
		"clock":   clock,
		"plural":  plural,
		"percent": func(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) },
	}).ParseFS(pageFiles, "page/page.html")
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	view := pageView{Report: r, Plots: plotsOf(r), Checks: slices.Clone(r.Checks), Operations: rowsOf(r.Operations), Settings: sortedSettings(r.Settings)}
	slices.SortStableFunc(view.Checks, func(a, b Check) int { return rank(a) - rank(b) })
	for _, c := range r.Checks {
		if !c.OK {
			view.Broken++
		}
	}
	var style, script, library, licence string
	for name, to := range map[string]*string{"page.css": &style, "page.js": &script, "uplot.min.js": &library, "uplot.LICENSE": &licence} {
		if *to, err = readPage(name); err != nil {
			return err
		}
	}
	libraryStyle, err := readPage("uplot.min.css")
	if err != nil {
		return err
	}
	// These five are ours, none has a word of the report in it.
	view.Style = template.CSS(libraryStyle + "\n" + style)
	view.Library = template.JS("/*\n" + licence + "\n*/\n" + library)
	view.Script = template.JS(script)
	if err := page.Execute(w, view); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

func readPage(name string) (string, error) {
	text, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		return "", fmt.Errorf("write page: %w", err)
	}
	return string(text), nil
}

// rank puts broken bounds first.
func rank(c Check) int {
	if c.OK {
		return 1
	}
	return 0
}

// pageView is what page.html shows.
type pageView struct {
	*Report
	Broken     int
	Checks     []Check // broken ones first
	Operations []operationRow
	Settings   [][2]string
	Plots      plots

	Style           template.CSS
	Library, Script template.JS
}

// Date is when the run began, if it says so.
func (v pageView) Date() string {
	if v.Began.IsZero() {
		return ""
	}
	return v.Began.UTC().Format("2 January 2006, 15:04:05 UTC")
}

// Scaled reports whether a minute of the scenario was another than one of the clock.
func (v pageView) Scaled() bool { return v.Minute > 0 && v.Minute != 60 }

// operationRow is an operation with its bar: where its percentiles lie on one logarithmic scale of all operations, 0 to 100.
type operationRow struct {
	Operation
	FailedSum  int64
	FailedText string
	From, Wide float64 // p50 to p99
	Tail       float64 // p99.9
	Drawn      bool
}

func rowsOf(operations []Operation) []operationRow {
	least, most := math.Inf(1), 0.0
	for _, o := range operations {
		if o.P50 > 0 {
			least, most = min(least, o.P50), max(most, o.P50, o.P99, o.P999)
		}
	}
	place := func(ms float64) float64 {
		if most <= least {
			return 0
		}
		return 100 * math.Log(max(ms, least)/least) / math.Log(most/least)
	}
	rows := make([]operationRow, 0, len(operations))
	for _, o := range operations {
		row := operationRow{Operation: o}
		row.FailedSum, row.FailedText = failures(o.Failed)
		if o.P50 > 0 {
			row.Drawn, row.From, row.Tail = true, place(o.P50), place(o.P999)
			row.Wide = max(place(o.P99)-row.From, 1)
		}
		rows = append(rows, row)
	}
	return rows
}

// sortedSettings are names and values, by name.
func sortedSettings(settings map[string]string) [][2]string {
	var out [][2]string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		out = append(out, [2]string{name, settings[name]})
	}
	return out
}

// failures returns how many failed, and of what: "3 UNAVAILABLE, 1 TIMEOUT".
func failures(byCode map[string]int64) (int64, string) {
	var sum int64
	codes := make([]string, 0, len(byCode))
	for _, code := range slices.Sorted(maps.Keys(byCode)) {
		sum += byCode[code]
		codes = append(codes, fmt.Sprintf("%d %s", byCode[code], code))
	}
	return sum, strings.Join(codes, ", ")
}

// clock is seconds as people read them: 4:05, 1:00:00.
func clock(seconds float64) string {
	whole := int64(max(0, min(math.Round(seconds), 1e9)))
	if whole >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", whole/3600, whole/60%60, whole%60)
	}
	return fmt.Sprintf("%d:%02d", whole/60, whole%60)
}

// latency is milliseconds as people read them.
func latency(ms float64) string {
	switch {
	case ms <= 0:
		return "–"
	case ms < 1:
		return fmt.Sprintf("%.0f µs", ms*1000)
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 60_000:
		return fmt.Sprintf("%.2f s", ms/1000)
	}
	return clock(ms / 1000)
}

// number is any other number as people read them: 12,345; 0.25.
func number(value any) string {
	switch v := value.(type) {
	case int:
		return grouped(float64(v), 0)
	case int64:
		return grouped(float64(v), 0)
	case float64:
		switch {
		case v == math.Trunc(v) || math.Abs(v) >= 1000:
			return grouped(v, 0)
		case math.Abs(v) >= 10:
			return grouped(v, 1)
		}
		return grouped(v, 2)
	}
	return fmt.Sprint(value)
}

// grouped writes v with commas between thousands.
func grouped(v float64, decimals int) string {
	text := fmt.Sprintf("%.*f", decimals, math.Abs(v))
	whole, rest, _ := strings.Cut(text, ".")
	var out strings.Builder
	if v < 0 {
		out.WriteString("-")
	}
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			out.WriteString(",")
		}
		out.WriteRune(digit)
	}
	if rest != "" {
		out.WriteString("." + rest)
	}
	return out.String()
}
