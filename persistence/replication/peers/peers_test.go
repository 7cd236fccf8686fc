package peers

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: batches arrive in order, at most once, whatever happens to the connections.
// Method: nodes on loopback, numbered batches, connections that are cut.

func TestBatchesArriveInOrder(t *testing.T) {
	for name, change := range map[string]func(*Options){"plain": nil, "tls": secure(t)} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, change)
			a.waitSending(t)
			const count = 3000
			for i := range uint64(count) {
				a.Send(2, numbered(i, int(i*37%3000))) // below all bounds of the queue
			}
			a.Send(2, numbered(count, 3<<20))
			b.wait(t, "all batches", func() bool { return len(b.seen.batches[1]) == count+1 })
			for i, number := range b.numbers(1) {
				if number != uint64(i) {
					t.Fatalf("batch %d came at place %d", number, i)
				}
			}
			if status := a.Status(); len(status) != 1 || status[0].Dropped != 0 || status[0].WaitingBatches != 0 {
				t.Errorf("status %+v", status)
			}
		})
	}
}

// waitSending returns when the stream to the only peer is open.
func (n *testNode) waitSending(tb testing.TB) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for !n.Status()[0].Sending {
		if time.Now().After(deadline) {
			tb.Fatal("waited in vain: the stream to the peer is open")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestOrderUnderReconnects(t *testing.T) {
	var cut atomic.Int64
	a := start(t, 1, func(o *Options) {
		o.MinBackoff, o.MaxBackoff = time.Millisecond, 2*time.Millisecond
		o.dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			return &shortLived{Conn: conn, left: 20_000 + int(cut.Add(1))*7919%60_000}, err
		}
	})
	b := start(t, 2, nil)
	introduce(a, b)
	b.waitUp(t, 1)
	sent := uint64(0)
	for cut.Load() < 30 {
		a.Send(2, numbered(sent, int(sent*131%2000)))
		sent++
		if sent%50 == 0 {
			time.Sleep(time.Millisecond) // a real pause, so that not all falls into one queue
		}
	}
	a.stop()
	b.waitDown(t, 1)
	numbers := b.numbers(1)
	if !slices.IsSorted(numbers) || len(slices.Compact(slices.Clone(numbers))) != len(numbers) {
		t.Error("out of order, or twice")
	}
	if len(numbers) < int(sent)/10 || len(numbers) >= int(sent) {
		t.Errorf("%d of %d batches came over %d connections: neither all nor hardly any was expected", len(numbers), sent, cut.Load())
	}
}

// shortLived is a connection that breaks in the middle of a write.
type shortLived struct {
	net.Conn
	left int
}

func (c *shortLived) Write(b []byte) (int, error) {
	if len(b) <= c.left {
		c.left -= len(b)
		return c.Conn.Write(b)
	}
	n, _ := c.Conn.Write(b[:c.left])
	_ = c.Close()
	return n, net.ErrClosed
}

func TestPeerComesBack(t *testing.T) {
	a, b := pair(t, secure(t))
	address := b.address
	b.stop()
	a.waitDown(t, 2)
	a.Send(2, numbered(1, 8)) // nobody is there

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	again := start(t, 2, func(o *Options) { o.Listener, o.TLS, o.Insecure = listener, b.opts.TLS, false })
	introduce(a, again)
	a.waitUp(t, 2)
	again.waitUp(t, 1)
	a.waitSending(t)
	a.Send(2, numbered(2, 8))
	again.wait(t, "a batch after the restart", func() bool { return slices.Contains(again.numbersLocked(1), 2) })
}

func (r *recorder) numbersLocked(from persistence.NodeID) []byte {
	var first []byte
	for _, batch := range r.seen.batches[from] {
		first = append(first, batch[0])
	}
	return first
}

func TestRemovedPeerIsCutOff(t *testing.T) {
	a, b := pair(t, nil)
	a.SetAddresses(nil)
	a.waitDown(t, 2)
	b.waitDown(t, 1)
	a.Send(2, []byte("lost"))
	if status := a.Status(); len(status) != 0 {
		t.Errorf("still a peer: %+v", status)
	}
	introduce(a, b)
	a.waitUp(t, 2)
	b.waitUp(t, 1)
}

func TestPeerMoves(t *testing.T) {
	a, b := pair(t, nil)
	a.waitSending(t)
	var passed atomic.Int64
	door := forward(t, b.address, &passed)
	a.SetAddresses(map[persistence.NodeID]string{2: door})
	b.wait(t, "the stream through the new address", func() bool { return passed.Load() > 0 && b.seen.open[1] })
	a.waitSending(t)
	a.Send(2, numbered(7, 8))
	b.wait(t, "a batch", func() bool { return len(b.seen.batches[1]) == 1 })
}

// forward passes connections on to an address, and counts them.
func forward(t *testing.T, to string, passed *atomic.Int64) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			onward, err := new(net.Dialer).DialContext(t.Context(), "tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			passed.Add(1)
			go copyBoth(from, onward)
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String()
}

// copyBoth ends when either side does.
func copyBoth(a, b net.Conn) {
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		buffer := make([]byte, 4096)
		for {
			n, err := from.Read(buffer)
			if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
				break
			}
		}
		ended <- struct{}{}
	}
	go pass(a, b)
	go pass(b, a)
	<-ended
	_ = a.Close()
	_ = b.Close()
	<-ended
}

// TestNewStreamTakesOver: a peer that connects again has given up its older stream, which ends first.
func TestNewStreamTakesOver(t *testing.T) {
	a := start(t, 1, nil)
	a.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1"})
	older := speak(t, a, 2, purposeBatches)
	writeBatch(t, older, 1)
	a.wait(t, "the first batch", func() bool { return len(a.seen.batches[2]) == 1 })
	newer := speak(t, a, 2, purposeBatches)
	writeBatch(t, newer, 2)
	a.wait(t, "the second batch", func() bool { return len(a.seen.batches[2]) == 2 })
	expectClosed(t, older)
	if !a.Status()[0].Receiving {
		t.Error("the newer stream is not open")
	}
}

// slow is a handler whose Receive takes its time.
type slow struct {
	*recorder
	entered chan<- struct{}
	hold    <-chan struct{}
}

func (s *slow) Receive(from persistence.NodeID, batch []byte) {
	s.entered <- struct{}{}
	<-s.hold
	s.recorder.Receive(from, batch)
}

// TestNewStreamWaitsForTheOlder: while the handler still has a batch of the older stream, the newer one is not open.
func TestNewStreamWaitsForTheOlder(t *testing.T) {
	entered, hold := make(chan struct{}, 1), make(chan struct{})
	heard := &slow{newRecorder(), entered, hold}
	a := start(t, 1, func(o *Options) { o.Handler = heard })
	a.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1"})
	older := speak(t, a, 2, purposeBatches)
	writeBatch(t, older, 1)
	<-entered
	newer := connect(t, a)
	h := hello{lowest: 1, highest: 1, word: uint8(purposeBatches), from: 2, to: 1, cluster: "test"}
	if _, err := newer.Write(h.encode(magicHello)); err != nil {
		t.Fatal(err)
	}
	expectClosed(t, older) // so the newer one has asked for its place
	_ = newer.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := newer.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("the newer stream is open while the older is not at its end")
	}
	close(hold)
	_ = newer.SetReadDeadline(time.Now().Add(patience))
	if answer, err := readHello(newer, magicAnswer, 1, 1); err != nil || answer.word != 0 {
		t.Errorf("answer %+v, %v", answer, err)
	}
	a.stop()
	heard.check(t)
	if numbers := heard.numbers(2); !slices.Equal(numbers, []uint64{1}) {
		t.Errorf("heard %v", numbers)
	}
}

// TestPeerMovesWhileDialled: a connection to an address that is not its peer's any more is not used.
func TestPeerMovesWhileDialled(t *testing.T) {
	b := start(t, 2, nil)
	var passed atomic.Int64
	door := forward(t, b.address, &passed)
	var a *testNode
	ready := make(chan struct{})
	var once sync.Once
	a = start(t, 1, func(o *Options) {
		o.dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			once.Do(func() { <-ready; a.SetAddresses(map[persistence.NodeID]string{2: door}) })
			return conn, err
		}
	})
	close(ready)
	introduce(a, b)
	eventually(t, "the stream through the new address", func() bool { return passed.Load() > 0 })
}

func writeBatch(t *testing.T, conn net.Conn, number uint64) {
	t.Helper()
	if err := writeFrame(conn, kindBatch, numbered(number, 8)); err != nil {
		t.Fatal(err)
	}
}

// speak is a hand-made node that greets n and was welcomed.
func speak(tb testing.TB, n *testNode, as persistence.NodeID, why purpose) net.Conn {
	tb.Helper()
	conn, answer := greetAs(tb, n, &hello{lowest: 1, highest: 1, word: uint8(why), from: as, to: n.id, cluster: "test"})
	if answer.word != 0 {
		tb.Fatalf("refused: %v", Refusal(answer.word))
	}
	return conn
}

func greetAs(tb testing.TB, n *testNode, h *hello) (net.Conn, hello) {
	tb.Helper()
	conn := connect(tb, n)
	if _, err := conn.Write(h.encode(magicHello)); err != nil {
		tb.Fatal(err)
	}
	answer, err := readHello(conn, magicAnswer, 1, 1)
	if err != nil {
		tb.Fatal(err)
	}
	return conn, answer
}

func connect(tb testing.TB, n *testNode) net.Conn {
	tb.Helper()
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", n.address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return conn
}

// expectClosed fails if the other side does not close, or says something first.
func expectClosed(tb testing.TB, conn net.Conn) {
	tb.Helper()
	n, err := conn.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); n != 0 || err == nil || ok && timeout.Timeout() { //nolint:errorlint // as it comes
		tb.Errorf("read %d bytes and %v, want a closed connection", n, err)
	}
}

// TestStopsWithAllInFlight: Run ends soon, though peers are frozen, fetches run, and half-open connections wait.
func TestStopsWithAllInFlight(t *testing.T) {
	serving := make(chan struct{}, 10)
	endless := func(ctx context.Context, _ persistence.NodeID, _ []byte, send func([]byte) error) error {
		serving <- struct{}{}
		for ctx.Err() == nil {
			if err := send(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	change := func(o *Options) {
		r := newRecorder()
		r.serve, o.Handler, o.CopyBytesPerSecond = endless, r, 4<<20
	}
	a, b := pair(t, change)
	fetched := make(chan error, 2)
	for range 2 {
		go func() { fetched <- a.Fetch(context.Background(), 2, nil, func([]byte) error { return nil }) }()
		<-serving
	}
	introduce(a, b, &testNode{Peers: a.Peers, id: 3, address: "127.0.0.1:1"})
	_ = connect(t, a)                      // says nothing
	frozen := speak(t, a, 3, purposeFetch) // reads nothing
	if err := writeFrame(frozen, kindRequest, nil); err != nil {
		t.Fatal(err)
	}
	<-serving
	began := time.Now()
	a.stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Run took %v to end", took)
	}
	for range 2 {
		if err := <-fetched; err == nil {
			t.Error("an endless fetch succeeded")
		}
	}
	if err := a.Fetch(t.Context(), 2, nil, nil); err != ErrEnded { //nolint:errorlint // as it comes
		t.Errorf("fetch after the end: %v", err)
	}
	late, _ := net.Pipe()
	if err := a.enter(late, nil); err != ErrEnded { //nolint:errorlint // as it comes
		t.Errorf("a connection after the end: %v", err)
	}
	_ = late.Close()
	a.Send(2, []byte("after the end"))
	a.SetAddresses(nil)
}

func TestListenerFails(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Options{Node: 1, Cluster: "test", Insecure: true, Handler: newRecorder(), Listener: listener})
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	if err := p.Run(t.Context()); err == nil {
		t.Error("Run went on without a listener")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("empty options were taken")
	}
	full := Options{Node: 1, Cluster: "c", Handler: newRecorder(), Listener: &net.TCPListener{}, Insecure: true}
	if err := full.Validate(); err != nil {
		t.Errorf("zero values are not right: %v", err)
	}
	for name, spoil := range map[string]func(*Options){
		"node":        func(o *Options) { o.Node = 0 },
		"cluster":     func(o *Options) { o.Cluster = string(make([]byte, 256)) },
		"silent tls":  func(o *Options) { o.Insecure = false },
		"two minds":   func(o *Options) { o.TLS = &TLS{} },
		"empty tls":   func(o *Options) { o.Insecure, o.TLS = false, &TLS{} },
		"tiny queue":  func(o *Options) { o.MaxQueueBytes = 1 << 20 },
		"slow copies": func(o *Options) { o.CopyBytesPerSecond = 1 },
		"idle":        func(o *Options) { o.IdleTimeout = time.Second },
	} {
		opts := full
		spoil(&opts)
		if opts.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
