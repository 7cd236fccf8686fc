// Goal: what a new user does first works, over JSON and over the client.
// Method: the tour, step by step, against a whole node in memory that is stopped and started in between.
package skerrytest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/skerrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTourWithClient(t *testing.T) {
	n := skerrytest.Start(t)
	c := n.Client(t)
	s1 := register(t, c, "s1", nil)
	ann, err := s1.OpenPlayer(t.Context(), "1001", client.OpenOptions{Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	doc := ann.Document()
	if !ann.IsNew() || doc.GetName() != "Ann" || doc.GetProfile().GetCoins() != 100 || doc.GetProfile().GetLevel() != 1 ||
		len(doc.GetInventory().GetHotbar()) != 9 || len(doc.GetInventory().GetInventory()) != 27 {
		t.Fatalf("a new player: %v", doc)
	}
	first, err := ann.Do(t.Context(), client.DoOptions{}, &skerryv1.PlayerCommand{
		Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: client.Coins, Amount: 50}},
	})
	if err != nil || !first.Durable || first.Replies[0].GetBalance().GetBalance() != 150 {
		t.Fatalf("earned: %v, %v", first, err)
	}

	n.Restart(t)
	if doc, err = ann.Refresh(t.Context()); err != nil || doc.GetProfile().GetCoins() != 150 {
		t.Fatalf("after a restart: %v, %v", doc, err)
	}
	status, err := ann.Outcome(t.Context(), first.CommandID)
	if err != nil || status.Status != "APPLIED" || status.Result.Replies[0].GetBalance().GetBalance() != 150 {
		t.Errorf("what became of the command: %+v, %v", status, err)
	}
	if status, err = ann.Outcome(t.Context(), 99); err != nil || status.Status != "NOT_SEEN" {
		t.Errorf("what became of one never sent: %+v, %v", status, err)
	}
	balance, err := ann.Earn(t.Context(), client.Coins, 1) // the session is still valid
	if err != nil || balance != 151 {
		t.Errorf("after a restart: %d, %v", balance, err)
	}

	s2 := register(t, n.Client(t), "s2", nil)
	taken, err := s2.OpenPlayer(t.Context(), "1001", client.OpenOptions{})
	if err != nil || taken.IsNew() || taken.Document().GetProfile().GetCoins() != 151 {
		t.Fatalf("taken over: %v", err)
	}
	if _, err := ann.Earn(t.Context(), client.Coins, 1); !errors.Is(err, client.ErrSessionTaken) {
		t.Errorf("with the old session: %v", err)
	}
	if <-ann.Done(); !errors.Is(ann.Err(), client.ErrSessionTaken) {
		t.Errorf("the old session ended with %v", ann.Err())
	}
	if err := taken.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Player(t.Context(), "nobody"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an unknown player: %v", err)
	}
}

func register(t *testing.T, c *client.Client, id string, onEvent func(*client.Event)) *client.Server {
	t.Helper()
	s, err := c.RegisterServer(t.Context(), id, client.ServerOptions{OnEvent: onEvent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abandon)
	return s
}

// A take-over is heard without a call.
func TestTakeOverIsHeard(t *testing.T) {
	n := skerrytest.Start(t)
	events := make(chan *client.Event, 16)
	s1 := register(t, n.Client(t), "s1", func(e *client.Event) { events <- e })
	ann, err := s1.OpenPlayer(t.Context(), "1001", client.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s2 := register(t, n.Client(t), "s2", nil)
	if _, err := s2.OpenPlayer(t.Context(), "1001", client.OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ann.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("not heard within 10 s")
	}
	if e := <-events; e.GetType() != client.EventSessionTaken || e.GetEntity() != "1001" || e.GetSession() != ann.Token() {
		t.Errorf("heard %v", e)
	}
}

// Stopping saves what MEMORY commands left, also when no interval has passed.
func TestGracefulStopSaves(t *testing.T) {
	n := skerrytest.Start(t, func(c *node.Config) { c.JournalAfter, c.AutosaveAfter = time.Hour, time.Hour })
	ann, err := n.Client(t).OpenPlayer(t.Context(), "1001", client.OpenOptions{Server: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ann.Earn(t.Context(), client.Coins, 7, client.Memory); err != nil {
		t.Fatal(err)
	}
	n.Restart(t)
	if doc, err := ann.Refresh(t.Context()); err != nil || doc.GetProfile().GetCoins() != 107 || doc.GetLastSave() == nil {
		t.Errorf("%v, %v", doc.GetProfile(), err)
	}
}

// call sends JSON and returns the status and the decoded body.
func call(t *testing.T, method, url, session, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if session != "" {
		req.Header.Set("Skerry-Session", session)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(data, &decoded); err != nil {
		t.Fatalf("%s %s: %d %s", method, url, res.StatusCode, data)
	}
	return res.StatusCode, decoded
}

// at walks a decoded body.
func at(body map[string]any, path ...string) any {
	var v any = body
	for _, step := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[step]
	}
	return v
}

func TestTourWithJSON(t *testing.T) {
	n := skerrytest.Start(t)
	if code, body := call(t, "POST", n.HTTP()+"/v1/servers/s1", "", `{"players":1}`); code != 200 || at(body, "incarnation") == "" {
		t.Fatalf("register: %d %v", code, body)
	}
	code, body := call(t, "POST", n.HTTP()+"/v1/players/1001/session", "", `{"server":"s1","name":"Ann"}`)
	session, _ := at(body, "session").(string)
	if code != 200 || session == "" || at(body, "isNew") != true || at(body, "player", "profile", "coins") != "100" {
		t.Fatalf("open: %d %v", code, body)
	}
	const earn = `{"commandId":1,"durability":"DURABLE","commands":[{"earn":{"currency":"COINS","amount":50}}]}`
	code, first := call(t, "POST", n.HTTP()+"/v1/players/1001/commands", session, earn)
	if code != 200 || at(first, "durable") != true {
		t.Fatalf("earn: %d %v", code, first)
	}
	n.Restart(t)
	code, again := call(t, "POST", n.HTTP()+"/v1/players/1001/commands", session, earn)
	if code != 200 || !reflect.DeepEqual(first, again) {
		t.Errorf("the same command again: %d %v, at first %v", code, again, first)
	}
	if code, body = call(t, "GET", n.HTTP()+"/v1/players/1001", "", ""); code != 200 || at(body, "player", "profile", "coins") != "150" {
		t.Errorf("read: %d %v", code, at(body, "player", "profile"))
	}
	if code, body = call(t, "POST", n.HTTP()+"/v1/players/1001/session", "", `{"server":"s2"}`); code != 200 || at(body, "isNew") != false {
		t.Errorf("take over: %d %v", code, body)
	}
	code, body = call(t, "POST", n.HTTP()+"/v1/players/1001/commands", session,
		`{"commandId":2,"commands":[{"earn":{"currency":"COINS","amount":50}}]}`)
	if code != 409 || at(body, "code") != "SESSION_TAKEN" {
		t.Errorf("with the old session: %d %v", code, body)
	}
	if code, body = call(t, "GET", n.HTTP()+"/v1/players/nobody", "", ""); code != 404 || at(body, "code") != "NOT_FOUND" {
		t.Errorf("an unknown player: %d %v", code, body)
	}
	if code, body = call(t, "GET", n.Admin()+"/healthz", "", ""); code != 200 {
		t.Errorf("health: %d %v", code, body)
	}
}
