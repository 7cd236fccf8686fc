package replication

import (
	"encoding/binary"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// TestThawedGetsEntriesOnce: a node that stood still for half a minute finds hundreds of heartbeats. Its answers must not
// make the leader send what it lacks once for each of them.
func TestThawedGetsEntriesOnce(t *testing.T) {
	w := newVoters(t)
	const p = persistence.Partition(0)
	frozen := w.nodes[3]
	frozen.frozen = true
	owner := w.owner(p)
	for seq := persistence.Seq(1); seq <= 200; seq++ {
		o := owner.append(p, seq)
		w.run(1)
		if !o.done || o.err != nil {
			t.Fatalf("entry %d: %v", seq, o)
		}
	}
	w.run(300)
	frozen.frozen = false
	sent, entries := 0, 0
	w.seen = func(parcel parcel) {
		messages, err := decodeMessages(parcel.batch)
		w.must(err)
		for _, m := range messages {
			if m.Partition == p && parcel.to == frozen.id && m.Raft.GetType() == raftpb.MsgApp {
				sent++
				entries += len(m.Raft.GetEntries())
			}
		}
	}
	w.run(3)
	if last := frozen.step.h.core.groups[p].tail.last(); last < 200 {
		t.Fatalf("the thawed node has %d entries", last)
	}
	if sent == 0 || entries > 3*250 {
		t.Errorf("%d messages with %d entries brought it what it lacked, 200 entries", sent, entries)
	}
}

// TestWithoutStale: of heartbeats the newest stays, and the one with the greatest round; everything else stays in order.
func TestWithoutStale(t *testing.T) {
	round := func(n uint64) []byte {
		if n == 0 {
			return nil
		}
		return binary.BigEndian.AppendUint64(nil, n)
	}
	beat := func(kind raftpb.MessageType, from, term, n uint64) message {
		return message{Partition: 1, Raft: &raftpb.Message{Type: &kind, From: &from, Term: &term, Context: round(n)}}
	}
	const ask, answer, entries = raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgApp
	for _, tt := range []struct {
		name     string
		messages []message
		kept     []int
	}{
		{"nothing", nil, nil},
		{"one", []message{beat(ask, 1, 1, 0)}, []int{0}},
		{"the newest", []message{beat(ask, 1, 1, 0), beat(ask, 1, 1, 0), beat(ask, 1, 1, 0)}, []int{2}},
		{"the greatest round", []message{beat(ask, 1, 1, 3), beat(ask, 1, 1, 7), beat(ask, 1, 1, 4)}, []int{1, 2}},
		{"a round before none", []message{beat(answer, 1, 1, 3), beat(answer, 1, 1, 0)}, []int{0, 1}},
		{"each of its sender", []message{beat(answer, 1, 1, 0), beat(answer, 2, 1, 0), beat(answer, 1, 1, 0)}, []int{1, 2}},
		{"each of its term", []message{beat(ask, 1, 1, 0), beat(ask, 1, 2, 0)}, []int{0, 1}},
		{"each of its kind", []message{beat(ask, 1, 1, 0), beat(answer, 1, 1, 0)}, []int{0, 1}},
		{"no others", []message{beat(entries, 1, 1, 0), beat(ask, 1, 1, 0), beat(entries, 1, 1, 0), beat(ask, 1, 1, 0)}, []int{0, 2, 3}},
		{"a word of the owner", []message{{Partition: 1, Gone: 2}, {Partition: 1, Gone: 2}}, []int{0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			have := withoutStale(append([]message(nil), tt.messages...))
			if len(have) != len(tt.kept) {
				t.Fatalf("%d are left, not %d", len(have), len(tt.kept))
			}
			for i, k := range tt.kept {
				if have[i].Raft != tt.messages[k].Raft {
					t.Errorf("message %d is not the one that was %d", i, k)
				}
			}
		})
	}
}
