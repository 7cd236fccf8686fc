package node

import (
	"errors"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/actors"
)

// Goal: load balancers leave a node that drains, which works all the same.
// Method: drain one of four.
func TestADrainingNodeIsNotReady(t *testing.T) {
	nodes := runFour(t)
	for i, r := range nodes {
		if err := r.health.check(t.Context()); err != nil || r.health.ready() != nil {
			t.Errorf("node %d: %v, %v", i+1, err, r.health.ready())
		}
	}
	if err := (&admin{nodes[0].Node}).Drain(t.Context(), "n4", false); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !errors.Is(nodes[3].health.ready(), actors.ErrDraining) {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal("a node that drains says that it is ready")
		}
	}
	if err := nodes[3].health.check(t.Context()); err != nil {
		t.Errorf("it drains and works: %v", err)
	}
}
