package actors

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// Router passes calls to entities wherever they live. Its Do has the contract of [Host.Do].
type Router interface{ Do(call *Call) }

// servers watches over the game servers whose entities are in this node's partitions: which incarnation is alive, when it
// was last heard of, which sessions it has, what it has to be told. All of that is in memory, a hint: the truth is in the
// entities and their marks, from which it is made again (watch.go). The mechanism that acts on it is in reaper.go.
//
// Its methods may be called from any goroutine and never block. No call, and no Reply, is made under the lock.
type servers struct {
	host     *Host
	router   Router
	partners Partners       // nil: there are none
	wake     chan struct{}  // a hint that there is work; holds 1
	lookers  sync.WaitGroup // looks at other nodes' partitions
	lines    atomic.Int32   // how many there are in mu.lines: a command of others takes no lock

	mu struct {
		sync.RWMutex
		known    map[serverName]*serverState
		asking   map[serverName][]*Call                  // openings that wait for the server's incarnation, each at most maxOpening
		lines    map[persistence.Key]*line               // entities with such an opening, and what came after it
		linedUp  int                                     // calls in the lines; at most MaxCalls
		since    map[persistence.Partition]time.Duration // when partitions came here, on the budgets' clock
		claims   []claim                                 // partitions to be looked through
		rebuilds []rebuild                               // sessions to be found
		looking  int                                     // of them at other nodes now; at most maxLooks
		notes    []*peerv1.Note                          // to be told to other nodes, at most maxNotes
		away     map[serverName]*atomic.Int64            // when another node was last told that it was seen; at most maxAway
		ends     []end                                   // sessions to be ended; bounded by the sessions
		leaving  []*serverState                          // whose leaving is set, and not closing yet
		inFlight int                                     // ends on their way; at most maxEndsInFlight
		toClaim  []*worldClaim                           // at most one for each server
		claiming int                                     // of them on their way; at most maxClaimsInFlight
		beaten   instant                                 // when beat looked last
		draining bool                                    // waiting calls were told
		closed   bool                                    // the loop has stopped
	}
}

// serverName is a server without its kind.
type serverName struct{ space, id string }

func nameOf(key persistence.Key) serverName { return serverName{key.Space, key.ID} }

func serverKey(space, id string) persistence.Key {
	return persistence.Key{Space: space, Kind: persistence.KindServer, ID: id}
}

// serverState is one server. Its fields are guarded by servers.mu, except for the first two.
type serverState struct {
	key      persistence.Key // immutable
	lastSeen atomic.Int64    // an instant

	incarnation string                             // that is alive; "": none is
	sessions    map[persistence.Key]hold           // open ones, as far as known
	departed    map[string]struct{}                // tokens of sessions that ended while rebuilding
	rebuilding  int                                // looks into partitions that are still to be done
	rebuilt     []func()                           // to be called then
	again       map[persistence.Partition]struct{} // to be looked through once more; a rebuild is queued if there are any
	leaving     *leaving                           // an incarnation on its way out, or nil
	budget      string                             // its profile's name, "" while it is not known here
	players     int                                // of the sessions, those of players
	mayClaim    bool                               // its incarnation may claim a world: that it does not, or has, is not known yet
	claim       *worldClaim                        // what it claims, or nil
	closeTries  int                                // of the incarnation
	closeDue    instant                            // of the next
	log         eventLog
	polls       []poll        // at most maxPolls
	changed     chan struct{} // closed and replaced at every event
	used        instant       // when somebody last asked for events
	watchers    int
}

// hold is a session of a server.
type hold struct {
	token       string
	incarnation string
	ending      bool // an end of it is queued or on its way
}

// newServers makes the life-cycle of a host's servers. It hears of everything through the host's hooks.
func newServers(h *Host) *servers {
	s := &servers{host: h, router: h.opts.Router, partners: h.opts.Partners, wake: make(chan struct{}, 1)}
	if s.router == nil {
		s.router = h
	}
	s.mu.known = map[serverName]*serverState{}
	s.mu.since = map[persistence.Partition]time.Duration{}
	s.mu.away = map[serverName]*atomic.Int64{}
	s.mu.asking = map[serverName][]*Call{}
	s.mu.lines = map[persistence.Key]*line{}
	return s
}

func (s *servers) hooks() hooks {
	return hooks{intercept: s.intercept, effects: s.effects, seen: s.seen, present: s.present, askPresent: s.askPresent, claimed: s.claimed, lost: s.lost}
}

// intercept takes the calls that concern servers over, as far as they are more than a turn, and those that came after an
// opening which waits.
func (s *servers) intercept(call *Call) bool {
	if s.lines.Load() > 0 && s.lineUp(call) {
		return true
	}
	switch r := call.Request.GetRequest().(type) {
	case *skerryv1.Request_OpenPlayerSession, *skerryv1.Request_OpenWorldSession:
		return s.open(call, openingOf(call.Request), false) != openingPasses
	case *skerryv1.Request_GetServerEvents:
		s.getEvents(call)
	case *skerryv1.Request_GetServer:
		s.getServer(call)
	case *skerryv1.Request_HeartbeatServer:
		s.heartbeat(call)
	case *skerryv1.Request_RegisterServer:
		s.withBudgets(call)
	case *skerryv1.Request_CloseServer:
		return s.close(call, r.CloseServer.GetIncarnation())
	default:
		return false
	}
	return true
}

// heartbeat notes an accepted heartbeat, and one that only a slow disk refused: it is a sign of life all the same.
func (s *servers) heartbeat(call *Call) {
	seen := *call
	seen.Reply = func(r *skerryv1.Response, err error) {
		if err == nil || errors.Is(err, ErrStalled) {
			s.seen(call.Key.Space, call.Key.ID)
		}
		if err == nil {
			s.host.budgets.players(nameOf(call.Key), int(call.Request.GetHeartbeatServer().GetPlayers()), -1)
			s.host.budgets.show(call.Key, r.GetHeartbeatServer().GetBudgets())
		}
		call.Reply(r, err)
	}
	s.host.route(&seen)
}

// getServer adds what only this room knows to what the entity says, once it knows.
func (s *servers) getServer(call *Call) {
	if call.reaps { // an opening asks for the incarnation alone
		s.host.route(call)
		return
	}
	seen := *call
	seen.Reply = func(r *skerryv1.Response, err error) {
		if err != nil {
			call.Reply(nil, err)
			return
		}
		if r.GetGetServer().GetAlive() {
			s.learn(call.Key, r.GetGetServer())
		}
		s.whenRebuilt(call.Key, func() {
			s.host.budgets.show(call.Key, r.GetGetServer().GetBudgets())
			s.show(call.Key, r.GetGetServer())
			call.Reply(r, nil)
		})
	}
	s.host.route(&seen)
}

// whenRebuilt calls then, later when the server's sessions are being looked for.
func (s *servers) whenRebuilt(key persistence.Key, then func()) {
	s.mu.Lock()
	if of := s.mu.known[nameOf(key)]; of != nil && of.rebuilding > 0 && !s.mu.closed {
		of.rebuilt = append(of.rebuilt, then)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	then()
}

func (s *servers) show(key persistence.Key, response *skerryv1.GetServerResponse) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	server := s.mu.known[nameOf(key)]
	if server == nil {
		return
	}
	response.LastSeen = timestamppb.New(s.host.start.Add(instant(server.lastSeen.Load())).Truncate(time.Millisecond))
	for of := range server.sessions {
		response.Sessions = append(response.Sessions, &skerryv1.ServerSession{Kind: of.Kind.String(), Id: of.ID})
	}
	slices.SortFunc(response.Sessions, func(a, b *skerryv1.ServerSession) int {
		return strings.Compare(a.GetKind()+"/"+a.GetId(), b.GetKind()+"/"+b.GetId())
	})
}

// withServer calls then with nil once the server's state is known here, or with why it cannot be.
func (s *servers) withServer(call *Call, then func(error)) {
	s.mu.RLock()
	known := s.mu.known[nameOf(call.Key)] != nil
	s.mu.RUnlock()
	if known {
		then(nil)
		return
	}
	s.host.route(&Call{
		Key:     call.Key,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: call.Key.ID}}},
		Reply: func(r *skerryv1.Response, err error) {
			if err == nil {
				s.learn(call.Key, r.GetGetServer())
			}
			then(err)
		},
	})
}

// learn notes what a server's entity says, when nothing newer is known.
func (s *servers) learn(key persistence.Key, says *skerryv1.GetServerResponse) {
	alive := ""
	if says.GetAlive() {
		alive = says.GetIncarnation()
	}
	s.mu.Lock()
	of := s.ensureLocked(key, alive)
	if of != nil && of.incarnation == alive {
		if of.budget == "" {
			of.budget = says.GetBudget()
		}
		s.host.budgets.learned(key, of.budget, int(says.GetPlayers()), of.players)
	}
	s.mu.Unlock()
	s.poke()
}

// seen notes that a server was heard of. It is called for every command, so it takes no more than a read lock, but for
// once in a while.
func (s *servers) seen(space, id string) {
	name := serverName{space, id}
	s.mu.RLock()
	server := s.mu.known[name]
	var told *atomic.Int64
	if server == nil {
		told = s.mu.away[name]
	}
	s.mu.RUnlock()
	switch {
	case server != nil:
		server.lastSeen.Store(int64(s.host.now()))
	case s.partners != nil:
		s.seenAway(name, told)
	}
}

// effects notes what turns did that concerns servers. Another node is told what concerns those that it watches over.
func (s *servers) effects(effects []turn.Effect, space string) {
	var ready []delivery
	s.mu.Lock()
	for i := range effects {
		e := &effects[i]
		key := serverKey(space, e.Server)
		server := s.mu.known[nameOf(key)]
		if server == nil && (e.Registered || e.Closed) { // what else happens is found when the server's state is made
			server = s.ensureLocked(key, "")
		}
		if server == nil {
			s.noteLocked(key, e)
			continue
		}
		ready = s.applyLocked(server, e, ready)
	}
	s.mu.Unlock()
	s.poke()
	give(ready)
}

// applyLocked notes an effect on a server that is watched over here.
func (s *servers) applyLocked(server *serverState, e *turn.Effect, ready []delivery) []delivery {
	switch {
	case e.Registered:
		s.registeredLocked(server, e)
	case e.Closed:
		s.closedLocked(server, e.Incarnation)
	case e.Opened:
		server.lastSeen.Store(int64(s.host.now()))
		s.holdLocked(server, e.Key, hold{token: e.Token, incarnation: e.Incarnation})
	case e.Ended:
		if session := server.sessions[e.Key]; session.token != e.Token || !session.ending { // else its answer comes, after the save
			s.releaseLocked(server, e.Key, e.Token)
		}
	}
	if e.Event == nil {
		return ready
	}
	return s.tellLocked(server, e.Event, ready)
}

func (s *servers) registeredLocked(server *serverState, e *turn.Effect) {
	server.incarnation, server.closeTries, server.closeDue = e.Incarnation, 0, 0
	server.mayClaim, server.claim = e.Claims, nil
	server.budget = e.Budget
	s.host.budgets.registered(server.key, e.Budget, e.Players, server.players, e.First || s.ownedLongLocked(server.key))
	server.lastSeen.Store(int64(s.host.now()))
	s.endStrayLocked(server)
	if server.rebuilding == 0 {
		s.lookAwayLocked(server, false)
	}
	for key, session := range server.sessions { // the first opening may be known before
		s.claimLocked(server, key, session)
	}
	s.host.log.LogAttrs(noContext, slog.LevelInfo, "server registered", slog.String("entity", server.key.String()),
		slog.String("incarnation", e.Incarnation), slog.Int("sessions", len(server.sessions)))
}

func (s *servers) closedLocked(server *serverState, incarnation string) {
	if server.incarnation == incarnation {
		server.incarnation = ""
	}
	server.used = s.host.now()
	s.endStrayLocked(server)
	s.host.log.LogAttrs(noContext, slog.LevelInfo, "server closed", slog.String("entity", server.key.String()),
		slog.String("incarnation", incarnation), slog.Int("sessions", len(server.sessions)))
}

// holdLocked notes a session. One of another incarnation than the one that is alive has to end: its opening overtook.
func (s *servers) holdLocked(server *serverState, key persistence.Key, session hold) {
	if _, held := server.sessions[key]; !held {
		s.countLocked(server, key, 1)
	}
	server.sessions[key] = session
	s.claimLocked(server, key, session)
	switch leaves := server.leaving != nil && server.leaving.incarnation == session.incarnation; {
	case leaves, server.incarnation != session.incarnation && server.rebuilding == 0:
		s.endLocked(server, key)
	}
}

// releaseLocked forgets a session, if it is still the entity's newest one.
func (s *servers) releaseLocked(server *serverState, key persistence.Key, token string) {
	if server.rebuilding > 0 {
		server.departed[token] = struct{}{}
	}
	if server.sessions[key].token == token {
		delete(server.sessions, key)
		s.countLocked(server, key, -1)
	}
}

// countLocked counts a server's players: they may be more than it says.
func (s *servers) countLocked(server *serverState, key persistence.Key, by int) {
	if key.Kind != persistence.KindPlayer {
		return
	}
	if server.players += by; server.budget != unlimited {
		s.host.budgets.players(nameOf(server.key), -1, server.players)
	}
}

// ownedLongLocked reports whether nobody else can have granted tokens of a server in the last minute.
func (s *servers) ownedLongLocked(key persistence.Key) bool {
	since, ours := s.mu.since[s.host.partitionOf(key)]
	return ours && s.host.budgetNow() > since+budget.Minute
}

// poke tells the loop that there is work.
func (s *servers) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
