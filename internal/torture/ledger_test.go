package main

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: the ledger sees every kind of loss, doubling and staleness, and passes what is allowed.
// Method: one history of 17 settled entries, the last by its second attempt, and an 18th on its way; many reads.
func TestLedger(t *testing.T) {
	const entity = 7
	for name, c := range map[string]struct {
		change func(*found)
		floor  persistence.Seq
		want   verdict
		next   bool
	}{
		"all there":                {func(*found) {}, 17, fine, false},
		"an older state":           {func(f *found) { f.last, f.entries = 16, nil }, 16, fine, false},
		"the next one too":         {func(f *found) { f.add(18, 19) }, 17, fine, true},
		"the first try of it":      {func(f *found) { f.add(18, 20) }, 17, fine, true},
		"stale":                    {func(f *found) { f.last, f.entries = 16, nil }, 17, stale, false},
		"nothing":                  {func(f *found) { *f = found{} }, 17, stale, false},
		"another attempt":          {func(f *found) { f.entries[0] = encodeEntry(entity, 17, 17) }, 17, doubled, false},
		"never sent":               {func(f *found) { f.add(18, 99) }, 17, doubled, false},
		"two more than sent":       {func(f *found) { f.add(18, 19); f.add(19, 20) }, 17, doubled, false},
		"twice":                    {func(f *found) { f.add(17, 18) }, 17, broken, false},
		"of another entity":        {func(f *found) { f.entries[0] = encodeEntry(entity+1, 17, 18) }, 17, broken, false},
		"a missing entry":          {func(f *found) { f.entries = nil }, 17, broken, false},
		"snapshot of other things": {func(f *found) { f.snapshot = binary.LittleEndian.AppendUint64(nil, 1) }, 17, doubled, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{entity: entity}
			f := found{last: 17, snapSeq: 16}
			for seq := persistence.Seq(1); seq <= 17; seq++ {
				q, attempt := l.try()
				if seq == 17 {
					q, attempt = l.try()
				}
				if seq == 16 {
					f.snapshot = q.snapshot
				}
				if err := l.settle(attempt); err != nil {
					t.Fatal(err)
				}
				if seq == 17 {
					f.entries = append(f.entries, q.entry)
				}
			}
			l.try()
			l.try()
			c.change(&f)
			got, next, err := l.check(f, c.floor)
			if got != c.want || (err == nil) != (got == fine) || (next != 0) != c.next {
				t.Fatalf("verdict %d, next %d: %v", got, next, err)
			}
			if !c.next {
				return
			}
			if l.floor() != 18 {
				t.Error("what a read has shown may be missing from the next one")
			}
			if err := l.settle(39 - next); err == nil {
				t.Error("a read has shown one attempt, and another could be acknowledged")
			}
		})
	}
}

// add shows one more entry of entity 7.
func (f *found) add(seq persistence.Seq, attempt uint32) {
	f.last++
	f.entries = append(slices.Clone(f.entries), encodeEntry(7, seq, attempt))
}
