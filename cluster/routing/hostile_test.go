package routing

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Goal: whatever a node sends, and whatever happens to owners and connections, each call is answered once.
// Method: frames made by hand and by the fuzzer; random events.

// frames is a message of some frames.
func frames(tb testing.TB, all ...*peerv1.Frame) []byte {
	tb.Helper()
	b, err := (&peerv1.Frames{Frames: all}).MarshalVT()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func answered(id uint64, name string) *peerv1.Frame {
	return &peerv1.Frame{Id: id, Frame: &peerv1.Frame_Answer{Answer: &peerv1.Answer{
		Response: &skerryv1.Response{Response: &skerryv1.Response_GetPlayer{GetPlayer: &skerryv1.GetPlayerResponse{Player: &skerryv1.Player{Name: name}}}},
	}}}
}

// waitingIDs are those of what waits for a node.
func (n *fakeNode) waitingIDs(of persistence.NodeID) []uint64 {
	p := n.peer(of)
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []uint64
	for id := range p.waiting {
		ids = append(ids, id)
	}
	return ids
}

func TestOnlyTheAskedNodeAnswersAndOnce(t *testing.T) {
	bubble(t, 3, nil, func(t *testing.T, net *fakeNet) {
		t.Helper()
		net.own(0, 2, 1, 1, 2, 3)
		net.nodes[2].hold()
		a := net.nodes[1].ask(entity(0, 0), 1)
		synctest.Wait()
		id := net.nodes[1].waitingIDs(2)[0]
		net.nodes[1].Receive(3, frames(t, answered(id, "lie")))                              // nothing was asked of it
		net.nodes[1].Receive(2, frames(t, answered(id+1, "unknown"), answered(0, "nobody"))) // not this
		net.nodes[1].Receive(9, frames(t, answered(id, "stranger")))
		if a.isDone() {
			t.Fatal("answered by another, or with another's")
		}
		net.nodes[1].Receive(2, frames(t, answered(id, "right"), answered(id, "twice")))
		net.nodes[2].release(nil)
		synctest.Wait()
		if got, err := a.outcome(t); got != "right" || err != nil || a.times() != 1 {
			t.Errorf("answered %q, %v, %d times", got, err, a.times())
		}
		again := net.nodes[1].ask(entity(0, 0), 2)
		synctest.Wait()
		if got, err := again.outcome(t); !strings.HasSuffix(got, "/2") {
			t.Errorf("answered %q, %v", got, err)
		}
		lives := map[uint64]bool{}
		for range 3 {
			life, err := New(net.nodes[1].opts)
			if err != nil || lives[life.ids.Load()] {
				t.Errorf("another life's ids begin at the same place: %v", err)
			}
			lives[life.ids.Load()] = true
		}
	})
}

// TestMalformedFrames: each that can be answered is, with an error, and nothing of it reaches an entity.
func TestMalformedFrames(t *testing.T) {
	call := func(m *peerv1.Call) *peerv1.Frame {
		return &peerv1.Frame{Id: 1, Frame: &peerv1.Frame_Call{Call: m}}
	}
	for name, c := range map[string]struct {
		frame *peerv1.Frame
		want  error // nil: no answer
	}{
		"an empty call":      {call(&peerv1.Call{}), persistence.ErrBadKey},
		"no request":         {call(&peerv1.Call{Space: "main", Kind: 1, Entity: "p1"}), turn.ErrBadRequest},
		"of a newer build":   {&peerv1.Frame{Id: 1}, turn.ErrBadRequest},
		"wants no answer":    {&peerv1.Frame{}, nil},
		"an empty ask":       {&peerv1.Frame{Id: 1, Frame: &peerv1.Frame_Ask{Ask: &peerv1.Ask{Partition: 3}}}, persistence.ErrNotOwner},
		"no such partition":  {&peerv1.Frame{Id: 1, Frame: &peerv1.Frame_Ask{Ask: &peerv1.Ask{Partition: 1 << 16}}}, turn.ErrBadRequest},
		"an unasked answer":  {&peerv1.Frame{Id: 1, Frame: &peerv1.Frame_Answer{Answer: &peerv1.Answer{}}}, nil},
		"a call, no answer":  {&peerv1.Frame{Frame: &peerv1.Frame_Call{Call: &peerv1.Call{}}}, nil},
		"other's places":     {&peerv1.Frame{Frame: &peerv1.Frame_Places{Places: &peerv1.Places{Places: []*peerv1.Place{{Node: 3, Term: 99}, {Node: 7, Partition: 1 << 20}}}}}, nil},
		"an answer to claim": {&peerv1.Frame{Id: 1, Frame: &peerv1.Frame_Answer{Answer: &peerv1.Answer{Owner: &peerv1.Place{Node: 3, Term: 99}}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var got []*peerv1.Frame
			bubble(t, 1, func(o *Options) {
				o.Send = func(to persistence.NodeID, frame []byte) error {
					mu.Lock()
					defer mu.Unlock()
					m := &peerv1.Frames{}
					if err := m.UnmarshalVT(frame); err != nil || to != 7 {
						t.Errorf("sent to %d: %v", to, err)
					}
					got = append(got, m.GetFrames()...)
					return nil
				}
			}, func(t *testing.T, net *fakeNet) {
				t.Helper()
				net.own(0, 1, 1, 1)
				net.nodes[1].Receive(7, []byte{0xff, 0xff})
				net.nodes[1].Receive(7, frames(t, c.frame))
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case c.want == nil && len(got) != 0, c.want != nil && len(got) != 1:
					t.Errorf("answered %v", got)
				case c.want != nil && !errors.Is(actors.FailureIn(got[0].GetAnswer()), c.want):
					t.Errorf("answered %v, want %v", got[0], c.want)
				}
				if place, _ := net.nodes[1].table.Owner(0); place != at(1, 1) {
					t.Errorf("learned %v", place)
				}
				if net.nodes[1].tries() != 0 || net.nodes[1].Stats() != (Stats{}) {
					t.Errorf("%d calls, %+v", net.nodes[1].tries(), net.nodes[1].Stats())
				}
			})
		})
	}
}

func FuzzReceive(f *testing.F) {
	call, err := actors.AppendCall(&actors.Call{Key: entity(0, 0), Request: &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frames(f, &peerv1.Frame{Id: 1, Frame: &peerv1.Frame_Call{Call: call}}, answered(2, "x"), &peerv1.Frame{Id: 3, Frame: &peerv1.Frame_Ask{Ask: marks()}}))
	f.Add([]byte{0x0a, 0x02, 0x08, 0x01})
	net := newNet(f, 1, nil)
	for p := range persistence.Partition(testPartitions) {
		net.own(p, 1, 1, 1)
	}
	f.Cleanup(net.run())
	f.Fuzz(func(t *testing.T, b []byte) {
		net.nodes[1].Receive(2, b)
		if stats := net.nodes[1].Stats(); stats.Waiting != 0 {
			t.Fatalf("%+v", stats)
		}
	})
}

// event is one thing that happens; what its numbers mean depends on which.
type event struct {
	Which, Node, Other, Partition, Entity, Count int
	Flag, Settle                                 bool
}

func drawEvent(t *rapid.T) event {
	return event{
		Which: rapid.IntRange(0, 8).Draw(t, "which"), Node: rapid.IntRange(1, 3).Draw(t, "node"), Other: rapid.IntRange(1, 3).Draw(t, "other"),
		Partition: rapid.IntRange(0, 1).Draw(t, "partition"), Entity: rapid.IntRange(0, 1).Draw(t, "entity"),
		Count: rapid.IntRange(1, 30).Draw(t, "count"), Flag: rapid.Bool().Draw(t, "flag"), Settle: rapid.Bool().Draw(t, "settle"),
	}
}

// TestEveryCallIsAnsweredOnce: owners move, refuse, freeze and answer late, connections break, tables lie.
func TestEveryCallIsAnsweredOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events := rapid.SliceOfN(rapid.Custom(drawEvent), 1, 40).Draw(rt, "events")
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			net := newNet(t, 3, func(o *Options) { o.MaxWaiting, o.MaxServing, o.Patience = 60, 40, time.Second })
			end := net.run()
			defer end()
			h := &happening{net: net}
			for _, e := range events {
				if h.happen(e); e.Settle {
					synctest.Wait()
				}
			}
			for _, n := range net.nodes {
				n.refuseWith(nil)
				n.release(nil)
			}
			time.Sleep(10 * time.Second)
			problems = h.check()
		})
		for _, problem := range problems {
			rt.Error(problem)
		}
	})
}

// happening is a run of events.
type happening struct {
	net  *fakeNet
	all  []*asking
	term uint64
}

func (h *happening) happen(e event) {
	node, other := h.net.nodes[persistence.NodeID(e.Node)], h.net.nodes[persistence.NodeID(e.Other)] //nolint:gosec // small
	p := persistence.Partition(e.Partition)                                                          //nolint:gosec // small
	switch e.Which {
	case 0, 1, 2:
		for range e.Count {
			h.all = append(h.all, node.ask(entity(p, e.Entity), len(h.all)))
		}
	case 3:
		h.term++
		if h.net.own(p, node.id, h.term, node.id); e.Flag {
			h.net.own(p, node.id, h.term, other.id)
		}
	case 4: // hearsay
		node.table.Learn(p, at(other.id, h.term))
	case 5:
		if node != other {
			h.net.setCut(node.id, other.id, e.Flag)
		}
	case 6:
		node.refuseWith([]error{nil, nil, persistence.ErrNotOwner, actors.ErrDraining, turn.ErrNotFound}[e.Count%5])
	case 7:
		if e.Flag {
			node.hold()
		} else {
			node.release([]error{nil, persistence.ErrOutcomeUnknown, persistence.ErrNotOwner}[e.Count%3])
		}
	default:
		time.Sleep(time.Duration(e.Count) * 25 * time.Millisecond)
	}
}

// check says what is wrong unless each call was answered once and served at most once, and the answer is true.
func (h *happening) check() []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	served := map[string]int{}
	for _, n := range h.net.nodes {
		for _, name := range n.served() {
			_, number, _ := strings.Cut(name, "/")
			served[number]++
		}
		if stats := n.Stats(); stats != (Stats{}) {
			complain("node %d: left over: %+v", n.id, stats)
		}
	}
	for i, a := range h.all {
		a.mu.Lock()
		times := served[fmt.Sprint(i)]
		switch {
		case a.answers != 1:
			complain("call %d was answered %d times", i, a.answers)
		case times > 1:
			complain("call %d was served %d times", i, times)
		case a.err == nil && times < 1:
			complain("call %d was answered well and served %d times", i, times)
		case a.err != nil && times > 0 && !errors.Is(a.err, persistence.ErrOutcomeUnknown):
			complain("call %d was served %d times and answered %v", i, times, a.err)
		}
		a.mu.Unlock()
	}
	return problems
}
