package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/persistence"
)

// A ledger is what the driver knows of one entity. One worker writes, one entry at a time: entry seq is tried, under a new attempt
// number each time, until it is settled, by an answer or by a read that shows it. From then on that attempt, and no
// other, must be what is stored. Readers hold what they see against it at any time.
type ledger struct {
	entity uint64
	mu     struct {
		sync.Mutex
		settled []settled // settled[i] is of seq i+1
		tried   []uint32  // attempts at the next seq
		attempt uint32    // the newest of all
		shown   uint32    // the attempt at the next seq that a read has shown; 0: none
	}
}

// settled is an entry that must be there.
type settled struct {
	attempt uint32
	chain   uint64 // over all entries up to this one: the state that a snapshot holds
}

// verdict is what is wrong with a read.
type verdict uint8

const (
	fine    verdict = iota
	stale           // something settled before the read began is not shown
	doubled         // an entry was replaced, or is there and was never sent
	broken          // what is shown contradicts itself
)

const snapshotEvery = 16

// floor is the seq that a read beginning now must show.
func (l *ledger) floor() persistence.Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.shown != 0 {
		return persistence.Seq(len(l.mu.settled) + 1)
	}
	return persistence.Seq(len(l.mu.settled))
}

// try begins another attempt at the next entry, and fills in the request.
func (l *ledger) try() (request, uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.attempt++
	l.mu.tried = append(l.mu.tried, l.mu.attempt)
	seq := persistence.Seq(len(l.mu.settled) + 1)
	q := request{op: opAppend, entity: l.entity, seq: seq, entry: encodeEntry(l.entity, seq, l.mu.attempt)}
	if seq%snapshotEvery == 0 {
		q.snapshot = binary.LittleEndian.AppendUint64(nil, l.chainLocked(seq, l.mu.attempt))
	}
	return q, l.mu.attempt
}

// settle notes that the next entry is there, by this attempt. It is an error when a read has shown another.
func (l *ledger) settle(attempt uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq := persistence.Seq(len(l.mu.settled) + 1)
	if l.mu.shown != 0 && l.mu.shown != attempt {
		return fmt.Errorf("entity %d seq %d: attempt %d was acknowledged, a read had shown %d", l.entity, seq, attempt, l.mu.shown)
	}
	l.mu.settled = append(l.mu.settled, settled{attempt: attempt, chain: l.chainLocked(seq, attempt)})
	l.mu.tried, l.mu.shown = l.mu.tried[:0], 0
	return nil
}

// chainLocked is the state after seq, which is the next entry.
func (l *ledger) chainLocked(seq persistence.Seq, attempt uint32) uint64 {
	var b [20]byte
	if seq > 1 {
		binary.LittleEndian.PutUint64(b[:], l.mu.settled[seq-2].chain)
	}
	binary.LittleEndian.PutUint64(b[8:], uint64(seq))
	binary.LittleEndian.PutUint32(b[16:], attempt)
	return xxh3.Hash(b[:])
}

// check holds what a read showed against the ledger. floor is what it had to show. When the next entry is there, its attempt
// is returned, else 0. The reasons are for people.
func (l *ledger) check(f found, floor persistence.Seq) (verdict, uint32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, next, err := l.checkLocked(f, floor)
	if next == 0 {
		return v, 0, err
	}
	if l.mu.shown != 0 && l.mu.shown != next {
		return doubled, 0, fmt.Errorf("entity %d: attempt %d at the next seq is shown, before it was %d", l.entity, next, l.mu.shown)
	}
	l.mu.shown = next
	return v, next, err
}

func (l *ledger) checkLocked(f found, floor persistence.Seq) (verdict, uint32, error) {
	known := persistence.Seq(len(l.mu.settled))
	if f.last < floor {
		return stale, 0, fmt.Errorf("entity %d: seq %d is shown, %d was settled before the read began", l.entity, f.last, floor)
	}
	if f.last > known+1 || f.last > known && len(l.mu.tried) == 0 {
		return doubled, 0, fmt.Errorf("entity %d: seq %d is shown, %d was never sent", l.entity, f.last, known+1)
	}
	if f.last != f.snapSeq+persistence.Seq(len(f.entries)) {
		return broken, 0, fmt.Errorf("entity %d: seq %d is shown, with a snapshot at %d and %d entries after it", l.entity, f.last, f.snapSeq, len(f.entries))
	}
	if f.snapSeq > 0 {
		if v, next, err := l.checkSnapshotLocked(f); v != fine || next != 0 {
			return v, next, err
		}
	}
	for i, entry := range f.entries {
		seq := f.snapSeq + persistence.Seq(i) + 1
		attempt, err := decodeEntry(entry, l.entity, seq)
		if err != nil {
			return broken, 0, err
		}
		if seq <= known {
			if want := l.mu.settled[seq-1].attempt; attempt != want {
				return doubled, 0, fmt.Errorf("entity %d seq %d: attempt %d is shown, settled was %d", l.entity, seq, attempt, want)
			}
			continue
		}
		if !slices.Contains(l.mu.tried, attempt) {
			return doubled, 0, fmt.Errorf("entity %d seq %d: attempt %d is shown, which was never sent", l.entity, seq, attempt)
		}
		return fine, attempt, nil
	}
	return fine, 0, nil
}

// checkSnapshotLocked is check's for the snapshot; it may be at the next entry.
func (l *ledger) checkSnapshotLocked(f found) (verdict, uint32, error) {
	if len(f.snapshot) != 8 {
		return broken, 0, fmt.Errorf("entity %d: a snapshot of %d bytes", l.entity, len(f.snapshot))
	}
	chain := binary.LittleEndian.Uint64(f.snapshot)
	if f.snapSeq <= persistence.Seq(len(l.mu.settled)) {
		if chain != l.mu.settled[f.snapSeq-1].chain {
			return doubled, 0, fmt.Errorf("entity %d: the snapshot at %d is of another history", l.entity, f.snapSeq)
		}
		return fine, 0, nil
	}
	for _, attempt := range l.mu.tried {
		if chain == l.chainLocked(f.snapSeq, attempt) {
			return fine, attempt, nil
		}
	}
	return doubled, 0, fmt.Errorf("entity %d: the snapshot at %d was never sent", l.entity, f.snapSeq)
}

// encodeEntry makes the payload of an entry: who, which, which attempt, and filler up to entryBytes.
func encodeEntry(entity uint64, seq persistence.Seq, attempt uint32) []byte {
	b := make([]byte, 0, entryBytes)
	b = binary.LittleEndian.AppendUint64(b, entity)
	b = binary.LittleEndian.AppendUint64(b, uint64(seq))
	b = binary.LittleEndian.AppendUint32(b, attempt)
	return b[:entryBytes]
}

// decodeEntry returns the attempt of an entry that must be this one.
func decodeEntry(b []byte, entity uint64, seq persistence.Seq) (uint32, error) {
	if len(b) != entryBytes || binary.LittleEndian.Uint64(b) != entity || binary.LittleEndian.Uint64(b[8:]) != uint64(seq) {
		return 0, fmt.Errorf("entity %d seq %d: another entry is shown in its place: %x", entity, seq, b)
	}
	return binary.LittleEndian.Uint32(b[16:]), nil
}
