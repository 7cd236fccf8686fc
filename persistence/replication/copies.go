package replication

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// Fetcher carries partition copies, beside a [Transport] that carries messages.
type Fetcher interface {
	// Fetch sends request to a node's [Host.Serve] and calls take with each frame of its answer, in order. It returns nil only
	// when the answer came whole. take keeps nothing of frame.
	Fetch(ctx context.Context, from persistence.NodeID, request []byte, take func(frame []byte) error) error
}

// The first bytes of a request: its version and what it asks for.
const (
	requestVersion = 1
	requestCopy    = 1
	requestMend    = 2
)

// ErrBadRequest says that a request to [Host.Serve] is none.
var ErrBadRequest = errors.New("malformed request of a peer")

// copyRequest asks for a copy of p of index at least.
func copyRequest(p persistence.Partition, index uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint16([]byte{requestVersion, requestCopy}, uint16(p)), index)
}

// Serve answers a request that another node's host gave to its [Fetcher]. It blocks for as long as send does, and may be
// called from any goroutine, after Run has begun. It returns [ErrBadRequest], [persistence.ErrNotOwner] when this node has no
// replica of the partition or, after a crash, one that is older than what it offered, and the errors of [persistence.Copier.CopyOut].
func (h *Host) Serve(ctx context.Context, request []byte, send func(frame []byte) error) error {
	if len(request) < 4 || request[0] != requestVersion {
		return fmt.Errorf("%w: %d bytes", ErrBadRequest, len(request))
	}
	p := persistence.Partition(binary.BigEndian.Uint16(request[2:]))
	switch {
	case request[1] == requestCopy && len(request) == 4+8:
		return h.serveCopy(ctx, p, binary.BigEndian.Uint64(request[4:]), send)
	case request[1] == requestMend:
		return h.serveMend(ctx, p, request[4:], send)
	default:
		return fmt.Errorf("%w: of kind %d", ErrBadRequest, request[1])
	}
}

// serveCopy sends a copy of p, of index at least, and keeps what comes after it for a while.
func (h *Host) serveCopy(ctx context.Context, p persistence.Partition, index uint64, send func(frame []byte) error) error {
	slot, ok := h.slot(p)
	copier, can := h.opts.StateMachine.(persistence.Copier)
	if !ok || !can {
		return fmt.Errorf("%w: partition %d", ErrBadRequest, p)
	}
	held := make(chan bool, 1)
	if err := h.hints.add(hint{slot: slot, hold: 1, done: func(here bool) { held <- here }}); err != nil {
		return err
	}
	defer func() { // also when nobody waited for its begin: this comes after it
		_ = h.hints.add(hint{slot: slot, hold: -1}) // only the end of Run refuses it
		h.queue.signal()
	}()
	h.queue.signal()
	select {
	case here := <-held:
		if !here {
			return fmt.Errorf("copy of partition %d: %w", p, persistence.ErrNotOwner)
		}
	case <-h.ended:
		return persistence.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	err := h.hasApplied(p, index)
	if err == nil {
		_, err = copier.CopyOut(ctx, p, send)
	}
	if err != nil {
		return fmt.Errorf("copy of partition %d: %w", p, err)
	}
	return nil
}

// hasApplied returns [persistence.ErrNotOwner] unless p's state is of index or newer.
func (h *Host) hasApplied(p persistence.Partition, index uint64) error {
	applied, _, err := h.opts.StateMachine.Applied(p)
	if err == nil && applied < index {
		return fmt.Errorf("%w: %d is applied, %d was offered", persistence.ErrNotOwner, applied, index)
	}
	return err
}

// copyWanted is a copy that a leader offered.
type copyWanted struct {
	slot int
	from uint64 // the leader's replica
	to   uint64 // this node's
	term uint64
	// index is the least that the copy must be of: conf holds there.
	index uint64
	conf  *raftpb.ConfState
}

// feedback is what copier and applier tell the loop.
type feedback struct {
	slot    int
	wanted  copyWanted
	writer  persistence.CopyWriter // fetched whole
	failed  bool                   // not fetched
	dropped bool
	swapped bool
	at      entryID // of swapped; zero when nothing was changed
	members *replicas
}

// feedbacks carry them; each slot has at most a few on their way.
type feedbacks struct {
	mu struct {
		sync.Mutex
		list []feedback
	}
}

func (f *feedbacks) add(one feedback) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.list = append(f.mu.list, one)
}

func (f *feedbacks) take() []feedback {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.mu.list
	f.mu.list = nil
	return list
}

// want asks for a copy, unless one of this partition is being fetched.
func (h *Host) want(w copyWanted) {
	if h.fetching[w.slot] || h.fetch == nil {
		return
	}
	h.fetching[w.slot] = true
	h.fetch(w)
}

// copy is the copier's goroutine: one copy at a time.
func (h *Host) copy(ctx context.Context) {
	for w := range h.copies {
		p := h.partitions[w.slot]
		writer, err := h.fetchCopy(ctx, p, w)
		h.feedback.add(feedback{slot: w.slot, wanted: w, writer: writer, failed: err != nil})
		h.queue.signal()
		if err != nil && ctx.Err() == nil {
			h.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "partition copy failed, the leader will offer it again",
				slog.Int("partition", int(p)), slog.Uint64("from", w.from), slog.Any("err", err))
		}
	}
}

// sources are the nodes that may have the copy, who offered it first; the other voters are for when its own is damaged.
// Who offered it is asked in any case: it keeps what comes after.
func (w *copyWanted) sources() []persistence.NodeID {
	list := []persistence.NodeID{nodeOf(w.from)}
	for _, id := range w.conf.GetVoters() {
		if node := nodeOf(id); node != nodeOf(w.from) && node != nodeOf(w.to) {
			list = append(list, node)
		}
	}
	return list
}

// fetchCopy fetches a copy whole, beside what is stored, from the first that has it.
func (h *Host) fetchCopy(ctx context.Context, p persistence.Partition, w copyWanted) (persistence.CopyWriter, error) {
	copier, ok := h.opts.StateMachine.(persistence.Copier)
	if !ok {
		return nil, errors.New("the state machine takes no copies")
	}
	var failed []error
	for _, node := range w.sources() {
		writer, err := copier.CopyIn(p)
		if err != nil {
			return nil, errors.Join(append(failed, err)...)
		}
		err = h.opts.Fetcher.Fetch(ctx, node, copyRequest(p, w.index), writer.Write)
		if err == nil {
			return writer, nil
		}
		failed = append(failed, fmt.Errorf("from node %d: %w", node, errors.Join(err, writer.Abort())))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// hear does what copier and applier have to say.
func (h *Host) hear(ctx context.Context) error {
	for _, f := range h.feedback.take() {
		switch {
		case f.failed:
			h.fetching[f.slot] = false
		case f.writer != nil:
			if !h.core.freeze(f.slot, f.wanted, f.writer) {
				h.fetching[f.slot] = false
				if err := f.writer.Abort(); err != nil {
					h.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "partition copy was not needed, and is not removed", slog.Any("err", err))
				}
			}
		case f.dropped:
			h.core.dropped(f.slot)
		case f.swapped:
			h.fetching[f.slot] = false
			if err := h.core.swapped(f.slot, f.at, f.members); err != nil {
				return err
			}
		}
	}
	return nil
}

// applySpecial does what stands alone among the commits: it swaps a partition's state for a copy, or removes it.
func (h *Host) applySpecial(ctx context.Context, c *commit) {
	if c.run != nil {
		c.run()
		return
	}
	if h.hasFailed() {
		if c.swap != nil {
			_ = c.swap.Abort() // what is left is removed at the next start
		}
		return
	}
	told := feedback{slot: c.slot, dropped: c.drop, swapped: c.swap != nil}
	var err error
	if c.drop {
		err = h.drop(c.Partition)
		h.marks[c.slot].applied.Store(0)
	} else {
		told.at, told.members, err = h.swap(c.Partition, c.swap)
		if told.at.Index > 0 {
			h.marks[c.slot].applied.Store(told.at.Index)
		}
	}
	if err != nil {
		h.fail(ctx, fmt.Errorf("partition %d: %w: %w", c.Partition, ErrStateMachineFailed, err))
		return
	}
	h.feedback.add(told)
	h.queue.signal()
}

// swap puts a copy in place of a partition's state. at is zero when the copy was refused.
func (h *Host) swap(p persistence.Partition, w persistence.CopyWriter) (at entryID, members *replicas, err error) {
	index, term, err := w.Commit()
	switch {
	case errors.Is(err, persistence.ErrOldCopy), errors.Is(err, persistence.ErrBadCopy):
		return entryID{}, nil, nil
	case err != nil:
		return entryID{}, nil, err
	}
	members, err = h.storedReplicas(p)
	return entryID{index, term}, members, err
}

// storedReplicas returns what the state machine says of a partition's replicas, nil when they never changed.
func (h *Host) storedReplicas(p persistence.Partition) (*replicas, error) {
	conf, err := h.opts.StateMachine.Conf(p)
	if err != nil || conf == nil {
		return nil, err
	}
	return decodeReplicas(conf)
}

// drop removes a partition's state.
func (h *Host) drop(p persistence.Partition) error {
	copier, ok := h.opts.StateMachine.(persistence.Copier)
	if !ok {
		return errors.New("the state machine cannot remove a partition")
	}
	return copier.Drop(p)
}
