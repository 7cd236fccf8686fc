// Goal: file, environment and flags say the same, and a mistake is named where it stands.
// Method: tables of sources against the effective value, and of mistakes against the message.
package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load is what the command does: flags, then the rest.
func load(t *testing.T, args []string, file string, env map[string]string) (Config, Sources, error) {
	t.Helper()
	c := DefaultConfig()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags, &c)
	if err := flags.Parse(args); err != nil {
		return c, nil, err
	}
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "skerry.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sources, err := LoadConfig(&c, flags, path, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return c, sources, err
}

func TestConfigSources(t *testing.T) {
	file := "autosave-interval: 1m\ninsecure: true\nstore-cache: 1GiB\nrequests-per-second: 2.5\n"
	for _, c := range []struct {
		name string
		args []string
		file string
		env  map[string]string
		want time.Duration
		from string
	}{
		{"default", nil, "", nil, 5 * time.Minute, ""},
		{"file", nil, file, nil, time.Minute, ":1"},
		{"environment over file", nil, file, map[string]string{"SKERRY_AUTOSAVE_INTERVAL": "2m"}, 2 * time.Minute, "SKERRY_AUTOSAVE_INTERVAL"},
		{"flag over all", []string{"--autosave-interval", "3m"}, file, map[string]string{"SKERRY_AUTOSAVE_INTERVAL": "2m"}, 3 * time.Minute, "flag"},
	} {
		got, sources, err := load(t, c.args, c.file, c.env)
		if err != nil || got.AutosaveAfter != c.want || !strings.HasSuffix(sources["autosave-interval"], c.from) {
			t.Errorf("%s: %v from %q, %v", c.name, got.AutosaveAfter, sources["autosave-interval"], err)
		}
		if c.file != "" && (!got.Insecure || got.StoreCache != 1<<30 || got.RequestsPerSecond != 2.5) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// Every setting can be set in all three ways, to what it shows itself as.
func TestEverySettingEverywhere(t *testing.T) {
	defaults := DefaultConfig()
	for _, s := range Settings(&defaults) {
		value := s.Value.String()
		if value == "" {
			continue // tls-cert and tls-key
		}
		for way, err := range map[string]error{
			"flag": func() error { _, _, err := load(t, []string{"--" + s.Name + "=" + value}, "", nil); return err }(),
			"file": func() error { _, _, err := load(t, nil, s.Name+": \""+value+"\"\n", nil); return err }(),
			"env":  func() error { _, _, err := load(t, nil, "", map[string]string{s.Env(): value}); return err }(),
		} {
			if err != nil {
				t.Errorf("%s as %s: %v", s.Name, way, err)
			}
		}
		if s.Help == "" {
			t.Errorf("%s has no explanation", s.Name)
		}
	}
}

func TestConfigMistakesAreNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		file string
		env  map[string]string
		want []string
	}{
		{name: "unknown key", file: "name: a\nautosav-interval: 1m\n", want: []string{"skerry.yaml:2", `did you mean "autosave-interval"`}},
		{name: "underscore", file: "autosave_interval: 1m\n", want: []string{`did you mean "autosave-interval"`}},
		{name: "far off", file: "zzzzzzzzzz: 1\n", want: []string{"skerry.yaml:1", "skerry config"}},
		{name: "bad duration", file: "journal-interval: soon\n", want: []string{"skerry.yaml:1: journal-interval", "500ms"}},
		{name: "bad number", file: "partitions: many\n", want: []string{`skerry.yaml:1: partitions: "many" is no whole number`}},
		{name: "doubled key", file: "name: a\nname: b\n", want: []string{"line 2"}},
		{name: "nested", file: "name:\n  a: b\n", want: []string{"skerry.yaml:1: name"}},
		{name: "no mapping", file: "- a\n", want: []string{"NAME: VALUE"}},
		{name: "rules", file: "rules:\n  main:\n    hotbarSlot: 3\n", want: []string{"line 3", "hotbarSlot"}},
		{name: "rules that are wrong", file: "rules:\n  main:\n    hotbarSlots: 99999\n", want: []string{"rules of main", "hotbarSlots"}},
		{name: "a space's name", file: "rules:\n  Main: {}\n", want: []string{"Main"}},
		{name: "second document", file: "name: a\n---\npartitions: 9\n", want: []string{"skerry.yaml:2", "second document"}},
		{name: "too much", args: []string{"--request-timeout", "1h", "--store-memtable", "8GiB"}, want: []string{"request-timeout: 1h0m0s is more", "store-memtable: 8GiB is more"}},
		{name: "environment", env: map[string]string{"SKERRY_STORE_CACHE": "much"}, want: []string{"SKERRY_STORE_CACHE", "MiB"}},
		{
			name: "all at once", args: []string{"--partitions", "0", "--http", "7700", "--log-level", "loud", "--tls-cert", "x", "--journal-interval", "-1s"},
			want: []string{"partitions: 0", `http: "7700"`, "log-level", "tls-key", "journal-interval: -1s"},
		},
	} {
		_, _, err := load(t, c.args, c.file, c.env)
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", c.name, err, want)
			}
		}
	}
}

func TestRulesOfSpaces(t *testing.T) {
	c, _, err := load(t, nil, "rules:\n  main:\n    hotbarSlots: 3\n  \"*\":\n    hotbarSlots: 4\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.rulesOf("main").HotbarSlots != 3 || c.rulesOf("other").HotbarSlots != 4 {
		t.Errorf("%+v, %+v", c.rulesOf("main"), c.rulesOf("other"))
	}
	none := DefaultConfig()
	if none.rulesOf("main") != nil {
		t.Errorf("%+v", none.rulesOf("main"))
	}
}

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
		show string
	}{
		{"64MiB", 64 << 20, "64MiB"},
		{"1.5GiB", 3 << 29, "1536MiB"},
		{"500MB", 5e8, "500000000B"},
		{"12", 12, "12B"},
		{"0", 0, "0B"},
	} {
		var b Bytes
		if err := b.Set(c.text); err != nil || int64(b) != c.want {
			t.Errorf("%s: %d, %v", c.text, b, err)
		}
		show := b.String()
		if show != c.show {
			t.Errorf("%s shows as %s", c.text, show)
		}
	}
	for _, bad := range []string{"", "-1", "x", "1XB", "NaN", "1e40"} {
		var b Bytes
		if b.Set(bad) == nil {
			t.Errorf("%q was accepted as %d", bad, b)
		}
	}
}

func TestOnLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "127.8.8.8:0": true,
		"0.0.0.0:1": false, ":7700": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false,
	} {
		if onLoopback(addr) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	got := UnknownVariables([]string{"SKERRY_STORE_CACHE=1GiB", "SKERRY_STORE_CASH=1GiB", "PATH=/bin", "SKERRY_KEY=k", "SKERRY_A=1"}, "SKERRY_KEY")
	if want := []string{"SKERRY_A", "SKERRY_STORE_CASH"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
