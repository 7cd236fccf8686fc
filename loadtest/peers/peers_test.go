// Goal: the tables say what was measured, also when a system is missing, fails, or fails in the middle.
// Method: systems that are made up, with figures that are known.
package peers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skerry-dev/skerry/loadtest/peers"
)

// fake gives one rate after the other; it fails when none is left.
type fake struct {
	name  string
	rates []int64
	start error

	asked   int
	stopped bool
	log     *[]string // who was asked, in order
}

func (f *fake) Name() string { return f.name }
func (*fake) Does(op peers.Op, way peers.Way) bool {
	return op == peers.Durable && way == peers.ByCallers
}

func (f *fake) Start(context.Context, string, int) error {
	return f.start
}
func (*fake) PIDs() []int { return nil }
func (f *fake) Stop(context.Context) error {
	f.stopped = true
	return nil
}

var errFake = errors.New("out of rates")

func (f *fake) Run(_ context.Context, _ peers.Op, _ peers.Way, _ int, _ time.Duration) (peers.Window, error) {
	*f.log = append(*f.log, f.name)
	if f.asked == len(f.rates) {
		return peers.Window{}, errFake
	}
	f.asked++
	h := hdrhistogram.New(1, 1_000_000, 3)
	if err := h.RecordValue(2000); err != nil {
		return peers.Window{}, err
	}
	return peers.Window{Operations: f.rates[f.asked-1], Elapsed: time.Second, Latency: h}, nil
}

func compare(t *testing.T, rounds int, systems ...*fake) (*peers.Report, []string, error) {
	t.Helper()
	log, all := []string{}, []peers.System{}
	for _, s := range systems {
		s.log = &log
		all = append(all, s)
	}
	found, err := peers.Compare(t.Context(), all, peers.Options{
		Rounds: rounds, Window: 10 * time.Millisecond, Inflight: []int{7}, Dir: t.TempDir(),
	})
	for _, s := range systems {
		if !s.stopped && !errors.Is(s.start, peers.ErrNotInstalled) {
			t.Errorf("%s was not stopped", s.name)
		}
	}
	return found, log, err
}

// TestRatiosAreOfOneRound: the median of the ratios, not the ratio of the medians (here 1.5), nor of the means (1.2).
func TestRatiosAreOfOneRound(t *testing.T) {
	found, log, err := compare(t, 3, &fake{name: "Skerry", rates: []int64{100, 300, 400}}, &fake{name: "Other", rates: []int64{200, 100, 400}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"Skerry", "Other", "Skerry", "Other", "Skerry", "Other"}; !slices.Equal(log, want) {
		t.Errorf("asked %v, want %v", log, want)
	}
	if len(found.Tables) != 1 || len(found.Tables[0].Rows) != 2 {
		t.Fatalf("tables: %+v", found.Tables)
	}
	us, other := found.Tables[0].Rows[0], found.Tables[0].Rows[1]
	if us.PerSecond != 300 || other.PerSecond != 200 || !us.Ours || other.Ours {
		t.Errorf("rows %+v and %+v, want medians of 300 and 200", us, other)
	}
	if len(other.Ratios) != 1 || other.Ratios[0] != 1 {
		t.Errorf("ratios %v, want 1: the median of 0.5, 3 and 1", other.Ratios)
	}
	if us.P50 < 1.99 || us.P50 > 2.01 {
		t.Errorf("p50 is %v ms, want 2", us.P50)
	}
}

// TestEvenRounds: the median of two is between them.
func TestEvenRounds(t *testing.T) {
	found, _, err := compare(t, 2, &fake{name: "Skerry", rates: []int64{100, 300}}, &fake{name: "Other", rates: []int64{100, 100}})
	if err != nil {
		t.Fatal(err)
	}
	if got := found.Tables[0].Rows[1].Ratios[0]; got != 2 {
		t.Errorf("the ratio is %v, want 2", got)
	}
}

// TestMissingIsSaid: in every form of the report.
func TestMissingIsSaid(t *testing.T) {
	found, _, err := compare(t, 1, &fake{name: "Skerry", rates: []int64{100}},
		&fake{name: "Absent", start: fmt.Errorf("%w: no absent in the path", peers.ErrNotInstalled)})
	if err != nil {
		t.Fatalf("what is not installed is no failure: %v", err)
	}
	for form, text := range forms(t, found) {
		if !strings.Contains(text, "Absent") || !strings.Contains(text, "not installed") {
			t.Errorf("%s does not say that a system is missing:\n%s", form, text)
		}
	}
}

// TestFailureDoesNotHide: a system that does not start, or breaks in a later round, is named; the others are still measured, and
// figures of half the rounds are no figures.
func TestFailureDoesNotHide(t *testing.T) {
	broken, late, well := &fake{name: "Broken", start: errors.New("port is taken")}, &fake{name: "Late", rates: []int64{500}}, &fake{name: "Well", rates: []int64{50, 50}}
	found, log, err := compare(t, 2, &fake{name: "Skerry", rates: []int64{100, 100}}, broken, late, well)
	if !errors.Is(err, peers.ErrFailed) || !strings.Contains(err.Error(), "port is taken") || !strings.Contains(err.Error(), "Late") {
		t.Errorf("the error is %v, want both failures in it", err)
	}
	if want := []string{"Skerry", "Late", "Well", "Skerry", "Late", "Well"}; !slices.Equal(log, want) {
		t.Errorf("asked %v, want %v", log, want)
	}
	rows := found.Tables[0].Rows
	if rows[1].Failed == "" || rows[1].PerSecond != 0 || rows[1].Ratios != nil {
		t.Errorf("the row of what failed is %+v", rows[1])
	}
	if rows[2].Ratios[0] != 2 {
		t.Errorf("the row of what went well is %+v", rows[2])
	}
	for form, text := range forms(t, found) {
		if !strings.Contains(text, "port is taken") || !strings.Contains(text, "out of rates") {
			t.Errorf("%s hides a failure:\n%s", form, text)
		}
	}
}

// TestOursFails: then there are no ratios, rather than wrong ones.
func TestOursFails(t *testing.T) {
	found, _, err := compare(t, 2, &fake{name: "Skerry", rates: []int64{100}}, &fake{name: "Well", rates: []int64{50, 50}})
	if !errors.Is(err, peers.ErrFailed) {
		t.Errorf("the error is %v", err)
	}
	if got := found.Tables[0].Rows[1].Ratios; len(got) != 1 || got[0] != 0 {
		t.Errorf("ratios %v, want a 0, for none", got)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]peers.Options{
		"nodes":     {Nodes: 2},
		"rounds":    {Rounds: -1},
		"window":    {Window: time.Hour},
		"players":   {Players: -5},
		"in flight": {Inflight: []int{64, 0}},
		"operation": {Ops: []peers.Op{"fly"}},
		"way":       {Ways: []peers.Way{"politely"}},
		"closer":    {Nodes: 3, Closer: time.Minute},
	} {
		if _, err := peers.Run(t.Context(), o); !errors.Is(err, peers.ErrOptions) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrOptions that names it", name, err)
		}
	}
}

// forms are all that a report can be written as.
func forms(t *testing.T, r *peers.Report) map[string]string {
	t.Helper()
	var text, markdown bytes.Buffer
	if err := errors.Join(r.Text(&text), r.Markdown(&markdown, "skerry-load peers")); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"text": text.String(), "markdown": markdown.String(), "json": string(asJSON)}
}

// TestMarkdownGoesOn: what differs only in how many are in flight is one table.
func TestMarkdownGoesOn(t *testing.T) {
	table := func(op peers.Op, inflight int) peers.Table {
		return peers.Table{Op: op, What: op.Text(), Way: peers.ByCallers, Inflight: inflight, Rows: []peers.Row{{System: "Skerry", Ours: true, PerSecond: 1234567}}}
	}
	r := &peers.Report{Tables: []peers.Table{table(peers.Durable, 64), table(peers.Durable, 512), table(peers.Save, 64)}}
	text := forms(t, r)["markdown"]
	if got := strings.Count(text, "| in flight |"); got != 2 {
		t.Errorf("%d headings, want 2:\n%s", got, text)
	}
	for _, want := range []string{"| 64 | Skerry | 1,234,567 |", "| 512 | Skerry | 1,234,567 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
