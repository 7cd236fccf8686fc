package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// as returns a context of a caller with a key, for a space.
func as(ctx context.Context, key, space string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key, "skerry-space", space)
}

// createKey makes a key with another one, "" for none.
func createKey(t *testing.T, r *running, by, space string, scopes ...string) *skerryv1.CreateKeyResponse {
	t.Helper()
	ctx := t.Context()
	if by != "" {
		ctx = as(ctx, by, "main")
	}
	made, err := r.client.CreateKey(ctx, &skerryv1.CreateKeyRequest{Name: "test", Space: space, Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Goal: every call is made only by keys with its scope, in the key's space.
// Method: every call, with a key of each scope; what a scope may do is written down here by hand.
func TestScopes(t *testing.T) {
	r := start(t, nil)
	root := createKey(t, r, "", "*", "admin", "operate").GetKey()
	calls := map[string]func(context.Context) error{
		"GetPlayer": func(ctx context.Context) error {
			_, err := r.client.GetPlayer(ctx, &skerryv1.GetPlayerRequest{Player: "1"})
			return err
		},
		"GetPlayerSession": func(ctx context.Context) error {
			_, err := r.client.GetPlayerSession(ctx, &skerryv1.GetPlayerSessionRequest{Player: "1"})
			return err
		},
		"ListPlayers": func(ctx context.Context) error {
			_, err := r.client.ListPlayers(ctx, &skerryv1.ListPlayersRequest{})
			return err
		},
		"GetServer": func(ctx context.Context) error {
			_, err := r.client.GetServer(ctx, &skerryv1.GetServerRequest{Server: "s"})
			return err
		},
		"GetCluster": func(ctx context.Context) error {
			_, err := r.client.GetCluster(ctx, &skerryv1.GetClusterRequest{})
			return err
		},
		"OpenPlayerSession": func(ctx context.Context) error {
			_, err := r.client.OpenPlayerSession(ctx, open(0, "1").GetOpenPlayerSession())
			return err
		},
		"EndPlayerSession": func(ctx context.Context) error {
			_, err := r.client.EndPlayerSession(ctx, &skerryv1.EndPlayerSessionRequest{Player: "1", Session: "x"})
			return err
		},
		"ExecutePlayer": func(ctx context.Context) error {
			_, err := r.client.ExecutePlayer(ctx, earn("1", "x", 1, 1).GetExecutePlayer())
			return err
		},
		"GetPlayerCommand": func(ctx context.Context) error {
			_, err := r.client.GetPlayerCommand(ctx, &skerryv1.GetPlayerCommandRequest{Player: "1", Session: "x", CommandId: 1})
			return err
		},
		"SavePlayer": func(ctx context.Context) error {
			_, err := r.client.SavePlayer(ctx, &skerryv1.SavePlayerRequest{Player: "1", Session: "x"})
			return err
		},
		"RegisterServer": func(ctx context.Context) error {
			_, err := r.client.RegisterServer(ctx, &skerryv1.RegisterServerRequest{Server: "s"})
			return err
		},
		"HeartbeatServer": func(ctx context.Context) error {
			_, err := r.client.HeartbeatServer(ctx, &skerryv1.HeartbeatServerRequest{Server: "s"})
			return err
		},
		"CloseServer": func(ctx context.Context) error {
			_, err := r.client.CloseServer(ctx, &skerryv1.CloseServerRequest{Server: "s"})
			return err
		},
		"GetServerEvents": func(ctx context.Context) error {
			_, err := r.client.GetServerEvents(ctx, &skerryv1.GetServerEventsRequest{Server: "s"})
			return err
		},
		"WatchServer": func(ctx context.Context) error {
			watch, err := r.client.WatchServer(ctx, &skerryv1.WatchServerRequest{Server: "s"})
			if err == nil {
				_, err = watch.Recv()
			}
			return err
		},
		"ImportPlayer": func(ctx context.Context) error {
			_, err := r.client.ImportPlayer(ctx, &skerryv1.ImportPlayerRequest{Player: "1", Document: &skerryv1.ImportPlayerRequest_DocumentV1{DocumentV1: &skerryv1.Player{Name: "Ann"}}})
			return err
		},
		"ExecutePlayer without session": func(ctx context.Context) error {
			request := earn("1", "", 0, 1).GetExecutePlayer()
			request.Receipt = "r1"
			_, err := r.client.ExecutePlayer(ctx, request)
			return err
		},
		"ListSpaces": func(ctx context.Context) error {
			_, err := r.client.ListSpaces(ctx, &skerryv1.ListSpacesRequest{})
			return err
		},
		"ListKeys": func(ctx context.Context) error {
			_, err := r.client.ListKeys(ctx, &skerryv1.ListKeysRequest{})
			return err
		},
		"CreateKey": func(ctx context.Context) error {
			_, err := r.client.CreateKey(ctx, &skerryv1.CreateKeyRequest{Space: "main", Scopes: []string{"operate"}})
			return err
		},
		"RevokeKey": func(ctx context.Context) error {
			_, err := r.client.RevokeKey(ctx, &skerryv1.RevokeKeyRequest{Id: "none"})
			return err
		},
		"EraseSpace": func(ctx context.Context) error {
			return drainSpace(r.client.EraseSpace(ctx, &skerryv1.EraseSpaceRequest{Space: "main"}))
		},
		"CopySpace": func(ctx context.Context) error {
			return drainSpace(r.client.CopySpace(ctx, &skerryv1.CopySpaceRequest{From: "main", To: "main"}))
		},
	}
	read := []string{"GetPlayer", "GetPlayerSession", "ListPlayers", "GetServer", "GetCluster"}
	play := append(slices.Clone(read), "OpenPlayerSession", "EndPlayerSession", "ExecutePlayer", "GetPlayerCommand", "SavePlayer",
		"RegisterServer", "HeartbeatServer", "CloseServer", "GetServerEvents", "WatchServer")
	for scope, may := range map[string][]string{
		"read": read, "play": play, "admin": append(slices.Clone(play), "ImportPlayer", "ExecutePlayer without session"),
		"operate": {"ListSpaces", "ListKeys", "CreateKey", "RevokeKey", "EraseSpace", "CopySpace"},
	} {
		key := createKey(t, r, root, "main", scope).GetKey()
		for name, do := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			code := wireError(do(as(ctx, key, "main"))).GetCode()
			refused := code == "PERMISSION_DENIED" || code == "NO_SESSION" && name == "ExecutePlayer without session"
			if refused == slices.Contains(may, name) {
				t.Errorf("%s with scope %s: %q", name, scope, code)
			}
			if code := wireError(do(as(ctx, key, "staging"))).GetCode(); code != "PERMISSION_DENIED" {
				t.Errorf("%s with scope %s in another space: %q", name, scope, code)
			}
			if code := wireError(do(as(ctx, key[:len(key)-1]+"!", "main"))).GetCode(); code != "UNAUTHENTICATED" {
				t.Errorf("%s with a wrong secret: %q", name, code)
			}
			cancel()
		}
	}
}

// drainSpace receives progress to its end.
func drainSpace(stream interface {
	Recv() (*skerryv1.SpaceProgress, error)
}, err error,
) error {
	for err == nil {
		_, err = stream.Recv()
	}
	if strings.Contains(err.Error(), "EOF") {
		return nil
	}
	return err
}

// Goal: within a stream, each request needs its own scope, and a revoked key ends the stream.
func TestStreamHoldsCallerAgainstKeys(t *testing.T) {
	r := start(t, nil)
	root := createKey(t, r, "", "*", "admin", "operate").GetKey()
	reader := createKey(t, r, root, "main", "read")
	stream := r.stream(t, "authorization", "Bearer "+reader.GetKey())
	send(t, stream, getPlayer(1, "1"), open(2, "1"))
	responses, _ := recvAll(t, stream, 2)
	codes := map[uint64]string{}
	for _, response := range responses {
		codes[response.GetId()] = response.GetError().GetCode()
	}
	if codes[1] != "NOT_FOUND" || codes[2] != "PERMISSION_DENIED" {
		t.Errorf("answered %v", codes)
	}
	if _, err := r.client.RevokeKey(as(t.Context(), root, "main"), &skerryv1.RevokeKeyRequest{Id: reader.GetId()}); err != nil {
		t.Fatal(err)
	}
	send(t, stream, getPlayer(3, "1"))
	if _, err := stream.Recv(); wireError(err).GetCode() != "UNAUTHENTICATED" {
		t.Errorf("after the key was revoked: %v", err)
	}
}

// Goal: a revoked key gets no further event.
func TestWatchHoldsCallerAgainstKeys(t *testing.T) {
	r := start(t, nil)
	root := createKey(t, r, "", "*", "admin", "operate").GetKey()
	player := createKey(t, r, root, "main", "play")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	watch, err := r.client.WatchServer(as(ctx, player.GetKey(), "main"), &skerryv1.WatchServerRequest{Server: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err = r.client.RevokeKey(as(ctx, root, "main"), &skerryv1.RevokeKeyRequest{Id: player.GetId()}); err != nil {
		t.Fatal(err)
	}
	r.entities.events <- &skerryv1.ServerEvent{Id: 2, Type: "SESSION_TAKEN", Session: "token"}
	if event, err := watch.Recv(); event != nil || wireError(err).GetCode() != "UNAUTHENTICATED" {
		t.Errorf("after the key was revoked: %v, %v", event, err)
	}
}

// Goal: nothing that is kept or said gives a secret away.
func TestSecretsStayInside(t *testing.T) {
	var logged bytes.Buffer
	r := start(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	made := createKey(t, r, "", "*", "admin", "operate")
	secret := made.GetKey()[strings.LastIndex(made.GetKey(), made.GetId())+len(made.GetId())+1:]
	r.entities.fail = errors.New("broken")
	_, err := r.client.GetPlayer(as(t.Context(), made.GetKey(), "main"), &skerryv1.GetPlayerRequest{Player: "1"})
	_, err2 := r.client.GetPlayer(as(t.Context(), made.GetKey()+"x", "main"), &skerryv1.GetPlayerRequest{Player: "1"})
	keys, err3 := r.client.ListKeys(as(t.Context(), made.GetKey(), "main"), &skerryv1.ListKeysRequest{})
	if err == nil || err2 == nil || err3 != nil || len(keys.GetKeys()) != 1 {
		t.Fatal(err, err2, err3, keys)
	}
	if failed := r.stop(); failed != nil {
		t.Fatal(failed)
	}
	records, _ := r.admin.Records(t.Context(), "", 10)
	for where, text := range map[string]string{
		"the log": logged.String(), "an error": err.Error() + err2.Error(), "the list": keys.String(), "a record": string(records[0].Value),
	} {
		if len(secret) < 40 || strings.Contains(text, secret) {
			t.Errorf("%s has the secret", where)
		}
	}
	if !strings.Contains(logged.String(), "request failed") {
		t.Error("the log has nothing of the failure")
	}
}

// Goal: nobody locks everybody out, and a key grants no more than it has.
func TestKeyRules(t *testing.T) {
	r := start(t, nil)
	code := func(err error) string { return wireError(err).GetCode() + " " + wireError(err).GetField() }
	create := func(by, space string, scopes ...string) string {
		ctx := t.Context()
		if by != "" {
			ctx = as(ctx, by, "main")
		}
		_, err := r.client.CreateKey(ctx, &skerryv1.CreateKeyRequest{Space: space, Scopes: scopes})
		return code(err)
	}
	if got := create("", "main", "admin", "operate"); got != "BAD_REQUEST scopes" {
		t.Errorf("a first key that cannot make others: %q", got)
	}
	root := createKey(t, r, "", "*", "admin", "operate")
	operator := createKey(t, r, root.GetKey(), "main", "operate", "play").GetKey()
	for name, c := range map[string]struct{ got, want string }{
		"a greater scope":   {create(operator, "main", "admin"), "PERMISSION_DENIED scopes"},
		"another space":     {create(operator, "staging", "play"), "PERMISSION_DENIED space"},
		"every space":       {create(operator, "*", "play"), "PERMISSION_DENIED space"},
		"its own":           {create(operator, "main", "play"), " "},
		"an unknown scope":  {create(root.GetKey(), "main", "root"), "BAD_REQUEST scopes"},
		"no scope":          {create(root.GetKey(), "main"), "BAD_REQUEST scopes"},
		"a malformed space": {create(root.GetKey(), "No Space", "read"), "BAD_REQUEST space"},
	} {
		if c.got != c.want {
			t.Errorf("granting %s: %q, want %q", name, c.got, c.want)
		}
	}
	listed, err := r.client.ListKeys(as(t.Context(), operator, "main"), &skerryv1.ListKeysRequest{})
	if err != nil || len(listed.GetKeys()) != 2 {
		t.Errorf("the operator of main sees %v (%v), want the two of main", listed, err)
	}
	_, err = r.client.RevokeKey(as(t.Context(), operator, "main"), &skerryv1.RevokeKeyRequest{Id: root.GetId()})
	if got := code(err); got != "NOT_FOUND id" {
		t.Errorf("revoking a key of every space: %q", got)
	}
	_, err = r.client.RevokeKey(as(t.Context(), root.GetKey(), "main"), &skerryv1.RevokeKeyRequest{Id: root.GetId()})
	if got := code(err); got != "PERMISSION_DENIED id" {
		t.Errorf("revoking the last key that makes keys: %q", got)
	}
}

// Goal: without keys and without AllowAnonymous nobody gets in; when the keys cannot be read nobody does either.
func TestNobodyGetsInWithoutKeys(t *testing.T) {
	r := start(t, func(o *Options) { o.AllowAnonymous = false })
	if _, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1"}); wireError(err).GetCode() != "UNAUTHENTICATED" {
		t.Errorf("without keys: %v", err)
	}
	r = start(t, func(o *Options) { o.Admin.(*adminFake).fail = errors.New("no storage") })
	if _, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1"}); wireError(err).GetCode() != "UNAVAILABLE" {
		t.Errorf("when keys cannot be read: %v", err)
	}
	if asked := r.entities.askedSoFar(); len(asked) != 0 {
		t.Errorf("the entities were asked %v", asked)
	}
}

// Goal: keys are read once in KeysMaxAge, however many ask.
func TestKeysAreReadSeldom(t *testing.T) {
	r := start(t, func(o *Options) { o.KeysMaxAge = time.Hour })
	for range 20 {
		_, _ = r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1"})
	}
	r.admin.mu.Lock()
	defer r.admin.mu.Unlock()
	if r.admin.reads != 1 {
		t.Errorf("read %d times, want once", r.admin.reads)
	}
}

// Goal: a caller over its rate is refused with the time to wait, on every way in, and nobody else is.
func TestRateLimit(t *testing.T) {
	r := start(t, func(o *Options) { o.RequestsPerSecond, o.Burst = 0.5, 3 })
	code := func() *skerryv1.Error {
		_, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1"})
		return wireError(err)
	}
	for range 3 {
		if got := code().GetCode(); got != "NOT_FOUND" {
			t.Fatalf("within the burst: %s", got)
		}
	}
	if e := code(); e.GetCode() != "OVERLOADED" || !e.GetRetryable() || e.GetRetryAfterMs() < 500 || e.GetRetryAfterMs() > 2001 {
		t.Errorf("over the rate: %v", e)
	}
	if status, body := r.do(t, "GET", "/v1/players/1", ""); status != 429 || !strings.Contains(body, `"retryAfterMs":`) {
		t.Errorf("HTTP from the same host: %d %s", status, body)
	}
	stream := r.stream(t)
	send(t, stream, getPlayer(1, "1"))
	if responses, _ := recvAll(t, stream, 1); responses[0].GetError().GetCode() != "OVERLOADED" {
		t.Errorf("a stream from the same host: %v", responses)
	}
	other := r.service.limiters.of("key other")
	if other.Tokens() != 3 {
		t.Errorf("another caller has %v of 3 requests left", other.Tokens())
	}
}

// Goal: what counts the callers is bounded.
func TestLimitersAreBounded(t *testing.T) {
	for _, busy := range []bool{false, true} {
		l := limiters{perSecond: 1e-9, burst: 1}
		for i := range maxLimiters + 10 {
			if limiter := l.of(strconv.Itoa(i)); busy {
				limiter.Allow() // has no tokens for a long time: cannot be forgotten for nothing
			}
		}
		if n := len(l.mu.of); n > maxLimiters || n == 0 {
			t.Errorf("busy %v: %d limiters, want at most %d", busy, n, maxLimiters)
		}
	}
}

// Goal: two keys that revoke each other at the same moment leave one that can make others, and creating at the bound stays
// within it. Method: hold the first while it writes, and let the second come as far as it can.
func TestKeysChangeOneAtATime(t *testing.T) {
	r := start(t, nil)
	a := createKey(t, r, "", "*", "admin", "operate")
	b := createKey(t, r, a.GetKey(), "*", "admin", "operate")
	writing, goOn := make(chan struct{}, 2), make(chan struct{})
	r.admin.onPut = func() {
		writing <- struct{}{}
		<-goOn
	}
	results := make(chan error, 2)
	revoke := func(by, of *skerryv1.CreateKeyResponse) {
		_, err := r.client.RevokeKey(as(t.Context(), by.GetKey(), "main"), &skerryv1.RevokeKeyRequest{Id: of.GetId()})
		results <- err
	}
	go revoke(a, b)
	<-writing
	go revoke(b, a)
	select {
	case <-writing:
		t.Error("the second writes while the first does")
	case <-time.After(50 * time.Millisecond): // it waits, or has not come yet: then it finds the first done
	}
	close(goOn)
	failed := 0
	for range 2 {
		if err := <-results; err != nil {
			failed++
			if code := wireError(err).GetCode(); code != "UNAUTHENTICATED" {
				t.Errorf("the second is answered %s", code)
			}
		}
	}
	if failed != 1 {
		t.Errorf("%d of two keys that revoke each other failed", failed)
	}
	if _, err := r.client.ListKeys(as(t.Context(), a.GetKey(), "main"), &skerryv1.ListKeysRequest{}); err != nil {
		t.Errorf("the key that is left: %v", err)
	}
}

// Goal: no web page in somebody's browser can use a node that has no keys yet. Method: what a browser sends for one.
func TestWebPagesNeedAKey(t *testing.T) {
	r := start(t, nil)
	first := `{"name":"x","space":"*","scopes":["admin","operate"]}`
	for _, header := range [][]string{
		{"Origin", "https://evil.example", "Content-Type", "text/plain"},
		{"Origin", "null"},
		{"Origin", r.url},
		{"Host", "evil.example:7700"},
		{"Host", "evil.example"},
		{"Host", "127.0.0.1.evil.example:7700"},
	} {
		status, body := r.do(t, http.MethodPost, "/v1/keys", first, header...)
		if status != http.StatusForbidden || !strings.Contains(body, "PERMISSION_DENIED") {
			t.Errorf("%v: %d %s", header, status, body)
		}
		if status, _ := r.do(t, http.MethodGet, "/v1/players", "", header...); status != http.StatusForbidden {
			t.Errorf("reading with %v: %d", header, status)
		}
	}
	for _, host := range []string{"localhost:7700", "127.0.0.1", "[::1]:7700"} {
		if status, body := r.do(t, http.MethodGet, "/v1/players", "", "Host", host); status != http.StatusOK {
			t.Errorf("to %s: %d %s", host, status, body)
		}
	}
	root := createKey(t, r, "", "*", "admin", "operate").GetKey()
	status, body := r.do(t, http.MethodGet, "/v1/players", "", "Origin", "https://game.example", "Authorization", "Bearer "+root)
	if status != http.StatusOK {
		t.Errorf("a web page with a key: %d %s", status, body)
	}
}
