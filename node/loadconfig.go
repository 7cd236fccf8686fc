package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"

	"github.com/skerry-dev/skerry/actors/player"
)

// AddFlags makes a flag of every setting of c. Parse the flags, then call [LoadConfig] with the same c.
func AddFlags(flags *pflag.FlagSet, c *Config) {
	for _, s := range Settings(c) {
		flag := flags.VarPF(s.Value, s.Name, "", s.Help)
		if s.Value.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// Sources says where each setting's value is from, by name: "flag", the environment variable's name, "FILE:LINE"; absent
// means the default.
type Sources map[string]string

// LoadConfig completes c, whose flags were parsed: what no flag has set is taken from the environment, else from the file,
// else keeps its default. file is "" for none; lookup is os.LookupEnv. It returns every problem at once: unknown and
// doubled keys with their lines, values that do not parse, and what [Config.Validate] finds.
func LoadConfig(c *Config, flags *pflag.FlagSet, file string, lookup func(string) (string, bool)) (Sources, error) {
	fromFile, problems := readFile(c, file)
	sources := Sources{}
	for _, s := range Settings(c) {
		if flags.Changed(s.Name) {
			sources[s.Name] = "flag"
			continue
		}
		value, source := fromFile[s.Name].text, fromFile[s.Name].source
		if text, ok := lookup(s.Env()); ok {
			value, source = text, s.Env()
		}
		if source == "" {
			continue
		}
		sources[s.Name] = source
		if err := s.Value.Set(value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", source, s.Name, err))
		}
	}
	if len(problems) == 0 {
		problems = append(problems, c.Validate())
	}
	return sources, errors.Join(problems...)
}

// UnknownVariables returns the names in environ (as os.Environ has it) that begin like a setting's variable and are none, nor
// among known: most likely they are misspelled.
func UnknownVariables(environ []string, known ...string) []string {
	config := DefaultConfig()
	for _, s := range Settings(&config) {
		known = append(known, s.Env())
	}
	var unknown []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "SKERRY_") && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// written is a value as it stands in the file.
type written struct{ text, source string }

// readFile reads the settings of a YAML file; the rules go into c at once.
func readFile(c *Config, file string) (map[string]written, []error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, []error{fmt.Errorf("read the configuration: %w", err)}
	}
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, []error{fmt.Errorf("%s: %w", file, err)}
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, []error{fmt.Errorf("%s:%d: a second document begins here; settings are one", file, second.Line)}
	}
	if len(document.Content) == 0 {
		return nil, nil // empty
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, []error{fmt.Errorf("%s:%d: settings are written as NAME: VALUE", file, root.Line)}
	}
	var problems []error
	values := map[string]written{}
	names := settingNames(c)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		place := fmt.Sprintf("%s:%d", file, key.Line)
		switch {
		case key.Value == rulesKey:
			continue
		case !names[key.Value]:
			problems = append(problems, fmt.Errorf("%s: unknown setting %q%s", place, key.Value, didYouMean(key.Value, names)))
		case value.Kind != yaml.ScalarNode:
			problems = append(problems, fmt.Errorf("%s: %s: one value belongs here", place, key.Value))
		default:
			values[key.Value] = written{text: value.Value, source: place}
		}
	}
	if err := readRules(c, data); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", file, err))
	}
	return values, problems
}

const rulesKey = "rules"

// readRules decodes the rules strictly; the decoder's errors name the line.
func readRules(c *Config, data []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	var file struct {
		Rules map[string]*player.Rules `yaml:"rules"`
		Rest  map[string]any           `yaml:",inline"`
	}
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("rules: %w", err)
	}
	c.Rules = file.Rules
	return nil
}

func settingNames(c *Config) map[string]bool {
	names := map[string]bool{rulesKey: true}
	for _, s := range Settings(c) {
		names[s.Name] = true
	}
	return names
}

// didYouMean is ": did you mean X?" when a name is near.
func didYouMean(wrong string, names map[string]bool) string {
	best, nearest := "", 4
	plain := strings.ToLower(strings.ReplaceAll(wrong, "_", "-"))
	for name := range names {
		if d := distance(plain, name); d < nearest || d == nearest && name < best {
			best, nearest = name, d
		}
	}
	if best == "" {
		return "; `skerry config` lists them"
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// distance is how many letters must be added, removed or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
