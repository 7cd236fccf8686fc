package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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

// Verify reads everything in a data directory, store and log, and changes nothing. It calls report with each problem. It
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
	}
	return v, nil
}
