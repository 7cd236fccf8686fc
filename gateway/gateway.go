// Package gateway is the front door: gRPC and JSON over HTTP, API keys, limits, and the one place where errors become
// codes. It knows no storage and no rules; it checks a request's form, asks the entities, and says what they said.
//
// # Guarantees
//
//   - Every request is answered exactly once while its connection lives: with a response, or with a typed error.
//   - Requests of one stream, or of one batch, reach an entity in the order in which they were sent.
//   - A request that is malformed, or that its key does not allow, reaches no entity.
//   - Everything that waits here has a bound; at the bound a stream stops being read.
//   - A key's secret is in no log, no error and no record.
//
// Start at [Options] and [Server]; the stream is in stream.go, the table of codes in errors.go.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Entities takes the requests that address one entity; actors.Host is one. Safe for many goroutines.
type Entities interface {
	// Do takes the call, in order for the same goroutine and entity, and answers through call.Reply exactly once. It must
	// not block for long: a stream's reading waits for it.
	Do(call *actors.Call)
	// Watch calls push with the events of the server key that come after the given id, old ones first, until ctx ends, push
	// returns an error, or there will be no more; it returns why.
	Watch(ctx context.Context, key persistence.Key, after int64, push func(*skerryv1.ServerEvent) error) error
}

// Admin is what the node does for the calls that address no single entity. Safe for many goroutines.
type Admin interface {
	// ListPlayers returns the ids of the players of a space, rising, greater than after, at most limit.
	ListPlayers(ctx context.Context, space, after string, limit int) ([]string, error)
	// ListWorlds is ListPlayers for worlds; with an owner, of those whose id is the owner's or begins with it and "~".
	ListWorlds(ctx context.Context, space, owner, after string, limit int) ([]string, error)
	// Spaces returns every space that has something in it, by name.
	Spaces(ctx context.Context) ([]*skerryv1.Space, error)
	// CopySpace copies what is saved of one space into another, which has nothing in it. It calls progress from time to
	// time, from this goroutine.
	CopySpace(ctx context.Context, from, to string, progress func(*skerryv1.SpaceProgress) error) error
	// EraseSpace removes everything of a space.
	EraseSpace(ctx context.Context, space string, progress func(*skerryv1.SpaceProgress) error) error
	// PutRecord stores a record of the meta partition, durably; a nil value removes it.
	PutRecord(ctx context.Context, name string, value []byte) error
	// Records lists the records whose names begin with prefix, rising, at most limit.
	Records(ctx context.Context, prefix string, limit int) ([]persistence.Record, error)
	// Cluster says who is there and who owns what.
	Cluster(ctx context.Context) (*skerryv1.GetClusterResponse, error)
	// Partitions is how many partitions the cluster has, for ever.
	Partitions() int
	// Drain has the node of this name hand over what it owns, and own nothing more; with undo it may own again. It returns when
	// that is recorded. Of these three, an error that wraps persistence.ErrAbsent says that no node has the name, one that
	// wraps [ErrNotPossible] that the cluster as it is cannot do it.
	Drain(ctx context.Context, node string, undo bool) error
	// Remove has others take over what the node has, and shuts it out for ever; with force also while it has what nobody
	// else has. It returns when that is recorded.
	Remove(ctx context.Context, node string, force bool) error
	// HandOver makes the node to the owner of p. It returns when it owns it.
	HandOver(ctx context.Context, p persistence.Partition, to string) error
	// Owners returns the newest changes of p's owner that are remembered, oldest first.
	Owners(ctx context.Context, p persistence.Partition) ([]*skerryv1.OwnershipChange, error)
}

// Options are what a [Server] needs. The zero value of each field that says a default is right for production.
type Options struct {
	// Entities and Admin are asked for everything. Required.
	Entities Entities
	Admin    Admin

	// Routes are sent to the streams that ask for them, and name the owner in NOT_OWNER errors. Default: none, as nobody
	// else owns anything.
	Routes Routes

	// AllowAnonymous lets callers without a key do everything as long as no key exists. Without it, and without a key,
	// nobody gets in. Only for a node that listens on loopback, or whose operator insists.
	AllowAnonymous bool
	// Certificate and PrivateKey are the paths of PEM files; with both, gRPC and HTTP speak TLS only. The files are looked
	// at again at most once a second, so that a renewed certificate needs no restart.
	Certificate, PrivateKey string

	// Health says whether the node works: nil, or what is wrong. Asked by /healthz. Default: always nil.
	Health func(context.Context) error
	// Ready says whether the node wants requests. Asked by /readyz. Default: always nil until it drains.
	Ready func() error
	// Debug is what the operator's port serves beside its own, by path. Default: nothing.
	Debug map[string]http.HandlerFunc

	// MaxInFlight is how many requests of one stream may be unanswered, answers not yet sent included. At the bound the
	// stream is not read. More costs memory, less throughput. Default: 4096.
	MaxInFlight int
	// MaxConnections is how many connections gRPC and HTTP accept, each; further ones wait to be accepted. Default: 8192.
	MaxConnections int
	// MaxCalls is how many unary and HTTP requests may be unanswered in all; further ones are refused, retryable.
	// Default: 4096.
	MaxCalls int
	// RequestsPerSecond is how many requests a key, or without keys a remote host, may send; further ones are refused with
	// the time after which to retry. 0 means any number.
	RequestsPerSecond float64
	// Burst is how many may come at once within RequestsPerSecond. Default: RequestsPerSecond, at least 100.
	Burst int
	// Timeout is how long a request waits for its answer when it does not say. Default: 10 s.
	Timeout time.Duration
	// DrainTimeout is how long a stopping server waits for what is unanswered. Default: 10 s.
	DrainTimeout time.Duration
	// KeysMaxAge is how old the known keys may be before they are read again: within it a key revoked on another node still
	// works here. Default: 2 s.
	KeysMaxAge time.Duration

	// Registry takes the metrics, and /metrics shows all that is in it. Default: a new one.
	Registry *prometheus.Registry
	// Logger hears of what a human should know. Default: none.
	Logger *slog.Logger
}

// Limits of the door that are part of the API.
const (
	// MaxBatch is how many requests one Batch takes.
	MaxBatch = 100
	// MaxBodyBytes is the most that a request may be; MaxImportBytes is that of an import, MaxWorldOpenBytes that of opening
	// a world, whose block names alone may have 1 MiB.
	MaxBodyBytes      = 1 << 20
	MaxImportBytes    = 4 << 20
	MaxWorldOpenBytes = 2 << 20
	// MaxWait is the longest long poll.
	MaxWait = time.Minute
	// MaxTimeout is the longest that a request waits for its answer; a greater timeout_ms counts as this.
	MaxTimeout = 2 * time.Minute
	// MaxKeys is how many API keys there may be.
	MaxKeys = 1000
)

// Bounds that only the door itself knows.
const (
	// maxMessageBytes is the most of one gRPC message: an import, or the many requests of a stream.
	maxMessageBytes = MaxImportBytes + (1 << 20)
	// maxResponsesBytes is where a message of responses is cut; one response may be larger.
	maxResponsesBytes = 1 << 20
	// maxBatchResponseBytes is the most that a Batch answers.
	maxBatchResponseBytes = 8 << 20
	// keptForChange is the room in it that a Batch keeps for the answer of each request that is no read: more than most have.
	keptForChange = 16 << 10
)

// Validate returns nil, or every problem, joined.
func (o *Options) Validate() error {
	var problems []error
	complain := func(broken bool, format string, args ...any) {
		if broken {
			problems = append(problems, fmt.Errorf("gateway: "+format, args...))
		}
	}
	complain(o.Entities == nil, "Entities is missing")
	complain(o.Admin == nil, "Admin is missing")
	complain((o.Certificate == "") != (o.PrivateKey == ""), "Certificate and PrivateKey go together")
	complain(o.MaxInFlight < 0, "MaxInFlight is %d, not positive", o.MaxInFlight)
	complain(o.MaxConnections < 0, "MaxConnections is %d, not positive", o.MaxConnections)
	complain(o.MaxCalls < 0, "MaxCalls is %d, not positive", o.MaxCalls)
	complain(o.RequestsPerSecond < 0, "RequestsPerSecond is %g, negative", o.RequestsPerSecond)
	complain(o.Burst < 0, "Burst is %d, negative", o.Burst)
	complain(o.Timeout < 0 || o.Timeout > MaxTimeout, "Timeout is %s, not within 0..%s", o.Timeout, MaxTimeout)
	complain(o.DrainTimeout < 0, "DrainTimeout is %s, negative", o.DrainTimeout)
	complain(o.KeysMaxAge < 0, "KeysMaxAge is %s, negative", o.KeysMaxAge)
	return errors.Join(problems...)
}

// withDefaults returns o with every default filled in.
func (o Options) withDefaults() Options {
	fill(&o.MaxInFlight, 4096)
	fill(&o.MaxConnections, 8192)
	fill(&o.MaxCalls, 4096)
	fill(&o.Burst, max(100, int(o.RequestsPerSecond)))
	fill(&o.Timeout, 10*time.Second)
	fill(&o.DrainTimeout, 10*time.Second)
	fill(&o.KeysMaxAge, 2*time.Second)
	if o.Health == nil {
		o.Health = func(context.Context) error { return nil }
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// fill sets *value to standard when it is zero.
func fill[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}
