package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testPartitions = 4

// fakeNet joins routers. A frame goes through a queue of its link, in order, until the link is cut.
type fakeNet struct {
	t     testing.TB
	nodes map[persistence.NodeID]*fakeNode

	mu    sync.Mutex
	links map[[2]persistence.NodeID]*link
	sends map[[2]persistence.NodeID]int
	cut   map[[2]persistence.NodeID]bool
}

// link is one direction between two nodes.
type link struct {
	mu     sync.Mutex
	frames [][]byte
	wake   chan struct{}
	full   error // what Send says, when set
}

// fakeNode is a router, with entities that remember what came.
type fakeNode struct {
	*Router
	net   *fakeNet
	id    persistence.NodeID
	table *Table

	mu      sync.Mutex
	owned   map[persistence.Partition]bool
	came    []string // "entity/number", as served
	held    []*actors.Call
	holds   bool
	answer  func(*actors.Call) error // nil, or why a call is refused
	answers func(ctx context.Context, from persistence.NodeID, ask *peerv1.Ask) *peerv1.Answer
	calls   int // that reached it
}

// newNet runs n routers, 1 to n, who know nothing of who owns what. end it before a bubble ends.
func newNet(tb testing.TB, n int, change func(*Options)) *fakeNet {
	tb.Helper()
	net := &fakeNet{t: tb, nodes: map[persistence.NodeID]*fakeNode{}, links: map[[2]persistence.NodeID]*link{}, sends: map[[2]persistence.NodeID]int{}, cut: map[[2]persistence.NodeID]bool{}}
	for i := range n {
		id := persistence.NodeID(i + 1)
		node := &fakeNode{net: net, id: id, table: NewTable(testPartitions), owned: map[persistence.Partition]bool{}}
		opts := Options{
			Self: id, Partitions: testPartitions, Table: node.table, Local: fakeLocal{node}, Describe: describe,
			Send: func(to persistence.NodeID, frame []byte) error { return net.send(id, to, frame) },
			Answer: func(ctx context.Context, from persistence.NodeID, ask *peerv1.Ask) *peerv1.Answer {
				node.mu.Lock()
				f := node.answers
				node.mu.Unlock()
				if f == nil {
					return &peerv1.Answer{Names: []string{fmt.Sprint(id)}}
				}
				return f(ctx, from, ask)
			},
		}
		if change != nil {
			change(&opts)
		}
		router, err := New(opts)
		if err != nil {
			tb.Fatal(err)
		}
		node.Router = router
		net.nodes[id] = node
	}
	return net
}

// run starts everything; the result ends it.
func (n *fakeNet) run() func() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for a := range n.nodes {
		for b := range n.nodes {
			if a != b {
				l := &link{wake: make(chan struct{}, 1)}
				n.links[[2]persistence.NodeID{a, b}] = l
				running.Go(func() { n.carry(ctx, a, b, l) })
			}
		}
	}
	for _, node := range n.nodes {
		running.Go(func() {
			if err := node.Run(ctx); err != nil {
				n.t.Error(err)
			}
		})
	}
	return func() { cancel(); running.Wait() }
}

func describe(err error) *skerryv1.Error {
	return &skerryv1.Error{Code: "CODE", Message: err.Error()}
}

var errNoRoute = errors.New("no route")

func (n *fakeNet) send(from, to persistence.NodeID, frame []byte) error {
	n.mu.Lock()
	l := n.links[[2]persistence.NodeID{from, to}]
	n.sends[[2]persistence.NodeID{from, to}]++
	n.mu.Unlock()
	if l == nil {
		return errNoRoute
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full != nil {
		return l.full
	}
	l.frames = append(l.frames, frame)
	notify(l.wake)
	return nil
}

// carry brings frames to their node. Over a link that is cut they are lost, and both ends are told.
func (n *fakeNet) carry(ctx context.Context, from, to persistence.NodeID, l *link) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		l.mu.Lock()
		frames := l.frames
		l.frames = nil
		l.mu.Unlock()
		n.mu.Lock()
		isCut := n.cut[[2]persistence.NodeID{from, to}]
		n.mu.Unlock()
		if isCut {
			n.nodes[from].CallsLost(to)
			n.nodes[to].CallsLost(from)
			continue
		}
		for _, frame := range frames {
			n.nodes[to].Receive(from, frame) //nolint:contextcheck // as the peers call it
		}
	}
}

// setCut cuts the links between two nodes, which tells both, or mends them.
func (n *fakeNet) setCut(a, b persistence.NodeID, isCut bool) {
	n.mu.Lock()
	n.cut[[2]persistence.NodeID{a, b}], n.cut[[2]persistence.NodeID{b, a}] = isCut, isCut
	n.mu.Unlock()
	if isCut {
		n.nodes[a].CallsLost(b)
		n.nodes[b].CallsLost(a)
	}
}

// own makes a node the owner of a partition, which those hear of who are told.
func (n *fakeNet) own(p persistence.Partition, owner persistence.NodeID, term uint64, told ...persistence.NodeID) {
	for id, node := range n.nodes {
		node.mu.Lock()
		node.owned[p] = id == owner
		node.mu.Unlock()
	}
	for _, id := range told {
		n.nodes[id].table.Learn(p, at(owner, term))
	}
}

// fakeLocal is a node's entities.
type fakeLocal struct{ *fakeNode }

func (n fakeLocal) Owns(p persistence.Partition) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.owned[p]
}

// Watch pushes an event a second, until this node owns the server no more.
func (n fakeLocal) Watch(ctx context.Context, key persistence.Key, after int64, push func(*skerryv1.ServerEvent) error) error {
	for {
		if !n.Owns(persistence.PartitionOf(key, testPartitions)) {
			return persistence.ErrNotOwner
		}
		after++
		if err := push(&skerryv1.ServerEvent{Id: after, Detail: fmt.Sprint(n.id)}); err != nil {
			return err
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// Do notes the call, and answers it unless it is to be held.
func (n fakeLocal) Do(call *actors.Call) {
	n.mu.Lock()
	n.calls++
	var err error
	switch {
	case !n.owned[persistence.PartitionOf(call.Key, testPartitions)]:
		err = persistence.ErrNotOwner
	case n.answer != nil:
		err = n.answer(call)
	}
	if err == nil {
		n.came = append(n.came, nameOf(call))
	}
	if n.holds && err == nil {
		n.held = append(n.held, call)
		n.mu.Unlock()
		return
	}
	n.mu.Unlock()
	reply(call, err)
}

func reply(call *actors.Call, err error) {
	if err != nil {
		call.Reply(nil, err)
		return
	}
	if events := call.Request.GetGetServerEvents(); events != nil {
		call.Reply(&skerryv1.Response{Response: &skerryv1.Response_GetServerEvents{GetServerEvents: &skerryv1.GetServerEventsResponse{
			Events: []*skerryv1.ServerEvent{{Id: events.GetAfter() + 1, Detail: "polled"}},
		}}}, nil)
		return
	}
	call.Reply(&skerryv1.Response{Response: &skerryv1.Response_GetPlayer{GetPlayer: &skerryv1.GetPlayerResponse{
		Player: &skerryv1.Player{Name: nameOf(call)},
	}}}, nil)
}

// release answers what is held; when nothing of it was applied, it did not come.
func (n *fakeNode) release(err error) {
	n.mu.Lock()
	held := n.held
	n.held, n.holds = nil, false
	if err != nil && notApplied(err) {
		for _, call := range held {
			i := slices.Index(n.came, nameOf(call))
			n.came = slices.Delete(n.came, i, i+1)
		}
	}
	n.mu.Unlock()
	for _, call := range held {
		reply(call, err)
	}
}

func (n *fakeNode) served() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.came)
}

func nameOf(call *actors.Call) string {
	return call.Key.ID + "/" + call.Request.GetGetPlayer().GetPlayer()
}

// entity returns the number-th player of a partition.
func entity(p persistence.Partition, number int) persistence.Key {
	for i := 0; ; i++ {
		key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "p" + strconv.Itoa(i)}
		if persistence.PartitionOf(key, testPartitions) == p {
			if number--; number < 0 {
				return key
			}
		}
	}
}

// asking is a call whose answers are counted.
type asking struct {
	mu      sync.Mutex
	answers int
	got     string
	err     error
	done    chan struct{}
}

// ask has a node do a call with a number.
func (n *fakeNode) ask(key persistence.Key, number int) *asking {
	a := &asking{done: make(chan struct{})}
	n.Do(&actors.Call{
		Key: key,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{
			Player: strconv.Itoa(number), // says which call it is
		}}},
		Reply: func(r *skerryv1.Response, err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.answers++; a.answers == 1 {
				a.got, a.err = r.GetGetPlayer().GetPlayer().GetName(), err
				close(a.done)
			}
		},
	})
	return a
}

// outcome waits for the answer.
func (a *asking) outcome(tb testing.TB) (string, error) {
	tb.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case <-a.done:
	case <-timer.C:
		tb.Fatal("waited in vain for an answer")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got, a.err
}

func (a *asking) isDone() bool { return isClosed(a.done) }

// sent returns how many messages went from one node to another.
func (n *fakeNet) sent(from, to persistence.NodeID) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sends[[2]persistence.NodeID{from, to}]
}

// setFull makes the line from one node to another refuse with err, or take again.
func (n *fakeNet) setFull(from, to persistence.NodeID, err error) {
	n.mu.Lock()
	l := n.links[[2]persistence.NodeID{from, to}]
	n.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = err
}

// hold makes a node keep what comes, unanswered.
func (n *fakeNode) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holds = true
}

// refuseWith makes a node refuse what comes; nil: it does not.
func (n *fakeNode) refuseWith(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer = func(*actors.Call) error { return err }
}

// tries returns how many calls reached a node's entities.
func (n *fakeNode) tries() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// times returns how often a call was answered.
func (a *asking) times() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answers
}

// callOf is a call with a number.
func callOf(key persistence.Key, number int, done func(error)) *actors.Call {
	return &actors.Call{
		Key: key,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{
			Player: strconv.Itoa(number),
		}}},
		Reply: func(_ *skerryv1.Response, err error) { done(err) },
	}
}
