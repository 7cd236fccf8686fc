package replication

import (
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a voter can become a learner, alone or while another one is removed; it goes on copying, votes no more, and its replica
// is the same one. The owner itself cannot.
func TestVoterBecomesLearner(t *testing.T) {
	w := newVoters(t)
	p := persistence.Partition(0)
	v := w.owner(p)
	second, third := v.id%3+1, (v.id+1)%3+1
	for _, role := range []Role{Learner, NoReplica} {
		if err := w.changeRefused(p, ReplicaChange{w.owner(p).id, role}); !errors.Is(err, ErrReplicaChange) {
			t.Fatalf("the owner became %v: %v", role, err)
		}
	}
	id := v.step.h.core.groups[p].members.on(second)
	w.change(p, ReplicaChange{second, Learner}, ReplicaChange{third, NoReplica})
	members := w.owner(p).step.h.core.groups[p].members
	if members.role(id) != Learner || members.on(second) != id || len(members.conf.GetVoters()) != 1 {
		t.Fatalf("members %v", members.conf)
	}
	w.cut[second] = true // one voter is a majority of itself
	o := w.owner(p).append(p, 1)
	if w.run(1); !o.done || o.err != nil {
		t.Fatalf("append with a learner away: %+v", o)
	}
	w.cut[second] = false
	w.run(electionTicks)
	if got := w.nodes[second].model.last(p, "a"); got != 1 {
		t.Fatalf("the learner has seq %d", got)
	}
	w.change(p, ReplicaChange{second, Voter})
	w.change(p, ReplicaChange{second, Learner})
	if role := w.owner(p).step.h.core.groups[p].members.role(id); role != Learner {
		t.Fatalf("role %v", role)
	}
}
