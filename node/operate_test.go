package node

import (
	"errors"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// Goal: an operator's word is decided by the node that writes the cluster's records, whichever node was asked.
func TestOperatorMayAskAnyNode(t *testing.T) {
	host, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig()
	config.Name, config.Join = "second", host.ready.Gossip
	second, err := run(t, config, pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	state := func(at *running) string {
		view, err := at.cluster.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range view.Nodes {
			if n.Name == "second" {
				return n.State
			}
		}
		return "none"
	}
	await := func(at *running, want string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); state(at) != want; {
			if time.Now().After(deadline) {
				t.Fatalf("at %s the second node is %s, not %s", at.config.Name, state(at), want)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	asked := &admin{node: second.Node}
	await(second, "active")
	if err := asked.Drain(t.Context(), "second", false); err != nil {
		t.Fatal(err)
	}
	if got := state(host); got != "draining" { // at once: it is the one who wrote
		t.Errorf("the second node is %s", got)
	}
	await(second, "draining")
	if err := asked.Drain(t.Context(), "second", true); err != nil || state(host) != "active" {
		t.Errorf("undone: %v, %s", err, state(host))
	}
	if err := asked.Drain(t.Context(), "nobody", false); err == nil || gateway.Describe(err).GetCode() != "NOT_FOUND" {
		t.Errorf("a node that is not there: %v", err)
	}
	if err := second.cluster.DrainNode(t.Context(), "second", true); !errors.Is(err, persistence.ErrNotOwner) {
		t.Errorf("a node that does not write the records wrote: %v", err)
	}
}
