package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxScenarioBytes bounds a scenario's file.
const maxScenarioBytes = 1 << 20

// ParseScenario reads a scenario from YAML. What is left out is as in steady. Errors begin with the file's name and the line, name the
// setting, and wrap [ErrScenario]; all problems come at once.
func ParseScenario(file string, in io.Reader) (*Scenario, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxScenarioBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(text) > maxScenarioBytes {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", file, ErrScenario, maxScenarioBytes)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrScenario, err)
	}
	s := base()
	steady(&s)
	s.Name, s.Description = "", ""
	p := parser{file: file, lines: map[string]int{}}
	if len(document.Content) > 0 {
		p.fill(reflect.ValueOf(&s).Elem(), document.Content[0], "")
	}
	if s.Name == "" {
		p.complain(1, "name", "a scenario needs one")
	}
	if len(p.problems) == 0 { // else the numbers are not what was meant
		p.validate(&s)
	}
	return &s, errors.Join(p.problems...)
}

// YAML is the scenario as a file, with all its settings.
func (s *Scenario) YAML() ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("# A scenario of skerry-load. Times are minutes of the scenario; docs/load-testing.md explains every setting.\n")
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(s), encoder.Close()); err != nil {
		return nil, fmt.Errorf("write scenario %s: %w", s.Name, err)
	}
	return out.Bytes(), nil
}

// parser fills a scenario from a document, and knows where each setting stands.
type parser struct {
	file     string
	lines    map[string]int // by setting
	problems []error
}

func (p *parser) complain(line int, setting, text string) {
	p.problems = append(p.problems, fmt.Errorf("%s:%d: %w", p.file, line, problem{setting, text}))
}

// fill sets the fields of a struct from a mapping.
func (p *parser) fill(to reflect.Value, from *yaml.Node, path string) {
	if from.Kind != yaml.MappingNode {
		p.complain(from.Line, strings.TrimSuffix(path, "."), "settings are expected here, one a line: `name: value`")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(from.Content); i += 2 {
		name, value := from.Content[i], from.Content[i+1]
		field, ok := fieldOf(to, name.Value)
		switch {
		case !ok:
			p.complain(name.Line, path+name.Value, "there is no such setting; there are "+strings.Join(fieldsOf(to), ", "))
		case seen[name.Value]:
			p.complain(name.Line, path+name.Value, "it is set twice")
		default:
			p.set(field, value, path+name.Value)
		}
		seen[name.Value] = true
	}
}

// set gives one setting its value.
func (p *parser) set(to reflect.Value, from *yaml.Node, path string) {
	p.lines[path] = from.Line
	switch to.Kind() {
	case reflect.Struct:
		if to.Type() == reflect.TypeFor[Mix]() || to.Type() == reflect.TypeFor[Event]() {
			to.SetZero() // a mix is meant whole
		}
		p.fill(to, from, path+".")
	case reflect.Slice:
		if from.Kind != yaml.SequenceNode {
			p.complain(from.Line, path, "a list is expected: `- {at: 3, do: kill, back: 2}`")
			return
		}
		to.Set(reflect.MakeSlice(to.Type(), len(from.Content), len(from.Content)))
		for i, one := range from.Content {
			p.set(to.Index(i), one, fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		if err := from.Decode(to.Addr().Interface()); err != nil {
			p.complain(from.Line, path, fmt.Sprintf("%q is not %s", from.Value, kindName(to.Kind())))
		}
	}
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	default:
		return "a text"
	}
}

// validate adds the scenario's own problems, each at the line of its setting.
func (p *parser) validate(s *Scenario) {
	err := s.Validate()
	if err == nil {
		return
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		p.problems = append(p.problems, err)
		return
	}
	for _, one := range flatten(joined.Unwrap()) {
		if what, ok := errors.AsType[problem](one); ok {
			p.complain(p.lineOf(what.setting), what.setting, what.text)
		}
	}
}

func flatten(errs []error) (flat []error) {
	for _, err := range errs {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			flat = append(flat, flatten(joined.Unwrap())...)
		} else if err != nil {
			flat = append(flat, err)
		}
	}
	return flat
}

// lineOf is the line of a setting, or of what it is in; 1 when it was left out.
func (p *parser) lineOf(setting string) int {
	for setting != "" {
		if line, ok := p.lines[setting]; ok {
			return line
		}
		setting = setting[:max(strings.LastIndexAny(setting, ".["), 0)]
	}
	return 1
}

// fieldOf is the field of a setting's name.
func fieldOf(of reflect.Value, name string) (reflect.Value, bool) {
	for i := range of.NumField() {
		if tagOf(of.Type().Field(i)) == name {
			return of.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func fieldsOf(of reflect.Value) (names []string) {
	for i := range of.NumField() {
		names = append(names, tagOf(of.Type().Field(i)))
	}
	return names
}

func tagOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}
