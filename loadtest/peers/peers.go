// Package peers measures the same work of a game on Skerry and on other stores, interleaved in one run on one machine: Redis,
// PostgreSQL, etcd and NATS JetStream where they are installed, and beside them what the machine itself costs, a gRPC stream that
// echoes and a bare log.
//
// # Guarantees
//
//   - Interleaved: every system is asked once a round, one after the other; a ratio is of one round, and the median over them.
//   - Nothing hidden: a peer that is not installed is said to be missing, one that fails is in its table with what it said, and
//     [Run] then also returns [ErrFailed].
//   - Cleaned up: servers listen on loopback, on free ports, keep their data in a temporary directory, and end with the run, or
//     with this process.
//   - Bounded: every window, start and stop has a time-out.
//
// Start at [Run]; [System] is one store; [Report] is what was found.
package peers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// System is one store to measure. Its methods are called from one goroutine, Stop also when Start has failed.
type System interface {
	Name() string
	// Does says what it can be asked, and how.
	Does(Op, Way) bool
	// Start makes it serve players, with its data in dir, which it makes; ErrNotInstalled when the machine does not have it.
	Start(ctx context.Context, dir string, players int) error
	// Run keeps so many operations in flight for the duration.
	Run(ctx context.Context, op Op, way Way, inflight int, duration time.Duration) (Window, error)
	// PIDs are its server processes; none when it has none of its own. What they start is counted with them.
	PIDs() []int
	Stop(ctx context.Context) error
}

// Op is what every system is asked to do.
type Op string

// The operations. A system without one of them is not in its table.
const (
	// Durable is a change of a loaded player, a coin more, answered when a crash cannot undo it.
	Durable Op = "durable"
	// Memory is the same, answered before it is durable.
	Memory Op = "memory"
	// Load is a player's document of 4 KiB, by key.
	Load Op = "load"
	// Save writes such a document, durably.
	Save Op = "save"
)

// Ops are all operations, in the order of the report.
func Ops() []Op { return []Op{Durable, Memory, Load, Save} }

// Text says what is done.
func (o Op) Text() string {
	switch o {
	case Durable:
		return "a durable change (+1 coin)"
	case Memory:
		return "a change that need not be durable yet (+1 coin)"
	case Load:
		return "a player's document of 4 KiB, by key"
	case Save:
		return "a player's document of 4 KiB, written durably"
	}
	return string(o)
}

// Way is how a system is asked. Systems are compared only with those that are asked alike.
type Way string

const (
	// ByCallers has as many goroutines as operations are in flight, each waiting for its answer, through the library that a
	// program would use.
	ByCallers Way = "callers"
	// Pipelined has one goroutine that sends and one that receives, with as little of a client as there can be.
	Pipelined Way = "pipelined"
)

// Ways are all ways, in the order of the report.
func Ways() []Way { return []Way{ByCallers, Pipelined} }

// Errors of a run.
var (
	// ErrNotInstalled is why a system is missing.
	ErrNotInstalled = errors.New("not installed")
	// ErrOptions is a mistake in the options.
	ErrOptions = errors.New("wrong options")
	// ErrFailed says that a system did not start, or failed in a window: the report is whole otherwise, and names it.
	ErrFailed = errors.New("a system failed")
)

// Window is what was done in one.
type Window struct {
	Operations int64
	Elapsed    time.Duration
	Latency    *hdrhistogram.Histogram // microseconds
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

// Options of a run. The zero value is one node, everything that is installed, at 1, 64 and 512 in flight.
type Options struct {
	// Nodes is 1, or 3: a cluster, beside peers with three copies. Default: 1.
	Nodes int
	// Rounds is how often every system is asked the same. More give steadier medians. Default: 5.
	Rounds int
	// Window is how long it is asked each time. Default: 2 s.
	Window time.Duration
	// Players is how many there are, each with a document of 4 KiB. Default: 10,000.
	Players int
	// Inflight are the numbers of operations in flight. Default: 1, 64 and 512; with three nodes 64 and 512.
	Inflight []int
	// Ops and Ways are what is asked, and how. Default: everything; with three nodes durable changes by callers.
	Ops  []Op
	Ways []Way
	// Systems are parts of the names of peers to measure beside Skerry, without regard to case. Default: all.
	Systems []string
	// Closer is how long a last window of durable changes takes, in which bytes to disk are counted and the node is profiled;
	// one node only. Default: none.
	Closer time.Duration
	// Profile is the file for a CPU profile of the node in that window. Default: none.
	Profile string
	// Dir holds the temporary directory of all data: the disk that is measured. Default: the system's.
	Dir string
	// Program is started again with `node` and `echo` as first argument. Default: this program.
	Program string
	// Watch is told what happens, from the goroutine that called Run. Default: nobody.
	Watch func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Text string
	// Left is how many windows come yet, and Time how long they take if none is slow.
	Left int
	Time time.Duration
}

// withDefaults returns the options with every default filled in, or ErrOptions.
func (o Options) withDefaults() (Options, error) {
	three := o.Nodes == threeNodes
	setDefault(&o.Nodes, 1)
	setDefault(&o.Rounds, 5)
	setDefault(&o.Window, 2*time.Second)
	setDefault(&o.Players, 10_000)
	if len(o.Inflight) == 0 {
		o.Inflight = []int{1, 64, 512}
		if three {
			o.Inflight = o.Inflight[1:]
		}
	}
	if len(o.Ops) == 0 {
		o.Ops = Ops()
		if three {
			o.Ops = o.Ops[:1]
		}
	}
	if len(o.Ways) == 0 {
		o.Ways = Ways()
		if three {
			o.Ways = o.Ways[:1]
		}
	}
	if o.Closer == 0 && o.Profile != "" {
		o.Closer = 20 * time.Second
	}
	if o.Watch == nil {
		o.Watch = func(Progress) {}
	}
	return o, o.validate()
}

func (o Options) validate() error {
	var wrong []error
	complain := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...))
		}
	}
	complain(o.Nodes != 1 && o.Nodes != threeNodes, "nodes %d: want 1 or 3", o.Nodes)
	complain(o.Rounds < 1 || o.Rounds > 1000, "rounds %d: want 1 to 1000", o.Rounds)
	complain(o.Window < 10*time.Millisecond || o.Window > 10*time.Minute, "window %v: want 10ms to 10m", o.Window)
	complain(o.Players < 1 || o.Players > 10_000_000, "players %d: want 1 to 10000000", o.Players)
	for _, n := range o.Inflight {
		complain(n < 1 || n > 10_000, "in flight %d: want 1 to 10000", n)
	}
	for _, op := range o.Ops {
		complain(!slices.Contains(Ops(), op), "operation %q: want one of %v", op, Ops())
	}
	for _, way := range o.Ways {
		complain(!slices.Contains(Ways(), way), "way %q: want one of %v", way, Ways())
	}
	complain(o.Closer != 0 && o.Closer < 5*time.Second, "closer %v: want 0, or 5s and more", o.Closer)
	complain(o.Closer != 0 && o.Nodes != 1, "closer: one node only")
	return errors.Join(wrong...)
}

func setDefault[T comparable](v *T, value T) {
	if *v == *new(T) {
		*v = value
	}
}
