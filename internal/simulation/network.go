package simulation

import (
	"bytes"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// link is one direction between two nodes.
type link struct{ from, to persistence.NodeID }

// wire is how a link is at present. Its zero value is good.
type wire struct {
	cut       bool
	drop      int           // of a thousand
	duplicate int           // of a thousand
	slow      time.Duration // the most that a batch may take longer
}

func (w *World) wire(from, to persistence.NodeID) *wire {
	l := link{from, to}
	if w.links[l] == nil {
		w.links[l] = &wire{}
	}
	return w.links[l]
}

// carry takes a batch from a host to another. Each batch has a delay of its own, so they overtake each other.
func (w *World) carry(from, to persistence.NodeID, batch []byte) {
	l := w.wire(from, to)
	w.Counts.Batches++
	if l.cut || w.Chance(l.drop) {
		w.Counts.Dropped++
		return
	}
	copies := 1
	if w.Chance(l.duplicate) {
		copies = 2
		w.Counts.Duplicated++
	}
	for range copies {
		w.After(w.Between(100*time.Microsecond, time.Millisecond+l.slow), func() { w.arrive(from, to, bytes.Clone(batch)) })
	}
}

// arrive gives a batch to the host; a link that was cut meanwhile loses it, a node that is frozen finds it when it thaws.
func (w *World) arrive(from, to persistence.NodeID, batch []byte) {
	n := w.Node(to)
	if !n.up || w.wire(from, to).cut {
		w.Counts.Dropped++
		return
	}
	n.After(0, func() {
		switch err := n.step.Host().Receive(from, batch); {
		case errors.Is(err, persistence.ErrQueueFull): // by design lost, as any batch may be
			w.Counts.Full++
		case err != nil:
			w.Fail("network", everyPartition, "%v refused a batch of node %d: %v", n, from, err)
		}
		n.wake()
	})
}

// Ask carries a client's request to a node, where f runs. It may be lost, and is when the node is not up.
func (w *World) Ask(to persistence.NodeID, f func(n *Node)) {
	if w.Chance(w.Config.ClientDrop) && !w.healed {
		return
	}
	w.After(w.Between(50*time.Microsecond, 2*time.Millisecond), func() {
		if n := w.Node(to); n.up {
			n.After(0, func() { f(n) })
		}
	})
}

// Answer carries a node's answer to a client, where f runs. It may be lost.
func (n *Node) Answer(f func()) {
	if n.w.Chance(n.w.Config.ClientDrop) && !n.w.healed {
		return
	}
	n.w.After(n.w.Between(50*time.Microsecond, 2*time.Millisecond), f)
}
