package replication

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: an idle leader says all its heartbeats at once, and nothing between: each batch wakes two nodes up. Method: the groups of three
// nodes get their leaders at different ticks, then it is counted at which ticks one that leads several sends heartbeats.
func TestHeartbeatsOfAllGroupsGoTogether(t *testing.T) {
	w := newVoters(t)
	leader := w.owner(0)
	for p := range persistence.Partition(testPartitions) {
		for range 20 { // tries
			w.run(1)
			of := w.owner(p)
			if of == leader {
				break
			}
			w.must(of.step.Host().HandOver(p, leader.id))
			w.run(3)
		}
	}
	if len(leader.owned) < 2 {
		t.Fatalf("the node leads %d groups: nothing is tested", len(leader.owned))
	}
	const ticks = 10 * heartbeatTicks
	beats := make([]int, ticks) // groups of which a heartbeat was sent to the first of the others, by tick
	to := persistence.NodeID(1)
	if leader.id == to {
		to = 2
	}
	for tick := range ticks {
		w.seen = func(parcel parcel) {
			messages, err := decodeMessages(parcel.batch)
			w.must(err)
			for _, m := range messages {
				if parcel.from == leader.id && parcel.to == to && m.Raft.GetType() == raftpb.MsgHeartbeat {
					beats[tick]++
				}
			}
		}
		w.run(1)
	}
	quiet := len(slices.DeleteFunc(slices.Clone(beats), func(n int) bool { return n > 0 }))
	if quiet != ticks-ticks/heartbeatTicks {
		t.Errorf("of %d ticks %d were quiet, not %d: %v", ticks, quiet, ticks-ticks/heartbeatTicks, beats)
	}
	if n := slices.Max(beats); n != len(leader.owned) {
		t.Errorf("%d of %d groups were heard at once", n, len(leader.owned))
	}
}
