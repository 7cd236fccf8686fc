package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func TestOptionsValidate(t *testing.T) {
	err := (&Options{Certificate: "x", MaxInFlight: -1, Timeout: time.Hour, RequestsPerSecond: -1}).Validate()
	for _, want := range []string{"Entities", "Admin", "PrivateKey", "MaxInFlight", "Timeout", "RequestsPerSecond"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not complain about %s", err, want)
		}
	}
	if err := (&Options{Entities: newEntities(), Admin: &adminFake{}}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

// Goal: a unary call that is not answered in its time is OUTCOME_UNKNOWN, and 504 over HTTP.
func TestUnaryTimeout(t *testing.T) {
	r := start(t, func(o *Options) { o.Timeout = 30 * time.Millisecond })
	r.entities.holdAnswers()
	_, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1"})
	if e := wireError(err); e.GetCode() != "OUTCOME_UNKNOWN" || !e.GetRetryable() {
		t.Errorf("answered %v", err)
	}
	if status, body := r.do(t, "GET", "/v1/players/1", ""); status != 504 || !strings.Contains(body, `"outcome":"UNKNOWN"`) {
		t.Errorf("HTTP: %d %s", status, body)
	}
	batch, err := r.client.Batch(t.Context(), &skerryv1.BatchRequest{Requests: []*skerryv1.Request{getPlayer(1, "1"), getPlayer(2, "/")}})
	if err != nil || batch.GetResponses()[0].GetError().GetCode() != "OUTCOME_UNKNOWN" || batch.GetResponses()[1].GetError().GetCode() != "BAD_REQUEST" {
		t.Errorf("a batch: %v, %v", batch, err)
	}
}

// Goal: unanswered unary calls are bounded; long polls do not count among them.
func TestCallsAreBounded(t *testing.T) {
	r := start(t, func(o *Options) { o.MaxCalls = 2 })
	r.entities.holdAnswers()
	results := make(chan error, 4)
	ask := func() {
		_, err := r.client.GetPlayer(context.Background(), &skerryv1.GetPlayerRequest{Player: "1"})
		results <- err
	}
	poll := func() {
		_, err := r.client.GetServerEvents(context.Background(), &skerryv1.GetServerEventsRequest{Server: "s1", Wait: "60s"})
		results <- err
	}
	go poll()
	go poll()
	r.entities.waitAsked(t, 2)
	go ask()
	go ask()
	r.entities.waitAsked(t, 4)
	_, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1"})
	if wireError(err).GetCode() != "OVERLOADED" {
		t.Errorf("one too many: %v", err)
	}
	_, err = r.client.GetServerEvents(t.Context(), &skerryv1.GetServerEventsRequest{Server: "s1", Wait: "60s"})
	if wireError(err).GetCode() != "OVERLOADED" {
		t.Errorf("one poll too many: %v", err)
	}
	r.entities.release()
	for range 4 {
		if code := wireError(<-results).GetCode(); code != "" && code != "NOT_FOUND" {
			t.Errorf("one of those that fit: %s", code)
		}
	}
}

// Goal: what a batch answers is bounded, and what is left out says so.
func TestBatchResponseIsBounded(t *testing.T) {
	r := start(t, nil)
	big := &skerryv1.Player{Name: "big"}
	for range 900 {
		big.DungeonData = &skerryv1.DungeonData{MobSpawnerSlots: append(big.GetDungeonData().GetMobSpawnerSlots(), &skerryv1.SpawnerSlot{Mob: strings.Repeat("m", 400)})}
	}
	session := r.openSession(t, "1")
	r.entities.mu.Lock()
	for _, state := range r.entities.states {
		state.GetPlayer().DungeonData = big.GetDungeonData()
	}
	r.entities.mu.Unlock()
	requests := make([]*skerryv1.Request, MaxBatch)
	for i := range requests {
		requests[i] = getPlayer(uint64(i+1), "1")
	}
	batch, err := r.client.Batch(t.Context(), &skerryv1.BatchRequest{Requests: requests})
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for i, response := range batch.GetResponses() {
		if response.GetId() != uint64(i+1) {
			t.Errorf("response %d has id %d", i, response.GetId())
		}
		if response.GetError().GetCode() == "TOO_LARGE" {
			left++
		} else if response.GetGetPlayer() == nil {
			t.Errorf("response %d is %v", i, response)
		}
	}
	if size := batch.SizeVT(); size > maxBatchResponseBytes+(64<<10) || left == 0 || left > 90 {
		t.Errorf("%d bytes with %d left out", size, left)
	}

	// What was done never says that it was not: a small answer has room after all those reads, a large one says APPLIED.
	last := MaxBatch - 1
	requests[last] = earn("1", session, 1, 50)
	if batch, err = r.client.Batch(t.Context(), &skerryv1.BatchRequest{Requests: requests}); err != nil {
		t.Fatal(err)
	}
	if got := batch.GetResponses()[last]; got.GetExecutePlayer() == nil {
		t.Errorf("a command after 99 large reads: %v", got)
	}
	requests[last] = open(MaxBatch, "1")
	if batch, err = r.client.Batch(t.Context(), &skerryv1.BatchRequest{Requests: requests}); err != nil {
		t.Fatal(err)
	}
	if no := batch.GetResponses()[last].GetError(); no.GetCode() != "TOO_LARGE" || no.GetOutcome() != skerryv1.Outcome_APPLIED {
		t.Errorf("an opening whose answer has no room: %v", no)
	}
	if no := batch.GetResponses()[last-1].GetError(); no.GetOutcome() != skerryv1.Outcome_NOT_APPLIED {
		t.Errorf("a read that was left out: %v", no)
	}
}

// Goal: WatchServer pushes events until the client leaves or the node drains.
func TestWatchServer(t *testing.T) {
	r := start(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	watch, err := r.client.WatchServer(ctx, &skerryv1.WatchServerRequest{Server: "s1", After: 41})
	if err != nil {
		t.Fatal(err)
	}
	if event, failed := watch.Recv(); event.GetId() != 42 || event.GetType() != "RESYNC" {
		t.Errorf("first %v, %v", event, failed)
	}
	r.entities.events <- &skerryv1.ServerEvent{Id: 43, Type: "SESSION_TAKEN"}
	if event, failed := watch.Recv(); event.GetId() != 43 {
		t.Errorf("then %v, %v", event, failed)
	}
	gone, leave := context.WithCancel(ctx)
	second, err := r.client.WatchServer(gone, &skerryv1.WatchServerRequest{Server: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Recv(); err != nil {
		t.Fatal(err)
	}
	leave()
	waitFor(t, "the one who left", func() bool { return r.service.polls.Load() == 1 })
	for id, code := range map[string]string{"unknown": "NOT_FOUND", "a b": "BAD_REQUEST"} {
		refused, err := r.client.WatchServer(ctx, &skerryv1.WatchServerRequest{Server: id})
		if err == nil {
			_, err = refused.Recv()
		}
		if wireError(err).GetCode() != code {
			t.Errorf("watching %q: %v", id, err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); wireError(err).GetCode() != "UNAVAILABLE" {
		t.Errorf("after the drain: %v", err)
	}
}

// Goal: copying and erasing spaces tell how far they are, and stop when the node drains.
func TestSpaces(t *testing.T) {
	r := start(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	copied, err := r.client.CopySpace(ctx, &skerryv1.CopySpaceRequest{From: "main", To: "staging"})
	if err != nil {
		t.Fatal(err)
	}
	if progress, failed := copied.Recv(); progress.GetDone() != 3 {
		t.Errorf("copied %v, %v", progress, failed)
	}
	if _, err = copied.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("then %v", err)
	}
	if err = drainSpace(r.client.CopySpace(ctx, &skerryv1.CopySpaceRequest{From: "main", To: "main"})); wireError(err).GetField() != "to" {
		t.Errorf("onto itself: %v", err)
	}
	if err = drainSpace(r.client.EraseSpace(ctx, &skerryv1.EraseSpaceRequest{Space: "../etc"})); wireError(err).GetField() != "space" {
		t.Errorf("erasing no space: %v", err)
	}
	endless, err := r.client.EraseSpace(ctx, &skerryv1.EraseSpaceRequest{Space: "endless"})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the erasing", func() bool { return r.service.waiting.Load() == 1 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := endless.Recv(); wireError(err).GetCode() != "UNAVAILABLE" {
		t.Errorf("after the drain: %v", err)
	}
}

// get returns status and body of a URL.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url) //nolint:noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// Goal: the admin port tells health, readiness and metrics; the API's port does not.
func TestAdminPort(t *testing.T) {
	var sick error
	r := start(t, func(o *Options) { o.Health = func(context.Context) error { return sick } })
	_, _ = r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1"})
	_, _ = r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "a b"})
	if status, body := get(t, r.adminURL+"/healthz"); status != 200 || body != "{\"ok\":true}\n" {
		t.Errorf("healthy: %d %s", status, body)
	}
	sick = errors.New("the canary is late")
	if status, body := get(t, r.adminURL+"/healthz"); status != 503 || !strings.Contains(body, "the canary is late") {
		t.Errorf("sick: %d %s", status, body)
	}
	if status, _ := get(t, r.adminURL+"/readyz"); status != 200 {
		t.Errorf("ready: %d", status)
	}
	_, metrics := get(t, r.adminURL+"/metrics")
	for _, want := range []string{
		`skerry_gateway_requests_total{call="GetPlayer",code="NOT_FOUND"} 1`,
		`skerry_gateway_requests_total{call="GetPlayer",code="BAD_REQUEST"} 1`,
		`skerry_gateway_request_duration_seconds_count{call="GetPlayer"} 2`,
		`skerry_gateway_requests_in_flight 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	if status, _ := get(t, r.adminURL+"/debug/pprof/cmdline"); status != 200 {
		t.Errorf("pprof: %d", status)
	}
	for _, path := range []string{"/metrics", "/healthz", "/debug/pprof/"} {
		if status, _ := get(t, r.url+path); status != 404 {
			t.Errorf("the API's port serves %s", path)
		}
	}
}

// Goal: whoever opens the port in a browser learns what it is, and the API's description is what the calls are.
func TestIndexAndOpenAPI(t *testing.T) {
	r := start(t, nil)
	status, page := get(t, r.url+"/")
	if status != 200 || !strings.Contains(page, "/openapi.json") {
		t.Errorf("index: %d %s", status, page)
	}
	status, text := get(t, r.url+"/openapi.json")
	var described struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal([]byte(text), &described); err != nil || status != 200 || len(described.Paths) < 10 {
		t.Fatalf("%d with %d paths: %v", status, len(described.Paths), err)
	}
	known := map[string][]string{}
	for path, methods := range described.Paths {
		for method, call := range methods {
			for _, parameter := range call.Parameters {
				if parameter.In == "query" {
					name := strings.ToUpper(method) + " " + path
					known[name] = append(known[name], parameter.Name)
				}
			}
		}
	}
	for route, names := range parameters {
		if route == putOctetsPath {
			continue // in words only: the description is of the JSON
		}
		route = regexp.MustCompile(`\{(\w+)=\*\}`).ReplaceAllStringFunc(route, func(s string) string {
			return "{" + jsonName(strings.TrimSuffix(strings.TrimPrefix(s, "{"), "=*}")) + "}"
		})
		if slices.Sort(names); !slices.Equal(names, sorted(known[route])) {
			t.Errorf("%s has the parameters %v here and %v in the description", route, names, known[route])
		}
		delete(known, route)
	}
	if len(known) > 0 {
		t.Errorf("parameters only in the description: %v", known)
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// writeCertificate writes a fresh self-signed certificate for 127.0.0.1.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "skerry"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err = os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Goal: with a certificate both ports speak TLS only, and a renewed certificate is served without a restart.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := writeCertificate(t, certFile, keyFile, 1)
	r := start(t, func(o *Options) { o.Certificate, o.PrivateKey = certFile, keyFile })
	pool := x509.NewCertPool()
	pool.AddCert(first)
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	defer secure.CloseIdleConnections()
	response, err := secure.Get(strings.Replace(r.url, "http:", "https:", 1) + "/v1/cluster") //nolint:noctx // a test's own server
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("HTTPS: %v, %v", response, err)
	}
	_ = response.Body.Close()
	if status, _ := get(t, r.url+"/v1/cluster"); status == 200 {
		t.Error("HTTP without TLS is served")
	}
	conn := dial(t, r.grpcAddr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})))
	if _, err := skerryv1.NewSkerryClient(conn).GetCluster(t.Context(), &skerryv1.GetClusterRequest{}); err != nil {
		t.Errorf("gRPC over TLS: %v", err)
	}
	if _, err := r.client.GetCluster(t.Context(), &skerryv1.GetClusterRequest{}); err == nil {
		t.Error("gRPC without TLS is served")
	}

	serial := func() string {
		raw, err := tls.Dial("tcp", r.grpcAddr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // only looks at the certificate
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = raw.Close() }()
		return raw.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if err := os.WriteFile(certFile, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != "1" {
		t.Errorf("with a torn file, certificate %s", got)
	}
	writeCertificate(t, certFile, keyFile, 2)
	waitFor(t, "the new certificate", func() bool { return serial() == "2" })
	if _, err := New(Options{Entities: r.entities, Admin: r.admin, Certificate: keyFile, PrivateKey: certFile}); err == nil {
		t.Error("files that are no certificate are accepted")
	}
}

// Goal: connections beyond the bound wait, and are served when one is free.
func TestConnectionsAreBounded(t *testing.T) {
	r := start(t, func(o *Options) { o.MaxConnections = 1 })
	first, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 200 * time.Millisecond}
	waitFor(t, "the bound", func() bool {
		response, err := fresh.Get(r.url + "/v1/cluster") //nolint:noctx // a test's own server
		if err == nil {
			_ = response.Body.Close()
		}
		return err != nil
	})
	_ = first.Close()
	waitFor(t, "a free place", func() bool {
		response, err := fresh.Get(r.url + "/v1/cluster") //nolint:noctx // a test's own server
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil
	})
}

// Goal: a listener that fails ends Serve with the reason.
func TestServeTellsOfAFailedListener(t *testing.T) {
	s, err := New(Options{Entities: newEntities(), Admin: &adminFake{}})
	if err != nil {
		t.Fatal(err)
	}
	broken := listen(t)
	_ = broken.Close()
	if err := s.Serve(t.Context(), Listeners{HTTP: broken}); err == nil || !strings.Contains(err.Error(), "serve HTTP") {
		t.Errorf("served with %v", err)
	}
}
