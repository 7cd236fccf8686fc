// Goal: nodes get ids of their own and nothing before they joined; data moves only when it should; a handover loses nothing.
// Method: one node's Cluster in fake time; the log, the members and the entities are fakes that say what they were asked.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

func TestAdmission(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		time.Sleep(time.Millisecond) // its own record
		first := f.asks("n2", 22)
		if first.GetNode() != 2 || first.GetCluster() != "c" || first.GetPartitions() != testPartitions || first.GetRefused() != "" {
			t.Fatalf("admitted as %v", first)
		}
		written := f.putsOf(nodeRecords)
		if again := f.asks("n2", 22); again.GetNode() != 2 || f.putsOf(nodeRecords) != written {
			t.Errorf("who asks again is %v", again)
		}
		if other := f.asks("n3", 33); other.GetNode() != 3 {
			t.Errorf("another one is %v", other)
		}
		if none := f.asks("", 44); none.GetRefused() == "" {
			t.Errorf("without a name: %v", none)
		}
		if none := f.asks("n4", 0); none.GetRefused() == "" {
			t.Errorf("without a nonce: %v", none)
		}
	})
}

// A directory that was wiped is another node; the id that it had is over, and no other node ever gets it.
func TestIDsAreNeverUsedAgain(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		time.Sleep(time.Millisecond)
		f.asks("n2", 22)
		if wiped := f.asks("n2", 23); wiped.GetNode() != 3 || !f.nodeRecord(2).GetRemoved() || f.nodeRecord(3).GetRemoved() {
			t.Errorf("with another directory it is %v; the old record is %v", wiped, f.nodeRecord(2))
		}
		if back := f.asks("n2", 22); !strings.Contains(back.GetRefused(), "was removed") {
			t.Errorf("the old directory comes back as %v", back)
		}
		removed := f.nodeRecord(3)
		removed.Removed = true
		f.enter(removed)
		if next := f.asks("n9", 99); next.GetNode() != 4 {
			t.Errorf("after the greatest was removed the next is %v", next)
		}
	})
}

// Two processes with one name must not end each other's id: while one is there, the other one waits.
func TestANameOfANodeThatIsThereIsNotGiven(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		time.Sleep(time.Millisecond)
		f.asks("n2", 22)
		f.comes(node(2, members.Active))
		if second := f.asks("n2", 23); second != nil || f.nodeRecord(2).GetRemoved() {
			t.Errorf("a second n2 is answered %v; the first one's record is %v", second, f.nodeRecord(2))
		}
		f.goes("n2")
		if second := f.asks("n2", 23); second.GetNode() != 3 {
			t.Errorf("when the first is gone it is answered %v", second)
		}
	})
}

// A node with an empty directory must not end the id of the one that alone has a vote: its data may be in another directory.
func TestTheOnlyVoterIsNotReplacedByItsName(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1, 2)
		f.place(0, 2, 2)
		if second := f.asks("n2", 23); !strings.Contains(second.GetRefused(), "alone") || f.nodeRecord(2).GetRemoved() {
			t.Errorf("answered %v; the record is %v", second, f.nodeRecord(2))
		}
	})
}

// Nothing is written by who does not own the meta partition, and nobody is admitted by it.
func TestOnlyTheOwnerOfTheMetaPartitionPlans(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1)
		f.locked(func() { f.status[testPartitions].Owner = false })
		f.cluster.Lost(persistence.MetaPartition, persistence.Epoch{Term: 1})
		time.Sleep(time.Second)
		f.locked(func() { f.puts = nil })
		f.comes(node(2, members.Active))
		if answer := f.asks("n3", 33); answer != nil {
			t.Errorf("admitted: %v", answer)
		}
		time.Sleep(time.Minute)
		f.locked(func() {
			if len(f.puts) > 0 {
				t.Errorf("wrote %v", f.puts)
			}
		})
	})
}

// A planner without a majority cannot write: nothing is admitted, nothing changes, and it is tried again until it can.
func TestAPlannerThatCannotWriteChangesNothing(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		time.Sleep(time.Second)
		f.locked(func() { f.putErr = persistence.ErrOutcomeUnknown })
		f.knows(2, 3)
		f.comes(node(2, members.Active))
		f.comes(node(3, members.Active))
		if answer := f.asks("n4", 44); answer != nil {
			t.Errorf("admitted: %v", answer)
		}
		time.Sleep(time.Minute)
		if did := f.did(); len(did) > 0 || f.placed(2) > 0 {
			t.Errorf("without a majority it did %v", did)
		}
		f.locked(func() { f.putErr = nil })
		time.Sleep(3 * time.Second)
		if f.placed(2) != testPartitions+1 {
			t.Errorf("with a majority again %d partitions are to be at node 2", f.placed(2))
		}
	})
}

// Nodes that come one after the other are planned for together, a second after the last one.
func TestPlannerWaitsUntilMembersSettle(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1, 2, 3)
		time.Sleep(2 * settleFor)
		f.locked(func() { f.puts = nil })
		f.comes(node(2, members.Active))
		time.Sleep(settleFor * 3 / 4)
		f.comes(node(3, members.Active))
		time.Sleep(settleFor * 3 / 4)
		if n := f.putsOf(placeRecords); n != 0 {
			t.Fatalf("planned %d partitions before the members settled", n)
		}
		time.Sleep(settleFor)
		if n := f.putsOf(placeRecords); n != testPartitions+1 {
			t.Errorf("%d placements were written, want one for each partition", n)
		}
		time.Sleep(time.Minute)
		if n := f.putsOf(placeRecords); n != testPartitions+1 {
			t.Errorf("planned again without a reason: %d", n)
		}
	})
}

// No ownership before join: a node that was admitted and does not say that it is active is given nothing, whatever is planned.
func TestNothingIsGivenToANodeThatHasNotJoined(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1, 2, 3)
		f.comes(node(2, members.Joining))
		f.comes(node(3, members.Joining))
		for p := range persistence.Partition(testPartitions) { // as somebody planned who saw them active
			f.place(p, 2, 1, 2, 3)
		}
		time.Sleep(time.Minute)
		if did := f.did(); len(did) > 0 {
			t.Fatalf("nodes that join were given something: %v", did)
		}
		f.comes(node(2, members.Active))
		f.comes(node(3, members.Active))
		time.Sleep(20 * time.Second)
		if did := f.did(); !slices.Contains(did, "change") || !slices.Contains(did, "hand over") {
			t.Errorf("active nodes were given: %v", did)
		}
	})
}

// One node becomes three: every partition gets three voters, and owners are even.
func TestOneBecomesThree(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		for _, id := range []persistence.NodeID{2, 3} {
			m := node(id, members.Active)
			f.asks(m.Name, m.Nonce)
			f.comes(m)
		}
		time.Sleep(20 * time.Second)
		owned := 0
		for _, s := range f.Status() {
			for _, id := range []persistence.NodeID{1, 2, 3} {
				if !slices.ContainsFunc(s.Replicas, func(r replication.Replica) bool { return r.Node == id && r.Role == replication.Voter }) {
					t.Errorf("partition %d has no voter on node %d: %v", s.Partition, id, s.Replicas)
				}
			}
			if s.Owner && s.Partition != persistence.MetaPartition {
				owned++
			}
		}
		if owned < 1 || owned > 2 {
			t.Errorf("node 1 owns %d of %d", owned, testPartitions)
		}
	})
}

// four has the records and members of four nodes, planned for.
func four(f *fake) {
	f.knows(1, 2, 3, 4)
	for _, id := range []persistence.NodeID{2, 3, 4} {
		f.comes(node(id, members.Active))
	}
	time.Sleep(20 * time.Second)
}

// A node that is not seen keeps what it has for ten minutes; then others get it.
func TestAbsentForTenMinutes(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		four(f)
		had := f.placed(4)
		absent := recordName(absentRecords, 4)
		if had < 2 || f.has(absent) {
			t.Fatalf("node 4 is to have %d partitions; noted as absent: %v", had, f.has(absent))
		}
		f.goes("n4")
		time.Sleep(absentFor - time.Second)
		if f.has(absent) {
			t.Error("noted as absent at once")
		}
		time.Sleep(9 * time.Minute)
		if !f.has(absent) || f.placed(4) < had {
			t.Fatalf("after 9 minutes: noted %v, %d partitions of %d", f.has(absent), f.placed(4), had)
		}
		f.comes(node(4, members.Active))
		time.Sleep(2 * time.Second)
		if f.has(absent) {
			t.Error("it is back and still noted as absent")
		}
		f.goes("n4")
		time.Sleep(9*time.Minute + 50*time.Second)
		if f.placed(4) < had {
			t.Error("the time was not counted anew when it had come back")
		}
		time.Sleep(20 * time.Second)
		if n := f.placed(4); n != 0 {
			t.Errorf("after ten minutes it is still to have %d", n)
		}
	})
}

// A planner counts only what it sees while it plans. What it saw in an earlier time as a planner says nothing.
func TestAbsenceIsNotCountedFromAnEarlierTimeAsPlanner(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		four(f)
		had := f.placed(4)
		f.goes("n4")
		time.Sleep(time.Second) // it is missed, and before that is written down ...
		f.cluster.Lost(persistence.MetaPartition, persistence.Epoch{Term: 1})
		time.Sleep(time.Second)
		f.comes(node(4, members.Active)) // ... another node plans, and node 4 is there again
		time.Sleep(time.Hour)
		f.goes("n4")
		time.Sleep(time.Second)
		f.locked(func() { f.status[testPartitions].Epoch.Term = 3 })
		f.cluster.Claimed(persistence.MetaPartition, persistence.Epoch{Term: 3})
		time.Sleep(time.Minute)
		if n := f.placed(4); n < had {
			t.Errorf("after a minute it is to have %d partitions, before %d: its data moves", n, had)
		}
	})
}

// handing has node 1 own partition 0, which node 2 is to own; both vote.
func handing(f *fake) {
	f.knows(1, 2, 3)
	f.locked(func() { f.putErr = errTest }) // nothing is planned anew
	for p := range persistence.Partition(testPartitions) {
		f.setReplicas(p, voter(1), voter(2), voter(3))
		f.place(p, 1, 1, 2, 3)
	}
	f.place(0, 2, 1, 2, 3)
	f.comes(node(2, members.Active))
	f.comes(node(3, members.Active))
}

func TestHandOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fake)
		first  []string // that is asked, in order
		owner  persistence.NodeID
	}{
		{"taken over", func(*fake) {}, []string{"yield", "hand over"}, 2},
		{"entities do not let go", func(f *fake) { f.yieldErr = errTest }, []string{"yield", "resume"}, 1},
		{"the log refuses", func(f *fake) { f.handErr = errTest }, []string{"yield", "hand over", "resume"}, 1},
		{"nobody takes over", func(f *fake) { f.ignores = true }, []string{"yield", "hand over", "resume"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, true, func(f *fake) {
				t := f.t
				f.locked(func() { c.change(f) })
				handing(f)
				time.Sleep(steadyFor - 100*time.Millisecond)
				if did := f.did(); len(did) > 0 {
					t.Fatalf("before the other was there for long: %v", did)
				}
				time.Sleep(2 * time.Second)
				did := f.did()
				if len(did) < len(c.first) || !slices.Equal(did[:len(c.first)], c.first) {
					t.Errorf("asked %v, want %v", did, c.first)
				}
				if place, _ := f.cluster.opts.Table.Owner(0); place.Node != c.owner {
					t.Errorf("node %d owns it, want %d", place.Node, c.owner)
				}
				if c.owner == 2 {
					return
				}
				f.locked(func() { f.yieldErr, f.handErr, f.ignores = nil, nil, false }) // it is tried again
				time.Sleep(4 * time.Second)
				if place, _ := f.cluster.opts.Table.Owner(0); place.Node != 2 {
					t.Errorf("node %d owns it in the end", place.Node)
				}
			})
		})
	}
}

// What is said of a partition that was lost a moment ago does not stay: nobody would take it back.
func TestAStepOfBeforeIsNotShown(t *testing.T) {
	inBubble(t, false, func(f *fake) {
		t := f.t
		handing(f)
		f.cluster.Lost(0, persistence.Epoch{Term: 1}) // the status is of before
		if _, err := f.cluster.moveAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		view, err := f.cluster.View(t.Context())
		if err != nil || view.Moving[0] != "" {
			t.Errorf("partition 0, which is another's: %q, %v", view.Moving[0], err)
		}
	})
}

// A node that comes and goes is not handed anything before it stays.
func TestWhoComesAndGoesIsNotHandedAnything(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		handing(f)
		for life := range uint64(20) {
			m := node(2, members.Active)
			m.Life = life + 100
			f.comes(m)
			time.Sleep(steadyFor / 2)
		}
		if did := f.did(); len(did) > 0 {
			t.Errorf("it was asked: %v", did)
		}
	})
}

// Drain hands over all that somebody can take, and does not wait for what nobody can.
func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*fake)
		left    int
		within  time.Duration
	}{
		{"alone", func(f *fake) { f.knows(1) }, testPartitions + 1, time.Millisecond},
		{"with two voters", handing, 1, time.Second}, // the meta partition has one voter here
		{"the others drain too", func(f *fake) {
			handing(f)
			f.comes(node(2, members.Draining))
			f.comes(node(3, members.Draining))
		}, testPartitions + 1, time.Millisecond},
		{"the others have no vote", func(f *fake) {
			handing(f)
			for p := range persistence.Partition(testPartitions) {
				f.setReplicas(p, voter(1), replication.Replica{Node: 2, Role: replication.Learner, Active: true, Match: 100})
			}
		}, testPartitions + 1, time.Millisecond},
		{"the others do not answer", func(f *fake) { f.locked(func() { f.apart[2], f.apart[3] = true, true }); handing(f) }, testPartitions + 1, 10 * time.Second},
		{"nobody takes over", func(f *fake) { handing(f); f.ignores = true }, testPartitions + 1, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, true, func(f *fake) {
				t := f.t
				c.prepare(f)
				time.Sleep(100 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				began := time.Now()
				if left := f.cluster.Drain(ctx); left != c.left || time.Since(began) > c.within {
					t.Errorf("%d are left after %v, want %d within %v", left, time.Since(began), c.left, c.within)
				}
				f.locked(func() {
					if len(f.said) == 0 || f.said[len(f.said)-1].State != members.Draining {
						t.Errorf("it said of itself: %v", f.said)
					}
				})
			})
		})
	}
}

// A node that is removed gives away what it has, and only then its id ends; one that is not seen is given up by force alone.
func TestRemove(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		four(f)
		f.locked(func() { f.replicas[4] = 3 })
		if err := f.cluster.RemoveNode(t.Context(), "n4", true); !errors.Is(err, ErrStillThere) {
			t.Errorf("a node that is there was given up: %v", err)
		}
		if err := f.cluster.RemoveNode(t.Context(), "n4", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := f.nodeRecord(4); !n.GetRemoving() || n.GetRemoved() || f.placed(4) > 0 {
			t.Fatalf("it has replicas, and is %v; planned for it: %d", n, f.placed(4))
		}
		f.goes("n4") // it dies with what it alone may have
		time.Sleep(time.Minute)
		if n := f.nodeRecord(4); n.GetRemoved() {
			t.Fatal("it was given up without force while it is not seen and had replicas")
		}
		f.comes(node(4, members.Active))
		f.locked(func() { f.replicas[4] = 0 })
		time.Sleep(time.Second)
		if n := f.nodeRecord(4); !n.GetRemoved() {
			t.Errorf("it has nothing any more, and is %v", n)
		}
		if err := f.cluster.RemoveNode(t.Context(), "n4", false); !errors.Is(err, ErrUnknownNode) {
			t.Errorf("removed again: %v", err)
		}
	})
}

func TestRemoveOfWhoIsNotSeen(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		four(f)
		f.goes("n4")
		if err := f.cluster.RemoveNode(t.Context(), "n4", false); !errors.Is(err, ErrNotSeen) {
			t.Fatalf("without force: %v", err)
		}
		if err := f.cluster.RemoveNode(t.Context(), "n4", true); err != nil || !f.nodeRecord(4).GetRemoved() {
			t.Fatalf("with force: %v, %v", err, f.nodeRecord(4))
		}
		time.Sleep(3 * time.Second)
		f.locked(func() {
			if _, talks := f.talks[4]; talks {
				t.Error("it is talked with")
			}
		})
		if n := f.placed(4); n > 0 {
			t.Errorf("it is to have %d partitions", n)
		}
	})
}

// The last node that can have something stays.
func TestTheLastNodeStays(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1, 2)
		time.Sleep(time.Second)
		if err := f.cluster.RemoveNode(t.Context(), "n1", false); !errors.Is(err, ErrLastNode) {
			t.Errorf("removed: %v", err)
		}
		if err := f.cluster.DrainNode(t.Context(), "n1", true); !errors.Is(err, ErrLastNode) {
			t.Errorf("drained: %v", err)
		}
	})
}

// A node that was removed ends by itself.
func TestRemovedNodeEnds(t *testing.T) {
	inBubble(t, false, func(f *fake) {
		t := f.t
		f.enter(&storev1.Node{Id: 1, Name: "n1", Nonce: 11, Removed: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.cluster.Run(ctx); !errors.Is(err, ErrRemoved) {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestHistory(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1, 2)
		claim := func(term uint64, why string) {
			payload, err := proto.Marshal(&peerv1.Gossip{Places: []*peerv1.Place{{Partition: 0, Node: 2, Term: term, SinceMs: int64(term), Why: why}}})
			if err != nil {
				t.Fatal(err)
			}
			f.ears.Message("n2", payload)
			synctest.Wait()
		}
		claim(5, "five")
		claim(3, "three") // comes late
		claim(5, "five")
		f.locked(func() { f.putErr = errTest })
		claim(6, "six")
		changes, err := f.cluster.History(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, o := range changes {
			said = append(said, fmt.Sprint(o.GetTerm(), o.GetNode()))
		}
		if want := []string{"1 1", "3 2", "5 2", "6 2"}; !slices.Equal(said, want) {
			t.Errorf("history %v, want %v", said, want)
		}
		f.locked(func() { f.putErr = nil; f.puts = nil })
		time.Sleep(time.Second)
		if n := f.putsOf(ownerRecords); n != 1 {
			t.Errorf("what could not be written was written %d times later", n)
		}
		for term := range uint64(3 * maxHistory) {
			claim(10+term, "again")
		}
		if changes, err = f.cluster.History(t.Context(), 0); err != nil || len(changes) != maxHistory {
			t.Errorf("%d are kept, %v", len(changes), err)
		}
	})
}

// Whatever members say, nothing panics, and what is kept of it has a bound.
func TestHostileGossip(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1, 2)
		f.locked(func() { f.putErr = errTest })
		long := strings.Repeat("x", 1<<12)
		hostile := &peerv1.Gossip{Places: []*peerv1.Place{
			nil,
			{},
			{Partition: 1 << 31, Node: 2, Term: 9, SinceMs: 1},
			{Partition: testPartitions, Node: 2, Term: 9, SinceMs: 1},
			{Partition: 1, Node: 2, Term: 2, SinceMs: -1, Why: long},
			{Partition: 1, Node: 2, Term: 1 << 63, SinceMs: 1 << 62, Why: long},
		}, Apply: &peerv1.Apply{Name: long}, Admit: &peerv1.Admit{Refused: long}}
		hostile.Places[0] = &peerv1.Place{}
		payload, err := proto.Marshal(hostile)
		if err != nil {
			t.Fatal(err)
		}
		for range maxHeard {
			f.ears.Message("n2", payload)
		}
		f.ears.Message("n2", []byte{0xff})
		f.ears.MergeState([]byte{0xff, 1})
		c := f.cluster
		c.mu.Lock()
		heard, applications, bytes := len(c.mu.heard), len(c.mu.applications), 0
		for _, place := range c.mu.heard {
			bytes += len(place.GetWhy())
		}
		c.mu.Unlock()
		if heard > maxHeard || applications > maxApplications || bytes > maxHeard*maxWhy {
			t.Errorf("%d claims with %d bytes and %d applications are kept", heard, bytes, applications)
		}
		f.locked(func() { f.putErr = nil })
		time.Sleep(time.Minute)
		if records, err := f.Records(t.Context(), ownerRecords, 10); err != nil || slices.ContainsFunc(records, func(r persistence.Record) bool { return len(r.Value) > 64<<10 }) {
			t.Errorf("a history is too long to be written: %v", err)
		}
	})
}

// A write that fails is tried again at the next look, not at once and for ever.
func TestFailedHistoryDoesNotSpin(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1)
		time.Sleep(3 * time.Second)
		f.locked(func() { f.putErr = errTest; f.failed = 0 })
		f.cluster.learn([]*peerv1.Place{{Partition: 0, Node: 2, Term: 9, SinceMs: 1}})
		time.Sleep(10 * time.Second)
		f.locked(func() {
			if looks := int(10 * time.Second / lookEvery); f.failed == 0 || f.failed > 2*looks {
				t.Errorf("tried %d times in 10 s", f.failed)
			}
		})
	})
}

// While nothing changes the cluster looks rarely; when it hears of something, it looks often again for a while, and for as long as
// something is on its way.
func TestLooksRarelyWhileNothingChanges(t *testing.T) {
	inBubble(t, true, func(f *fake) {
		t := f.t
		f.knows(1)
		looks := func(d time.Duration) int {
			f.locked(func() { f.looks = 0 })
			time.Sleep(d)
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.looks
		}
		time.Sleep(time.Minute)
		rare := looks(lookFor)
		f.comes(node(2, members.Joining))
		often := looks(lookFor)
		if rare == 0 || often < 3*rare {
			t.Errorf("%d looks while nothing changes, %d when it does", rare, often)
		}
		f.knows(1, 2)
		f.comes(node(2, members.Active))
		f.place(0, 2, 2) // it never gets everything that node 1 has, so the partition stays on its way
		f.locked(func() { f.apart[2] = true })
		time.Sleep(time.Minute)
		if moving := looks(lookFor); moving < 2*rare {
			t.Errorf("%d looks while a partition is on its way, %d while nothing is", moving, rare)
		}
	})
}

// Apply takes an answer to its own nonce, and none that no store could be made of.
func TestApply(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer *peerv1.Admit
		want   error
	}{
		{"admitted", &peerv1.Admit{Nonce: 7, Cluster: "c", Node: 2, Partitions: 32}, nil},
		{"refused", &peerv1.Admit{Nonce: 7, Refused: "no"}, ErrRefused},
		{"of another", &peerv1.Admit{Nonce: 8, Cluster: "c", Node: 2, Partitions: 32}, ErrNoAnswer},
		{"without a node", &peerv1.Admit{Nonce: 7, Cluster: "c", Partitions: 32}, ErrNoAnswer},
		{"without a cluster", &peerv1.Admit{Nonce: 7, Node: 2, Partitions: 32}, ErrNoAnswer},
		{"without partitions", &peerv1.Admit{Nonce: 7, Cluster: "c", Node: 2}, ErrNoAnswer},
		{"with too many", &peerv1.Admit{Nonce: 7, Cluster: "c", Node: 2, Partitions: 1 << 30}, ErrNoAnswer},
		{"nobody answers", nil, ErrNoAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{t: t, members: map[string]members.Member{"n1": node(1, members.Active)}}
				ears := NewEars()
				if c.answer != nil {
					payload, err := proto.Marshal(&peerv1.Gossip{Admit: c.answer})
					if err != nil {
						t.Fatal(err)
					}
					ears.Message("n1", payload)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				got, err := ears.Apply(ctx, f, "n2", 7, 1)
				if !errors.Is(err, c.want) || err == nil && got.GetNode() != 2 {
					t.Errorf("%v, %v", got, err)
				}
			})
		})
	}
}
