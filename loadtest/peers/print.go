package peers

import (
	"fmt"
	"io"
	"strings"
)

// Text writes the report for a terminal.
func (r *Report) Text(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintln(&out, r.head())
	for _, t := range r.Tables {
		fmt.Fprintf(&out, "\n%s: %d in flight, %s\n", t.What, t.Inflight, t.Way)
		cells := t.cells()
		widths := make([]int, len(cells[0]))
		for _, row := range cells {
			for i, cell := range row {
				widths[i] = max(widths[i], len([]rune(cell)))
			}
		}
		for _, row := range cells {
			for i, cell := range row {
				gap := strings.Repeat(" ", widths[i]-len([]rune(cell)))
				if i == 0 {
					out.WriteString(cell + gap)
				} else {
					out.WriteString("  " + gap + cell)
				}
			}
			out.WriteString("\n")
		}
	}
	r.tail(&out, "", "")
	_, err := io.WriteString(w, out.String())
	return err
}

// Markdown writes the report as it stands in docs/performance.md: call is how it was made.
func (r *Report) Markdown(w io.Writer, call string) error {
	var out strings.Builder
	fmt.Fprintf(&out, "`%s`: %s\n", call, r.head())
	for i, t := range r.Tables {
		cells := t.cells()
		if i == 0 || r.Tables[i-1].Op != t.Op || r.Tables[i-1].Way != t.Way { // those of other numbers in flight go on below
			fmt.Fprintf(&out, "\n*%s*, %s:\n\n| in flight | %s |\n|---|%s\n", upper(t.What), t.Way, strings.Join(cells[0], " | "), strings.Repeat("---|", len(cells[0])))
		}
		for _, row := range cells[1:] {
			fmt.Fprintf(&out, "| %d | %s |\n", t.Inflight, strings.Join(row, " | "))
		}
	}
	r.tail(&out, "```\n", "```\n")
	_, err := io.WriteString(w, out.String())
	return err
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (r *Report) head() string {
	nodes := "one node"
	if r.Nodes != 1 {
		nodes = fmt.Sprintf("%d nodes", r.Nodes)
	}
	load := "unknown"
	if r.LoadBefore >= 0 {
		load = fmt.Sprintf("%.1f before, %.1f after", r.LoadBefore, r.LoadAfter)
	}
	return fmt.Sprintf("%s, %s, %s, %d cores for everything, load average %s; %s, %s players, %d rounds of %g s; fdatasync of 4 KiB %.2f ms overwriting, %.2f ms appending.",
		r.When.Format("2006-01-02 15:04 UTC"), r.Go, r.Machine, r.Cores, load, nodes, thousands(float64(r.Players)), r.Rounds, r.WindowSeconds,
		r.Fdatasync.Overwriting, r.Fdatasync.Appending)
}

// cells are the table with its heading.
func (t Table) cells() [][]string {
	heading := []string{"", "op/s, median", "p50 ms", "p99 ms", "server µs each", "client µs each"}
	for _, row := range t.Rows {
		if row.Ours {
			heading = append(heading, row.System+" ÷ this")
		}
	}
	cells := [][]string{heading}
	for _, row := range t.Rows {
		line := []string{row.System}
		if row.Failed != "" {
			line = append(line, "FAILED")
			cells = append(cells, pad(line, len(heading)))
			continue
		}
		server := "in process"
		if row.ServerCPU > 0 {
			server = fmt.Sprintf("%.1f", row.ServerCPU)
		}
		line = append(line, thousands(row.PerSecond), short(row.P50), short(row.P99), server, fmt.Sprintf("%.1f", row.ClientCPU))
		for _, ratio := range row.Ratios {
			if ratio == 0 {
				line = append(line, "-")
				continue
			}
			line = append(line, short(ratio))
		}
		cells = append(cells, pad(line, len(heading)))
	}
	return cells
}

func pad(line []string, n int) []string {
	for len(line) < n {
		line = append(line, "")
	}
	return line
}

// tail is what follows the tables; code goes between the marks.
func (r *Report) tail(out *strings.Builder, begin, end string) {
	for _, m := range r.Missing {
		fmt.Fprintf(out, "\nMissing: %s: %s.\n", m.System, m.Why)
	}
	for _, f := range r.Failed {
		fmt.Fprintf(out, "\nFAILED: %s: %s\n", f.System, f.Why)
	}
	if d := r.Disk; d != nil {
		fmt.Fprintf(out, "\nBytes to disk for a durable change: %.0f in the log + %.0f flushed by the store = %.0f; a bare log writes %.0f: %.2f times (%s changes, %d flushes, before compaction).\n",
			d.Log, d.Flushed, d.Log+d.Flushed, d.BareLog, (d.Log+d.Flushed)/d.BareLog, thousands(d.Changes), d.Flushes)
	}
	if len(r.Costs) > 0 {
		fmt.Fprintf(out, "\nWhere the node's time went:\n%s%s\n%s", begin, strings.Join(r.Costs, "\n"), end)
	}
}

// short has three digits that say something.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// thousands is a whole number with commas.
func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
