package pebblestore

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/persistence"
)

// Quarantined is a copy of a value that did not verify.
type Quarantined struct {
	// StoredKey is where the value was, as DESIGN.md draws it.
	StoredKey []byte
	// At is when it was found, Reason why it was put here.
	At     time.Time
	Reason string
	Value  []byte
}

// quarantine keeps a copy of value, outside every partition, and flushes, since there is no log for it. The same value
// of the same key is kept once, so a load that is tried again costs nothing.
func (s *Store) quarantine(ctx context.Context, key, value []byte, reason string) error {
	s.quarantineMu.Lock()
	defer s.quarantineMu.Unlock()
	to := append(appendPartition(nil, localPrefix), localQuarantine)
	to = binary.BigEndian.AppendUint64(append(to, key...), xxh3.Hash(value))
	if stored, err := get(s.db, to); stored != nil && err == nil {
		return nil
	}
	note := binary.AppendVarint(nil, s.opts.Now().UnixMilli())
	note = binary.AppendUvarint(note, uint64(len(reason)))
	note = append(append(note, reason...), value...)
	err := s.db.Set(to, note, pebble.NoSync)
	if err == nil {
		err = s.flush()
	}
	if err != nil {
		return fmt.Errorf("put %d corrupt bytes into quarantine: %w", len(value), err)
	}
	s.quarantined.Add(1)
	s.opts.Logger.LogAttrs(ctx, slog.LevelError, "value put into quarantine",
		slog.String("key", fmt.Sprintf("%q", key)), slog.Int("size_bytes", len(value)), slog.String("err", reason))
	return nil
}

// Quarantined calls visit with every value in quarantine, by key, until it returns false. The bytes are the callee's.
func (s *Store) Quarantined(ctx context.Context, visit func(Quarantined) bool) error {
	if err := s.enterContext(ctx); err != nil {
		return fmt.Errorf("list the quarantine: %w", err)
	}
	defer s.leave()
	prefix := append(appendPartition(nil, localPrefix), localQuarantine)
	err := scan(ctx, s.db, prefix, after(prefix), func(key, value []byte) (bool, error) {
		r := fields{left: value}
		at := r.varint()
		size := r.uvarint()
		if r.bad || size > uint64(len(r.left)) || len(key) < len(prefix)+8 {
			return false, fmt.Errorf("%w: the note at %q", persistence.ErrCorrupt, key)
		}
		return visit(Quarantined{
			StoredKey: slices.Clone(key[len(prefix) : len(key)-8]),
			At:        time.UnixMilli(at).UTC(),
			Reason:    string(r.left[:size]),
			Value:     slices.Clone(r.left[size:]),
		}), nil
	})
	if err != nil {
		return fmt.Errorf("list the quarantine: %w", err)
	}
	return nil
}
