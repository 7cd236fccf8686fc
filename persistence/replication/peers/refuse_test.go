package peers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: who is not a peer is told why, costs little, and reaches no handler.
// Method: nodes that are wrong in one way each; hand-made connections.

// refused counts refusals, and keeps what was logged.
type refused struct {
	mu    sync.Mutex
	count map[Refusal]int
	log   bytes.Buffer
}

func watch(o *Options) *refused {
	r := &refused{count: map[Refusal]int{}}
	o.Logger = slog.New(slog.NewTextHandler(r, nil))
	o.Events.Refused = func(why Refusal) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.count[why]++
	}
	return r
}

func (r *refused) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

func (r *refused) seen(why Refusal) (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[why], r.log.String()
}

func TestStrangersAreRefused(t *testing.T) {
	good, evil := newAuthority(t), newAuthority(t)
	withTLS := func(tls *TLS) func(*Options) {
		return func(o *Options) { o.Insecure, o.TLS = false, tls }
	}
	own := withTLS(good.issue("node-1.skerry"))
	for name, test := range map[string]struct {
		server, client func(*Options)
		want           Refusal // what the client is told
		counted        Refusal // what the server counts; 0: it may see nothing
		says           string  // in the client's error
	}{
		"another cluster":       {nil, func(o *Options) { o.Cluster = "other" }, RefusedCluster, RefusedCluster, `cluster "test", this one to "other"`},
		"another node is there": {func(o *Options) { o.Node = 3 }, nil, RefusedAddress, RefusedAddress, "is node 3, not node 1"},
		"not a member":          {nil, func(o *Options) { o.Node = 9 }, RefusedNotMember, RefusedNotMember, "does not know node 9"},
		"newer":                 {nil, func(o *Options) { o.lowest, o.highest = 3, 4 }, RefusedVersion, RefusedVersion, "that node is older"},
		"older":                 {func(o *Options) { o.lowest, o.highest = 3, 4 }, nil, RefusedVersion, RefusedVersion, "this node is older"},
		"name of another node":  {own, withTLS(good.issue("node-7.skerry")), RefusedCertificate, RefusedCertificate, "name node-2.skerry"},
		"a client's name":       {own, withTLS(good.issue("game.example")), RefusedCertificate, RefusedCertificate, "name node-2.skerry"},
		"another domain":        {own, withTLS(good.issue("*.other")), RefusedCertificate, RefusedCertificate, "name node-2.skerry"},
		"server of wrong name":  {withTLS(good.issue("node-7.skerry")), withTLS(good.issue("*.skerry")), 0, RefusedCertificate, "node-1.skerry"},
		"another authority":     {own, withTLS(&TLS{evil.issue("node-2.skerry").Certificate, good.issue().Roots, ""}), 0, RefusedCertificate, ""},
		"server of another":     {withTLS(evil.issue("*.skerry")), withTLS(good.issue("*.skerry")), 0, RefusedCertificate, "unknown authority"},
		"plain to TLS":          {own, nil, 0, RefusedMalformed, ""},
		"TLS to plain":          {nil, own, 0, RefusedMalformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var counted *refused
			server := start(t, 1, func(o *Options) {
				counted = watch(o)
				if test.server != nil {
					test.server(o)
				}
			})
			server.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1"})
			client := start(t, 2, test.client)
			client.SetAddresses(map[persistence.NodeID]string{1: server.address})
			err := client.Fetch(t.Context(), 1, nil, func([]byte) error { return nil })
			var told *RefusedError
			switch {
			case err == nil || !strings.Contains(err.Error(), test.says):
				t.Errorf("told %v, want %q", err, test.says)
			case test.want == RefusedVersion:
				if _, ok := errors.AsType[*VersionError](err); !ok {
					t.Errorf("told %v, want a VersionError", err)
				}
			case test.want != 0:
				if !errors.As(err, &told) || told.Refusal != test.want {
					t.Errorf("told %v, want refusal %v", err, test.want)
				}
			}
			eventually(t, "the server counts and logs", func() bool {
				count, log := counted.seen(test.counted)
				return count > 0 && strings.Contains(log, "reason="+test.counted.String())
			})
			if status := server.Status(); status[0].Receiving {
				t.Error("the stranger is heard")
			}
		})
	}
}

// eventually waits for what comes without a signal.
func eventually(tb testing.TB, what string, claim func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !claim(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestNamedCertificatesAreWelcome(t *testing.T) {
	good := newAuthority(t)
	a := start(t, 1, func(o *Options) { o.Insecure, o.TLS = false, good.issue("node-1.skerry") })
	b := start(t, 2, func(o *Options) { o.Insecure, o.TLS = false, good.issue("node-2.skerry", "game.example") })
	introduce(a, b)
	a.waitUp(t, 2)
	b.waitUp(t, 1)
}

func TestSameNodeTwice(t *testing.T) {
	a := start(t, 1, nil)
	a.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1"})
	_, answer := greetAs(t, a, &hello{lowest: 1, highest: 1, word: 1, from: 1, to: 1, cluster: "test"})
	if Refusal(answer.word) != RefusedSameNode {
		t.Errorf("answered %v", Refusal(answer.word))
	}
}

func TestGarbageIsClosed(t *testing.T) {
	var counted *refused
	a := start(t, 1, func(o *Options) {
		counted = watch(o)
		o.HelloTimeout, o.IdleTimeout = 200*time.Millisecond, time.Minute
	})
	a.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1"})
	for name, bytes := range map[string]string{
		"http":         "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"endless":      magicHello + "\xFF\xFF" + strings.Repeat("x", 2000),
		"half a hello": magicHello + "\x20\x00\x01\x00",
		"silence":      "",
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, a)
			_, _ = io.WriteString(conn, bytes) // it may be closed within
			expectClosed(t, conn)
		})
	}
	for name, frame := range map[string][]byte{
		"too long":        {0xFF, 0xFF, 0xFF, 0xFF, byte(kindBatch)},
		"not for batches": {0, 0, 0, 0, byte(kindEnd)},
		"unknown":         {0, 0, 0, 0, 99},
	} {
		t.Run(name, func(t *testing.T) {
			conn := speak(t, a, 2, purposeBatches)
			if _, err := conn.Write(frame); err != nil {
				t.Fatal(err)
			}
			expectClosed(t, conn)
		})
	}
	eventually(t, "four refusals", func() bool { count, _ := counted.seen(RefusedMalformed); return count == 4 })
	if _, log := counted.seen(0); strings.Count(log, `msg="connection refused"`) != 1 {
		t.Errorf("the log repeats itself:\n%s", log)
	}
}

func TestPendingConnectionsAreBounded(t *testing.T) {
	var counted *refused
	a := start(t, 1, func(o *Options) { counted = watch(o); o.MaxPending, o.HelloTimeout = 2, time.Hour })
	a.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1"})
	first, second := connect(t, a), connect(t, a)
	expectClosed(t, connect(t, a))
	if count, _ := counted.seen(RefusedBusy); count != 1 {
		t.Errorf("%d refusals", count)
	}
	_ = first.Close()
	_ = second.Close()
	eventually(t, "room again", func() bool {
		conn := connect(t, a)
		_, _ = conn.Write((&hello{lowest: 1, highest: 1, word: 1, from: 2, to: 1, cluster: "test"}).encode(magicHello))
		answer, err := readHello(conn, magicAnswer, 1, 1)
		return err == nil && answer.word == 0
	})
}

func TestRefusalsAreTriedAgain(t *testing.T) {
	a, b := start(t, 1, nil), start(t, 2, nil)
	a.SetAddresses(map[persistence.NodeID]string{2: b.address}) // b has not heard of a yet
	err := a.Fetch(context.Background(), 2, nil, nil)
	if told := (*RefusedError)(nil); !errors.As(err, &told) || told.Refusal != RefusedNotMember {
		t.Fatalf("told %v", err)
	}
	introduce(a, b)
	a.waitUp(t, 2)
	b.waitUp(t, 1)
}
