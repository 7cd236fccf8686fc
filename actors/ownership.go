package actors

import (
	"log/slog"

	"github.com/skerry-dev/skerry/persistence"
)

var _ persistence.Ownership = (*Host)(nil)

// Claimed implements [persistence.Ownership]: from now on the partition's calls activate under epoch.
func (h *Host) Claimed(p persistence.Partition, epoch persistence.Epoch) {
	if int(p) >= len(h.partitions) { // the meta partition has no entities
		return
	}
	before := h.partitions[p].epoch.Swap(&epoch)
	if before != nil && *before != epoch {
		h.forsake(p, *before)
	}
	h.partitions[p].handover.wake()
	h.log.LogAttrs(noContext, slog.LevelDebug, "partition claimed", slog.Int("partition", int(p)), slog.String("epoch", epoch.String()))
	if h.hooks.claimed != nil {
		h.hooks.claimed(p, epoch)
	}
}

// Lost implements [persistence.Ownership]: everything that waits in the partition's activations is answered with
// [persistence.ErrOutcomeUnknown], calls without a turn with [persistence.ErrNotOwner], and the activations stop without
// saving: the next owner's are the truth.
func (h *Host) Lost(p persistence.Partition, epoch persistence.Epoch) {
	if int(p) >= len(h.partitions) {
		return
	}
	if now := h.partitions[p].epoch.Load(); now != nil && *now == epoch {
		h.partitions[p].epoch.CompareAndSwap(now, nil)
	}
	h.partitions[p].handover.wake()
	stopped := h.forsake(p, epoch)
	h.budgets.left(p)
	h.log.LogAttrs(noContext, slog.LevelDebug, "partition lost", slog.Int("partition", int(p)), slog.String("epoch", epoch.String()),
		slog.Int("activations", stopped))
	if h.hooks.lost != nil {
		h.hooks.lost(p, epoch)
	}
}

// forsake ends the partition's activations of an epoch, and returns how many those were. It comes after the change of the
// epoch: a call that takes a shard's lock later sees it, one that took it earlier made an activation that is found here.
func (h *Host) forsake(p persistence.Partition, epoch persistence.Epoch) int {
	n := 0
	for _, s := range h.shardsOf(p) {
		ends := s.list(func(a *activation) bool { return a.epoch == epoch })
		for _, a := range ends {
			h.giveUp(a, persistence.ErrNotOwner)
			a.wrong(persistence.ErrNotOwner)
			h.tell(a, drop) // one that was wrong before may still wait for its changes
		}
		n += len(ends)
	}
	return n
}

// list returns the shard's activations of which is reports true.
func (s *shard) list(is func(*activation) bool) []*activation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*activation
	for _, a := range s.activations {
		if is(a) {
			found = append(found, a)
		}
	}
	return found
}
