package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skerry-dev/skerry/persistence"
)

// stateOf returns the operations in what was loaded: the snapshot's, and those of the entries behind it, up to the head.
func stateOf(found *persistence.Loaded) ([]uint64, error) {
	var ops []uint64
	if found.Snapshot.Seq > 0 {
		var err error
		if ops, err = decode(found.Snapshot.Data); err != nil {
			return nil, fmt.Errorf("snapshot at %d: %w", found.Snapshot.Seq, err)
		}
		if persistence.Seq(len(ops)) != found.Snapshot.Seq {
			return nil, fmt.Errorf("snapshot at %d holds %d operations", found.Snapshot.Seq, len(ops))
		}
	}
	for _, e := range found.Entries {
		if e.Seq <= found.Snapshot.Seq {
			continue
		}
		if e.Seq != persistence.Seq(len(ops))+1 {
			return nil, fmt.Errorf("entry %d follows %d", e.Seq, len(ops))
		}
		ids, err := decode(e.Data)
		if err != nil || len(ids) == 0 {
			return nil, fmt.Errorf("entry %d: %w", e.Seq, errors.Join(err, errors.New("no operation")))
		}
		ops = append(ops, ids[0]) // the rest is padding
	}
	if persistence.Seq(len(ops)) != found.Head.Last {
		return nil, fmt.Errorf("the head says %d, but there are %d", found.Head.Last, len(ops))
	}
	return ops, nil
}

// Check implements [App].
func (j *journal) Check() error {
	for i := range j.entities {
		j.checkEntity(i)
	}
	return j.w.failed
}

// checkEntity holds what the clients were told about an entity against what is stored in the end.
func (j *journal) checkEntity(which int) {
	e, w := &j.entities[which], j.w
	var stored []uint64
	found, err := j.survivor(e.partition).machine.Load(context.Background(), e.partition, e.key)
	if err == nil {
		stored, err = stateOf(found)
	}
	if err != nil && !errors.Is(err, persistence.ErrAbsent) {
		w.Fail("load", e.partition, "%s in the end: %v", e.key, err)
		return
	}
	at := map[uint64]persistence.Seq{}
	for i, id := range stored {
		if what, ok := j.rogue[id]; ok {
			w.Fail("contract", e.partition, "%s stores %s at %d", e.key, what, i+1)
		}
		if at[id] != 0 {
			w.Fail("nothing twice", e.partition, "operation %d is stored in %s at %d and %d", id, e.key, at[id], i+1)
		}
		at[id] = persistence.Seq(i + 1) //nolint:gosec // few
	}
	for _, o := range j.history {
		if o.entity == which && o.write {
			j.checkWrite(e, o, at[o.id])
		}
	}
	if w.failed == nil {
		j.checkOrder(which, at)
	}
}

// checkWrite looks at one write, which is stored at a seq, 0 when it is not.
func (j *journal) checkWrite(e *entity, o *op, stored persistence.Seq) {
	switch {
	case o.outcome == succeeded && stored != o.seq:
		j.w.Fail("nothing lost", e.partition, "operation %d was acknowledged at %v as seq %d of %s, and is stored at %d", o.id, o.end, o.seq, e.key, stored)
	case o.acknowledged && stored == 0:
		j.w.Fail("nothing lost", e.partition, "operation %d of %s was acknowledged, heard or not, and is not stored", o.id, e.key)
	case o.outcome == refused && stored != 0:
		j.w.Fail("refused means not", e.partition, "operation %d was refused at %v, and is stored as seq %d of %s", o.id, o.end, stored, e.key)
	}
}

// survivor is a node with a replica whose disk is good.
func (j *journal) survivor(p persistence.Partition) *Node {
	for _, n := range j.w.members(p) {
		if !j.w.book.rotten[n.id] {
			return n
		}
	}
	return j.w.nodes[0]
}

// The state and the steps of the simplest entity: a list that grows.
type list struct {
	seq  persistence.Seq
	hash uint64
}

type step struct {
	write bool
	id    uint64
}

// lists is the porcupine model of an entity.
func lists() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return list{} },
		Step: func(state, input, output any) (bool, any) {
			have, in, out := state.(list), input.(step), output.(list)
			if !in.write {
				return have == out, have
			}
			return out.seq == have.seq+1, list{seq: have.seq + 1, hash: mix(have.hash, in.id)}
		},
	}
}

// maxOrderTime bounds the search for an order; it is far more than a history of a run needs.
const maxOrderTime = 30 * time.Second

// checkOrder asks whether there is one order that explains what all clients saw. A write with an unknown outcome is left
// open to the end if it is stored, and did not happen if it is not.
func (j *journal) checkOrder(which int, at map[uint64]persistence.Seq) {
	e := &j.entities[which]
	var operations []porcupine.Operation
	for _, o := range j.history {
		if o.entity != which || o.outcome == refused {
			continue
		}
		end, seen := int64(o.end), list{seq: o.seq, hash: o.hash}
		if o.outcome == unknown {
			if seen.seq = at[o.id]; !o.write || seen.seq == 0 {
				continue
			}
			end = int64(j.w.now) + 1
		}
		operations = append(operations, porcupine.Operation{Input: step{o.write, o.id}, Output: seen, Call: int64(o.call), Return: end})
	}
	switch porcupine.CheckOperationsTimeout(lists(), operations, maxOrderTime) {
	case porcupine.Illegal:
		j.w.Fail("one order", e.partition, "no order explains what the clients saw of %s: %s", e.key, j.stale(which, at))
	case porcupine.Unknown:
		j.w.Fail("one order", e.partition, "no order was found for %s within %v", e.key, maxOrderTime)
	case porcupine.Ok:
	}
}

// stale names the first read that missed a write which was acknowledged before it, if that is what is wrong.
func (j *journal) stale(which int, at map[uint64]persistence.Seq) string {
	for _, rd := range j.history {
		if rd.entity != which || rd.write || rd.outcome != succeeded {
			continue
		}
		for _, wr := range j.history {
			if wr.entity == which && wr.write && wr.outcome == succeeded && wr.end < rd.call && at[wr.id] > rd.seq {
				return fmt.Sprintf("a read of %v to %v saw seq %d, but seq %d was acknowledged at %v", rd.call, rd.end, rd.seq, at[wr.id], wr.end)
			}
		}
	}
	return "not by a single stale read"
}
