package peers

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: calls arrive in order and once, or CallsLost says that they may not; nothing waits for ever, and an idle cluster has no
// connection for them.
// Method: nodes on loopback and on pipes in fake time, numbered frames, connections that are cut.

func TestCallsArriveInOrder(t *testing.T) {
	for name, change := range map[string]func(*Options){"plain": nil, "tls": secure(t)} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, change)
			const count = 3000
			for i := range uint64(count) {
				a.call(t, numbered(i, int(i*37%3000)))
				if i%100 == 0 {
					a.Send(2, numbered(i, 8))
				}
			}
			a.call(t, numbered(count, 3<<20))
			b.wait(t, "all frames", func() bool { return len(b.seen.calls[1]) == count+1 })
			for i, number := range b.callNumbers() {
				if number != uint64(i) {
					t.Fatalf("frame %d came at place %d", number, i)
				}
			}
			b.wait(t, "the batches", func() bool { return len(b.seen.batches[1]) == count/100 })
			if a.lossCount(2) != 0 || b.lossCount(1) != 0 {
				t.Error("calls were lost")
			}
			if status := a.Status()[0]; !status.Calling || status.WaitingCalls != 0 {
				t.Errorf("status %+v", status)
			}
		})
	}
}

// call sends a frame to node 2, which must be taken.
func (n *testNode) call(tb testing.TB, frame []byte) {
	tb.Helper()
	if err := n.SendCalls(2, frame); err != nil {
		tb.Fatal(err)
	}
}

// TestCallsAreLazy: without a call there is no connection for them, and with one it stays.
func TestCallsAreLazy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		dials := 0
		a := network.startIn(t, 1, func(o *Options) {
			o.dial = func(ctx context.Context, address string) (net.Conn, error) {
				dials++
				return network.dial(ctx, address)
			}
		})
		b := network.startIn(t, 2, nil)
		a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
		b.SetAddresses(map[persistence.NodeID]string{1: "node1"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if dials != 1 || a.Status()[0].Calling {
			t.Errorf("%d dials, %+v", dials, a.Status()[0])
		}
		a.call(t, numbered(1, 8))
		time.Sleep(time.Hour)
		synctest.Wait()
		if dials != 2 || !a.Status()[0].Calling || b.Status()[0].Calling || a.lossCount(2)+b.lossCount(1) != 0 {
			t.Errorf("%d dials, %+v, %d losses", dials, a.Status()[0], a.lossCount(2))
		}
		if got := b.callNumbers(); !slices.Equal(got, []uint64{1}) {
			t.Errorf("came %v", got)
		}
		a.stop()
		b.stop()
		if a.lossCount(2) == 0 || b.lossCount(1) == 0 {
			t.Error("the end of a connection was not told")
		}
	})
}

// TestEveryLossIsTold: over connections that break in the middle of anything, each frame comes, in order and once, or a loss is told
// after it.
func TestEveryLossIsTold(t *testing.T) {
	var cut atomic.Int64
	a := start(t, 1, func(o *Options) {
		o.MinBackoff, o.MaxBackoff = time.Millisecond, 2*time.Millisecond
		o.dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			return &shortLived{Conn: conn, left: 1000 + int(cut.Add(1))*7919%20_000}, err
		}
	})
	b := start(t, 2, nil)
	introduce(a, b)
	b.waitUp(t, 1)
	const burst = 20
	told := 0
	for sent := uint64(0); told < 30; sent += burst {
		before := a.lossCount(2)
		for i := range uint64(burst) {
			a.call(t, numbered(sent+i, int((sent+i)*131%500)))
		}
		came := false
		a.waitBoth(t, b, func() bool {
			numbers := b.callNumbers()
			came = len(numbers) > 0 && numbers[len(numbers)-1] == sent+burst-1
			return came || a.lossCount(2) > before
		})
		if !came {
			told++
		}
	}
	numbers := b.callNumbers()
	if !slices.IsSorted(numbers) || len(slices.Compact(slices.Clone(numbers))) != len(numbers) || len(numbers) == 0 {
		t.Errorf("%d frames came, out of order, or twice", len(numbers))
	}
}

// waitBoth returns when the claim about two nodes holds.
func (n *testNode) waitBoth(t *testing.T, other *testNode, claim func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		n.seen.Lock()
		ours := n.seen.changed
		n.seen.Unlock()
		other.seen.Lock()
		theirs := other.seen.changed
		other.seen.Unlock()
		if claim() {
			return
		}
		select {
		case <-ours:
		case <-theirs:
		case <-deadline.C:
			t.Fatal("waited in vain: frames that neither came nor were told as lost")
		}
	}
}

// TestFrozenCallee: a peer that greets and then freezes makes no SendCalls wait, and no memory grow. It is given up after
// IdleTimeout, also by who only waits for its answers; what comes later goes to it when it wakes.
func TestFrozenCallee(t *testing.T) {
	for name, frames := range map[string]int{"one call": 1, "many calls": 1000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipes()
				frozen := network.listen("node2")
				a := network.startIn(t, 1, func(o *Options) { o.MaxCallsBytes, o.MaxCallsFrames = 1<<20, 500 })
				a.SetAddresses(map[persistence.NodeID]string{2: "node2"})
				batches := <-frozen.waiting
				welcome(t, batches, 2)
				a.call(t, numbered(0, 8))
				conn := <-frozen.waiting
				if !welcomeCalls(t, conn) {
					t.Fatal("no greeting for calls")
				}
				reader := frameReader{from: conn, limits: limits{kindCalls: 1 << 20, kindPing: 0}}
				if k, _, err := reader.next(); err != nil || k != kindCalls {
					t.Fatal(k, err)
				}
				discarded := make(chan struct{})
				if frames == 1 { // its kernel takes what comes
					go func() {
						defer close(discarded)
						for err := error(nil); err == nil; {
							_, _, err = reader.next()
						}
					}()
				} else {
					close(discarded)
				}
				began, full := time.Now(), 0
				for i := 1; i < frames; i++ {
					if err := a.SendCalls(2, numbered(uint64(i), 10_000)); errors.Is(err, ErrQueueFull) {
						full++
					}
				}
				if time.Since(began) != 0 || frames > 1 && (full < 500 || a.Status()[0].WaitingCallsBytes > 1<<20) {
					t.Errorf("SendCalls waited %v, %d were refused, %+v", time.Since(began), full, a.Status()[0])
				}
				time.Sleep(a.opts.IdleTimeout)
				synctest.Wait()
				if a.lossCount(2) == 0 || a.Status()[0].WaitingCalls != 0 {
					t.Errorf("%d losses, %+v", a.lossCount(2), a.Status()[0])
				}
				_ = conn.Close()
				<-discarded

				a.call(t, numbered(7, 8)) // it wakes
				for conn = range frozen.waiting {
					if welcomeCalls(t, conn) {
						break
					}
					_ = conn.Close() // the batches'
				}
				reader.from = conn
				if k, frame, err := reader.next(); err != nil || k != kindCalls || frame[0] != 7 {
					t.Errorf("after waking: kind %d, %v", k, err)
				}
				_ = batches.Close()
				a.stop()
			})
		})
	}
}

// welcomeCalls answers a greeting for calls as node 2, and no other.
func welcomeCalls(t *testing.T, conn net.Conn) bool {
	t.Helper()
	h, err := readHello(conn, magicHello, 1, 2)
	if err != nil || purpose(h.word) != purposeCalls {
		return false
	}
	answer := hello{lowest: 1, highest: 2, from: 2, to: 1, cluster: "test"}
	if _, err := conn.Write(answer.encode(magicAnswer)); err != nil {
		t.Fatal(err)
	}
	return true
}

// TestPeerThatCannotAnswerHangsUp: a node that cannot dial back ends the connection of the calls that it cannot answer.
func TestPeerThatCannotAnswerHangsUp(t *testing.T) {
	a := start(t, 1, nil)
	b := start(t, 2, nil)
	a.SetAddresses(map[persistence.NodeID]string{2: b.address})
	b.SetAddresses(map[persistence.NodeID]string{1: "127.0.0.1:1"})
	a.call(t, numbered(1, 8))
	b.wait(t, "the call", func() bool { return len(b.seen.calls[1]) == 1 })
	if a.lossCount(2) != 0 {
		t.Fatal("lost before it was answered")
	}
	if err := b.SendCalls(1, numbered(2, 8)); err != nil {
		t.Fatal(err)
	}
	a.wait(t, "the loss, where the answer is waited for", func() bool { return a.seen.losses[2] > 0 })
	b.wait(t, "the loss, where it was lost", func() bool { return b.seen.losses[1] > 0 })
}

// TestCallsToNobody: what nobody takes is told as lost; what is no frame for a peer is refused.
func TestCallsToNobody(t *testing.T) {
	a := start(t, 1, nil)
	a.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1"})
	a.call(t, []byte("in vain"))
	a.wait(t, "the loss", func() bool { return a.seen.losses[2] > 0 })
	if err := a.SendCalls(3, nil); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("to a stranger: %v", err)
	}
	if err := a.SendCalls(2, make([]byte, a.opts.MaxBatchBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
	if a.lossCount(3) != 0 {
		t.Error("a stranger's calls were lost")
	}
	a.stop()
	if err := a.SendCalls(2, nil); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
}

// TestRemovedPeersCallsAreLost: on both sides, and for frames that no sender had seen.
func TestRemovedPeersCallsAreLost(t *testing.T) {
	a, b := pair(t, nil)
	a.call(t, numbered(1, 8))
	b.wait(t, "the call", func() bool { return len(b.seen.calls[1]) == 1 })
	a.SetAddresses(nil)
	a.wait(t, "the loss at the caller", func() bool { return a.seen.losses[2] > 0 })
	b.wait(t, "the loss at the callee", func() bool { return b.seen.losses[1] > 0 })
	if err := a.SendCalls(2, nil); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("to a removed node: %v", err)
	}
	introduce(a, b)
	for sent := uint64(2); len(b.callNumbers()) == 1; sent++ { // the first may fall into the end of the old connection
		before := a.lossCount(2)
		a.call(t, numbered(sent, 8))
		a.waitBoth(t, b, func() bool { return len(b.callNumbers()) > 1 || a.lossCount(2) > before })
	}

	heard := newRecorder()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	idle, err := New(Options{Node: 1, Cluster: "test", Insecure: true, Handler: heard, Listener: listener})
	if err != nil {
		t.Fatal(err)
	}
	idle.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1", 3: "127.0.0.1:1"})
	if err := errors.Join(idle.SendCalls(2, nil), idle.SendCalls(3, nil)); err != nil {
		t.Fatal(err)
	}
	idle.SetAddresses(map[persistence.NodeID]string{3: "127.0.0.1:1"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := idle.Run(ctx); err != nil || heard.lossCount(2) == 0 || heard.lossCount(3) == 0 {
		t.Errorf("Run: %v; losses %v", err, heard.seen.losses)
	}
}

// TestCallsNeedTheirVersion: a build that knows no calls is told that it is older; batches go on.
func TestCallsNeedTheirVersion(t *testing.T) {
	var counted *refused
	b := start(t, 2, func(o *Options) { counted = watch(o); o.lowest, o.highest = 1, 1 })
	var own *refused
	a := start(t, 1, func(o *Options) { own = watch(o) })
	introduce(a, b)
	b.waitUp(t, 1)
	a.waitUp(t, 2)
	a.call(t, numbered(1, 8))
	a.wait(t, "the loss", func() bool { return a.seen.losses[2] > 0 })
	eventually(t, "both sides say why", func() bool {
		count, _ := counted.seen(RefusedVersion)
		_, log := own.seen(0)
		return count > 0 && strings.Contains(log, "that node is older")
	})
	if !b.isUp(1) {
		t.Error("the stream of batches was lost")
	}
	_, answer := greetAs(t, a, &hello{lowest: 1, highest: 1, word: uint8(purposeCalls), from: 2, to: 1, cluster: "test"})
	if Refusal(answer.word) != RefusedMalformed {
		t.Errorf("calls of version 1 were answered %v", Refusal(answer.word))
	}
}

// TestNewCallsTakeOver: a second connection of calls ends the first, whose loss is told before the second's frames.
func TestNewCallsTakeOver(t *testing.T) {
	a := start(t, 1, nil)
	a.SetAddresses(map[persistence.NodeID]string{2: "127.0.0.1:1"})
	older := speakCalls(t, a)
	if err := writeFrame(older, kindCalls, numbered(1, 8)); err != nil {
		t.Fatal(err)
	}
	a.wait(t, "the first frame", func() bool { return len(a.seen.calls[2]) == 1 })
	newer := speakCalls(t, a)
	if a.lossCount(2) != 1 {
		t.Errorf("%d losses", a.lossCount(2))
	}
	expectClosed(t, older)
	if err := writeFrame(newer, kindCalls, numbered(2, 8)); err != nil {
		t.Fatal(err)
	}
	a.wait(t, "the second frame", func() bool { return len(a.seen.calls[2]) == 2 })
	if _, err := newer.Write([]byte{0, 0, 0, 0, byte(kindBatch)}); err != nil {
		t.Fatal(err)
	}
	expectClosed(t, newer) // for a frame that is none of calls
	a.wait(t, "its loss", func() bool { return a.seen.losses[2] == 2 })
}

// speakCalls is a hand-made node 2 that was welcomed with calls.
func speakCalls(t *testing.T, n *testNode) net.Conn {
	t.Helper()
	conn, answer := greetAs(t, n, &hello{lowest: 2, highest: 2, word: uint8(purposeCalls), from: 2, to: n.id, cluster: "test"})
	if answer.word != 0 {
		t.Fatalf("refused: %v", Refusal(answer.word))
	}
	return conn
}

// TestSlowCalleeDelaysNoBatches: a handler that takes its time with a call holds up the peer's calls, and nothing else.
func TestSlowCalleeDelaysNoBatches(t *testing.T) {
	hold := make(chan struct{})
	heard := &slowCallee{recorder: newRecorder(), hold: hold}
	a := start(t, 1, nil)
	b := start(t, 2, func(o *Options) { o.Handler = heard })
	introduce(a, b)
	a.waitUp(t, 2)
	for i := range uint64(100) {
		a.call(t, numbered(i, 100_000))
	}
	a.waitSending(t)
	a.Send(2, numbered(1, 8))
	heard.wait(t, "the batch", func() bool { return len(heard.seen.batches[1]) == 1 })
	close(hold)
	heard.wait(t, "the calls", func() bool { return len(heard.seen.calls[1]) == 100 })
	b.stop()
	heard.check(t)
}

type slowCallee struct {
	*recorder
	hold <-chan struct{}
	once sync.Once
}

func (s *slowCallee) Calls(from persistence.NodeID, frame []byte) {
	s.once.Do(func() { <-s.hold })
	s.recorder.Calls(from, frame)
}
