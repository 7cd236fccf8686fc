package replication

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/cryptotest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
)

// voters are three hosts that are stepped by hand, and the network between them.
type voters struct {
	t      *testing.T
	nodes  map[persistence.NodeID]*voter
	wire   []parcel
	cut    map[persistence.NodeID]bool
	voters []persistence.NodeID // at first
	copies int
	seen   func(parcel) // hears of everything that is sent; nil for nobody
	rng    *rand.Rand   // of crashes at any step; nil for none
}

type parcel struct {
	from, to persistence.NodeID
	batch    []byte
}

// voter is one of them; it is its host's transport and hears of its partitions.
type voter struct {
	w      *voters
	id     persistence.NodeID
	step   *Stepper
	model  *model
	owned  map[persistence.Partition]persistence.Epoch
	frozen bool
	fs     *vfs.MemFS
}

func (v *voter) Send(to persistence.NodeID, batch []byte) {
	v.w.wire = append(v.w.wire, parcel{v.id, to, batch})
}
func (v *voter) Claimed(p persistence.Partition, e persistence.Epoch) { v.owned[p] = e }
func (v *voter) Lost(p persistence.Partition, _ persistence.Epoch)    { delete(v.owned, p) }

func newVoters(t *testing.T) *voters {
	t.Helper()
	return newNodes(t, 3, 1, 2, 3)
}

// newNodes makes so many nodes, of which the voters have every partition.
func newNodes(t *testing.T, count persistence.NodeID, ids ...persistence.NodeID) *voters {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 1)
	w := &voters{t: t, nodes: map[persistence.NodeID]*voter{}, cut: map[persistence.NodeID]bool{}, voters: ids}
	for id := persistence.NodeID(1); id <= count; id++ {
		v := &voter{w: w, id: id, model: newModel(uint64(id)), fs: vfs.NewCrashableMem()}
		w.nodes[id] = v
		v.start()
		t.Cleanup(func() {
			if err := v.step.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	return w
}

// start begins a life of the node, on what its disk holds.
func (v *voter) start() {
	v.w.t.Helper()
	v.owned = map[persistence.Partition]persistence.Epoch{}
	opts := testOptions(v.fs, v.model)
	opts.Node, opts.Voters, opts.Transport, opts.Ownership = v.id, v.w.voters, v, v
	var err error
	if v.step, err = NewStepper(opts); err != nil {
		v.w.t.Fatal(err)
	}
}

// crash loses what is not synced and not flushed, and starts the node again.
func (v *voter) crash(rng *rand.Rand) {
	v.w.t.Helper()
	v.fs = v.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
	v.model = v.model.crashedLocked(rng.Uint64())
	v.start()
}

// run steps everything n ticks on, with a network that loses only what is cut.
func (w *voters) run(ticks int) {
	w.t.Helper()
	for range ticks {
		for id := persistence.NodeID(1); w.nodes[id] != nil; id++ {
			if v := w.nodes[id]; !v.frozen {
				w.must(v.step.Tick())
			}
		}
		for busy := true; busy; {
			busy = w.settle()
		}
	}
}

// settle gives every node one turn and carries what was sent. It reports whether anything happened.
func (w *voters) settle() bool {
	w.t.Helper()
	busy := false
	for id := persistence.NodeID(1); w.nodes[id] != nil; id++ {
		v := w.nodes[id]
		if v.frozen {
			continue
		}
		worked, err := v.step.Begin()
		w.must(err)
		if worked && w.unlucky() {
			v.crash(w.rng)
			return true
		}
		if worked {
			w.must(v.step.Finish())
		}
		if worked && w.unlucky() {
			v.crash(w.rng)
			return true
		}
		for _, wanted := range v.step.Wanted() {
			busy = true
			if w.cut[wanted.Sources[0]] || w.cut[v.id] {
				v.step.Uncopied(wanted)
				continue
			}
			var sources []*Stepper
			for _, id := range wanted.Sources {
				sources = append(sources, w.nodes[id].step)
			}
			switch err := v.step.Copy(wanted, sources...); {
			case err == nil:
				w.copies++
			case !errors.Is(err, persistence.ErrNotOwner): // it crashed since it offered the copy
				w.t.Fatal(err)
			}
		}
		busy = busy || worked || v.step.Waiting() > 0
		w.must(v.step.Apply())
	}
	wire := w.wire
	w.wire = nil
	for _, p := range wire {
		if w.seen != nil {
			w.seen(p)
		}
		if !w.cut[p.from] && !w.cut[p.to] {
			w.must(w.nodes[p.to].step.Host().Receive(p.from, p.batch))
		}
	}
	return busy || len(wire) > 0
}

func (w *voters) unlucky() bool { return w.rng != nil && w.rng.IntN(2000) == 0 }

func (w *voters) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// owner runs until p has one owner that is not cut off, and returns it.
func (w *voters) owner(p persistence.Partition) *voter {
	w.t.Helper()
	for range 200 {
		w.run(1)
		for _, v := range w.nodes {
			if _, ok := v.owned[p]; ok && !w.cut[v.id] && !v.frozen {
				return v
			}
		}
	}
	for id := persistence.NodeID(1); w.nodes[id] != nil; id++ {
		g := w.nodes[id].step.h.core.groups[p]
		if g.node != nil {
			w.t.Logf("node %d: replica %x, %+v, members %v, frozen %v, dropping %v, last %d, applied %d", id, g.replica, g.node.BasicStatus(), g.members, g.frozen, g.dropping, g.tail.last(), g.tail.applied)
		}
	}
	w.t.Fatal("nobody owns the partition")
	return nil
}

// append proposes an entry and returns what became of it, after so many ticks.
func (v *voter) append(p persistence.Partition, seq persistence.Seq) *outcome {
	o := &outcome{}
	change := &persistence.Change{
		Key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "a"}, Epoch: v.owned[p],
		Entries: []persistence.Entry{{Seq: seq, Data: fmt.Append(nil, seq)}},
	}
	if err := v.step.Host().Propose(p, change, o.set); err != nil {
		o.set(err)
	}
	return o
}

func (v *voter) barrier(p persistence.Partition) *outcome {
	o := &outcome{}
	if err := v.step.Host().Barrier(p, v.owned[p], o.set); err != nil {
		o.set(err)
	}
	return o
}

type outcome struct {
	done bool
	err  error
}

func (o *outcome) set(err error) {
	if o.done {
		panic("answered twice")
	}
	o.done, o.err = true, err
}

func (o *outcome) String() string { return fmt.Sprint(o.done, " ", o.err) }

// Goal: three voters agree on owners, keep what was acknowledged, and hand over and fail over with it.
func TestThreeVoters(t *testing.T) {
	w := newVoters(t)
	p := persistence.Partition(0)
	first := w.owner(p)
	w.run(30)
	for q := range persistence.Partition(testPartitions) {
		owners := 0
		for _, v := range w.nodes {
			if _, ok := v.owned[q]; ok {
				owners++
			}
		}
		if owners != 1 {
			t.Fatalf("partition %d has %d owners", q, owners)
		}
	}
	written, read := first.append(p, 1), first.barrier(p)
	if written.done || read.done {
		t.Fatal("answered before anybody else was asked")
	}
	w.run(1)
	if !written.done || written.err != nil || !read.done || read.err != nil {
		t.Fatalf("append: %v, barrier: %v", written, read)
	}

	next := first.id%3 + 1
	if err := first.step.Host().HandOver(p, next); err != nil {
		t.Fatal(err)
	}
	w.run(2)
	second := w.nodes[next]
	if _, ok := second.owned[p]; !ok || len(first.owned) > 0 && first.owned[p].Term != 0 {
		t.Fatalf("node %d does not own what was handed over to it", next)
	}
	if o := second.append(p, 2); !o.done {
		w.run(1)
		if !o.done || o.err != nil {
			t.Fatalf("append after the handover: %v", o)
		}
	}

	w.cut[second.id] = true
	lost, stale := second.append(p, 3), second.barrier(p)
	for id, v := range w.nodes {
		if id != second.id {
			v.step.Host().Suspect(second.id)
		}
	}
	w.run(1) // far less than an election time-out
	third := w.owner(p)
	if third == second {
		t.Fatal("the owner that was cut off is the owner")
	}
	if o := third.append(p, 3); !o.done {
		w.run(1)
		if !o.done || o.err != nil {
			t.Fatalf("append after the failover: %v", o)
		}
	}
	w.run(3 * electionTicks)
	if !lost.done || !errors.Is(lost.err, persistence.ErrOutcomeUnknown) {
		t.Errorf("what the old owner could not replicate ended with %v", lost)
	}
	if !stale.done || !errors.Is(stale.err, persistence.ErrNotOwner) {
		t.Errorf("the read of an owner that was cut off ended with %v", stale)
	}
	delete(w.cut, second.id)
	w.run(3 * electionTicks)
	for id, v := range w.nodes {
		if got := v.model.last(p, "a"); got != 3 {
			t.Errorf("node %d has seq %d", id, got)
		}
	}
}

// Goal: an owner that was frozen while another took over answers nothing stale when it wakes.
func TestFrozenOwnerIsFenced(t *testing.T) {
	w := newVoters(t)
	p := persistence.Partition(1)
	old := w.owner(p)
	old.frozen = true
	w.cut[old.id] = true // what is sent to it waits in the kernel, and comes late or never
	if w.owner(p) == old {
		t.Fatal("the frozen node is the owner")
	}
	old.frozen = false
	read, write := old.barrier(p), old.append(p, 1)
	worked, err := old.step.Begin()
	w.must(err)
	if worked {
		w.must(old.step.Finish())
	}
	if read.done && read.err == nil || write.done && write.err == nil {
		t.Fatalf("woken: read %v, write %v", read, write)
	}
	delete(w.cut, old.id)
	w.run(3 * electionTicks)
	if !read.done || read.err == nil || !write.done || write.err == nil {
		t.Fatalf("after a while: read %v, write %v", read, write)
	}
}

// Goal: a killed owner is followed at once, also when one follower hears of it and asks for votes before the other has
// heard, and also when only the other one may win.
func TestSuspectedOwnerIsFollowedSoon(t *testing.T) {
	const soon = 5 // ticks, far less than an election time-out
	for name, longer := range map[string]bool{"heard later": false, "log is longer": true} {
		t.Run(name, func(t *testing.T) {
			w := newVoters(t)
			p := persistence.Partition(0)
			old := w.owner(p)
			next, other := w.nodes[old.id%3+1], w.nodes[(old.id+1)%3+1]
			if longer { // the entry that next lacks is on a majority
				w.cut[next.id] = true
				if o := old.append(p, 1); !o.done {
					w.settle()
					w.settle()
				}
				delete(w.cut, next.id)
			}
			w.cut[old.id], old.frozen = true, true
			next.step.Host().Suspect(old.id)
			for w.settle() { // next asks, and other believes in the owner
			}
			other.step.Host().Suspect(old.id)
			w.run(soon)
			_, nextOwns := next.owned[p]
			_, otherOwns := other.owned[p]
			if !nextOwns && !otherOwns {
				t.Fatalf("nobody owns the partition after %d ticks", soon)
			}
			if longer && other.model.last(p, "a") != 1 {
				t.Fatal("the entry is lost")
			}
		})
	}
}

// Goal: a handover to a node that is killed meanwhile does not keep the owner from going on.
func TestHandOverToSuspectedIsGivenUp(t *testing.T) {
	w := newVoters(t)
	p := persistence.Partition(0)
	owner := w.owner(p)
	w.run(2)
	target := w.nodes[owner.id%3+1]
	w.cut[target.id], target.frozen = true, true
	if err := owner.step.Host().HandOver(p, target.id); err != nil {
		t.Fatal(err)
	}
	for w.settle() { // the target is asked and does not answer
	}
	owner.step.Host().Suspect(target.id)
	w.run(1)
	written := owner.append(p, 1)
	w.run(2)
	if _, owns := owner.owned[p]; !owns || !written.done || written.err != nil {
		t.Fatalf("owner: %v, append: %v", owns, written)
	}
}

func FuzzDecodeMessages(f *testing.F) {
	f.Add([]byte{batchVersion})
	f.Add([]byte{batchVersion, 0, 0})
	f.Add([]byte{batchVersion, 1, 2, 8, 4})
	f.Fuzz(func(t *testing.T, batch []byte) {
		messages, err := decodeMessages(batch)
		if err != nil {
			return
		}
		var again []byte
		for i := range messages {
			if again, err = appendMessage(again, &messages[i]); err != nil {
				t.Fatal(err)
			}
		}
		if len(messages) > 0 {
			if back, err := decodeMessages(again); err != nil || len(back) != len(messages) {
				t.Fatalf("%d messages came back as %d: %v", len(messages), len(back), err)
			}
		}
	})
}
