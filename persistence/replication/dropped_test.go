package replication

import (
	"math/rand/v2"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a segment that is dropped after a replica was removed, and before its state is, does not leave a log that no start accepts.
func TestSegmentsDroppedWhileAReplicaGoes(t *testing.T) {
	w := newVoters(t)
	p, other := persistence.Partition(0), persistence.Partition(1)
	v := w.owner(p)
	v.fill(p, 20, 4<<10, "a")
	w.run(electionTicks)
	removed := w.nodes[v.id%3+1]
	w.must(removed.model.Flush())
	gone, err := appendMessage(nil, &message{Partition: p, Gone: replicaOn(removed.id)})
	w.must(err)
	w.must(removed.step.Host().Receive(v.id, gone))
	if worked, err := removed.step.Begin(); err != nil || !worked {
		t.Fatal(worked, err)
	}
	w.must(removed.step.Finish())
	before := removed.step.Host().Usage().LogBytes
	w.must(removed.step.Truncate())
	if after := removed.step.Host().Usage().LogBytes; after >= before {
		t.Fatal("no segment was dropped")
	}
	w.must(removed.step.Apply())
	if at, _, err := removed.model.Applied(p); err != nil || at != 0 {
		t.Fatalf("applied %d, %v", at, err)
	}
	w.owner(other).fill(other, 8, 4<<10, "b") // begins another segment
	w.must(removed.model.Flush())
	removed.crash(rand.New(rand.NewPCG(1, 0)))
}
