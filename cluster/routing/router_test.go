package routing

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication/peers"
)

// Goal: a call reaches its owner in one hop, in order, and is answered once; what may have been applied is never tried again here.
// Method: three routers on a net in memory, with entities that remember, in fake time.

// bubble runs a test on n routers in fake time.
func bubble(t *testing.T, n int, change func(*Options), test func(t *testing.T, net *fakeNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := newNet(t, n, change)
		end := net.run()
		defer end()
		synctest.Wait() // they run
		test(t, net)
	})
}

func TestCallsReachTheirOwner(t *testing.T) {
	bubble(t, 3, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 2, 1, 1, 2, 3)
		key := entity(0, 0)
		for i := range 3 {
			from := net.nodes[persistence.NodeID(i+1)]
			want := key.ID + "/" + strconv.Itoa(i)
			if got, err := from.ask(key, i).outcome(t); err != nil || got != want {
				t.Errorf("node %d was answered %q, %v", i+1, got, err)
			}
		}
		if served := net.nodes[2].served(); len(served) != 3 {
			t.Errorf("served %v", served)
		}
		net.nodes[2].refuseWith(fmt.Errorf("player: %w", turn.ErrSessionTaken))
		for _, node := range net.nodes {
			if _, err := node.ask(key, 9).outcome(t); !errors.Is(err, turn.ErrSessionTaken) {
				t.Errorf("node %d was refused with %v", node.id, err)
			}
		}
		if stats := net.nodes[1].Stats(); stats != (Stats{}) {
			t.Errorf("left over: %+v", stats)
		}
	})
}

// TestOneHop: who is asked wrongly says who it knows, and asks nobody itself.
func TestOneHop(t *testing.T) {
	bubble(t, 3, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 3, 7, 3)
		net.nodes[1].table.Learn(0, at(2, 5))
		net.nodes[2].table.Learn(0, at(3, 7))
		if _, err := net.nodes[1].ask(entity(0, 0), 1).outcome(t); err != nil {
			t.Error(err)
		}
		if sent := net.sent(2, 3); sent != 0 {
			t.Errorf("%d messages made a second hop", sent)
		}
		if place, _ := net.nodes[1].table.Owner(0); place != at(3, 7) {
			t.Errorf("the hint was not learned: %v", place)
		}
		if served := net.nodes[3].served(); len(served) != 1 {
			t.Errorf("served %v", served)
		}
	})
}

// TestTwoWhoPointAtEachOther: neither owns it, and the call does not go round.
func TestTwoWhoPointAtEachOther(t *testing.T) {
	bubble(t, 2, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.nodes[1].table.Learn(0, at(2, 9))
		net.nodes[2].table.Learn(0, at(1, 9))
		began := time.Now()
		a := net.nodes[1].ask(entity(0, 0), 1)
		if _, err := a.outcome(t); !errors.Is(err, persistence.ErrNotOwner) {
			t.Errorf("answered %v", err)
		}
		if took := time.Since(began); took < defaultPatience || took > defaultPatience+time.Second {
			t.Errorf("after %v", took)
		}
		if there, back := net.sent(1, 2), net.sent(2, 1); there > 60 || there != back {
			t.Errorf("%d messages there and %d back", there, back)
		}
	})
}

func TestOrderWhileTheOwnerStays(t *testing.T) {
	bubble(t, 3, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		const calls, entities, apart = 500, 5, 10_000
		var all []*asking
		next := map[persistence.NodeID]int{}
		burst := func(from persistence.NodeID) {
			for i := range calls {
				next[from]++
				all = append(all, net.nodes[from].ask(entity(0, i%entities), int(from)*apart+next[from]))
			}
		}
		burst(1) // no owner yet: they wait
		time.Sleep(time.Second)
		net.own(0, 2, 1, 1, 2, 3)
		burst(1) // behind those
		burst(2)
		burst(3)
		for _, a := range all {
			if _, err := a.outcome(t); err != nil {
				t.Fatal(err)
			}
		}
		last := map[string]int{} // by entity and who asked
		for _, name := range net.nodes[2].served() {
			id, number, _ := strings.Cut(name, "/")
			n, _ := strconv.Atoi(number)
			who := id + "/" + strconv.Itoa(n/apart)
			if n <= last[who] {
				t.Fatalf("%s after %d", name, last[who])
			}
			last[who] = n
		}
		if messages := net.sent(1, 2); messages > 40 {
			t.Errorf("%d calls went in %d messages", 2*calls, messages)
		}
		if messages := net.sent(2, 1); messages > 40 {
			t.Errorf("%d answers went in %d messages", 2*calls, messages)
		}
	})
}

// TestWaitsForAnElection: calls wait for an owner in order, and no longer than Patience.
func TestWaitsForAnElection(t *testing.T) {
	for name, winner := range map[string]persistence.NodeID{"here": 1, "elsewhere": 2} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 2, nil, func(t *testing.T, net *fakeNet) {
				t.Helper()
				began := time.Now()
				late := net.nodes[1].ask(entity(1, 0), 1) // of a partition that nobody gets
				var all []*asking
				for i := range 100 {
					all = append(all, net.nodes[1].ask(entity(0, 0), i))
				}
				time.Sleep(2 * time.Second)
				if slices.ContainsFunc(all, (*asking).isDone) || net.nodes[1].Stats().Waiting != 101 {
					t.Fatalf("did not wait: %+v", net.nodes[1].Stats())
				}
				net.own(0, winner, 1, 1)
				for i, a := range all {
					if got, err := a.outcome(t); err != nil || !strings.HasSuffix(got, "/"+strconv.Itoa(i)) {
						t.Errorf("call %d: %q, %v", i, got, err)
					}
				}
				if took := time.Since(began); took != 2*time.Second {
					t.Errorf("went on after %v", took)
				}
				if served := net.nodes[winner].served(); len(served) != 100 || served[0] != entity(0, 0).ID+"/0" || served[99] != entity(0, 0).ID+"/99" {
					t.Errorf("served %v", served)
				}
				if _, err := late.outcome(t); !errors.Is(err, persistence.ErrNotOwner) || time.Since(began) != defaultPatience {
					t.Errorf("answered %v after %v", err, time.Since(began))
				}
				if stats := net.nodes[1].Stats(); stats != (Stats{}) {
					t.Errorf("left over: %+v", stats)
				}
			})
		})
	}
}

// TestClaimIsSeenWithoutNews: a node that owns a partition serves it although nobody said so yet.
func TestClaimIsSeenWithoutNews(t *testing.T) {
	bubble(t, 1, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		a := net.nodes[1].ask(entity(0, 0), 1)
		time.Sleep(time.Second)
		net.own(0, 1, 1)
		began := time.Now()
		if _, err := a.outcome(t); err != nil || time.Since(began) > maxPause {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestAnnouncedOwnerIsAskedAtOnce: what waits for a partition that was handed over goes on when the next owner says so, not when
// the pause between two tries is over.
func TestAnnouncedOwnerIsAskedAtOnce(t *testing.T) {
	bubble(t, 2, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 1, 1, 1)
		net.nodes[1].refuseWith(persistence.ErrNotOwner)
		began := time.Now()
		a := net.nodes[1].ask(entity(0, 0), 1)
		time.Sleep(1001 * time.Millisecond) // amid the longest pause
		net.own(0, 2, 2)
		net.nodes[2].Announce(1, 0, persistence.Epoch{Term: 2})
		if _, err := a.outcome(t); err != nil || time.Since(began) != 1001*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		net.nodes[2].Announce(9, 0, persistence.Epoch{Term: 2}) // nobody is there: nothing comes of it
		synctest.Wait()
		if stats := net.nodes[2].Stats(); stats != (Stats{}) {
			t.Errorf("left over: %+v", stats)
		}
	})
}

// TestRefusedIsTriedAgain: an owner that hands over refuses, and what it refused goes on at the next one.
func TestRefusedIsTriedAgain(t *testing.T) {
	for name, refusal := range map[string]error{"not owner": persistence.ErrNotOwner, "draining": actors.ErrDraining} {
		for _, from := range []persistence.NodeID{1, 2} {
			t.Run(fmt.Sprintf("%s asked by %d", name, from), func(t *testing.T) {
				bubble(t, 3, nil, func(t *testing.T, net *fakeNet) {
					t.Helper()
					net.own(0, 2, 1, 1, 2, 3)
					net.own(1, 1, 1, 1, 2, 3)
					net.nodes[2].refuseWith(fmt.Errorf("handing over: %w", refusal))
					var all []*asking
					for i := range 50 {
						all = append(all, net.nodes[from].ask(entity(0, 0), i))
					}
					time.Sleep(time.Second)
					if slices.ContainsFunc(all, (*asking).isDone) {
						t.Fatal("did not wait")
					}
					if tries := net.nodes[2].tries(); tries < 5 || tries > 15+50 {
						t.Errorf("50 calls were tried %d times in a second", tries)
					}
					net.own(0, 3, 2, 2) // whoever asks node 2 hears of it
					began := time.Now()
					for _, a := range all {
						if _, err := a.outcome(t); err != nil {
							t.Error(err)
						}
					}
					if took := time.Since(began); took > maxPause {
						t.Errorf("went on after %v", took)
					}
					if served := net.nodes[3].served(); len(served) != 50 || !slices.IsSortedFunc(served, byNumber) {
						t.Errorf("served %v", served)
					}
				})
			})
		}
	}
}

func byNumber(a, b string) int {
	_, a, _ = strings.Cut(a, "/")
	_, b, _ = strings.Cut(b, "/")
	i, _ := strconv.Atoi(a)
	j, _ := strconv.Atoi(b)
	return i - j
}

// TestWhatMayBeAppliedIsNotTriedAgain: whatever else the error wraps.
func TestWhatMayBeAppliedIsNotTriedAgain(t *testing.T) {
	for _, err := range []error{
		persistence.ErrOutcomeUnknown,
		fmt.Errorf("%w: %w", persistence.ErrOutcomeUnknown, persistence.ErrNotOwner),
		fmt.Errorf("%w: %w", actors.ErrSave, persistence.ErrNotOwner),
		turn.ErrNotFound,
	} {
		bubble(t, 2, nil, func(t *testing.T, net *fakeNet) {
			t.Helper()
			net.own(0, 2, 1, 1, 2)
			net.nodes[2].refuseWith(err)
			for _, from := range []persistence.NodeID{1, 2} {
				if _, got := net.nodes[from].ask(entity(0, 0), 1).outcome(t); got == nil || errors.Is(err, persistence.ErrOutcomeUnknown) != errors.Is(got, persistence.ErrOutcomeUnknown) {
					t.Errorf("%v became %v", err, got)
				}
			}
			if net.nodes[2].tries() != 2 {
				t.Errorf("%v: two calls were tried %d times", err, net.nodes[2].tries())
			}
		})
	}
}

// TestAloneNobodyIsWaitedFor: a cluster of one that shuts down says so at once.
func TestAloneNobodyIsWaitedFor(t *testing.T) {
	bubble(t, 1, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 1, 1, 1)
		net.nodes[1].refuseWith(actors.ErrDraining)
		began := time.Now()
		if _, err := net.nodes[1].ask(entity(0, 0), 1).outcome(t); !errors.Is(err, actors.ErrDraining) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestLostConnection: of what was on its way the outcome is unknown, at once; it is not asked again, and late answers change nothing.
func TestLostConnection(t *testing.T) {
	bubble(t, 3, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 2, 1, 1, 2, 3)
		net.nodes[2].hold()
		var all []*asking
		for i := range 10 {
			all = append(all, net.nodes[1].ask(entity(0, 0), i))
		}
		other := net.nodes[3].ask(entity(0, 0), 99)
		synctest.Wait()
		net.setCut(1, 2, true)
		for _, a := range all {
			if _, err := a.outcome(t); !errors.Is(err, persistence.ErrOutcomeUnknown) {
				t.Errorf("answered %v", err)
			}
		}
		synctest.Wait()
		if other.isDone() {
			t.Error("another node's call was given up")
		}
		if _, err := net.nodes[1].ask(entity(0, 0), 10).outcome(t); !errors.Is(err, persistence.ErrOutcomeUnknown) {
			t.Errorf("over a cut connection: %v", err)
		}
		net.setCut(1, 2, false)
		net.nodes[2].release(nil)
		if _, err := other.outcome(t); err != nil {
			t.Error(err)
		}
		if got, err := net.nodes[1].ask(entity(0, 0), 11).outcome(t); err != nil || !strings.HasSuffix(got, "/11") {
			t.Errorf("after mending: %q, %v", got, err)
		}
		if tries := net.nodes[2].tries(); tries != 12 {
			t.Errorf("12 calls were tried %d times", tries)
		}
		for _, a := range all {
			if a.times() != 1 {
				t.Errorf("answered %d times", a.times())
			}
		}
	})
}

// TestFrozenOwner: when another node is said to own the partition, the old one's answers are waited for a moment.
func TestFrozenOwner(t *testing.T) {
	bubble(t, 3, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 2, 1, 1, 2, 3)
		net.own(1, 2, 1, 1, 2, 3)
		net.nodes[2].hold()
		frozen, stays := net.nodes[1].ask(entity(0, 0), 1), net.nodes[1].ask(entity(1, 0), 2)
		time.Sleep(time.Minute) // an owner that stays may take its time
		if frozen.isDone() {
			t.Fatal("given up")
		}
		net.own(0, 3, 2, 1)
		began := time.Now()
		if _, err := net.nodes[1].ask(entity(0, 0), 3).outcome(t); err != nil || time.Since(began) != 0 {
			t.Errorf("the next owner answered %v after %v", err, time.Since(began))
		}
		if _, err := frozen.outcome(t); !errors.Is(err, persistence.ErrOutcomeUnknown) || time.Since(began) != defaultStalePatience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		handedOver := net.nodes[1].ask(entity(1, 0), 4)
		synctest.Wait()
		net.own(1, 3, 2, 1)
		time.Sleep(defaultStalePatience / 2)
		net.nodes[2].release(nil) // it handed over, and finishes what it had accepted
		for _, a := range []*asking{stays, handedOver} {
			if _, err := a.outcome(t); err != nil {
				t.Error(err)
			}
		}
		if frozen.times() != 1 {
			t.Errorf("answered %d times", frozen.times())
		}
	})
}

func TestFullLines(t *testing.T) {
	bubble(t, 2, func(o *Options) { o.MaxWaiting, o.MaxServing = 10, 6 }, func(t *testing.T, net *fakeNet) {
		t.Helper()
		from := net.nodes[1]
		for p := range persistence.Partition(2) { // again, for what must be free again
			key := entity(p, 0)
			var all []*asking
			for i := range 11 {
				all = append(all, from.ask(key, i))
			}
			if _, err := all[10].outcome(t); !errors.Is(err, actors.ErrOverloaded) {
				t.Errorf("above MaxWaiting in line: %v", err)
			}
			net.nodes[2].hold()
			net.own(p, 2, 1, 1)
			synctest.Wait()
			refused := 0
			for _, a := range all[:10] {
				if a.isDone() {
					if _, err := a.outcome(t); !errors.Is(err, actors.ErrOverloaded) {
						t.Errorf("above MaxServing: %v", err)
					}
					refused++
				}
			}
			if refused != 4 {
				t.Errorf("%d of 10 were above MaxServing, want 4", refused)
			}
			net.nodes[2].release(nil)
			for _, a := range all {
				_, _ = a.outcome(t)
			}
			synctest.Wait()
			if here, there := from.Stats(), net.nodes[2].Stats(); here != (Stats{}) || there != (Stats{}) {
				t.Errorf("left over: %+v and %+v", here, there)
			}
		}
	})
}

// TestFullConnection: a call that the connection's line does not take was not applied; an answer is kept until it does.
func TestFullConnection(t *testing.T) {
	bubble(t, 2, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 2, 1, 1, 2)
		full := fmt.Errorf("%w: node 2", peers.ErrQueueFull)
		net.setFull(1, 2, full)
		if _, err := net.nodes[1].ask(entity(0, 0), 1).outcome(t); !errors.Is(err, actors.ErrOverloaded) {
			t.Errorf("answered %v", err)
		}
		net.setFull(1, 2, fmt.Errorf("%w: a frame", peers.ErrTooLarge))
		if _, err := net.nodes[1].ask(entity(0, 0), 2).outcome(t); !errors.Is(err, codec.ErrTooLarge) {
			t.Errorf("answered %v", err)
		}
		net.setFull(1, 2, peers.ErrUnknownPeer)
		unknown := net.nodes[1].ask(entity(0, 0), 3)
		time.Sleep(time.Second)
		if unknown.isDone() {
			t.Error("a node that is not there yet was not waited for")
		}
		net.setFull(1, 2, nil)
		net.setFull(2, 1, full)
		time.Sleep(time.Second)
		if unknown.isDone() || net.nodes[2].Stats().Serving != 1 {
			t.Errorf("answered through a full line: %+v", net.nodes[2].Stats())
		}
		net.setFull(2, 1, nil)
		if _, err := unknown.outcome(t); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if here, there := net.nodes[1].Stats(), net.nodes[2].Stats(); here != (Stats{}) || there != (Stats{}) || len(net.nodes[2].served()) != 1 {
			t.Errorf("left over: %+v and %+v; served %v", here, there, net.nodes[2].served())
		}
	})
}

// TestEndAnswersAll: whoever waits when Run ends is told what is known.
func TestEndAnswersAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet(t, 2, nil)
		net.own(0, 2, 1, 1, 2)
		early := net.nodes[1].ask(entity(0, 0), 0) // before Run
		end := net.run()
		if _, err := early.outcome(t); err != nil {
			t.Error(err)
		}
		net.nodes[2].hold()
		sent, lined := net.nodes[1].ask(entity(0, 0), 1), net.nodes[1].ask(entity(1, 0), 2)
		synctest.Wait()
		end()
		if _, err := sent.outcome(t); !errors.Is(err, persistence.ErrOutcomeUnknown) {
			t.Errorf("on its way: %v", err)
		}
		if _, err := lined.outcome(t); !errors.Is(err, actors.ErrDraining) {
			t.Errorf("in line: %v", err)
		}
		for p := range persistence.Partition(2) {
			if _, err := net.nodes[1].ask(entity(p, 0), 3).outcome(t); !errors.Is(err, actors.ErrDraining) {
				t.Errorf("after the end: %v", err)
			}
		}
		net.nodes[2].release(nil) // nobody listens
		if stats := net.nodes[1].Stats(); stats.Waiting != 0 {
			t.Errorf("left over: %+v", stats)
		}
	})
}
