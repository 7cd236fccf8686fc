// Goal: the load is open: a late tool shows in its lag and in every latency, and what is too much is counted as failed.
// Method: play against a node in memory with a clock that began two seconds ago; and with room for one operation in flight.
package loadtest

import (
	"testing"
	"time"

	"github.com/skerry-dev/skerry/skerrytest"
)

// play plays a short scenario against a node, as if it had begun some time ago.
func play(t *testing.T, opts Options, ago time.Duration) *engine {
	t.Helper()
	s := base()
	s.Servers, s.Players, s.Minutes, s.Chests = 2, 10, 1, 2
	n := skerrytest.Start(t)
	opts.Addr, opts.Minute = n.GRPC(), time.Second
	if err := opts.defaults(&s); err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(t.Context(), &s, &opts, &target{opts: &opts, addrs: n.GRPC()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
	if err := e.openServers(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := newModel(&s, 1)
	e.began.Store(time.Now().UnixNano())
	for range s.Servers * s.Players { // who is there at the beginning: before the clock
		join, _ := m.next()
		e.do(t.Context(), &join)
	}
	if err := e.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.began.Store(time.Now().Add(-ago).UnixNano())
	if err := e.drive(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := e.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLoadIsOpen(t *testing.T) {
	prompt, late := play(t, Options{}, 0), play(t, Options{}, 3*time.Second)
	for name, c := range map[string]struct {
		e           *engine
		least, most float64 // ms
	}{
		"prompt": {prompt, 0, 1500},
		"late":   {late, 1900, 10_000}, // the last moment was due two seconds ago
	} {
		whole, count, failed, _ := c.e.rec.whole()
		lag := milliseconds(c.e.rec.lagged(), 50)
		if latency := milliseconds(whole, 50); latency < c.least || latency > c.most || lag < c.least || lag > c.most {
			t.Errorf("%s: latency %v ms, lag %v ms, want %v to %v", name, latency, lag, c.least, c.most)
		}
		if count < 200 || failed > 0 {
			t.Errorf("%s: %d operations, %d failed", name, count, failed)
		}
	}
}

func TestOverflowIsCounted(t *testing.T) {
	e := play(t, Options{MaxInFlight: 1}, 2*time.Second) // late, so that all comes at once
	busy := int64(0)
	for i := range e.rec.kinds {
		busy += e.rec.kinds[i].failed["TOOL_BUSY"]
	}
	if _, count, failed, _ := e.rec.whole(); busy == 0 || failed != busy {
		t.Errorf("%d of %d operations were too much, %d failed", busy, count, failed)
	}
	f, err := e.readBack(t.Context())
	if err != nil || len(f.wrong) > 0 || f.entities < 20 {
		t.Errorf("read back: %+v, %v", f, err)
	}
}
