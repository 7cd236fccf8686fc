// Goal: docs/operating.md names everything that an operator can set or watch.
// Method: it is held against the settings of the code, and against what a running node shows.
package skerry_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/skerrytest"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func TestOperatingNamesEverySetting(t *testing.T) {
	doc := readDoc(t, "operating.md")
	config := node.DefaultConfig()
	for _, s := range node.Settings(&config) {
		value := s.Value.String()
		switch {
		case s.Name == "name":
			value = "the machine's name"
		case value == "":
			value = "none"
		}
		if row := fmt.Sprintf("\n| `%s` | %s | ", s.Name, value); !strings.Contains(doc, row) {
			t.Errorf("docs/operating.md has no line %q", row)
		}
	}
}

func TestOperatingNamesEveryMetric(t *testing.T) {
	doc := readDoc(t, "operating.md")
	running := skerrytest.Start(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, running.Admin()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	shown, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(shown)) {
		rest, isHelp := strings.CutPrefix(line, "# HELP skerry_")
		if !isHelp {
			continue
		}
		count++
		name, _, _ := strings.Cut(rest, " ")
		if !strings.Contains(doc, "| `skerry_"+name+"`") && !strings.Contains(doc, "| `skerry_"+name+"{") {
			t.Errorf("docs/operating.md does not name the metric skerry_%s", name)
		}
	}
	if count == 0 {
		t.Error("the node shows no metrics of its own")
	}
}

// TestTestingNamesRealTests: what docs/testing.md says is held by a test is held by one that exists.
func TestTestingNamesRealTests(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		code.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllStringSubmatch(readDoc(t, "testing.md"), -1)
	if len(names) == 0 {
		t.Fatal("docs/testing.md names no test")
	}
	for _, name := range names {
		if !strings.Contains(code.String(), "\nfunc "+name[1]+"(") {
			t.Errorf("docs/testing.md names %s, which does not exist", name[1])
		}
	}
}

// TestOperatingRulesAreRead reads the example of rules as a node would.
func TestOperatingRulesAreRead(t *testing.T) {
	_, rest, _ := strings.Cut(readDoc(t, "operating.md"), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	file := filepath.Join(t.TempDir(), "skerry.yaml")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil || !found {
		t.Fatal("no example: ", err)
	}
	config := node.DefaultConfig()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	node.AddFlags(flags, &config)
	if _, err := node.LoadConfig(&config, flags, file, func(string) (string, bool) { return "", false }); err != nil {
		t.Fatal(err)
	}
	if config.Rules["*"] == nil {
		t.Error("the example sets no rules")
	}
}
