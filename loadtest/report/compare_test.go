package report_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/loadtest/report"
	"github.com/skerry-dev/skerry/loadtest/report/reporttest"
)

func TestCompared(t *testing.T) {
	a, b := reporttest.Invented(2, 10, false), reporttest.Invented(2, 10, true)
	b.Seed, b.Machine.Fdatasync, b.Settings["autosave"] = 43, 8, "naive"
	b.Totals[1].Value = a.Totals[1].Value / 2
	a.Totals[2].Value = 0
	b.Totals = append(b.Totals, report.Total{Name: "dropped saves", Value: 7})
	b.Operations = b.Operations[1:]
	c := report.Compared(a, b)

	want := []string{"seed: 42 and 43", "fdatasync: 840 µs and 8.0 ms: another disk, or others used it", "setting autosave: budget and naive"}
	if !slices.Equal(c.Notes, want) {
		t.Errorf("notes %q, want %q", c.Notes, want)
	}
	for _, check := range c.Checks {
		if check.Changed != (check.Name == "budget") {
			t.Errorf("%+v", check)
		}
	}
	values := map[string]report.ValueChange{}
	for _, v := range c.Values {
		values[v.Name] = v
	}
	if v := values["commands a second"]; v.Ratio == nil || *v.Ratio != 0.5 {
		t.Errorf("%+v, want ratio 0.5", v)
	}
	if v := values["p99"]; v.A == nil || v.B == nil || v.Ratio != nil {
		t.Errorf("%+v: a ratio to 0", v)
	}
	if v := values["dropped saves"]; v.A != nil || v.B == nil || *v.B != 7 {
		t.Errorf("%+v, want only in B", v)
	}
	if v := values["open player, p99"]; v.A == nil || v.B != nil {
		t.Errorf("%+v, want only in A", v)
	}
	if notes := report.Compared(a, a).Notes; len(notes) != 0 {
		t.Errorf("a run differs from itself: %q", notes)
	}
}

func TestCompareFiles(t *testing.T) {
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")}
	for i, path := range paths {
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(report.Write(file, reporttest.Invented(2, 10, i == 1)), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	var text, asJSON strings.Builder
	if err := report.CompareFiles(&text, paths[0], paths[1], false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"B: invented", "BROKEN: budget (1 of 6 bounds)", "budget (changed)  held", "× 1"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if err := report.CompareFiles(&asJSON, paths[0], paths[1], true); err != nil {
		t.Fatal(err)
	}
	var c report.Comparison
	if err := json.Unmarshal([]byte(asJSON.String()), &c); err != nil || !c.A.OK || c.B.OK {
		t.Errorf("%v: %+v", err, c)
	}
	if err := report.CompareFiles(&text, paths[0], filepath.Join(dir, "none"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
