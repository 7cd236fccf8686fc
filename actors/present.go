package actors

import "github.com/skerry-dev/skerry/persistence"

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
