package node

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// runFour starts four nodes in memory, joined, and waits until each owns one of four partitions: none has a copy of all.
func runFour(t *testing.T) []*running {
	t.Helper()
	var nodes []*running
	for i := range 4 {
		config := testConfig()
		config.Name = fmt.Sprint("n", i+1)
		config.Insecure = true
		if i > 0 {
			config.Join = nodes[0].ready.Gossip
		}
		r, err := run(t, config, pebblestore.MemFS())
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, r)
	}
	deadline := time.After(time.Minute)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		ready := true
		for _, r := range nodes {
			owned := 0
			for p := range persistence.Partition(4) {
				if r.owners.owns(p) {
					owned++
				}
			}
			ready = ready && owned == 1
		}
		if ready {
			return nodes
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal("not every node owns one partition within a minute")
		}
	}
}

// Goal: a space is listed, copied and erased at any node, wherever its players are live or stored.
func TestSpacesOfFourNodes(t *testing.T) {
	nodes := runFour(t)
	players, ids := makePlayers(t, nodes[0].dial(t, client.Options{}), 60)
	for _, p := range players {
		if _, err := p.Earn(t.Context(), client.Coins, 5); err != nil {
			t.Fatal(err)
		}
	}
	var last *skerryv1.SpaceProgress
	keep := func(p *skerryv1.SpaceProgress) error { last = p; return nil }
	for i, r := range nodes {
		a, to := &admin{node: r.Node}, fmt.Sprint("copy-", i)
		if err := a.CopySpace(t.Context(), "main", to, keep); err != nil || last.GetDone() != 60 {
			t.Fatalf("copy at node %d: %v, %v", i+1, last, err)
		}
		copied := nodes[(i+1)%4].dial(t, client.Options{Space: to})
		for _, id := range ids { // they are live on every node now
			if p, err := copied.Player(t.Context(), id); err != nil || p.GetProfile().GetCoins() != 105 {
				t.Fatalf("copy of %s at node %d: %v, %v", id, i+1, p, err)
			}
		}
	}
	for i, r := range nodes {
		a, space := &admin{node: r.Node}, fmt.Sprint("copy-", i)
		if list, err := a.ListPlayers(t.Context(), space, "", 100); err != nil || len(list) != 60 {
			t.Errorf("%d players listed at node %d, %v", len(list), i+1, err)
		}
		if err := a.EraseSpace(t.Context(), space, keep); err != nil {
			t.Fatal(err)
		}
		erased := nodes[(i+1)%4].dial(t, client.Options{Space: space})
		for _, id := range ids {
			if _, err := erased.Player(t.Context(), id); !errors.Is(err, client.ErrNotFound) {
				t.Fatalf("%s was live and is still there after the erasure at node %d: %v", id, i+1, err)
			}
		}
	}
	if spaces, err := (&admin{node: nodes[2].Node}).Spaces(t.Context()); err != nil || len(spaces) != 1 || spaces[0].GetPlayers() != 60 {
		t.Errorf("spaces in the end: %v, %v", spaces, err)
	}
}
