package actors

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// beatInterval is how exactly time-outs are kept.
	beatInterval = 200 * time.Millisecond
	// maxEndsInFlight is how many sessions are ended at a time.
	maxEndsInFlight = 256
	// maxEndTries is how often the end of a session is tried; pauses double from endPause on.
	maxEndTries = 8
	endPause    = time.Second
	// maxClosing is how many CloseServer calls may wait for the same end.
	maxClosing = 64
	// closePause is the first pause after a dead server could not be closed; they double up to maxClosePause.
	closePause    = time.Second
	maxClosePause = time.Minute
)

// end is a session that has to end. It names the token, so that it can never end a newer session.
type end struct {
	server *serverState
	key    persistence.Key
	token  string
	tries  int
	due    instant
}

// leaving is an incarnation on its way out: first its sessions end, with a save, then its entity is closed. In this order,
// so that whoever takes over in between still finds it alive, and its sessions.
type leaving struct {
	incarnation string
	silent      bool    // nothing was heard of it
	ended       int32   // sessions
	calls       []*Call // CloseServer calls that wait, at most maxClosing
}

// isLeaving reports whether the incarnation that is known is on its way out.
func (server *serverState) isLeaving() bool {
	return server.leaving != nil && server.leaving.incarnation == server.incarnation
}

// run does what takes time, until ctx ends.
func (s *servers) run(ctx context.Context) {
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	s.mu.Lock()
	s.mu.beaten = s.host.now()
	s.mu.Unlock()
	for {
		select {
		case <-s.wake:
		case <-ticker.C:
			s.beat(ctx)
		case <-ctx.Done():
			s.stop()
			s.lookers.Wait()
			return
		}
		s.tellNotes()
		s.look(ctx)
		s.sendEnds(ctx)
		s.sendClaims(ctx)
		s.sendCloses()
	}
}

// beat looks for who is dead, who has waited long enough, and what can be forgotten.
func (s *servers) beat(ctx context.Context) {
	var ready []delivery
	var gone []serverName
	now := s.host.now()
	s.mu.Lock()
	s.forgiveLocked(now)
	if s.host.draining.Load() && !s.mu.draining {
		s.mu.draining = true
		for _, server := range s.mu.known {
			ready = s.wakeLocked(server, nil, ready)
		}
	}
	for name, of := range s.mu.known {
		ready = s.expirePollsLocked(of, now, ready)
		switch heard := instant(of.lastSeen.Load()); {
		case of.rebuilding > 0 || of.leaving != nil || s.mu.draining || of.closeDue > now:
		case of.incarnation != "":
			if server.Dead(s.host.start.Add(heard), s.host.start.Add(now), s.host.opts.ServerTimeout) {
				s.host.log.LogAttrs(ctx, slog.LevelWarn, "server dead", slog.String("entity", of.key.String()),
					slog.String("incarnation", of.incarnation), slog.Duration("silent", now-heard), slog.Int("sessions", len(of.sessions)))
				s.leaveLocked(of, &leaving{incarnation: of.incarnation, silent: true})
			}
		case len(of.sessions) == 0 && len(of.polls) == 0 && of.watchers == 0 && now-max(heard, of.used) >= s.host.opts.PassivateAfter &&
			s.host.budgets.idle(name):
			delete(s.mu.known, name) // its events with it
			gone = append(gone, name)
			ready = s.wakeLocked(of, nil, ready)
		}
	}
	s.mu.Unlock()
	s.host.budgets.drop(gone, persistence.ErrNotOwner)
	give(ready)
}

// forgiveLocked takes the time that this node itself stood still (frozen, a paused machine, a stalled disk) for no silence
// of anybody: what the servers sent meanwhile was not read yet.
func (s *servers) forgiveLocked(now instant) {
	still := now - s.mu.beaten
	s.mu.beaten = now
	if still <= 2*beatInterval {
		return
	}
	for _, of := range s.mu.known {
		for {
			heard := of.lastSeen.Load()
			if of.lastSeen.CompareAndSwap(heard, min(heard+int64(still), int64(now))) {
				break
			}
		}
	}
}

// leaveLocked begins the end of an incarnation.
func (s *servers) leaveLocked(of *serverState, l *leaving) {
	of.leaving = l
	s.host.budgets.shutDown(nameOf(of.key))
	s.mu.leaving = append(s.mu.leaving, of)
	s.lookAwayLocked(of, true) // what was not told is found before the entity is closed
	for key, session := range of.sessions {
		if session.incarnation == l.incarnation {
			s.endLocked(of, key)
		}
	}
}

// close begins the end of a server that asks for it. It leaves to the turn what the turn refuses.
func (s *servers) close(call *Call, incarnation string) bool {
	s.mu.Lock()
	of := s.mu.known[nameOf(call.Key)]
	if of == nil || of.incarnation == "" || incarnation != "" && incarnation != of.incarnation || s.host.draining.Load() {
		s.mu.Unlock()
		return false // when it closes something nevertheless, the effect is seen
	}
	if !of.isLeaving() {
		s.leaveLocked(of, &leaving{incarnation: of.incarnation})
	}
	if len(of.leaving.calls) >= maxClosing {
		s.mu.Unlock()
		call.Reply(nil, ErrMailboxFull)
		return true
	}
	of.leaving.calls = append(of.leaving.calls, call)
	s.mu.Unlock()
	s.poke()
	return true
}

// endStrayLocked ends the sessions of other incarnations than the one that is alive.
func (s *servers) endStrayLocked(of *serverState) {
	if of.rebuilding > 0 {
		return // comes when all are known
	}
	for key, session := range of.sessions {
		if session.incarnation != of.incarnation {
			s.endLocked(of, key)
		}
	}
}

// endLocked queues the end of a session.
func (s *servers) endLocked(of *serverState, key persistence.Key) {
	session := of.sessions[key]
	if session.ending {
		return
	}
	session.ending = true
	of.sessions[key] = session
	s.mu.ends = append(s.mu.ends, end{server: of, key: key, token: session.token})
}

// sendEnds asks the entities whose sessions have to end now.
func (s *servers) sendEnds(ctx context.Context) {
	now := s.host.now()
	var sent []end
	s.mu.Lock()
	later := s.mu.ends[:0]
	for _, e := range s.mu.ends {
		if e.due > now || s.mu.inFlight >= maxEndsInFlight {
			later = append(later, e)
			continue
		}
		s.mu.inFlight++
		sent = append(sent, e)
	}
	clear(s.mu.ends[len(later):])
	s.mu.ends = later
	s.mu.Unlock()
	for _, e := range sent {
		s.router.Do(&Call{
			Key: e.key, reaps: true,
			Request: endRequest(e.key, e.token),
			Reply:   func(_ *skerryv1.Response, err error) { s.endAnswered(ctx, e, err) },
		})
	}
}

// endRequest ends a session of a player or a world.
func endRequest(key persistence.Key, token string) *skerryv1.Request {
	if key.Kind == persistence.KindWorld {
		return &skerryv1.Request{Request: &skerryv1.Request_EndWorldSession{
			EndWorldSession: &skerryv1.EndWorldSessionRequest{World: key.ID, Session: token},
		}}
	}
	return &skerryv1.Request{Request: &skerryv1.Request_EndPlayerSession{
		EndPlayerSession: &skerryv1.EndPlayerSessionRequest{Player: key.ID, Session: token},
	}}
}

// endAnswered forgets a session that is over, and tries again what may work later.
func (s *servers) endAnswered(ctx context.Context, e end, err error) {
	over := err == nil || errors.Is(err, ErrSave) // the journal has the end
	for _, gone := range []error{turn.ErrSessionTaken, turn.ErrSessionEnded, turn.ErrNoSession, turn.ErrNotFound} {
		over = over || errors.Is(err, gone)
	}
	s.mu.Lock()
	s.mu.inFlight--
	e.tries++
	switch {
	case over:
		if l := e.server.leaving; l != nil && (err == nil || errors.Is(err, ErrSave)) {
			l.ended++
		}
	case errors.Is(err, ErrDraining): // its mark stays, for whoever comes next
	case e.tries < maxEndTries:
		e.due = s.host.now() + endPause<<(e.tries-1)
		s.mu.ends = append(s.mu.ends, e)
		s.mu.Unlock()
		return
	default:
		s.host.log.LogAttrs(ctx, slog.LevelError, "session of a gone server could not be ended", slog.String("entity", e.key.String()),
			slog.String("server", e.server.key.ID), slog.Any("err", err))
	}
	s.releaseLocked(e.server, e.key, e.token)
	s.mu.Unlock()
	s.poke()
}

// sendCloses closes the entities of the leaving incarnations that have no sessions left.
func (s *servers) sendCloses() {
	var ready []*serverState
	s.mu.Lock()
	later := s.mu.leaving[:0]
	for _, of := range s.mu.leaving {
		if of.rebuilding > 0 || of.holds(of.leaving.incarnation) {
			later = append(later, of)
			continue
		}
		ready = append(ready, of)
	}
	clear(s.mu.leaving[len(later):])
	s.mu.leaving = later
	s.mu.Unlock()
	for _, of := range ready {
		l := of.leaving // this goroutine is the one that sends, and only its answer takes it away
		s.host.route(&Call{
			Key: of.key, silent: l.silent,
			Request: &skerryv1.Request{Request: &skerryv1.Request_CloseServer{
				CloseServer: &skerryv1.CloseServerRequest{Server: of.key.ID, Incarnation: l.incarnation},
			}},
			Reply: func(r *skerryv1.Response, err error) { s.closeAnswered(of, l, r, err) },
		})
	}
}

// holds reports whether sessions of an incarnation are left.
func (server *serverState) holds(incarnation string) bool {
	for _, session := range server.sessions {
		if session.incarnation == incarnation {
			return true
		}
	}
	return false
}

// closeAnswered tells those who asked. What failed is begun again after a pause, or by the next who asks; a server that is not
// what it was taken for is forgotten.
func (s *servers) closeAnswered(of *serverState, l *leaving, r *skerryv1.Response, err error) {
	unknown := errors.Is(err, turn.ErrNotFound) || errors.Is(err, server.ErrUnknownServer) || errors.Is(err, server.ErrStaleIncarnation)
	s.mu.Lock()
	if of.leaving == l {
		of.leaving = nil
	}
	unknown = unknown && of.incarnation == l.incarnation
	of.closeTries++
	if err != nil {
		of.closeDue = s.host.now() + min(closePause<<min(of.closeTries-1, 10), maxClosePause)
	}
	calls := l.calls
	l.calls = nil
	s.mu.Unlock()
	if unknown {
		s.forget(func(known *serverState) bool { return known == of }, persistence.ErrNotOwner)
	}
	for _, call := range calls {
		if err != nil {
			call.Reply(nil, err)
			continue
		}
		answer := r.CloneVT()
		answer.GetCloseServer().SessionsEnded = l.ended
		call.Reply(answer, nil)
	}
}

// stop answers everything that waits; the host is about to end.
func (s *servers) stop() {
	var ready []delivery
	s.mu.Lock()
	s.mu.closed = true
	var rebuilt []func()
	for _, of := range s.mu.known {
		ready = s.dropLocked(of, ErrDraining, ready)
		rebuilt = append(rebuilt, of.rebuilt...)
		of.rebuilt = nil
	}
	s.mu.Unlock()
	give(ready)
	for _, f := range rebuilt {
		f()
	}
}

// dropLocked answers everything that waits for a server with err.
func (s *servers) dropLocked(of *serverState, err error, ready []delivery) []delivery {
	ready = s.wakeLocked(of, err, ready)
	if of.leaving != nil {
		for _, call := range of.leaving.calls {
			ready = append(ready, delivery{call: call, err: err})
		}
		of.leaving.calls = nil
	}
	return ready
}
