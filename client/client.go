// Package client is how a Go program talks to Skerry: a game server that keeps its players and worlds there, or a tool.
//
//	c, err := client.Dial(ctx, "127.0.0.1:7701", client.Options{})
//	server, err := c.RegisterServer(ctx, "s1", client.ServerOptions{})
//	ann, err := server.OpenPlayer(ctx, "1001", client.OpenOptions{Name: "Ann"})
//	balance, err := ann.Earn(ctx, client.Coins, 50)
//
// # Guarantees
//
//   - One stream to each node: the requests of all goroutines travel together, many in a message, none waits for another's answer.
//   - Straight: in a cluster the client learns who owns what, and sends each call to the owner of its entity; to any node
//     while that one is not known or not there, since every node passes calls on.
//   - Once: every command of a [Player] or a [World] has an id; a retry, also over a new connection, after a restart of the node,
//     or at another node, carries the same id and takes effect once.
//   - In order: while nothing is retried, the calls of an entity reach it as they were made, also when its owner changes: the
//     next ones wait for those on their way, at most a second.
//   - In time: a call returns when its context ends, or after [Options.Timeout]; until then refusals that may pass are retried
//     with growing pauses, and what was on its way to a node that is gone goes to another one at once.
//   - Honest: when a call ends without an answer, its [Error] says whether the command was certainly not applied, or may
//     have been (code OUTCOME_UNKNOWN); [Player.Outcome] can ask later.
//   - Bounded: at most [Options.MaxPending] calls wait; the next one is refused at once with [ErrOverloaded].
//
// Start at [Dial], [Server], [Player] and [World]; errors are in [Error]. Everything here may be called from many goroutines.
//
// The messages that calls take and return are of package skerryv1, github.com/skerry-dev/skerry/codec/skerryv1.
package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/skerry-dev/skerry/codec/grpccodec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Options of a connection. The zero value talks to the space "main" of a node without keys and TLS.
type Options struct {
	// Key is the API key. Default: none, which a node on loopback may allow.
	Key string
	// Space is the space of every call. Default: "main".
	Space string
	// TLS is how each node is verified, by the address that it has among the others, unless ServerName is set. Default: none,
	// plain text; then keep the traffic on a network you trust.
	TLS *tls.Config
	// Timeout ends a call whose context has no deadline of its own. Longer rides through longer failures. Default: 10 s.
	Timeout time.Duration
	// MaxPending is how many calls may wait for their answers; more are refused. Each takes about 1 KiB. Default: 16384.
	MaxPending int
	// RetryBase and RetryMax are the first and the greatest pause before a retry, and between attempts to connect; the
	// pauses double, each is shortened by chance by up to a half. Defaults: 10 ms and 500 ms.
	RetryBase, RetryMax time.Duration
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxPending <= 0 {
		o.MaxPending = 16384
	}
	if o.RetryBase <= 0 {
		o.RetryBase = 10 * time.Millisecond
	}
	if o.RetryMax <= 0 {
		o.RetryMax = 500 * time.Millisecond
	}
	return o
}

// Client is the connections to a node, or to the nodes of a cluster. Close it when done.
type Client struct {
	opts  Options // immutable after Dial
	space string
	api   skerryv1.SkerryClient // over any connection

	stop      context.CancelFunc
	running   sync.WaitGroup
	runLocked func(*node)   // begins to keep a stream to a node
	rouse     chan struct{} // 1: the keeper has a deadline or a retry to keep

	mu struct {
		sync.Mutex
		table
		closed bool
	}
}

// Dial connects to a node's gRPC address, such as "127.0.0.1:7701", or to those of several, "a:7701,b:7701": any that answers
// will do, the others are used when it is gone, and the rest of the cluster is learned from them. It tries until ctx ends, or
// for Options.Timeout, and then returns an error that says what was in the way. A wrong key shows with the first call, not
// here. Name the nodes as they name themselves, or a node known by two addresses has two connections.
func Dial(ctx context.Context, addr string, opts Options) (*Client, error) {
	c := &Client{opts: opts.withDefaults(), space: cmp.Or(opts.Space, "main"), rouse: make(chan struct{}, 1)}
	c.mu.table = newTable()
	c.api = skerryv1.NewSkerryClient(anyConn{c})
	if err := c.dialSeeds(ctx, addr); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // the streams outlive the call; Close ends them
	c.stop, c.runLocked = stop, c.runner(running)
	c.running.Go(func() { c.keep(running) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.mu.nodes {
		c.runLocked(n)
	}
	return c, nil
}

func (c *Client) dialOptions(n *node) []grpc.DialOption {
	transport := insecure.NewCredentials()
	if c.opts.TLS != nil {
		transport = credentials.NewTLS(c.opts.TLS)
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(grpccodec.New()), grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(maxReceiveBytes)),
		grpc.WithChainUnaryInterceptor(c.unary),
		grpc.WithChainStreamInterceptor(c.streaming),
		grpc.WithDisableRetry(), // it would buffer what the client itself keeps for its retries
		grpc.WithIdleTimeout(0), // the stream is always open
		grpc.WithStaticStreamWindowSize(windowBytes),
		grpc.WithStaticConnWindowSize(windowBytes),
		grpc.WithContextDialer(n.dial),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: c.opts.RetryBase, Multiplier: 2, Jitter: 0.3, MaxDelay: c.opts.RetryMax,
			},
			MinConnectTimeout: time.Second,
		}),
	}
}

const (
	// maxReceiveBytes bounds one message from the node: a document is at most 4 MiB.
	maxReceiveBytes = 16 << 20
	// windowBytes is how much may be on its way, unread; enough for 1 GB/s at 2 ms.
	windowBytes = 2 << 20
)

// Close ends the connections. Calls that still wait are answered with [ErrClosed]; a command among them may have been
// applied if its error says so. Sessions stay open: leave or close the server first. It returns when everything that
// Dial started has ended. A second Close does nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.mu.closed {
		c.mu.Unlock()
		return nil
	}
	c.mu.closed = true
	left := c.mu.takeAll()
	c.mu.Unlock()
	for _, call := range left {
		call.finish(nil, call.unanswered(ErrClosed))
	}
	c.stop()
	c.running.Wait()
	return nil
}

// Service is the generated client on the same connections, each call on one that works, with the key and the space of Options,
// for calls that have no method here. Its errors are converted to [*Error]; it retries nothing.
func (c *Client) Service() skerryv1.SkerryClient { return c.api }

// outgoing adds the key and the space to a call.
func (c *Client) outgoing(ctx context.Context) context.Context {
	if c.opts.Key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.opts.Key)
	}
	if c.opts.Space != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "skerry-space", c.opts.Space)
	}
	return ctx
}

func (c *Client) unary(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	return fromStatus(invoke(c.outgoing(ctx), method, req, reply, conn, opts...))
}

func (c *Client) streaming(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(c.outgoing(ctx), desc, conn, method, opts...)
	if err != nil {
		return nil, fromStatus(err)
	}
	return typedStream{stream}, nil
}

// typedStream converts the errors of a stream.
type typedStream struct{ grpc.ClientStream }

// RecvMsg is the stream's, with its error converted; io.EOF stays.
func (s typedStream) RecvMsg(m any) error { return fromStatus(s.ClientStream.RecvMsg(m)) }
