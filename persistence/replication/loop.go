package replication

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// loop is the goroutine that owns the core and the log. It returns nil when it was asked to end and everything accepted
// was answered.
func (h *Host) loop(ctx context.Context) error {
	ticker := time.NewTicker(h.opts.TickInterval)
	defer ticker.Stop()
	if err := h.core.campaign(); err != nil {
		return err
	}
	done, closing := ctx.Done(), h.closing
	for {
		if err := h.turns(ctx); err != nil || h.queue.drained() {
			return err
		}
		select {
		case <-h.queue.wake:
		case <-ticker.C:
			if err := h.tick(); err != nil {
				return err
			}
		case <-h.failure.seen:
			return h.failed()
		case <-done:
			h.queue.close()
			done = nil
		case <-closing:
			closing = nil
		}
	}
}

// showTicks is how often owners show how far their replicas are.
const showTicks = 10

// tick moves the groups' clock.
func (h *Host) tick() error {
	if h.ticks++; h.ticks%showTicks == 0 {
		for slot, g := range h.core.groups {
			if g.leading && !g.sole {
				h.showReplicas(slot)
			}
		}
	}
	h.out.reset()
	if err := h.core.tick(&h.out); err != nil {
		return err
	}
	return h.send(h.out.before)
}

// gatherFrom is from how many changes in the last record on those who are about to propose are let in before the next
// one: a third fewer records and syncs under load, at no cost to a caller who is alone.
const gatherFrom = 32

// turns works until there is nothing to do but wait.
func (h *Host) turns(ctx context.Context) error {
	for left := true; left; {
		if h.hasFailed() {
			return h.failed()
		}
		if err := h.listen(ctx); err != nil {
			return err
		}
		if h.lately >= gatherFrom {
			runtime.Gosched()
		}
		left = h.admit()
		for h.core.busy() {
			if err := h.step(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// listen tells the core what was applied, received and hinted.
func (h *Host) listen(ctx context.Context) error {
	h.out.reset()
	h.applied.take(func(slot int, index uint64) { h.core.applied(slot, index, &h.out) })
	if err := h.hear(ctx); err != nil {
		return err
	}
	for _, m := range withoutStale(h.inbox.take()) {
		if slot, ok := h.slot(m.Partition); ok {
			if err := h.core.receive(slot, &m, &h.out); err != nil {
				return err
			}
		}
	}
	if err := h.followHints(); err != nil {
		return err
	}
	h.deliver(ctx)
	return nil
}

// admit proposes what waits, and begins the rounds of those who wait for a barrier. It reports whether something is left.
func (h *Host) admit() (left bool) {
	h.taken, left = h.queue.take(h.taken[:0])
	h.lately = 0
	for i := range h.taken {
		h.lately += len(h.taken[i].waiting)
		h.propose(&h.taken[i])
	}
	h.beginBarriers()
	return left
}

// step does what the core wants once: one record, one fsync.
func (h *Host) step(ctx context.Context) error {
	if err := h.begin(ctx); err != nil {
		return err
	}
	return h.finish(ctx)
}

// begin asks the core what it wants, sends what may be sent at once, and writes the record, unsynced.
func (h *Host) begin(ctx context.Context) error {
	h.out.reset()
	if err := h.core.collect(&h.out); err != nil {
		return err
	}
	if err := h.send(h.out.before); err != nil {
		return err
	}
	if len(h.out.writes) == 0 {
		return nil
	}
	if slow := h.opts.Faults.SlowWrite; slow > 0 {
		<-time.After(slow)
	}
	return h.orFail(ctx, h.log.append(h.out.writes))
}

// finish makes what begin wrote durable, and hands on what that allows.
func (h *Host) finish(ctx context.Context) error {
	if len(h.out.writes) > 0 {
		if err := h.orFail(ctx, h.log.sync()); err != nil {
			return err
		}
		h.written()
	}
	h.core.synced()
	if err := h.send(h.out.after); err != nil {
		return err
	}
	h.deliver(ctx)
	return nil
}

// orFail answers everybody in out when the log failed: after a failure the applier only answers.
func (h *Host) orFail(ctx context.Context, err error) error {
	if err != nil {
		h.fail(ctx, err)
		h.deliver(ctx)
	}
	return err
}

// written notes what was written and wakes the truncator when a segment was begun.
func (h *Host) written() {
	for i := range h.out.writes {
		w := &h.out.writes[i]
		if n := len(w.Entries); n > 0 {
			h.marks[w.slot].last.Store(w.Entries[n-1].GetIndex())
		}
	}
	if h.log.count != h.count {
		h.count = h.log.count
		select {
		case h.truncates <- struct{}{}:
		default:
		}
	}
}

// propose makes one Raft proposal of what was taken of one partition.
func (h *Host) propose(t *taken) {
	if len(t.waiting) == 0 {
		h.queue.recycle(t.waiting)
		return
	}
	p := &proposal{id: h.core.newProposalID(), waiting: t.waiting}
	encoded := persistence.Proposal{ID: p.id, Generation: h.opts.Generation, Changes: make([]*persistence.Change, len(t.waiting))}
	for i := range t.waiting {
		encoded.Changes[i] = t.waiting[i].change
	}
	var err error
	p.data, err = persistence.AppendProposal(make([]byte, 0, t.bytes), &encoded)
	if err != nil { // one of them is not a valid change: the others go on
		if t.waiting = h.refuseInvalid(t.waiting); len(t.waiting) < len(p.waiting) {
			h.propose(t)
			return
		}
		h.answer(t.waiting, err)
		return
	}
	if h.opts.Faults.AnswerBeforeAppend {
		h.answer(p.waiting, nil)
		p.waiting = nil
	}
	if err := h.core.propose(t.slot, p); err != nil {
		// The partition was lost after the changes were accepted; of the answers that are left, this one is true.
		h.answer(p.waiting, persistence.ErrOutcomeUnknown)
	}
}

// refuseInvalid answers the changes that are not valid and returns the others.
func (h *Host) refuseInvalid(list []waiting) []waiting {
	valid := make([]waiting, 0, len(list))
	for _, w := range list {
		if err := w.change.Validate(); err != nil {
			h.answer([]waiting{w}, err)
			continue
		}
		valid = append(valid, w)
	}
	return valid
}

// deliver hands on what may be handed on once the writes are durable.
func (h *Host) deliver(ctx context.Context) {
	if n := len(h.out.commits); n > 0 {
		batch := make([]commit, n)
		copy(batch, h.out.commits)
		h.handOn(batch)
	}
	for _, slot := range h.out.changed {
		h.showReplicas(slot)
	}
	for _, w := range h.out.wanted {
		h.want(w)
	}
	h.passBarriers()
	for _, p := range h.out.lost {
		h.answer(p.waiting, persistence.ErrOutcomeUnknown)
	}
	for _, o := range h.out.owners {
		p := h.partitions[o.slot]
		if o.claimed {
			h.queue.own(o.slot, o.epoch)
			h.opts.Ownership.Claimed(p, o.epoch)
		} else {
			h.answer(h.queue.disown(o.slot), persistence.ErrOutcomeUnknown)
			h.loseBarriers(o.slot)
			h.opts.Ownership.Lost(p, o.epoch)
		}
		h.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "partition ownership changed", slog.Int("partition", int(p)),
			slog.String("epoch", o.epoch.String()), slog.Bool("owner", o.claimed))
	}
}

// giveUp ends all ownership and answers everything that is left, at the end of Run. After a graceful end nothing is.
func (h *Host) giveUp(ctx context.Context) {
	h.out.reset()
	h.core.resign(&h.out)
	h.deliver(ctx)
	for _, w := range h.barriers.end() {
		w.done(persistence.ErrNotOwner)
	}
}

// answer tells everybody in list the same, outside of all locks.
func (h *Host) answer(list []waiting, err error) {
	bytes := 0
	for i := range list {
		bytes += list[i].bytes
	}
	h.queue.release(len(list), bytes)
	for i := range list {
		list[i].done(err)
	}
}
