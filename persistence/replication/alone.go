package replication

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/persistence"
)

// Alone says what [RecoverAlone] found of one partition.
type Alone struct {
	Partition persistence.Partition
	// Here says that this node has a replica. Of one that is not here nothing was changed: recover it elsewhere.
	Here bool
	// Others are the nodes that had a replica, and have none any more.
	Others []persistence.NodeID
	// Last is the newest entry here. What others acknowledged after it is lost.
	Last uint64
	// Doubtful is how many of the entries were not known to be acknowledged. They count as such now.
	Doubtful uint64
}

// RecoverAlone makes this node the sole voter of every partition of which it has a replica, because the majority of the others
// is lost for ever. Everything in this node's log counts as acknowledged from now on; what only the others had is lost. The others
// must never come back with what they have: opts.Generation must be greater than any before, and the peers must refuse the old
// one. The log must be open nowhere. It may be repeated after an error or a crash: what was done stays done.
func RecoverAlone(opts Options) ([]Alone, error) {
	opts.Transport, opts.Fetcher, opts.Ownership = nowhere{}, nil, nobody{}
	report := make([]Alone, opts.Partitions+1)
	// First everything here is committed and applied: changes of the replicas among it too.
	if err := settleAlone(opts, func(h *Host, slot int, g *replayed) (*groupBatch, error) {
		report[slot] = g.found(h.partitions[slot])
		return g.commitAll(slot), nil
	}); err != nil {
		return nil, fmt.Errorf("apply what the log has: %w", err)
	}
	if err := settleAlone(opts, func(_ *Host, slot int, g *replayed) (*groupBatch, error) {
		report[slot].Others = g.others()
		return g.alone(slot, &replicas{conf: g.Conf, retired: g.retired})
	}); err != nil {
		return nil, fmt.Errorf("make this node the sole voter: %w", err)
	}
	return report, nil
}

// SurveyAlone says what [RecoverAlone] would find now, and changes nothing. A change of replicas that is in the log and not
// applied yet does not show. The log must be open nowhere.
func SurveyAlone(opts Options) (_ []Alone, err error) {
	opts.Transport, opts.Fetcher, opts.Ownership = nowhere{}, nil, nobody{}
	if err = opts.Validate(); err != nil {
		return nil, fmt.Errorf("options of the log: %w", err)
	}
	h := &Host{opts: opts.withDefaults(), partitions: partitionsOf(opts.Partitions)}
	r, err := h.newReplay()
	if err != nil {
		return nil, err
	}
	r.drop = func(persistence.Partition) error { return nil } // what is left of a removed replica stays for the next start
	if _, err = opts.FS.Stat(opts.Dir); err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	d, err := openDirectory(opts.FS, opts.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.file.Close()) }()
	lock, err := d.lock()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	live, _, err := d.list()
	if err == nil {
		_, err = r.readAll(d, live)
	}
	if err == nil {
		err = r.check(opts.Dir)
	}
	if err == nil {
		err = h.adoptReplicas(r)
	}
	if err != nil {
		return nil, err
	}
	report := make([]Alone, len(h.partitions))
	for slot, p := range h.partitions {
		g := &r.groups[slot]
		report[slot] = g.found(p)
		report[slot].Others = g.others()
	}
	return report, nil
}

// found is what there is of a partition, but who else has it.
func (g *replayed) found(p persistence.Partition) Alone {
	return Alone{Partition: p, Here: g.Replica != 0, Last: g.Last, Doubtful: g.Last - min(g.Last, g.Hard.Commit)}
}

// others are the nodes that have a replica beside this one. They are unknown where this one has none.
func (g *replayed) others() []persistence.NodeID {
	if g.Replica == 0 {
		return nil
	}
	var others []persistence.NodeID
	for _, id := range (&replicas{conf: g.Conf}).ids() {
		if id != g.Replica {
			others = append(others, nodeOf(id))
		}
	}
	return others
}

// commitAll says that all of a group's log is committed. It is nil when that is known.
func (g *replayed) commitAll(slot int) *groupBatch {
	if g.Replica == 0 || g.Hard.Commit >= g.Last {
		return nil
	}
	g.Hard.Commit = g.Last
	hard := g.Hard
	return &groupBatch{Partition: g.Partition, slot: slot, Hard: &hard}
}

// alone appends to a group's log, as committed, the changes that leave its own replica as the sole voter. It is nil when there
// is nothing to change.
func (g *replayed) alone(slot int, members *replicas) (*groupBatch, error) {
	if g.Replica == 0 || members.sole(g.Replica) {
		return nil, nil //nolint:nilnil // nothing to do
	}
	var changes []*raftpb.ConfChangeV2
	if members.joint() {
		changes = append(changes, &raftpb.ConfChangeV2{}) // leaves the joint configuration
	}
	change := func(kind raftpb.ConfChangeType, id uint64) {
		changes = append(changes, &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: kind.Enum(), NodeId: &id}}})
	}
	if members.role(g.Replica) != Voter {
		change(raftpb.ConfChangeAddNode, g.Replica)
	}
	for _, id := range members.ids() {
		if id != g.Replica {
			change(raftpb.ConfChangeRemoveNode, id)
		}
	}
	hard := g.Hard
	hard.Term, hard.Vote = max(hard.Term, g.LastTerm)+1, g.Replica // as if it had been elected
	batch := &groupBatch{Partition: g.Partition, slot: slot, Hard: &hard}
	for _, c := range changes {
		data, err := proto.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encode a change of replicas: %w", err)
		}
		g.Last++
		index, term := g.Last, hard.Term
		batch.Entries = append(batch.Entries, &raftpb.Entry{Index: &index, Term: &term, Type: raftpb.EntryConfChangeV2.Enum(), Data: data})
	}
	hard.Commit = g.Last
	g.Hard, g.LastTerm = hard, hard.Term
	g.Entries = append(g.Entries, batch.Entries...)
	return batch, nil
}

// settleAlone opens the log, writes what edit wants written before anything runs, applies all that is committed, and makes it
// durable.
func settleAlone(opts Options, edit func(*Host, int, *replayed) (*groupBatch, error)) error {
	s, err := newStepper(opts, func(h *Host, r *replay) error {
		var batches []groupBatch
		for slot := range r.groups {
			switch batch, err := edit(h, slot, &r.groups[slot]); {
			case err != nil:
				return err
			case batch != nil:
				batches = append(batches, *batch)
			}
		}
		if len(batches) == 0 {
			return nil
		}
		if err := h.log.append(batches); err != nil {
			return err
		}
		return h.log.sync()
	})
	if err != nil {
		return err
	}
	err = s.settle()
	if err == nil {
		err = opts.StateMachine.Flush()
	}
	return errors.Join(err, s.Stop())
}

// settle applies all that is committed.
func (s *Stepper) settle() error {
	if err := s.Tick(); err != nil { // far from an election; it has every group looked at
		return err
	}
	for worked := true; worked; {
		var err error
		if worked, err = s.Begin(); err == nil && worked {
			err = s.Finish()
		}
		for ; s.Waiting() > 0 && err == nil; worked = true {
			err = s.Apply()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nowhere is a transport that nothing arrives through.
type nowhere struct{}

// Send implements [Transport].
func (nowhere) Send(persistence.NodeID, []byte) {}

// nobody does not hear who owns what.
type nobody struct{}

// Claimed implements [persistence.Ownership].
func (nobody) Claimed(persistence.Partition, persistence.Epoch) {}

// Lost implements [persistence.Ownership].
func (nobody) Lost(persistence.Partition, persistence.Epoch) {}
