package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: transfers over JSON: who may, what is refused, and how one is asked for again. The entities of these tests take turns
// and have no coordinator, so a transfer stays open here; how one ends is a matter of package actors.
func TestTransfers(t *testing.T) {
	r := start(t, nil)
	sessions := map[string]string{}
	for _, id := range []string{"1", "2"} {
		opened, err := r.client.OpenPlayerSession(t.Context(), &skerryv1.OpenPlayerSessionRequest{Player: id, Server: "s1"})
		if err != nil {
			t.Fatal(err)
		}
		sessions[id] = opened.GetSession()
	}
	body := `{"id":"t1","legs":[{"from":{"player":"1","session":"` + sessions["1"] + `"},"to":{"player":"2","session":"` + sessions["2"] +
		`"},"currency":{"currency":"COINS","amount":"40"}}]}`
	for range 2 {
		if status, answer := r.do(t, http.MethodPost, "/v1/transfers", body); status != 200 || !strings.Contains(answer, "TRANSFER_OPEN") {
			t.Errorf("%d %s", status, answer)
		}
	}
	for path, want := range map[string]int{
		"/v1/transfers/t1?party.player=1": 200, "/v1/transfers/t2?party.player=1": 404,
		"/v1/transfers/t1": 400, "/v1/transfers/t1?party.player=": 400, "/v1/transfers/t1?party.chest.world=1": 404, "/v1/transfers/t1?player=1": 400,
	} {
		if status, answer := r.do(t, http.MethodGet, path, ""); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, answer, want)
		}
	}
	if status, answer := r.do(t, http.MethodPost, "/v1/transfers", strings.Replace(body, `"40"`, `"41"`, 1)); status != 409 || !strings.Contains(answer, "ID_REUSED") {
		t.Errorf("other legs: %d %s", status, answer)
	}
	// The session of the header is the first source's.
	fromHeader := strings.Replace(strings.Replace(body, `"session":"`+sessions["1"]+`"`, `"session":""`, 1), "t1", "t3", 1)
	if status, answer := r.do(t, http.MethodPost, "/v1/transfers", fromHeader, "Skerry-Session", sessions["1"]); status != 200 || !strings.Contains(answer, "TRANSFER_OPEN") {
		t.Errorf("with the session in the header: %d %s", status, answer)
	}
	for _, bad := range []string{`{}`, `{"id":"t"}`, `{"id":"t","legs":[{}]}`, `{"id":"t","legs":[{"from":{"player":"1"},"to":{"player":"1"}}]}`} {
		if status, answer := r.do(t, http.MethodPost, "/v1/transfers", bad); status != 400 || !strings.Contains(answer, "BAD_REQUEST") {
			t.Errorf("%s: %d %s", bad, status, answer)
		}
	}
	operator := createKey(t, r, "", "*", "admin", "operate").GetKey() // from now on a key is needed
	player, reader := createKey(t, r, operator, "main", "play").GetKey(), createKey(t, r, operator, "main", "read").GetKey()
	bare := `{"id":"t9","legs":[{"from":{"player":"1"},"to":{"player":"2"},"currency":{"currency":"COINS","amount":"1"}}]}`
	for key, want := range map[string]int{player: 409, reader: 403} {
		if status, answer := r.do(t, http.MethodPost, "/v1/transfers", bare, "Authorization", "Bearer "+key); status != want {
			t.Errorf("without sessions: %d %s, want %d", status, answer, want)
		}
	}
	if status, answer := r.do(t, http.MethodGet, "/v1/transfers/t1?party.player=1", "", "Authorization", "Bearer "+reader); status != 200 {
		t.Errorf("read with scope read: %d %s", status, answer)
	}
}
