package pebblestore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// storeFormat is the version of the keys and values in DESIGN.md.
const storeFormat = 1

// info is what was fixed when the store was made.
type info struct {
	format     int
	partitions int
	id         string
}

func infoKey() []byte { return append(appendPartition(nil, localPrefix), localInfo) }

// openInfo reads the info, or writes it when the store is new. What is not ours is not touched.
func openInfo(db *pebble.DB, o Options) (info, error) {
	value, closer, err := db.Get(infoKey())
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return makeInfo(db, o)
	case err != nil:
		return info{}, fmt.Errorf("read what the store is: %w", readError(err))
	}
	defer closer.Close()
	r := fields{left: value}
	in := info{format: int(r.uvarint())} //nolint:gosec // compared only
	if in.format > storeFormat {
		return info{}, fmt.Errorf("%w: store format %d, this build knows %d", persistence.ErrNewer, in.format, storeFormat)
	}
	in.partitions = int(r.uvarint()) //nolint:gosec // checked below
	in.id = hex.EncodeToString(r.left)
	if r.bad || in.format != storeFormat || in.partitions < 1 || in.partitions > maxPartitions || len(in.id) != 32 {
		return info{}, fmt.Errorf("%w: the record of what the store is does not decode: %x", persistence.ErrCorrupt, value)
	}
	return in, nil
}

func makeInfo(db *pebble.DB, o Options) (info, error) {
	it, err := db.NewIter(nil)
	if err != nil {
		return info{}, fmt.Errorf("look for what the store has: %w", readError(err))
	}
	something := it.First()
	if err = errors.Join(it.Error(), it.Close()); err != nil {
		return info{}, fmt.Errorf("look for what the store has: %w", readError(err))
	}
	if something || o.ReadOnly {
		return info{}, fmt.Errorf("%w: no record of what the store is: this is no store of Skerry's", persistence.ErrCorrupt)
	}
	id := make([]byte, 16)
	if _, err = rand.Read(id); err != nil {
		return info{}, fmt.Errorf("draw the store's id: %w", err)
	}
	value := append([]byte{storeFormat}, appendUvarints(nil, uint64(o.Partitions))...) //nolint:gosec // 1 to 4096
	if err = db.Set(infoKey(), append(value, id...), pebble.NoSync); err != nil {
		return info{}, fmt.Errorf("write what the store is: %w", err)
	}
	if err = db.Flush(); err != nil {
		return info{}, fmt.Errorf("write what the store is: %w", err)
	}
	return info{format: storeFormat, partitions: o.Partitions, id: hex.EncodeToString(id)}, nil
}
