package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

var _ persistence.Repairer = (*Store)(nil)

// frameSumBytes are the checksum at the end of a framed value.
const frameSumBytes = 8

// mender looks at the values of one part of an entity, one by one.
type mender struct {
	reader    pebble.Reader
	partition persistence.Partition
	key       persistence.Key
	part      persistence.Part
	head      head // of the part
}

// newMender reads the part's head. A zero one means that there is none.
func newMender(r pebble.Reader, p persistence.Partition, key persistence.Key, part persistence.Part) (m mender, err error) {
	m = mender{reader: r, partition: p, key: key, part: part}
	if part == "" {
		m.head, _, err = readEntity(r, p, key)
	} else {
		m.head, _, err = readHead(r, append(appendPartHeads(nil, p, key), part...))
	}
	return m, err
}

// snapshot is what the head says of the snapshot at seq, nil when it has none with a value.
func (m *mender) snapshot(seq persistence.Seq) *kept {
	for i := range m.head.count {
		if k := &m.head.snapshots[i]; k.seq == seq && !k.gone {
			return k
		}
	}
	return nil
}

// keys are those that a value is stored under; none when the head does not have it.
func (m *mender) keys(name persistence.ValueName) [][]byte {
	if !name.Snapshot {
		if m.part != "" || name.Seq <= m.head.trimmed || name.Seq > m.head.last {
			return nil
		}
		return [][]byte{binary.BigEndian.AppendUint64(appendJournal(nil, m.partition, m.key), uint64(name.Seq))}
	}
	k := m.snapshot(name.Seq)
	if k == nil {
		return nil
	}
	keys := make([][]byte, k.values())
	for i := range keys {
		keys[i] = appendSnapshot(nil, m.partition, m.key, m.part, k.seq)
		keys[i][len(keys[i])-1] = byte(k.base + i)
	}
	return keys
}

// read returns what is stored under keys, and nil or ErrCorrupt or ErrNewer as the judgement of the value that they are.
func (m *mender) read(keys [][]byte) (stored [][]byte, judgement, err error) {
	for _, key := range keys {
		value, err := get(m.reader, key)
		if err != nil {
			return nil, nil, fmt.Errorf("%q: %w", key, err)
		}
		if value == nil {
			judgement = fmt.Errorf("%w: %q is missing", persistence.ErrCorrupt, key)
		}
		stored = append(stored, value)
	}
	if judgement == nil {
		judgement = verify(slices.Concat(stored...))
	}
	return stored, judgement, nil
}

// Damaged implements [persistence.Repairer].
func (s *Store) Damaged(ctx context.Context, p persistence.Partition, key persistence.Key, part persistence.Part, limit int) ([]persistence.ValueName, error) {
	if err := s.enterEntity(ctx, p, key); err != nil {
		return nil, fmt.Errorf("look for damage: %w", err)
	}
	defer s.leave()
	view, err := s.view(p)
	defer func() { _ = view.Close() }() // it only forgets the view
	if err != nil {
		return nil, fmt.Errorf("look for damage in %s: %w", key, err)
	}
	m, err := newMender(view, p, key, part)
	if err != nil {
		return nil, fmt.Errorf("look for damage in %s: %w", key, err)
	}
	var names []persistence.ValueName
	for i := range m.head.count {
		if k := &m.head.snapshots[i]; !k.gone {
			names = append(names, persistence.ValueName{Part: part, Seq: k.seq, Snapshot: true})
		}
	}
	if part == "" {
		for seq := m.head.trimmed + 1; seq <= m.head.last; seq++ {
			names = append(names, persistence.ValueName{Seq: seq})
		}
	}
	var damaged []persistence.ValueName
	for _, name := range names {
		if err = ctx.Err(); err != nil || len(damaged) >= limit {
			return damaged, err
		}
		_, judgement, err := m.read(m.keys(name))
		if err != nil {
			return nil, fmt.Errorf("look for damage in %s: %w", key, err)
		}
		if errors.Is(judgement, persistence.ErrCorrupt) {
			damaged = append(damaged, name)
		}
	}
	return damaged, nil
}

// Raw implements [persistence.Repairer].
func (s *Store) Raw(ctx context.Context, p persistence.Partition, key persistence.Key, names []persistence.ValueName) (persistence.RawValues, error) {
	if err := s.enterEntity(ctx, p, key); err != nil {
		return persistence.RawValues{}, fmt.Errorf("read values: %w", err)
	}
	defer s.leave()
	view, err := s.view(p)
	defer func() { _ = view.Close() }() // it only forgets the view
	if err != nil {
		return persistence.RawValues{}, fmt.Errorf("read values of %s: %w", key, err)
	}
	raw, err := rawValues(ctx, view, p, key, names)
	if err != nil {
		return persistence.RawValues{}, fmt.Errorf("read values of %s: %w", key, err)
	}
	return raw, nil
}

func rawValues(ctx context.Context, r pebble.Reader, p persistence.Partition, key persistence.Key, names []persistence.ValueName) (raw persistence.RawValues, err error) {
	if raw.Index, _, err = readApplied(r, p); err != nil {
		return raw, err
	}
	m, err := newMender(r, p, key, "")
	if err != nil {
		return raw, err
	}
	raw.Snapshots = m.head.export().Snapshots
	size := 0
	for _, name := range names {
		if err = ctx.Err(); err != nil {
			return raw, err
		}
		if name.Part != m.part {
			if m, err = newMender(r, p, key, name.Part); err != nil {
				return raw, err
			}
		}
		value, added, err := m.raw(name)
		if err != nil {
			return raw, err
		}
		if size += added; size > persistence.MaxRepairBytes && len(raw.Values) > 0 {
			return raw, nil
		}
		if added > 0 {
			raw.Values = append(raw.Values, value)
		}
	}
	return raw, nil
}

// raw returns a value that verifies and its size, 0 when there is none.
func (m *mender) raw(name persistence.ValueName) (value persistence.RawValue, size int, err error) {
	keys := m.keys(name)
	stored, judgement, err := m.read(keys)
	if err != nil || judgement != nil || len(keys) == 0 {
		return persistence.RawValue{}, 0, err
	}
	for _, b := range stored {
		size += len(b)
	}
	value = persistence.RawValue{Name: name, Stored: stored}
	if name.Snapshot {
		k := m.snapshot(name.Seq).export(name.Part)
		value.Epoch, value.SavedAt = k.Epoch, k.SavedAt
	}
	return value, size, nil
}

// Repair implements [persistence.Repairer].
func (s *Store) Repair(ctx context.Context, p persistence.Partition, key persistence.Key, from persistence.RawValues) (int, error) {
	if err := s.enterEntity(ctx, p, key); err != nil {
		return 0, fmt.Errorf("repair: %w", err)
	}
	defer s.leave()
	if err := s.failure(); err != nil {
		return 0, err
	}
	repaired, err := s.repair(ctx, p, key, from)
	if err != nil {
		return repaired, fmt.Errorf("repair %s: %w", key, err)
	}
	return repaired, nil
}

func (s *Store) repair(ctx context.Context, p persistence.Partition, key persistence.Key, from persistence.RawValues) (repaired int, err error) {
	index, _, err := s.applied(p) // after which the backlog, which only Apply adds to, is empty
	if err != nil {
		return 0, err
	}
	m, err := newMender(s.db, p, key, "")
	if err != nil {
		return 0, err
	}
	same := index == from.Index
	for _, snapshot := range from.Snapshots {
		same = same || m.has(snapshot.Seq, snapshot.Epoch, snapshot.SavedAt.UnixMilli())
	}
	for i := range from.Values {
		v := &from.Values[i]
		if v.Name.Part != m.part {
			if m, err = newMender(s.db, p, key, v.Name.Part); err != nil {
				return repaired, err
			}
		}
		keys := m.keys(v.Name)
		stored, judgement, err := m.read(keys)
		if err != nil {
			return repaired, err
		}
		if len(keys) == 0 || !errors.Is(judgement, persistence.ErrCorrupt) || !m.proven(v, stored, same) {
			continue
		}
		if err = s.overwrite(ctx, keys, stored, v.Stored, judgement); err != nil {
			return repaired, err
		}
		repaired++
	}
	if repaired == 0 {
		return 0, nil
	}
	return repaired, s.flush()
}

// has reports whether the head has this very snapshot.
func (m *mender) has(seq persistence.Seq, epoch persistence.Epoch, savedMs int64) bool {
	k := m.snapshot(seq)
	return k != nil && k.epoch == epoch && k.savedMs == savedMs
}

// proven reports whether v is whole, and the value whose damaged bytes are stored. same says that the entity is.
func (m *mender) proven(v *persistence.RawValue, stored [][]byte, same bool) bool {
	whole := slices.Concat(v.Stored...)
	if len(v.Stored) != len(stored) || verify(whole) != nil {
		return false
	}
	if v.Name.Snapshot {
		return m.has(v.Name.Seq, v.Epoch, v.SavedAt.UnixMilli())
	}
	damaged := stored[0]
	return same || len(damaged) >= frameSumBytes && bytes.Equal(damaged[len(damaged)-frameSumBytes:], whole[len(whole)-frameSumBytes:])
}

// overwrite puts what is stored into quarantine, and values in its place.
func (s *Store) overwrite(ctx context.Context, keys, stored, values [][]byte, reason error) error {
	if damaged := slices.Concat(stored...); len(damaged) > 0 {
		if err := s.quarantine(ctx, keys[0], damaged, reason.Error()); err != nil {
			return err
		}
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	for i, key := range keys {
		if err := batch.Set(key, values[i], nil); err != nil {
			return fmt.Errorf("write %q: %w", key, err)
		}
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write %q: %w", keys[0], err)
	}
	return nil
}

// enterEntity is enterContext for a call about an entity in p.
func (s *Store) enterEntity(ctx context.Context, p persistence.Partition, key persistence.Key) error {
	if err := key.Validate(); err != nil {
		return err
	}
	if err := s.checkPartition(p); err != nil {
		return err
	}
	return s.enterContext(ctx)
}
