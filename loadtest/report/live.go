package report

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	// plainEvery is the seconds between two lines where nobody looks at a terminal.
	plainEvery = 5
	// maxPending bounds the samples of such a line.
	maxPending = 100
	// sparkWidth is how many samples the small curves show.
	sparkWidth = 40
	barWidth   = 30
	// defaultColumns is taken for a terminal that does not tell.
	defaultColumns = 80
)

// Live shows a run while it lasts: on a terminal a few lines that are drawn anew with every sample, elsewhere a line every few seconds. Its
// methods may be called from any goroutine; it has none of its own.
type Live struct {
	total   float64    // seconds; 0: not known
	columns func() int // of the terminal; nil: it is none

	mu struct {
		sync.Mutex
		w       io.Writer
		drawn   int      // lines on the terminal that the next drawing replaces
		samples []Sample // on a terminal the last of them, for the curves; else those since the last line
		last    float64  // when the last plain line was
		failed  float64  // in all
		refused int64
		at      float64
		err     error
		closed  bool
	}
}

// NewLive shows a run of about total on w; 0: nobody knows how long.
func NewLive(w io.Writer, total time.Duration) *Live {
	l := &Live{total: total.Seconds()}
	l.mu.w = w
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		l.columns = func() int {
			if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
				return columns
			}
			return defaultColumns
		}
	}
	return l
}

// Add shows the newest sample. What cannot be written is not shown; Close tells.
func (l *Live) Add(s Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return
	}
	s = finite(&Report{Samples: []Sample{s}}).Samples[0]
	l.mu.failed += s.Failed * max(0, s.At-l.mu.at)
	l.mu.refused += s.Refused
	l.mu.at = max(l.mu.at, s.At)
	l.mu.samples = append(l.mu.samples, s)
	if l.columns != nil {
		l.mu.samples = l.mu.samples[max(0, len(l.mu.samples)-sparkWidth):]
		l.drawLocked("")
		return
	}
	if s.At-l.mu.last >= plainEvery || len(l.mu.samples) >= maxPending {
		l.plainLocked()
	}
}

// Mark shows an event at once, and for good.
func (l *Live) Mark(m Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return
	}
	text := clock(m.At) + "  " + line(m.Text)
	if l.columns != nil {
		l.drawLocked(text)
		return
	}
	l.writeLocked(text + "\n")
}

// Close shows what is left to show, and returns what went wrong when writing. Later calls do nothing.
func (l *Live) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.closed && l.columns == nil && len(l.mu.samples) > 0 {
		l.plainLocked()
	}
	l.mu.closed = true
	return l.mu.err
}

func (l *Live) writeLocked(text string) {
	if _, err := io.WriteString(l.mu.w, text); err != nil && l.mu.err == nil {
		l.mu.err = fmt.Errorf("show progress: %w", err)
	}
}

// plainLocked writes the samples since the last line as one.
func (l *Live) plainLocked() {
	s := thin(l.mu.samples)
	text := fmt.Sprintf("%s  players %s  commands %s/s  p99 %s  saves %s/s  loads %s/s  queue %s  dirty for %s  failed %s",
		clock(s.At), number(s.Players), number(math.Round(s.Commands)), latency(s.P99), number(math.Round(s.Saves)), number(math.Round(s.Loads)),
		number(s.QueueGet+s.QueueSet), clock(s.DirtyAge), number(math.Round(l.mu.failed)))
	if l.mu.refused > 0 {
		text += "  refused " + number(l.mu.refused)
	}
	l.writeLocked(text + "\n")
	l.mu.last = s.At
	l.mu.samples = l.mu.samples[:0]
}

// drawLocked draws the lines over those of before; above, if it is not empty, stays above them for good.
func (l *Live) drawLocked(above string) {
	var out strings.Builder
	if l.mu.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\x1b[J", l.mu.drawn) // up, and clear to the end
	}
	columns := max(20, l.columns())
	var lines []string
	if above != "" {
		out.WriteString(cut(above, columns) + "\n")
	}
	if len(l.mu.samples) > 0 {
		lines = l.linesLocked()
	}
	for _, text := range lines {
		out.WriteString(cut(text, columns) + "\n")
	}
	l.mu.drawn = len(lines)
	l.writeLocked(out.String())
}

// linesLocked is what a person looks at.
func (l *Live) linesLocked() []string {
	s := l.mu.samples[len(l.mu.samples)-1]
	times := clock(s.At)
	if l.total > 0 {
		share := min(1, s.At/l.total)
		full := int(share * barWidth)
		times = fmt.Sprintf("%s %s%s %3.0f %% of %s", times, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), 100*share, clock(l.total))
	}
	return []string{
		"",
		times,
		fmt.Sprintf("commands  %10s /s  %s", number(math.Round(s.Commands)), l.sparkLocked(func(s Sample) float64 { return s.Commands })),
		fmt.Sprintf("p99       %10s     %s", latency(s.P99), l.sparkLocked(func(s Sample) float64 { return math.Log1p(s.P99) })),
		fmt.Sprintf("saves     %10s /s  %s", number(math.Round(s.Saves)), l.sparkLocked(func(s Sample) float64 { return s.Saves })),
		fmt.Sprintf("players   %10s     failed %s, refused for budget %s", number(s.Players), number(math.Round(l.mu.failed)), number(l.mu.refused)),
		fmt.Sprintf("dirty     %10s     for %s at most; %d loads and %d saves wait for budget", number(s.Dirty), clock(s.DirtyAge), s.QueueGet, s.QueueSet),
	}
}

// sparkLocked draws a value of the last samples, from 0 to its greatest.
func (l *Live) sparkLocked(value func(Sample) float64) string {
	values := make([]float64, 0, sparkWidth)
	for _, s := range l.mu.samples {
		values = append(values, max(0, value(s)))
	}
	greatest := slices.Max(values)
	blocks := []rune("▁▂▃▄▅▆▇█")
	var out strings.Builder
	for _, v := range values {
		at := 0
		if greatest > 0 {
			at = int(math.Round(v / greatest * float64(len(blocks)-1)))
		}
		out.WriteRune(blocks[at])
	}
	return out.String()
}

// cut keeps a text within a terminal's line, so that lines can be counted.
func cut(text string, columns int) string {
	if utf8.RuneCountInString(text) < columns {
		return text
	}
	return string([]rune(text)[:columns-1])
}
