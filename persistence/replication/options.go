package replication

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
)

// Options say how a node keeps its log. FS, Dir, Partitions, StateMachine and Ownership must be given.
type Options struct {
	// FS holds Dir. In production vfs.Default.
	FS vfs.FS
	// Dir is the log's own directory. It is made when it is not there, and locked.
	Dir string
	// Partitions is the number that the store was made with.
	Partitions   int
	StateMachine persistence.StateMachine
	Ownership    persistence.Ownership
	// Node is this node's. Default: 1.
	Node persistence.NodeID
	// Voters are the nodes that vote in every group when the log is new; they must be the same on all of them. A node that
	// is not among them has no replica until an owner gives it one. Default: this node alone.
	Voters []persistence.NodeID
	// Transport carries messages to the other nodes. Needed when there are others.
	Transport Transport
	// Fetcher carries copies of partitions, to replicas that are new or far behind. Without it they stay so.
	Fetcher Fetcher
	// Generation of the store; the first half of every epoch.
	Generation uint32
	// Logger hears of starts, claims and failures. Default: discards.
	Logger *slog.Logger
	// Events hears of every write. Its functions must not block.
	Events Events

	// SegmentBytes is the length of a segment file. Larger means fewer pauses of a millisecond to begin one, and more
	// disk kept. All of it is written when it is made. Default: 16 MiB.
	SegmentBytes int64
	// MaxLogBytes is the length of all live segments above which the state machine is flushed and old segments are used
	// again. Larger means fewer flushes and a longer recovery, which reads what was not flushed into memory. The log
	// goes above it while a flush runs. Default: sixteen segments, 256 MiB.
	MaxLogBytes int64
	// MaxWaitingChanges and MaxWaitingBytes bound the changes that were accepted and are not done, of all partitions
	// together; above, Propose answers ErrQueueFull. Defaults: 65,536 and 64 MiB.
	MaxWaitingChanges int
	MaxWaitingBytes   int
	// TickInterval is the unit of Raft's time-outs: a heartbeat is two, an election ten. Default: 100 ms.
	TickInterval time.Duration

	// Random makes the random half of segment ids, which tells a value that looks like a record from one. A simulation
	// seeds it. Default: math/rand/v2.
	Random func() uint32

	// Faults switch off what a test wants to see missed. Never set them elsewhere.
	Faults Faults
}

// Faults are for tests only: each breaks a promise, so that a test can be seen to find it.
type Faults struct {
	// SkipSync leaves out the log's fsync.
	SkipSync bool
	// FailSyncAfter is after how many fsyncs of the log the next one fails, as on a broken disk; 0 for never. What was written
	// since the last good one is not on the disk then.
	FailSyncAfter int
	// AnswerBeforeAppend says that a change is done before its record is written.
	AnswerBeforeAppend bool
	// AnswerBeforeApply says that a change is done when its record is synced, whatever the state machine will say.
	AnswerBeforeApply bool
	// TruncateTooFar drops segments that the state machine does not hold durably.
	TruncateTooFar bool
	// NoBarrier says yes to every barrier at once, as if this node could not have been deposed.
	NoBarrier bool
	// ClaimBeforeApply says that a partition is claimed as soon as its election is won, when what earlier owners were
	// answered may not be applied here.
	ClaimBeforeApply bool
	// LearnersVote counts a learner for the majority from the moment at which it is added, empty as it is.
	LearnersVote bool
	// SlowWrite is how long each write to the log takes longer, as on a slow disk. By itself it breaks nothing; it widens
	// the moment in which an early answer is a lie.
	SlowWrite time.Duration
	// SlowSave is how long a snapshot takes before it is proposed. It breaks nothing: a handover must not wait for it.
	SlowSave time.Duration
}

// Events are functions that hear what the log does, for metrics. Each may be nil and must not block.
type Events struct {
	// Written: one record of so many bytes was written, to be synced with the next Synced.
	Written func(bytes int)
	// Synced: an fsync took so long.
	Synced func(took time.Duration)
	// Flushed: a flush of the state machine, made to shorten the log, took so long.
	Flushed func(took time.Duration)
	// Truncated: so many segments were dropped.
	Truncated func(segments int)
}

func (e *Events) written(bytes int) {
	if e.Written != nil {
		e.Written(bytes)
	}
}

func (e *Events) synced(took time.Duration) {
	if e.Synced != nil {
		e.Synced(took)
	}
}

func (e *Events) flushed(took time.Duration) {
	if e.Flushed != nil {
		e.Flushed(took)
	}
}

func (e *Events) truncated(segments int) {
	if e.Truncated != nil && segments > 0 {
		e.Truncated(segments)
	}
}

// The defaults of Options.
const (
	defaultSegmentBytes      = 16 << 20
	defaultSegments          = 16
	defaultMaxWaitingChanges = 1 << 16
	defaultMaxWaitingBytes   = 64 << 20
	defaultTickInterval      = 100 * time.Millisecond
)

// The bounds of one loop's work.
const (
	maxProposalBytes   = 1 << 20 // a proposal is closed when it reaches this
	maxProposalChanges = 4096
	maxLoopBytes       = 8 << 20 // proposals of one loop, so that one record stays small against a segment
)

// The smallest values that make sense: a segment holds its checkpoint, and the greatest change always fits the queue.
const (
	minSegmentBytes    = 16 << 10
	minMaxWaitingBytes = 2 * persistence.MaxValueBytes
	maxPartitions      = 4096
)

// withDefaults fills what was left zero.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Node == 0 {
		o.Node = 1
	}
	if len(o.Voters) == 0 {
		o.Voters = []persistence.NodeID{o.Node}
	}
	if o.Random == nil {
		o.Random = rand.Uint32
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.MaxLogBytes == 0 {
		o.MaxLogBytes = defaultSegments * o.SegmentBytes
	}
	if o.MaxWaitingChanges == 0 {
		o.MaxWaitingChanges = defaultMaxWaitingChanges
	}
	if o.MaxWaitingBytes == 0 {
		o.MaxWaitingBytes = defaultMaxWaitingBytes
	}
	if o.TickInterval == 0 {
		o.TickInterval = defaultTickInterval
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
	check(o.FS != nil, "FS is missing")
	check(o.Dir != "", "Dir is missing")
	check(o.StateMachine != nil, "StateMachine is missing")
	check(o.Ownership != nil, "Ownership is missing")
	check(o.Partitions >= 1 && o.Partitions <= maxPartitions, "Partitions is %d, not 1 to %d", o.Partitions, maxPartitions)
	check(!slices.Contains(o.Voters, 0), "Voters %v hold node 0, which is none", o.Voters)
	check(len(slices.Compact(slices.Sorted(slices.Values(o.Voters)))) == len(o.Voters), "Voters %v hold a node twice", o.Voters)
	check(slices.Equal(o.Voters, []persistence.NodeID{o.Node}) || o.Transport != nil, "Transport is missing, and there are other Voters")
	check(o.SegmentBytes >= minSegmentBytes, "SegmentBytes is %d, less than %d", o.SegmentBytes, minSegmentBytes)
	check(o.MaxLogBytes >= 2*o.SegmentBytes, "MaxLogBytes is %d, less than two segments", o.MaxLogBytes)
	check(o.MaxWaitingChanges >= 1, "MaxWaitingChanges is %d, less than 1", o.MaxWaitingChanges)
	check(o.MaxWaitingBytes >= minMaxWaitingBytes, "MaxWaitingBytes is %d, less than %d", o.MaxWaitingBytes, minMaxWaitingBytes)
	check(o.TickInterval > 0, "TickInterval is %v", o.TickInterval)
	return errors.Join(errs...)
}
