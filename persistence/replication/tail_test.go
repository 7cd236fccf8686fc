package replication

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// Goal: after a start, a voter that leads can send every entry that its log still has, the oldest among them, since the
// checkpoint before it knows the term that it follows.
func TestTailSendsTheOldestEntry(t *testing.T) {
	entries := func(first, last uint64) (list []*raftpb.Entry) {
		for i := first; i <= last; i++ {
			term := uint64(3)
			list = append(list, &raftpb.Entry{Index: &i, Term: &term})
		}
		return list
	}
	for name, c := range map[string]struct {
		recovered replayed
		want      uint64 // the first entry that it can send
	}{
		"a whole log":         {replayed{Applied: 3, AppliedTerm: 3, Older: entries(1, 3)}, 1},
		"one entry":           {replayed{Applied: 1, AppliedTerm: 3, Older: entries(1, 1), Entries: entries(2, 4)}, 1},
		"a shortened log":     {replayed{Applied: 9, AppliedTerm: 3, base: 6, baseTerm: 2, Older: entries(7, 9)}, 7},
		"some were forgotten": {replayed{Applied: 9, AppliedTerm: 3, base: 2, baseTerm: 2, Older: entries(7, 9)}, 8},
		"nothing but applied": {replayed{Applied: 9, AppliedTerm: 3, base: 9, baseTerm: 3}, 10},
	} {
		tail := newTail(&c.recovered)
		if first, err := tail.FirstIndex(); err != nil || first != c.want {
			t.Errorf("%s: first index %d, %v; want %d", name, first, err, c.want)
		}
		if _, err := tail.Term(c.want - 1); err != nil {
			t.Errorf("%s: the term before it: %v", name, err)
		}
	}
}
