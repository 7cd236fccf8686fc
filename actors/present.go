package actors

import (
	"errors"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// present reports whether players are on a server, as far as is known here: whether it has open sessions of some.
func (s *servers) present(space, server string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if known := s.mu.known[nameOf(serverKey(space, server))]; known != nil {
		for key := range known.sessions {
			if key.Kind == persistence.KindPlayer {
				return true
			}
		}
	}
	return false
}

// askPresent asks the node that watches over a server whether players are on it. When that cannot be known, they are:
// nothing is taken from anybody.
func (s *servers) askPresent(space, server string, then func(bool)) bool {
	key := serverKey(space, server)
	if s.partners == nil || key.Validate() != nil || s.owns(s.host.partitionOf(key), nil) {
		return false
	}
	s.router.Do(&Call{
		Key:     key,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: server}}},
		Reply: func(r *skerryv1.Response, err error) {
			present := err != nil && !errors.Is(err, turn.ErrNotFound)
			for _, session := range r.GetGetServer().GetSessions() {
				present = present || session.GetKind() == persistence.KindPlayer.String()
			}
			then(present)
		},
	})
	return true
}

// heldBy is the server that holds a world, of which another node has to say whether players are on it, for an opening that
// depends on it.
type heldBy struct {
	a       *activation
	server  string
	known   bool
	present bool // set before the activation hears of it
}

// holderKnown reports whether it is known what an opening of a world has to know of the holder, and asks when it is not.
func (a *activation) holderKnown(c *Call) bool {
	w := a.parts
	if w.holder != nil {
		return w.holder.known
	}
	request, sessions := c.Request.GetOpenWorldSession(), a.entity.GetSessions()
	if request == nil || request.GetIfTaken() != skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED || len(sessions) == 0 || a.host.hooks.askPresent == nil {
		return true
	}
	last := sessions[len(sessions)-1]
	if last.GetEnded() || last.GetServer() == request.GetServer() {
		return true
	}
	asked := &heldBy{a: a, server: last.GetServer()}
	w.holder = asked
	if !a.host.hooks.askPresent(a.key.Space, asked.server, asked.answered) {
		w.holder = nil
		return true
	}
	return false // its answer is a message, also when it is there already
}

func (h *heldBy) answered(present bool) {
	h.present = present
	h.a.host.tell(h.a, h)
}

// receiveHolder goes on with the opening that waited.
func (a *activation) receiveHolder(h *heldBy) {
	a.queued.Add(-1)
	defer a.afterMessage()
	if a.parts.holder != h || a.mode > yielding {
		return
	}
	h.known = true
	a.advance()
}

// holderPresent reports whether players are on the server that holds the world.
func (a *activation) holderPresent() bool {
	sessions := a.entity.GetSessions()
	n := len(sessions)
	if n == 0 || sessions[n-1].GetEnded() || a.host.hooks.present == nil {
		return false
	}
	if asked := a.parts.holder; asked != nil && asked.server == sessions[n-1].GetServer() {
		return asked.present
	}
	return a.host.hooks.present(a.key.Space, sessions[n-1].GetServer())
}
