// Goal: calls go straight to the owner of their entity, and reach somebody, once and in order, whatever happens to nodes and
// to routes.
// Method: several nodes that answer as each test says, and routes that the test makes up.
package client_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// partitions is how many a test's cluster has.
const partitions = 16

// cluster is some nodes that all answer, and note which turns came to them.
type cluster struct {
	nodes []*fakeNode

	mu    sync.Mutex
	turns []turn
	hold  map[string]bool // nodes that answer no turn
}

// turn is a turn that came to a node.
type turn struct {
	node, player string
	command      int64
	request      *skerryv1.Request
}

func startCluster(t *testing.T, size int) *cluster {
	t.Helper()
	cl := &cluster{hold: make(map[string]bool)}
	for range size {
		cl.nodes = append(cl.nodes, cl.start(t))
	}
	return cl
}

func (cl *cluster) start(t *testing.T) *fakeNode {
	t.Helper()
	var f *fakeNode
	started := make(chan struct{})
	f = startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		<-started
		if r := req.GetExecutePlayer(); r != nil {
			cl.mu.Lock()
			cl.turns = append(cl.turns, turn{f.addr, r.GetPlayer(), r.GetCommandId(), req})
			silent := cl.hold[f.addr]
			cl.mu.Unlock()
			if silent {
				return nil
			}
		}
		return echo(req)
	})
	close(started)
	return f
}

// silence has a node answer no turn, or answer again.
func (cl *cluster) silence(f *fakeNode, silent bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.hold[f.addr] = silent
}

// came returns the turns that came so far, and forgets them.
func (cl *cluster) came() []turn {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	turns := cl.turns
	cl.turns = nil
	return turns
}

func (cl *cluster) count() int {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return len(cl.turns)
}

// routes makes a node the owner of each partition: the one of this place, counted from 1.
func (cl *cluster) routes(owner func(partition int) uint32) *skerryv1.Routes {
	routes := &skerryv1.Routes{}
	for _, f := range cl.nodes {
		routes.Nodes = append(routes.Nodes, f.addr)
	}
	for p := range partitions {
		routes.Owners = append(routes.Owners, owner(p))
	}
	return routes
}

func (cl *cluster) tell(routes *skerryv1.Routes) {
	for _, f := range cl.nodes {
		f.tell(routes)
	}
}

// spread gives each node every so many partitions.
func (cl *cluster) spread(p int) uint32 { return uint32(p%len(cl.nodes)) + 1 } //nolint:gosec // few

// owner is the address of a player's owner.
func owner(routes *skerryv1.Routes, player string) string {
	return routes.GetNodes()[routes.GetOwners()[codec.PartitionOf("main", codec.KindPlayer, player, partitions)]-1]
}

func dialAt(t *testing.T, addr string, opts client.Options) *client.Client {
	t.Helper()
	return dial(t, &fakeNode{addr: addr}, opts)
}

func openPlayers(t *testing.T, c *client.Client, count int) []*client.Player {
	t.Helper()
	var players []*client.Player
	for i := range count {
		players = append(players, openPlayer(t, c, fmt.Sprint(1000+i)))
	}
	return players
}

// everyone has each player earn once and waits for all.
func everyone(t *testing.T, players []*client.Player) {
	t.Helper()
	var waiting sync.WaitGroup
	for _, p := range players {
		waiting.Go(func() {
			if _, err := p.Earn(t.Context(), client.Coins, 1); err != nil {
				t.Errorf("player %s: %v", p.ID(), err)
			}
		})
	}
	waiting.Wait()
}

// until tries again and again, for what happens in the background.
func until(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !isSo() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// straight waits until every turn comes to the owner that routes say.
func (cl *cluster) straight(t *testing.T, players []*client.Player, routes *skerryv1.Routes) {
	t.Helper()
	until(t, "every call goes to the owner", func() bool {
		cl.came()
		everyone(t, players)
		turns := cl.came()
		return len(turns) == len(players) && !slices.ContainsFunc(turns, func(u turn) bool { return u.node != owner(routes, u.player) })
	})
}

func TestCallsGoToTheOwner(t *testing.T) {
	cl := startCluster(t, 3)
	routes := cl.routes(cl.spread)
	cl.tell(routes)
	c := dialAt(t, cl.nodes[1].addr, client.Options{})
	players := openPlayers(t, c, 30)
	cl.straight(t, players, routes)

	moved := cl.routes(func(p int) uint32 { return uint32((p+1)%3) + 1 }) //nolint:gosec // small
	cl.nodes[2].tell(moved)                                               // one node says so
	cl.straight(t, players, moved)
	for _, f := range cl.nodes {
		f.mu.Lock()
		if asked := f.header.Get("skerry-routes"); len(asked) != 1 {
			t.Errorf("%s was asked for routes with %v", f.addr, asked)
		}
		f.mu.Unlock()
	}
}

// Of several nodes' routes those of the newer epoch count, whoever speaks last.
func TestNewerEpochCounts(t *testing.T) {
	cl := startCluster(t, 2)
	newer, older := cl.routes(func(int) uint32 { return 1 }), cl.routes(func(int) uint32 { return 2 })
	newer.Epochs, older.Epochs = slices.Repeat([]uint64{7}, partitions), slices.Repeat([]uint64{6}, partitions)
	cl.tell(newer)
	c := dialAt(t, cl.nodes[0].addr, client.Options{})
	players := openPlayers(t, c, 20)
	cl.straight(t, players, newer)
	for _, f := range cl.nodes {
		f.tell(older)
	}
	everyone(t, players) // an answer from there comes after the routes
	cl.straight(t, players, newer)
}

// A node that was cut off from the others and knows nothing of them does not lead calls astray.
func TestIsolatedNodeIsNotBelieved(t *testing.T) {
	cl := startCluster(t, 3)
	routes := cl.routes(cl.spread)
	routes.Epochs = slices.Repeat([]uint64{7}, partitions)
	cl.tell(routes)
	c := dialAt(t, cl.nodes[0].addr, client.Options{})
	players := openPlayers(t, c, 30)
	cl.straight(t, players, routes)
	cl.nodes[2].tell(&skerryv1.Routes{
		Nodes: []string{cl.nodes[2].addr}, Owners: slices.Repeat([]uint32{1}, partitions), Epochs: slices.Repeat([]uint64{6}, partitions),
	})
	everyone(t, players) // an answer from there comes after the routes
	cl.came()
	everyone(t, players)
	for _, u := range cl.came() {
		if u.node != owner(routes, u.player) {
			t.Errorf("%v, whose owner is %s", u, owner(routes, u.player))
		}
	}
	for _, f := range cl.nodes {
		f.mu.Lock()
		if f.opened != 1 {
			t.Errorf("%d streams to %s, want the one", f.opened, f.addr)
		}
		f.mu.Unlock()
	}
}

// A node that does not know the key yet is used once it does.
func TestNodeLearnsOfTheKey(t *testing.T) {
	cl := startCluster(t, 2)
	routes := cl.routes(cl.spread)
	cl.tell(routes)
	cl.nodes[1].setRefuse(status.Error(codes.Unauthenticated, "who?"))
	c := dialAt(t, cl.nodes[0].addr, client.Options{RetryMax: 2 * time.Millisecond})
	players := openPlayers(t, c, 10)
	everyone(t, players)
	cl.nodes[1].setRefuse(nil)
	cl.straight(t, players, routes)
}

// Who works with one node only has another one to go on at, when that one dies.
func TestOnlyNodeDies(t *testing.T) {
	cl := startCluster(t, 2)
	cl.tell(cl.routes(func(int) uint32 { return 1 }))
	c := dialAt(t, cl.nodes[0].addr, client.Options{RetryBase: time.Minute, RetryMax: time.Minute})
	players := openPlayers(t, c, 1)
	until(t, "another node is connected", func() bool {
		cl.nodes[1].mu.Lock()
		defer cl.nodes[1].mu.Unlock()
		return len(cl.nodes[1].feeds) == 1
	})
	cl.nodes[0].server.Stop()
	everyone(t, players)
}

// A node that left the cluster is left, once nothing is on its way there.
func TestNodeThatLeftIsLeft(t *testing.T) {
	cl := startCluster(t, 3)
	routes := cl.routes(cl.spread)
	cl.tell(routes)
	c := dialAt(t, cl.nodes[0].addr, client.Options{})
	players := openPlayers(t, c, 10)
	cl.straight(t, players, routes)
	without := cl.routes(func(p int) uint32 { return uint32(p%2) + 1 }) //nolint:gosec // small
	without.Nodes = without.GetNodes()[:2]
	cl.nodes[0].tell(without)
	cl.straight(t, players, without)
	until(t, "its stream ended", func() bool {
		cl.nodes[2].mu.Lock()
		defer cl.nodes[2].mu.Unlock()
		return len(cl.nodes[2].feeds) == 0
	})
}

// While nothing breaks, the turns of a player take effect in order, also while its owner changes all the time.
func TestOrderWhileOwnersMove(t *testing.T) {
	cl := startCluster(t, 3)
	cl.tell(cl.routes(cl.spread))
	c := dialAt(t, cl.nodes[0].addr, client.Options{})
	players := openPlayers(t, c, 8)
	cl.straight(t, players, cl.routes(cl.spread))
	cl.came()
	const each = 1500
	var answers sync.WaitGroup
	for i := range each {
		if i%50 == 0 {
			cl.tell(cl.routes(func(p int) uint32 { return uint32((p+i/50)%3) + 1 })) //nolint:gosec // small
		}
		for _, p := range players {
			answers.Add(1)
			var err error
			until(t, "there is room", func() bool {
				err = p.DoAsync(client.DoOptions{}, func(_ *client.Result, err error) {
					if err != nil {
						t.Error(err)
					}
					answers.Done()
				}, earn(1))
				return err == nil
			})
		}
	}
	answers.Wait()
	turns, newest, nodes := cl.came(), map[string]int64{}, map[string]bool{}
	if len(turns) != each*len(players) {
		t.Errorf("%d turns came, want %d: none twice", len(turns), each*len(players))
	}
	for _, u := range turns {
		if u.command < newest[u.player] {
			t.Fatalf("player %s: turn %d came after %d", u.player, u.command, newest[u.player])
		}
		newest[u.player], nodes[u.node] = u.command, true
	}
	if len(nodes) != 3 {
		t.Errorf("turns came to %d nodes, want 3", len(nodes))
	}
}

// What was on its way to a node that dies goes to another one at once, in order, with the same ids.
func TestNodeDiesWithCallsOnTheirWay(t *testing.T) {
	cl := startCluster(t, 3)
	routes := cl.routes(cl.spread)
	cl.tell(routes)
	c := dialAt(t, cl.nodes[0].addr, client.Options{RetryBase: time.Minute, RetryMax: time.Minute}) // a pause would be seen
	players := openPlayers(t, c, 30)
	cl.straight(t, players, routes)
	dying := cl.nodes[1]
	cl.silence(dying, true)
	var answers sync.WaitGroup
	const each = 5
	sent := map[string]bool{}
	for range each {
		for _, p := range players {
			if owner(routes, p.ID()) != dying.addr {
				continue
			}
			sent[p.ID()] = true
			answers.Add(1)
			err := p.DoAsync(client.DoOptions{}, func(_ *client.Result, err error) {
				if err != nil {
					t.Error(err)
				}
				answers.Done()
			}, earn(1))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "they are on their way", func() bool { return cl.count() == each*len(sent) })
	before := cl.came()
	dying.server.Stop()
	answers.Wait()
	after := cl.came()
	if len(after) != len(before) {
		t.Errorf("%d turns were sent again, want %d", len(after), len(before))
	}
	newest := map[string]int64{}
	for _, u := range after {
		if u.node == dying.addr || u.command <= newest[u.player] {
			t.Errorf("%v came after %d", u, newest[u.player])
		}
		newest[u.player] = u.command
	}
}

// A node that is frozen answers nothing, and its connection stays: once others say who owns what now, its calls are sent
// again there, with the same ids.
func TestOwnerIsFrozen(t *testing.T) {
	cl := startCluster(t, 3)
	routes := cl.routes(cl.spread)
	cl.tell(routes)
	c := dialAt(t, cl.nodes[0].addr, client.Options{})
	players := openPlayers(t, c, 9)
	cl.straight(t, players, routes)
	frozen := cl.nodes[1]
	cl.silence(frozen, true)
	var waiting sync.WaitGroup
	waiting.Go(func() { everyone(t, players) })
	until(t, "all are on their way", func() bool { return cl.count() >= len(players) })
	moved := cl.routes(func(p int) uint32 { return []uint32{1, 3, 3}[p%3] })
	cl.nodes[2].tell(moved)
	waiting.Wait()
	commands := map[string]int64{}
	for _, u := range cl.came() {
		if id, again := commands[u.player]; again && id != u.command {
			t.Errorf("player %s was sent turns %d and %d", u.player, id, u.command)
		}
		commands[u.player] = u.command
	}
	cl.straight(t, players, moved)
}

// What a frozen node answers when it wakes, about a call that was sent again to the new owner, does not count.
func TestFrozenOwnerWakes(t *testing.T) {
	cl := startCluster(t, 2)
	routes := cl.routes(cl.spread)
	cl.tell(routes)
	c := dialAt(t, cl.nodes[0].addr, client.Options{})
	players := openPlayers(t, c, 10)
	cl.straight(t, players, routes)
	frozen, next := cl.nodes[0], cl.nodes[1]
	moves := slices.IndexFunc(players, func(p *client.Player) bool { return owner(routes, p.ID()) == frozen.addr })
	place := int(codec.PartitionOf("main", codec.KindPlayer, players[moves].ID(), partitions))
	stays := slices.IndexFunc(players, func(p *client.Player) bool {
		return owner(routes, p.ID()) == frozen.addr && int(codec.PartitionOf("main", codec.KindPlayer, p.ID(), partitions)) != place
	})

	cl.silence(frozen, true)
	cl.silence(next, true)
	outcome := make(chan error, 1)
	if err := players[moves].DoAsync(client.DoOptions{}, func(_ *client.Result, err error) { outcome <- err }, earn(1)); err != nil {
		t.Fatal(err)
	}
	until(t, "it is on its way", func() bool { return cl.count() == 1 })
	next.tell(cl.routes(func(p int) uint32 {
		if p == place {
			return 2
		}
		return cl.spread(p)
	}))
	until(t, "it was sent again", func() bool { return cl.count() == 2 })
	again := cl.came()[1]
	if again.node != next.addr {
		t.Fatalf("%v, want it at %s", again, next.addr)
	}
	frozen.say(no("SESSION_TAKEN", false, client.NotApplied), again.request)
	cl.silence(frozen, false)
	everyone(t, players[stays:stays+1]) // its answer comes after that one
	next.say(echo(again.request), again.request)
	if err := <-outcome; err != nil {
		t.Errorf("%v, want the new owner's answer", err)
	}
}

// Any of the addresses will do, and when all nodes are gone calls wait until one is back.
func TestSeedsComeAndGo(t *testing.T) {
	cl := startCluster(t, 2)
	gone := cl.start(t)
	gone.server.Stop()
	addrs := strings.Join([]string{gone.addr, cl.nodes[0].addr, cl.nodes[1].addr}, ", ")
	c := dialAt(t, addrs, client.Options{})
	players := openPlayers(t, c, 10)
	everyone(t, players)
	cl.nodes[0].server.Stop()
	everyone(t, players)
	cl.nodes[1].server.Stop()
	cl.came()
	var waiting sync.WaitGroup
	waiting.Go(func() { everyone(t, players) })
	if _, err := players[0].Do(expired(t), client.DoOptions{}, earn(1)); err == nil {
		t.Error("answered by nobody")
	}
	cl.nodes[0].listen(t, cl.nodes[0].addr)
	waiting.Wait()
	if page, err := c.Service().GetCluster(t.Context(), &skerryv1.GetClusterRequest{}); err == nil || page != nil {
		t.Errorf("%v, want UNIMPLEMENTED from the node that is back", err)
	}
}

// expired is a context that ends soon.
func expired(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// Routes are hints: lies cost nothing but a hop, and what is malformed is ignored.
func TestRoutesMayLie(t *testing.T) {
	honest := startCluster(t, 1)
	silent := listenSilently(t)
	mute, stranger := startFake(t, func(*skerryv1.Request) *skerryv1.Response { return nil }), startFake(t, echo)
	stranger.setRefuse(status.Error(codes.Unimplemented, "no Skerry"))
	for name, routes := range map[string]*skerryv1.Routes{
		"nobody":            {Nodes: []string{"127.0.0.1:1", honest.nodes[0].addr}, Owners: slices.Repeat([]uint32{1}, partitions)},
		"silent":            {Nodes: []string{silent, honest.nodes[0].addr}, Owners: slices.Repeat([]uint32{1}, partitions)},
		"mute":              {Nodes: []string{mute.addr, honest.nodes[0].addr}, Owners: slices.Repeat([]uint32{1}, partitions)},
		"stranger":          {Nodes: []string{stranger.addr, honest.nodes[0].addr}, Owners: slices.Repeat([]uint32{1}, partitions)},
		"no address":        {Nodes: []string{"", "nonsense"}, Owners: slices.Repeat([]uint32{1, 2}, partitions)},
		"any address":       {Nodes: []string{"0.0.0.0:1", "[::]:1"}, Owners: slices.Repeat([]uint32{1, 2}, partitions)},
		"out of range":      {Nodes: []string{"127.0.0.1:1"}, Owners: slices.Repeat([]uint32{2}, partitions)},
		"far out of range":  {Nodes: []string{"127.0.0.1:1"}, Owners: slices.Repeat([]uint32{1 << 31}, partitions)},
		"no owners":         {Nodes: []string{"127.0.0.1:1"}},
		"too many":          {Nodes: []string{"127.0.0.1:1", "127.0.0.1:2"}, Owners: slices.Repeat([]uint32{2}, 1<<17)},
		"too few epochs":    {Nodes: []string{"127.0.0.1:1", "127.0.0.1:2"}, Owners: slices.Repeat([]uint32{2}, partitions), Epochs: []uint64{1}},
		"another partition": {Nodes: []string{"127.0.0.1:1", "127.0.0.1:2"}, Owners: []uint32{1}},
	} {
		t.Run(name, func(t *testing.T) {
			honest.tell(routes)
			c := dialAt(t, honest.nodes[0].addr, client.Options{Timeout: 5 * time.Second})
			players := openPlayers(t, c, 20)
			everyone(t, players)
			for range 5 {
				everyone(t, players)
			}
			for _, u := range honest.came() {
				if u.node != honest.nodes[0].addr {
					t.Errorf("%v", u)
				}
			}
		})
	}
}

// The events go on at another node, after the last one that was heard.
func TestWatchGoesOnElsewhere(t *testing.T) {
	cl := startCluster(t, 2)
	cl.tell(cl.routes(func(int) uint32 { return 1 }))
	c := dialAt(t, cl.nodes[0].addr+","+cl.nodes[1].addr, client.Options{})
	heard := make(chan *client.Event, 16)
	s, err := c.RegisterServer(t.Context(), "s1", client.ServerOptions{OnEvent: func(e *client.Event) { heard <- e }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abandon)
	var at *fakeNode
	until(t, "a watch began", func() bool {
		for _, f := range cl.nodes {
			f.mu.Lock()
			if len(f.watches) > 0 {
				at = f
			}
			f.mu.Unlock()
		}
		return at != nil
	})
	other := cl.nodes[0]
	if at == other {
		other = cl.nodes[1]
	}
	at.events <- &skerryv1.ServerEvent{Id: 41, Type: client.EventMoved, Kind: "player", Entity: "1001"}
	if e := <-heard; e.GetType() != client.EventMoved || e.GetEntity() != "1001" {
		t.Errorf("heard %v", e)
	}
	at.server.Stop()
	other.events <- &skerryv1.ServerEvent{Id: 42, Type: client.EventChanged}
	if e := <-heard; e.GetId() != 42 {
		t.Errorf("heard %v", e)
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	if !slices.Contains(other.watches, 41) {
		t.Errorf("the other node was asked for what comes after %v, want 41", other.watches)
	}
}

// A node that refuses to be watched is not asked for ever.
func TestWatchIsRefusedByTheOwner(t *testing.T) {
	cl := startCluster(t, 2)
	cl.tell(cl.routes(func(int) uint32 { return 1 }))
	cl.nodes[0].mu.Lock()
	cl.nodes[0].unwatched = true
	cl.nodes[0].mu.Unlock()
	c := dialAt(t, cl.nodes[0].addr+","+cl.nodes[1].addr, client.Options{})
	heard := make(chan *client.Event, 16)
	s, err := c.RegisterServer(t.Context(), "s1", client.ServerOptions{OnEvent: func(e *client.Event) { heard <- e }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abandon)
	cl.nodes[1].events <- &skerryv1.ServerEvent{Id: 1, Type: client.EventChanged}
	select {
	case <-heard:
	case <-time.After(10 * time.Second):
		t.Error("nothing was heard")
	}
}

// MaxPending is of all nodes together.
func TestPendingIsBoundedOverNodes(t *testing.T) {
	cl := startCluster(t, 3)
	routes := cl.routes(cl.spread)
	cl.tell(routes)
	const most = 40
	c := dialAt(t, cl.nodes[0].addr, client.Options{MaxPending: most})
	players := openPlayers(t, c, 30)
	cl.straight(t, players, routes)
	for _, f := range cl.nodes {
		cl.silence(f, true)
	}
	taken := 0
	for range 3 {
		for _, p := range players {
			if p.DoAsync(client.DoOptions{}, func(*client.Result, error) {}, earn(1)) == nil {
				taken++
			}
		}
	}
	if taken != most {
		t.Errorf("%d calls were taken, want %d", taken, most)
	}
}
