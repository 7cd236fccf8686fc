package replication

import (
	"math/rand/v2"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a copy is offered only when the source's state machine has the configuration that goes with it: else the receiver begins
// from another one than the entries that follow expect, and after a crash from none at all.
func TestCopyHasTheConfigurationOfItsOffer(t *testing.T) {
	w := newNodes(t, 3, 1)
	p := persistence.Partition(0)
	v := w.owner(p)
	v.fill(p, 3, 10, "a")
	o := &outcome{}
	w.must(v.step.Host().ChangeReplicas(p, []ReplicaChange{{2, Learner}, {3, Learner}}, o.set))
	for range 30 { // node 1's applier is slow
		for id := persistence.NodeID(1); id <= 3; id++ {
			n := w.nodes[id]
			worked, err := n.step.Begin()
			w.must(err)
			if worked {
				w.must(n.step.Finish())
			}
			for _, wanted := range n.step.Wanted() {
				w.must(n.step.Copy(wanted, w.nodes[wanted.Sources[0]].step))
			}
			if id > 1 {
				w.must(n.step.Apply())
			}
		}
		wire := w.wire
		w.wire = nil
		for _, m := range wire {
			w.must(w.nodes[m.to].step.Host().Receive(m.from, m.batch))
		}
	}
	w.nodes[2].crash(rand.New(rand.NewPCG(1, 0)))
	w.run(electionTicks)
	for id := persistence.NodeID(2); id <= 3; id++ {
		if got := w.nodes[id].model.last(p, "a"); got != 3 {
			t.Errorf("node %d has seq %d soon after", id, got)
		}
	}
}
