package actors

import (
	"context"
	"log/slog"

	"github.com/skerry-dev/skerry/persistence"
)

// Forget ends all activations of a space without saving, as [Host.ForgetIn] does, in every partition.
func (h *Host) Forget(ctx context.Context, space string) (n int) {
	for p := range h.partitions {
		n += h.ForgetIn(ctx, persistence.Partition(p), space) //nolint:gosec // at most 4096
	}
	return n
}

// ForgetIn ends all activations of a space in a partition without saving, and forgets its servers and their events: its entities were
// erased, and storage would refuse what they write. Everything that waits in them is answered with [persistence.ErrOutcomeUnknown] or
// an error that says less; the next call activates from storage. It returns how many those were. Call it after the space was erased.
func (h *Host) ForgetIn(ctx context.Context, p persistence.Partition, space string) int {
	if int(p) >= len(h.partitions) { // the meta partition has no entities
		return 0
	}
	h.servers.erased(p, space)
	n := 0
	for _, s := range h.shardsOf(p) {
		ends := s.list(func(a *activation) bool { return a.partition == p && a.key.Space == space })
		for _, a := range ends {
			h.giveUp(a, persistence.ErrOutcomeUnknown)
			a.wrong(persistence.ErrOutcomeUnknown)
		}
		n += len(ends)
	}
	h.log.LogAttrs(ctx, slog.LevelDebug, "space erased", slog.Int("partition", int(p)), slog.String("space", space), slog.Int("activations", n))
	return n
}
