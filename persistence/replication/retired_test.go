package replication

import (
	"math/rand/v2"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a replica that was removed stays so over a restart: an owner of before, that slept through it, cannot use it to
// acknowledge what the owner of today does not know.
func TestRemovedReplicaIsNotBegunAgain(t *testing.T) {
	w := newVoters(t)
	p := persistence.Partition(0)
	old := w.owner(p)
	old.fill(p, 3, 10, "a")
	old.frozen, w.cut[old.id] = true, true
	next := w.owner(p)
	removed := w.nodes[6-old.id-next.id]
	w.change(p, ReplicaChange{removed.id, NoReplica})
	w.run(goneTicks + 2)
	if g := removed.step.h.core.groups[p]; g.node != nil {
		t.Fatal("the replica was removed and is there")
	}
	removed.crash(rand.New(rand.NewPCG(1, 0)))

	old.frozen = false
	delete(w.cut, old.id)
	w.cut[next.id] = true
	read := old.barrier(p)
	write := old.append(p, old.model.last(p, "a")+1)
	w.run(3 * electionTicks)
	if read.done && read.err == nil || write.done && write.err == nil {
		t.Fatalf("an owner of before: read %v, write %v", read, write)
	}
	if g := removed.step.h.core.groups[p]; g.node != nil {
		t.Fatal("the replica that was removed is there again")
	}
}

// Goal: a log says for ever which replica of a group was the last.
func TestGoneReplicaIsRead(t *testing.T) {
	payload, err := appendCheckpoint(nil, []groupCheckpoint{{Gone: 7, Conf: &raftpb.ConfState{}}})
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, _, err := decodePayload(payload)
	if err != nil || checkpoint[0].Replica != 0 || checkpoint[0].Gone != 7 {
		t.Errorf("a checkpoint: %+v, %v", checkpoint, err)
	}
	_, batch, err := decodePayload(appendBatch(nil, []groupBatch{{Replica: new(uint64), Gone: 7}}))
	if err != nil || *batch[0].Replica != 0 || batch[0].Gone != 7 {
		t.Errorf("a batch: %+v, %v", batch, err)
	}
}
