package client

import (
	"context"
	"errors"
	"fmt"
)

// errNotClaimed: an event does not tell of a claimed world.
var errNotClaimed = errors.New("the event is no WORLD_CLAIMED")

// ClaimedWorld returns the world of an [EventWorldClaimed], with the session that the node opened for this server, and its
// document as it is now. Call it once for an event, since command ids begin at 1, and within OnEvent: then no later event about
// the session is missed. Of a world whose event was missed, use [Server.OpenWorld].
func (s *Server) ClaimedWorld(ctx context.Context, event *Event) (*World, error) {
	if event.GetType() != EventWorldClaimed {
		return nil, fmt.Errorf("claimed world: %w but %s", errNotClaimed, event.GetType())
	}
	defer s.opening()()
	incarnation := s.Incarnation()
	read, err := s.client.getWorld(ctx, event.GetEntity())
	if err != nil {
		return nil, fmt.Errorf("claimed world %s: %w", event.GetEntity(), err)
	}
	w := &World{}
	w.begin(s.client, "world", event.GetEntity(), event.GetSession(), false)
	w.mu.document, w.mu.seq = read.GetWorld(), read.GetSeq()
	s.add(&w.session, incarnation)
	if err := w.Err(); err != nil {
		return nil, fmt.Errorf("claimed world %s: %w", event.GetEntity(), err)
	}
	return w, nil
}
