package actors

import (
	"strings"
	"sync"
	"unique"

	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/persistence"
)

// minShards is the least number of shards, so that many cores seldom meet at one lock.
const minShards = 64

// slotState says what may reach an activation.
type slotState uint8

const (
	loading  slotState = iota // no actor yet: calls wait
	active                    // calls go to the actor's mailbox
	stopping                  // calls wait for the next activation, the host's own messages still arrive
	gone                      // nothing reaches it any more; it leaves its shard when its actor has stopped
)

// shard holds the activations of a part of a partition's keys: one place per key.
type shard struct {
	mu          sync.Mutex
	activations map[persistence.Key]*activation
}

// slot is the part of an activation that its shard's lock guards.
type slot struct {
	state   slotState
	paused  bool     // its load has failed and is tried again
	mailbox *mailbox // nil before it was published
	waiting []*Call  // while not active; bounded by MailboxSize
}

func (h *Host) partitionOf(key persistence.Key) persistence.Partition {
	return persistence.PartitionOf(key, len(h.partitions))
}

func (h *Host) shardOf(p persistence.Partition, id string) *shard {
	i := int(p) * h.shardsPer
	if h.shardsPer > 1 {
		i += int(xxh3.HashString(id) % uint64(h.shardsPer)) //nolint:gosec // 2 to 64
	}
	return h.shards[i]
}

// shardsOf are the shards of a partition.
func (h *Host) shardsOf(p persistence.Partition) []*shard {
	return h.shards[int(p)*h.shardsPer : (int(p)+1)*h.shardsPer]
}

// route counts a call and gives it to its activation, making one when there is none.
func (h *Host) route(call *Call) {
	n := h.calls.Add(1)
	if h.draining.Load() { // after counting: Shutdown waits for all that came before
		h.answer(nil, call, nil, ErrDraining)
		return
	}
	if n > int64(h.opts.MaxCalls) {
		h.answer(nil, call, nil, ErrOverloaded)
		return
	}
	p := h.partitionOf(call.Key)
	s := h.shardOf(p, call.Key.ID)
	s.mu.Lock()
	a, err := h.findLocked(s, call.Key, p)
	if err == nil && int(a.pending.Load()) >= h.opts.MailboxSize {
		err = ErrMailboxFull
	}
	if err != nil {
		s.mu.Unlock()
		h.answer(nil, call, nil, err)
		return
	}
	if a.pending.Add(1); a.state != active {
		if call.charge != nil && a.state == loading && len(a.waiting) == 0 { // it was made for this call
			h.spendLocked(call, a)
		}
		a.waiting = append(a.waiting, call)
		s.mu.Unlock()
		return
	}
	a.queued.Add(1) // before sending, under the lock: the activation does not stop while anything is on its way to it
	s.mu.Unlock()
	a.mailbox.post(call)
}

// findLocked returns the activation of key, perhaps a new one that is being loaded.
func (h *Host) findLocked(s *shard, key persistence.Key, p persistence.Partition) (*activation, error) {
	epoch := h.partitions[p].epoch.Load()
	if epoch == nil || h.partitions[p].yields(*epoch) { // under the lock: Yield looks into every shard after setting it
		return nil, persistence.ErrNotOwner
	}
	if a := s.activations[key]; a != nil {
		return a, nil
	}
	if err := key.Validate(); err != nil {
		return nil, err
	}
	return h.addLocked(s, key, p, *epoch)
}

// addLocked makes an activation and queues its load.
func (h *Host) addLocked(s *shard, key persistence.Key, p persistence.Partition, epoch persistence.Epoch) (*activation, error) {
	if h.ending.abandoned.Load() { // under the lock: abandon looks into every shard after setting it
		return nil, ErrDraining
	}
	key.Space = unique.Make(key.Space).Value() // held for long: not as a piece of somebody's message
	key.ID = strings.Clone(key.ID)
	a := &activation{host: h, shard: s, key: key, partition: p, epoch: epoch}
	select {
	case h.loads <- a: // a loader that takes it at once waits for the shard's lock before it publishes
	default:
		return nil, ErrOverloaded
	}
	s.activations[key] = a
	h.live.Add(1)
	h.partitions[p].handover.live.Add(1)
	return a, nil
}

// publish makes a loaded activation's actor, and lets the calls that waited go to it before any later one.
func (h *Host) publish(a *activation) {
	s := a.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.state == gone { // the partition was lost meanwhile
		return
	}
	waiting := a.waiting
	a.state, a.waiting = active, nil
	a.queued.Add(int32(1 + len(waiting))) //nolint:gosec // at most MailboxSize
	h.system.spawn(a)
	for _, call := range waiting {
		a.mailbox.post(call)
	}
	if h.partitions[a.partition].yields(a.epoch) {
		a.queued.Add(1)
		a.mailbox.post(handOver)
	}
}

// giveUp removes an activation that has no actor yet and answers everything that waits for it with err.
func (h *Host) giveUp(a *activation, err error) {
	s := a.shard
	s.mu.Lock()
	if a.state != loading {
		s.mu.Unlock()
		return
	}
	waiting := a.waiting
	a.state, a.waiting = gone, nil
	delete(s.activations, a.key)
	s.mu.Unlock()
	for _, call := range waiting {
		h.answer(a, call, nil, err)
	}
	h.leave(a)
}

// tell sends the activation a message of the host's own. It reports false when there is no actor that could get it.
func (h *Host) tell(a *activation, m any) bool {
	a.shard.mu.Lock()
	if a.state == loading || a.state == gone {
		a.shard.mu.Unlock()
		return false
	}
	a.queued.Add(1)
	a.shard.mu.Unlock()
	a.mailbox.post(m)
	return true
}

// unroute makes further calls wait for the next activation.
func (a *activation) unroute() {
	a.shard.mu.Lock()
	if a.state == active {
		a.state = stopping
	}
	a.shard.mu.Unlock()
}

// unrouteIf is unroute on the condition that idle reports true under the lock.
func (a *activation) unrouteIf(idle func() bool) bool {
	a.shard.mu.Lock()
	defer a.shard.mu.Unlock()
	if a.state != active || !idle() {
		return false
	}
	a.state = stopping
	return true
}

// depart stops the actor when nothing is on its way to it; else it does nothing and is called again after that arrived.
func (a *activation) depart() {
	a.shard.mu.Lock()
	if a.queued.Load() != 0 || a.state == gone {
		a.shard.mu.Unlock()
		return
	}
	a.state = gone
	a.shard.mu.Unlock()
	a.host.system.stop(a.mailbox)
}

// terminated frees the key of an activation whose actor has stopped; the calls that waited go to the next one.
func (h *Host) terminated(a *activation) {
	h.autosave.remove(a)
	h.budgets.forget(a)
	h.heldSize.Add(-a.size.Load())
	a.gate.Fail(a, persistence.ErrOutcomeUnknown) // nothing waits, unless the actor was stopped from outside

	s := a.shard
	s.mu.Lock()
	waiting := a.waiting
	if a.handedOver != nil {
		waiting = append(*a.handedOver, waiting...)
	}
	a.state, a.waiting, a.handedOver = gone, nil, nil
	delete(s.activations, a.key)
	err := h.succeedLocked(s, a, waiting)
	s.mu.Unlock()

	if err != nil {
		for _, call := range waiting {
			h.answer(nil, call, nil, err)
		}
	}
	if h.opts.Events.Passivated != nil {
		h.opts.Events.Passivated(a.key, a.reason.String())
	}
	h.ended(a)
	h.leave(a)
}

// succeedLocked gives the calls that waited for the end of a to a new activation.
func (h *Host) succeedLocked(s *shard, a *activation, waiting []*Call) error {
	if len(waiting) == 0 {
		return nil
	}
	epoch := h.partitions[a.partition].epoch.Load()
	if epoch == nil {
		return persistence.ErrNotOwner
	}
	next, err := h.addLocked(s, a.key, a.partition, *epoch)
	if err != nil {
		return err
	}
	for _, call := range waiting {
		if call.charge != nil && !call.charge.spent {
			h.spendLocked(call, next)
			break
		}
	}
	next.waiting = waiting
	next.pending.Store(int32(len(waiting))) //nolint:gosec // at most MailboxSize and what was handed over
	return nil
}

// leave uncounts an activation.
func (h *Host) leave(a *activation) {
	y := &h.partitions[a.partition].handover
	y.live.Add(-1)
	y.ended.Add(1)
	y.wake()
	if h.live.Add(-1) == 0 {
		h.hint()
	}
}
