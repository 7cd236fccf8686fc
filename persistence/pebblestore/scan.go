package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// Entities implements [persistence.Storage]; it reads heads only.
func (s *Store) Entities(ctx context.Context, p persistence.Partition, space string, kind persistence.Kind, afterID string, limit int) ([]string, error) {
	if err := s.enterSpace(ctx, space); err != nil {
		return nil, fmt.Errorf("list entities: %w", err)
	}
	defer s.leave()
	if err := s.settle(p); err != nil {
		return nil, fmt.Errorf("list entities: %w", err)
	}
	prefix := appendTable(nil, p, space, tableHeads, kind)
	var ids []string
	err := scan(ctx, s.db, following(prefix, afterID), after(prefix), func(key, _ []byte) (bool, error) {
		if len(ids) >= limit {
			return false, nil
		}
		ids = append(ids, string(key[len(prefix):]))
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list entities: %w", err)
	}
	return ids, nil
}

// Marks implements [persistence.Storage].
func (s *Store) Marks(ctx context.Context, p persistence.Partition, space, name string, afterKey persistence.Key, limit int) ([]persistence.MarkOf, error) {
	if err := s.enterSpace(ctx, space); err != nil {
		return nil, fmt.Errorf("list marks: %w", err)
	}
	defer s.leave()
	prefix := appendMarks(nil, p, space, name)
	lower := prefix
	if afterKey != (persistence.Key{}) {
		lower = following(append(slices.Clone(prefix), byte(afterKey.Kind)), afterKey.ID)
	}
	var marks []persistence.MarkOf
	err := scan(ctx, s.db, lower, after(prefix), func(key, value []byte) (bool, error) {
		if len(marks) >= limit {
			return false, nil
		}
		of := key[len(prefix):]
		marks = append(marks, persistence.MarkOf{
			Key:   persistence.Key{Space: space, Kind: persistence.Kind(of[0]), ID: string(of[1:])},
			Value: bytes.Clone(value),
		})
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list marks: %w", err)
	}
	return marks, nil
}

// Parts implements [persistence.Storage]; it reads heads only.
func (s *Store) Parts(ctx context.Context, p persistence.Partition, key persistence.Key, namePrefix, afterName string, limit int) ([]persistence.Part, error) {
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("list parts: %w", err)
	}
	if err := s.enterContext(ctx); err != nil {
		return nil, fmt.Errorf("list parts: %w", err)
	}
	defer s.leave()
	heads := appendPartHeads(nil, p, key)
	lower := append(slices.Clone(heads), namePrefix...)
	upper := after(lower)
	if afterName >= namePrefix {
		lower = following(heads, afterName)
	}
	var parts []persistence.Part
	if bytes.Compare(lower, upper) >= 0 {
		return nil, nil
	}
	err := scan(ctx, s.db, lower, upper, func(key, value []byte) (bool, error) {
		if len(parts) >= limit {
			return false, nil
		}
		h, err := decodeHead(value)
		if err != nil {
			return false, fmt.Errorf("part %q: %w", key[len(heads):], err)
		}
		if h.count > 0 && !h.snapshots[0].gone {
			parts = append(parts, persistence.Part(key[len(heads):]))
		}
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list parts of %s: %w", key, err)
	}
	return parts, nil
}

// following is the least key after prefix and id; prefix itself when id is "".
func following(prefix []byte, id string) []byte {
	if id == "" {
		return prefix
	}
	return append(append(slices.Clone(prefix), id...), 0)
}

// Spaces implements [persistence.Storage]; it seeks from one space to the next.
func (s *Store) Spaces(ctx context.Context, p persistence.Partition) ([]string, error) {
	if err := s.enterContext(ctx); err != nil {
		return nil, fmt.Errorf("list spaces: %w", err)
	}
	defer s.leave()
	if err := s.settle(p); err != nil {
		return nil, fmt.Errorf("list spaces: %w", err)
	}
	lower, upper := partitionRange(p)
	lower = append(lower, 1) // after p's own records
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("list spaces: %w", readError(err))
	}
	var spaces []string
	for it.First(); it.Valid() && err == nil; {
		space, _, _ := bytes.Cut(it.Key()[2:], []byte{0})
		spaces = append(spaces, string(space))
		it.SeekGE(after(appendSpace(nil, p, string(space))))
		err = ctx.Err()
	}
	if err = errors.Join(err, readIterError(it)); err != nil {
		return nil, fmt.Errorf("list spaces: %w", err)
	}
	return spaces, nil
}

// Record implements [persistence.Storage].
func (s *Store) Record(ctx context.Context, name string) ([]byte, error) {
	if err := s.enterContext(ctx); err != nil {
		return nil, fmt.Errorf("read record %s: %w", name, err)
	}
	defer s.leave()
	value, err := get(s.db, append(appendOwn(nil, persistence.MetaPartition, partRecord), name...))
	if err == nil && value == nil {
		err = persistence.ErrAbsent
	}
	if err != nil {
		return nil, fmt.Errorf("read record %s: %w", name, err)
	}
	return value, nil
}

// Records implements [persistence.Storage].
func (s *Store) Records(ctx context.Context, prefix string, limit int) ([]persistence.Record, error) {
	if err := s.enterContext(ctx); err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	defer s.leave()
	own := appendOwn(nil, persistence.MetaPartition, partRecord)
	lower := append(slices.Clone(own), prefix...)
	var records []persistence.Record
	err := scan(ctx, s.db, lower, after(lower), func(key, value []byte) (bool, error) {
		if len(records) >= limit {
			return false, nil
		}
		records = append(records, persistence.Record{Name: string(key[len(own):]), Value: append([]byte{}, value...)})
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	return records, nil
}

// Digest is a hash over every key and value in p's range: replicas that applied the same log have the same one.
func (s *Store) Digest(ctx context.Context, p persistence.Partition) (uint64, error) {
	if err := s.enterContext(ctx); err != nil {
		return 0, fmt.Errorf("digest partition %d: %w", p, err)
	}
	defer s.leave()
	if err := s.settle(p); err != nil {
		return 0, fmt.Errorf("digest partition %d: %w", p, err)
	}
	var sum rangeSum
	lower, upper := partitionRange(p)
	err := scan(ctx, s.db, lower, upper, func(key, value []byte) (bool, error) {
		sum.add(key, value)
		return true, nil
	})
	if err != nil {
		return 0, fmt.Errorf("digest partition %d: %w", p, err)
	}
	return sum.sum(), nil
}

// enterSpace is enterContext for a call about a space.
func (s *Store) enterSpace(ctx context.Context, space string) error {
	if err := persistence.ValidateSpace(space); err != nil {
		return err
	}
	return s.enterContext(ctx)
}

// scan visits what r has in [lower, upper), on one consistent view, until visit returns false or an error. The bytes are
// visit's during the call only.
func scan(ctx context.Context, r pebble.Reader, lower, upper []byte, visit func(key, value []byte) (bool, error)) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return readError(err)
	}
	more := it.First()
	for n := 1; more && err == nil; n++ {
		var value []byte
		if value, err = it.ValueAndErr(); err != nil {
			break
		}
		if more, err = visit(it.Key(), value); more && err == nil {
			more = it.Next()
		}
		if n%1024 == 0 {
			err = errors.Join(err, ctx.Err())
		}
	}
	return errors.Join(err, readIterError(it))
}
