// Goal: game servers, sessions and transfers whose parties live on several nodes. Method: hosts over one store in memory,
// each the owner of some partitions, with a small router between them; partitions move, and nodes die, in fake time.
package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// nodes are some hosts over one store.
type nodes struct {
	testing.TB
	store *markStore
	opts  Options
	all   []*member

	mu      sync.Mutex
	owners  []*member // by partition; nil: nobody
	terms   []uint64
	deaf    bool                    // notes are lost
	cut     bool                    // nobody's budget can be asked
	missing map[serverName]struct{} // whose
}

// member is one host, with what it sees of the others: its router, its partners, its journal and its storage.
type member struct {
	of   *nodes
	host *Host
	stop func()
	dead bool // guarded by nodes.mu
}

const nodePartitions = 12

func newNodes(tb testing.TB, count int) *nodes {
	tb.Helper()
	return newNodesWith(tb, count, Options{PassivateAfter: time.Minute})
}

// newNodesWith makes nodes with these options, as far as they are not the nodes' own.
func newNodesWith(tb testing.TB, count int, opts Options) *nodes {
	tb.Helper()
	n := &nodes{TB: tb, opts: opts, store: newMarkStore(tb), owners: make([]*member, nodePartitions), terms: make([]uint64, nodePartitions), missing: map[serverName]struct{}{}}
	n.store.partitions = nodePartitions
	n.store.refuse = func(c *persistence.Change) error {
		n.mu.Lock()
		defer n.mu.Unlock()
		if c.Epoch.Term != n.terms[persistence.PartitionOf(c.Key, nodePartitions)] {
			return persistence.ErrFenced
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.run(ctx) })
	for range count {
		n.all = append(n.all, n.start())
	}
	tb.Cleanup(func() {
		for _, m := range n.all {
			m.stop()
		}
		cancel()
		running.Wait()
	})
	for p := range n.owners {
		n.claim(persistence.Partition(p), n.all[p%count]) //nolint:gosec // a few
	}
	synctest.Wait()
	return n
}

// run applies what was proposed, one change in a tenth of a millisecond, until ctx ends.
func (n *nodes) run(ctx context.Context) {
	for {
		for n.store.step() {
			time.Sleep(100 * time.Microsecond) // fake
		}
		select {
		case <-n.store.wake:
		case <-ctx.Done():
			n.store.loseAll(persistence.ErrOutcomeUnknown)
			return
		}
	}
}

// third is a node that neither owns p nor watches over s1.
func (n *nodes) third(p persistence.Partition) *member {
	for _, m := range n.all {
		if m != n.owner(p) && m != n.ownerOf(serverKey("main", "s1")) {
			return m
		}
	}
	return nil
}

func (n *nodes) start() *member {
	n.Helper()
	m := &member{of: n}
	opts := n.opts
	opts.Journal, opts.Storage, opts.Partitions, opts.Router, opts.Partners = m, &nodeStorage{n.store, m}, nodePartitions, m, m
	opts.Describe = func(err error) *skerryv1.Error { return &skerryv1.Error{Code: "REFUSED", Message: err.Error()} }
	h, err := New(opts)
	if err != nil {
		n.Fatal(err)
	}
	m.host = h
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.Run(ctx); err != nil {
			n.Errorf("run: %v", err)
		}
	})
	m.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	return m
}

func (n *nodes) owner(p persistence.Partition) *member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.owners[p]
}

func (n *nodes) ownerOf(key persistence.Key) *member {
	return n.owner(persistence.PartitionOf(key, nodePartitions))
}

// claim makes m the owner of p.
func (n *nodes) claim(p persistence.Partition, m *member) {
	n.mu.Lock()
	n.owners[p] = m
	n.terms[p]++
	epoch := persistence.Epoch{Term: n.terms[p]}
	n.mu.Unlock()
	m.host.Claimed(p, epoch)
	for _, other := range n.all {
		if other != m {
			other.host.Moved(p)
		}
	}
}

// leave takes p from its owner, after a handover or without.
func (n *nodes) leave(p persistence.Partition, handover bool) {
	n.Helper()
	from := n.owner(p)
	if handover {
		if err := from.host.Yield(n.Context(), p); err != nil {
			n.Errorf("yield: %v", err)
		}
	}
	n.mu.Lock()
	epoch := persistence.Epoch{Term: n.terms[p]}
	n.owners[p] = nil
	n.mu.Unlock()
	from.host.Lost(p, epoch)
}

func (n *nodes) move(p persistence.Partition, to *member) {
	n.Helper()
	n.leave(p, true)
	n.claim(p, to)
}

// die ends a node as a kill would; others take over what it owned.
func (n *nodes) die(m *member) {
	n.Helper()
	n.mu.Lock()
	m.dead = true
	var orphans []persistence.Partition
	for p, owner := range n.owners {
		if owner == m {
			n.owners[p] = nil
			n.terms[p]++                                        // nothing of it is applied any more
			orphans = append(orphans, persistence.Partition(p)) //nolint:gosec // a few
		}
	}
	n.all = slices.DeleteFunc(n.all, func(other *member) bool { return other == m })
	n.mu.Unlock()
	m.stop()
	for i, p := range orphans {
		n.claim(p, n.all[i%len(n.all)])
	}
}

var (
	_ Partners            = (*member)(nil)
	_ Router              = (*member)(nil)
	_ persistence.Journal = (*member)(nil)
)

// Do passes a call to its owner, and waits for one while there is none: at most one hop.
func (m *member) Do(call *Call) {
	m.of.mu.Lock()
	dead := m.dead
	m.of.mu.Unlock()
	if dead {
		call.Reply(nil, persistence.ErrOutcomeUnknown)
		return
	}
	m.try(call, time.Now())
}

func (m *member) try(call *Call, since time.Time) {
	owner := m.of.ownerOf(call.Key)
	again := func() {
		if time.Since(since) > 5*time.Second {
			call.Reply(nil, persistence.ErrNotOwner)
			return
		}
		time.AfterFunc(5*time.Millisecond, func() { m.try(call, since) })
	}
	if owner == nil {
		again()
		return
	}
	there := &Call{Key: call.Key, Request: call.Request, Admin: call.Admin, reaps: call.reaps, step: call.step}
	there.Reply = func(r *skerryv1.Response, err error) {
		m.of.mu.Lock()
		dead := owner.dead
		m.of.mu.Unlock()
		switch {
		case dead:
			call.Reply(nil, persistence.ErrOutcomeUnknown)
		case errors.Is(err, persistence.ErrNotOwner) && !errors.Is(err, ErrLoad):
			again()
		default:
			call.answer = there.answer
			call.Reply(r, err)
		}
	}
	owner.host.Do(there)
}

func (m *member) Tell(notes []*peerv1.Note) {
	for _, note := range notes {
		m.of.mu.Lock()
		owner := m.of.owners[persistence.PartitionOf(serverKey(note.GetSpace(), note.GetServer()), nodePartitions)]
		if lost := m.of.deaf || m.dead || owner == nil; lost {
			m.of.missing[serverName{note.GetSpace(), note.GetServer()}] = struct{}{}
			owner = nil
		}
		m.of.mu.Unlock()
		if owner != nil {
			owner.host.Hear([]*peerv1.Note{note.CloneVT()})
		}
	}
}

// hear lets notes through again, and says whose were lost.
func (n *nodes) hear() {
	n.mu.Lock()
	n.deaf = false
	missing := n.missing
	n.missing = map[serverName]struct{}{}
	n.mu.Unlock()
	for name := range missing {
		n.ownerOf(serverKey(name.space, name.id)).host.Hear([]*peerv1.Note{ResyncNote(name.space, name.id)})
	}
}

func (m *member) Marks(ctx context.Context, p persistence.Partition, space, name string, after persistence.Key, limit int) ([]persistence.MarkOf, error) {
	owner := m.of.owner(p)
	if owner == nil {
		return nil, persistence.ErrNotOwner
	}
	return (&nodeStorage{m.of.store, owner}).Marks(ctx, p, space, name, after, limit)
}

func (m *member) Lease(ctx context.Context, server persistence.Key, asked *peerv1.Lease) (*peerv1.LeaseAnswer, error) {
	owner := m.of.ownerOf(server)
	m.of.mu.Lock()
	cut := m.of.cut || m.dead
	m.of.mu.Unlock()
	if cut || owner == nil {
		return nil, persistence.ErrNotOwner
	}
	return owner.host.Lease(ctx, server, asked)
}

func (m *member) Propose(p persistence.Partition, c *persistence.Change, done func(error)) error {
	m.of.mu.Lock()
	dead := m.dead
	m.of.mu.Unlock()
	if dead {
		return persistence.ErrClosed
	}
	return m.of.store.Propose(p, c, done)
}

func (m *member) Barrier(p persistence.Partition, epoch persistence.Epoch, done func(error)) error {
	return m.of.store.Barrier(p, epoch, done)
}

// nodeStorage has nothing of the partitions that its node does not own.
type nodeStorage struct {
	*markStore
	m *member
}

func (s *nodeStorage) Marks(ctx context.Context, p persistence.Partition, space, name string, after persistence.Key, limit int) ([]persistence.MarkOf, error) {
	if s.m.of.owner(p) != s.m {
		return nil, nil
	}
	return s.markStore.Marks(ctx, p, space, name, after, limit)
}

func (s *nodeStorage) Load(ctx context.Context, p persistence.Partition, key persistence.Key) (*persistence.Loaded, error) {
	if s.m.of.owner(p) != s.m {
		return nil, persistence.ErrNotOwner
	}
	return s.markStore.Load(ctx, p, key)
}

// do asks an entity, through some node.
func (n *nodes) do(key persistence.Key, request *skerryv1.Request) <-chan answer {
	answers := make(chan answer, 2)
	n.all[len(key.ID)%len(n.all)].Do(&Call{Key: key, Request: request, Admin: true, Reply: func(r *skerryv1.Response, err error) { answers <- answer{r, err} }})
	return answers
}

func (n *nodes) must(key persistence.Key, request *skerryv1.Request) *skerryv1.Response {
	n.Helper()
	got := <-n.do(key, request)
	if got.err != nil {
		n.Fatalf("%s: %v: %v", key, request, got.err)
	}
	return got.response
}

func (n *nodes) open(player, server string) string {
	n.Helper()
	return n.must(playerKey(player), openRequest(server)).GetOpenPlayerSession().GetSession()
}

func (n *nodes) earn(player, session string, command int64) error {
	return (<-n.do(playerKey(player), earn(session, command, 1, durable))).err
}

func (n *nodes) server(id string) *skerryv1.GetServerResponse {
	n.Helper()
	return n.must(serverKey("main", id), &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: &skerryv1.GetServerRequest{Server: id}}}).GetGetServer()
}

// holder is the server that holds a player.
func (n *nodes) holder(player string) string {
	n.Helper()
	return n.must(playerKey(player), &skerryv1.Request{Request: &skerryv1.Request_GetPlayerSession{
		GetPlayerSession: &skerryv1.GetPlayerSessionRequest{Player: player},
	}}).GetGetPlayerSession().GetServer()
}

// events are what s1 hears.
func (n *nodes) events(after int64) []*skerryv1.ServerEvent {
	n.Helper()
	return n.must(serverKey("main", "s1"), eventsCall("s1", after, "", nil).Request).GetGetServerEvents().GetEvents()
}

// filled opens sessions of s1 on every node, and returns the players and what their sessions' list looks like.
func (n *nodes) filled(count int) (players, list []string) {
	n.Helper()
	for i := range count {
		player := fmt.Sprint("s1-p", i)
		n.open(player, "s1")
		players, list = append(players, player), append(list, "player/"+player)
	}
	slices.Sort(list)
	synctest.Wait()
	on := map[*member]bool{}
	for _, player := range players {
		on[n.ownerOf(playerKey(player))] = true
	}
	if len(on) != len(n.all) {
		n.Fatalf("the players are on %d of %d nodes", len(on), len(n.all))
	}
	return players, list
}

// ended fails unless all players' sessions have ended, with a save.
func (n *nodes) ended(players []string) {
	n.Helper()
	for _, player := range players {
		if got := n.holder(player); got != "" {
			n.Errorf("%s is held by %q", player, got)
		}
		if last, saved := n.store.head(playerKey(player)); last != saved {
			n.Errorf("%s is saved at %d of %d", player, saved, last)
		}
	}
}

// A server hears of its sessions wherever they are, lives as long as any of them is used, and takes them along when it dies.
func TestServerOfManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		players, list := n.filled(30)
		if got := names(n.server("s1")); !slices.Equal(got, list) {
			t.Errorf("s1 has %v, want %v", got, list)
		}
		var other string // a player of s2 on a node that does not watch over it
		for _, player := range players {
			if n.ownerOf(playerKey(player)) != n.ownerOf(serverKey("main", "s2")) && n.ownerOf(playerKey(player)) != n.ownerOf(serverKey("main", "s1")) {
				other = player
			}
		}
		token := n.open(other, "s2")
		synctest.Wait()
		events := n.events(0)
		if len(events) != 1 || events[0].GetType() != turn.EventSessionTaken || events[0].GetEntity() != other {
			t.Errorf("s1 heard %v, want that %s was taken", said(events), other)
		}
		if got := names(n.server("s2")); !slices.Equal(got, []string{"player/" + other}) {
			t.Errorf("s2 has %v", got)
		}
		for i := range int64(10) { // all that is heard of s2 is on another node; s1 is silent
			time.Sleep(10 * time.Second)
			if err := n.earn(other, token, i+1); err != nil {
				t.Fatal(err)
			}
		}
		if n.holder(other) != "s2" || !n.server("s2").GetAlive() {
			t.Error("s2 was reaped while it was heard of")
		}
		n.ended(slices.DeleteFunc(players, func(player string) bool { return player == other }))
		if got := n.server("s1"); got.GetAlive() || len(got.GetSessions()) != 0 {
			t.Errorf("s1, which is dead: %v", got)
		}
	})
}

// The next owner of a server's partition finds its sessions at all nodes; who listens is told to look again.
func TestServersPartitionMoves(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprint("dies=", dies), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNodes(t, 3)
				players, list := n.filled(30)
				n.open(players[0], "s1")
				synctest.Wait()
				heard := n.events(0)
				key := serverKey("main", "s1")
				from := n.ownerOf(key)
				if dies {
					n.die(from)
				} else {
					n.move(from.host.partitionOf(key), n.all[(slices.Index(n.all, from)+1)%3])
				}
				if got := names(n.server("s1")); !slices.Equal(got, list) {
					t.Errorf("s1 has %v, want %v", got, list)
				}
				if again := n.events(heard[len(heard)-1].GetId()); len(again) == 0 || again[0].GetType() != turn.EventResync {
					t.Errorf("who listens heard %v", said(again))
				}
				time.Sleep(40 * time.Second)
				n.ended(players)
			})
		})
	}
}

// A session goes on when its entity moves, and its server is told, wherever it lives.
func TestSessionsMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		players, list := n.filled(30)
		var moved []string
		for _, player := range players {
			key := playerKey(player)
			if from := n.ownerOf(key); len(moved) < 2 && from != n.ownerOf(serverKey("main", "s1")) {
				p := from.host.partitionOf(key)
				moved = moved[:0]
				for _, other := range players {
					if from.host.partitionOf(playerKey(other)) == p {
						moved = append(moved, "MOVED "+other)
					}
				}
				n.move(p, n.third(p))
				break
			}
		}
		synctest.Wait()
		var heard []string
		for _, event := range n.events(0) {
			heard = append(heard, event.GetType()+" "+event.GetEntity())
		}
		slices.Sort(heard)
		slices.Sort(moved)
		if !slices.Equal(heard, moved) {
			t.Errorf("s1 heard %v, want %v", heard, moved)
		}
		if got := names(n.server("s1")); !slices.Equal(got, list) {
			t.Errorf("s1 has %v, want %v", got, list)
		}
	})
}

// A world is kept from others while players are on the server that holds it, wherever that is watched over.
func TestWorldOfAServerElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		player := n.open("p1", "s1")
		away := ""
		for i := range 20 {
			if id := fmt.Sprint("w", i); n.ownerOf(worldOf(id)) != n.ownerOf(serverKey("main", "s1")) {
				away = id
			}
		}
		enter := func(server string) error {
			return (<-n.do(worldOf(away), &skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionRequest{
				World: away, Server: server, Create: &skerryv1.Create{OwnerName: "Ann"},
			}}})).err
		}
		if err := enter("s1"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := enter("s2"); !errors.Is(err, turn.ErrSessionHeld) {
				t.Errorf("while a player is on s1: %v", err)
			}
		}
		n.must(playerKey("p1"), endRequestOf("p1", player))
		synctest.Wait()
		if err := enter("s2"); err != nil {
			t.Errorf("while nobody is on s1: %v", err)
		}
		n.open("p2", "s2")
		synctest.Wait()
		n.leave(n.all[0].host.partitionOf(serverKey("main", "s2")), false) // nobody knows who is on s2
		if err := enter("s3"); n.ownerOf(worldOf(away)) != nil && !errors.Is(err, turn.ErrSessionHeld) {
			t.Errorf("while it is not known: %v", err)
		}
	})
}

// What was not told is found when a partition moves, and before a server is closed.
func TestLostNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		n.open("first", "s1")
		synctest.Wait()
		n.mu.Lock()
		n.deaf = true
		n.mu.Unlock()
		players, list := n.filled(30)
		if len(n.server("s1").GetSessions()) >= len(list) {
			t.Fatal("the test needs sessions that were not told")
		}
		var away persistence.Partition
		for _, player := range players {
			if from := n.ownerOf(playerKey(player)); from != n.ownerOf(serverKey("main", "s1")) {
				away = from.host.partitionOf(playerKey(player))
			}
		}
		before := len(n.server("s1").GetSessions())
		n.move(away, n.third(away))
		synctest.Wait()
		if after := len(n.server("s1").GetSessions()); after <= before {
			t.Errorf("%d sessions were known, and %d after a partition moved", before, after)
		}
		time.Sleep(40 * time.Second) // no sign of life is told either
		n.ended(append(players, "first"))
	})
}

// A session that ended unheard is no session of its server any more once somebody looks.
func TestEndsThatWereNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		players, list := n.filled(30)
		n.mu.Lock()
		n.deaf = true
		n.mu.Unlock()
		i := slices.IndexFunc(players, func(p string) bool { return n.ownerOf(playerKey(p)) != n.ownerOf(serverKey("main", "s1")) })
		n.open(players[i], "s2")
		synctest.Wait()
		if len(names(n.server("s1"))) != len(list) {
			t.Fatal("the test needs an end that was not told")
		}
		p := n.all[0].host.partitionOf(playerKey(players[i]))
		n.move(p, n.third(p))
		synctest.Wait()
		if got := names(n.server("s1")); slices.Contains(got, "player/"+players[i]) || len(got) != len(list)-1 {
			t.Errorf("s1 has %v", got)
		}
	})
}

// While a partition has no owner its sessions are not known; openings do not wait for them, and its sessions are found when
// it has one.
func TestSessionsOfAPartitionWithoutAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		players, list := n.filled(30)
		key := serverKey("main", "s1")
		from := n.ownerOf(key)
		var orphan persistence.Partition
		for _, player := range players {
			if p := from.host.partitionOf(playerKey(player)); p != from.host.partitionOf(key) {
				orphan = p
			}
		}
		back := n.owner(orphan)
		n.leave(orphan, false)
		n.move(from.host.partitionOf(key), n.all[(slices.Index(n.all, from)+1)%3])
		i := slices.IndexFunc(players, func(p string) bool { return from.host.partitionOf(playerKey(p)) != orphan })
		began := time.Now()
		n.open(players[i], "s1")
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("an opening waited %s", took)
		}
		time.Sleep(3 * time.Second)
		n.claim(orphan, back)
		if got := names(n.server("s1")); !slices.Equal(got, list) {
			t.Errorf("s1 has %v, want %v", got, list)
		}
	})
}

// Notes come from another process: whatever they say, nothing breaks, and nothing is believed that no host writes.
func TestNotesThatNobodyWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 2)
		n.open("p1", "s1")
		synctest.Wait()
		owner := n.ownerOf(serverKey("main", "s1")).host
		session := func(change func(*peerv1.Note)) *peerv1.Note {
			note := &peerv1.Note{Space: "main", Server: "s1", Kind: uint32(persistence.KindPlayer), Entity: "x", Token: "t", Opened: true}
			change(note)
			return note
		}
		owner.Hear([]*peerv1.Note{
			nil,
			{},
			{Space: "main", Server: "unknown", Seen: true},
			session(func(n *peerv1.Note) { n.Space = "no space" }),
			session(func(n *peerv1.Note) { n.Entity = "" }),
			session(func(n *peerv1.Note) { n.Kind = uint32(persistence.KindServer) }),
			session(func(n *peerv1.Note) { n.Kind = 257 }),
			session(func(n *peerv1.Note) { n.Ended = true }),
			session(func(n *peerv1.Note) { n.Token = "" }),
			session(func(n *peerv1.Note) { n.Token = string(make([]byte, 1000)) }),
			session(func(n *peerv1.Note) { n.Event = &skerryv1.ServerEvent{Type: "NONSENSE"} }),
			{Space: "main", Server: "s1", Event: &skerryv1.ServerEvent{Type: turn.EventWorldClaimed}},
		})
		if got := names(n.server("s1")); !slices.Equal(got, []string{"player/p1"}) {
			t.Errorf("s1 has %v", got)
		}
		if got := n.events(0); len(got) != 0 {
			t.Errorf("s1 heard %v", said(got))
		}
		owner.Hear([]*peerv1.Note{ResyncNote("main", "s1")})
		if got := n.events(1); len(got) != 1 || got[0].GetType() != turn.EventResync {
			t.Errorf("s1 heard %v, want RESYNC", said(got))
		}
	})
}

// When too many notes wait, every server of theirs is told that some are missing.
func TestTooManyNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 2)
		from, key := n.all[0].host.servers, serverKey("main", "s1")
		if n.ownerOf(key) == n.all[0] {
			from = n.all[1].host.servers
		}
		from.mu.Lock()
		for range maxNotes + 1 {
			from.noteLocked(key, &turn.Effect{Server: "s1", Event: &skerryv1.ServerEvent{Type: turn.EventChanged}})
		}
		notes := from.mu.notes
		from.mu.notes = nil
		from.mu.Unlock()
		if len(notes) != 2 || notes[0].GetEvent().GetType() != turn.EventResync || notes[1].GetEvent().GetType() != turn.EventChanged {
			t.Errorf("%d notes, the first %v", len(notes), notes[0])
		}
	})
}

// Transfers between players of all nodes, while partitions move gracefully, are lost, and a node dies: each ends, and nothing is lost
// or made.
func TestTransfersAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		players, _ := n.filled(12)
		f := &fair{TB: t, store: n.store}
		before := f.count()
		var results []<-chan answer
		round := 0
		send := func() {
			for i := range players {
				round++
				request := &skerryv1.CreateTransferRequest{
					Id:   fmt.Sprint("t", round),
					Legs: []*skerryv1.TransferLeg{moveCoins(playerParty(players[i]), playerParty(players[(i+5)%len(players)]), 1)},
				}
				holder, _ := transfer.HolderOf("main", request)
				results = append(results, n.do(holder, &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: request}}))
			}
		}
		for p := range persistence.Partition(nodePartitions) {
			send()
			switch to := n.all[(slices.Index(n.all, n.owner(p))+1)%len(n.all)]; {
			case p%3 == 0:
				n.leave(p, false)
				time.Sleep(time.Second)
				n.claim(p, to)
			case p == 7:
				n.die(to)
			default:
				n.move(p, to)
			}
		}
		send()
		done := 0
		for _, result := range results {
			got := <-result
			switch {
			case got.err == nil && got.response.GetCreateTransfer().GetTransfer().GetStatus() != skerryv1.TransferStatus_TRANSFER_OPEN:
				done++
			case !errors.Is(got.err, persistence.ErrOutcomeUnknown):
				t.Errorf("%v, %v", got.response, got.err)
			}
		}
		time.Sleep(30 * time.Second)
		if open := f.open(); open != 0 {
			t.Errorf("%d transfers are open still", open)
		}
		if after := f.count(); after["coins"] != before["coins"] {
			t.Errorf("%d coins became %d", before["coins"], after["coins"])
		}
		t.Logf("%d transfers, %d answered", len(results), done)
	})
}

// A partition that moves has one event for each session of it, and no more than 1,000 in all.
func TestManySessionsMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		owner := n.ownerOf(serverKey("main", "s1")).host
		servers := []string{"s1"}
		for i := 2; len(servers) < 2; i++ {
			if id := fmt.Sprint("s", i); n.ownerOf(serverKey("main", id)).host == owner {
				servers = append(servers, id)
			}
		}
		for _, id := range servers {
			n.must(serverKey("main", id), &skerryv1.Request{Request: &skerryv1.Request_RegisterServer{RegisterServer: &skerryv1.RegisterServerRequest{Server: id}}})
		}
		synctest.Wait()
		p := persistence.Partition(slices.IndexFunc(n.owners, func(m *member) bool { return m.host != owner })) //nolint:gosec // a few
		var notes []*peerv1.Note
		for i := 0; len(notes) < 1200; i++ {
			id := fmt.Sprint("p", i)
			server := servers[len(notes)%2]
			if owner.partitionOf(playerKey(id)) == p {
				notes = append(notes, &peerv1.Note{
					Space: "main", Server: server, Kind: uint32(persistence.KindPlayer), Entity: id, Token: "t", Opened: true,
					Incarnation: n.server(server).GetIncarnation(),
				})
			}
		}
		owner.Hear(notes)
		owner.Moved(p)
		told := 0
		owner.servers.mu.Lock()
		for _, of := range owner.servers.mu.known {
			told += len(of.log.events)
		}
		owner.servers.mu.Unlock()
		if told != maxMoved {
			t.Errorf("%d events, want %d", told, maxMoved)
		}
	})
}
