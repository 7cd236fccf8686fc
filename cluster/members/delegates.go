package members

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

// gate lets calls of the handler through until it is closed; then none is on its way.
type gate struct {
	mu     sync.RWMutex
	closed bool // guarded by mu
}

func (g *gate) do(call func()) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if !g.closed {
		call()
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// speaker is what memberlist asks what to say, and tells what was said. It implements [memberlist.Delegate].
type speaker Members

// NodeMeta implements [memberlist.Delegate].
func (s *speaker) NodeMeta(int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.meta)
}

// NotifyMsg implements [memberlist.Delegate].
func (s *speaker) NotifyMsg(b []byte) {
	e, err := decodeEnvelope(b)
	if err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "a message that is none", slog.Any("err", err))
		return
	}
	switch e.kind {
	case kindPayload:
		s.gate.do(func() { s.opts.Handler.Message(e.from, bytes.Clone(e.payload)) })
	case kindLeaving:
		s.mu.Lock()
		defer s.mu.Unlock()
		if o, ok := s.mu.others[e.from]; ok && o.Life == e.life {
			s.mu.leaving[e.from] = e.life
		}
	}
}

// GetBroadcasts implements [memberlist.Delegate].
func (s *speaker) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements [memberlist.Delegate].
func (s *speaker) LocalState(bool) []byte {
	var state []byte
	s.gate.do(func() { state = s.opts.Handler.LocalState() })
	if len(state) > MaxPayload {
		s.log.LogAttrs(context.Background(), slog.LevelError, "state is too long to be exchanged", slog.Int("bytes", len(state)))
		return nil
	}
	return state
}

// MergeRemoteState implements [memberlist.Delegate].
func (s *speaker) MergeRemoteState(state []byte, _ bool) {
	if len(state) <= MaxPayload {
		s.gate.do(func() { s.opts.Handler.MergeState(bytes.Clone(state)) })
	}
}

// watcher is what memberlist tells who comes and goes, with its lock held. It implements [memberlist.EventDelegate].
type watcher Members

// NotifyJoin implements [memberlist.EventDelegate].
func (w *watcher) NotifyJoin(n *memberlist.Node) { w.heard(n) }

// NotifyUpdate implements [memberlist.EventDelegate].
func (w *watcher) NotifyUpdate(n *memberlist.Node) { w.heard(n) }

// heard notes what a member says of itself.
func (w *watcher) heard(n *memberlist.Node) {
	if n.Name == w.opts.Self.Name {
		return
	}
	m, err := decodeMember(n.Meta)
	if err != nil { // the doorman lets none of these in
		w.log.LogAttrs(context.Background(), slog.LevelWarn, "a member says what cannot be read", slog.String("member", n.Name), slog.Any("err", err))
		return
	}
	m.Name, m.Gossip = n.Name, n.Address()
	w.mu.Lock()
	before, had := w.mu.others[n.Name]
	w.mu.others[n.Name] = other{m, memberlist.Node{Name: n.Name, Addr: slices.Clone(n.Addr), Port: n.Port}}
	delete(w.mu.leaving, n.Name)
	w.mu.Unlock()
	w.gate.do(func() {
		if had && before.Life != m.Life {
			w.opts.Handler.Left(before.Member, true)
		}
		w.opts.Handler.Changed()
	})
}

// NotifyLeave implements [memberlist.EventDelegate].
func (w *watcher) NotifyLeave(n *memberlist.Node) {
	w.mu.Lock()
	gone, had := w.mu.others[n.Name]
	life, said := w.mu.leaving[n.Name]
	delete(w.mu.others, n.Name)
	delete(w.mu.leaving, n.Name)
	w.mu.Unlock()
	if had {
		w.gate.do(func() { w.opts.Handler.Left(gone.Member, !said || life != gone.Life) })
	}
}

// doorman decides who belongs here. It implements [memberlist.AliveDelegate], [memberlist.MergeDelegate] and
// [memberlist.ConflictDelegate].
type doorman Members

// NotifyAlive implements [memberlist.AliveDelegate]: one member, heard of from anybody.
func (d *doorman) NotifyAlive(n *memberlist.Node) error {
	if n.Name == d.opts.Self.Name {
		return nil
	}
	m, err := decodeMember(n.Meta)
	if err != nil {
		return err
	}
	return d.belongs(n.Name, &m)
}

// belongs reports whether a member is of this cluster, as far as both know theirs, and is the only one with its id: a copy of a
// node's directory under another name would vote in its place, without what it acknowledged.
func (d *doorman) belongs(name string, m *Member) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	ours := d.mu.self.Cluster
	if ours != "" && m.Cluster != "" && ours != m.Cluster {
		return fmt.Errorf("%w: %s is of cluster %s, this node of %s", ErrOtherCluster, name, m.Cluster, ours)
	}
	if m.Node == 0 {
		return nil
	}
	if m.Node == d.mu.self.Node {
		return fmt.Errorf("%w: %s is node %d, as %s is: one of the two runs on a copy of the other's data directory", ErrTwice, name, m.Node, d.opts.Self.Name)
	}
	for other, known := range d.mu.others {
		if other != name && known.Node == m.Node {
			return fmt.Errorf("%w: %s is node %d, as %s is: one of the two runs on a copy of the other's data directory", ErrTwice, name, m.Node, other)
		}
	}
	return nil
}

// NotifyMerge implements [memberlist.MergeDelegate]: all that somebody knows who joins, or is joined.
func (d *doorman) NotifyMerge(peers []*memberlist.Node) error {
	strangers := 0
	for _, n := range peers {
		if n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect {
			continue
		}
		m, err := decodeMember(n.Meta)
		if err != nil {
			continue // it is refused when it is heard of
		}
		if n.Name == d.opts.Self.Name {
			if err := d.itself(n, &m); err != nil {
				return err
			}
			continue
		}
		if err := d.belongs(n.Name, &m); err != nil {
			return err
		}
		strangers++
	}
	if strangers == 0 {
		return errItself
	}
	return nil
}

// itself looks at what somebody else knows under this node's name.
func (d *doorman) itself(n *memberlist.Node, m *Member) error {
	d.mu.Lock()
	self := d.mu.self
	d.mu.Unlock()
	switch {
	case n.Address() == self.Gossip:
		return nil
	case m.Nonce == self.Nonce && m.Nonce != 0 && m.Life != self.Life:
		return errFormerLife
	default:
		return fmt.Errorf("%w: %s is at %s", ErrNameTaken, n.Name, n.Address())
	}
}

// NotifyConflict implements [memberlist.ConflictDelegate].
func (d *doorman) NotifyConflict(existing, other *memberlist.Node) {
	d.log.LogAttrs(context.Background(), slog.LevelWarn, "two members have one name", slog.String("member", existing.Name),
		slog.String("address", existing.Address()), slog.String("other_address", other.Address()))
}
