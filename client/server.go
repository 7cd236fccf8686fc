package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Event is something that a game server has to know about its sessions.
type Event = skerryv1.ServerEvent

// The types of events.
const (
	// EventSessionTaken: another game server took the session over.
	EventSessionTaken = "SESSION_TAKEN"
	// EventSessionEnded: the session was ended, not by this server.
	EventSessionEnded = "SESSION_ENDED"
	// EventChanged: an administrator edited the document; read it again.
	EventChanged = "CHANGED"
	// EventSaveFailed: a save failed and will be tried again; the journal has everything.
	EventSaveFailed = "SAVE_FAILED"
	// EventWorldClaimed: the world of this registration's first player was opened for the server; see [Server.ClaimedWorld].
	EventWorldClaimed = "WORLD_CLAIMED"
	// EventWorldRefused: it was not opened; the event's Detail says why. The server may open it, or another, by itself.
	EventWorldRefused = "WORLD_REFUSED"
	// EventMoved: the entity is served by another node.
	EventMoved = "MOVED"
	// EventResync: events were dropped; read again what matters.
	EventResync = "RESYNC"
)

// ClaimWorld says who claims a server's world.
type ClaimWorld = skerryv1.ClaimWorld

// Who claims a server's world.
const (
	// NoClaim: nobody. The default.
	NoClaim = skerryv1.ClaimWorld_NO_CLAIM
	// FirstPlayer: the first player who opens a session on the server.
	FirstPlayer = skerryv1.ClaimWorld_FIRST_PLAYER
)

// ServerOptions say how a game server registers. The zero value is right for most.
type ServerOptions struct {
	// Players is how many players are on the server now; see [Server.SetPlayers].
	Players int32
	// Budget is the profile of requests per minute that the game server may cause: "unlimited", "roblox-2023", "roblox-2026" or
	// "custom", the limited ones with settings of one's own behind, such as "roblox-2023,burst=50" or "custom,get=60+10,set=30+5".
	// What is wrong with one is said by the error of [Client.RegisterServer]; docs/budgets.md has all settings. Default: "unlimited".
	Budget string
	// ClaimWorld says who claims the server's world; with [FirstPlayer], [EventWorldClaimed] tells of it. Default: [NoClaim].
	ClaimWorld ClaimWorld
	// HeartbeatInterval must be well below the node's server time-out (30 s by default). Default: 10 s.
	HeartbeatInterval time.Duration
	// OnEvent is called for every event, one at a time, from a goroutine of the Server's own. The next event waits until
	// it returns. Default: events only end the players they concern (see [Player.Done]).
	OnEvent func(*Event)
}

// Server is a registered game server: it holds sessions, and it is alive while it sends heartbeats.
type Server struct {
	client *Client
	id     string
	opts   ServerOptions // immutable after RegisterServer

	stop     context.CancelFunc
	running  sync.WaitGroup
	renewing chan struct{} // 1: held by who registers again

	mu struct {
		sync.Mutex
		incarnation string
		players     int32
		open        map[string]*session // by token
		opening     int                 // openings on their way
		early       []ended             // while there are any: sessions that ended and are not in open, at most maxEarly
		err         error
		stopped     bool // nothing runs any more
		closed      bool // the node has answered Close, or need not
	}
}

// maxOpenings is how often an opening is tried, each time after registering again.
const maxOpenings = 3

// maxEarly is how many ends of unknown sessions are kept: one of a session that is being opened must be among them.
const maxEarly = 4096

// ended is the end of a session.
type ended struct {
	token  string
	reason error
}

// RegisterServer registers this process as a game server and keeps it alive with heartbeats. The sessions of an earlier
// incarnation of the same id are ended with a save. Close the Server before its Client.
func (c *Client) RegisterServer(ctx context.Context, id string, opts ServerOptions) (*Server, error) {
	if opts.HeartbeatInterval <= 0 {
		opts.HeartbeatInterval = 10 * time.Second
	}
	s := &Server{client: c, id: id, opts: opts, renewing: make(chan struct{}, 1)}
	s.mu.players = opts.Players
	s.mu.open = make(map[string]*session)
	if err := s.register(ctx); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.running.Go(func() { s.beat(running) })
	s.running.Go(func() { s.watch(running) })
	return s, nil
}

func (s *Server) register(ctx context.Context) error {
	s.mu.Lock()
	players := s.mu.players
	s.mu.Unlock()
	answer, err := s.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_RegisterServer{
		RegisterServer: &skerryv1.RegisterServerRequest{
			Server: s.id, Players: players, Budget: s.opts.Budget, ClaimWorld: s.opts.ClaimWorld,
		},
	}}})
	if err != nil {
		return fmt.Errorf("register server %s: %w", s.id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.incarnation = answer.GetRegisterServer().GetIncarnation()
	return nil
}

// ID is the game server's id.
func (s *Server) ID() string { return s.id }

// Incarnation names this registration among those of the same id.
func (s *Server) Incarnation() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.incarnation
}

// SetPlayers says how many players are on the server; the next heartbeat reports it.
func (s *Server) SetPlayers(n int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.players = n
}

// Err is nil while the server is registered; [ErrStaleIncarnation] when another process registered under the same id:
// then all sessions of this one are gone.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.err
}

// OpenPlayer opens a session of this server; see [Client.OpenPlayer]. The player ends when an event says so. A server that
// the node has taken for dead meanwhile registers again, as with a heartbeat: its older sessions have ended.
func (s *Server) OpenPlayer(ctx context.Context, id string, opts OpenOptions) (*Player, error) {
	opts.Server = s.id
	var p *Player
	err := s.open(ctx, func(incarnation string) (*session, error) {
		var err error
		if p, err = s.client.openPlayer(ctx, id, opts, incarnation); err != nil {
			return nil, err
		}
		return &p.session, nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// OpenWorld opens a session of this server; see [Client.OpenWorld]. All else is as for [Server.OpenPlayer].
func (s *Server) OpenWorld(ctx context.Context, id string, opts WorldOptions) (*World, error) {
	opts.Server = s.id
	var w *World
	err := s.open(ctx, func(incarnation string) (*session, error) {
		var err error
		if w, err = s.client.openWorld(ctx, id, opts, incarnation); err != nil {
			return nil, err
		}
		return &w.session, nil
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// open tries an opening under the present registration, and again after registering again.
func (s *Server) open(ctx context.Context, try func(incarnation string) (*session, error)) error {
	defer s.opening()()
	for tries := 1; ; tries++ {
		incarnation := s.Incarnation()
		opened, err := try(incarnation)
		switch {
		case err == nil:
			s.add(opened, incarnation)
			return nil
		case tries == maxOpenings || !errors.Is(err, ErrUnknownServer) && !errors.Is(err, ErrStaleIncarnation):
			return err
		}
		if failed := s.renew(ctx, incarnation, err); failed != nil {
			return failed
		}
	}
}

// opening counts an opening that is on its way; the result ends that. Events may overtake its answer: meanwhile, those about
// sessions that are not known are kept.
func (s *Server) opening() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.opening++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mu.opening--; s.mu.opening == 0 {
			s.mu.early = nil
		}
	}
}

// add keeps a session that was opened under a registration, and ends it when it is over already.
func (s *Server) add(p *session, incarnation string) {
	p.server = s
	s.mu.Lock()
	s.mu.open[p.token] = p
	var reason error
	for _, e := range s.mu.early {
		if e.token == p.token {
			reason = e.reason
		}
	}
	if reason == nil && s.mu.incarnation != incarnation { // registered again meanwhile: that ended all before
		reason = ErrSessionEnded
	}
	s.mu.Unlock()
	if reason != nil {
		p.end(reason)
	}
}

// renew registers again after the node refused a registration, unless somebody else has done so meanwhile; the players of the
// refused one end. It returns why that cannot be: another process has registered, or this server was closed.
func (s *Server) renew(ctx context.Context, refused string, why error) error {
	select {
	case s.renewing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("register server %s: %w", s.id, ctx.Err())
	}
	defer func() { <-s.renewing }()
	s.mu.Lock()
	renewed, stopped := s.mu.incarnation != refused, s.mu.stopped
	gone := s.mu.err != nil || errors.Is(why, ErrStaleIncarnation)
	if gone && !renewed && s.mu.err == nil {
		s.mu.err = why
	}
	s.mu.Unlock()
	switch {
	case renewed:
		return nil
	case stopped:
		return why
	}
	s.endAll(ErrSessionEnded)
	if gone {
		return why
	}
	return s.register(ctx)
}

// forget drops a session that is over.
func (s *Server) forget(p *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.open, p.token)
}

// Close ends all sessions of this server with a save, and stops the heartbeats. It returns when what RegisterServer
// started has ended, also on an error; then call it again, or the node ends the sessions by itself once the server is taken
// for dead. After a Close that succeeded, or Abandon, it does nothing.
func (s *Server) Close(ctx context.Context) error {
	s.halt()
	s.mu.Lock()
	closed := s.mu.closed
	s.mu.Unlock()
	if closed {
		return nil
	}
	_, err := s.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_CloseServer{
		CloseServer: &skerryv1.CloseServerRequest{Server: s.id, Incarnation: s.Incarnation()},
	}}})
	s.endAll(ErrSessionEnded)
	if err != nil {
		return fmt.Errorf("close server %s: %w", s.id, err)
	}
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	return nil
}

// Abandon stops the heartbeats and the events without telling the node: for tests of what happens when a game server
// dies. It returns when they have ended.
func (s *Server) Abandon() {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.halt()
}

// halt ends the goroutines and waits for them.
func (s *Server) halt() {
	s.mu.Lock()
	s.mu.stopped = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
}

func (s *Server) endAll(reason error) {
	s.mu.Lock()
	all := s.mu.open
	s.mu.open = make(map[string]*session)
	s.mu.Unlock()
	for _, p := range all {
		p.end(reason)
	}
}

// beat sends heartbeats until ctx ends or another incarnation registered.
func (s *Server) beat(ctx context.Context) {
	for wait(ctx, s.opts.HeartbeatInterval) {
		s.mu.Lock()
		players, incarnation := s.mu.players, s.mu.incarnation
		s.mu.Unlock()
		_, err := s.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_HeartbeatServer{
			HeartbeatServer: &skerryv1.HeartbeatServerRequest{Server: s.id, Incarnation: incarnation, Players: players},
		}}})
		switch {
		case errors.Is(err, ErrStaleIncarnation), errors.Is(err, ErrUnknownServer):
			// The node took this server for dead and ended its sessions; the game goes on with a new incarnation. When
			// that fails, the next beat tries again, unless another process has registered.
			if _ = s.renew(ctx, incarnation, err); s.Err() != nil {
				return
			}
		case errors.Is(err, ErrClosed):
			return
		}
	}
}

// watch follows the server's events over every lost connection, at whichever node there is, until ctx ends.
func (s *Server) watch(ctx context.Context) {
	var after int64
	for attempts := 0; ctx.Err() == nil; attempts++ {
		conn := ownerConn{anyConn: anyConn{s.client}, kind: codec.KindServer, id: s.id, turn: max(0, attempts-1)} // the owner twice
		stream, err := skerryv1.NewSkerryClient(conn).WatchServer(ctx, &skerryv1.WatchServerRequest{Server: s.id, After: after})
		for err == nil {
			var event *Event
			if event, err = stream.Recv(); err == nil {
				attempts, after = 0, event.GetId()
				s.heard(event)
			}
		}
		if !wait(ctx, s.client.pause(attempts)) {
			return
		}
	}
}

// heard ends the player that the event is about, and passes it on.
func (s *Server) heard(event *Event) {
	var reason error
	switch event.GetType() {
	case EventSessionTaken:
		reason = ErrSessionTaken
	case EventSessionEnded:
		reason = ErrSessionEnded
	}
	if reason != nil {
		s.mu.Lock()
		p := s.mu.open[event.GetSession()]
		if p == nil && s.mu.opening > 0 {
			s.mu.early = append(s.mu.early[max(0, len(s.mu.early)+1-maxEarly):], ended{event.GetSession(), reason})
		}
		s.mu.Unlock()
		if p != nil {
			p.end(reason)
		}
	}
	if s.opts.OnEvent != nil {
		s.opts.OnEvent(event)
	}
}
