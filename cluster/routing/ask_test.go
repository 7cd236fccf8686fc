package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Goal: asks reach a partition's owner or a node, within their bounds; watching goes on wherever the server is.
// Method: as for calls.

func marks() *peerv1.Ask {
	return &peerv1.Ask{Ask: &peerv1.Ask_Marks{Marks: &peerv1.Marks{Space: "main"}}}
}

func TestAsksReachTheirOwner(t *testing.T) {
	bubble(t, 3, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(persistence.MetaPartition, 2, 1, 1, 2, 3)
		net.own(0, 3, 1, 3)
		net.nodes[1].table.Learn(0, at(2, 1))
		net.nodes[2].table.Learn(0, at(3, 2))
		for _, c := range []struct {
			from, owner persistence.NodeID
			p           persistence.Partition
		}{{1, 2, persistence.MetaPartition}, {2, 2, persistence.MetaPartition}, {1, 3, 0}} {
			a, err := net.nodes[c.from].Ask(t.Context(), c.p, marks())
			if err != nil || !slices.Equal(a.GetNames(), []string{fmt.Sprint(c.owner)}) {
				t.Errorf("node %d asked for %d: %v, %v", c.from, c.p, a, err)
			}
		}
		if net.sent(2, 3) != 0 {
			t.Error("an ask was passed on")
		}
		for node := range persistence.NodeID(3) {
			a, err := net.nodes[1].AskNode(t.Context(), node+1, &peerv1.Ask{Ask: &peerv1.Ask_Own{Own: &peerv1.Own{}}})
			if err != nil || !slices.Equal(a.GetNames(), []string{fmt.Sprint(node + 1)}) {
				t.Errorf("node %d itself: %v, %v", node+1, a, err)
			}
		}
		if _, err := net.nodes[1].AskNode(t.Context(), 9, &peerv1.Ask{}); !errors.Is(err, persistence.ErrNotOwner) {
			t.Errorf("a node that is not there: %v", err)
		}
		if _, err := net.nodes[1].AskNode(t.Context(), 2, &peerv1.Ask{Partition: 1 << 20}); err == nil {
			t.Error("a partition that is none was asked")
		}
	})
}

func TestAskWaits(t *testing.T) {
	bubble(t, 2, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		began := time.Now()
		if _, err := net.nodes[1].Ask(t.Context(), 0, marks()); !errors.Is(err, persistence.ErrNotOwner) || time.Since(began) != defaultPatience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := net.nodes[1].Ask(ctx, 0, marks()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ctx ended: %v", err)
		}
		began = time.Now()
		timer := time.AfterFunc(time.Second, func() { net.own(0, 2, 1, 1) })
		defer timer.Stop()
		if _, err := net.nodes[1].Ask(t.Context(), 0, marks()); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		refusal := actors.FailureOf(actors.ErrDraining, describe)
		for _, node := range []persistence.NodeID{1, 2} {
			net.nodes[2].setAnswers(func(context.Context, persistence.NodeID, *peerv1.Ask) *peerv1.Answer { return refusal })
			mend := time.AfterFunc(time.Second, func() { net.nodes[2].setAnswers(nil) })
			began = time.Now()
			if _, err := net.nodes[node].Ask(t.Context(), 0, marks()); err != nil || time.Since(began) < time.Second || time.Since(began) > time.Second+maxPause {
				t.Errorf("node %d: %v after %v", node, err, time.Since(began))
			}
			mend.Stop()
		}
	})
}

func (n *fakeNode) setAnswers(f func(context.Context, persistence.NodeID, *peerv1.Ask) *peerv1.Answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers = f
}

// TestAsksAreBounded: asks may block; more than MaxAsks are refused, and calls go on.
func TestAsksAreBounded(t *testing.T) {
	bubble(t, 2, func(o *Options) { o.MaxAsks = 2 }, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 2, 1, 1, 2)
		hold := make(chan struct{})
		net.nodes[2].setAnswers(func(ctx context.Context, _ persistence.NodeID, _ *peerv1.Ask) *peerv1.Answer {
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return nil
		})
		done := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := net.nodes[1].Ask(t.Context(), 0, marks())
				done <- err
			}()
		}
		if err := <-done; !errors.Is(err, actors.ErrOverloaded) {
			t.Errorf("above MaxAsks: %v", err)
		}
		if _, err := net.nodes[1].ask(entity(0, 0), 1).outcome(t); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := net.nodes[1].Ask(ctx, 0, marks()); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
		close(hold)
		for range 2 {
			if err := <-done; !errors.Is(err, persistence.ErrOutcomeUnknown) {
				t.Errorf("no answer: %v", err)
			}
		}
		synctest.Wait()
		if here, there := net.nodes[1].Stats(), net.nodes[2].Stats(); here != (Stats{}) || there != (Stats{}) {
			t.Errorf("left over: %+v and %+v", here, there)
		}
	})
}

// TestLeasesDoNotHoldAsksUp: those that wait for tokens have places of their own.
func TestLeasesDoNotHoldAsksUp(t *testing.T) {
	bubble(t, 2, func(o *Options) { o.MaxAsks, o.MaxLeases = 1, 2 }, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 2, 1, 1, 2)
		hold := make(chan struct{})
		net.nodes[2].setAnswers(func(ctx context.Context, _ persistence.NodeID, ask *peerv1.Ask) *peerv1.Answer {
			if ask.GetLease() != nil {
				select {
				case <-hold:
				case <-ctx.Done():
				}
			}
			return &peerv1.Answer{}
		})
		done := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := net.nodes[1].Ask(t.Context(), 0, &peerv1.Ask{Ask: &peerv1.Ask_Lease{Lease: &peerv1.Lease{}}})
				done <- err
			}()
		}
		if err := <-done; !errors.Is(err, actors.ErrOverloaded) {
			t.Errorf("above MaxLeases: %v", err)
		}
		if _, err := net.nodes[1].Ask(t.Context(), 0, marks()); err != nil {
			t.Errorf("another ask: %v", err)
		}
		close(hold)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestNotesComeInOrder: without an answer, and not to who does not own the partition.
func TestNotesComeInOrder(t *testing.T) {
	bubble(t, 2, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		note := func(number int) *peerv1.Ask {
			return &peerv1.Ask{Ask: &peerv1.Ask_Notes{Notes: &peerv1.Notes{Notes: []*peerv1.Note{{Server: fmt.Sprint(number)}}}}}
		}
		if err := net.nodes[1].Tell(0, note(0)); !errors.Is(err, persistence.ErrNotOwner) {
			t.Errorf("nobody owns it: %v", err)
		}
		net.own(0, 2, 1, 1, 2)
		var came []string
		net.nodes[2].setAnswers(func(_ context.Context, _ persistence.NodeID, ask *peerv1.Ask) *peerv1.Answer {
			came = append(came, ask.GetNotes().GetNotes()[0].GetServer()) // one at a time
			return &peerv1.Answer{}
		})
		var want []string
		for i := range 100 {
			if err := net.nodes[1].Tell(0, note(i)); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprint(i))
		}
		synctest.Wait()
		if err := net.nodes[2].Tell(0, note(100)); err != nil {
			t.Error(err)
		}
		if !slices.Equal(came, append(want, "100")) {
			t.Errorf("came %v", came)
		}
		if net.sent(2, 1) != 0 {
			t.Error("notes were answered")
		}
		net.own(0, 1, 2)
		_ = net.nodes[1].Tell(0, note(1)) // here now
		net.own(0, 3, 3)
		_ = net.nodes[1].Tell(0, note(101))
		synctest.Wait()
		if len(came) != 101 {
			t.Errorf("%d notes came", len(came))
		}
		if there := net.nodes[2].Stats(); there != (Stats{}) {
			t.Errorf("left over: %+v", there)
		}
	})
}

// TestWatchFollowsTheServer: here, elsewhere, through a lost connection, and here again, each event once.
func TestWatchFollowsTheServer(t *testing.T) {
	bubble(t, 2, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		key := entity(0, 0)
		key.Kind = persistence.KindServer
		p := persistence.PartitionOf(key, testPartitions)
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan *skerryv1.ServerEvent, 1)
		ended := make(chan error, 1)
		go func() {
			ended <- net.nodes[1].Watch(ctx, key, 10, func(event *skerryv1.ServerEvent) error {
				select {
				case events <- event:
				case <-ctx.Done():
				}
				return nil
			})
		}()
		last := int64(10)
		expect := func(detail string) {
			t.Helper()
			for range 2 { // one may be from before
				event := <-events
				if last++; event.GetId() != last {
					t.Fatalf("event %d after %d", event.GetId(), last-1)
				}
				if event.GetDetail() == detail {
					return
				}
			}
			t.Fatalf("no event %q", detail)
		}
		time.Sleep(time.Second)
		net.own(p, 1, 1, 1, 2)
		expect("1")
		net.own(p, 2, 2, 1, 2)
		expect("polled")
		net.setCut(1, 2, true)
		for len(events) > 0 {
			expect("polled")
		}
		time.Sleep(3 * time.Second)
		net.own(p, 1, 3, 1)
		net.setCut(1, 2, false)
		for range 3 {
			if event := <-events; event.GetId() != last+1 {
				t.Fatalf("event %d after %d", event.GetId(), last)
			}
			last++
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}

		broken := errors.New("the watcher is gone")
		for _, node := range []persistence.NodeID{1, 2} {
			net.nodes[2].table.Learn(p, at(1, 3))
			if err := net.nodes[node].Watch(t.Context(), key, 0, func(*skerryv1.ServerEvent) error { return broken }); !errors.Is(err, broken) {
				t.Errorf("node %d: %v", node, err)
			}
		}
		net.own(p, 9, 9)
		began := time.Now()
		if err := net.nodes[1].Watch(t.Context(), key, 0, nil); !errors.Is(err, persistence.ErrNotOwner) || time.Since(began) < defaultPatience || time.Since(began) > 2*defaultPatience {
			t.Errorf("nobody's: %v after %v", err, time.Since(began))
		}
	})
}
