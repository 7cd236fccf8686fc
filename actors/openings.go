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

// opened says what became of an opening.
type opened uint8

const (
	openingPasses  opened = iota // it goes on now, with the incarnation
	openingRefused               // it was answered
	openingWaits                 // and its entity has a line, which advances when it was passed on or answered
)

// openingOf is what a request says of the server that opens a session, whatever of; nil when it opens none.
func openingOf(request *skerryv1.Request) *skerryv1.OpenPlayerSessionRequest {
	if r := request.GetOpenWorldSession(); r != nil {
		return &skerryv1.OpenPlayerSessionRequest{Server: r.GetServer(), Incarnation: r.GetIncarnation()}
	}
	return request.GetOpenPlayerSession()
}

// open lets an opening go on with the incarnation of its server, asking the server's entity when it is not known here. A
// server that nobody registered, or that was closed, is registered: a first call works. But one that names its incarnation
// knows how to register, and would not know of another's: it is told. atHead says that it comes from the head of its
// entity's line.
func (s *servers) open(call *Call, request *skerryv1.OpenPlayerSessionRequest, atHead bool) opened {
	key := serverKey(call.Key.Space, request.GetServer())
	if key.Validate() != nil {
		return openingPasses // the turn says what is wrong
	}
	name := nameOf(key)
	s.mu.RLock()
	alive, profile := s.aliveLocked(name)
	s.mu.RUnlock()
	if alive != "" && profile != "" {
		if err := admit(request, alive); err != nil {
			call.Reply(nil, err)
			return openingRefused
		}
		call.incarnation = alive
		return s.pay(call, key, profile, atHead)
	}
	s.mu.Lock()
	waiting, asked := s.mu.asking[name]
	if len(waiting) >= maxOpening {
		s.mu.Unlock()
		call.Reply(nil, ErrOverloaded)
		return openingRefused
	}
	if !atHead {
		if s.mu.lines[call.Key] != nil { // another opening came first, just now
			s.mu.Unlock()
			if s.lineUp(call) {
				return openingWaits
			}
			return s.open(call, request, false)
		}
		s.mu.lines[call.Key] = &line{}
		s.lines.Add(1)
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
	return openingWaits
}

// aliveLocked is the incarnation that sessions can be opened under, and its budget's profile, as far as they are known here.
func (s *servers) aliveLocked(name serverName) (incarnation, profile string) {
	if server := s.mu.known[name]; server != nil && !server.isLeaving() {
		return server.incarnation, server.budget
	}
	return "", ""
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

// ask asks the server's entity for its incarnation. It does not wait for its sessions to be found.
func (s *servers) ask(key persistence.Key) {
	s.router.Do(&Call{
		Key: key, reaps: true,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: key.ID}}},
		Reply: func(r *skerryv1.Response, err error) {
			switch got := r.GetGetServer(); {
			case errors.Is(err, turn.ErrNotFound), err == nil && !got.GetAlive():
				s.register(key)
			case err != nil:
				s.asked(key, "", "", err)
			default:
				s.learn(key, got)
				if s.partners != nil && !s.owns(s.host.partitionOf(key), nil) {
					s.host.budgets.note(key, got.GetBudget())
				}
				s.asked(key, got.GetIncarnation(), got.GetBudget(), nil)
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
			s.asked(key, r.GetRegisterServer().GetIncarnation(), unlimited, err)
		},
	})
}

// refuseNamed answers the waiting openings that name an incarnation of a server that is not alive, and reports whether
// others wait.
func (s *servers) refuseNamed(key persistence.Key) bool {
	var others, named []*Call
	s.mu.Lock()
	for _, call := range s.mu.asking[nameOf(key)] {
		if admit(openingOf(call.Request), "") != nil {
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
		call.Reply(nil, admit(openingOf(call.Request), ""))
		s.advance(call.Key)
	}
	return len(others) > 0
}

// asked lets the openings that waited for the incarnation go on.
func (s *servers) asked(key persistence.Key, incarnation, profile string, err error) {
	s.mu.Lock()
	waiting := s.mu.asking[nameOf(key)]
	delete(s.mu.asking, nameOf(key))
	s.mu.Unlock()
	for _, call := range waiting {
		refused := err
		if refused == nil {
			refused = admit(openingOf(call.Request), incarnation)
		}
		if refused == nil {
			call.incarnation = incarnation
			switch s.pay(call, key, profile, true) {
			case openingPasses:
				s.host.route(call)
			case openingRefused:
			case openingWaits:
				continue
			}
		} else {
			call.Reply(nil, refused)
		}
		s.advance(call.Key)
	}
}

// line is what came for an entity after an opening that waits for its server's incarnation: an entity's calls stay in order.
type line struct{ calls []*Call } // at most MailboxSize

// lineUp puts a call behind an opening of its entity that waits; it reports false when none does. A full line answers it.
func (s *servers) lineUp(call *Call) bool {
	s.mu.Lock()
	behind := s.mu.lines[call.Key]
	if behind == nil {
		s.mu.Unlock()
		return false
	}
	var err error
	switch {
	case len(behind.calls) >= s.host.opts.MailboxSize:
		err = ErrMailboxFull
	case s.mu.linedUp >= s.host.opts.MaxCalls:
		err = ErrOverloaded
	default:
		behind.calls = append(behind.calls, call)
		s.mu.linedUp++
	}
	s.mu.Unlock()
	if err != nil {
		call.Reply(nil, err)
	}
	return true
}

// advance lets what came after an entity's opening go on, up to the next opening that waits. Whoever passed the opening on or
// answered it calls this, once.
func (s *servers) advance(key persistence.Key) {
	for {
		s.mu.Lock()
		behind := s.mu.lines[key]
		if len(behind.calls) == 0 {
			delete(s.mu.lines, key)
			s.lines.Add(-1)
			s.mu.Unlock()
			return
		}
		next := behind.calls[0]
		behind.calls = behind.calls[1:]
		s.mu.linedUp--
		s.mu.Unlock()
		if request := openingOf(next.Request); request != nil {
			switch s.open(next, request, true) {
			case openingPasses:
			case openingRefused:
				continue
			case openingWaits:
				return
			}
		}
		s.host.route(next)
	}
}
