package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// ErrMisplaced says that an entity is in a partition that its key does not belong to: no load will find it.
var ErrMisplaced = errors.New("entity in the wrong partition")

// Problem is something that Verify found wrong.
type Problem struct {
	Partition persistence.Partition
	// Key is the entity; the zero Key for a partition's own records.
	Key persistence.Key
	// Err says what; it wraps [persistence.ErrCorrupt], [persistence.ErrNewer] or [ErrMisplaced].
	Err error
}

// Summary is what Verify counted.
type Summary struct {
	Entities, Entries, Snapshots, Marks, Records int
	// Staged counts the snapshots whose pieces wait for the rest.
	Staged int
	// Bytes is the size of all keys and values, uncompressed.
	Bytes       int64
	Quarantined int
	Problems    int
}

// Verify reads everything, each partition on one consistent view: that every head's snapshots and entries are there and whole, and that
// everything else belongs to a head. It changes nothing, also no quarantine. It calls report, which may be nil, with each
// problem, and returns an error only when it could not go on.
func (s *Store) Verify(ctx context.Context, report func(Problem)) (Summary, error) {
	if err := s.enterContext(ctx); err != nil {
		return Summary{}, fmt.Errorf("verify: %w", err)
	}
	defer s.leave()
	v := verifier{store: s, report: report}
	for i := range s.info.partitions {
		if err := v.partition(ctx, persistence.Partition(i)); err != nil { //nolint:gosec // at most 4096
			return v.sum, fmt.Errorf("verify partition %d: %w", i, err)
		}
	}
	if err := v.partition(ctx, persistence.MetaPartition); err != nil {
		return v.sum, fmt.Errorf("verify the meta partition: %w", err)
	}
	err := s.Quarantined(ctx, func(Quarantined) bool {
		v.sum.Quarantined++
		return true
	})
	return v.sum, err
}

// verifier is one Verify.
type verifier struct {
	store  *Store
	report func(Problem)
	sum    Summary

	// The partition under way.
	view   pebble.Reader
	number persistence.Partition
	staged map[string]staged
	// The entity whose keys were seen last, and its head.
	key   persistence.Key
	head  head
	found bool
}

func (v *verifier) problem(k persistence.Key, err error) {
	v.sum.Problems++
	if v.report != nil {
		v.report(Problem{Partition: v.number, Key: k, Err: err})
	}
}

func (v *verifier) partition(ctx context.Context, p persistence.Partition) error {
	view, err := v.store.view(p)
	defer func() { _ = view.Close() }() // it only forgets the view
	if err != nil {
		return err
	}
	v.view, v.number, v.key = view, p, persistence.Key{}
	if _, _, err = readApplied(v.view, p); err != nil {
		v.problem(persistence.Key{}, err)
	}
	if _, err = readEpoch(v.view, p); err != nil {
		v.problem(persistence.Key{}, err)
	}
	if v.staged, err = readStaged(v.view, p); err != nil {
		v.problem(persistence.Key{}, err)
	}
	v.sum.Staged += len(v.staged)
	lower, upper := partitionRange(p)
	err = scan(ctx, v.view, lower, upper, func(key, value []byte) (bool, error) {
		v.sum.Bytes += int64(len(key) + len(value))
		return true, v.one(ctx, key)
	})
	if errors.Is(err, persistence.ErrCorrupt) { // a block that cannot be read ends the scan of this partition, not all
		v.problem(persistence.Key{}, err)
		return nil
	}
	return err
}

// one looks at one key.
func (v *verifier) one(ctx context.Context, key []byte) error {
	if key[2] == 0 {
		if len(key) > 3 && key[3] == partRecord {
			v.sum.Records++
		}
		return nil
	}
	if table := tableOf(key); table == tableMarks {
		v.sum.Marks++
		return nil
	}
	at, err := parsePlace(key)
	if err != nil {
		v.problem(persistence.Key{}, err)
		return nil
	}
	if at.table == tableHeads {
		v.sum.Entities++
		return v.entity(ctx, at.key)
	}
	if err = v.find(at.key); err != nil {
		if errors.Is(err, persistence.ErrCorrupt) || errors.Is(err, persistence.ErrNewer) {
			return nil // reported with the head
		}
		return err
	}
	switch {
	case !v.found:
		v.problem(at.key, fmt.Errorf("%w: %q has no head", persistence.ErrCorrupt, key))
	case at.table == tableJournal && (at.seq <= v.head.trimmed || at.seq > v.head.last):
		v.problem(at.key, fmt.Errorf("%w: entry %d, the head has %d to %d", persistence.ErrCorrupt, at.seq, v.head.trimmed+1, v.head.last))
	case at.table == tableSnapshots:
		return v.snapshot(at)
	case at.table == tablePartHeads:
		return v.partHead(ctx, at, key)
	}
	return nil
}

func tableOf(key []byte) byte {
	space := slices.Index(key[2:], 0)
	if space < 0 || len(key) < 2+space+2 {
		return 0
	}
	return key[2+space+1]
}

// entity looks at a head and at everything it has.
func (v *verifier) entity(ctx context.Context, k persistence.Key) error {
	if want := persistence.PartitionOf(k, v.store.info.partitions); want != v.number {
		v.problem(k, fmt.Errorf("%w: it belongs to partition %d", ErrMisplaced, want))
	}
	h, _, err := readEntity(v.view, v.number, k)
	if err != nil {
		return v.judge(k, err)
	}
	if h.trimmed > h.last || h.newest() > h.last || h.count == 2 && h.snapshots[1].seq >= h.newest() ||
		h.trimmed > 0 && (h.count < 2 || h.trimmed > h.snapshots[1].seq) || h.snapshots[0].gone || h.snapshots[1].gone {
		v.problem(k, fmt.Errorf("%w: a head that contradicts itself: %+v", persistence.ErrCorrupt, h))
		return nil
	}
	if err = v.snapshots(ctx, k, "", &h); err != nil || h.trimmed == h.last {
		return err
	}
	if err = ctx.Err(); err != nil {
		return err
	}
	l := loader{store: v.store, reader: v.view, partition: v.number, key: k}
	entries, err := l.entries(ctx, h.trimmed, h.last)
	v.sum.Entries += len(entries)
	return v.judge(k, err)
}

func (v *verifier) snapshots(ctx context.Context, k persistence.Key, part persistence.Part, h *head) error {
	l := loader{store: v.store, reader: v.view, partition: v.number, key: k}
	for i := range h.count {
		if h.snapshots[i].gone {
			continue
		}
		_, err := l.snapshotData(ctx, &h.snapshots[i], part)
		if err = v.judge(k, err); err != nil {
			return err
		}
		v.sum.Snapshots++
	}
	return nil
}

// judge reports what is corrupt or newer, and returns what else went wrong.
func (v *verifier) judge(k persistence.Key, err error) error {
	if errors.Is(err, persistence.ErrCorrupt) || errors.Is(err, persistence.ErrNewer) {
		v.problem(k, err)
		return nil
	}
	return err
}

// find makes v.head the head of k.
func (v *verifier) find(k persistence.Key) error {
	if k == v.key {
		return nil
	}
	h, found, err := readEntity(v.view, v.number, k)
	if err != nil {
		return err
	}
	v.key, v.head, v.found = k, h, found
	return nil
}

// snapshot looks whether anything says that the piece at this place should be there.
func (v *verifier) snapshot(at place) error {
	if s, ok := v.staged[string(appendStaged(nil, v.number, at.key, at.part))]; ok && s.seq == at.seq && at.index >= s.base && at.index < s.base+len(s.sizes) {
		return nil
	}
	h := v.head
	if at.part != "" {
		var err error
		if h, _, err = readHead(v.view, append(appendPartHeads(nil, v.number, at.key), at.part...)); err != nil {
			return v.judge(at.key, err)
		}
	}
	for i := range h.count {
		k := &h.snapshots[i]
		if k.seq == at.seq && at.index >= k.base && at.index < k.base+k.values() {
			return nil
		}
	}
	v.problem(at.key, fmt.Errorf("%w: piece %d of a snapshot of %q at %d that no head has", persistence.ErrCorrupt, at.index, at.part, at.seq))
	return nil
}

func (v *verifier) partHead(ctx context.Context, at place, key []byte) error {
	h, _, err := readHead(v.view, key)
	if err != nil {
		return v.judge(at.key, err)
	}
	if h.newest() > v.head.last {
		v.problem(at.key, fmt.Errorf("%w: part %q has a snapshot at %d of %d entries", persistence.ErrCorrupt, at.part, h.newest(), v.head.last))
	}
	return v.snapshots(ctx, at.key, at.part, &h)
}
