package replication

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// modelFrame is a modelPartition as a frame.
type modelFrame struct {
	Index, Term uint64
	Epoch       persistence.Epoch
	Entities    map[string]persistence.Seq
	Data        map[string][]byte
	Conf        []byte
}

// CopyOut implements [persistence.Copier], in one frame.
func (m *model) CopyOut(_ context.Context, p persistence.Partition, send func(frame []byte) error) (uint64, error) {
	m.mu.Lock()
	at, err := m.at(p).clone(), m.failCopy
	m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(modelFrame{at.index, at.term, at.epoch, at.entities, at.data, at.conf}); err != nil {
		return 0, err
	}
	return at.index, send(b.Bytes())
}

// CopyIn implements [persistence.Copier].
func (m *model) CopyIn(p persistence.Partition) (persistence.CopyWriter, error) {
	return &modelCopy{m: m, p: p}, nil
}

// Drop implements [persistence.Copier].
func (m *model) Drop(p persistence.Partition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.live, p)
	delete(m.flushed, p)
	return nil
}

type modelCopy struct {
	m    *model
	p    persistence.Partition
	copy *modelFrame
}

func (c *modelCopy) Write(frame []byte) error {
	c.copy = &modelFrame{}
	return gob.NewDecoder(bytes.NewReader(frame)).Decode(c.copy)
}

func (c *modelCopy) Abort() error { return nil }

func (c *modelCopy) Commit() (index, term uint64, err error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	f := c.copy
	if f.Index <= c.m.at(c.p).index {
		return 0, 0, persistence.ErrOldCopy
	}
	at := &modelPartition{index: f.Index, term: f.Term, epoch: f.Epoch, entities: f.Entities, data: f.Data, conf: f.Conf}
	if at.entities == nil {
		at.entities, at.data = map[string]persistence.Seq{}, map[string][]byte{}
	}
	c.m.live[c.p], c.m.flushed[c.p] = at, at.clone()
	return f.Index, f.Term, nil
}

// change asks p's owner for a change until it holds.
func (w *voters) change(p persistence.Partition, changes ...ReplicaChange) {
	w.t.Helper()
	for range 300 {
		v := w.owner(p)
		if w.holds(v, p, changes) {
			return
		}
		for _, c := range changes {
			if c.Node == v.id && c.Role == NoReplica {
				w.handAway(v, p, changes)
			}
		}
		o := &outcome{}
		if err := v.step.Host().ChangeReplicas(p, changes, o.set); err != nil && !errors.Is(err, persistence.ErrNotOwner) {
			w.t.Fatal(err)
		}
		w.run(3)
		if o.done && o.err != nil && !errors.Is(o.err, persistence.ErrNotOwner) && !errors.Is(o.err, ErrReplicaChange) {
			w.t.Fatal(o.err)
		}
	}
	w.t.Fatalf("partition %d: %v does not come to hold", p, changes)
}

// handAway hands p over to a voter that stays.
func (w *voters) handAway(v *voter, p persistence.Partition, changes []ReplicaChange) {
	for id := persistence.NodeID(1); w.nodes[id] != nil; id++ {
		stays := id != v.id && v.step.h.core.groups[p].members.role(v.step.h.core.groups[p].members.on(id)) == Voter
		for _, c := range changes {
			stays = stays && (c.Node != id || c.Role == Voter)
		}
		if stays && v.step.Host().HandOver(p, id) == nil {
			w.run(3)
			return
		}
	}
}

// holds reports whether the changes are made and Raft has left the configuration before.
func (w *voters) holds(v *voter, p persistence.Partition, changes []ReplicaChange) bool {
	g := v.step.h.core.groups[p]
	for _, c := range changes {
		if id := g.members.on(c.Node); g.members.role(id) != c.Role && (id != 0 || c.Role != NoReplica) {
			return false
		}
	}
	return !g.members.joint()
}

// Goal: a partition grows from one voter to three, moves and shrinks under load, over crashes, and nothing is lost; a node
// that gets it back is another replica, and one that gives it away keeps nothing.
func TestGrowMoveShrink(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { growMoveShrink(t, seed) })
	}
}

func growMoveShrink(t *testing.T, seed uint64) {
	t.Helper()
	w := newNodes(t, 4, 1)
	rng := rand.New(rand.NewPCG(seed, 0))
	if seed%2 == 1 {
		w.rng = rng
	}
	p := persistence.Partition(0)
	var seq persistence.Seq
	load := func(n int) {
		t.Helper()
		for done := 0; done < n; {
			v := w.owner(p)
			o := v.append(p, v.model.last(p, "a")+1)
			for range 30 {
				if w.run(1); o.done {
					break
				}
			}
			if o.done && o.err == nil {
				seq = max(seq, v.model.last(p, "a"))
				done++
			}
		}
	}
	check := func(nodes ...persistence.NodeID) {
		t.Helper()
		crashes := w.rng
		w.rng = nil
		defer func() { w.rng = crashes }()
		w.run(2 * retryTicks)
		first := w.nodes[nodes[0]].model.at(p)
		for _, id := range nodes {
			at := w.nodes[id].model.at(p)
			if at.entities["a"] < seq {
				t.Fatalf("node %d has seq %d, %d was acknowledged", id, at.entities["a"], seq)
			}
			if !reflect.DeepEqual(at, first) {
				t.Fatalf("nodes %d and %d differ: %+v, %+v", nodes[0], id, first, at)
			}
		}
	}
	crashes := func() {
		if rng.IntN(2) == 0 {
			w.nodes[1+persistence.NodeID(rng.IntN(4))].crash(rng)
		}
	}
	load(20)
	w.change(p, ReplicaChange{2, Learner}, ReplicaChange{3, Learner})
	crashes()
	load(5)
	w.change(p, ReplicaChange{2, Voter}, ReplicaChange{3, Voter})
	check(1, 2, 3)
	if w.copies == 0 {
		t.Fatal("no partition was copied")
	}
	crashes()
	load(5)
	w.change(p, ReplicaChange{4, Learner})
	crashes()
	w.change(p, ReplicaChange{4, Voter}, ReplicaChange{1, NoReplica})
	load(5)
	check(2, 3, 4)
	if g := w.nodes[1].step.h.core.groups[p]; g.node != nil || w.nodes[1].model.at(p).index != 0 {
		t.Fatal("node 1 was removed and keeps the partition")
	}
	crashes()
	old := replicaOn(1)
	if err := w.changeRefused(p, ReplicaChange{1, Voter}); !errors.Is(err, ErrReplicaChange) {
		t.Fatalf("a stranger became a voter: %v", err)
	}
	w.change(p, ReplicaChange{1, Learner})
	load(3)
	check(1, 2, 3, 4)
	if id := w.owner(p).step.h.core.groups[p].members.on(1); id == old {
		t.Fatalf("node 1 got the id %d again", id)
	}
	w.change(p, ReplicaChange{1, NoReplica}, ReplicaChange{2, NoReplica})
	w.change(p, ReplicaChange{3, NoReplica})
	load(3)
	check(4)
	for id := persistence.NodeID(1); id < 4; id++ {
		if g := w.nodes[id].step.h.core.groups[p]; g.node != nil || w.nodes[id].model.at(p).index != 0 {
			t.Fatalf("node %d was removed by what is the only voter now, and keeps the partition", id)
		}
	}
	for id := persistence.NodeID(1); id <= 4; id++ {
		w.nodes[id].crash(rng)
	}
	load(1)
	check(4)
}

// changeRefused asks once and returns the answer.
func (w *voters) changeRefused(p persistence.Partition, changes ...ReplicaChange) error {
	w.t.Helper()
	for range 100 {
		o := &outcome{}
		err := w.owner(p).step.Host().ChangeReplicas(p, changes, o.set)
		if w.run(1); err == nil && o.done && !errors.Is(o.err, persistence.ErrNotOwner) { // else it crashed
			return o.err
		}
	}
	return errors.New("no answer")
}

// Goal: a new replica does not need the owner's own state to be whole: another voter has it.
func TestCopyComesFromAnotherVoter(t *testing.T) {
	w := newNodes(t, 4, 1, 2, 3)
	p := persistence.Partition(0)
	v := w.owner(p)
	v.model.failCopy = persistence.ErrCorrupt
	if o := v.append(p, 1); !o.done {
		w.run(1)
	}
	w.change(p, ReplicaChange{4, Learner})
	w.run(2 * retryTicks)
	if got := w.nodes[4].model.last(p, "a"); got != 1 || w.copies == 0 {
		t.Fatalf("seq %d after %d copies", got, w.copies)
	}
}

// Goal: a replica that was away for longer than the entries that are kept gets a copy, while it counts again afterwards.
func TestFarBehindGetsACopy(t *testing.T) {
	w := newVoters(t)
	p := persistence.Partition(0)
	v := w.owner(p)
	behind := w.nodes[v.id%3+1]
	w.cut[behind.id] = true
	for i := range persistence.Seq(40) {
		change := &persistence.Change{
			Key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "b"}, Epoch: v.owned[p],
			Entries: []persistence.Entry{{Seq: i + 1, Data: make([]byte, keptBytes/16)}},
		}
		o := &outcome{}
		w.must(v.step.Host().Propose(p, change, o.set))
		if w.run(1); !o.done || o.err != nil {
			t.Fatal(o)
		}
	}
	delete(w.cut, behind.id)
	w.run(2 * electionTicks)
	if got := behind.model.last(p, "b"); got != 40 || w.copies == 0 {
		t.Fatalf("seq %d after %d copies", got, w.copies)
	}
	w.cut[v.id] = true
	for id := range w.nodes {
		w.nodes[id].step.Host().Suspect(v.id)
	}
	next := w.owner(p)
	o := next.append(p, 1)
	w.run(2)
	if !o.done || o.err != nil {
		t.Fatal(o)
	}
}
