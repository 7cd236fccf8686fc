package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Host runs the activations of a node. Its methods may be called from any goroutine.
type Host struct {
	opts      Options // immutable after New, defaults filled
	log       *slog.Logger
	start     time.Time // what every instant counts from
	hooks     hooks     // immutable once the first call came
	servers   *servers
	budgets   *budgets
	transfers *transfers

	// The turn, as functions so that a test can break them.
	decide func(*storev1.Entity, persistence.Key, *skerryv1.Request, turn.Env) turn.Result
	evolve func(*storev1.Entity, persistence.Seq, *storev1.Entry) error

	system     *system
	partitions []partition
	shards     []*shard // perPartition of them for each partition, in order
	shardsPer  int

	loads     chan *activation // bounded by MaxCalls: each has at least one waiting call
	partLoads chan *partLoad   // for worlds that are live; bounded by maxPartLoads
	alarms    alarms
	autosave  autosave
	health    health

	draining atomic.Bool // nothing new is accepted
	calls    atomic.Int64
	live     atomic.Int64  // activations in the shards, in any state
	changed  chan struct{} // a hint, while draining, that calls or live may be 0 now; holds 1
	heldSize atomic.Int64  // encoded bytes of all activations
	turns    atomic.Uint64
	ending   ending
}

// hooks are the ears of the server life-cycle; each may be nil. None may block.
type hooks struct {
	// intercept sees each call before it is counted. True means that it took the call over: it passes it to route later,
	// or answers it itself.
	intercept func(*Call) bool
	// effects is called when what caused them was applied.
	effects func(effects []turn.Effect, space string)
	// seen is called after a turn that the holder of a session of server asked for.
	seen func(space, server string)
	// present reports whether players are on a server, as far as is known.
	present func(space, server string) bool
	// askPresent finds out the same of a server that another node watches over, and calls then; it returns false when that
	// is not so.
	askPresent func(space, server string, then func(present bool)) bool
	// claimed and lost follow Claimed and Lost.
	claimed, lost func(persistence.Partition, persistence.Epoch)
}

// instant is a moment of the monotonic clock, counted from the host's start.
type instant = time.Duration

func (h *Host) now() instant { return time.Since(h.start) }

// New makes a host that owns nothing yet: [Host.Claimed] gives it partitions. It returns every problem of the options.
func New(opts Options) (*Host, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("actors: %w", err)
	}
	opts = opts.withDefaults()
	h := &Host{
		opts: opts, log: opts.Logger, start: time.Now(),
		decide: turn.Decide, evolve: turn.Evolve,
		system:     newSystem(),
		partitions: make([]partition, opts.Partitions),
		shardsPer:  max(1, minShards/opts.Partitions),
		loads:      make(chan *activation, opts.MaxCalls+1),
		partLoads:  make(chan *partLoad, maxPartLoads),
		changed:    make(chan struct{}, 1),
	}
	h.autosave.naive = opts.Naive
	h.alarms.wake = make(chan struct{}, 1)
	h.shards = make([]*shard, opts.Partitions*h.shardsPer)
	for i := range h.shards {
		h.shards[i] = &shard{activations: map[persistence.Key]*activation{}}
	}
	h.budgets = newBudgets(h)
	h.servers = newServers(h)
	h.transfers = newTransfers(h)
	h.hooks = h.transfers.hooks(h.servers.hooks())
	return h, nil
}

// Run does what needs a clock or a disk: loads, journal intervals, autosaves, passivation. It returns nil after ctx ended
// and everything it and the activations run has stopped; what was not saved by [Host.Shutdown] before is not saved, and
// calls that still wait are answered with errors. Call it once.
func (h *Host) Run(ctx context.Context) error {
	var group, workers errgroup.Group
	for range workerCount() {
		workers.Go(func() error { h.system.workers.run(); return nil })
	}
	for range h.opts.MaxLoads {
		group.Go(func() error { h.runLoads(ctx); return nil })
	}
	group.Go(func() error { h.runAlarms(ctx); return nil })
	group.Go(func() error { h.runAutosave(ctx); return nil })
	group.Go(func() error { h.runScan(ctx); return nil })
	group.Go(func() error { h.servers.run(ctx); return nil })
	group.Go(func() error { h.budgets.run(ctx); return nil })
	group.Go(func() error { h.transfers.run(ctx); return nil })
	err := group.Wait()
	h.abandon()
	h.system.workers.end()
	return errors.Join(err, workers.Wait())
}

// Do passes a call to its entity, activating it when needed. It does not block; the answer comes through call.Reply,
// exactly once, perhaps before Do returns. [Host.Run] must be running, or start soon.
func (h *Host) Do(call *Call) {
	if h.hooks.intercept != nil && h.hooks.intercept(call) {
		return
	}
	h.route(call)
}

// Active reports whether the entity is live in memory here.
func (h *Host) Active(key persistence.Key) bool {
	s := h.shardOf(h.partitionOf(key), key.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.activations[key]
	return a != nil && a.state == active
}

// Stats is a look at the host.
type Stats struct {
	// Activations are live in memory, in any state, of which Dirty wait for a snapshot.
	Activations, Dirty int64
	// DirtyOldest is for how long the oldest change has no snapshot, of those that are not being saved now.
	DirtyOldest time.Duration
	// Calls wait for an answer.
	Calls int64
	// HeldBytes is the encoded size of all live entities.
	HeldBytes int64
	// Turns were run since the start.
	Turns uint64
	// Critical: 5 loads or saves failed within 120 s.
	Critical bool
}

// Stats returns the present numbers, each right for itself.
func (h *Host) Stats() Stats {
	return Stats{
		Activations: h.live.Load(),
		Dirty:       h.autosave.count() + int64(h.budgets.wanting.Load()),
		DirtyOldest: h.dirtyOldest(),
		Calls:       h.calls.Load(),
		HeldBytes:   h.heldSize.Load(),
		Turns:       h.turns.Load(),
		Critical:    h.health.critical(h.now()),
	}
}

// dirtyOldest is the age of the oldest change without a snapshot.
func (h *Host) dirtyOldest() time.Duration {
	since, ok := h.autosave.oldest()
	if waits, some := h.budgets.oldest(); some && (!ok || waits < since) {
		since, ok = waits, true
	}
	if !ok {
		return 0
	}
	return h.now() - since
}

// ScanInterval is how late an idle activation may be seen as idle.
func (h *Host) ScanInterval() time.Duration {
	return max(min(h.opts.PassivateAfter, h.opts.EncodeIdleAfter)/3, time.Millisecond)
}

// answer ends a call that was counted. a is the activation that it waited for, or nil.
func (h *Host) answer(a *activation, call *Call, response *skerryv1.Response, err error) {
	if a != nil {
		a.pending.Add(-1)
	}
	if call.charge != nil {
		h.unspent(call)
	}
	if err != nil {
		response = nil
	}
	call.Reply(response, err)
	if h.opts.Events.Answered != nil {
		h.opts.Events.Answered(call.Key, err)
	}
	if h.calls.Add(-1) == 0 {
		h.hint()
	}
}

// hint tells a waiting Shutdown that a counter fell to 0.
func (h *Host) hint() {
	if !h.draining.Load() {
		return
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// partition is what changes of one partition.
type partition struct {
	epoch    atomic.Pointer[persistence.Epoch] // nil while it is not owned here
	handover handover

	pieces struct {
		sync.Mutex
		used    int           // of maxPieces
		waiting []*activation // in order; bounded by the activations that save
	}
}
