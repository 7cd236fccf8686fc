package persistence_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

func TestKeyValidate(t *testing.T) {
	const p, w = persistence.KindPlayer, persistence.KindWorld
	for _, c := range []struct {
		key  persistence.Key
		good bool
	}{
		{persistence.Key{Space: "main", Kind: p, ID: "1001"}, true},
		{persistence.Key{Space: strings.Repeat("a", 32), Kind: p, ID: strings.Repeat("x", 64)}, true},
		{persistence.Key{Space: "my-game-2", Kind: persistence.KindServer, ID: "_a.b:c-d"}, true},
		{persistence.Key{Space: "main", Kind: w, ID: "1001"}, true},
		{persistence.Key{Space: "main", Kind: w, ID: strings.Repeat("x", 64) + "~" + strings.Repeat("n", 16)}, true},
		{persistence.Key{Space: "", Kind: p, ID: "1"}, false},
		{persistence.Key{Space: strings.Repeat("a", 33), Kind: p, ID: "1"}, false},
		{persistence.Key{Space: "Main", Kind: p, ID: "1"}, false},
		{persistence.Key{Space: "ma in", Kind: p, ID: "1"}, false},
		{persistence.Key{Space: "main", Kind: 0, ID: "1"}, false},
		{persistence.Key{Space: "main", Kind: 9, ID: "1"}, false},
		{persistence.Key{Space: "main", Kind: p, ID: ""}, false},
		{persistence.Key{Space: "main", Kind: p, ID: strings.Repeat("x", 65)}, false},
		{persistence.Key{Space: "main", Kind: p, ID: strings.Repeat("x", 300)}, false},
		{persistence.Key{Space: "main", Kind: p, ID: ".hidden"}, false},
		{persistence.Key{Space: "main", Kind: p, ID: "-x"}, false},
		{persistence.Key{Space: "main", Kind: p, ID: "a\x00b"}, false},
		{persistence.Key{Space: "main", Kind: p, ID: "a/b"}, false},
		{persistence.Key{Space: "main", Kind: p, ID: "é"}, false},
		{persistence.Key{Space: "main", Kind: p, ID: "1~2"}, false}, // only worlds have numbers
		{persistence.Key{Space: "main", Kind: w, ID: "1~"}, false},
		{persistence.Key{Space: "main", Kind: w, ID: "~1"}, false},
		{persistence.Key{Space: "main", Kind: w, ID: "1~2~3"}, false},
		{persistence.Key{Space: "main", Kind: w, ID: "1~" + strings.Repeat("n", 17)}, false},
	} {
		err := c.key.Validate()
		if good := err == nil; good != c.good || !good && !errors.Is(err, persistence.ErrBadKey) {
			t.Errorf("%q: %v, want good = %v", c.key, err, c.good)
		}
	}
}

// Partitions are part of the stored format: these values may never change.
func TestPartitionOfIsFixed(t *testing.T) {
	for _, c := range []struct {
		key   persistence.Key
		count int
		want  persistence.Partition
	}{
		{persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "1001"}, 32, 25},
		{persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: "1001"}, 32, 2},
		{persistence.Key{Space: "staging", Kind: persistence.KindPlayer, ID: "1001"}, 32, 15},
		{persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "1001"}, 1, 0},
		{persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "1001"}, 4096, 3129},
	} {
		if got := persistence.PartitionOf(c.key, c.count); got != c.want {
			t.Errorf("partition of %s among %d: %d, want %d", c.key, c.count, got, c.want)
		}
	}
}

func TestKeyBinaryKeepsOrder(t *testing.T) {
	keys := []persistence.Key{ // rising
		{Space: "a", Kind: persistence.KindPlayer, ID: "1"},
		{Space: "a", Kind: persistence.KindPlayer, ID: "10"},
		{Space: "a", Kind: persistence.KindPlayer, ID: "2"},
		{Space: "a", Kind: persistence.KindWorld, ID: "1"},
		{Space: "a-b", Kind: persistence.KindPlayer, ID: "1"},
		{Space: "b", Kind: persistence.KindPlayer, ID: "1"},
	}
	var before []byte
	for _, k := range keys {
		b, err := k.AppendBinary(nil)
		if err != nil || bytes.Compare(before, b) >= 0 {
			t.Errorf("%s: %x after %x (%v)", k, b, before, err)
		}
		before = b
	}
}

func TestEpochOrder(t *testing.T) {
	rising := []persistence.Epoch{{}, {Term: 1}, {Term: 9}, {Generation: 1}, {Generation: 1, Term: 1}, {Generation: 2}}
	for i, a := range rising {
		for j, b := range rising {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%s compared with %s: %d, want %d", a, b, got, want)
			}
		}
	}
}
