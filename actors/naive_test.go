// Goal: the naive way, which others are compared with, does what it is blamed for. Method: as purses_test.go.
package actors

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// Everybody is saved at once: as many as there are tokens and places in the queue. The others are dropped until the next interval.
func TestNaiveAutosaveDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Naive: true, Events: saves.events(since()), ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=10000,set=60,burst=10,reserve=0", 0)
		tokens := w.players(60)
		for player, token := range tokens {
			ask(t, w.Host, player, earn(token, 1, 1, memory))
		}
		time.Sleep(4 * time.Minute)
		if last, saved := w.store.head(playerKey("p001")); last != 1 || saved != 0 {
			t.Errorf("a MEMORY event is in the journal at %d, saved %d, before any save", last, saved)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(saves.of(budget.Set)); n != 10 {
			t.Errorf("%d were saved at once", n)
		}
		time.Sleep(2 * time.Minute)
		if left, n := w.unsaved(tokens), len(saves.of(budget.Set)); n != 40 || left != 20 {
			t.Errorf("%d were saved, %d were not", n, left)
		}
		failed := 0
		r, err := w.server("s1", &skerryv1.Request{Request: &skerryv1.Request_GetServerEvents{GetServerEvents: &skerryv1.GetServerEventsRequest{Server: "s1"}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range r.GetGetServerEvents().GetEvents() {
			if event.GetType() == turn.EventSaveFailed {
				failed++
			}
		}
		if failed != 20 {
			t.Errorf("the server heard of %d failed saves", failed)
		}
		time.Sleep(time.Minute)
		if age := w.Stats().DirtyOldest; age < 7*time.Minute {
			t.Errorf("what was dropped is %s old", age)
		}
		time.Sleep(3 * time.Minute)
		if left := w.unsaved(tokens); left != 0 {
			t.Errorf("%d were not saved in the next interval", left)
		}
	})
}

// At the end everybody is saved, one after another, as the tokens come.
func TestNaiveShutdownIsSerial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{Naive: true, ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=10000,set=60,burst=10,reserve=0,shutdown=0", 0)
		w.players(30)
		began := time.Now()
		report, err := w.Shutdown(t.Context())
		if took := time.Since(began); err != nil || report.Saved != 31 || took < 19*time.Second || took > 21*time.Second {
			t.Errorf("%+v, %v, after %s", report, err, took)
		}
	})
}
