package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// browser is a headless Chromium, driven over two pipes with its DevTools protocol: JSON, a zero byte after each message.
// Its methods are for one goroutine.
type browser struct {
	cmd     *exec.Cmd
	to      io.WriteCloser
	from    *bufio.Reader
	session string
	last    int
	// complaints are what the page said to its console, and what it threw.
	complaints []string
	loaded     bool
}

// message is an answer or an event.
type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// findChromium returns the path of a Chromium or Chrome, or "".
func findChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// open starts Chromium with an empty profile in dir and opens an empty page. It ends with ctx at the latest.
func open(ctx context.Context, path, dir string) (*browser, error) {
	toRead, to, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open a pipe: %w", err)
	}
	from, fromWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open a pipe: %w", err)
	}
	b := &browser{to: to, from: bufio.NewReaderSize(from, 1<<20)}
	b.cmd = exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
		"--user-data-dir="+filepath.Join(dir, "profile"))
	b.cmd.ExtraFiles = []*os.File{toRead, fromWrite} // 3 and 4
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	toRead.Close()
	fromWrite.Close() // so that reading ends when Chromium does
	var target struct {
		TargetID string `json:"targetId"`
	}
	if err := b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, errors.Join(err, b.close())
	}
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	if err := b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return nil, errors.Join(err, b.close())
	}
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		if err := b.call(domain+".enable", nil, nil); err != nil {
			return nil, errors.Join(err, b.close())
		}
	}
	return b, nil
}

// close ends Chromium and waits for it.
func (b *browser) close() error {
	b.session = ""
	_ = b.call("Browser.close", nil, nil) // it may be gone already: Wait tells
	b.to.Close()
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("chromium ended: %w", err)
	}
	return nil
}

// call sends a command and waits for its answer; events before it are noted.
func (b *browser) call(method string, params, result any) error {
	b.last++
	id := b.last
	command := map[string]any{"id": id, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	data, err := json.Marshal(command)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if _, err := b.to.Write(append(data, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	for {
		m, err := b.next()
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		if m.ID != id {
			continue
		}
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	}
}

// next returns the next message, and notes what it says of the page.
func (b *browser) next() (message, error) {
	data, err := b.from.ReadBytes(0)
	if err != nil {
		return message{}, fmt.Errorf("chromium went away: %w", err)
	}
	var m message
	if err := json.Unmarshal(data[:len(data)-1], &m); err != nil {
		return message{}, fmt.Errorf("what chromium said: %w", err)
	}
	switch m.Method {
	case "Page.loadEventFired":
		b.loaded = true
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.loadingFailed":
		b.complaints = append(b.complaints, m.Method+" "+string(m.Params))
	case "Network.requestWillBeSent":
		b.noteRequest(m.Params)
	}
	return m, nil
}

// noteRequest complains of everything that the page wants from elsewhere.
func (b *browser) noteRequest(params json.RawMessage) {
	var sent struct {
		Type    string `json:"type"`
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
	}
	if json.Unmarshal(params, &sent) != nil || (sent.Type != "Document" && len(sent.Request.URL) > 5 && sent.Request.URL[:5] != "data:") {
		b.complaints = append(b.complaints, "it asked for "+sent.Request.URL)
	}
}

// show loads a page and waits until it is there.
func (b *browser) show(url string, width, height int, scheme string) error {
	b.complaints, b.loaded = nil, false
	narrow := width < 600
	if err := b.call("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 1, "mobile": narrow,
	}, nil); err != nil {
		return err
	}
	if err := b.scheme(scheme); err != nil {
		return err
	}
	if err := b.call("Page.navigate", map[string]any{"url": url}, nil); err != nil {
		return err
	}
	for !b.loaded {
		if _, err := b.next(); err != nil {
			return err
		}
	}
	return nil
}

// evaluate runs an expression, a promise's value if it is one, in the page.
func (b *browser) evaluate(expression string, result any) error {
	var out struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	if err := b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out); err != nil {
		return err
	}
	if out.Exception != nil {
		return fmt.Errorf("evaluate: %s", out.Exception.Text)
	}
	return json.Unmarshal(out.Result.Value, result)
}

// picture takes a PNG of the page: all of it, or the first height pixels.
func (b *browser) picture(width, height int) ([]byte, error) {
	var shot struct {
		Data []byte `json:"data"`
	}
	err := b.call("Page.captureScreenshot", map[string]any{
		"format": "png", "captureBeyondViewport": true,
		"clip": map[string]any{"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
	}, &shot)
	return shot.Data, err
}
