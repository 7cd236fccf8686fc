package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"

	"golang.org/x/time/rate"

	"github.com/skerry-dev/skerry/persistence"
)

// Handler is the node's side of what peers ask. Its methods may be called from many goroutines, and not after Run returned.
type Handler interface {
	// Receive takes a batch of messages from a peer; it must not block and must not keep batch. The batches of one peer come one at
	// a time, in the order sent; some may be missing.
	Receive(from persistence.NodeID, batch []byte)
	// Serve answers a fetch: it calls send for each frame of at most [MaxFrameBytes], one at a time, in order, and returns nil
	// when that was all. send waits for the rate limit and the network, and does not keep frame; after an error of it Serve
	// must return. ctx ends when the peer is gone. [Options.FetchTimeout] without a frame cuts the fetch. request is Serve's
	// until it returns. The error's text goes to the peer.
	Serve(ctx context.Context, from persistence.NodeID, request []byte, send func(frame []byte) error) error
	// Up and Down tell that the stream of batches FROM the peer was opened and was lost. They alternate for each peer, Up first, and
	// batches come only between them. They must not block. A killed process is seen at once, a frozen or vanished one after
	// [Options.IdleTimeout]: a hint, never a proof.
	Up(peer persistence.NodeID)
	Down(peer persistence.NodeID)
	// Calls takes a frame of [Peers.SendCalls] from a peer; frame is the handler's. It must not block long: the peer's next frame
	// waits. The frames of one peer come one at a time, in the order sent; one that is missing is followed by CallsLost at its sender.
	Calls(from persistence.NodeID, frame []byte)
	// CallsLost tells that a connection of calls to or from the peer broke, or could not be made. Of the frames that SendCalls took
	// before, some may not arrive, or the peer's answers to them may not: each frame that was not written whole, and each that was
	// written and whose connection is lost, is followed by a CallsLost. So is the loss of the connection on which the peer's come. It
	// is called once or more for one cause, never for a peer with which no call was tried, and must not block.
	CallsLost(peer persistence.NodeID)
}

// Peers are the connections to the other nodes. Its methods may be called from any goroutine, Run once.
type Peers struct {
	opts    Options
	copying *rate.Limiter // of all fetches served
	logs    *logLimit
	changed chan struct{} // capacity 1: a token when Run should look at the links
	pending chan struct{} // capacity MaxPending: a token for each connection that did not say who it is

	mu struct {
		sync.Mutex
		// links are the nodes that are or were members since the start; few, and small when they are members no more.
		links map[persistence.NodeID]*link
		conns map[net.Conn]*link // every open connection; nil while it did not say who it is
		ended bool
	}
}

// link is one peer. What Peers.mu guards says so, the rest does not change.
type link struct {
	id          persistence.NodeID
	queue       *queue
	calls       *queue        // put into under Peers.mu, while it is a member
	redial      chan struct{} // capacity 1: a token when it is worth trying now
	redialCalls chan struct{} // the same, for the connection of calls

	sends         chan struct{} // capacity 1: held by the goroutine that sends batches
	sendsCalls    chan struct{} // capacity 1: held by the goroutine that sends calls
	incoming      place         // of the stream of batches from the peer
	incomingCalls place
	fetches       chan struct{} // capacity MaxFetches: held by fetches of the peer

	member   bool     // guarded by Peers.mu
	address  string   // guarded by Peers.mu
	sender   net.Conn // guarded by Peers.mu; the connection that sends batches, nil while there is none
	caller   net.Conn // guarded by Peers.mu; the connection that sends calls, nil while there is none
	features uint32   // guarded by Peers.mu; what the peer said last
	hears    bool     // guarded by Peers.mu; between Up and Down
	dropped  uint64   // guarded by Peers.mu; batches
}

// place is for the one stream of a kind from a peer.
type place struct {
	taken  chan struct{} // capacity 1: held by the stream
	newest net.Conn      // guarded by Peers.mu; the newest connection that wants the place
}

func newPlace() place { return place{taken: make(chan struct{}, 1)} }

func (at *place) leave() { <-at.taken }

// New checks the options. Nothing runs before Run.
func New(opts Options) (*Peers, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("options of peers: %w", err)
	}
	opts = opts.withDefaults()
	limit := rate.Inf
	if opts.CopyBytesPerSecond > 0 {
		limit = rate.Limit(opts.CopyBytesPerSecond)
	}
	p := &Peers{
		opts:    opts,
		copying: rate.NewLimiter(limit, copyPieceBytes),
		logs:    newLogLimit(opts.Logger),
		changed: make(chan struct{}, 1),
		pending: make(chan struct{}, opts.MaxPending),
	}
	p.mu.links = map[persistence.NodeID]*link{}
	p.mu.conns = map[net.Conn]*link{}
	return p, nil
}

// Run serves and dials until ctx ends, then closes the listener and all connections, drops what waits, and returns nil when every
// goroutine it started has ended; that takes as long as the Handler takes to return. An error means that the listener failed.
// Whoever needs last messages to arrive must wait for their answers before ending ctx.
func (p *Peers) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	accepted := make(chan error, 1)
	running.Go(func() { accepted <- p.accept(ctx, &running) })

	var failed error
	senders := map[persistence.NodeID]context.CancelFunc{}
	for done := false; !done; {
		p.reconcile(ctx, senders, &running)
		select {
		case <-ctx.Done():
			done = true
		case failed = <-accepted:
			done = true
		case <-p.changed:
		}
	}
	cancel()
	p.end()
	running.Wait()
	p.loseRest()
	if failed == nil {
		return nil
	}
	return fmt.Errorf("listen for peers: %w", failed)
}

// reconcile starts senders for each member that has none, and ends those of nodes that are members no more.
func (p *Peers) reconcile(ctx context.Context, senders map[persistence.NodeID]context.CancelFunc, running *sync.WaitGroup) {
	p.mu.Lock()
	var lost []*link // what was put in their lines came before a sender, and will have none
	for id, l := range p.mu.links {
		stop, sends := senders[id]
		switch {
		case l.member && !sends:
			inner, cancel := context.WithCancel(ctx)
			senders[id] = cancel
			running.Go(func() {
				defer cancel()
				p.send(inner, l)
			})
			running.Go(func() { p.sendCalls(inner, l) })
		case !l.member && sends:
			stop()
			delete(senders, id)
		case !l.member:
			lost = append(lost, l)
		}
	}
	p.mu.Unlock()
	for _, l := range lost {
		p.loseCalls(l, false)
	}
}

// end closes everything; what comes after is refused.
func (p *Peers) end() {
	_ = p.opts.Listener.Close() // it may have failed already
	p.mu.Lock()
	p.mu.ended = true
	conns := slices.Collect(maps.Keys(p.mu.conns))
	links := slices.Collect(maps.Values(p.mu.links))
	p.mu.Unlock()
	closeAll(conns)
	for _, l := range links {
		l.queue.drop()
	}
}

// loseRest tells of the calls that were put in line when nobody sent them any more. All else has ended.
func (p *Peers) loseRest() {
	p.mu.Lock()
	links := slices.Collect(maps.Values(p.mu.links))
	p.mu.Unlock()
	for _, l := range links {
		p.loseCalls(l, false)
	}
}

// SetAddresses says who the peers are and where, as the membership knows it; it may change at any time. Only these are dialled and
// accepted: connections of others are closed, and what waits for them is dropped. A changed address is dialled anew; the stream
// from that peer goes on. An entry for this node itself is not looked at. The map is not kept.
func (p *Peers) SetAddresses(addresses map[persistence.NodeID]string) {
	p.mu.Lock()
	gone, stale := p.removeLocked(addresses)
	for id, address := range addresses {
		if id == p.opts.Node {
			continue
		}
		stale = append(stale, p.addLocked(id, address)...)
	}
	p.mu.Unlock()
	closeAll(stale)
	for _, l := range gone {
		l.queue.drop()
	}
	notify(p.changed)
}

// removeLocked takes who is not in addresses out of the members. It returns them, and their connections to be closed.
func (p *Peers) removeLocked(addresses map[persistence.NodeID]string) (gone []*link, stale []net.Conn) {
	for id, l := range p.mu.links {
		if _, stays := addresses[id]; !stays && l.member {
			l.member = false
			gone = append(gone, l)
		}
	}
	for conn, l := range p.mu.conns {
		if l != nil && !l.member {
			stale = append(stale, conn)
		}
	}
	return gone, stale
}

// addLocked makes a node a member, or moves it. It returns the connections to its old address, to be closed.
func (p *Peers) addLocked(id persistence.NodeID, address string) (moved []net.Conn) {
	l := p.mu.links[id]
	if l == nil {
		l = p.newLink(id)
		p.mu.links[id] = l
	}
	if l.member && l.address == address {
		return nil
	}
	if l.member {
		moved = slices.DeleteFunc([]net.Conn{l.sender, l.caller}, func(conn net.Conn) bool { return conn == nil })
	} else {
		l.queue.drop() // what was put in while it was removed
	}
	l.member, l.address = true, address
	notify(l.redial)
	notify(l.redialCalls)
	return moved
}

func (p *Peers) newLink(id persistence.NodeID) *link {
	return &link{
		id:            id,
		queue:         newQueue(p.opts.MaxQueueBatches, p.opts.MaxQueueBytes),
		calls:         newQueue(p.opts.MaxCallsFrames, p.opts.MaxCallsBytes),
		redial:        make(chan struct{}, 1),
		redialCalls:   make(chan struct{}, 1),
		sends:         make(chan struct{}, 1),
		sendsCalls:    make(chan struct{}, 1),
		incoming:      newPlace(),
		incomingCalls: newPlace(),
		fetches:       make(chan struct{}, p.opts.MaxFetches),
	}
}

// Send puts batch in line for the peer. It never waits, and owns batch from here on. When the line is full its oldest are dropped; a
// batch for a node that is no peer, or longer than MaxBatchBytes, is dropped itself. An empty batch is nothing.
func (p *Peers) Send(to persistence.NodeID, batch []byte) {
	if len(batch) == 0 {
		return
	}
	l := p.member(to)
	switch {
	case l == nil:
		p.opts.Events.dropped(to, DropAbsent, 1, len(batch))
	case len(batch) > p.opts.MaxBatchBytes:
		p.drop(l, DropTooLong, 1, len(batch))
	default:
		if batches, bytes := l.queue.put(batch); batches > 0 {
			p.drop(l, DropFull, batches, bytes)
		}
	}
}

// Status is what is known of one peer.
type Status struct {
	Peer    persistence.NodeID
	Address string
	// Sending and Receiving: the streams to and from the peer are open.
	Sending, Receiving bool
	// Calling: the connection of calls to the peer is open. It is made at the first call.
	Calling bool
	// Features is the level of its build, as it said when it last connected; 0 before.
	Features uint32
	// WaitingBatches and WaitingBytes are in line for it.
	WaitingBatches, WaitingBytes int
	// WaitingCalls and WaitingCallsBytes are frames of calls in line for it.
	WaitingCalls, WaitingCallsBytes int
	// Dropped batches since the start, for all reasons.
	Dropped uint64
}

// Status returns what is known of the peers, by id.
func (p *Peers) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Status
	for _, l := range p.mu.links {
		if l.member {
			s := Status{
				Peer: l.id, Address: l.address, Sending: l.sender != nil, Receiving: l.hears, Calling: l.caller != nil,
				Features: l.features, Dropped: l.dropped,
			}
			s.WaitingBatches, s.WaitingBytes = l.queue.size()
			s.WaitingCalls, s.WaitingCallsBytes = l.calls.size()
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Peer, b.Peer) })
	return all
}

// member returns the link of a peer, nil if it is none or all has ended.
func (p *Peers) member(id persistence.NodeID) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.mu.links[id]; l != nil && l.member && !p.mu.ended {
		return l
	}
	return nil
}

// drop counts what will not arrive.
func (p *Peers) drop(l *link, why Drop, batches, bytes int) {
	if batches == 0 {
		return
	}
	p.mu.Lock()
	l.dropped += uint64(batches) //nolint:gosec // a count
	p.mu.Unlock()
	p.opts.Events.dropped(l.id, why, batches, bytes)
}

// errNotMember means that a peer was removed while its connection was made.
var errNotMember = errors.New("removed from the members")

// enter notes an open connection, of l or, if nil, of somebody unknown. On an error the caller closes it.
func (p *Peers) enter(conn net.Conn, l *link) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.ended {
		return ErrEnded
	}
	if l != nil && !l.member {
		return errNotMember
	}
	p.mu.conns[conn] = l
	return nil
}

// leave closes a connection and forgets it.
func (p *Peers) leave(conn net.Conn) {
	_ = conn.Close() // it may be closed already
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mu.conns, conn)
}

// set changes what Peers.mu guards of a link.
func (p *Peers) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func closeAll(conns []net.Conn) {
	for _, conn := range conns {
		_ = conn.Close() // it may be closed already
	}
}
