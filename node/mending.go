package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// mendTimeout bounds asking the other replicas for what is damaged here: a load waits for it.
const mendTimeout = 10 * time.Second

// mender repairs values with those of other replicas; replication.Host is one.
type mender interface {
	Mend(ctx context.Context, p persistence.Partition, key persistence.Key, part persistence.Part) (int, error)
}

// mending is a store whose damaged values are mended from other replicas when they are met, and then read again. Without another
// replica it is the store: an older snapshot and the journal, or [persistence.ErrCorrupt].
type mending struct {
	persistence.Storage

	mender mender
	// replicas reports how many nodes have p.
	replicas func(p persistence.Partition) int
	log      *slog.Logger
}

// Load implements [persistence.Storage].
func (m *mending) Load(ctx context.Context, p persistence.Partition, key persistence.Key) (*persistence.Loaded, error) {
	loaded, err := m.Storage.Load(ctx, p, key)
	damaged := errors.Is(err, persistence.ErrCorrupt) || err == nil && loaded.Quarantined > 0
	if !damaged || !m.mend(ctx, p, key, "") {
		return loaded, err
	}
	return m.Storage.Load(ctx, p, key)
}

// LoadPart implements [persistence.Storage].
func (m *mending) LoadPart(ctx context.Context, p persistence.Partition, key persistence.Key, part persistence.Part) (persistence.Snapshot, int, error) {
	snapshot, quarantined, err := m.Storage.LoadPart(ctx, p, key, part)
	damaged := errors.Is(err, persistence.ErrCorrupt) || err == nil && quarantined > 0
	if !damaged || !m.mend(ctx, p, key, part) {
		return snapshot, quarantined, err
	}
	return m.Storage.LoadPart(ctx, p, key, part)
}

// mend reports whether anything was repaired.
func (m *mending) mend(ctx context.Context, p persistence.Partition, key persistence.Key, part persistence.Part) bool {
	if m.replicas(p) < 2 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, mendTimeout)
	defer cancel()
	values, err := m.mender.Mend(ctx, p, key, part)
	level := slog.LevelWarn
	if values == 0 && err != nil {
		level = slog.LevelError
	}
	m.log.LogAttrs(ctx, level, "damaged values mended from another replica", append([]slog.Attr{
		slog.String("entity", key.String()), slog.String("part", string(part)), slog.Int("values", values),
	}, failure(err)...)...)
	return values > 0
}

// replicasIn counts who has a partition, as far as this node knows.
func (n *Node) replicasIn(p persistence.Partition) int {
	for _, s := range n.journal.Status() {
		if s.Partition == p {
			return len(s.Replicas)
		}
	}
	return 0
}
