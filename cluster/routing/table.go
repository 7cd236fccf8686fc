package routing

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Place is who owns a partition, and since which epoch.
type Place struct {
	Node  persistence.NodeID
	Epoch persistence.Epoch
}

// Table is what a node has heard of who owns what: a hint, of which the newest is kept. Its methods may be called from any goroutine.
type Table struct {
	follow func(persistence.Partition, Place) // nil for nobody; immutable once anything is learned
	places []atomic.Pointer[Place]            // by partition; behind them the meta partition's

	mu struct {
		sync.Mutex // held for every change of places
		changed    chan struct{}
	}
}

// NewTable makes a table that knows nothing, for the partitions 0 to partitions - 1 and the meta partition.
func NewTable(partitions int) *Table {
	t := &Table{places: make([]atomic.Pointer[Place], partitions+1)}
	t.mu.changed = make(chan struct{})
	return t
}

// Follow says who hears of every place that Learn keeps, from whatever goroutine; it must not block. To be called once, before anything is
// learned.
func (t *Table) Follow(f func(persistence.Partition, Place)) { t.follow = f }

// slot returns the place of a partition in places; -1 when there is no such partition.
func (t *Table) slot(p persistence.Partition) int {
	last := len(t.places) - 1
	switch {
	case p == persistence.MetaPartition:
		return last
	case int(p) < last:
		return int(p)
	}
	return -1
}

// Owner returns who is said to own a partition; false when nobody is, or when there is no such partition.
func (t *Table) Owner(p persistence.Partition) (Place, bool) {
	i := t.slot(p)
	if i < 0 {
		return Place{}, false
	}
	if place := t.places[i].Load(); place != nil {
		return *place, true
	}
	return Place{}, false
}

// Learn keeps a place that somebody said, and returns true, when its epoch is greater than that of the known one. A node or partition that
// cannot be is not kept.
func (t *Table) Learn(p persistence.Partition, place Place) (news bool) {
	t.mu.Lock()
	if news = t.learnLocked(p, place); news {
		t.tellLocked()
	}
	t.mu.Unlock()
	if news && t.follow != nil {
		t.follow(p, place)
	}
	return news
}

func (t *Table) learnLocked(p persistence.Partition, place Place) bool {
	i := t.slot(p)
	if i < 0 || place.Node == 0 {
		return false
	}
	if known := t.places[i].Load(); known != nil && known.Epoch.Compare(place.Epoch) >= 0 {
		return false
	}
	t.places[i].Store(&place)
	return true
}

func (t *Table) tellLocked() {
	close(t.mu.changed)
	t.mu.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change. Take it before looking, so that none is missed.
func (t *Table) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.changed
}

// All returns every known place.
func (t *Table) All() map[persistence.Partition]Place {
	all := make(map[persistence.Partition]Place, len(t.places))
	for i := range t.places {
		place := t.places[i].Load()
		if place == nil {
			continue
		}
		p := persistence.Partition(i) //nolint:gosec // at most 4096
		if i == len(t.places)-1 {
			p = persistence.MetaPartition
		}
		all[p] = *place
	}
	return all
}

// Encode returns every known place, as [Table.Merge] of another node takes them: the places of a peerv1.Gossip.
func (t *Table) Encode() []byte {
	gossip := &peerv1.Gossip{}
	for p, place := range t.All() {
		gossip.Places = append(gossip.Places, encodePlace(p, place))
	}
	b, err := gossip.MarshalVT()
	if err != nil {
		panic(fmt.Errorf("encode places: %w", err)) // it is only numbers
	}
	return b
}

// Merge learns the places of b, a peerv1.Gossip, and returns the partitions of which it was news. What this node cannot use is left
// out. On [codec.ErrMalformed] nothing was learned.
func (t *Table) Merge(b []byte) ([]persistence.Partition, error) {
	gossip := &peerv1.Gossip{}
	if err := gossip.UnmarshalVT(b); err != nil {
		return nil, fmt.Errorf("%w: places: %w", codec.ErrMalformed, err)
	}
	var changed []persistence.Partition
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range gossip.GetPlaces() {
		if p, place, ok := decodePlace(m); ok && t.learnLocked(p, place) {
			changed = append(changed, p)
		}
	}
	if len(changed) > 0 {
		t.tellLocked()
	}
	return changed, nil
}

// onlyNode reports whether no other node is known to own anything.
func (t *Table) onlyNode(self persistence.NodeID) bool {
	for i := range t.places {
		if place := t.places[i].Load(); place != nil && place.Node != self {
			return false
		}
	}
	return true
}

func encodePlace(p persistence.Partition, place Place) *peerv1.Place {
	return &peerv1.Place{
		Partition: uint32(p), Node: uint32(place.Node), Generation: place.Epoch.Generation, Term: place.Epoch.Term,
	}
}

// decodePlace returns what a message says; false for none, and for one that no node would say.
func decodePlace(m *peerv1.Place) (persistence.Partition, Place, bool) {
	if m.GetNode() == 0 || m.GetPartition() > uint32(persistence.MetaPartition) {
		return 0, Place{}, false
	}
	epoch := persistence.Epoch{Generation: m.GetGeneration(), Term: m.GetTerm()}
	return persistence.Partition(m.GetPartition()), Place{Node: persistence.NodeID(m.GetNode()), Epoch: epoch}, true //nolint:gosec // just checked
}
