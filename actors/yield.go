package actors

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// handover is what a partition knows of being handed to another node.
type handover struct {
	// epoch is the one under which nothing new is accepted; nil: nothing is handed over. It stays when that epoch is over: it
	// never comes again, and a call that still goes by it must be refused.
	epoch atomic.Pointer[persistence.Epoch]
	live  atomic.Int64 // activations of the partition, in any state
	ended atomic.Int64 // of them, ever
	saves atomic.Int64 // snapshots and pieces on their way

	mu      sync.Mutex
	resumes bool            // it is taken up again when no snapshot is on its way
	wakes   []chan struct{} // of those who wait for a change; each holds 1
	waits   atomic.Int32    // how many those are
}

// What the next owner of an activation may have to replay: about a millisecond's worth.
const (
	shortJournalEntries = 256
	shortJournalBytes   = 64 << 10
)

// prepareLook is how often Prepare looks whether the snapshots are stored.
const prepareLook = 2 * time.Millisecond

// Prepare has the activations of p saved that have a long journal since their newest snapshot, while they go on: so that the next
// owner has little to replay, and the pause of a handover is short. It returns when those snapshots are stored, or when ctx ends:
// it is no more than a help. Any goroutine may call it, before Yield.
func (h *Host) Prepare(ctx context.Context, p persistence.Partition) {
	if int(p) >= len(h.partitions) {
		return
	}
	for _, s := range h.shardsOf(p) {
		for _, a := range s.list(func(a *activation) bool { return a.state == active }) {
			h.tell(a, shorten)
		}
	}
	look := time.NewTicker(prepareLook)
	defer look.Stop()
	for quiet := 0; quiet < 2; quiet++ { // those that were told may not have begun at the first look
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		if h.partitions[p].handover.saves.Load() > 0 {
			quiet = -1
		}
	}
}

// Yield hands partition p over to whoever owns it next: from now on new calls for it are answered [persistence.ErrNotOwner],
// and nothing was applied. What was accepted before is finished and answered, except that a SavePlayer or SaveWorld which
// still waits gets ErrNotOwner, too: the next owner saves. Every activation brings its events to the journal, those of
// MEMORY commands as well, and stops without a snapshot; one that is on its way may be accepted later, or never.
//
// It returns nil when nothing of p is in memory, which is at once when p is not owned here, and soon when it is lost
// meanwhile. It returns ctx's cause when ctx ended before, and [persistence.ErrFenced] when p was claimed under a newer
// epoch meanwhile, which ends the handover. After an error, or when the next owner does not come, call [Host.Resume].
// Any goroutine may call it, while [Host.Run] is running.
func (h *Host) Yield(ctx context.Context, p persistence.Partition) error {
	if int(p) >= len(h.partitions) { // the meta partition has no entities
		return nil
	}
	of := &h.partitions[p]
	wake, end := of.handover.watch()
	defer end()
	epoch := of.epoch.Load()
	if epoch != nil {
		of.handover.begin(epoch)
		h.budgets.left(p)
	}
	began := h.now()
	told, before := int64(0), of.handover.ended.Load()
	for _, s := range h.shardsOf(p) {
		for _, a := range s.list(func(*activation) bool { return true }) {
			some := func() bool { return told-(of.handover.ended.Load()-before) < maxEndings }
			if err := of.until(ctx, epoch, wake, some); err != nil {
				return err
			}
			if h.tell(a, handOver) {
				told++
			} else {
				h.giveUpPaused(a)
			}
		}
	}
	err := of.until(ctx, epoch, wake, func() bool { return of.handover.live.Load() == 0 })
	h.log.LogAttrs(ctx, slog.LevelDebug, "partition yielded", slog.Int("partition", int(p)), slog.Int64("activations", told),
		slog.Duration("duration", h.now()-began), slog.Any("err", err))
	return err
}

// Resume takes p up again under the same epoch: the handover did not come about. Snapshots that were on their way when
// their activations stopped are waited for, so that nothing is loaded while they change what is stored: until then calls
// are still answered [persistence.ErrNotOwner]. Without a Yield before, it does nothing. Any goroutine may call it, after
// Yield has returned.
func (h *Host) Resume(p persistence.Partition) {
	if int(p) >= len(h.partitions) {
		return
	}
	of := &h.partitions[p].handover
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.resumes = true; of.saves.Load() == 0 {
		of.epoch.Store(nil)
	}
}

// until waits until done reports true. It looks whenever an activation of the partition ended, and when its epoch changed.
func (of *partition) until(ctx context.Context, epoch *persistence.Epoch, wake <-chan struct{}, done func() bool) error {
	for {
		if now := of.epoch.Load(); now != nil && (epoch == nil || *now != *epoch) {
			return persistence.ErrFenced
		}
		if done() {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// yields reports whether the partition accepts nothing new under epoch.
func (of *partition) yields(epoch persistence.Epoch) bool {
	yielded := of.handover.epoch.Load()
	return yielded != nil && *yielded == epoch
}

// begin makes the partition accept nothing new under epoch.
func (y *handover) begin(epoch *persistence.Epoch) {
	y.mu.Lock()
	y.resumes = false
	y.epoch.Store(epoch)
	y.mu.Unlock()
}

// watch returns what is written to when something changed, and what ends that.
func (y *handover) watch() (<-chan struct{}, func()) {
	wake := make(chan struct{}, 1)
	y.mu.Lock()
	defer y.mu.Unlock()
	y.wakes = append(y.wakes, wake)
	y.waits.Add(1)
	return wake, func() {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.wakes = slices.DeleteFunc(y.wakes, func(other chan struct{}) bool { return other == wake })
		y.waits.Add(-1)
	}
}

func (y *handover) wake() {
	if y.waits.Load() == 0 {
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, wake := range y.wakes {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// saving counts a snapshot, or a piece of one, that is handed to the journal.
func (y *handover) saving() { y.saves.Add(1) }

// saved uncounts it, after the journal's last word.
func (y *handover) saved() {
	if y.saves.Add(-1) > 0 || y.epoch.Load() == nil {
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.resumes && y.saves.Load() == 0 {
		y.epoch.Store(nil)
	}
}

// giveUpPaused answers what waits for a load that failed and is to be tried again: nothing was done for it. Loads that
// are under way are finished: they are short.
func (h *Host) giveUpPaused(a *activation) {
	a.shard.mu.Lock()
	paused := a.state == loading && a.paused
	a.shard.mu.Unlock()
	if paused {
		h.giveUp(a, persistence.ErrNotOwner)
	}
}

// pause notes that the load of a has failed and is tried again, unless its partition is being handed over.
func (h *Host) pause(a *activation) {
	a.shard.mu.Lock()
	a.paused = true
	a.shard.mu.Unlock()
	if h.partitions[a.partition].yields(a.epoch) {
		h.giveUp(a, persistence.ErrNotOwner)
	}
}

// yield begins to leave without a snapshot. What is on its way of one goes on by itself.
func (a *activation) yield() {
	a.leaveBy(yielding, byHandover)
	if a.mode != yielding {
		return
	}
	a.dropPartSaves()
	a.save = nil
	a.refuseHeldUp()
}

// refuseHeldUp answers the calls that wait for chunks whose loads fail: nothing was done for them.
func (a *activation) refuseHeldUp() {
	if a.parts == nil || !a.parts.alarm {
		return
	}
	for _, c := range a.parts.waiting {
		a.host.answer(a, c, nil, persistence.ErrNotOwner)
	}
	a.parts.waiting, a.parts.page, a.parts.holder = nil, nil, nil
}

// answerUnsavedByHandover answers the calls that wait for a snapshot, when everything that they did is in the journal.
func (a *activation) answerUnsavedByHandover() {
	for _, w := range a.saveWaiters {
		switch w.call.Request.GetRequest().(type) {
		case *skerryv1.Request_SavePlayer, *skerryv1.Request_SaveWorld:
			a.host.answer(a, w.call, nil, persistence.ErrNotOwner)
		default:
			a.host.answer(a, w.call, w.response, w.err)
		}
	}
	a.saveWaiters = nil
}
