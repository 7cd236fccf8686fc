package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// The number of ticks after which Raft acts.
const (
	electionTicks  = 10
	heartbeatTicks = 2
)

// maxApplies bounds the loop's batches that wait for the applier; the changes in them are bounded by the queue.
const maxApplies = 64

// Host keeps the log of a node: it implements [persistence.Journal] for all partitions. Make it with [Open], then call
// Run. Its other methods may be called from any goroutine.
type Host struct {
	opts       Options // immutable after Open
	partitions []persistence.Partition
	queue      *queue
	inbox      inbox
	hints      hints
	barriers   *barriers
	sole       []atomic.Bool // by slot: this node is the only voter

	// These belong to the loop.
	outbox   outbox
	fetching []bool // by slot: a copy is being fetched or swapped in
	ticks    int

	core  *core
	log   *segmentLog
	out   output
	taken []taken
	// lately is how many changes were taken last.
	lately int
	count  uint32 // the segment that was seen active last

	handOn    func([]commit) // to the applier; it takes batches until the end, also after a failure
	applies   chan []commit
	applied   *appliedMarks    // from the applier to the loop
	truncates chan struct{}    // from the loop to the truncator
	fetch     func(copyWanted) // to the copier
	copies    chan copyWanted
	feedback  feedbacks // from copier and applier to the loop
	marks     []marks   // by slot, for Status

	started atomic.Bool
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed when Run, or a Close before it, has ended
	close   sync.Once

	failure struct {
		sync.Mutex
		err  error
		seen chan struct{} // closed at the first failure
	}
}

var _ persistence.Journal = (*Host)(nil)

// marks are what Status shows of a slot.
type marks struct {
	applied, last atomic.Uint64
	replicas      atomic.Pointer[[]Replica]
}

// Open takes the log's directory, reads the log, and makes it fit to go on: a torn record at its end is cut. It returns
// a [CorruptError] when synced bytes do not verify or when the state machine does not belong to this log; then
// nothing was changed. Nothing is owned and nothing runs before Run. A Host that was opened must be run or closed.
func Open(opts Options) (*Host, error) { return openEdited(opts, nil) }

// openEdited is Open, with edit changing what was read before the groups start; it must write what it changes.
func openEdited(opts Options, edit func(*Host, *replay) error) (*Host, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("options of the log: %w", err)
	}
	opts = opts.withDefaults()
	slots := opts.Partitions + 1 // the last is the meta partition
	h := &Host{
		opts:      opts,
		queue:     newQueue(slots, opts.MaxWaitingChanges, opts.MaxWaitingBytes),
		applies:   make(chan []commit, maxApplies),
		applied:   newAppliedMarks(slots),
		truncates: make(chan struct{}, 1),
		marks:     make([]marks, slots),
		barriers:  newBarriers(slots),
		copies:    make(chan copyWanted, slots), // each at most once
		fetching:  make([]bool, slots),
		sole:      make([]atomic.Bool, slots),
		closing:   make(chan struct{}),
		ended:     make(chan struct{}),
	}
	if opts.Fetcher != nil {
		h.fetch = func(w copyWanted) { h.copies <- w }
	}
	h.handOn = func(batch []commit) { h.applies <- batch }
	h.failure.seen = make(chan struct{})
	h.partitions = partitionsOf(opts.Partitions)

	start := time.Now()
	r, err := h.newReplay()
	if err != nil {
		return nil, err
	}
	h.log, err = openLog(logOptions{
		FS: opts.FS, Dir: opts.Dir, SegmentBytes: opts.SegmentBytes, MaxBytes: opts.MaxLogBytes,
		Events: opts.Events, Random: opts.Random, Faults: opts.Faults,
	}, r)
	if err != nil {
		return nil, err
	}
	if err = h.adoptReplicas(r); err == nil && edit != nil {
		err = edit(h, r)
	}
	if err != nil {
		return nil, errors.Join(err, h.log.close())
	}
	h.core, err = newCore(coreOptions{
		Node: opts.Node, Generation: opts.Generation, ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks,
		Logger: raftLogger{opts.Logger}, ClaimBeforeApply: opts.Faults.ClaimBeforeApply,
		LearnersVote: opts.Faults.LearnersVote,
	}, r.groups)
	if err != nil {
		return nil, errors.Join(err, h.log.close())
	}
	for slot := range r.groups {
		h.marks[slot].applied.Store(r.groups[slot].Applied)
		h.marks[slot].last.Store(r.groups[slot].Last)
		h.showReplicas(slot)
	}
	opts.Logger.LogAttrs(context.Background(), slog.LevelInfo, "log opened", slog.String("dir", opts.Dir),
		slog.Int("segments", r.summary.Segments), slog.Int("records", r.summary.Records), slog.Int64("bytes", r.summary.Bytes), slog.Duration("duration", time.Since(start)))
	return h, nil
}

// partitionsOf lists the partitions by slot: those of the store, then the meta partition.
func partitionsOf(n int) []persistence.Partition {
	list := make([]persistence.Partition, 0, n+1)
	for p := range n {
		list = append(list, persistence.Partition(p)) //nolint:gosec // at most 4096
	}
	return append(list, persistence.MetaPartition)
}

// adoptReplicas makes what the state machine says of replicas hold, and checks that the log is this node's.
func (h *Host) adoptReplicas(r *replay) error {
	for slot, p := range h.partitions {
		g := &r.groups[slot]
		if g.Replica == 0 {
			continue
		}
		if node := nodeOf(g.Replica); node != h.opts.Node {
			return fmt.Errorf("log %s is node %d's, not node %d's: give each node a directory of its own", h.opts.Dir, node, h.opts.Node)
		}
		stored, err := h.storedReplicas(p)
		if err != nil {
			return fmt.Errorf("replicas of partition %d: %w: %w", p, ErrStateMachineFailed, err)
		}
		if stored != nil {
			g.Conf, g.retired, g.changed = stored.conf, stored.retired, true
		}
	}
	return nil
}

// showReplicas makes a slot's replicas visible to other goroutines.
func (h *Host) showReplicas(slot int) {
	g := h.core.groups[slot]
	list := g.replicaStatus()
	h.marks[slot].replicas.Store(&list)
	h.sole[slot].Store(g.sole)
}

// newReplay prepares the groups as the state machine knows them.
func (h *Host) newReplay() (*replay, error) {
	voters := make([]uint64, len(h.opts.Voters))
	for i, node := range h.opts.Voters {
		voters[i] = replicaOn(node)
	}
	replica := uint64(0)
	conf := &raftpb.ConfState{}
	if slices.Contains(h.opts.Voters, h.opts.Node) {
		replica, conf.Voters = replicaOn(h.opts.Node), voters
	}
	r := &replay{drop: h.drop, slots: make(map[persistence.Partition]int, len(h.partitions))}
	for slot, p := range h.partitions {
		index, term, err := h.opts.StateMachine.Applied(p)
		if err != nil {
			return nil, fmt.Errorf("applied index of partition %d: %w: %w", p, ErrStateMachineFailed, err)
		}
		r.slots[p] = slot
		r.groups = append(r.groups, replayed{
			groupCheckpoint: groupCheckpoint{Partition: p, Replica: replica, Conf: conf},
			Applied:         index, AppliedTerm: term,
		})
	}
	return r, nil
}

// Run claims the partitions and serves until ctx ends or Close is called; then it lets nothing more in, finishes what
// was accepted, gives up every partition, and returns nil when all that it started has ended. It returns early, with
// [ErrLogFailed] or [ErrStateMachineFailed], when either broke: everything on its way was answered ErrOutcomeUnknown, and
// the process must end. It is called once.
func (h *Host) Run(ctx context.Context) error {
	if h.started.Swap(true) {
		return errors.New("run the log: it was run or closed before")
	}
	defer close(h.ended)
	var others sync.WaitGroup
	others.Go(func() { h.apply(ctx) })
	others.Go(func() { h.truncate(ctx) })
	fetches, stopFetches := context.WithCancel(ctx)
	defer stopFetches()
	others.Go(func() { h.copy(fetches) })
	if err := h.loop(ctx); err != nil {
		h.fail(ctx, err)
	}
	h.queue.close()
	h.giveUp(ctx)
	h.endHints()
	stopFetches()
	close(h.copies)
	close(h.applies)
	close(h.truncates)
	others.Wait()
	for _, f := range h.feedback.take() {
		if f.writer != nil {
			_ = f.writer.Abort() // what is left is removed at the next start
		}
	}
	return errors.Join(h.failed(), h.log.close())
}

// Close is a graceful end: what Run says for the end of its context. It waits for Run, and may be called more than once.
func (h *Host) Close() error {
	var err error
	h.close.Do(func() {
		h.queue.close()
		close(h.closing)
		if !h.started.Swap(true) {
			err = h.log.close()
			close(h.ended)
		}
	})
	<-h.ended
	return err
}

// Propose implements [persistence.Journal].
func (h *Host) Propose(p persistence.Partition, c *persistence.Change, done func(error)) error {
	slot, ok := h.slot(p)
	if !ok {
		return fmt.Errorf("partition %d: %w", p, persistence.ErrNotOwner)
	}
	if h.opts.Faults.SlowSave > 0 && c.Snapshot != nil && len(c.Entries) == 0 {
		h.proposeLate(slot, c, done)
		return nil
	}
	return h.queue.add(slot, waiting{change: c, done: done, bytes: changeBytes(c)})
}

// proposeLate is a slow save: nobody waits for it but who asked.
func (h *Host) proposeLate(slot int, c *persistence.Change, done func(error)) {
	time.AfterFunc(h.opts.Faults.SlowSave, func() {
		if err := h.queue.add(slot, waiting{change: c, done: done, bytes: changeBytes(c)}); err != nil {
			done(fmt.Errorf("%w: %w", persistence.ErrOutcomeUnknown, err))
		}
	})
}

// slot returns a partition's place in the tables.
func (h *Host) slot(p persistence.Partition) (int, bool) {
	if p == persistence.MetaPartition {
		return h.opts.Partitions, true
	}
	return int(p), int(p) < h.opts.Partitions
}

// fail keeps the first failure and tells everybody of it.
func (h *Host) fail(ctx context.Context, err error) {
	h.failure.Lock()
	defer h.failure.Unlock()
	if h.failure.err == nil {
		h.failure.err = err
		close(h.failure.seen)
		h.opts.Logger.LogAttrs(ctx, slog.LevelError, "log stopped, the process must end", slog.Any("err", err))
	}
}

// failed returns the first failure.
func (h *Host) failed() error {
	h.failure.Lock()
	defer h.failure.Unlock()
	return h.failure.err
}

// hasFailed reports whether there is a failure.
func (h *Host) hasFailed() bool {
	select {
	case <-h.failure.seen:
		return true
	default:
		return false
	}
}
