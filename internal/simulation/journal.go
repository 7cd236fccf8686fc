package simulation

import (
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// journal is the app at the level of persistence: virtual clients who append to entities and read them, and on the owner
// of each entity a writer that follows the contract of [persistence.Journal]. Everything that clients saw is a history.
type journal struct {
	w        *World
	entities []entity
	nodes    map[persistence.NodeID]*writers
	clients  int // that are not done
	history  []*op
	begun    int // operations that were not refused
	rogue    map[uint64]string
	acked    map[persistence.Key]persistence.Snapshot // the newest that was acknowledged, its seq and epoch
}

// entity is what the clients write to.
type entity struct {
	index     int
	key       persistence.Key
	partition persistence.Partition
}

// op is one operation of a client. Its zero outcome is unknown.
type op struct {
	id           uint64
	entity       int
	write        bool
	call, end    time.Duration
	outcome      outcome
	seq          persistence.Seq // what a write became, what a read saw
	hash         uint64          // of what a read saw
	answered     bool            // the client does not wait any more
	acknowledged bool            // the node said yes, even if nobody heard it
}

type outcome uint8

const (
	unknown outcome = iota
	succeeded
	refused // it changed nothing
)

// Begin implements [App].
func (j *journal) Begin(w *World) {
	j.w = w
	j.nodes = map[persistence.NodeID]*writers{}
	j.rogue, j.acked = map[uint64]string{}, map[persistence.Key]persistence.Snapshot{}
	for i := range w.Config.Partitions * (1 + w.Rand.IntN(3)) {
		j.entities = append(j.entities, entity{
			index:     i,
			key:       persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: fmt.Sprint("e", i)},
			partition: persistence.Partition(i % w.Config.Partitions), //nolint:gosec // few
		})
	}
	j.clients = 3 + w.Rand.IntN(6)
	for range j.clients {
		c := &client{j: j, guess: map[persistence.Partition]persistence.NodeID{}}
		w.After(w.Between(0, time.Second), c.next)
	}
}

// Started implements [App].
func (j *journal) Started(n *Node) { j.nodes[n.id] = newWriters(j, n) }

// Died implements [App].
func (j *journal) Died(n *Node) { delete(j.nodes, n.id) }

// Claimed implements [App].
func (j *journal) Claimed(n *Node, p persistence.Partition, e persistence.Epoch) {
	j.nodes[n.id].claimed(p, e)
}

// Lost implements [App].
func (j *journal) Lost(n *Node, p persistence.Partition, _ persistence.Epoch) { j.nodes[n.id].lost(p) }

// Idle implements [App].
func (j *journal) Idle() bool { return j.clients == 0 }

// Healed implements [App]: each entity is written and read once more, until somebody says yes.
func (j *journal) Healed() {
	for i := range j.entities {
		for _, write := range []bool{true, false} {
			c := &client{j: j, guess: map[persistence.Partition]persistence.NodeID{}, stubborn: true}
			j.clients++
			c.ask(i, write)
		}
	}
}

// Settled implements [App].
func (j *journal) Settled() bool { return j.clients == 0 }

// client does one thing after the other.
type client struct {
	j        *journal
	guess    map[persistence.Partition]persistence.NodeID
	stubborn bool // tries one thing until it succeeds
}

// maxThink is the longest that a client waits between two operations.
const maxThink = 400 * time.Millisecond

// next begins the next operation, or ends the client.
func (c *client) next() {
	if c.j.begun >= c.j.w.Config.Ops {
		c.j.clients--
		return
	}
	c.ask(c.j.w.Rand.IntN(len(c.j.entities)), c.j.w.Chance(600))
}

// ask asks the node that is thought to be the owner.
func (c *client) ask(which int, write bool) {
	w, j := c.j.w, c.j
	o := &op{id: uint64(len(j.history) + 1), entity: which, write: write, call: w.now}
	j.history = append(j.history, o)
	p := j.entities[which].partition
	node, ok := c.guess[p]
	if !ok || !write && w.Chance(300) { // now and then somebody believes an old rumour
		node = w.nodes[w.Rand.IntN(len(w.nodes))].id
	}
	if !w.Node(node).up && w.Chance(700) { // the connection is refused
		w.After(w.Between(time.Millisecond, 20*time.Millisecond), func() {
			o.outcome = refused
			c.hear(o, node)
		})
		return
	}
	w.Ask(node, func(n *Node) {
		r := &request{op: o, n: n, reply: func() { c.hear(o, node) }}
		j.nodes[n.id].handle(&j.entities[which], r)
	})
	w.After(w.Between(time.Second, 5*time.Second), func() { c.giveUp(o) })
}

// hear takes a node's answer.
func (c *client) hear(o *op, from persistence.NodeID) {
	if o.answered {
		return
	}
	p := c.j.entities[o.entity].partition
	if o.outcome == succeeded {
		c.guess[p] = from
	} else if c.guess[p] == from {
		delete(c.guess, p)
	}
	c.finish(o)
}

// giveUp ends the wait for an answer. What the node says later is not heard.
func (c *client) giveUp(o *op) {
	if o.answered {
		return
	}
	o.outcome = unknown
	delete(c.guess, c.j.entities[o.entity].partition)
	c.finish(o)
}

func (c *client) finish(o *op) {
	w, j := c.j.w, c.j
	o.answered, o.end = true, w.now
	switch o.outcome {
	case succeeded:
		w.Counts.Acked++
	case refused:
		w.Counts.Refused++
	case unknown:
		w.Counts.Unknown++
	}
	if o.outcome != refused {
		j.begun++
		w.Counts.Ops++
	}
	switch {
	case !c.stubborn:
		w.After(w.Between(0, maxThink), c.next)
	case o.outcome == succeeded:
		j.clients--
	default:
		w.After(w.Between(0, maxThink), func() { c.ask(o.entity, o.write) })
	}
}

// request is an operation that has come to a node.
type request struct {
	op    *op
	n     *Node
	reply func()
}

// answer sends the outcome back to the client. An operation that the client has given up stays unknown.
func (r *request) answer(result outcome, seq persistence.Seq, hash uint64) {
	r.op.acknowledged = r.op.acknowledged || result == succeeded
	r.n.Answer(func() {
		if !r.op.answered {
			r.op.outcome, r.op.seq, r.op.hash = result, seq, hash
			r.reply()
		}
	})
}
