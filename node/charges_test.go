package node

import (
	"testing"
	"time"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// Charges come in order and in pages; what is not kept any more is said to be lost.
func TestCharges(t *testing.T) {
	var c charges
	add := func(class budget.Class, bytes int64) {
		server := persistence.Key{Space: "main", Kind: persistence.KindServer, ID: "s1"}
		c.add(server, class, persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: "w"}, bytes, time.UnixMicro(7))
	}
	add(budget.Get, 9<<20)
	add(budget.Set, 4<<20+1)
	got := c.after(0, 1)
	want := Charge{Seq: 1, AtMicros: 7, Space: "main", Server: "s1", Class: "get", Entity: "world/w", Bytes: 9 << 20, Tokens: 1}
	if len(got.Charges) != 1 || got.Charges[0] != want || got.Next != 1 || got.Lost {
		t.Errorf("got %+v", got)
	}
	got = c.after(1, 10)
	if len(got.Charges) != 1 || got.Charges[0].Tokens != 2 || got.Next != 2 || got.Lost {
		t.Errorf("got %+v", got)
	}
	if got = c.after(2, 10); len(got.Charges) != 0 || got.Next != 2 || got.Lost {
		t.Errorf("got %+v", got)
	}
	for range maxCharges {
		add(budget.Set, 0)
	}
	for _, test := range []struct {
		after, first, next uint64
		lost               bool
	}{{0, 3, 12, true}, {1, 3, 12, true}, {2, 3, 12, false}, {65537, 65538, 65538, false}, {1 << 40, 3, 12, true}} {
		got = c.after(test.after, 10)
		if got.Charges[0].Seq != test.first || got.Next != test.next || got.Lost != test.lost {
			t.Errorf("after %d: from %d, next %d, lost %v", test.after, got.Charges[0].Seq, got.Next, got.Lost)
		}
	}
}
