package peers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// Options say how a node talks with its peers. Node, Cluster, Listener, Handler and either TLS or Insecure must be given.
type Options struct {
	// Node is this node's own id.
	Node persistence.NodeID
	// Cluster is the id of the cluster, the same on every node of it, 1 to 255 bytes.
	Cluster string
	// Features is the level of this build, told to the peers; [Peers.Status] gives theirs. It refuses nobody.
	Features uint32
	// Listener is where peers connect. Run closes it.
	Listener net.Listener
	Handler  Handler
	// TLS says who may be a peer. Nil only with Insecure.
	TLS *TLS
	// Insecure goes without TLS: everybody who reaches the listener may claim to be any node. Only for loopback, or a network that
	// is closed by other means.
	Insecure bool
	// Logger hears of connections, and of refusals and failures at most once in ten seconds for each kind or peer. Default: discards.
	Logger *slog.Logger
	// Events hears what is counted.
	Events Events

	// MaxBatchBytes is the longest batch, and the longest frame of calls, that is sent or received; each connection takes so much memory at most while it
	// receives one. The same on every node. Default: 16 MiB.
	MaxBatchBytes int
	// MaxQueueBytes and MaxQueueBatches bound what waits for one peer; above, the oldest is dropped. More bridges a longer
	// pause and delivers older messages after it. Defaults: 32 MiB and 4096.
	MaxQueueBytes   int
	MaxQueueBatches int
	// MaxCallsBytes and MaxCallsFrames bound what waits of calls for one peer; above, new ones are refused. Defaults: 32 MiB and
	// 16384.
	MaxCallsBytes  int
	MaxCallsFrames int
	// MaxFetches is how many fetches of one peer are served at a time. Default: 4.
	MaxFetches int
	// MaxPending is how many connections may be on their way to say who they are. Above, new ones are closed. Default: 64.
	MaxPending int
	// CopyBytesPerSecond bounds what all fetches served by this node send together. More makes a wiped node whole sooner and costs
	// the owners latency meanwhile. Default: 64 MiB a second; at least 64 KiB; negative: unlimited.
	CopyBytesPerSecond int

	// HelloTimeout is the time from dialling until both sides have agreed. Default: 2 s.
	HelloTimeout time.Duration
	// PingInterval is how often an empty frame is sent between the batches. Default: 1 s.
	PingInterval time.Duration
	// IdleTimeout is how long a peer may stay silent, or take nothing of what is written, before its connection is closed. Longer than
	// PingInterval. Shorter finds a vanished or frozen peer sooner, and a slow one wrongly. Default: 5 s.
	IdleTimeout time.Duration
	// FetchTimeout is the same for fetches, where one side may be busy with its disk. Default: 30 s.
	FetchTimeout time.Duration
	// MinBackoff and MaxBackoff are the pause before dialling again; it doubles and is jittered. Defaults: 50 ms and 1 s.
	MinBackoff time.Duration
	MaxBackoff time.Duration

	lowest, highest uint16                                                      // versions of the protocol; tests play other builds
	dial            func(ctx context.Context, address string) (net.Conn, error) // tests dial inside their own process
}

// TLS is mutual: both sides show a certificate, which must verify against Roots and bear the DNS name node-N.DOMAIN, N being the
// node's id in decimal. So a certificate for node-3.skerry speaks for node 3 alone, and one for *.skerry, by the usual rules, for any
// node; whoever needs that a stolen node cannot pose as another gives each its own. Both usages, server and client, must be allowed
// in it. A certificate of the same authority without such a name, as a game server may hold, is refused.
type TLS struct {
	// Certificate and Roots are asked at each connection, so that they can be changed while the node runs. They must not block.
	// They are called from many goroutines. Connections that exist stay.
	Certificate func() (*tls.Certificate, error)
	Roots       func() (*x509.CertPool, error)
	// Domain is the end of the nodes' names. Default: "skerry".
	Domain string
}

// Events are functions that hear what is counted, for metrics. Each may be nil and must not block.
type Events struct {
	// Sent and Received: so many batches, of so many bytes together.
	Sent     func(peer persistence.NodeID, batches, bytes int)
	Received func(peer persistence.NodeID, batches, bytes int)
	// Dropped: so many batches will not arrive, and why. A hint to try again sooner than a time-out says.
	Dropped func(peer persistence.NodeID, why Drop, batches, bytes int)
	// Refused: a connection to this node was refused.
	Refused func(why Refusal)
	// Copied: a fetch served by this node has sent so many bytes more.
	Copied func(bytes int)
}

// Drop is why a batch was dropped.
type Drop uint8

// The reasons.
const (
	DropFull    Drop = 1 // newer ones took its place in the queue
	DropAbsent  Drop = 2 // the peer could not be reached, or is not one
	DropBroken  Drop = 3 // the connection broke while it was written; it may have arrived
	DropTooLong Drop = 4 // longer than MaxBatchBytes
)

// String is a word for logs and metrics.
func (d Drop) String() string {
	switch d {
	case DropFull:
		return "full"
	case DropAbsent:
		return "absent"
	case DropBroken:
		return "broken"
	case DropTooLong:
		return "too_long"
	}
	return "unknown"
}

// The bounds of a fetch.
const (
	// MaxFrameBytes is the longest frame that [Handler.Serve] may send.
	MaxFrameBytes = persistence.MaxCopyFrameBytes
	// MaxRequestBytes is the longest request of [Peers.Fetch].
	MaxRequestBytes = 64 << 10
)

// The defaults of Options.
const (
	defaultMaxBatchBytes      = 16 << 20
	defaultMaxQueueBytes      = 32 << 20
	defaultMaxQueueBatches    = 4096
	defaultMaxCallsBytes      = 32 << 20
	defaultMaxCallsFrames     = 16384
	defaultMaxFetches         = 4
	defaultMaxPending         = 64
	defaultCopyBytesPerSecond = 64 << 20
	defaultHelloTimeout       = 2 * time.Second
	defaultPingInterval       = time.Second
	defaultIdleTimeout        = 5 * time.Second
	defaultFetchTimeout       = 30 * time.Second
	defaultMinBackoff         = 50 * time.Millisecond
	defaultMaxBackoff         = time.Second
	defaultDomain             = "skerry"

	maxClusterBytes = 255
)

// withDefaults fills what was left zero.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, number := range []struct {
		value   *int
		initial int
	}{
		{&o.MaxBatchBytes, defaultMaxBatchBytes},
		{&o.MaxQueueBytes, defaultMaxQueueBytes},
		{&o.MaxQueueBatches, defaultMaxQueueBatches},
		{&o.MaxCallsBytes, defaultMaxCallsBytes},
		{&o.MaxCallsFrames, defaultMaxCallsFrames},
		{&o.MaxFetches, defaultMaxFetches},
		{&o.MaxPending, defaultMaxPending},
		{&o.CopyBytesPerSecond, defaultCopyBytesPerSecond},
	} {
		if *number.value == 0 {
			*number.value = number.initial
		}
	}
	for _, duration := range []struct {
		value   *time.Duration
		initial time.Duration
	}{
		{&o.HelloTimeout, defaultHelloTimeout},
		{&o.PingInterval, defaultPingInterval},
		{&o.IdleTimeout, defaultIdleTimeout},
		{&o.FetchTimeout, defaultFetchTimeout},
		{&o.MinBackoff, defaultMinBackoff},
		{&o.MaxBackoff, defaultMaxBackoff},
	} {
		if *duration.value == 0 {
			*duration.value = duration.initial
		}
	}
	if o.TLS != nil && o.TLS.Domain == "" {
		secure := *o.TLS
		secure.Domain = defaultDomain
		o.TLS = &secure
	}
	if o.highest == 0 {
		o.lowest, o.highest = lowestVersion, highestVersion
	}
	if o.dial == nil {
		o.dial = func(ctx context.Context, address string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", address)
		}
	}
	return o
}

// Validate reports every problem at once; zero values are right where a default exists.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.Node != 0, "Node is missing")
	check(o.Cluster != "" && len(o.Cluster) <= maxClusterBytes, "Cluster has %d bytes, not 1 to %d", len(o.Cluster), maxClusterBytes)
	check(o.Listener != nil, "Listener is missing")
	check(o.Handler != nil, "Handler is missing")
	check((o.TLS != nil) != o.Insecure, "either TLS or Insecure must be given, not both")
	check(o.TLS == nil || o.TLS.Certificate != nil && o.TLS.Roots != nil, "TLS needs Certificate and Roots")
	check(o.MaxBatchBytes >= minBatchBytes, "MaxBatchBytes is %d, less than %d", o.MaxBatchBytes, minBatchBytes)
	check(o.MaxBatchBytes <= maxBatchBytes, "MaxBatchBytes is %d, more than %d", o.MaxBatchBytes, maxBatchBytes)
	check(o.MaxQueueBytes >= o.MaxBatchBytes, "MaxQueueBytes is %d, less than MaxBatchBytes", o.MaxQueueBytes)
	check(o.MaxQueueBatches >= 1, "MaxQueueBatches is %d, less than 1", o.MaxQueueBatches)
	check(o.MaxCallsBytes >= 1, "MaxCallsBytes is %d, less than 1", o.MaxCallsBytes)
	check(o.MaxCallsFrames >= 1, "MaxCallsFrames is %d, less than 1", o.MaxCallsFrames)
	check(o.MaxFetches >= 1, "MaxFetches is %d, less than 1", o.MaxFetches)
	check(o.MaxPending >= 1, "MaxPending is %d, less than 1", o.MaxPending)
	check(o.CopyBytesPerSecond < 0 || o.CopyBytesPerSecond >= copyPieceBytes, "CopyBytesPerSecond is %d, less than %d",
		o.CopyBytesPerSecond, copyPieceBytes)
	check(o.HelloTimeout > 0, "HelloTimeout is %v", o.HelloTimeout)
	check(o.PingInterval > 0, "PingInterval is %v", o.PingInterval)
	check(o.IdleTimeout > o.PingInterval, "IdleTimeout is %v, not longer than PingInterval", o.IdleTimeout)
	check(o.FetchTimeout > time.Second, "FetchTimeout is %v, not longer than the second that a piece may wait", o.FetchTimeout)
	check(o.MinBackoff > 0 && o.MaxBackoff >= o.MinBackoff, "backoff is %v to %v", o.MinBackoff, o.MaxBackoff)
	return errors.Join(errs...)
}

// The limits of MaxBatchBytes: what makes sense, and what a length on the wire may say.
const (
	minBatchBytes = 1 << 10
	maxBatchBytes = 1 << 30
)
