package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// Verified is what [Verify] counted.
type Verified struct {
	Store pebblestore.Summary
	Log   replication.Summary
	// Problems is how many were reported.
	Problems int
}

// ErrNoData says that a directory is none that a node keeps its data in.
var ErrNoData = errors.New("no data directory of a node")

// Verify reads everything in a data directory, store and log, compares where they end, and changes nothing. It calls report with each problem. It
// returns an error when it could not look: [ErrNoData], or a node runs on it.
func Verify(ctx context.Context, fs pebblestore.FS, data string, report func(error)) (Verified, error) {
	var v Verified
	if _, err := fs.Stat(filepath.Join(data, storeDir)); errors.Is(err, os.ErrNotExist) {
		return v, fmt.Errorf("%w: %s has no %s in it", ErrNoData, data, storeDir)
	}
	found := func(err error) {
		v.Problems++
		report(err)
	}
	applied := map[persistence.Partition]uint64{}
	store, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: filepath.Join(data, storeDir), ReadOnly: true}) //nolint:contextcheck // the store's own goroutines have no caller
	switch {
	case errors.Is(err, persistence.ErrCorrupt):
		found(fmt.Errorf("store: %w", err))
	case err != nil:
		return v, fmt.Errorf("data directory %s: %w", data, err)
	default:
		v.Store, err = store.Verify(ctx, func(p pebblestore.Problem) {
			place := fmt.Sprintf("store, partition %d", p.Partition)
			if p.Key != (persistence.Key{}) {
				place += ", " + p.Key.String()
			}
			found(fmt.Errorf("%s: %w", place, p.Err))
		})
		for _, p := range partitionsOf(store) {
			index, _, failed := store.Applied(p)
			if failed == nil { // else Verify has reported it
				applied[p] = index
			}
		}
		if err = errors.Join(err, store.Close()); err != nil {
			return v, fmt.Errorf("verify the store: %w", err)
		}
	}
	v.Log, err = replication.Verify(fs, filepath.Join(data, logDir))
	var corrupt *replication.CorruptError
	switch {
	case errors.As(err, &corrupt):
		found(err)
	case err != nil:
		return v, fmt.Errorf("verify the log: %w", err)
	default:
		for _, p := range slices.Sorted(maps.Keys(applied)) {
			if err := v.Log.Check(p, applied[p]); err != nil {
				found(fmt.Errorf("store and log: %w", err))
			}
		}
	}
	return v, nil
}

// partitionsOf returns every partition that has a log.
func partitionsOf(store *pebblestore.Store) []persistence.Partition {
	all := []persistence.Partition{persistence.MetaPartition}
	for p := range store.Partitions() {
		all = append(all, persistence.Partition(p)) //nolint:gosec // bounded when the store was made
	}
	return all
}
