package replication

import (
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a group that loses its last follower keeps nothing for it, and counts from nothing when it gets another.
func TestSoleVoterKeepsNothing(t *testing.T) {
	w := newNodes(t, 2, 1)
	p := persistence.Partition(0)
	v := w.owner(p)
	v.fill(p, 3, 10, "a")
	w.change(p, ReplicaChange{2, Learner})
	w.run(5)
	v.fill(p, 40, keptBytes/16, "b") // more than is kept, but the learner was just copied
	w.change(p, ReplicaChange{2, NoReplica})
	v.fill(p, 1, 10, "a")
	g := v.step.h.core.groups[p]
	if g.tail.keptBytes != 0 || g.tail.held != 0 || len(g.tail.entries) != 0 {
		t.Errorf("a sole voter keeps %d entries, counts %d bytes, holds from %d", len(g.tail.entries), g.tail.keptBytes, g.tail.held)
	}
	w.run(2 * goneTicks)
	w.change(p, ReplicaChange{2, Learner})
	v.fill(p, 3, 10, "a")
	w.run(heldTicks + 2*retryTicks)
	v.fill(p, 3, 10, "a")
	if got := w.nodes[2].model.last(p, "a"); got != v.model.last(p, "a") {
		t.Fatalf("the learner has seq %d", got)
	}
}

// fill appends n entries of size bytes each to p, each with an entity of its own.
func (v *voter) fill(p persistence.Partition, n, size int, name string) {
	v.w.t.Helper()
	for i := range n {
		change := &persistence.Change{
			Key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: name}, Epoch: v.owned[p],
			Entries: []persistence.Entry{{Seq: v.model.last(p, name) + 1, Data: make([]byte, size)}},
		}
		o := &outcome{}
		v.w.must(v.step.Host().Propose(p, change, o.set))
		for range 30 {
			if o.done {
				break
			}
			v.w.run(1)
		}
		if !o.done || o.err != nil {
			v.w.t.Fatalf("entry %d: %v", i, o)
		}
	}
}
