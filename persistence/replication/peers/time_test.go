package peers

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: every wait has an end, and each is as long as it says.
// Method: fake time, pipes in place of sockets: what nobody reads cannot be written.

// pipes is a network of pipes, by address.
type pipes struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
}

func newPipes() *pipes { return &pipes{listeners: map[string]*pipeListener{}} }

// pipeListener accepts the other ends of pipes.
type pipeListener struct {
	address string
	waiting chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (n *pipes) listen(address string) *pipeListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &pipeListener{address: address, waiting: make(chan net.Conn, 16), closed: make(chan struct{})}
	n.listeners[address] = l
	return l
}

func (n *pipes) dial(_ context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ours, theirs := net.Pipe()
	select {
	case n.listeners[address].waiting <- theirs:
		return ours, nil
	default:
		return nil, errors.New("the backlog is full")
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.waiting:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.address) }

type pipeAddr string

func (a pipeAddr) Network() string { return "pipe" }
func (a pipeAddr) String() string  { return string(a) }

// startIn runs a node in a network of pipes; stop it before the bubble ends.
func (n *pipes) startIn(t *testing.T, id persistence.NodeID, change func(*Options)) *testNode {
	t.Helper()
	listener := n.listen("node" + string(rune('0'+id)))
	return start(t, id, func(o *Options) {
		o.Listener, o.dial, o.MaxBackoff = listener, n.dial, 0
		if change != nil {
			change(o)
		}
	})
}

// TestFrozenPeer: a peer that takes nothing makes no Send wait, and no memory grow; it is given up after IdleTimeout, and greeted
// again when it wakes.
func TestFrozenPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		frozen := network.listen("node2")
		dropped := map[Drop]int{}
		var mu sync.Mutex
		a := network.startIn(t, 1, func(o *Options) {
			o.MaxQueueBytes, o.MaxBatchBytes = 1<<20, 1<<20
			o.Events.Dropped = func(_ persistence.NodeID, why Drop, batches, _ int) {
				mu.Lock()
				defer mu.Unlock()
				dropped[why] += batches
			}
		})
		a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
		conn := <-frozen.waiting
		welcome(t, conn, 2)
		synctest.Wait()

		began := time.Now()
		const count, length = 1000, 10_000
		for i := range uint64(count) {
			a.Send(2, numbered(i, length))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Send waited %v", took)
		}
		a.Send(2, make([]byte, 1<<20+1))
		synctest.Wait()
		status := a.Status()[0]
		if !status.Sending || status.WaitingBytes > 1<<20 || status.WaitingBytes < 1<<19 {
			t.Errorf("status %+v", status)
		}
		time.Sleep(a.opts.IdleTimeout)
		synctest.Wait()
		if status = a.Status()[0]; status.Sending {
			t.Error("still sending to a peer that takes nothing")
		}
		mu.Lock()
		if dropped[DropFull] < count/2 || dropped[DropBroken] == 0 || dropped[DropTooLong] != 1 {
			t.Errorf("dropped %v", dropped)
		}
		mu.Unlock()

		conn = <-frozen.waiting // it wakes
		welcome(t, conn, 2)
		time.Sleep(a.opts.IdleTimeout / 2)
		r := frameReader{from: conn, limits: limits{kindBatch: 1 << 20, kindPing: 0}}
		if k, batch, err := r.next(); err != nil || k != kindBatch || len(batch) != length {
			t.Errorf("after waking: kind %d of %d bytes, %v", k, len(batch), err)
		}
		a.stop()
	})
}

// welcome answers the greeting on conn, as the node id.
func welcome(t *testing.T, conn net.Conn, id persistence.NodeID) {
	t.Helper()
	theirs, err := readHello(conn, magicHello, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	answer := hello{lowest: 1, highest: 1, from: id, to: theirs.from, cluster: "test"}
	if _, err := conn.Write(answer.encode(magicAnswer)); err != nil {
		t.Fatal(err)
	}
}

// TestFullQueueLeavesAtOnce: what waits longer than one round does not wait for the next batch, or ping.
func TestFullQueueLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		a := network.startIn(t, 1, nil)
		b := network.startIn(t, 2, nil)
		a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
		b.SetAddresses(map[persistence.NodeID]string{1: "node1"})
		synctest.Wait()
		began := time.Now()
		for i := range uint64(100) {
			a.Send(2, numbered(i, 100_000))
		}
		b.wait(t, "all batches", func() bool { return len(b.seen.batches[1]) == 100 })
		if took := time.Since(began); took != 0 {
			t.Errorf("the batches waited %v", took)
		}
		a.stop()
		b.stop()
	})
}

// TestSilentPeerIsDown: a stream stays open for ever while its peer lives, and is given up IdleTimeout after it froze.
func TestSilentPeerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		a := network.startIn(t, 1, nil)
		b := network.startIn(t, 2, nil)
		a.SetAddresses(map[persistence.NodeID]string{2: "node2", 3: "node3"})
		b.SetAddresses(map[persistence.NodeID]string{1: "node1"})
		network.listen("node3")
		time.Sleep(time.Hour)
		synctest.Wait()
		if !a.isUp(2) || !b.isUp(1) || a.downCount() != 0 || b.downCount() != 0 {
			t.Error("an idle stream was lost")
		}

		silent, _ := network.dial(t.Context(), "node1")
		h := hello{lowest: 1, highest: 1, word: uint8(purposeBatches), from: 3, to: 1, cluster: "test"}
		if _, err := silent.Write(h.encode(magicHello)); err != nil {
			t.Fatal(err)
		}
		if answer, err := readHello(silent, magicAnswer, 1, 1); err != nil || answer.word != 0 {
			t.Fatal(err, answer)
		}
		time.Sleep(a.opts.IdleTimeout - time.Millisecond)
		synctest.Wait()
		if !a.isUp(3) {
			t.Error("given up too early")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if a.isUp(3) {
			t.Error("a silent peer is up")
		}
		a.stop()
		b.stop()
	})
}

func (r *recorder) downCount() int {
	r.seen.Lock()
	defer r.seen.Unlock()
	return r.seen.downs
}

func (r *recorder) isUp(peer persistence.NodeID) bool {
	r.seen.Lock()
	defer r.seen.Unlock()
	return r.seen.open[peer]
}

// TestBackoff: an absent peer is tried at least once in MaxBackoff and not much more often, what waits for it is dropped, and
// the log hears of it once in ten seconds.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		tries, lost := 0, 0
		a := newPipes().startIn(t, 1, func(o *Options) {
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			o.dial = func(context.Context, string) (net.Conn, error) { tries++; return nil, errors.New("nobody there") }
			o.Events.Dropped = func(_ persistence.NodeID, why Drop, batches, _ int) {
				if why == DropAbsent {
					lost += batches
				}
			}
		})
		a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
		for range 60 {
			a.Send(2, []byte("in vain"))
			time.Sleep(time.Second)
		}
		a.stop()
		if tries < 60 || tries > 130 {
			t.Errorf("%d tries in a minute", tries)
		}
		if lost < 58 {
			t.Errorf("%d of 60 batches were dropped", lost)
		}
		if lines := strings.Count(log.String(), "no stream to peer"); lines < 5 || lines > 7 {
			t.Errorf("%d lines:\n%s", lines, log.String())
		}
	})
}

// TestComingPeerIsDialledAtOnce: a stream from a peer says that it is there, whatever the backoff.
func TestComingPeerIsDialledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		var alive atomic.Bool
		a := network.startIn(t, 1, func(o *Options) {
			o.MinBackoff, o.MaxBackoff = time.Hour, time.Hour
			o.dial = func(ctx context.Context, address string) (net.Conn, error) {
				if !alive.Load() {
					return nil, errors.New("nobody there")
				}
				return network.dial(ctx, address)
			}
		})
		a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
		time.Sleep(time.Minute)
		alive.Store(true)
		b := network.startIn(t, 2, nil)
		b.SetAddresses(map[persistence.NodeID]string{1: "node1"})
		synctest.Wait()
		if !b.isUp(1) || !a.isUp(2) {
			t.Error("the two are not connected")
		}
		a.stop()
		b.stop()
	})
}

// TestMuteServer: whoever accepts and says nothing is given up after HelloTimeout.
func TestMuteServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		network.listen("node2")
		a := network.startIn(t, 1, nil)
		a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
		began := time.Now()
		if err := a.Fetch(t.Context(), 2, nil, nil); err == nil || time.Since(began) != a.opts.HelloTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		a.stop()
	})
}

func TestFetchKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		const rate, frames = 64 << 10, 40
		served := serving(func(_ context.Context, _ persistence.NodeID, _ []byte, send func([]byte) error) error {
			for range frames / 2 {
				if err := send(make([]byte, 64<<10)); err != nil {
					return err
				}
			}
			return nil
		}, func(o *Options) { o.CopyBytesPerSecond = rate })
		a := network.startIn(t, 1, nil)
		b := network.startIn(t, 2, func(o *Options) { served(o) })
		a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
		b.SetAddresses(map[persistence.NodeID]string{1: "node1"})
		began := time.Now()
		done := make(chan error, 2)
		for range 2 { // the rate is of all together
			go func() { done <- a.Fetch(t.Context(), 2, nil, func([]byte) error { return nil }) }()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took < (frames-1)*time.Second || took > (frames+1)*time.Second {
			t.Errorf("%d s of bytes took %v", frames, took)
		}
		a.stop()
		b.stop()
	})
}

// TestFrozenFetch: a side of a fetch that freezes is given up after FetchTimeout by the other.
func TestFrozenFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		stopped := make(chan error, 1)
		a := network.startIn(t, 1, serving(endless(stopped), nil))
		frozen := network.listen("node2")
		a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
		streams := <-frozen.waiting
		defer func() { _ = streams.Close() }()

		began := time.Now()
		fetched := make(chan error, 1)
		go func() { fetched <- a.Fetch(t.Context(), 2, nil, nil) }()
		conn := <-frozen.waiting
		for { // the sender tries meanwhile
			h, err := readHello(conn, magicHello, 1, 1)
			if err == nil && purpose(h.word) == purposeFetch {
				break
			}
			conn = <-frozen.waiting
		}
		answer := hello{lowest: 1, highest: 1, from: 2, to: 1, cluster: "test"}
		if _, err := conn.Write(answer.encode(magicAnswer)); err != nil {
			t.Fatal(err)
		}
		r := frameReader{from: conn, limits: limits{kindRequest: MaxRequestBytes}}
		if _, _, err := r.next(); err != nil {
			t.Fatal(err)
		}
		if err := <-fetched; !errors.Is(err, ErrIncomplete) || time.Since(began) != a.opts.FetchTimeout {
			t.Errorf("a server froze, after %v: %v", time.Since(began), err)
		}

		began = time.Now()
		conn, _ = network.dial(t.Context(), "node1")
		h := hello{lowest: 1, highest: 1, word: uint8(purposeFetch), from: 2, to: 1, cluster: "test"}
		if _, err := conn.Write(h.encode(magicHello)); err != nil {
			t.Fatal(err)
		}
		if answer, err := readHello(conn, magicAnswer, 1, 1); err != nil || answer.word != 0 {
			t.Fatal(err, answer)
		}
		if err := writeFrame(conn, kindRequest, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-stopped; err == nil || time.Since(began) != a.opts.FetchTimeout {
			t.Errorf("a fetcher froze, after %v: %v", time.Since(began), err)
		}
		_ = conn.Close()
		a.stop()
	})
}
