package actors

import (
	"context"
	"log/slog"

	"github.com/skerry-dev/skerry/persistence"
)

// Forget ends all activations of a space without saving, and forgets its servers and their events: its entities were erased, and storage would refuse what they
// write. Everything that waits in them is answered with [persistence.ErrOutcomeUnknown] or an error that says less; the
// next call activates from storage. It returns how many those were. Call it after the space was erased.
func (h *Host) Forget(ctx context.Context, space string) int {
	h.servers.erased(space)
	n := 0
	for _, s := range h.shards {
		ends := s.list(func(a *activation) bool { return a.key.Space == space })
		for _, a := range ends {
			h.giveUp(a, persistence.ErrOutcomeUnknown)
			a.wrong(persistence.ErrOutcomeUnknown)
		}
		n += len(ends)
	}
	h.log.LogAttrs(ctx, slog.LevelInfo, "space erased", slog.String("space", space), slog.Int("activations", n))
	return n
}
