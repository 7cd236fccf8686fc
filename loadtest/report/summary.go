package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Summary writes what a person wants to know at the end, as plain text: the bounds, what was done and how long it took, and the totals.
func Summary(w io.Writer, r *Report) error {
	r = finite(r)
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s of load on %s, seed %d\n", line(r.Scenario), clock(r.Seconds), plural(r.Nodes, "node"), r.Seed)
	if len(r.Operations) > 0 {
		out.WriteString("\n")
		operationsTable(&out, r.Operations)
	}
	if len(r.Totals) > 0 {
		out.WriteString("\n")
		var rows [][]string
		for _, total := range r.Totals {
			rows = append(rows, []string{total.Name, number(total.Value) + " " + total.Unit})
		}
		table(&out, rows, left)
	}
	out.WriteString("\n")
	checksTable(&out, r.Checks)
	out.WriteString(verdict(r) + "\n")
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func operationsTable(out *strings.Builder, operations []Operation) {
	rows := [][]string{{"OPERATION", "COUNT", "REFUSED", "FAILED", "P50", "P90", "P99", "P99.9", "MAX"}}
	var failed []string
	for _, o := range operations {
		sum, codes := failures(o.Failed)
		if sum > 0 {
			failed = append(failed, line(o.Name)+": "+line(codes))
		}
		rows = append(rows, []string{
			o.Name, number(o.Count), number(o.Refused), number(sum),
			latency(o.P50), latency(o.P90), latency(o.P99), latency(o.P999), latency(o.Max),
		})
	}
	table(out, rows, right)
	for _, text := range failed {
		out.WriteString("failed, " + text + "\n")
	}
}

func checksTable(out *strings.Builder, checks []Check) {
	if len(checks) == 0 {
		return
	}
	var rows [][]string
	for _, c := range checks {
		rows = append(rows, []string{word(c.OK), c.Name, c.Found, "(bound: " + line(c.Bound) + ")"})
	}
	table(out, rows, left)
	for _, c := range checks {
		if !c.OK && c.Detail != "" {
			out.WriteString("\n" + line(c.Name) + ":\n")
			for text := range strings.Lines(c.Detail) {
				out.WriteString("  " + line(text) + "\n")
			}
		}
	}
	out.WriteString("\n")
}

// verdict is the run in one line.
func verdict(r *Report) string {
	var broken []string
	for _, c := range r.Checks {
		if !c.OK {
			broken = append(broken, line(c.Name))
		}
	}
	switch {
	case len(broken) > 0:
		return fmt.Sprintf("BROKEN: %s (%d of %s)", strings.Join(broken, ", "), len(broken), plural(len(r.Checks), "bound"))
	case len(r.Checks) == 0:
		return "Nothing was checked."
	}
	return "All " + plural(len(r.Checks), "bound") + " held."
}

func word(ok bool) string {
	if ok {
		return "held"
	}
	return "BROKEN"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// side is where the text of a column stands, but for the first, which is always on the left.
type side bool

const (
	left  side = false
	right side = true
)

// table writes rows in columns, two spaces between them.
func table(out *strings.Builder, rows [][]string, numbers side) {
	var widths []int
	for _, row := range rows {
		for i := range row {
			row[i] = line(row[i])
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var text strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if numbers == right && i > 0 {
				text.WriteString(pad + cell + "  ")
			} else {
				text.WriteString(cell + pad + "  ")
			}
		}
		out.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
}

// line makes text fit for a terminal and a table: one line, no control characters.
func line(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return ' '
		}
		return r
	}, text))
}
