package clustertest

import (
	"slices"
	"testing"
)

// The addresses of one node, and of the nodes of one cluster, must not be the same by chance.
func TestFreeAddrsAreDifferent(t *testing.T) {
	addrs, err := FreeAddrs(200)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(addrs)
	if n := len(slices.Compact(addrs)); n != 200 {
		t.Errorf("%d of 200 addresses are different", n)
	}
}
