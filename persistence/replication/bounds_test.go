package replication

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// TestInboxIsBounded: batches that nobody looks at take no more memory than the bound; looking makes room again.
func TestInboxIsBounded(t *testing.T) {
	var in inbox
	const batch = 1 << 20
	taken := 0
	for in.add([]message{{Gone: 1}}, batch) {
		if taken++; taken > maxInboxBytes/batch {
			t.Fatalf("%d bytes were taken", taken*batch)
		}
	}
	if taken != maxInboxBytes/batch {
		t.Errorf("%d batches of %d bytes were taken", taken, batch)
	}
	if got := len(in.take()); got != taken {
		t.Errorf("%d of %d are there", got, taken)
	}
	if !in.add([]message{{Gone: 1}}, batch) {
		t.Error("no room after it was emptied")
	}
}

// TestHintsAreBounded: what is asked while nobody does it is refused above the bound, but a hold that was begun can always end.
func TestHintsAreBounded(t *testing.T) {
	var h hints
	for range maxHints {
		if err := h.add(hint{suspected: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.add(hint{suspected: 1}); !errors.Is(err, persistence.ErrQueueFull) {
		t.Errorf("one more: %v", err)
	}
	if err := h.add(hint{hold: -1}); err != nil {
		t.Errorf("the end of a hold: %v", err)
	}
	if got := len(h.take(true)); got != maxHints+1 {
		t.Errorf("%d are there", got)
	}
	if err := h.add(hint{suspected: 1}); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// TestBarriersAreBounded: callers above the bound are refused; at most maxRounds rounds of a partition are on their way, and who
// comes later shares the next.
func TestBarriersAreBounded(t *testing.T) {
	b := newBarriers(2)
	answered := 0
	caller := barrier{done: func(error) { answered++ }}
	id := uint64(0)
	next := func() uint64 { id++; return id }
	begun := 0
	ask := func(int, uint64) bool { begun++; return true }
	for range maxRounds + 3 {
		if err := b.add(0, caller); err != nil {
			t.Fatal(err)
		}
		b.begin(next, ask)
	}
	if begun != maxRounds {
		t.Errorf("%d rounds are on their way", begun)
	}
	for range maxBarriers - (maxRounds + 3) {
		if err := b.add(1, caller); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.add(1, caller); !errors.Is(err, persistence.ErrQueueFull) {
		t.Errorf("one more than the bound: %v", err)
	}
	if passed := b.pass(0, id); len(passed) != maxRounds {
		t.Errorf("%d callers of %d rounds passed", len(passed), maxRounds)
	}
	begun = 0
	b.begin(next, ask)
	if begun != 2 { // one of each partition, for all who waited
		t.Errorf("%d rounds began", begun)
	}
	if passed := b.pass(0, id); len(passed) != 3 {
		t.Errorf("%d callers shared the next round, not 3", len(passed))
	}
	if err := b.add(1, caller); err != nil {
		t.Errorf("no room after some passed: %v", err)
	}
	if lost := b.end(); len(lost) != maxBarriers-(maxRounds+3)+1 {
		t.Errorf("%d are told of the end", len(lost))
	}
}

// TestHeldEntriesAreBounded: what is kept for a replica that is being copied is let go of above the bound; it then needs
// another copy.
func TestHeldEntriesAreBounded(t *testing.T) {
	data := make([]byte, 1<<20)
	tl := tail{held: 1}
	for index := uint64(1); index <= 3*maxHeldBytes/(1<<20); index++ {
		tl.append([]*raftpb.Entry{{Index: &index, Term: new(uint64), Data: data}})
		tl.keep(index, 4, 2<<20)
		if tl.keptBytes > maxHeldBytes+uint64(len(data)) {
			t.Fatalf("%d bytes are kept after %d entries", tl.keptBytes, index)
		}
		if index == maxHeldBytes/(1<<20) && tl.base > 1 { // held says from which on
			t.Errorf("%d entries were forgotten within the bound", tl.base)
		}
	}
	if tl.base == 0 {
		t.Error("nothing was let go of")
	}
}
