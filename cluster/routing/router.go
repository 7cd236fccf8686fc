package routing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

var _ actors.Router = (*Router)(nil)

// noContext is for what belongs to no caller's context: logs, and notes, which wait for nothing.
var noContext = context.Background() //nolint:gochecknoglobals // immutable

// Router brings calls to the owners of their entities. Its methods may be called from any goroutine, Run once. It is an actors.Router,
// and the gateway's Entities.
type Router struct {
	opts  Options // immutable after New, defaults filled
	lines []line  // by partition

	sequence atomic.Uint64 // of everything asked
	ids      atomic.Uint64 // of what is sent; begins anywhere, so that no answer of an earlier life of this node is taken for one of this
	passed   atomic.Int64  // calls and asks that were sent to another node
	waiting  atomic.Int64  // calls and asks in lines and on their way, at most MaxWaiting
	serving  atomic.Int64  // of calls of other nodes
	asks     atomic.Int64  // of other nodes, that are being answered
	leases   atomic.Int64  // of other nodes that are served now, of tokens

	sendWake chan struct{} // holds 1: something is to be sent
	lineWake chan struct{} // holds 1: something waits

	mu struct {
		sync.RWMutex
		peers map[persistence.NodeID]*peer // the nodes that were ever sent something; ids are never used again
		// serve starts a goroutine that Run waits for; nil while Run does not run.
		serve  func(func(context.Context))
		closed bool // Run has ended, or is about to
	}
}

// request is something asked through the router. It is in one place at a time, whose owner may change it: with the local node, in a
// line, or on its way to a peer.
type request struct {
	router    *Router
	sequence  uint64
	partition persistence.Partition
	call      *actors.Call // nil for an ask
	ask       *peerv1.Ask
	reply     func(*skerryv1.Response, error)
	answered  func(*peerv1.Answer, error) // of an ask; must not block

	id       uint64             // of the last sending
	node     persistence.NodeID // where it was sent last
	anyOwner bool               // of an ask of a node, whatever it owns
	place    Place              // what the table said when it was tried last
	tries    int                // that were refused
	deadline time.Time          // of its patience; zero before it had to wait
	stale    time.Time          // since when another is said to own the partition and the answer may come no more; zero before
	refused  error              // of the last try
	sent     bool               // it may have reached the peer
	probes   bool               // its line waits for what becomes of it
}

// New checks the options. What is asked before Run waits.
func New(opts Options) (*Router, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("options of the router: %w", err)
	}
	opts = opts.withDefaults()
	r := &Router{
		opts: opts, lines: make([]line, opts.Partitions),
		sendWake: make(chan struct{}, 1), lineWake: make(chan struct{}, 1),
	}
	r.mu.peers = map[persistence.NodeID]*peer{}
	r.ids.Store(rand.Uint64()) //nolint:gosec // anywhere
	return r, nil
}

// Run sends, and watches over what waits, until ctx ends. Then it answers everything that waits here, and returns nil when what it
// started has ended: what was on its way has an unknown outcome, what waited for an owner was not applied.
func (r *Router) Run(ctx context.Context) error {
	var running sync.WaitGroup
	r.mu.Lock()
	r.mu.serve = func(f func(context.Context)) { running.Go(func() { f(ctx) }) }
	r.mu.Unlock()
	running.Go(func() { r.runSender(ctx) })
	r.runLines(ctx)

	r.mu.Lock()
	r.mu.closed, r.mu.serve = true, nil
	r.mu.Unlock()
	for i := range r.lines {
		for _, q := range r.lines[i].close() {
			r.waiting.Add(-1)
			q.fail(actors.ErrDraining)
		}
	}
	for _, p := range r.allPeers() {
		for _, q := range p.close() {
			r.waiting.Add(-1)
			q.fail(q.lost())
		}
	}
	running.Wait()
	return nil
}

// start runs f while Run runs; false when it does not.
func (r *Router) start(f func(context.Context)) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.mu.serve == nil {
		return false
	}
	r.mu.serve(f)
	return true
}

// Do passes a call to the owner of its entity, here or at another node; when it is not known or is just changing, the call waits. It does
// not block; the answer comes through call.Reply, exactly once, perhaps before Do returns.
//
// Errors beside the owner's own: [persistence.ErrNotOwner], no owner was found for [Options.Patience]; [actors.ErrOverloaded], too much
// waits; [actors.ErrDraining], Run has ended; nothing was applied. [persistence.ErrOutcomeUnknown]: it was on its way when the
// connection broke.
func (r *Router) Do(call *actors.Call) {
	p := persistence.PartitionOf(call.Key, r.opts.Partitions)
	q := &request{router: r, sequence: r.sequence.Add(1), partition: p, call: call, reply: call.Reply}
	if r.lines[p].busy.Load() { // what came before is there still
		r.queue(q)
		return
	}
	r.dispatch(q)
}

// dispatch sends a request on its way, or puts it in line.
func (r *Router) dispatch(q *request) {
	place, known := r.opts.Table.Owner(q.partition)
	q.place = place
	switch {
	case r.opts.Local.Owns(q.partition):
		q.call.Reply = q.local
		r.opts.Local.Do(q.call)
	case !known || place.Node == r.opts.Self:
		r.queue(q)
	default:
		r.send(q, place.Node)
	}
}

// local is the answer of this node's own entities.
func (q *request) local(response *skerryv1.Response, err error) {
	alone := errors.Is(err, actors.ErrDraining) && q.router.opts.Table.onlyNode(q.router.opts.Self) // nobody comes next
	if err != nil && notApplied(err) && !alone {
		q.again(err)
		return
	}
	q.end(response, err)
}

// end answers a call.
func (q *request) end(response *skerryv1.Response, err error) {
	if q.probes {
		q.router.lines[q.partition].accepted(q)
	}
	q.reply(response, err)
}

// notApplied reports whether an error says that this was the wrong node to ask, and that nothing came of it.
func notApplied(err error) bool {
	if errors.Is(err, persistence.ErrOutcomeUnknown) || errors.Is(err, actors.ErrSave) {
		return false
	}
	return errors.Is(err, persistence.ErrNotOwner) || errors.Is(err, actors.ErrDraining)
}

// again has a request that was refused wait for its owner. Who asks waits for an ask itself.
func (q *request) again(err error) {
	if q.call == nil {
		q.answered(nil, err)
		return
	}
	q.refused = err
	q.tries++
	q.router.queue(q)
}

// fail answers a request with an error.
func (q *request) fail(err error) {
	if q.call != nil {
		q.end(nil, err)
		return
	}
	q.answered(nil, err)
}

// lost is what is known of a request whose peer may not answer any more.
func (q *request) lost() error {
	if q.sent {
		return fmt.Errorf("%w: node %d does not answer", persistence.ErrOutcomeUnknown, q.node)
	}
	return actors.ErrDraining
}

// Stats is a look at a router.
type Stats struct {
	// Waiting calls and asks wait for an owner or for another node's answer.
	Waiting int64
	// Serving calls and Asks of other nodes are not answered.
	Serving, Asks int64
}

// Stats returns the present numbers, each right for itself.
func (r *Router) Stats() Stats {
	return Stats{Waiting: r.waiting.Load(), Serving: r.serving.Load(), Asks: r.asks.Load()}
}

// Passed is how many calls and asks were sent to another node since the start; one that was sent again counts again.
func (r *Router) Passed() int64 { return r.passed.Load() }

// notify puts a token into a channel of capacity 1, if there is none.
func notify(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
