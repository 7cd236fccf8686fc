package replication

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// tail is one group's newest entries in memory, those that are not applied yet: Raft reads the log only here. It
// implements [raft.Storage] and belongs to the core.
type tail struct {
	hard hardState // at the start; Raft asks once
	conf *raftpb.ConfState
	// confAt is the entry that made conf hold, 0 when it was recovered.
	confAt uint64

	base, baseTerm uint64 // the entry before the first
	entries        []*raftpb.Entry

	// applied and keptBytes are of a group of several voters: the newest applied entry, and the data of those up to it.
	applied, keptBytes uint64
	// held is the applied index at which a copy was begun that somebody may still be fetching, 0 for none.
	held uint64
}

var _ raft.Storage = (*tail)(nil)

// newTail holds what was recovered: the entries that are not applied, and some that are, for followers that lag.
func newTail(r *replayed) tail {
	t := tail{hard: r.Hard, conf: r.Conf, base: r.Applied, baseTerm: r.AppliedTerm, entries: r.Entries, applied: r.Applied}
	older := r.Older
	if n := len(older); n == 0 || older[n-1].GetIndex() != r.Applied {
		return t
	}
	if older[0].GetIndex() == r.base+1 {
		t.base, t.baseTerm = r.base, r.baseTerm
	} else { // what is before it is not known, so it cannot be sent itself
		t.base, t.baseTerm = older[0].GetIndex(), older[0].GetTerm()
		older = older[1:]
	}
	t.entries = slices.Concat(older, r.Entries)
	for _, e := range older {
		t.keptBytes += uint64(len(e.GetData()))
	}
	return t
}

// InitialState implements raft.Storage.
func (t *tail) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	if t.hard == (hardState{}) {
		return nil, t.conf, nil
	}
	hard := t.hard
	return &raftpb.HardState{Term: &hard.Term, Vote: &hard.Vote, Commit: &hard.Commit}, t.conf, nil
}

// Entries implements raft.Storage.
func (t *tail) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	if lo <= t.base {
		return nil, raft.ErrCompacted
	}
	if hi > t.last()+1 {
		return nil, raft.ErrUnavailable
	}
	entries := t.entries[lo-t.base-1 : hi-t.base-1]
	var size uint64
	for i, e := range entries {
		size += uint64(len(e.GetData())) + 16 // what is around the data
		if size > maxSize && i > 0 {
			entries = entries[:i]
			break
		}
	}
	return slices.Clip(entries), nil
}

// Term implements raft.Storage.
func (t *tail) Term(index uint64) (uint64, error) {
	switch {
	case index < t.base:
		return 0, raft.ErrCompacted
	case index == t.base:
		return t.baseTerm, nil
	case index > t.last():
		return 0, raft.ErrUnavailable
	default:
		return t.entries[index-t.base-1].GetTerm(), nil
	}
}

// LastIndex implements raft.Storage.
func (t *tail) LastIndex() (uint64, error) { return t.last(), nil }

// FirstIndex implements raft.Storage.
func (t *tail) FirstIndex() (uint64, error) { return t.base + 1, nil }

// Snapshot implements raft.Storage. It only says what there is: who gets Raft's message fetches a partition copy, which
// is at least as new. Until the state machine has the newest configuration there is nothing to offer.
func (t *tail) Snapshot() (*raftpb.Snapshot, error) {
	term, err := t.Term(t.applied)
	if err != nil || t.applied == 0 || t.applied < t.confAt {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	index := t.applied
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: t.conf, Index: &index, Term: &term}}, nil
}

func (t *tail) last() uint64 { return t.base + uint64(len(t.entries)) }

// restore forgets everything: the state is that of a copy.
func (t *tail) restore(at entryID) {
	t.base, t.baseTerm, t.applied, t.entries, t.keptBytes = at.Index, at.Term, at.Index, nil, 0
}

// append adds entries that follow the tail, or replace its end.
func (t *tail) append(entries []*raftpb.Entry) {
	if len(entries) == 0 {
		return
	}
	keep := entries[0].GetIndex() - t.base - 1
	if keep < uint64(len(t.entries)) {
		t.entries = t.entries[:keep:keep] // Raft may still hold what is replaced
	}
	t.entries = append(t.entries, entries...)
}

// keep notes that entries up to index are applied, and forgets the oldest of those, but for so many, of so many bytes in
// all, which followers that lag may need.
func (t *tail) keep(index, entries, bytes uint64) {
	for t.applied = max(t.applied, t.base); t.applied < index; t.applied++ {
		t.keptBytes += uint64(len(t.entries[t.applied-t.base].GetData()))
	}
	drop := t.base
	if t.held != 0 && t.keptBytes <= maxHeldBytes { // a replica that is being copied will need what comes after
		entries, bytes = max(entries, t.applied-min(t.applied, t.held)), maxHeldBytes
	}
	for t.applied-drop > entries || t.keptBytes > bytes {
		t.keptBytes -= uint64(len(t.entries[drop-t.base].GetData()))
		drop++
	}
	t.compact(drop)
}

// keepNone notes that entries up to index are applied, and forgets them all: there is nobody who may need them.
func (t *tail) keepNone(index uint64) {
	t.applied, t.keptBytes, t.held = index, 0, 0
	t.compact(index)
}

// needCopy forgets the very first entry, once replicas have changed: a new one does not know the first configuration, so
// it needs a copy even when the whole log is there.
func (t *tail) needCopy() {
	if t.base == 0 && len(t.entries) > 0 {
		t.compact(1)
	}
}

// compact forgets the entries up to index, which were applied. Slices handed out before stay as they are.
func (t *tail) compact(index uint64) {
	if index <= t.base {
		return
	}
	n := index - t.base
	t.base, t.baseTerm = index, t.entries[n-1].GetTerm()
	rest := t.entries[n:]
	switch {
	case len(rest) == 0:
		t.entries = nil
	case uint64(len(rest)) <= n: // so that the array does not keep what is forgotten alive
		t.entries = slices.Clone(rest)
	default:
		t.entries = rest
	}
}
