package main

import (
	"errors"
	"fmt"
)

// looks returns what each canvas shows, as a sum of its picture.
const looks = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(
  [...document.querySelectorAll("figure canvas")].map((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let sum = 0;
    for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) | 0;
    return sum;
  })))))`

// place is where the first plot's inside is in the window.
const place = `(() => {
  document.querySelector("#plots").scrollIntoView();
  const r = document.querySelector("#plots .u-over").getBoundingClientRect();
  return { x: r.x, y: r.y, width: r.width, height: r.height };
})()`

// play uses what is loaded as a person would: it looks closer, at loads, at more servers, at one, and in the dark.
func play(b *browser) error {
	before, err := b.looks()
	if err != nil {
		return err
	}
	var wrong []error
	claim := func(ok bool, what string) {
		if !ok {
			wrong = append(wrong, errors.New(what))
		}
	}
	if err := b.drag(1); err != nil {
		return err
	}
	closer, err := b.looks()
	if err != nil {
		return err
	}
	same := alike(before, closer)
	claim(same == 0, fmt.Sprintf("looking closer in one plot left %d of %d as they were", same, len(before)))
	if err := b.drag(2); err != nil {
		return err
	}
	again, err := b.looks()
	if err != nil {
		return err
	}
	same = alike(before, again)
	claim(same == len(before), fmt.Sprintf("after a double click only %d of %d are as before", same, len(before)))

	var after struct {
		Loads, More, Found int
		Text               string
		Changed            bool
	}
	if err := b.evaluate(`(() => {
	  const budgets = () => document.querySelectorAll("#budgets figure").length, text = () => document.querySelector("#budgets").textContent;
	  const saves = text(), found = document.getElementById("filter");
	  document.querySelector("[data-class=get]").click();
	  const out = { Loads: budgets(), Changed: text() !== saves };
	  document.getElementById("more").click();
	  out.More = budgets();
	  found.value = "SERVER-17";
	  found.dispatchEvent(new Event("input"));
	  out.Found = budgets();
	  out.Text = document.querySelector("#budgets figcaption").textContent;
	  return out;
	})()`, &after); err != nil {
		return err
	}
	claim(after.Loads == 12 && after.More == 20 && after.Found == 1 && after.Changed, fmt.Sprintf("the budgets' buttons gave %+v", after))

	if err := b.scheme("dark"); err != nil {
		return err
	}
	dark, err := b.looks()
	if err != nil {
		return err
	}
	claim(len(dark) > 0 && len(again) > 0 && dark[0] != again[0], "the plots do not follow a change to dark")
	fmt.Printf("%-12s zoomed in %d plots and back; loads: %d plots, more: %d, of one name: %d; followed a change to dark\n", "played", len(before), after.Loads, after.More, after.Found)
	return errors.Join(wrong...)
}

// alike is how many pictures are the same.
func alike(a, b []int64) int {
	same := 0
	for i := range a {
		if i < len(b) && a[i] == b[i] {
			same++
		}
	}
	return same
}

func (b *browser) looks() ([]int64, error) {
	var sums []int64
	err := b.evaluate(looks, &sums)
	return sums, err
}

func (b *browser) scheme(name string) error {
	return b.call("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": name}},
	}, nil)
}

// drag goes over a part of the first plot with the button held down; twice: it double-clicks there instead.
func (b *browser) drag(clicks int) error {
	var at struct{ X, Y, Width, Height float64 }
	if err := b.evaluate(place, &at); err != nil {
		return err
	}
	from, to, y := at.X+0.3*at.Width, at.X+0.6*at.Width, at.Y+0.5*at.Height
	type step struct {
		kind  string
		x     float64
		count int
	}
	steps := []step{{"mouseMoved", from, 0}, {"mousePressed", from, 1}, {"mouseMoved", (from + to) / 2, 0}, {"mouseMoved", to, 0}, {"mouseReleased", to, 1}}
	if clicks == 2 {
		steps = []step{
			{"mouseMoved", to, 0},
			{"mousePressed", to, 1},
			{"mouseReleased", to, 1},
			{"mousePressed", to, 2},
			{"mouseReleased", to, 2},
			{"mouseMoved", 1, 0}, // the cursor leaves
		}
	}
	for _, s := range steps {
		event := map[string]any{"type": s.kind, "x": s.x, "y": y, "button": "left", "clickCount": s.count}
		if s.kind == "mouseMoved" {
			event["button"] = "none"
			if clicks == 1 && s.x > from {
				event["buttons"] = 1
			}
		}
		if err := b.call("Input.dispatchMouseEvent", event, nil); err != nil {
			return err
		}
	}
	return nil
}
