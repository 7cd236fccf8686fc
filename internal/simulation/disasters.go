package simulation

import (
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// disaster is a kind of what can go wrong.
type disaster int

// The disasters.
const (
	kill disaster = iota
	loseEverybodysPower
	losePower
	failSyncs
	freeze
	cutOneWay
	isolate
	storm
	slowDisk
	suspect
	handOver
	rot
	disasterKinds
)

// scheduleDisaster makes the next one come.
func (w *World) scheduleDisaster() {
	if w.Config.Disaster == 0 || len(w.Config.Disasters) == 0 {
		return
	}
	w.After(w.Between(0, 2*w.Config.Disaster), func() {
		if !w.healed {
			w.strike(w.Config.Disasters[w.Rand.IntN(len(w.Config.Disasters))])
			w.scheduleDisaster()
		}
	})
}

// anyNode draws a node; mostly one that owns something, where it hurts.
func (w *World) anyNode() *Node {
	if w.Chance(600) {
		if n := w.Owner(w.anyPartition()); n != nil {
			return n
		}
	}
	return w.nodes[w.Rand.IntN(len(w.nodes))]
}

func (w *World) anyPartition() persistence.Partition {
	return persistence.Partition(w.Rand.IntN(w.Config.Partitions)) //nolint:gosec // few
}

func (w *World) strike(kind disaster) {
	n := w.anyNode()
	long := w.Between(50*time.Millisecond, time.Duration(1+w.Rand.IntN(5))*time.Second)
	if w.Config.Copies && w.Chance(100) {
		long *= 10 // so long that it needs copies when it is back
	}
	switch kind {
	case kill, losePower:
		w.kill(n, kind == losePower, long)
	case loseEverybodysPower:
		for _, each := range w.nodes {
			w.kill(each, true, w.Between(0, time.Second))
		}
	case failSyncs:
		if n.up {
			n.failing.Store(true)
			w.Counts.FailedSyncs++
			w.TellAll("%v's disk fails its syncs", n)
		}
	case freeze:
		if n.up && !n.frozen {
			w.Counts.Freezes++
			n.freeze()
			w.After(long, n.thaw)
			w.suspectBy(n, 500)
		}
	case cutOneWay:
		w.cut(w.wire(n.id, w.nodes[w.Rand.IntN(len(w.nodes))].id), long)
		w.TellAll("a link of %v is cut one way for %v", n, long)
	case isolate:
		w.isolate(n, long)
	case storm:
		w.storm(long)
	case slowDisk:
		n.slowSync = w.Between(0, 2*time.Second)
		life := n.lives
		w.After(long, func() {
			if n.lives == life {
				n.slowSync = 0
			}
		})
	case suspect, handOver:
		w.hint(n, kind)
	case rot:
		w.rot(n)
	case disasterKinds:
	}
}

func (w *World) kill(n *Node, cut bool, down time.Duration) {
	if !n.up {
		return
	}
	if cut {
		w.Counts.PowerCuts++
	} else {
		w.Counts.Kills++
	}
	n.die(cut)
	n.restartIn(down)
	w.suspectBy(n, 300)
}

// suspectBy lets the others suspect n, so many times of a thousand: its connections broke, or it does not answer.
func (w *World) suspectBy(n *Node, perMille int) {
	if !w.Chance(perMille) {
		return
	}
	soon := w.Between(5*time.Millisecond, 500*time.Millisecond)
	for _, other := range w.nodes {
		if other != n {
			other.After(w.Between(0, soon), func() { other.Suspect(n.id) })
		}
	}
}

func (w *World) cut(l *wire, long time.Duration) {
	w.Counts.Cuts++
	l.cut = true
	w.After(long, func() { l.cut = false })
}

// isolate cuts a node off from all others, or from some of them, in both directions.
func (w *World) isolate(n *Node, long time.Duration) {
	all := w.Chance(700)
	w.TellAll("%v is cut off for %v, from all: %v", n, long, all)
	for _, other := range w.nodes {
		if other != n && (all || w.Chance(500)) {
			w.cut(w.wire(n.id, other.id), long)
			w.cut(w.wire(other.id, n.id), long)
		}
	}
	w.suspectBy(n, 500)
}

// storm makes every link bad.
func (w *World) storm(long time.Duration) {
	drop, duplicate, slow := w.Rand.IntN(400), w.Rand.IntN(300), w.Between(0, 800*time.Millisecond)
	w.TellAll("the network loses %d and repeats %d of 1000, and is up to %v slower, for %v", drop, duplicate, slow, long)
	for _, from := range w.nodes {
		for _, to := range w.nodes {
			l := w.wire(from.id, to.id)
			l.drop, l.duplicate, l.slow = drop, duplicate, slow
			w.After(long, func() { l.drop, l.duplicate, l.slow = 0, 0, 0 })
		}
	}
}

// hint tells a node something, true or not.
func (w *World) hint(n *Node, kind disaster) {
	if !n.up || n.frozen {
		return
	}
	other := w.nodes[w.Rand.IntN(len(w.nodes))].id
	if kind == suspect {
		w.Counts.Hints++
		w.TellAll("%v is told that node %d seems gone", n, other)
		n.Suspect(other)
		return
	}
	p := w.anyPartition()
	if n.HandOver(p, other) == nil {
		w.Counts.HandOvers++
		w.Tell(p, "%v is to hand partition %d over to node %d", n, p, other)
	}
}

// heal ends all disasters and starts what is down.
func (w *World) heal() {
	w.healed = true
	w.TellAll("everything is healed")
	for _, l := range w.links {
		*l = wire{}
	}
	for _, n := range w.nodes {
		n.slowSync = 0
		switch {
		case n.frozen:
			n.thaw()
		case n.up && n.failing.Load():
			n.die(true)
		}
		n.start()
	}
}
