package replication

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// Goal: a message that Raft would panic of, or take for one of its own, changes nothing.
func TestMalformedMessagesAreIgnored(t *testing.T) {
	w := newVoters(t)
	v := w.owner(0)
	w.run(5)
	to := w.nodes[v.id%3+1]
	g := to.step.h.core.groups[0]
	last := g.tail.last()
	term, err := g.tail.Term(last)
	w.must(err)
	for name, m := range map[string]*raftpb.Message{
		"no term": {Type: raftpb.MsgHeartbeat.Enum()},
		"a gap": {
			Type: raftpb.MsgApp.Enum(), Term: &term, Index: &last, LogTerm: &term,
			Entries: []*raftpb.Entry{{Index: new(last + 2), Term: &term}},
		},
		"an entry of a later term": {
			Type: raftpb.MsgApp.Enum(), Term: &term, Index: &last, LogTerm: &term,
			Entries: []*raftpb.Entry{{Index: new(last + 1), Term: new(term + 1)}},
		},
	} {
		m.To, m.From = new(replicaOn(to.id)), new(replicaOn(v.id))
		batch, err := appendMessage(nil, &message{Raft: m})
		w.must(err)
		w.must(to.step.Host().Receive(v.id, batch))
		if worked, err := to.step.Begin(); worked || err != nil {
			t.Errorf("%s: worked %v, %v", name, worked, err)
		}
	}
	w.run(5)
	if to.step.h.core.groups[0].tail.last() != last {
		t.Error("an entry was taken")
	}
}
