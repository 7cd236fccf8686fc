package simulation

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// book is what everybody saw: the replicas' common log, what the reference makes of it, and who claimed what.
type book struct {
	seed      maphash.Seed
	log       map[place]seen
	last      map[persistence.Partition]uint64 // the index up to which the reference went
	reference map[persistence.Partition]*persistencetest.Model
	claims    map[claim]*Node
	rotten    map[persistence.NodeID]bool
}

type place struct {
	partition persistence.Partition
	index     uint64
}

// seen is what the first replica applied at a place.
type seen struct {
	by       *Node
	term     uint64
	data     uint64 // a hash
	refusals string
}

type claim struct {
	partition persistence.Partition
	epoch     persistence.Epoch
}

func newBook() *book {
	return &book{
		seed: maphash.MakeSeed(), log: map[place]seen{}, last: map[persistence.Partition]uint64{},
		reference: map[persistence.Partition]*persistencetest.Model{}, claims: map[claim]*Node{},
		rotten: map[persistence.NodeID]bool{},
	}
}

// claimed notes who owns p under an epoch: never two nodes, never twice.
func (b *book) claimed(n *Node, p persistence.Partition, e persistence.Epoch) {
	c := claim{p, e}
	if other := b.claims[c]; other != nil {
		n.w.Fail("one owner", p, "%v and %v both own partition %d under %v", other, n, p, e)
	}
	b.claims[c] = n
}

// watched is a node's machine, with everything that it applies held against the other replicas and the reference.
type watched struct {
	Machine
	n *Node
}

// Apply implements [persistence.StateMachine].
func (m *watched) Apply(batch []persistence.Committed) ([][]error, error) {
	from := map[persistence.Partition]uint64{}
	for i := range batch {
		if p := batch[i].Partition; from[p] == 0 {
			index, _, err := m.Applied(p)
			if err != nil {
				return nil, err
			}
			from[p] = index + 1
		}
	}
	results, err := m.Machine.Apply(batch)
	if err != nil {
		return nil, err
	}
	for i := range batch {
		if batch[i].Index < from[batch[i].Partition] {
			continue // was applied before: the machine skipped it, and refuses nothing
		}
		var refusals []error
		if results != nil {
			refusals = results[i]
		}
		m.n.w.applied(m.n, &batch[i], refusals)
	}
	return results, nil
}

// Durable implements [persistence.StateMachine]. In runs without copies it says no more than what every replica holds, so
// that no log forgets what another needs.
func (m *watched) Durable(p persistence.Partition) (uint64, error) {
	index, err := m.Machine.Durable(p)
	if err != nil {
		return 0, err
	}
	m.n.durable[p] = max(m.n.durable[p], index)
	if m.n.w.Config.Copies {
		return index, nil
	}
	for _, other := range m.n.w.nodes {
		if !other.refused {
			index = min(index, other.durable[p])
		}
	}
	return index, nil
}

// applied holds an entry against what the other replicas made of it.
func (w *World) applied(n *Node, c *persistence.Committed, refusals []error) {
	w.Counts.Applied++
	at := place{c.Partition, c.Index}
	now := seen{by: n, term: c.Term, data: maphash.Bytes(w.book.seed, c.Data), refusals: names(refusals)}
	if first, ok := w.book.log[at]; ok {
		if first.term != now.term || first.data != now.data {
			w.Fail("one log", c.Partition, "index %d is of term %d at %v and of term %d at %v, or holds something else", c.Index, first.term, first.by, now.term, n)
		} else if first.refusals != now.refusals {
			w.Fail("replicas agree", c.Partition, "index %d: %v refused %s, %v refused %s", c.Index, first.by, first.refusals, n, now.refusals)
		}
		return
	}
	w.book.log[at] = now
	w.refer(n, c, now.refusals)
}

// refer holds an entry against the reference, which applies each once, in order.
func (w *World) refer(n *Node, c *persistence.Committed, refusals string) {
	b, p := w.book, c.Partition
	if c.Index != b.last[p]+1 {
		w.Fail("one log", p, "%v applied index %d first, and nobody those after %d", n, c.Index, b.last[p])
		return
	}
	b.last[p] = c.Index
	if w.Config.OnlyClients || len(c.Data) == 0 {
		return
	}
	proposal, err := persistence.DecodeProposal(c.Data)
	if err != nil {
		w.Fail("one log", p, "index %d at %v: %v", c.Index, n, err)
		return
	}
	if b.reference[p] == nil {
		b.reference[p] = persistencetest.NewModel()
	}
	if want := names(applyProposal(b.reference[p], c.Term, proposal, NoMutation)); want != refusals {
		w.Fail("reference", p, "index %d: %v refused %s, right was %s", c.Index, n, refusals, want)
	}
}

// names puts refusals in words that compare: only their class counts.
func names(refusals []error) string {
	if !slices.ContainsFunc(refusals, func(err error) bool { return err != nil }) {
		return "nothing"
	}
	var said []string
	for i, err := range refusals {
		for _, class := range []error{
			persistence.ErrFenced, persistence.ErrDuplicate, persistence.ErrGap, persistence.ErrOldSnapshot, persistence.ErrIncomplete,
		} {
			if errors.Is(err, class) {
				said = append(said, fmt.Sprintf("%d: %v", i, class))
			}
		}
	}
	return fmt.Sprint(said)
}
