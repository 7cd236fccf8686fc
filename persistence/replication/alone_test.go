package replication

import (
	"reflect"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// alone recovers a node without the others, and starts it again.
func (v *voter) alone(generation uint32) []Alone {
	v.w.t.Helper()
	v.w.must(v.step.Stop())
	opts := testOptions(v.fs, v.model)
	opts.Node, opts.Voters, opts.Generation = v.id, v.w.voters, generation
	looked, err := SurveyAlone(opts)
	v.w.must(err)
	again, err := SurveyAlone(opts)
	v.w.must(err)
	if !reflect.DeepEqual(looked, again) {
		v.w.t.Errorf("a look changed %v to %v", looked, again)
	}
	report, err := RecoverAlone(opts)
	v.w.must(err)
	for i, found := range report {
		if found.Others = looked[i].Others; !reflect.DeepEqual(found, looked[i]) { // a change of replicas may be on its way
			v.w.t.Errorf("a look found %+v, the recovery %+v", looked[i], found)
		}
		if len(report[i].Others) > 0 && len(looked[i].Others) == 0 {
			v.w.t.Errorf("a look did not find the others of %+v", report[i])
		}
	}
	v.owned = map[persistence.Partition]persistence.Epoch{}
	opts.Transport, opts.Ownership = v, v
	v.step, err = NewStepper(opts)
	v.w.must(err)
	return report
}

// TestRecoverAlone: one of three voters goes on alone, with everything that it has, and grows to three again; those that were
// lost are no voters any more.
func TestRecoverAlone(t *testing.T) {
	w := newVoters(t)
	const p = persistence.Partition(0)
	first := w.owner(p)
	for seq := persistence.Seq(1); seq <= 20; seq++ {
		first.append(p, seq)
		w.run(1)
	}
	w.run(3)
	survivor := w.nodes[first.id%3+1]
	for id, v := range w.nodes {
		if id != survivor.id {
			v.frozen, w.cut[id] = true, true
		}
	}
	report := survivor.alone(1)
	if r := report[p]; !r.Here || len(r.Others) != 2 || r.Last < 20 {
		t.Errorf("the report says %+v", r)
	}
	if owner := w.owner(p); owner != survivor {
		t.Fatal("somebody else owns the partition")
	}
	epoch := survivor.owned[p]
	if epoch.Generation != 1 || epoch.Compare(persistence.Epoch{Term: 1 << 40}) <= 0 {
		t.Errorf("the epoch is %v, which does not fence every one of before", epoch)
	}
	if last := survivor.model.last(p, "a"); last != 20 {
		t.Errorf("entry %d is the last, not 20", last)
	}
	o := survivor.append(p, 21)
	w.run(3)
	if !o.done || o.err != nil {
		t.Errorf("entry 21: %v", o)
	}
	for _, s := range survivor.step.Host().Status() {
		if len(s.Replicas) != 1 || s.Replicas[0].Node != survivor.id || s.Replicas[0].Role != Voter {
			t.Errorf("partition %d has the replicas %+v", s.Partition, s.Replicas)
		}
	}
	if again := survivor.alone(2); len(again[p].Others) != 0 || again[p].Doubtful != 0 {
		t.Errorf("a second time: %+v", again[p])
	}
}

// TestRecoverAloneKeepsDoubtful: entries that this node has and does not know to be acknowledged may have been: they stay. A
// learner can go on alone too.
func TestRecoverAloneKeepsDoubtful(t *testing.T) {
	w := newNodes(t, 3, 1)
	const p = persistence.Partition(0)
	w.run(20)
	w.change(p, ReplicaChange{2, Learner})
	w.run(60)
	owner, learner := w.nodes[1], w.nodes[2]
	for seq := persistence.Seq(1); seq <= 5; seq++ {
		owner.append(p, seq)
		w.run(1)
	}
	w.run(3)
	owner.append(p, 6)
	w.must(owner.step.Host().ChangeReplicas(p, []ReplicaChange{{3, Learner}}, func(err error) { w.must(err) }))
	w.settle() // sent; the learner writes it, and does not hear that it is committed
	owner.frozen, w.cut[1] = true, true
	w.nodes[3].frozen, w.cut[3] = true, true
	w.wire = nil
	for w.settle() {
	}
	report := learner.alone(1)
	if !report[p].Here || report[p].Doubtful != 2 {
		t.Fatalf("the report says %+v", report[p])
	}
	w.run(3 * electionTicks)
	if _, owns := learner.owned[p]; !owns {
		t.Fatal("the learner does not own the partition")
	}
	if last := learner.model.last(p, "a"); last != 6 {
		t.Errorf("entry %d is the last, not 6", last)
	}
	if s := learner.step.Host().Status()[p]; len(s.Replicas) != 1 {
		t.Errorf("it has the replicas %+v: a change that was on its way too", s.Replicas)
	}
	if _, owns := learner.owned[1]; owns || report[1].Here {
		t.Error("a partition that was never here is owned")
	}
}
