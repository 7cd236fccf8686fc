package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
)

// errUnsettled: a load met something wrong without a consistent view, and decides nothing.
var errUnsettled = errors.New("load is not settled")

// Load implements [persistence.Storage]. The head, the snapshot and the entries are read one after the other, which is
// cheap, and right when all fit together; anything else, absence included, is decided on one consistent view.
func (s *Store) Load(ctx context.Context, p persistence.Partition, key persistence.Key) (*persistence.Loaded, error) {
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if err := s.enterContext(ctx); err != nil {
		return nil, fmt.Errorf("load %s: %w", key, err)
	}
	defer s.leave()
	if s.apply.backlog.isLate(appendHead(nil, p, key)) {
		if err := s.settle(p); err != nil {
			return nil, fmt.Errorf("load %s: %w", key, err)
		}
	}
	fast := loader{store: s, reader: s.db, partition: p, key: key}
	if loaded, err := fast.load(ctx); err == nil {
		return loaded, nil
	}
	view, err := s.view(p)
	defer func() { _ = view.Close() }() // it only forgets the view
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", key, err)
	}
	settled := loader{store: s, reader: view, partition: p, key: key, settled: true}
	loaded, err := settled.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", key, err)
	}
	return loaded, nil
}

// LoadPart implements [persistence.Storage].
func (s *Store) LoadPart(ctx context.Context, p persistence.Partition, key persistence.Key, part persistence.Part) (snapshot persistence.Snapshot, quarantined int, err error) {
	if err = key.Validate(); err != nil {
		return persistence.Snapshot{}, 0, fmt.Errorf("load: %w", err)
	}
	if err = s.enterContext(ctx); err != nil {
		return persistence.Snapshot{}, 0, fmt.Errorf("load %q of %s: %w", part, key, err)
	}
	defer s.leave()
	view, err := s.view(p)
	defer func() { _ = view.Close() }() // it only forgets the view
	if err != nil {
		return persistence.Snapshot{}, 0, fmt.Errorf("load %q of %s: %w", part, key, err)
	}
	l := loader{store: s, reader: view, partition: p, key: key, settled: true}
	if snapshot, err = l.part(ctx, part); err != nil {
		return snapshot, 0, fmt.Errorf("load %q of %s: %w", part, key, err)
	}
	return snapshot, l.quarantined, nil
}

// loader is one load.
type loader struct {
	store       *Store
	reader      pebble.Reader
	partition   persistence.Partition
	key         persistence.Key
	settled     bool // reader is one consistent view: what is wrong is wrong, and goes to quarantine
	quarantined int
}

func (l *loader) load(ctx context.Context) (*persistence.Loaded, error) {
	var buf [160]byte
	headKey := appendHead(buf[:0], l.partition, l.key)
	h, found, err := readHead(l.reader, headKey)
	if err != nil {
		return nil, l.corrupt(ctx, headKey, nil, err)
	}
	if !found {
		return nil, l.absent()
	}
	snapshot, err := l.newest(ctx, &h, "")
	if err != nil {
		return nil, err
	}
	loaded := &persistence.Loaded{Snapshot: snapshot}
	from := snapshot.Seq
	if l.key.Kind == persistence.KindWorld {
		from = h.trimmed
	}
	if from < h.last {
		if err = ctx.Err(); err != nil {
			return nil, err
		}
		if loaded.Entries, err = l.entries(ctx, from, h.last); err != nil {
			return nil, err
		}
		for i := range loaded.Entries {
			if e := &loaded.Entries[i]; e.Seq > h.last {
				h.append(1, int64(len(e.Data)))
			}
		}
	}
	loaded.Head, loaded.Quarantined = h.export(), l.quarantined
	return loaded, nil
}

// absent proves that nothing of the entity is there, and returns ErrAbsent; else what is there without a head is corrupt.
func (l *loader) absent() error {
	if !l.settled {
		return errUnsettled
	}
	for _, prefix := range [][]byte{
		appendJournal(nil, l.partition, l.key), appendSnapshots(nil, l.partition, l.key), appendPartHeads(nil, l.partition, l.key),
	} {
		it, err := l.reader.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return fmt.Errorf("look for orphans: %w", readError(err))
		}
		orphan := it.First()
		if err = errors.Join(it.Error(), it.Close()); err != nil {
			return fmt.Errorf("look for orphans: %w", readError(err))
		}
		if orphan {
			return fmt.Errorf("%w: the head is missing, but not what it heads", persistence.ErrCorrupt)
		}
	}
	return persistence.ErrAbsent
}

// newest returns the newest snapshot of h that verifies; one with Seq 0 when the journal alone is whole.
func (l *loader) newest(ctx context.Context, h *head, part persistence.Part) (persistence.Snapshot, error) {
	var problems error
	for i := range h.count {
		k := &h.snapshots[i]
		if k.gone {
			break // before a newer one that does not verify: that part is not absent
		}
		data, err := l.snapshotData(ctx, k, part)
		if err == nil {
			snapshot := k.export(part)
			snapshot.Data = data
			return snapshot, nil
		}
		if !l.settled || !errors.Is(err, persistence.ErrCorrupt) {
			return persistence.Snapshot{}, err // also a newer version, and a read that failed: nobody steps around those
		}
		l.quarantined++
		problems = errors.Join(problems, err)
	}
	if h.trimmed == 0 && part == "" {
		return persistence.Snapshot{}, nil
	}
	return persistence.Snapshot{}, fmt.Errorf("no snapshot verifies: %w", errors.Join(problems, persistence.ErrCorrupt))
}

func (l *loader) part(ctx context.Context, part persistence.Part) (persistence.Snapshot, error) {
	key := appendHead(nil, l.partition, l.key)
	if part != "" {
		key = append(appendPartHeads(nil, l.partition, l.key), part...)
	}
	h, found, err := readHead(l.reader, key)
	if err != nil {
		return persistence.Snapshot{}, l.corrupt(ctx, key, nil, err)
	}
	if !found || h.count == 0 {
		return persistence.Snapshot{}, persistence.ErrAbsent
	}
	if h.snapshots[0].gone {
		return h.snapshots[0].export(part), persistence.ErrAbsent
	}
	if part == "" {
		h.trimmed = h.last // the journal is not asked for
	}
	return l.newest(ctx, &h, part)
}

// snapshotData returns a snapshot's whole framed value, verified.
func (l *loader) snapshotData(ctx context.Context, k *kept, part persistence.Part) ([]byte, error) {
	var buf [256]byte
	key := appendSnapshot(buf[:0], l.partition, l.key, part, k.seq)
	var data []byte
	for i := range max(k.pieces, 1) {
		key[len(key)-1] = byte(k.base + i)
		piece, err := get(l.reader, key)
		switch {
		case err != nil:
			return nil, fmt.Errorf("snapshot at %d: %w", k.seq, err)
		case piece == nil:
			err = fmt.Errorf("%w: snapshot at %d: piece %d is missing", persistence.ErrCorrupt, k.seq, i)
			return nil, l.corrupt(ctx, key, data, err)
		case data == nil:
			data = piece
		default:
			data = append(data, piece...)
		}
	}
	if err := verify(data); err != nil {
		key[len(key)-1] = byte(k.base)
		return nil, l.corrupt(ctx, key, data, fmt.Errorf("snapshot at %d: %w", k.seq, err))
	}
	return data, nil
}

// entries returns all that follow from, in order, verified; they must reach last.
func (l *loader) entries(ctx context.Context, from, last persistence.Seq) ([]persistence.Entry, error) {
	var buf [160]byte
	lower := appendJournal(buf[:0], l.partition, l.key)
	prefix, upper := len(lower), after(lower)
	lower = binary.BigEndian.AppendUint64(lower, uint64(from)+1)
	it, err := l.reader.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("journal: %w", readError(err))
	}
	entries := make([]persistence.Entry, 0, min(last-from, 1024))
	next := from + 1
	for it.First(); it.Valid() && err == nil; it.Next() {
		seq := persistence.Seq(binary.BigEndian.Uint64(it.Key()[prefix:]))
		if seq != next {
			err = fmt.Errorf("%w: entry %d is missing, %d is there", persistence.ErrCorrupt, next, seq)
			break
		}
		next++
		var data []byte
		if data, err = it.ValueAndErr(); err != nil {
			break
		}
		data = bytes.Clone(data)
		if err = verify(data); err != nil {
			err = l.corrupt(ctx, it.Key(), data, fmt.Errorf("entry %d: %w", seq, err))
		}
		entries = append(entries, persistence.Entry{Seq: seq, Data: data})
	}
	if err = errors.Join(readError(err), readIterError(it)); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if next <= last {
		return nil, fmt.Errorf("%w: entry %d of %d is missing", persistence.ErrCorrupt, next, last)
	}
	return entries, nil
}

func readIterError(it *pebble.Iterator) error {
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return readError(err)
	}
	return nil
}

// corrupt puts the value at key into quarantine when err says that it is corrupt and this load is settled. It returns
// err, with what went wrong in quarantine: then the load fails even if it could step around, so that nothing is lost.
func (l *loader) corrupt(ctx context.Context, key, value []byte, err error) error {
	if !l.settled || !errors.Is(err, persistence.ErrCorrupt) {
		return err
	}
	if value == nil { // of a head: read it again, as it is
		stored, getErr := get(l.reader, key)
		if getErr != nil || stored == nil {
			return err // there are no bytes to keep
		}
		value = stored
	}
	if failed := l.store.quarantine(ctx, key, value, err.Error()); failed != nil {
		return fmt.Errorf("%w (%s)", failed, err.Error()) // not ErrCorrupt: nobody may step around
	}
	return err
}

// verify returns nil when framed is a whole frame, else ErrCorrupt or ErrNewer.
func verify(framed []byte) error {
	_, err := codec.OpenFrame(framed)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, codec.ErrNewer):
		return fmt.Errorf("%w: %w", persistence.ErrNewer, err)
	default:
		return fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
	}
}
