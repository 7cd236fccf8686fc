// Goal: a report survives its file, its page shows what it says and nothing of it becomes markup, and two compare.
// Method: reports that never were, one that is empty, and hostile ones; pages are parsed.
package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/skerry-dev/skerry/loadtest/report"
	"github.com/skerry-dev/skerry/loadtest/report/reporttest"
)

func page(tb testing.TB, r *report.Report) string {
	tb.Helper()
	var out strings.Builder
	if err := report.WriteHTML(&out, r); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

// elements returns the text of all elements of a name.
func elements(tb testing.TB, text, name string) []string {
	tb.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == name {
			var inside strings.Builder
			for child := range node.Descendants() {
				if child.Type == html.TextNode {
					inside.WriteString(child.Data + " ")
				}
			}
			out = append(out, strings.Join(strings.Fields(inside.String()), " "))
		}
	}
	return out
}

type plotsOfPage struct {
	Samples map[string][]float64    `json:"samples"`
	Marks   []report.Mark           `json:"marks"`
	Servers []struct{ Name string } `json:"servers"`
}

// plotData returns what the page's script will draw.
func plotData(tb testing.TB, text string) plotsOfPage {
	tb.Helper()
	var data plotsOfPage
	const before = `type="application/json">`
	from := strings.Index(text, before) + len(before)
	if err := json.NewDecoder(strings.NewReader(text[from:])).Decode(&data); err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := reporttest.Invented(3, 20, true)
	var file bytes.Buffer
	if err := report.Write(&file, want); err != nil {
		t.Fatal(err)
	}
	got, err := report.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("read %+v, want %+v", got, want)
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want error
		says string
	}{
		"empty":      {"", report.ErrNotReport, "line 1"},
		"not JSON":   {"{\n\"version\": 1,\n\"seed\": }", report.ErrNotReport, "line 3"},
		"no version": {`{"seed":1}`, report.ErrNotReport, "no version"},
		"a newer":    {`{"version":2,"seed":[]}`, report.ErrNewer, "form is 2"},
		"wrong type": {"{\"version\":1,\n\"seed\":\"x\"}", report.ErrNotReport, "line 2"},
		"two":        {`{"version":1}{}`, report.ErrNotReport, "line 1"},
		"a list":     {`[]`, report.ErrNotReport, "line 1"},
	} {
		_, err := report.Read(strings.NewReader(c.file))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v that says %q", name, err, c.want, c.says)
		}
	}
}

// Every float of a report is spoiled, also one that is added some day.
func TestNumbersThatAreNoneReachNoFile(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r := reporttest.Invented(2, 5, false)
		spoil(reflect.ValueOf(r), bad)
		if !math.IsNaN(r.Samples[1].P99) && !math.IsInf(r.Samples[1].P99, 0) {
			t.Fatal("nothing was spoiled")
		}
		if err := report.Write(&bytes.Buffer{}, r); err != nil {
			t.Errorf("%v: %v", bad, err)
		}
		if p99 := plotData(t, page(t, r)).Samples["p99"]; len(p99) != 5 {
			t.Errorf("%v: the plot has %v", bad, p99)
		}
		var out strings.Builder
		if err := errors.Join(report.Summary(&out, r), report.Compare(&out, r, r)); err != nil {
			t.Error(err)
		}
		if strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "Inf") {
			t.Errorf("%v is shown:\n%s", bad, out.String())
		}
		if _, err := json.Marshal(report.Compared(r, reporttest.Invented(2, 5, true))); err != nil {
			t.Error(err)
		}
		if !math.IsNaN(r.Samples[1].P99) && !math.IsInf(r.Samples[1].P99, 0) {
			t.Error("the caller's report was changed")
		}
	}
}

func spoil(v reflect.Value, bad float64) {
	switch v.Kind() {
	case reflect.Pointer:
		spoil(v.Elem(), bad)
	case reflect.Float64:
		v.SetFloat(bad)
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i), bad)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for _, field := range v.Fields() {
			spoil(field, bad)
		}
	default:
	}
}

func TestPageSaysItAll(t *testing.T) {
	r := reporttest.Invented(3, 20, true)
	text := page(t, r)
	if got := elements(t, text, "h1"); len(got) != 1 || got[0] != "invented" {
		t.Errorf("h1: %q", got)
	}
	if got := elements(t, text, "table"); len(got) != 2 {
		t.Fatalf("%d tables, want bounds and operations", len(got))
	} else if !strings.HasPrefix(got[0], "Check Bound Found broken budget") {
		t.Errorf("broken bounds are not first: %q", got[0])
	}
	body := strings.Join(elements(t, text, "body"), " ")
	for _, c := range r.Checks {
		if !strings.Contains(body, c.Found) || !strings.Contains(body, c.Bound) {
			t.Errorf("the page has no %q, %q", c.Bound, c.Found)
		}
	}
	for _, want := range []string{"1 of 6 bounds broken", "1,842,339", "3 OUTCOME_UNKNOWN, 12 UNAVAILABLE", "n2 killed (SIGKILL)", "autosave-interval", "invented machine", "840 µs"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

// The policy in the page lets a browser load nothing from anywhere; nothing asks it to either.
func TestPageStandsAlone(t *testing.T) {
	text := page(t, reporttest.Invented(1, 5, false))
	if !strings.Contains(text, `content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"`) {
		t.Error("the page has no policy")
	}
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for node := range root.Descendants() {
		for _, a := range node.Attr {
			if (a.Key == "src" || a.Key == "href") && !strings.HasPrefix(a.Val, "data:") {
				t.Errorf("%s asks for %s", node.Data, a.Val)
			}
		}
	}
}

const hostile = "</script><script>throw 1</script><img src=x onerror='throw 2'>\"`${x}\u2028<!--"

// hostileReport has the text wherever a report has text.
func hostileReport(text string) *report.Report {
	r := reporttest.Invented(2, 4, true)
	r.Scenario, r.Description, r.Machine.System = text, text, text
	r.Settings[text] = text
	r.Marks[0].Text, r.Checks[0] = text, report.Check{Name: text, Bound: text, Found: text, Detail: text}
	r.Totals[0].Name, r.Totals[0].Unit = text, text
	r.Operations[0].Name, r.Operations[0].Failed = text, map[string]int64{text: 1}
	r.Servers[0].Name, r.Servers[0].Profile = text, text
	return r
}

func TestNoTextBecomesMarkup(t *testing.T) {
	plain, spoiled := page(t, hostileReport("plain")), page(t, hostileReport(hostile))
	for _, name := range []string{"script", "img", "b", "table", "li", "style"} {
		if a, b := len(elements(t, plain, name)), len(elements(t, spoiled, name)); a != b {
			t.Errorf("%d elements %s, want %d", b, name, a)
		}
	}
	data := plotData(t, spoiled)
	if data.Marks[0].Text != hostile || data.Servers[0].Name != hostile {
		t.Errorf("the plots have %q and %q", data.Marks[0].Text, data.Servers[0].Name)
	}
}

func TestTerminalGetsNoControlCharacters(t *testing.T) {
	var out strings.Builder
	r := hostileReport("a\x1b[2Jb\nc\u009b")
	if err := errors.Join(report.Summary(&out, r), report.Compare(&out, r, r)); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u009b") || !strings.Contains(out.String(), "a [2Jb c") {
		t.Errorf("%q", out.String())
	}
}

func TestEmptyReport(t *testing.T) {
	r := &report.Report{Version: report.Version, Scenario: "nothing"}
	text := page(t, r)
	if !strings.Contains(text, "There are no samples") || strings.Contains(text, "uPlot=") {
		t.Error("the page of nothing has plots")
	}
	var out strings.Builder
	if err := report.Summary(&out, r); err != nil || !strings.Contains(out.String(), "Nothing was checked.") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestBigReportIsNoBurden(t *testing.T) {
	began := time.Now()
	text := page(t, reporttest.Invented(200, 600, false))
	if len(text) > 3_000_000 || time.Since(began) > 10*time.Second {
		t.Errorf("%d bytes in %v, want at most 3 MB", len(text), time.Since(began))
	}
	day := page(t, reporttest.Invented(2, 86_400, true)) // a point for every 72 samples
	if len(day) > 300_000 {
		t.Errorf("a day has %d bytes", len(day))
	}
	if !strings.Contains(day, "A point stands for 72 samples") {
		t.Error("the page of a day does not say that it is thinned")
	}
}

// A server that was above its limit in one sample of a day is so in the plot.
func TestThinningKeepsWhatBroke(t *testing.T) {
	r := reporttest.Invented(1, 7200, false)
	set := &r.Servers[0].Set
	for i := range set.Used {
		set.Used[i], set.Limit[i] = 10, 100
	}
	set.Used[3001], set.Limit[3001], set.Limit[3002] = 60, 50, 500
	r.Samples[3001].P99 = 12345
	text := page(t, r)
	if !strings.Contains(text, `"limit":[100,500,50,1,100,699]`) {
		t.Error("the limit that was broken is not in the plot")
	}
	if !strings.Contains(text, "1.234e+04") && !strings.Contains(text, "1.235e+04") {
		t.Error("the one slow interval is not in the plot")
	}
}

func FuzzRead(f *testing.F) {
	var file bytes.Buffer
	if err := report.Write(&file, reporttest.Invented(2, 3, true)); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"version":1,"samples":[{"at":1e308,"p50":1e-320,"p99":1e308}],"operations":[{"p50":5e-324,"p99":1e308}]}`))
	f.Add([]byte(`{"version":1,"scenario":"</script>","servers":[{"set":{"used":[1,2,3]}}],"samples":[{},{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := report.Read(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, report.ErrNotReport) && !errors.Is(err, report.ErrNewer) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		var again, text bytes.Buffer
		if err := errors.Join(report.Write(&again, r), report.Summary(&text, r), report.Compare(&text, r, r)); err != nil {
			t.Fatal(err)
		}
		if _, err := report.Read(&again); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if scripts := len(elements(t, page(t, r), "script")); scripts != 3 && scripts != 0 {
			t.Fatalf("%d scripts", scripts)
		}
	})
}
