package actors

import (
	"errors"

	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// maxOpening is how many openings may wait for one server's incarnation.
const maxOpening = 1024

// open lets an opening go on with the incarnation of its server, asking the server's entity when it is not known here. A
// server that nobody registered, or that was closed, is registered: a first call works. But one that names its incarnation
// knows how to register, and would not know of another's: it is told.
func (s *servers) open(call *Call, request *skerryv1.OpenPlayerSessionRequest) bool {
	key := serverKey(call.Key.Space, request.GetServer())
	if key.Validate() != nil {
		return false // the turn says what is wrong
	}
	name := nameOf(key)
	s.mu.RLock()
	alive := s.aliveLocked(name)
	s.mu.RUnlock()
	if alive != "" {
		if err := admit(request, alive); err != nil {
			call.Reply(nil, err)
			return true
		}
		call.incarnation = alive
		return false
	}
	s.mu.Lock()
	waiting, asked := s.mu.asking[name]
	if len(waiting) >= maxOpening {
		s.mu.Unlock()
		call.Reply(nil, ErrOverloaded)
		return true
	}
	s.mu.asking[name] = append(waiting, call)
	server := s.mu.known[name]
	leaves := server != nil && server.isLeaving()
	s.mu.Unlock()
	switch {
	case asked: // the answer is for all of them: two registrations would end each other's sessions
	case leaves:
		s.register(key)
	default:
		s.ask(key)
	}
	return true
}

// aliveLocked is the incarnation that sessions can be opened under, as far as it is known here.
func (s *servers) aliveLocked(name serverName) string {
	if server := s.mu.known[name]; server != nil && !server.isLeaving() {
		return server.incarnation
	}
	return ""
}

// admit returns why a server's opening cannot go on under the incarnation that is alive; "": none is.
func admit(request *skerryv1.OpenPlayerSessionRequest, alive string) error {
	named := request.GetIncarnation()
	if named == "" {
		return nil
	}
	present := &storev1.Server{Incarnation: alive}
	if alive == "" {
		present.Incarnation, present.Closed = named, true
	}
	return server.CheckIncarnation(present, named)
}

// ask asks the server's entity for its incarnation.
func (s *servers) ask(key persistence.Key) {
	s.router.Do(&Call{
		Key:     key,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: key.ID}}},
		Reply: func(r *skerryv1.Response, err error) {
			switch got := r.GetGetServer(); {
			case errors.Is(err, turn.ErrNotFound), err == nil && !got.GetAlive():
				s.register(key)
			case err != nil:
				s.asked(key, "", err)
			default:
				s.learn(key, got)
				s.asked(key, got.GetIncarnation(), nil)
			}
		},
	})
}

// register registers the server with the defaults, when one of the waiting openings wants that.
func (s *servers) register(key persistence.Key) {
	if !s.refuseNamed(key) {
		return
	}
	s.router.Do(&Call{
		Key:     key,
		Request: &skerryv1.Request{Request: &skerryv1.Request_RegisterServer{RegisterServer: &skerryv1.RegisterServerRequest{Server: key.ID}}},
		Reply: func(r *skerryv1.Response, err error) {
			s.asked(key, r.GetRegisterServer().GetIncarnation(), err)
		},
	})
}

// refuseNamed answers the waiting openings that name an incarnation of a server that is not alive, and reports whether
// others wait.
func (s *servers) refuseNamed(key persistence.Key) bool {
	var others, named []*Call
	s.mu.Lock()
	for _, call := range s.mu.asking[nameOf(key)] {
		if admit(call.Request.GetOpenPlayerSession(), "") != nil {
			named = append(named, call)
		} else {
			others = append(others, call)
		}
	}
	s.mu.asking[nameOf(key)] = others
	if len(others) == 0 {
		delete(s.mu.asking, nameOf(key))
	}
	s.mu.Unlock()
	for _, call := range named {
		call.Reply(nil, admit(call.Request.GetOpenPlayerSession(), ""))
	}
	return len(others) > 0
}

// asked lets the openings that waited for the incarnation go on.
func (s *servers) asked(key persistence.Key, incarnation string, err error) {
	s.mu.Lock()
	waiting := s.mu.asking[nameOf(key)]
	delete(s.mu.asking, nameOf(key))
	s.mu.Unlock()
	for _, call := range waiting {
		refused := err
		if refused == nil {
			refused = admit(call.Request.GetOpenPlayerSession(), incarnation)
		}
		if refused != nil {
			call.Reply(nil, refused)
			continue
		}
		call.incarnation = incarnation
		s.host.route(call)
	}
}
