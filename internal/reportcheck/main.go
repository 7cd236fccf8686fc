// Command reportcheck opens reports in a headless Chromium, wide and narrow, light and dark, and says what it saw: a page that asks
// for nothing from elsewhere, says nothing to its console, is no wider than its window, and has something drawn in every plot.
//
//	go run ./internal/reportcheck [-pictures DIR] [report.html|report.json …]
//
// Of a report.json it looks at the page that is made of it. Without files it looks at invented reports: one that held, one that broke, an empty one, and one of 200 servers. Where there is no
// Chromium it says so and tests nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/loadtest/report"
	"github.com/skerry-dev/skerry/loadtest/report/reporttest"
)

// timeLimit bounds the whole run.
const timeLimit = 2 * time.Minute

func main() {
	pictures := flag.String("pictures", "", "folder for a picture of each page")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	if err := run(ctx, flag.Args(), *pictures); err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, pages []string, pictures string) (err error) {
	path := findChromium()
	if path == "" {
		fmt.Println("NOT POSSIBLE HERE: there is no chromium, nothing was tested")
		return nil
	}
	dir, err := os.MkdirTemp("", "reportcheck")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	made := len(pages) == 0
	if made {
		if pages, err = invented(dir); err != nil {
			return err
		}
	}
	for i, page := range pages {
		if pages[i], err = asPage(page, dir); err != nil {
			return err
		}
	}
	b, err := open(ctx, path, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	var wrong []error
	for i, page := range pages {
		for _, view := range []view{{1280, "light"}, {1280, "dark"}, {400, "light"}, {400, "dark"}} {
			if err := look(b, page, view, pictures); err != nil {
				wrong = append(wrong, fmt.Errorf("%s at %d px, %s: %w", filepath.Base(page), view.width, view.scheme, err))
			}
			if made && i == 0 && view.width == 1280 && view.scheme == "light" {
				wrong = append(wrong, play(b))
			}
		}
	}
	return errors.Join(wrong...)
}

// invented writes the pages to look at when none is given.
func invented(dir string) ([]string, error) {
	bad := reporttest.Invented(3, 60, true)
	bad.Scenario = `</script><script>throw 1</script>`
	for i := range bad.Servers {
		bad.Servers[i].Name = `</script><img src=x onerror="throw 2">` + bad.Servers[i].Name
	}
	bad.Marks[1].Text = `<b>"'&</b></script><!-- ${x} `
	pages := []struct {
		name string
		r    *report.Report
	}{
		{"held", reporttest.Invented(20, 240, false)},
		{"broken", reporttest.Invented(20, 240, true)},
		{"hostile", bad},
		{"empty", &report.Report{Version: report.Version, Scenario: "empty", Checks: []report.Check{{Name: "lost", OK: true, Bound: "none", Found: "0"}}}},
		{"one-sample", reporttest.Invented(1, 1, false)},
		{"many", reporttest.Invented(200, 600, true)},
	}
	var paths []string
	for _, p := range pages {
		path, err := writePage(p.r, filepath.Join(dir, p.name+".html"))
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// asPage returns the page of a report: the file itself, or what is made of a report.json.
func asPage(path, dir string) (string, error) {
	name, isReport := strings.CutSuffix(filepath.Base(path), ".json")
	if !isReport {
		return path, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open report: %w", err)
	}
	defer file.Close()
	r, err := report.Read(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return writePage(r, filepath.Join(dir, name+".html"))
}

func writePage(r *report.Report, path string) (string, error) {
	var page strings.Builder
	if err := report.WriteHTML(&page, r); err != nil {
		return "", err
	}
	if err := os.WriteFile(path, []byte(page.String()), 0o600); err != nil {
		return "", fmt.Errorf("write page: %w", err)
	}
	return path, nil
}

// view is how a page is looked at.
type view struct {
	width  int
	scheme string
}

// seen is what measure found.
type seen struct {
	Title      string   `json:"title"`
	Plots      int      `json:"plots"`
	Blank      []string `json:"blank"`
	Wide       int      `json:"wide"`
	High       int      `json:"high"`
	Sticking   []string `json:"sticking"`
	HasSamples bool     `json:"hasSamples"`
	Wanted     int      `json:"wanted"`
	Milli      float64  `json:"milli"`
}

// measure waits for two frames, then looks at every canvas: a line's own colour must be in it, as the legend has it, for one
// line may cover another; a plot without a legend has green or orange. Fills and events do not count. WIDTH is the window's.
const measure = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
  const blank = [], sticking = [];
  const canvases = [...document.querySelectorAll("figure canvas")];
  const style = getComputedStyle(document.documentElement);
  const rgb = (text) => text.startsWith("#") ? [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)) : text.match(/\d+/g).slice(0, 3).map(Number);
  for (const canvas of canvases) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height), figure = canvas.closest("figure");
    const legend = [...figure.querySelectorAll(".u-series")].slice(1).map((row) => [row.innerText, rgb(getComputedStyle(row.querySelector(".u-marker")).backgroundColor)]);
    const seen = ([r, g, b]) => {
      let n = 0;
      for (let i = 0; i < data.length; i += 4)
        if (data[i + 3] > 100 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 40) n++;
      return n > 8;
    };
    const missing = legend.filter(([, colour]) => !seen(colour)).map(([name]) => name);
    if (!legend.length && !["--green", "--orange"].some((name) => seen(rgb(style.getPropertyValue(name).trim())))) missing.push("used");
    if (missing.length >= Math.max(1, legend.length)) blank.push(figure.querySelector("figcaption").textContent + ": " + missing);
  }
  for (const e of document.querySelectorAll("body *"))
    if (e.getBoundingClientRect().right > WIDTH + 1 && !e.closest(".u-over, .u-under")) sticking.push(e.tagName + "." + e.className);
  const text = document.getElementById("data");
  const data = text ? JSON.parse(text.textContent) : { servers: [] };
  done({
    title: document.title, plots: canvases.length, blank, sticking: sticking.slice(0, 5),
    wide: document.documentElement.scrollWidth, high: document.documentElement.scrollHeight,
    hasSamples: !!text, wanted: text ? 7 + (data.servers.some((s) => [...s.get.limit, ...s.set.limit].some((v, i) => i % 2 === 0 && v > 0)) ? 1 : 0) + Math.min(12, data.servers.length) : 0,
    milli: performance.getEntriesByType("navigation")[0].loadEventEnd,
  });
})))`

// look opens a page, says what it saw, and returns what is wrong with it.
func look(b *browser, page string, v view, pictures string) error {
	absolute, err := filepath.Abs(page)
	if err != nil {
		return fmt.Errorf("find the page: %w", err)
	}
	if err := b.show("file://"+absolute, v.width, 900, v.scheme); err != nil {
		return err
	}
	var s seen
	if err := b.evaluate(strings.ReplaceAll(measure, "WIDTH", strconv.Itoa(v.width)), &s); err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(page), ".html")
	fmt.Printf("%-12s %4d px %-5s %2d plots, %d blank; %d × %d px; loaded in %.0f ms; console: %d\n",
		name, v.width, v.scheme, s.Plots, len(s.Blank), s.Wide, s.High, s.Milli, len(b.complaints))
	if pictures != "" {
		if err := savePicture(b, filepath.Join(pictures, fmt.Sprintf("%s-%d-%s.png", name, v.width, v.scheme)), v.width, s.High); err != nil {
			return err
		}
	}
	var wrong []error
	for _, complaint := range b.complaints {
		wrong = append(wrong, errors.New(complaint))
	}
	if len(s.Blank) > 0 {
		wrong = append(wrong, fmt.Errorf("nothing is drawn in %q", s.Blank))
	}
	if s.Plots != s.Wanted {
		wrong = append(wrong, fmt.Errorf("%d plots, want %d", s.Plots, s.Wanted))
	}
	if s.Wide > v.width || len(s.Sticking) > 0 {
		wrong = append(wrong, fmt.Errorf("%d px wide, %q stick out", s.Wide, s.Sticking))
	}
	return errors.Join(wrong...)
}

func savePicture(b *browser, path string, width, height int) error {
	png, err := b.picture(width, height)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("save picture: %w", err)
	}
	if err := os.WriteFile(path, png, 0o600); err != nil {
		return fmt.Errorf("save picture: %w", err)
	}
	return nil
}
