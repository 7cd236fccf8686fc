package actors

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// marksPage is how many marks are read at a time.
	marksPage = 512
	// lookPause is the time after a failed look into storage until the next.
	lookPause = time.Second
	// maxLookPause is the longest one; they double for partitions of other nodes.
	maxLookPause = 30 * time.Second
	// maxHeldLooks is how many looks at other nodes' partitions are waited for; later ones go on by themselves.
	maxHeldLooks = 6
	// maxLooks is how many servers' sessions are looked for at other nodes at a time, in lookWidth partitions each.
	maxLooks  = 8
	lookWidth = 8
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
	partitions []persistence.Partition // those of server.again are added when it begins
	due        instant
	tries      int  // at other nodes, that failed
	held       bool // it is one of server.rebuilding
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
	s.mu.since[p] = s.host.budgetNow()
	var ready []delivery
	if s.partners != nil {
		ready = s.movedLocked(p)
	}
	s.mu.Unlock()
	s.poke()
	give(ready)
}

// lost forgets the servers of a partition: its next owner watches over them.
func (s *servers) lost(p persistence.Partition, _ persistence.Epoch) {
	s.forget(func(of *serverState) bool { return s.host.partitionOf(of.key) == p }, persistence.ErrNotOwner)
}

// erased forgets the servers of a space that was erased in a partition.
func (s *servers) erased(p persistence.Partition, space string) {
	s.forget(func(of *serverState) bool { return of.key.Space == space && s.host.partitionOf(of.key) == p }, turn.ErrNotFound)
}

// forget forgets servers, answering what waits for them with err.
func (s *servers) forget(which func(*serverState) bool, err error) {
	var ready []delivery
	var rebuilt []func()
	var names []serverName
	s.mu.Lock()
	for name, of := range s.mu.known {
		if !which(of) {
			continue
		}
		delete(s.mu.known, name)
		names = append(names, name)
		ready = s.dropLocked(of, err, ready)
		rebuilt = append(rebuilt, of.rebuilt...)
		of.rebuilt = nil
	}
	s.mu.Unlock()
	s.host.budgets.drop(names, err)
	give(ready)
	for _, f := range rebuilt {
		f()
	}
}

// ensureLocked returns the state of a server, made when it is new here; nil when another node watches over it. A new
// state's sessions are looked for in every partition.
func (s *servers) ensureLocked(key persistence.Key, incarnation string) *serverState {
	if of := s.mu.known[nameOf(key)]; of != nil {
		return of
	}
	if s.mu.closed || key.Validate() != nil {
		return nil
	}
	epoch := s.host.partitions[s.host.partitionOf(key)].epoch.Load()
	if epoch == nil {
		return nil
	}
	of := &serverState{
		key: key, incarnation: incarnation, sessions: map[persistence.Key]hold{}, departed: map[string]struct{}{},
		log: newEventLog(time.Now(), *epoch), changed: make(chan struct{}), used: s.host.now(), rebuilding: 1, mayClaim: true,
	}
	of.lastSeen.Store(int64(s.host.now()))
	s.mu.known[nameOf(key)] = of
	s.mu.rebuilds = append(s.mu.rebuilds, rebuild{server: of, partitions: s.everywhere(), held: true})
	return of
}

// lookAwayLocked has a server's sessions looked for at other nodes: notes of some may be lost. held says that the server's
// end waits for it.
func (s *servers) lookAwayLocked(of *serverState, held bool) {
	switch {
	case s.partners == nil:
	case held:
		of.rebuilding++
		s.mu.rebuilds = append(s.mu.rebuilds, rebuild{server: of, partitions: s.everywhere(), held: true})
	default:
		s.lookAgainLocked(of, s.everywhere()...)
	}
}

// handsOver reports whether nothing new is accepted for an entity because its partition is being handed over.
func (s *servers) handsOver(key persistence.Key) bool {
	of := &s.host.partitions[s.host.partitionOf(key)]
	epoch := of.epoch.Load()
	return epoch != nil && of.yields(*epoch)
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
		s.mu.rebuilds = append(s.mu.rebuilds, rebuild{server: of, partitions: []persistence.Partition{c.partition}, held: true})
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

// lookForSessions finds a server's sessions by their marks: here at once, and in the partitions of other nodes beside the loop.
func (s *servers) lookForSessions(ctx context.Context, r rebuild) {
	s.mu.Lock()
	for p := range r.server.again {
		r.partitions = append(r.partitions, p)
	}
	r.server.again = nil
	s.mu.Unlock()
	var away []persistence.Partition
	for i, p := range r.partitions {
		if !s.owns(p, nil) {
			away = append(away, p)
			continue
		}
		if err := s.lookInto(ctx, r.server, p); err != nil {
			s.host.log.LogAttrs(ctx, slog.LevelError, "sessions of a server not found", slog.String("entity", r.server.key.String()),
				slog.Int("partition", int(p)), slog.Any("err", err))
			r.partitions, r.due = append(away, r.partitions[i:]...), s.host.now()+lookPause
			s.again(nil, &r)
			return
		}
	}
	if s.partners == nil || len(away) == 0 { // without partners, their next owner's servers look there
		s.found(r)
		return
	}
	r.partitions = away
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.looking >= maxLooks {
		s.mu.rebuilds = append(s.mu.rebuilds, r) // whoever ends wakes the loop
		return
	}
	s.mu.looking++
	s.lookers.Go(func() { s.lookAway(ctx, r) })
}

// lookAway looks into partitions of other nodes, and again later where that fails.
func (s *servers) lookAway(ctx context.Context, r rebuild) {
	errs := make([]error, len(r.partitions))
	var group errgroup.Group
	group.SetLimit(lookWidth)
	for i, p := range r.partitions {
		group.Go(func() error {
			errs[i] = s.lookInto(ctx, r.server, p)
			return errs[i]
		})
	}
	err := group.Wait()
	var failed []persistence.Partition
	for i, p := range r.partitions {
		if errs[i] != nil {
			failed = append(failed, p)
		}
	}
	s.mu.Lock()
	s.mu.looking--
	known := s.mu.known[nameOf(r.server.key)] == r.server
	s.mu.Unlock()
	defer s.poke()
	if err == nil || !known || ctx.Err() != nil {
		s.found(r)
		return
	}
	s.host.log.LogAttrs(ctx, slog.LevelWarn, "sessions of a server not found", slog.String("entity", r.server.key.String()),
		slog.Int("partitions", len(failed)), slog.Int("try", r.tries+1), slog.Any("err", err))
	pause := min(lookPause<<min(r.tries, 10), maxLookPause)
	r.partitions, r.due, r.tries = failed, s.host.now()+pause, r.tries+1
	if r.tries == maxHeldLooks {
		s.found(r)
		r.held = false
	}
	s.again(nil, &r)
}

// found ends a look: whoever waits for it goes on.
func (s *servers) found(r rebuild) {
	if !r.held {
		return
	}
	var rebuilt []func()
	s.mu.Lock()
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

// lookInto makes what is known of a server's sessions in a partition what the marks there say.
func (s *servers) lookInto(ctx context.Context, of *serverState, p persistence.Partition) error {
	epoch := s.host.partitions[p].epoch.Load()
	list := s.host.opts.Storage.Marks
	if epoch == nil {
		list = s.partners.Marks
	}
	before := s.sessionsIn(of, p)
	there := map[persistence.Key]struct{}{}
	err := eachMark(ctx, list, p, of.key.Space, turn.SessionMark(of.key.ID), func(m persistence.MarkOf) {
		there[m.Key] = struct{}{}
		s.foundMark(of, m, before[m.Key].token)
	})
	if err != nil {
		return err
	}
	if epoch != nil && !s.owns(p, epoch) {
		return persistence.ErrNotOwner // it moved meanwhile: what was read may be old
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, session := range before {
		if _, marked := there[key]; !marked && !of.sessions[key].ending {
			s.releaseLocked(of, key, session.token)
		}
	}
	return nil
}

// sessionsIn are the sessions of a server in a partition, as far as they are known now.
func (s *servers) sessionsIn(of *serverState, p persistence.Partition) map[persistence.Key]hold {
	in := map[persistence.Key]hold{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, session := range of.sessions {
		if s.host.partitionOf(key) == p {
			in[key] = session
		}
	}
	return in
}

// foundMark notes a session that a mark tells of, unless something newer is known of the entity than before, the token that
// was known when the look began.
func (s *servers) foundMark(of *serverState, m persistence.MarkOf, before string) {
	token, incarnation := turn.ParseSessionMark(m.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ended := of.departed[token]; ended || s.mu.known[nameOf(of.key)] != of {
		return
	}
	known, held := of.sessions[m.Key]
	if !held && before == "" || held && known.token == before && known.token != token && !known.ending {
		s.holdLocked(of, m.Key, hold{token: token, incarnation: incarnation})
	}
}

// eachMark reads the marks of a partition of this node that have a name.
func (s *servers) eachMark(ctx context.Context, p persistence.Partition, space, name string, do func(persistence.MarkOf)) error {
	return eachMark(ctx, s.host.opts.Storage.Marks, p, space, name, do)
}

// listMarks is [persistence.Storage].Marks, or [Partners].Marks.
type listMarks func(ctx context.Context, p persistence.Partition, space, name string, after persistence.Key, limit int) ([]persistence.MarkOf, error)

// eachMark reads the marks that list gives, page by page.
func eachMark(ctx context.Context, list listMarks, p persistence.Partition, space, name string, do func(persistence.MarkOf)) error {
	var after persistence.Key
	for {
		marks, err := list(ctx, p, space, name, after, marksPage)
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
