package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// node is a node of the cluster that this client talks to: a connection, and one stream on it.
type node struct {
	addr string
	seed bool // given to Dial: kept for ever
	conn *grpc.ClientConn
	stop context.CancelFunc // ends run
	wake chan struct{}      // 1: there is something to send

	dialErr atomic.Pointer[error] // why the last attempt to connect failed

	// Client.mu guards the rest.
	queue     []*call // to be sent, in this order
	onWay     int     // calls in queue, or sent and not answered
	connected bool    // a stream is open
	retired   bool    // no routes name it any more: it gets nothing new, and is left when onWay is 0
	gone      bool    // it was left
}

// newNode prepares a connection; nothing runs yet.
func (c *Client) newNode(addr string, seed bool) (*node, error) {
	n := &node{addr: addr, seed: seed, wake: make(chan struct{}, 1), stop: func() {}}
	conn, err := grpc.NewClient("passthrough:///"+addr, c.dialOptions(n)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	n.conn = conn
	return n, nil
}

// dial is how the connection is made.
func (n *node) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		n.dialErr.Store(&err)
		return nil, fmt.Errorf("dial: %w", err)
	}
	return conn, nil
}

// awaitReady waits until the connection is made, or ctx ends.
func (n *node) awaitReady(ctx context.Context) error {
	n.conn.Connect()
	for state := n.conn.GetState(); state != connectivity.Ready; state = n.conn.GetState() {
		if state == connectivity.Idle {
			n.conn.Connect()
		}
		if n.conn.WaitForStateChange(ctx, state) {
			continue
		}
		reason := ctx.Err()
		if last := n.dialErr.Load(); last != nil {
			reason = fmt.Errorf("%w: %w", *last, ctx.Err())
		}
		return fmt.Errorf("connect to %s: %w", n.addr, reason)
	}
	return nil
}

// dialSeeds prepares a node for each of the addresses, and returns when one of them is connected.
func (c *Client) dialSeeds(ctx context.Context, addrs string) error {
	var problems []error
	for addr := range strings.SplitSeq(addrs, ",") {
		addr = strings.TrimSpace(addr)
		if slices.ContainsFunc(c.mu.nodes, func(n *node) bool { return n.addr == addr }) {
			continue
		}
		n, err := c.newNode(addr, true)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		c.mu.nodes = append(c.mu.nodes, n)
	}
	if len(problems) > 0 {
		return errors.Join(append(problems, c.closeConns())...)
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	results := make(chan error, len(c.mu.nodes)) // one of each
	for _, n := range c.mu.nodes {
		c.running.Go(func() { results <- n.awaitReady(ctx) })
	}
	connected := false
	for range c.mu.nodes {
		err := <-results
		if err == nil {
			connected = true
			cancel() // ends the others' waiting; their streams go on trying
		}
		problems = append(problems, err)
	}
	if connected {
		return nil
	}
	return errors.Join(errors.Join(problems...), c.closeConns())
}

// closeConns closes what was prepared and never ran.
func (c *Client) closeConns() error {
	var problems []error
	for _, n := range c.mu.nodes {
		if err := n.conn.Close(); err != nil {
			problems = append(problems, fmt.Errorf("close: %w", err))
		}
	}
	return errors.Join(problems...)
}

// runner returns what begins to keep a stream to a node, until ctx ends or the node is left. It needs the lock.
func (c *Client) runner(ctx context.Context) func(*node) {
	return func(n *node) {
		running, stop := context.WithCancel(ctx)
		n.stop = stop
		c.running.Go(func() {
			c.runStream(running, n)
			stop()
			_ = n.conn.Close() // an error says only that it was closed before
		})
	}
}

// nodeLocked returns the node of an address that routes name; it is made, and begins to connect, when first needed. Nil when
// it cannot be.
func (c *Client) nodeLocked(addr string) *node {
	for _, n := range c.mu.nodes {
		if n.addr == addr {
			return n
		}
	}
	if c.mu.closed || len(c.mu.nodes) >= maxNodes {
		return nil
	}
	n, err := c.newNode(addr, false)
	if err != nil {
		return nil
	}
	c.mu.nodes = append(c.mu.nodes, n)
	c.runLocked(n)
	return n
}

// maxNodes bounds how many nodes a client talks to.
const maxNodes = 256

// retireLocked leaves the nodes that are neither seeds nor in routes, and own nothing, once nothing is on its way there.
func (c *Client) retireLocked(named []string) {
	owners := make(map[string]bool)
	for _, l := range c.mu.lanes {
		owners[l.owner] = true
	}
	for _, n := range slices.Clone(c.mu.nodes) {
		n.retired = !n.seed && !owners[n.addr] && !slices.Contains(named, n.addr)
		c.leaveLocked(n)
	}
}

// leaveLocked ends a retired node that has nothing to do.
func (c *Client) leaveLocked(n *node) {
	if !n.retired || n.onWay > 0 {
		return
	}
	n.connected, n.gone = false, true
	n.stop()
	c.mu.nodes = slices.DeleteFunc(c.mu.nodes, func(other *node) bool { return other == n })
}

// anyLocked returns a connected node for what has no owner, the same one for the same number as long as the nodes are; nil
// when none is connected.
func (c *Client) anyLocked(number int) *node {
	for i := range c.mu.nodes {
		if n := c.mu.nodes[(number+i)%len(c.mu.nodes)]; n.connected && !n.retired {
			return n
		}
	}
	return nil
}

// anyConn sends the calls that have no place in the stream over whichever connection works.
type anyConn struct{ client *Client }

// Invoke is a unary call.
func (a anyConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	n, opts, err := a.client.pick(ctx, nil, 0, opts)
	if err != nil {
		return err
	}
	return n.conn.Invoke(ctx, method, args, reply, opts...) //nolint:wrapcheck // converted by the interceptor
}

// NewStream opens a stream.
func (a anyConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return a.client.open(ctx, nil, 0, desc, method, opts)
}

// ownerConn sends to the owner of an entity, when its connection works, else like anyConn; with turn above 0 it takes the
// nodes in turn.
type ownerConn struct {
	anyConn

	kind uint8
	id   string
	turn int
}

// NewStream opens a stream.
func (o ownerConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	var owner *node
	c := o.client
	if o.turn == 0 {
		c.mu.Lock()
		owner = c.ownerLocked(c.mu.lanes[c.partitionLocked(o.kind, o.id)])
		c.mu.Unlock()
	}
	return c.open(ctx, owner, o.turn, desc, method, opts)
}

func (c *Client) open(ctx context.Context, prefer *node, turn int, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, error) {
	n, opts, err := c.pick(ctx, prefer, turn, opts)
	if err != nil {
		return nil, err
	}
	return n.conn.NewStream(ctx, desc, method, opts...) //nolint:wrapcheck // converted by the interceptor
}

// pickEvery is how often a call looks for a connection while there is none.
const pickEvery = 10 * time.Millisecond

// pick returns a node whose connection works, the preferred one if its does, else one whose stream does too. The only node there is, it returns in any case:
// then the call waits for the connection. With others, it must not wait for one that may never come back.
func (c *Client) pick(ctx context.Context, prefer *node, turn int, opts []grpc.CallOption) (*node, []grpc.CallOption, error) {
	failFast := append(slices.Clone(opts), grpc.WaitForReady(false))
	for {
		c.mu.Lock()
		nodes := c.turnLocked(turn)
		c.mu.Unlock()
		if len(nodes) == 1 {
			return nodes[0], opts, nil
		}
		if prefer != nil && slices.Contains(nodes, prefer) && prefer.conn.GetState() == connectivity.Ready {
			return prefer, failFast, nil
		}
		for _, n := range nodes {
			if n.conn.GetState() == connectivity.Ready {
				return n, failFast, nil
			}
		}
		if !wait(ctx, pickEvery) {
			return nil, nil, fromStatus(status.FromContextError(ctx.Err()).Err())
		}
	}
}

// turnLocked returns the nodes in the order in which they are to be tried, another one for each turn: those with a stream first.
func (c *Client) turnLocked(turn int) []*node {
	var nodes, others []*node
	for i := range c.mu.nodes {
		if n := c.mu.nodes[(turn+i)%len(c.mu.nodes)]; n.connected {
			nodes = append(nodes, n)
		} else {
			others = append(others, n)
		}
	}
	return append(nodes, others...)
}
