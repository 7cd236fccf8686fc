package routing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Local is this node's own entities; actors.Host is most of one.
type Local interface {
	// Do is that of actors.Host.
	Do(call *actors.Call)
	// Owns reports whether this node owns the partition now, the meta partition included. A hint: Do refuses what is not owned.
	Owns(p persistence.Partition) bool
	// Watch is that of actors.Host; it returns [persistence.ErrNotOwner] when the server is another node's, also later on.
	Watch(ctx context.Context, key persistence.Key, after int64, push func(*skerryv1.ServerEvent) error) error
}

// Options are what a [Router] needs. The zero value of each field that says a default is right.
type Options struct {
	// Self is this node.
	Self persistence.NodeID
	// Partitions is the number fixed when the cluster was made.
	Partitions int
	// Table is what this node has heard of who owns what. The router learns into it from answers.
	Table *Table
	Local Local
	// Send is peers.Peers.SendCalls: it never waits, and whoever is told of lost calls tells [Router.CallsLost].
	Send func(to persistence.NodeID, frame []byte) error
	// Answer serves an ask, of this node or another; from is who asks. It may block until ctx ends, but not with notes: those come in
	// order. An error is made with actors.FailureOf, by which not_owner and draining are known as such.
	Answer func(ctx context.Context, from persistence.NodeID, ask *peerv1.Ask) *peerv1.Answer
	// Describe is gateway.Describe: what the wire shows of an error.
	Describe func(error) *skerryv1.Error

	// Patience is how long something waits for an owner that is not known, or that has just changed, before it is refused. Longer
	// rides through slower elections; shorter tells sooner. Default: 5 s.
	Patience time.Duration
	// StalePatience is how long an answer of a node may still come when another is said to own the partition; above, the outcome is
	// unknown. A node that handed over answers in milliseconds, one that froze never. Default: 250 ms.
	StalePatience time.Duration
	// MaxWaiting is how many calls and asks of this node may wait for an owner or for another node's answer; above, they are refused as
	// overloaded. Default: 16,384.
	MaxWaiting int
	// MaxServing is how many calls of other nodes are served at a time, and MaxAsks how many of their asks; above, they are refused as
	// overloaded. Defaults: 16,384 and 64.
	MaxServing int
	MaxAsks    int
	// MaxLeases is how many of their leases may wait here for tokens, beside MaxAsks; above, they are refused as overloaded. Default: 1,024.
	MaxLeases int
	// Logger hears of what no node should send. Default: none.
	Logger *slog.Logger
}

const (
	defaultPatience      = 5 * time.Second
	defaultStalePatience = 250 * time.Millisecond
	defaultMaxWaiting    = 16384
	defaultMaxServing    = 16384
	defaultMaxAsks       = 64
	defaultMaxLeases     = 1024
)

// Validate returns nil, or every problem at once.
func (o *Options) Validate() error {
	var problems []error
	complain := func(wrong bool, format string, args ...any) {
		if wrong {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	complain(o.Self == 0, "self is not set")
	complain(o.Partitions < 1 || o.Partitions > 4096, "partitions is %d, not 1 to 4096", o.Partitions)
	complain(o.Table == nil, "table is not set")
	complain(o.Table != nil && len(o.Table.places) != o.Partitions+1, "table is for another number of partitions than %d", o.Partitions)
	complain(o.Local == nil, "local is not set")
	complain(o.Send == nil, "send is not set")
	complain(o.Answer == nil, "answer is not set")
	complain(o.Describe == nil, "describe is not set")
	complain(o.Patience < 0, "patience is %s, which is negative", o.Patience)
	complain(o.StalePatience < 0, "stale patience is %s, which is negative", o.StalePatience)
	complain(o.MaxWaiting < 0, "max waiting is %d, which is negative", o.MaxWaiting)
	complain(o.MaxServing < 0, "max serving is %d, which is negative", o.MaxServing)
	complain(o.MaxAsks < 0, "max asks is %d, which is negative", o.MaxAsks)
	complain(o.MaxLeases < 0, "max leases is %d, which is negative", o.MaxLeases)
	return errors.Join(problems...)
}

func (o Options) withDefaults() Options {
	fill(&o.Patience, defaultPatience)
	fill(&o.StalePatience, defaultStalePatience)
	fill(&o.MaxWaiting, defaultMaxWaiting)
	fill(&o.MaxServing, defaultMaxServing)
	fill(&o.MaxAsks, defaultMaxAsks)
	fill(&o.MaxLeases, defaultMaxLeases)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
