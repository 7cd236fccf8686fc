package pebblestore

import (
	"bytes"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// view is one partition at one moment. It is no pebble.Snapshot: a copy that is committed, or a partition that is dropped,
// shows through that one, and a load would take what is hidden for absent.
type view struct {
	*pebble.EventuallyFileOnlySnapshot
}

// view returns what p is now. The caller closes it, also after an error.
func (s *Store) view(p persistence.Partition) (view, error) {
	err := s.settle(p)
	lower, upper := partitionRange(p)
	return view{s.db.NewEventuallyFileOnlySnapshot([]pebble.KeyRange{{Start: lower, End: upper}})}, err
}

// Get implements [pebble.Reader]. Pebble's own takes a value that cannot be read for an empty one.
func (v view) Get(key []byte) ([]byte, io.Closer, error) {
	it, err := v.NewIter(nil)
	if err != nil {
		return nil, nil, err
	}
	if !it.SeekPrefixGE(key) || !bytes.Equal(it.Key(), key) {
		if err = errors.Join(it.Error(), it.Close()); err == nil {
			err = pebble.ErrNotFound
		}
		return nil, nil, err
	}
	value, err := it.ValueAndErr()
	if err != nil {
		_ = it.Close() // with the same error
		return nil, nil, err
	}
	return value, it, nil
}
