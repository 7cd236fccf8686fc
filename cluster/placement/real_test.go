package placement

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// hosts are hosts of the log that are stepped by hand, on disks in memory.
type hosts struct {
	t     *testing.T
	nodes map[persistence.NodeID]*realNode
	down  map[persistence.NodeID]bool
	wire  []parcel
}

type parcel struct {
	from, to persistence.NodeID
	batch    []byte
}

// realNode is one host. It is its own transport, and hears of its partitions.
type realNode struct {
	of    *hosts
	id    persistence.NodeID
	step  *replication.Stepper
	store *pebblestore.Store
}

func (n *realNode) Send(to persistence.NodeID, batch []byte) {
	n.of.wire = append(n.of.wire, parcel{n.id, to, bytes.Clone(batch)})
}
func (n *realNode) Claimed(persistence.Partition, persistence.Epoch) {}
func (n *realNode) Lost(persistence.Partition, persistence.Epoch)    {}

// Fetch implements [replication.Fetcher]; the stepper copies itself.
func (n *realNode) Fetch(context.Context, persistence.NodeID, []byte, func([]byte) error) error {
	return errors.ErrUnsupported
}

const realPartitions = 3

func (w *hosts) add(id persistence.NodeID) {
	w.t.Helper()
	n, fs := &realNode{of: w, id: id}, vfs.NewMem()
	var err error
	n.store, err = pebblestore.Open(pebblestore.Options{FS: fs, Dir: "state", Partitions: realPartitions, MemTableBytes: 256 << 10, CacheBytes: 1 << 20})
	w.must(err)
	n.step, err = replication.NewStepper(replication.Options{
		FS: fs, Dir: "log", Partitions: realPartitions, Node: id, Voters: ids{1}, StateMachine: n.store, Ownership: n, Transport: n, Fetcher: n,
		SegmentBytes: 1 << 20,
	})
	w.must(err)
	w.nodes[id] = n
	w.t.Cleanup(func() {
		if err := errors.Join(n.step.Stop(), n.store.Close()); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *hosts) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// up are the nodes that are there, in order.
func (w *hosts) up() []*realNode {
	var list []*realNode
	for _, id := range slices.Sorted(maps.Keys(w.nodes)) {
		if !w.down[id] {
			list = append(list, w.nodes[id])
		}
	}
	return list
}

// tick lets a tick's time pass, and everything happen that comes of it.
func (w *hosts) tick() {
	w.t.Helper()
	for _, n := range w.up() {
		w.must(n.step.Tick())
	}
	for busy := true; busy; {
		busy = false
		for _, n := range w.up() {
			worked, err := n.step.Begin()
			w.must(err)
			if worked {
				w.must(n.step.Finish())
			}
			for _, wanted := range n.step.Wanted() {
				busy = true
				if source := wanted.Sources[0]; w.down[source] || n.step.Copy(wanted, w.nodes[source].step) != nil {
					n.step.Uncopied(wanted)
				}
			}
			busy = busy || worked || n.step.Waiting() > 0
			w.must(n.step.Apply())
		}
		wire := w.wire
		w.wire = nil
		for _, p := range wire {
			if to := w.nodes[p.to]; to != nil && !w.down[p.to] && !w.down[p.from] {
				w.must(to.step.Host().Receive(p.from, p.batch))
			}
		}
		busy = busy || len(wire) > 0
	}
}

// reach makes steps until every partition is where it should be.
func (w *hosts) reach(name string, targets []Target, usable func(persistence.NodeID) bool) {
	w.t.Helper()
	var said []string
	for range 1500 {
		w.tick()
		there := 0
		for _, n := range w.up() {
			for _, status := range n.step.Host().Status() {
				if status.Partition == persistence.MetaPartition || !status.Owner {
					continue
				}
				target := targets[status.Partition]
				step, why := Next(target, n.id, status, usable)
				switch {
				case step.HandTo != 0:
					w.must(ignore(n.step.Host().HandOver(status.Partition, step.HandTo)))
				case len(step.Changes) > 0:
					w.must(ignore(n.step.Host().ChangeReplicas(status.Partition, step.Changes, func(error) {})))
				case why == "" && n.id == target.Owner && holds(&status, &target):
					there++
				}
				if why != "" && (len(said) == 0 || said[len(said)-1] != why) {
					said = append(said, why)
				}
			}
		}
		if there == realPartitions {
			w.t.Logf("%s: %q", name, said)
			return
		}
	}
	w.t.Fatalf("%s: not at %+v: %q", name, targets, said)
}

// ignore passes over what is to be asked again.
func ignore(err error) error {
	if errors.Is(err, persistence.ErrNotOwner) || errors.Is(err, persistence.ErrQueueFull) {
		return nil
	}
	return err
}

func holds(status *replication.PartitionStatus, target *Target) bool {
	s := &situation{status: status}
	return slices.Equal(s.with(voter), target.Voters) && slices.Equal(s.with(learner), target.Learners)
}

// Goal: the log does what the steps say, and says what the steps read.
// Method: real hosts with real stores, from one node to five, one that is killed, one that leaves, back to two, of which one leaves.
func TestStepsOnTheRealLog(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	w := &hosts{t: t, nodes: map[persistence.NodeID]*realNode{}, down: map[persistence.NodeID]bool{}}
	health := map[persistence.NodeID]Health{}
	usable := func(id persistence.NodeID) bool { return health[id] == Usable && !w.down[id] }
	targets := make([]Target, realPartitions)
	for i := range targets {
		targets[i] = Target{Voters: ids{1}, Owner: 1}
	}
	for _, stage := range []struct {
		name   string
		change map[persistence.NodeID]Health
		down   persistence.NodeID
	}{
		{"one", map[persistence.NodeID]Health{1: Usable}, 0},
		{"two", map[persistence.NodeID]Health{2: Usable}, 0},
		{"three", map[persistence.NodeID]Health{3: Usable}, 0},
		{"five", map[persistence.NodeID]Health{4: Usable, 5: Usable}, 0},
		{"one is killed and lost", map[persistence.NodeID]Health{1: Lost}, 1},
		{"one leaves", map[persistence.NodeID]Health{2: Leaving}, 0},
		{"it is removed", map[persistence.NodeID]Health{2: Removed}, 0},
		{"two are left", map[persistence.NodeID]Health{1: Removed, 3: Removed}, 0},
		{"one of two leaves", map[persistence.NodeID]Health{4: Leaving}, 0},
		{"and comes back", map[persistence.NodeID]Health{4: Usable}, 0},
	} {
		for id, h := range stage.change {
			if health[id] = h; w.nodes[id] == nil {
				w.add(id)
			}
		}
		if stage.down != 0 {
			w.down[stage.down] = true
		}
		targets = Plan(nodesOf(health), targets)
		w.reach(stage.name, targets, usable)
	}
}
