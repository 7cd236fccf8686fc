// Goal: the command does what its help says, and its exit code tells what came of it.
// Method: run it in this process; the nodes that it starts are this test's program again.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/loadtest"
	"github.com/skerry-dev/skerry/loadtest/report"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "node" {
		main()
	}
	os.Exit(m.Run())
}

// said is what a call came to.
type said struct {
	code     int
	out, err string
}

func call(t *testing.T, args ...string) said {
	t.Helper()
	var out, err bytes.Buffer
	code := run(t.Context(), args, streams{out: &out, err: &err}, func(string) (string, bool) { return "", false })
	return said{code, out.String(), err.String()}
}

func TestUsage(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("name: x\nplayrs: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string // in what it says
	}{
		"help":                 {[]string{"--help"}, exitOK, "Exit status: 0 when every bound held"},
		"nothing":              {nil, exitOK, "skerry-load run steady --embedded 1"},
		"version":              {[]string{"version"}, exitOK, "skerry-load "},
		"no such command":      {[]string{"dance"}, exitUsage, `unknown command "dance"`},
		"no such flag":         {[]string{"run", "steady", "--dance"}, exitUsage, "unknown flag: --dance"},
		"no scenario":          {[]string{"run"}, exitUsage, "which scenario?"},
		"no such scenario":     {[]string{"run", "dance"}, exitUsage, "there is no scenario \"dance\"; there are steady, join-storm"},
		"no such file":         {[]string{"run", "./none.yaml"}, exitUsage, "none.yaml"},
		"a wrong file":         {[]string{"run", bad}, exitUsage, bad + ":2: playrs: there is no such setting"},
		"a wrong setting":      {[]string{"run", "steady", "--servers", "9999"}, exitUsage, "servers: 9999 is not within"},
		"a wrong budget":       {[]string{"run", "steady", "--budget", "gold"}, exitUsage, "budget: "},
		"both":                 {[]string{"run", "steady", "--addr", "127.0.0.1:1", "--embedded", "1"}, exitUsage, "either an address or a number"},
		"a kill of another's":  {[]string{"run", "failover", "--addr", "127.0.0.1:1"}, exitUsage, "only to those that are started here"},
		"nobody there":         {[]string{"run", "steady", "--addr", "127.0.0.1:1", "--no-live"}, exitFailure, "connect to 127.0.0.1:1"},
		"scenarios":            {[]string{"scenarios"}, exitOK, "budget-edge\n"},
		"a scenario":           {[]string{"scenarios", "hop", "--yaml"}, exitOK, "\nhop: 90\n"},
		"YAML of which":        {[]string{"scenarios", "--yaml"}, exitUsage, "of which scenario?"},
		"compare one":          {[]string{"compare", "a.json"}, exitUsage, "accepts 2 arg(s)"},
		"compare what is none": {[]string{"compare", bad, bad}, exitFailure, "not a report"},
	} {
		got := call(t, c.args...)
		if got.code != c.code || !strings.Contains(got.out+got.err, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", name, got.code, c.code, c.want, got.out, got.err)
		}
	}
}

func TestScenariosAreListed(t *testing.T) {
	text, asJSON := call(t, "scenarios"), call(t, "scenarios", "--json")
	var all []loadtest.Scenario
	if err := json.Unmarshal([]byte(asJSON.out), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range loadtest.Builtin() {
		if !strings.Contains(text.out, s.Name+"\n") || s.Description == "" {
			t.Errorf("%s is not listed, or has no description", s.Name)
		}
	}
	if len(all) != len(loadtest.Builtin()) {
		t.Errorf("%d scenarios as JSON", len(all))
	}
}

// A file of one's own, played for two seconds: the report is there in both forms, and the exit code is that of its checks.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mine.yaml")
	mine := "name: mine\nminutes: 2\nservers: 2\nplayers: 5\nbudget: unlimited\nbounds: {failed: 1, dirtyAge: false}\n"
	if err := os.WriteFile(file, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	got := call(t, "run", file, "--minute", "1s", "--embedded", "1", "--report", filepath.Join(dir, "report"), "--seed", "5", "--profile", filepath.Join(dir, "cpu"))
	if got.code != exitOK {
		t.Fatalf("exit %d\n%s%s", got.code, got.out, got.err)
	}
	for _, want := range []string{"held", "lost", "earn", "report.html"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("the summary has no %q:\n%s", want, got.out)
		}
	}
	in, err := os.Open(filepath.Join(dir, "report", "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // it was only read
	r, err := report.Read(in)
	if err != nil || r.Scenario != "mine" || r.Seed != 5 || !r.OK() || len(r.Samples) < 3 {
		t.Errorf("the report: %v, %+v", err, r)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report", "report.html"))
	if err != nil || !bytes.Contains(page, []byte("<html")) {
		t.Errorf("the page: %v", err)
	}

	// A bound that cannot hold breaks, and is named.
	strict := strings.Replace(mine, "{failed: 1, dirtyAge: false}", "{p99: 0.000001, dirtyAge: false}", 1)
	if err = os.WriteFile(file, []byte(strict), 0o600); err != nil {
		t.Fatal(err)
	}
	got = call(t, "run", file, "--minute", "500ms", "--embedded", "1", "--report", dir, "--json", "--no-live")
	if got.code != exitFailure || !strings.Contains(got.err, "broken: p99 (99 % of the latencies at most 1e-06 ms; found:") {
		t.Errorf("exit %d\n%s", got.code, got.err)
	}
	if _, err = report.Read(strings.NewReader(got.out)); err != nil {
		t.Errorf("--json: %v", err)
	}
	compared := call(t, "compare", filepath.Join(dir, "report", "report.json"), filepath.Join(dir, "report.json"))
	if compared.code != exitOK || !strings.Contains(compared.out, "p99") {
		t.Errorf("compare: %+v", compared)
	}
}

// Somebody who gives up is told so, and nothing is written.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, err bytes.Buffer
	dir := filepath.Join(t.TempDir(), "report")
	code := run(ctx, []string{"run", "steady", "--report", dir}, streams{out: &out, err: &err}, func(string) (string, bool) { return "", false })
	if code != exitFailure || !strings.Contains(err.String(), "context canceled") {
		t.Errorf("exit %d: %s", code, err.String())
	}
	if _, gone := os.Stat(dir); gone == nil {
		t.Error("there is a report")
	}
}
