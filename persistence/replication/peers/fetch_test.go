package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a fetch is whole or an error, ends when either side wants, and does not delay batches.
// Method: nodes on loopback whose handlers serve what the test says.

type serveFunc = func(ctx context.Context, from persistence.NodeID, request []byte, send func([]byte) error) error

func serving(serve serveFunc, change func(*Options)) func(*Options) {
	return func(o *Options) {
		r := newRecorder()
		r.serve, o.Handler = serve, r
		if change != nil {
			change(o)
		}
	}
}

func TestFetchIsWhole(t *testing.T) {
	for name, change := range map[string]func(*Options){"plain": nil, "tls": secure(t)} {
		t.Run(name, func(t *testing.T) {
			frames := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("b"), MaxFrameBytes), bytes.Repeat([]byte("c"), 100_000)}
			a, _ := pair(t, serving(func(_ context.Context, from persistence.NodeID, request []byte, send func([]byte) error) error {
				if from != 1 || len(request) != MaxRequestBytes {
					return fmt.Errorf("asked by %d with %d bytes", from, len(request))
				}
				for _, frame := range frames {
					if err := send(frame); err != nil {
						return err
					}
				}
				return nil
			}, change))
			taken := 0
			err := a.Fetch(t.Context(), 2, make([]byte, MaxRequestBytes), func(frame []byte) error {
				if !bytes.Equal(frame, frames[taken]) {
					t.Errorf("frame %d is another", taken)
				}
				taken++
				return nil
			})
			if err != nil || taken != len(frames) {
				t.Errorf("took %d frames: %v", taken, err)
			}
		})
	}
}

func TestFetchFails(t *testing.T) {
	long := strings.Repeat("é", 2000)
	for name, test := range map[string]struct {
		serve serveFunc
		check func(error) bool
	}{
		"peer cannot": {
			func(_ context.Context, _ persistence.NodeID, _ []byte, send func([]byte) error) error {
				return errors.Join(send([]byte("some")), errors.New("the disk is gone"))
			},
			func(err error) bool {
				var remote *RemoteError
				return errors.As(err, &remote) && remote.Node == 2 && remote.Text == "the disk is gone"
			},
		},
		"peer cannot say it shortly": {
			func(context.Context, persistence.NodeID, []byte, func([]byte) error) error { return errors.New(long) },
			func(err error) bool {
				var remote *RemoteError
				return errors.As(err, &remote) && len(remote.Text) <= maxFailureBytes && len(remote.Text) > 1000
			},
		},
		"a frame is too large, and nobody looked": {
			func(_ context.Context, _ persistence.NodeID, _ []byte, send func([]byte) error) error {
				_ = send(make([]byte, MaxFrameBytes+1))
				_ = send([]byte("more"))
				return nil
			},
			func(err error) bool {
				var remote *RemoteError
				return errors.As(err, &remote) && strings.Contains(remote.Text, ErrTooLarge.Error())
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := pair(t, serving(test.serve, nil))
			if err := a.Fetch(t.Context(), 2, nil, func([]byte) error { return nil }); !test.check(err) {
				t.Errorf("fetch: %v", err)
			}
		})
	}
}

func TestFetchIsNotMade(t *testing.T) {
	a, b := pair(t, nil)
	if err := a.Fetch(t.Context(), 9, nil, nil); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("unknown peer: %v", err)
	}
	if err := a.Fetch(t.Context(), 2, make([]byte, MaxRequestBytes+1), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("long request: %v", err)
	}
	b.stop()
	if err := a.Fetch(t.Context(), 2, nil, nil); err == nil {
		t.Error("fetched from nobody")
	}
}

// endless serves until it is stopped, and tells how that was.
func endless(stopped chan<- error) serveFunc {
	return func(ctx context.Context, _ persistence.NodeID, _ []byte, send func([]byte) error) error {
		for {
			if err := send(make([]byte, 10_000)); err != nil {
				stopped <- errors.Join(err, ctx.Err())
				return err
			}
		}
	}
}

func TestFetchIsCut(t *testing.T) {
	sentinel := errors.New("disk full")
	for name, test := range map[string]struct {
		cut  func(cancel func(), a, b *testNode)
		take error
		want error
	}{
		"by its context":       {func(cancel func(), _, _ *testNode) { cancel() }, nil, context.Canceled},
		"by take":              {func(func(), *testNode, *testNode) {}, sentinel, sentinel},
		"by the peer's end":    {func(_ func(), _, b *testNode) { go b.stop() }, nil, ErrIncomplete},
		"by its own end":       {func(_ func(), a, _ *testNode) { go a.stop() }, nil, ErrIncomplete},
		"by removal at peer":   {func(_ func(), _, b *testNode) { b.SetAddresses(nil) }, nil, ErrIncomplete},
		"by removal of it":     {func(_ func(), a, _ *testNode) { a.SetAddresses(nil) }, nil, ErrIncomplete},
		"by a lost connection": {func(_ func(), a, _ *testNode) { a.cutAll() }, nil, ErrIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			stopped := make(chan error, 1)
			a, b := pair(t, serving(endless(stopped), nil))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			taken := 0
			err := a.Fetch(ctx, 2, nil, func([]byte) error {
				if taken++; taken == 5 {
					test.cut(cancel, a, b)
					return test.take
				}
				return nil
			})
			if !errors.Is(err, test.want) {
				t.Errorf("fetch: %v, want %v", err, test.want)
			}
			if err := <-stopped; err == nil {
				t.Error("the handler was not told")
			}
		})
	}
}

// cutAll closes every connection, as a network would.
func (n *testNode) cutAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.mu.conns {
		_ = conn.Close()
	}
}

func TestFetchesOfAPeerAreBounded(t *testing.T) {
	hold := make(chan struct{})
	entered := make(chan struct{}, 10)
	a, _ := pair(t, serving(func(context.Context, persistence.NodeID, []byte, func([]byte) error) error {
		entered <- struct{}{}
		<-hold
		return nil
	}, func(o *Options) { o.MaxFetches = 2 }))
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- a.Fetch(context.Background(), 2, nil, nil) }()
		<-entered
	}
	err := a.Fetch(t.Context(), 2, nil, nil)
	if told := (*RefusedError)(nil); !errors.As(err, &told) || told.Refusal != RefusedBusy {
		t.Errorf("a third fetch: %v", err)
	}
	close(hold)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "room again", func() bool { return a.Fetch(t.Context(), 2, nil, nil) == nil })
}

// TestFetchDoesNotDelayBatches: while a fetch fills its connection and nobody takes from it, batches pass.
func TestFetchDoesNotDelayBatches(t *testing.T) {
	stopped := make(chan error, 1)
	a, b := pair(t, serving(endless(stopped), nil))
	a.waitSending(t)
	b.waitSending(t)
	hold, held := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	fetched := make(chan error, 1)
	go func() {
		first := true
		fetched <- a.Fetch(ctx, 2, nil, func([]byte) error {
			if first {
				first = false
				close(held)
				<-hold
			}
			return nil
		})
	}()
	<-held
	for i := range uint64(100) {
		a.Send(2, numbered(i, 1000))
		b.wait(t, "a batch there", func() bool { return len(b.seen.batches[1]) == int(i)+1 })
		b.Send(1, numbered(i, 1000))
		a.wait(t, "a batch back", func() bool { return len(a.seen.batches[2]) == int(i)+1 })
	}
	close(hold)
	cancel()
	if err := <-fetched; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-stopped; err == nil {
		t.Error("the handler was not told")
	}
}

// TestServeIsToldThatItsPeerIsGone: also while it sends nothing.
func TestServeIsToldThatItsPeerIsGone(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan struct{})
	a, _ := pair(t, serving(func(ctx context.Context, _ persistence.NodeID, _ []byte, _ func([]byte) error) error {
		close(entered)
		defer close(ended)
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			t.Error("the handler was not told")
		}
		return ctx.Err()
	}, nil))
	ctx, cancel := context.WithCancel(t.Context())
	fetched := make(chan error, 1)
	go func() { fetched <- a.Fetch(ctx, 2, nil, nil) }()
	<-entered
	cancel()
	<-ended
	if err := <-fetched; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestTornFrameIsNotFilled: when a frame could not be written whole, nothing follows it that could be taken for its rest.
func TestTornFrameIsNotFilled(t *testing.T) {
	ours, theirs := net.Pipe()
	var read atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		n, _ := bytes.NewBuffer(nil).ReadFrom(theirs)
		read.Store(n)
	}()
	a := start(t, 1, nil)
	out := a.answering(&stream{raw: ours, conn: ours, timeout: time.Second})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := out.send(ended, make([]byte, 10)); err == nil {
		t.Error("sent after the end")
	}
	if err := out.finish(errors.New("why")); err == nil {
		t.Error("an error became none")
	}
	_ = ours.Close()
	<-done
	if read.Load() != 0 {
		t.Errorf("%d bytes were written behind half a frame", read.Load())
	}
}
