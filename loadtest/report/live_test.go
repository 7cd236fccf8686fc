// Goal: whoever watches a run sees it, on a terminal and in a log.
// Method: what was written is put on a terminal of lines, as a terminal would.
package report_test

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/loadtest/report"
	"github.com/skerry-dev/skerry/loadtest/report/reporttest"
)

// screen does what a terminal does with what Live writes: lines, and going up and clearing.
func screen(t *testing.T, written string) []string {
	t.Helper()
	var lines []string
	up := regexp.MustCompile(`^\x1b\[(\d+)A\x1b\[J`)
	for written != "" {
		if m := up.FindStringSubmatch(written); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil || n > len(lines) {
				t.Fatalf("up %s lines of %d", m[1], len(lines))
			}
			lines, written = lines[:len(lines)-n], written[len(m[0]):]
			continue
		}
		line, rest, ended := strings.Cut(written, "\n")
		if !ended || strings.Contains(line, "\x1b") {
			t.Fatalf("a line %q", line)
		}
		lines, written = append(lines, line), rest
	}
	return lines
}

func TestLiveOnATerminal(t *testing.T) {
	defer goleak.VerifyNone(t)
	r := reporttest.Invented(20, 120, false)
	for _, columns := range []int{100, 40} {
		var out strings.Builder
		live := report.NewLiveTerminal(&out, 2*time.Minute, columns)
		live.Mark(report.Mark{At: 0, Text: "before the first sample"})
		for _, s := range r.Samples[:60] {
			live.Add(s)
		}
		live.Mark(report.Mark{At: 60, Text: "n2\x1b[2J killed"})
		live.Add(r.Samples[60])
		if err := live.Close(); err != nil {
			t.Fatal(err)
		}
		lines := screen(t, out.String())
		for _, line := range lines {
			if utf8.RuneCountInString(line) >= columns {
				t.Errorf("%d columns: %q", columns, line)
			}
		}
		if len(lines) != 9 || lines[0] != "0:00  before the first sample" || lines[1] != "1:00  n2 [2J killed" {
			t.Fatalf("%d columns: the screen has\n%s", columns, strings.Join(lines, "\n"))
		}
		if columns == 100 {
			t.Log("\n" + strings.Join(lines, "\n"))
			for i, want := range []string{"", "1:01 ███████████████░░░░░░░░░░░░░░░  51 % of 2:00", "commands ", "p99 ", "saves ", "players ", "dirty "} {
				if !strings.HasPrefix(lines[2+i], want) {
					t.Errorf("line %d is %q, want %q", 2+i, lines[2+i], want)
				}
			}
		}
	}
}

func TestLiveElsewhere(t *testing.T) {
	r := reporttest.Invented(20, 12, false)
	for i := range r.Samples {
		r.Samples[i].Refused = 0
	}
	r.Samples[6].P99, r.Samples[8].Failed, r.Samples[8].Refused = 1234, 3, 2
	var out strings.Builder
	live := report.NewLive(&out, time.Minute)
	for i, s := range r.Samples {
		if i == 7 {
			live.Mark(report.Mark{At: 7.2, Text: "killed"})
		}
		live.Add(s)
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	live.Add(r.Samples[0])
	live.Mark(report.Mark{Text: "too late"})
	lines := screen(t, out.String())
	t.Log("\n" + out.String())
	if len(lines) != 4 {
		t.Fatalf("%d lines, want 0:05, the event, 0:10 and the rest", len(lines))
	}
	for i, want := range []string{"0:05  players ", "0:07  killed", "0:10  players ", "0:12  players "} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %q, want %q", lines[i], want)
		}
	}
	if !strings.Contains(lines[2], "p99 1.23 s") || !strings.Contains(lines[2], "refused 2") {
		t.Errorf("the worst of five seconds is not in %q", lines[2])
	}
}

func TestLiveFromManyGoroutines(t *testing.T) {
	var out strings.Builder
	live := report.NewLiveTerminal(&out, 0, 80)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 50 {
				live.Add(report.Sample{At: float64(i)})
				live.Mark(report.Mark{At: float64(i), Text: "event"})
			}
		})
	}
	group.Wait()
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	if lines := screen(t, out.String()); len(lines) != 200+7 {
		t.Errorf("%d lines, want an event each, and the last picture", len(lines))
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("full")

func TestLiveTellsWhatWasNotWritten(t *testing.T) {
	live := report.NewLive(full{}, time.Minute)
	live.Add(report.Sample{At: 6})
	live.Add(report.Sample{At: 12})
	if err := live.Close(); !errors.Is(err, errFull) {
		t.Errorf("%v, want %v", err, errFull)
	}
}
