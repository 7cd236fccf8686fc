package actors

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Partners are the hosts of the other nodes, as far as game servers are concerned: a server's entity is watched over where
// its partition is owned, its players and worlds live anywhere.
type Partners interface {
	// Tell passes notes on to the owner of each note's server, where [Host.Hear] takes them: in order per server while
	// the owner stays. It never blocks, keeps the notes, and is bounded; what it cannot pass on it may drop: sessions
	// are found again by their marks, and a [ResyncNote], told later, has that done, and says that events are missing.
	// One goroutine calls it.
	Tell(notes []*peerv1.Note)

	// Marks is [persistence.Storage].Marks at the owner of p, wherever that is. Any error means that the answer is not
	// known now: it is asked again later. Many goroutines call it.
	Marks(ctx context.Context, p persistence.Partition, space, name string, after persistence.Key, limit int) ([]persistence.MarkOf, error)

	// Lease is [Host.Lease] at the owner of the server's partition, wherever that is. It may wait, until ctx ends. Any error but
	// [budget.ErrExhausted] means that the owner could not be asked. Many goroutines call it.
	Lease(ctx context.Context, server persistence.Key, asked *peerv1.Lease) (*peerv1.LeaseAnswer, error)
}

const (
	// maxNotes wait to be told; more become one note for each server that events are missing.
	maxNotes = 8192
	// seenInterval is how often another node hears that a server is alive.
	seenInterval = time.Second
	// maxAway is how many servers of other nodes are remembered for that.
	maxAway = 16384
	// maxMoved bounds the events of one change of an owner.
	maxMoved = 1000
	// maxTokenBytes bounds a token and an incarnation in a note.
	maxTokenBytes = 128
)

// Hear takes notes that another node's [Partners] brought, as if their turns had been here. Notes of servers that are not
// known here, and malformed ones, are ignored. A node that does not own a server's partition should not call it, but tell
// the sender who does. Any goroutine may call it; it does not block, and keeps the events of the notes.
func (h *Host) Hear(notes []*peerv1.Note) {
	s := h.servers
	var ready []delivery
	s.mu.Lock()
	for _, note := range notes {
		effect, ok := effectOf(note)
		server := s.mu.known[serverName{note.GetSpace(), note.GetServer()}]
		if !ok || server == nil {
			continue
		}
		if note.GetSeen() {
			server.lastSeen.Store(int64(h.now()))
		}
		if effect.Event.GetType() == turn.EventResync {
			ready = s.resyncLocked(server, ready)
			continue
		}
		ready = s.applyLocked(server, &effect, ready)
	}
	s.mu.Unlock()
	s.poke()
	give(ready)
}

// effectOf reads a note; false when it is not one that a host writes.
func effectOf(note *peerv1.Note) (turn.Effect, bool) {
	e := turn.Effect{
		Server: note.GetServer(), Opened: note.GetOpened(), Ended: note.GetEnded(), Token: note.GetToken(),
		Incarnation: note.GetIncarnation(), Event: note.GetEvent(),
	}
	if serverKey(note.GetSpace(), note.GetServer()).Validate() != nil || len(e.Token) > maxTokenBytes || len(e.Incarnation) > maxTokenBytes {
		return e, false
	}
	if note.GetKind() > uint32(persistence.KindServer) {
		return e, false
	}
	e.Key = persistence.Key{Space: note.GetSpace(), Kind: persistence.Kind(note.GetKind()), ID: note.GetEntity()} //nolint:gosec // checked
	switch {
	case e.Opened && e.Ended:
		return e, false
	case e.Opened || e.Ended:
		if e.Key.Validate() != nil || e.Key.Kind == persistence.KindServer || e.Token == "" {
			return e, false
		}
	}
	if e.Event != nil {
		known := []string{turn.EventSessionTaken, turn.EventSessionEnded, turn.EventChanged, turn.EventSaveFailed, turn.EventMoved, turn.EventResync}
		if !slices.Contains(known, e.Event.GetType()) {
			return e, false
		}
	}
	return e, true
}

// noteLocked has an effect told to the node that watches over its server, when that is another one.
func (s *servers) noteLocked(key persistence.Key, e *turn.Effect) {
	if s.partners == nil || e.Registered || e.Closed || s.mu.closed || key.Validate() != nil || s.owns(s.host.partitionOf(key), nil) {
		return
	}
	s.tellLaterLocked(&peerv1.Note{
		Space: key.Space, Server: key.ID, Kind: uint32(e.Key.Kind), Entity: e.Key.ID, Token: e.Token, Incarnation: e.Incarnation,
		Opened: e.Opened, Ended: e.Ended, Event: e.Event,
	})
}

// tellLaterLocked queues a note. When too many wait, each server's become one that says so.
func (s *servers) tellLaterLocked(note *peerv1.Note) {
	if len(s.mu.notes) >= maxNotes {
		missing := map[serverName]struct{}{}
		for _, n := range s.mu.notes {
			missing[serverName{n.GetSpace(), n.GetServer()}] = struct{}{}
		}
		s.mu.notes = nil
		for name := range missing {
			s.mu.notes = append(s.mu.notes, ResyncNote(name.space, name.id))
		}
		if len(s.mu.notes) > maxNotes/2 { // so many servers: their sessions are found by their marks
			s.mu.notes = s.mu.notes[:maxNotes/2]
		}
	}
	s.mu.notes = append(s.mu.notes, note)
}

// ResyncNote says that notes of a server were lost: its game server is told to look at its sessions again, and so does the host that
// watches over it. [Partners] that dropped notes should tell it as soon as they can.
func ResyncNote(space, server string) *peerv1.Note {
	return &peerv1.Note{Space: space, Server: server, Event: &skerryv1.ServerEvent{Type: turn.EventResync, At: timestamppb.Now()}}
}

// tellNotes tells what is queued. Only the loop calls it.
func (s *servers) tellNotes() {
	if s.partners == nil {
		return
	}
	s.mu.Lock()
	notes := s.mu.notes
	s.mu.notes = nil
	s.mu.Unlock()
	if len(notes) > 0 {
		s.partners.Tell(notes)
	}
}

// seenAway notes that a server which is not known here was heard of; told is when that was said last, nil: never.
func (s *servers) seenAway(name serverName, told *atomic.Int64) {
	now := int64(s.host.now())
	if told != nil {
		if before := told.Load(); now-before < int64(seenInterval) || !told.CompareAndSwap(before, now) {
			return
		}
	}
	key := serverKey(strings.Clone(name.space), strings.Clone(name.id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if told == nil {
		if s.mu.away[name] != nil { // another was here first
			return
		}
		if len(s.mu.away) >= maxAway {
			clear(s.mu.away)
		}
		told = new(atomic.Int64)
		told.Store(now)
		s.mu.away[nameOf(key)] = told
	}
	if key.Validate() != nil || s.mu.closed || s.owns(s.host.partitionOf(key), nil) {
		return
	}
	s.tellLaterLocked(&peerv1.Note{Space: key.Space, Server: key.ID, Seen: true})
	s.poke()
}

// resyncLocked notes that a server's events, and perhaps sessions, were lost on their way.
func (s *servers) resyncLocked(of *serverState, ready []delivery) []delivery {
	of.log.lose(time.Now())
	s.lookAgainLocked(of, s.everywhere()...)
	return s.wakeLocked(of, nil, ready)
}

// Moved says that partition p has another owner now, which is not this node: the servers that are watched over here hear
// [turn.EventMoved] for their sessions there, 1,000 at most, and what the owner before did not tell any more is looked for.
// [Host.Claimed] does the same for this node. Any goroutine may call it; it does not block.
func (h *Host) Moved(p persistence.Partition) {
	s := h.servers
	if int(p) >= len(h.partitions) || s.partners == nil {
		return
	}
	s.mu.Lock()
	ready := s.movedLocked(p)
	for _, of := range s.mu.known {
		s.lookAgainLocked(of, p)
	}
	s.mu.Unlock()
	s.poke()
	give(ready)
}

// movedLocked tells servers of their sessions in a partition that has a new owner.
func (s *servers) movedLocked(p persistence.Partition) (ready []delivery) {
	told := 0
	for _, of := range s.mu.known {
		before := told
		for key, session := range of.sessions {
			if told < maxMoved && s.host.partitionOf(key) == p {
				told++
				of.log.add(&skerryv1.ServerEvent{
					Type: turn.EventMoved, Kind: key.Kind.String(), Entity: key.ID, Session: session.token, At: timestamppb.Now(),
				}, time.Now())
			}
		}
		if told > before {
			ready = s.wakeLocked(of, nil, ready)
		}
	}
	return ready
}

// everywhere is where a server's sessions may be.
func (s *servers) everywhere() []persistence.Partition {
	var all []persistence.Partition
	for i := range s.host.partitions {
		if p := persistence.Partition(i); s.partners != nil || s.owns(p, nil) { //nolint:gosec // at most 4096
			all = append(all, p)
		}
	}
	return all
}

// lookAgainLocked has some partitions looked through for sessions of a server. Nobody waits for that.
func (s *servers) lookAgainLocked(of *serverState, partitions ...persistence.Partition) {
	if len(of.again) == 0 {
		of.again = map[persistence.Partition]struct{}{}
		s.mu.rebuilds = append(s.mu.rebuilds, rebuild{server: of})
	}
	for _, p := range partitions {
		of.again[p] = struct{}{}
	}
}
