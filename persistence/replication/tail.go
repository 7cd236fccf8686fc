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

	base, baseTerm uint64 // the entry before the first
	entries        []*raftpb.Entry

	// applied and keptBytes are of a group of several voters: the newest applied entry, and the data of those up to it.
	applied, keptBytes uint64
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

// Snapshot implements raft.Storage. Copies of partitions do not travel through Raft.
func (t *tail) Snapshot() (*raftpb.Snapshot, error) {
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

func (t *tail) last() uint64 { return t.base + uint64(len(t.entries)) }

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
	for ; t.applied < index; t.applied++ {
		t.keptBytes += uint64(len(t.entries[t.applied-t.base].GetData()))
	}
	drop := t.base
	for t.applied-drop > entries || t.keptBytes > bytes {
		t.keptBytes -= uint64(len(t.entries[drop-t.base].GetData()))
		drop++
	}
	t.compact(drop)
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
