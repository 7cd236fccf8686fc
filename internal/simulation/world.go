// Package simulation is a cluster in a bottle: the hosts of several nodes, their disks, the network between them and the
// clients before them, in one process, one goroutine and one virtual time, driven by one seed. It tries what the
// promises of persistence and replication are worth while everything that can break does.
//
// # Guarantees
//
//   - The same seed does the same, to the last byte, as long as every node's state machine is the model. With the real
//     store the schedule is the seed's too, but the store flushes when it likes.
//   - A run ends at its first anomaly, with a story: what was seen of that partition before.
//
// Raft's election time-outs read crypto/rand: whoever runs a [World] seeds that too, by testing/cryptotest, and runs
// nothing beside.
//
// Start at [NewConfig], [New] and [World.Run]. What runs on the nodes is an [App].
package simulation

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// App is what runs on the nodes and before them. Its methods are called in the one goroutine of the world.
type App interface {
	// Begin is called once, before anything happens: clients are made here.
	Begin(w *World)
	// Started: the node's process runs (again) and owns nothing.
	Started(n *Node)
	// Died: the node's process is gone with all that it knew. Nothing will be answered by it.
	Died(n *Node)
	// Claimed and Lost are [persistence.Ownership]'s.
	Claimed(n *Node, p persistence.Partition, epoch persistence.Epoch)
	Lost(n *Node, p persistence.Partition, epoch persistence.Epoch)
	// Idle reports whether the clients have finished what they wanted to do: then everything is healed.
	Idle() bool
	// Healed is called when everything is up again; Settled reports whether what was begun there is done.
	Healed()
	Settled() bool
	// Check looks at the end of it all, when every replica is at rest.
	Check() error
}

// World is one run. It belongs to one goroutine.
type World struct {
	Config Config
	// Rand is the one source of chance.
	Rand   *rand.Rand
	Counts Counts

	app    App
	now    time.Duration
	order  uint64
	events events
	nodes  []*Node
	links  map[link]*wire
	book   *book
	copies copies
	votes  map[voteOf]bool // was asked to vote, ever
	tale   tale
	failed error
	healed bool
	trace  uint64 // a hash of everything that happened
}

// New makes a world and starts its nodes.
func New(config Config, app App) *World {
	w := &World{
		Config: config, app: app, links: map[link]*wire{},
		Rand: rand.New(rand.NewPCG(config.Seed, 0)), //nolint:gosec // a simulation is not a secret
		book: newBook(), votes: map[voteOf]bool{},
	}
	for i := range config.Nodes {
		w.nodes = append(w.nodes, newNode(w, persistence.NodeID(i+1))) //nolint:gosec // few
	}
	app.Begin(w)
	for _, n := range w.nodes {
		n.start()
	}
	w.scheduleDisaster()
	w.scheduleMove()
	return w
}

// Now is the virtual time since the world began.
func (w *World) Now() time.Duration { return w.now }

// Nodes are all nodes, up or not, by rising id.
func (w *World) Nodes() []*Node { return w.nodes }

// Node returns a node by its id.
func (w *World) Node(id persistence.NodeID) *Node { return w.nodes[id-1] }

// Owner returns the node that owns p and is up: the one of the greatest epoch, when a deposed one does not know yet.
func (w *World) Owner(p persistence.Partition) *Node {
	var owner *Node
	for _, n := range w.nodes {
		if e, ok := n.Owns(p); ok && !n.frozen && (owner == nil || e.Compare(owner.owned[p]) > 0) {
			owner = n
		}
	}
	return owner
}

// After calls f when d has passed. What belongs to a node goes through [Node.After].
func (w *World) After(d time.Duration, f func()) {
	w.order++
	heap.Push(&w.events, event{at: w.now + max(d, 0), order: w.order, do: f})
}

// Between draws a time from low to high.
func (w *World) Between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.Rand.Int64N(int64(high-low)+1))
}

// Chance is true so many times of a thousand.
func (w *World) Chance(perMille int) bool { return w.Rand.IntN(1000) < perMille }

// Fail ends the run with an anomaly: checker names who found it, p the partition whose story is told.
func (w *World) Fail(checker string, p persistence.Partition, format string, args ...any) {
	if w.failed == nil && (!w.Config.OnlyClients || !inside(checker)) {
		w.failed = &AnomalyError{Checker: checker, Partition: p, At: w.now, What: fmt.Sprintf(format, args...), Story: w.tale.of(p)}
	}
}

// inside reports whether a checker looks at what replicas and owners are told.
func inside(checker string) bool {
	switch checker {
	case "contract", "reference", "replicas agree", "snapshots forward", "one owner":
		return true
	default:
		return false
	}
}

// Tell adds to the story of p.
func (w *World) Tell(p persistence.Partition, format string, args ...any) {
	w.tale.add(w.now, p, format, args)
}

// TellAll adds to the story of every partition.
func (w *World) TellAll(format string, args ...any) { w.tale.add(w.now, everyPartition, format, args) }

// The bounds of a run's virtual time: to do what the clients want, and to be whole again after the healing.
const (
	maxRunTime  = 30 * time.Minute
	maxHealTime = 60 * time.Second
	maxEvents   = 5_000_000 // ten times what a run of 1000 operations has: something goes round in a circle
)

// Run runs the world to its end and returns the first anomaly, an [*AnomalyError], or nil.
func (w *World) Run() (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.Fail("panic", everyPartition, "%v", r)
		}
		for _, n := range w.nodes {
			n.stop()
		}
		err = w.failed
	}()
	if !w.until(maxRunTime, w.app.Idle) {
		w.Fail("liveness", everyPartition, "the clients did not finish within %v", maxRunTime)
		return nil
	}
	w.heal()
	w.app.Healed()
	if !w.until(maxHealTime, w.whole) {
		w.Fail("liveness", w.missing(), "not whole %v after everything was healed", maxHealTime)
		return nil
	}
	w.compareReplicas()
	if w.failed == nil {
		w.failed = w.app.Check()
	}
	return nil
}

// until runs events until done, looked at after each; it is false when limit has passed, true also after an anomaly.
func (w *World) until(limit time.Duration, done func() bool) bool {
	end := w.now + limit
	for w.failed == nil && !done() {
		if len(w.events) == 0 || w.now > end || w.Counts.Events >= maxEvents {
			return false
		}
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		w.trace = (w.trace ^ uint64(e.at) ^ e.order<<32) * 0x9E3779B97F4A7C15 //nolint:gosec // a hash
		w.Counts.Events++
		e.do()
	}
	return true
}

// Trace is a hash of the moments of all events: two runs that differ in anything differ in it.
func (w *World) Trace() uint64 { return w.trace }

// event is something that happens at a moment; those of one moment happen in the order in which they were made.
type event struct {
	at    time.Duration
	order uint64
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}

// AnomalyError is a broken promise.
type AnomalyError struct {
	// Checker is who found it.
	Checker   string
	Partition persistence.Partition
	At        time.Duration
	What      string
	// Story is what was seen of the partition before, in words, a line each.
	Story string
}

// Error says what and when, and tells the story.
func (e *AnomalyError) Error() string {
	return fmt.Sprintf("%s, at %v: %s\n%s", e.Checker, e.At, e.What, e.Story)
}

// everyPartition is the partition of what concerns them all.
const everyPartition persistence.Partition = 0xFFFE

// The bounds of a story.
const (
	maxTale  = 1 << 14 // lines that are kept
	maxStory = 60      // that are told
)

// tale keeps the last lines of all stories, as they were given; they are put in words when they are told.
type tale struct {
	lines []line
	next  int
}

type line struct {
	at        time.Duration
	partition persistence.Partition
	format    string
	args      []any
}

func (t *tale) add(at time.Duration, p persistence.Partition, format string, args []any) {
	l := line{at, p, format, args}
	if len(t.lines) < maxTale {
		t.lines = append(t.lines, l)
		return
	}
	t.lines[t.next] = l
	t.next = (t.next + 1) % maxTale
}

// of tells the last lines about p.
func (t *tale) of(p persistence.Partition) string {
	var told []string
	for i := len(t.lines) - 1; i >= 0 && len(told) < maxStory; i-- {
		l := t.lines[(t.next+i)%len(t.lines)]
		if p == everyPartition || l.partition == p || l.partition == everyPartition {
			told = append(told, fmt.Sprintf("  %12v  %s", l.at, fmt.Sprintf(l.format, l.args...)))
		}
	}
	for i, j := 0, len(told)-1; i < j; i, j = i+1, j-1 {
		told[i], told[j] = told[j], told[i]
	}
	return strings.Join(told, "\n")
}
