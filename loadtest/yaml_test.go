// Goal: a scenario's file is read as it is meant, or refused with the line of each mistake.
// Method: a table of mistakes; and every built-in scenario written and read again.
package loadtest

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestScenariosReadBack(t *testing.T) {
	for _, s := range Builtin() {
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		text, err := s.YAML()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseScenario(s.Name+".yaml", strings.NewReader(string(text)))
		if err != nil {
			t.Errorf("%s: %v\n%s", s.Name, err, text)
			continue
		}
		if len(got.Events) == 0 {
			got.Events = nil
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("%s came back as\n%+v, was\n%+v", s.Name, got, s)
		}
	}
}

func TestScenarioRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown setting":        {"name: x\nplayrs: 3\n", "f.yaml:2: playrs: there is no such setting; there are name"},
		"unknown in a mix":       {"name: x\nmix:\n  earn: 1\n  dance: 2\n", "f.yaml:4: mix.dance: there is no such setting"},
		"no number":              {"name: x\n\nplayers: many\n", "f.yaml:3: players: \"many\" is not a whole number"},
		"out of range":           {"name: x\nservers: 0\n", "f.yaml:2: servers: 0 is not within 1 to 1000"},
		"unknown budget":         {"name: x\nbudget: gold\n", "f.yaml:2: budget: "},
		"unknown autosave":       {"name: x\nautosave: never\n", "f.yaml:2: autosave: \"never\" is not budget or naive"},
		"an event too late":      {"name: x\nminutes: 3\nevents:\n  - {at: 1, do: close}\n  - {at: 4, do: close}\n", "f.yaml:5: events[1].at: 4 is not within 0 to 3"},
		"an unknown event":       {"name: x\nevents:\n  - at: 1\n    do: dance\n", "f.yaml:4: events[0].do: \"dance\""},
		"a kill without an end":  {"name: x\nevents:\n  - {at: 1, do: kill}\n", "f.yaml:3: events[0].back: 0 is not"},
		"events that are none":   {"name: x\nevents: 3\n", "f.yaml:2: events: a list is expected"},
		"twice":                  {"name: x\nhop: 1\nhop: 2\n", "f.yaml:3: hop: it is set twice"},
		"no name":                {"players: 3\n", "f.yaml:1: name: a scenario needs one"},
		"empty":                  {"", "f.yaml:1: name: a scenario needs one"},
		"not YAML":               {"name: [\n", "f.yaml: "},
		"a list":                 {"- name: x\n", "f.yaml:1: : settings are expected here"},
		"a bound below nothing":  {"name: x\nbounds:\n  p99: -1\n", "f.yaml:3: bounds.p99: -1 is not within"},
		"chests without a world": {"name: x\nworlds: 0\nmix: {chest: 1}\n", "f.yaml:3: mix.chest: takes a chest"},
		"nothing to do":          {"name: x\nmix: {}\n", "f.yaml:2: mix: nothing to do"},
		"two mistakes":           {"name: x\nhop: 101\nnodes: 99\n", "f.yaml:2: hop: "},
	} {
		_, err := ParseScenario("f.yaml", strings.NewReader(c.text))
		if !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if name == "two mistakes" && !strings.Contains(err.Error(), "f.yaml:3: nodes: ") {
			t.Errorf("the second mistake is missing: %v", err)
		}
	}
}

func FuzzParseScenario(f *testing.F) {
	for _, s := range Builtin() {
		text, err := s.YAML()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("name: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScenario("f.yaml", strings.NewReader(text))
		if err == nil {
			if err := s.Validate(); err != nil {
				t.Fatalf("read, but not valid: %v", err)
			}
		}
	})
}
