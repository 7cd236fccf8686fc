package simulation

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// copies are the models' copies on their way: a frame only names one.
type copies struct{ sent []*replica }

// CopyOut implements [persistence.Copier].
func (m *model) CopyOut(_ context.Context, p persistence.Partition, send func(frame []byte) error) (uint64, error) {
	r := m.at(p).clone()
	m.copies.sent = append(m.copies.sent, r)
	return r.index, send(binary.LittleEndian.AppendUint64(nil, uint64(len(m.copies.sent)-1)))
}

// CopyIn implements [persistence.Copier].
func (m *model) CopyIn(p persistence.Partition) (persistence.CopyWriter, error) {
	return &modelCopy{m: m, p: p}, nil
}

// Drop implements [persistence.Copier].
func (m *model) Drop(p persistence.Partition) error {
	delete(m.live, p)
	delete(m.flushed, p)
	return nil
}

// modelCopy is a copy coming in.
type modelCopy struct {
	m    *model
	p    persistence.Partition
	came *replica
}

// Write implements [persistence.CopyWriter].
func (c *modelCopy) Write(frame []byte) error {
	c.came = c.m.copies.sent[binary.LittleEndian.Uint64(frame)]
	return nil
}

// Abort implements [persistence.CopyWriter].
func (c *modelCopy) Abort() error { return nil }

// Commit implements [persistence.CopyWriter].
func (c *modelCopy) Commit() (index, term uint64, err error) {
	if c.came.index <= c.m.at(c.p).index {
		return c.came.index, c.came.term, persistence.ErrOldCopy
	}
	c.m.live[c.p], c.m.flushed[c.p] = c.came.clone(), c.came.clone()
	return c.came.index, c.came.term, nil
}

// noFetcher says that copies travel; the stepper's are carried by hand.
type noFetcher struct{}

// Fetch implements [replication.Fetcher]. Nobody calls it.
func (noFetcher) Fetch(context.Context, persistence.NodeID, []byte, func([]byte) error) error {
	panic("a stepped host fetched by itself")
}

// fetch begins to fetch the copies that the host came to need.
func (n *Node) fetch() {
	for _, wanted := range n.step.Wanted() {
		n.w.Tell(wanted.Partition, "%v needs a copy of partition %d from node %d", n, wanted.Partition, wanted.Sources[0])
		n.After(n.w.Between(time.Millisecond, 400*time.Millisecond), func() { n.fetchFrom(wanted) })
	}
}

// fetchFrom fetches one from the first of its sources that is there and has it.
func (n *Node) fetchFrom(wanted replication.Wanted) {
	w := n.w
	var there []*Node
	var steppers []*replication.Stepper
	writing := n.step.Writing()
	for _, id := range wanted.Sources {
		source := w.Node(id)
		if source.up && !source.frozen && !w.wire(n.id, id).cut && !w.wire(id, n.id).cut {
			there, steppers = append(there, source), append(steppers, source.step)
			writing = writing || source.step.Writing()
		}
	}
	switch {
	case len(there) == 0 || !w.healed && w.Chance(100):
		w.Tell(wanted.Partition, "%v did not get it", n)
		n.step.Uncopied(wanted)
	case writing:
		n.After(w.Between(0, time.Millisecond), func() { n.fetchFrom(wanted) })
		return
	default:
		if err := n.step.Copy(wanted, steppers...); err != nil {
			w.Tell(wanted.Partition, "%v did not get it: %v", n, err)
			break
		}
		w.Counts.Copies++
		w.Tell(wanted.Partition, "%v has a copy of partition %d", n, wanted.Partition)
		for _, source := range there {
			source.wake()
		}
	}
	n.wake()
}
