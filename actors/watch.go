package actors

import (
	"context"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// marksPage is how many marks are read at a time.
	marksPage = 512
	// lookPause is the time after a failed look into storage until the next.
	lookPause = time.Second
)

// claim is a partition whose servers have to be found.
type claim struct {
	partition persistence.Partition
	epoch     persistence.Epoch
	due       instant
}

// rebuild is a server whose sessions have to be found in some partitions.
type rebuild struct {
	server     *serverState
	partitions []persistence.Partition
	due        instant
}

// owns reports whether this node owns a partition, under epoch when that is not nil.
func (s *servers) owns(p persistence.Partition, epoch *persistence.Epoch) bool {
	now := s.host.partitions[p].epoch.Load()
	return now != nil && (epoch == nil || *now == *epoch)
}

// claimed has the partition looked through: for servers that are alive, and for sessions of the servers known already.
func (s *servers) claimed(p persistence.Partition, epoch persistence.Epoch) {
	s.mu.Lock()
	s.mu.claims = append(s.mu.claims, claim{partition: p, epoch: epoch})
	s.mu.Unlock()
	s.poke()
}

// lost forgets the servers of a partition: its next owner watches over them.
func (s *servers) lost(p persistence.Partition, _ persistence.Epoch) {
	s.forget(func(of *serverState) bool { return s.host.partitionOf(of.key) == p }, persistence.ErrNotOwner)
}

// erased forgets the servers of a space that was erased.
func (s *servers) erased(space string) {
	s.forget(func(of *serverState) bool { return of.key.Space == space }, turn.ErrNotFound)
}

// forget forgets servers, answering what waits for them with err.
func (s *servers) forget(which func(*serverState) bool, err error) {
	var ready []delivery
	var rebuilt []func()
	s.mu.Lock()
	for name, of := range s.mu.known {
		if !which(of) {
			continue
		}
		delete(s.mu.known, name)
		for key := range of.sessions {
			if s.mu.holders[key] == of {
				delete(s.mu.holders, key)
			}
		}
		ready = s.dropLocked(of, err, ready)
		rebuilt = append(rebuilt, of.rebuilt...)
		of.rebuilt = nil
	}
	s.mu.Unlock()
	give(ready)
	for _, f := range rebuilt {
		f()
	}
}

// ensureLocked returns the state of a server, made when it is new here; nil when another node watches over it. A new
// state's sessions are looked for in every partition of this node.
func (s *servers) ensureLocked(key persistence.Key, incarnation string) *serverState {
	if of := s.mu.known[nameOf(key)]; of != nil {
		return of
	}
	if s.mu.closed || key.Validate() != nil || !s.owns(s.host.partitionOf(key), nil) {
		return nil
	}
	of := &serverState{
		key: key, incarnation: incarnation, sessions: map[persistence.Key]hold{}, departed: map[string]struct{}{},
		log: newEventLog(time.Now()), changed: make(chan struct{}), used: s.host.now(), rebuilding: 1, mayClaim: true,
	}
	of.lastSeen.Store(int64(s.host.now()))
	s.mu.known[nameOf(key)] = of
	var all []persistence.Partition
	for p := range s.host.partitions {
		if s.owns(persistence.Partition(p), nil) { //nolint:gosec // at most 4096
			all = append(all, persistence.Partition(p)) //nolint:gosec // at most 4096
		}
	}
	s.mu.rebuilds = append(s.mu.rebuilds, rebuild{server: of, partitions: all})
	return of
}

// look reads what has to be read from storage. Only the loop calls it.
func (s *servers) look(ctx context.Context) {
	now := s.host.now()
	s.mu.Lock()
	claims, rebuilds := s.mu.claims, s.mu.rebuilds
	s.mu.claims, s.mu.rebuilds = nil, nil
	s.mu.Unlock()
	for _, c := range claims {
		if c.due <= now {
			s.lookForServers(ctx, c)
			continue
		}
		s.again(&c, nil)
	}
	if len(claims) > 0 { // they made more
		s.mu.Lock()
		rebuilds = append(rebuilds, s.mu.rebuilds...)
		s.mu.rebuilds = nil
		s.mu.Unlock()
	}
	for _, r := range rebuilds {
		if r.due <= now {
			s.lookForSessions(ctx, r)
			continue
		}
		s.again(nil, &r)
	}
}

// again queues a look once more.
func (s *servers) again(c *claim, r *rebuild) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c != nil {
		s.mu.claims = append(s.mu.claims, *c)
	}
	if r != nil {
		s.mu.rebuilds = append(s.mu.rebuilds, *r)
	}
}

// lookForServers finds the servers of a partition that are alive, and queues a look for sessions of the others there.
func (s *servers) lookForServers(ctx context.Context, c claim) {
	if !s.owns(c.partition, &c.epoch) {
		return
	}
	found := 0
	err := s.eachServer(ctx, c.partition, func(m persistence.MarkOf) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ensureLocked(m.Key, string(m.Value))
		found++
	})
	if err != nil {
		s.host.log.LogAttrs(ctx, slog.LevelError, "servers of a partition not found", slog.Int("partition", int(c.partition)), slog.Any("err", err))
		c.due = s.host.now() + lookPause
		s.again(&c, nil)
		return
	}
	if found > 0 {
		s.host.log.LogAttrs(ctx, slog.LevelInfo, "servers found", slog.Int("partition", int(c.partition)), slog.Int("servers", found))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.mu.known { // the new ones look there as well; twice does no harm
		of.rebuilding++
		s.mu.rebuilds = append(s.mu.rebuilds, rebuild{server: of, partitions: []persistence.Partition{c.partition}})
	}
}

func (s *servers) eachServer(ctx context.Context, p persistence.Partition, do func(persistence.MarkOf)) error {
	spaces, err := s.host.opts.Storage.Spaces(ctx, p)
	if err != nil {
		return err
	}
	for _, space := range spaces {
		if err := s.eachMark(ctx, p, space, turn.AliveMark, do); err != nil {
			return err
		}
	}
	return nil
}

// lookForSessions finds a server's sessions by their marks.
func (s *servers) lookForSessions(ctx context.Context, r rebuild) {
	for i, p := range r.partitions {
		if !s.owns(p, nil) {
			continue // its next owner's servers look there
		}
		err := s.eachMark(ctx, p, r.server.key.Space, turn.SessionMark(r.server.key.ID), func(m persistence.MarkOf) {
			s.found(r.server, m)
		})
		if err != nil {
			s.host.log.LogAttrs(ctx, slog.LevelError, "sessions of a server not found", slog.String("entity", r.server.key.String()),
				slog.Int("partition", int(p)), slog.Any("err", err))
			r.partitions, r.due = r.partitions[i:], s.host.now()+lookPause
			s.again(nil, &r)
			return
		}
	}
	s.mu.Lock()
	var rebuilt []func()
	r.server.rebuilding--
	if r.server.rebuilding == 0 {
		rebuilt, r.server.rebuilt = r.server.rebuilt, nil
		clear(r.server.departed)
		if s.mu.known[nameOf(r.server.key)] == r.server {
			s.endStrayLocked(r.server)
		}
	}
	s.mu.Unlock()
	for _, f := range rebuilt {
		f()
	}
}

// found notes a session that a mark tells of, unless something newer is known of the entity.
func (s *servers) found(of *serverState, m persistence.MarkOf) {
	token, incarnation := turn.ParseSessionMark(m.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ended := of.departed[token]; ended || s.mu.known[nameOf(of.key)] != of {
		return
	}
	if _, known := of.sessions[m.Key]; !known {
		s.holdLocked(of, m.Key, hold{token: token, incarnation: incarnation})
	}
}

// eachMark reads the marks with a name, page by page.
func (s *servers) eachMark(ctx context.Context, p persistence.Partition, space, name string, do func(persistence.MarkOf)) error {
	var after persistence.Key
	for {
		marks, err := s.host.opts.Storage.Marks(ctx, p, space, name, after, marksPage)
		if err != nil {
			return err
		}
		for _, m := range marks {
			do(m)
		}
		if len(marks) < marksPage {
			return nil
		}
		after = marks[len(marks)-1].Key
	}
}
