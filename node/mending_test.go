package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// damagedStore has one entity, whose newest values do not verify until they are mended.
type damagedStore struct {
	persistence.Storage

	err         error
	quarantined int
	mended      int
	asked       []persistence.Part
	refuses     error
}

func (d *damagedStore) Load(context.Context, persistence.Partition, persistence.Key) (*persistence.Loaded, error) {
	if d.mended > 0 {
		return &persistence.Loaded{Head: persistence.Head{Last: 9}}, nil
	}
	if d.err != nil {
		return nil, d.err
	}
	return &persistence.Loaded{Head: persistence.Head{Last: 9}, Quarantined: d.quarantined}, nil
}

func (d *damagedStore) LoadPart(context.Context, persistence.Partition, persistence.Key, persistence.Part) (persistence.Snapshot, int, error) {
	if d.mended > 0 {
		return persistence.Snapshot{Seq: 9}, 0, nil
	}
	return persistence.Snapshot{Seq: 5}, d.quarantined, d.err
}

func (d *damagedStore) Mend(_ context.Context, _ persistence.Partition, _ persistence.Key, part persistence.Part) (int, error) {
	d.asked = append(d.asked, part)
	if d.refuses != nil {
		return 0, d.refuses
	}
	d.mended++
	return 1, nil
}

// Goal: what does not verify here is mended from another replica before anybody is told that it is corrupt, and only then.
func TestDamagedValuesAreMended(t *testing.T) {
	key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "a"}
	other := errors.New("a disk that does not answer")
	for name, tt := range map[string]struct {
		store    damagedStore
		replicas int
		asked    int
		err      error
	}{
		"corrupt":               {store: damagedStore{err: persistence.ErrCorrupt}, replicas: 3, asked: 1},
		"stepped around":        {store: damagedStore{quarantined: 1}, replicas: 3, asked: 1},
		"whole":                 {replicas: 3},
		"absent":                {store: damagedStore{err: persistence.ErrAbsent}, replicas: 3, err: persistence.ErrAbsent},
		"another failure":       {store: damagedStore{err: other}, replicas: 3, err: other},
		"corrupt, no replica":   {store: damagedStore{err: persistence.ErrCorrupt}, replicas: 1, err: persistence.ErrCorrupt},
		"corrupt, nobody helps": {store: damagedStore{err: persistence.ErrCorrupt, refuses: errors.New("no")}, replicas: 2, asked: 1, err: persistence.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			whole, part := tt.store, tt.store
			m := &mending{Storage: &whole, mender: &whole, replicas: func(persistence.Partition) int { return tt.replicas }, log: slog.New(slog.DiscardHandler)}
			loaded, err := m.Load(t.Context(), 0, key)
			if !errors.Is(err, tt.err) || len(whole.asked) != tt.asked || err == nil && loaded.Quarantined > 0 {
				t.Errorf("load: %+v, %v, asked %d times", loaded, err, len(whole.asked))
			}
			m.Storage, m.mender = &part, &part
			snapshot, quarantined, err := m.LoadPart(t.Context(), 0, key, "c/1/2")
			if !errors.Is(err, tt.err) || len(part.asked) != tt.asked || err == nil && quarantined > 0 {
				t.Errorf("part: %+v, %d, %v, asked %d times", snapshot, quarantined, err, len(part.asked))
			}
			if tt.asked > 0 && part.asked[0] != "c/1/2" {
				t.Errorf("asked for part %q", part.asked[0])
			}
		})
	}
}
