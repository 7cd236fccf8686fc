package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// load fills the activation from storage: snapshot and journal tail, up to the head.
func (a *liveEntity) load() {
	if a.mode >= entityDropping {
		return
	}
	state, saved, err := readEntity(a.h.n.Storage(), a.partition, a.key, a.h.app.mutation)
	if errors.Is(err, persistence.ErrCorrupt) && a.h.app.w.book.rotten[a.h.n.id] { // an honest refusal
		a.h.app.counts.RefusedLoads++
		for _, c := range a.waiting {
			c.reply(entityAnswer{err: errEntityLoad})
		}
		a.waiting = nil
		a.depart()
		return
	}
	if err != nil {
		a.h.app.w.Fail("load", a.partition, "%v loads %s: %v", a.h.n, a.key, err)
		return
	}
	a.state, a.seq, a.saved = state, persistence.Seq(state.GetSeq()), saved.Seq
	a.savedAt = saved.SavedAt
	a.lastUsed = a.h.now()
	a.gate.Start(a.seq)
	a.life = a.h.app.record(a.key).loaded(a)
	a.h.app.w.Tell(a.partition, "%v activates %s at %d under %v, snapshot %d", a.h.n, a.key.ID, a.seq, a.epoch, a.saved)
	a.mode = entityRunning
	a.h.after(passivateAfter, a.idle)
	a.h.after(autosaveInterval/2+a.h.app.w.Between(0, autosaveInterval), a.autosave)
	waiting := a.waiting
	a.waiting = nil
	for i, c := range waiting {
		if a.mode != entityRunning {
			a.h.n.After(0, func() { a.h.do(c) })
			continue
		}
		a.turn(waiting[i])
	}
}

// readEntity is an entity as storage has it; one that is proven absent is empty.
func readEntity(storage persistence.Storage, p persistence.Partition, key persistence.Key, mutation EntityMutation) (*storev1.Entity, persistence.Snapshot, error) {
	state := &storev1.Entity{}
	found, err := storage.Load(context.Background(), p, key)
	if errors.Is(err, persistence.ErrAbsent) {
		return state, persistence.Snapshot{}, nil
	}
	if err != nil {
		return nil, persistence.Snapshot{}, err
	}
	if found.Snapshot.Seq != 0 {
		if state, err = codec.DecodeEntity(found.Snapshot.Data); err != nil {
			return nil, found.Snapshot, fmt.Errorf("snapshot %d: %w", found.Snapshot.Seq, err)
		}
		if mutation == LoadWithoutTail {
			return state, found.Snapshot, nil
		}
	}
	seq := found.Snapshot.Seq
	if persistence.Seq(state.GetSeq()) != seq {
		return nil, found.Snapshot, fmt.Errorf("the snapshot of seq %d holds %d", seq, state.GetSeq())
	}
	for _, line := range found.Entries {
		entry, err := codec.DecodeEntry(line.Data)
		if err == nil {
			err = turn.Evolve(state, line.Seq, entry)
		}
		if err != nil {
			return nil, found.Snapshot, fmt.Errorf("entry %d: %w", line.Seq, err)
		}
		seq = line.Seq
	}
	if seq != found.Head.Last {
		return nil, found.Snapshot, fmt.Errorf("it ends at %d, the head says %d", seq, found.Head.Last)
	}
	return state, found.Snapshot, nil
}

// stalled reports whether MEMORY commands must be refused: the loss window would grow.
func (a *liveEntity) stalled(now time.Duration) bool {
	if a.h.app.mutation == NoLossWindow {
		return false
	}
	oldest, flying := a.gate.Oldest()
	if !flying && len(a.tail) > 0 {
		oldest, flying = a.tailSince, true
	}
	return flying && now-oldest > 2*journalInterval
}

// flushLater sees to it that the tail goes to the journal within the journal interval.
func (a *liveEntity) flushLater() {
	if len(a.tail) >= maxChangeEntries {
		a.flush()
		return
	}
	if a.flushDue || a.h.app.mutation == NoLossWindow {
		return
	}
	a.flushDue = true
	a.h.after(journalInterval, func() {
		a.flushDue = false
		a.flush()
	})
}

// flush hands the tail to the journal. It reports whether that took all of it.
func (a *liveEntity) flush() bool {
	for len(a.tail) > 0 && a.mode < entityDropping {
		change, n := a.take()
		if !a.propose(change) {
			return false
		}
		a.tail = a.tail[n:]
	}
	return len(a.tail) == 0
}

// take makes a change of as much of the tail as one carries.
func (a *liveEntity) take() (*persistence.Change, int) {
	change := &persistence.Change{Key: a.key, Epoch: a.epoch}
	n := min(len(a.tail), maxChangeEntries)
	for _, l := range a.tail[:n] {
		change.Entries = append(change.Entries, l.entry)
		if a.h.app.mutation != ForgottenMarks {
			change.Marks = append(change.Marks, l.marks...)
		}
	}
	return change, n
}

// propose hands a change to the journal. When that takes nothing now, it sees to another try, or to the end.
func (a *liveEntity) propose(change *persistence.Change) bool {
	var last persistence.Seq
	if n := len(change.Entries); n > 0 {
		last = change.Entries[n-1].Seq
		a.gate.Departed(last, a.tailSince)
	}
	a.flying++
	err := a.h.n.Propose(a.partition, change, func(err error) { a.done(change, last, err) })
	if err == nil {
		if a.h.app.mutation == GateOnPropose {
			a.gate.Landed(a, last)
		}
		return true
	}
	a.flying--
	if last != 0 {
		a.gate.Returned()
	}
	switch {
	case !errors.Is(err, persistence.ErrQueueFull):
		a.wrong(err)
	case !a.retryDue:
		a.retryDue = true
		a.h.after(entityProposePause, func() {
			a.retryDue = false
			a.flush()
			a.settle()
		})
	}
	return false
}

// done is the journal's word on a change.
func (a *liveEntity) done(change *persistence.Change, last persistence.Seq, err error) {
	a.flying--
	defer a.dropped()
	if a.h.app.mutation == ActivationTakesDuplicate && errors.Is(err, persistence.ErrDuplicate) {
		err = nil
	}
	switch {
	case err == nil && last != 0:
		a.h.app.record(a.key).accepted(change)
		a.gate.Landed(a, last)
	case err != nil:
		a.h.app.w.Tell(a.partition, "%v: the change of %s to %d ended with %v", a.h.n, a.key.ID, last, err)
		a.h.app.counts.Refusals++
		a.wrong(err)
	}
	if change.Snapshot != nil {
		a.h.n.After(0, func() { a.savedNow(change.Snapshot) })
	}
}

// save sends a snapshot of the state as it is now, after everything that it covers.
func (a *liveEntity) save() {
	if a.saving || a.mode >= entityDropping || !a.dirty() {
		return
	}
	if len(a.tail) >= maxChangeEntries && !a.flush() {
		return
	}
	data, err := codec.EncodeEntity(a.state)
	if err != nil {
		a.h.app.w.Fail("rules", a.partition, "%s at %d: %v", a.key, a.seq, err)
		return
	}
	change, n := a.take()
	change.Snapshot = &persistence.Snapshot{Seq: a.seq, SavedAt: a.h.n.Clock().Truncate(time.Millisecond), Data: data}
	a.saving = true
	if a.propose(change) {
		a.tail = a.tail[n:]
		return
	}
	a.saving = false
}

// savedNow ends an accepted save.
func (a *liveEntity) savedNow(s *persistence.Snapshot) {
	if a.mode >= entityDropping {
		return
	}
	a.saving, a.saved, a.savedAt = false, s.Seq, s.SavedAt
	a.h.app.counts.Saves++
	var waiting []unsavedReply
	for _, u := range a.unsaved {
		if u.seq > a.saved {
			waiting = append(waiting, u)
			continue
		}
		u.entityReply.seq, u.durable = u.seq, true
		a.LetGo(u.entityReply, nil)
	}
	a.unsaved = waiting
	if len(waiting) > 0 {
		a.save()
	}
	a.settle()
}

func (a *liveEntity) autosave() {
	if a.mode >= entityDropping {
		return
	}
	if a.mode == entityRunning {
		a.save()
	}
	a.h.after(autosaveInterval, a.autosave)
}
