// Package client is how a Go program talks to Skerry: a game server that keeps its players and worlds there, or a tool.
//
//	c, err := client.Dial(ctx, "127.0.0.1:7701", client.Options{})
//	server, err := c.RegisterServer(ctx, "s1", client.ServerOptions{})
//	ann, err := server.OpenPlayer(ctx, "1001", client.OpenOptions{Name: "Ann"})
//	balance, err := ann.Earn(ctx, client.Coins, 50)
//
// # Guarantees
//
//   - One stream: the requests of all goroutines travel together, many in a message, none waits for another's answer.
//   - Once: every command of a [Player] or a [World] has an id; a retry, also over a new connection or after a restart of the node,
//     carries the same id and takes effect once.
//   - In time: a call returns when its context ends, or after [Options.Timeout]; until then refusals that may pass and lost
//     connections are retried with growing pauses.
//   - Honest: when a call ends without an answer, its [Error] says whether the command was certainly not applied, or may
//     have been (code OUTCOME_UNKNOWN); [Player.Outcome] can ask later.
//   - Bounded: at most [Options.MaxPending] calls wait; the next one is refused at once with [ErrOverloaded].
//
// Start at [Dial], [Server], [Player] and [World]; errors are in [Error]. Everything here may be called from many goroutines.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
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
	// TLS is how the node is verified. Default: none, plain text; then keep the traffic on a network you trust.
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

// Client is a connection to a node. Close it when done.
type Client struct {
	opts Options // immutable after Dial
	conn *grpc.ClientConn
	api  skerryv1.SkerryClient

	stop    context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // 1: the writer has something to send
	rouse   chan struct{} // 1: the keeper has a deadline or a retry to keep

	dialErr atomic.Pointer[error] // why the last attempt to connect failed

	mu struct {
		sync.Mutex
		table
		closed bool
	}
}

// Dial connects to the node's gRPC address, such as "127.0.0.1:7701". It tries until ctx ends, or for Options.Timeout,
// and then returns an error that says what was in the way. A wrong key shows with the first call, not here.
func Dial(ctx context.Context, addr string, opts Options) (*Client, error) {
	c := &Client{opts: opts.withDefaults(), wake: make(chan struct{}, 1), rouse: make(chan struct{}, 1)}
	c.mu.table = newTable()
	conn, err := grpc.NewClient("passthrough:///"+addr, c.dialOptions()...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	c.conn, c.api = conn, skerryv1.NewSkerryClient(conn)
	if err := c.awaitReady(ctx, addr); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // the streams outlive the call; Close ends them
	c.stop = stop
	c.running.Go(func() { c.runStream(running) })
	c.running.Go(func() { c.keep(running) })
	return c, nil
}

func (c *Client) dialOptions() []grpc.DialOption {
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
		grpc.WithContextDialer(c.dial),
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

func (c *Client) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		c.dialErr.Store(&err)
		return nil, fmt.Errorf("dial: %w", err)
	}
	return conn, nil
}

func (c *Client) awaitReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	c.conn.Connect()
	for state := c.conn.GetState(); state != connectivity.Ready; state = c.conn.GetState() {
		if state == connectivity.Idle {
			c.conn.Connect()
		}
		if c.conn.WaitForStateChange(ctx, state) {
			continue
		}
		reason := ctx.Err()
		if last := c.dialErr.Load(); last != nil {
			reason = fmt.Errorf("%w: %w", *last, ctx.Err())
		}
		return fmt.Errorf("connect to %s: %w", addr, reason)
	}
	return nil
}

// Close ends the connection. Calls that still wait are answered with [ErrClosed]; a command among them may have been
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
	err := c.conn.Close()
	c.running.Wait()
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Service is the generated client on the same connection, with the key and the space of Options, for calls that have no
// method here. Its errors are converted to [*Error]; it retries nothing.
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
