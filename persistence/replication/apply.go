package replication

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// maxApplyBytes bounds the entries of one Apply, so that a long recovery does not become one huge batch.
const maxApplyBytes = 8 << 20

// apply is the applier's goroutine: it applies what is committed, as much as there is at once, and answers the callers
// in order. It takes batches until the channel is closed; after a failure it answers without applying.
func (h *Host) apply(ctx context.Context) {
	var commits []commit
	for batch := range h.applies {
		commits = append(commits[:0], batch...)
		for more := true; more && payload(commits) < maxApplyBytes; {
			select {
			case batch, ok := <-h.applies:
				commits = append(commits, batch...)
				more = ok
			default:
				more = false
			}
		}
		h.applyAll(ctx, commits)
		clear(commits)
	}
}

// applyAll applies commits in batches of reasonable size, and what stands alone by itself.
func (h *Host) applyAll(ctx context.Context, commits []commit) {
	for len(commits) > 0 {
		n := prefix(commits)
		if commits[0].alone() {
			h.applySpecial(ctx, &commits[0])
		} else {
			h.applyBatch(ctx, commits[:n])
		}
		commits = commits[n:]
	}
}

// prefix returns how many of commits make a batch of reasonable size.
func prefix(commits []commit) int {
	bytes := 0
	for i := range commits {
		if commits[i].alone() {
			return max(i, 1)
		}
		if bytes += len(commits[i].Data); bytes >= maxApplyBytes {
			return i + 1
		}
	}
	return len(commits)
}

func (c *commit) alone() bool { return c.drop || c.swap != nil || c.run != nil }

func payload(commits []commit) int {
	bytes := 0
	for i := range commits {
		bytes += len(commits[i].Data)
	}
	return bytes
}

// applyBatch applies commits in one call and answers those who wait for them.
func (h *Host) applyBatch(ctx context.Context, commits []commit) {
	if h.opts.Faults.AnswerBeforeApply {
		h.answerAll(commits, nil)
	}
	results, err := h.applyEntries(commits)
	if err != nil {
		h.fail(ctx, err)
		h.answerAll(commits, persistence.ErrOutcomeUnknown)
		return
	}
	claims := false
	for i := range commits {
		h.marks[commits[i].slot].applied.Store(commits[i].Index)
		claims = claims || commits[i].proposal == nil
	}
	h.applied.add(commits)
	h.release(commits)
	for i := range commits {
		if p := commits[i].proposal; p != nil {
			var refusals []error
			if results != nil {
				refusals = results[i]
			}
			h.tell(p, refusals)
		}
	}
	if claims {
		h.queue.signal()
	}
}

// tell answers those who wait for p, in order; nil refusals mean that all was accepted.
func (h *Host) tell(p *proposal, refusals []error) {
	for j := range p.waiting {
		var refusal error
		if refusals != nil {
			refusal = refusals[j]
		}
		p.waiting[j].done(refusal)
	}
	h.queue.recycle(p.waiting)
	p.waiting = nil
}

// answerAll tells all who wait for commits the same.
func (h *Host) answerAll(commits []commit, err error) {
	for i := range commits {
		if p := commits[i].proposal; p != nil {
			h.answer(p.waiting, err)
			p.waiting = nil
		}
	}
}

// applyEntries calls the state machine and checks its answer.
func (h *Host) applyEntries(commits []commit) ([][]error, error) {
	if h.hasFailed() {
		return nil, h.failed()
	}
	batch := make([]persistence.Committed, len(commits))
	for i := range commits {
		batch[i] = commits[i].Committed
	}
	results, err := h.opts.StateMachine.Apply(batch)
	if err != nil {
		return nil, fmt.Errorf("apply %d entries: %w: %w", len(commits), ErrStateMachineFailed, err)
	}
	if results != nil && len(results) != len(batch) {
		return nil, fmt.Errorf("apply %d entries: %w: %d results", len(commits), ErrStateMachineFailed, len(results))
	}
	for i := range results {
		if p := commits[i].proposal; p != nil && results[i] != nil && len(results[i]) < len(p.waiting) {
			return nil, fmt.Errorf("apply %d changes: %w: %d results", len(p.waiting), ErrStateMachineFailed, len(results[i]))
		}
	}
	return results, nil
}

// release takes what is about to be answered out of the queue's bounds, so that the callers can propose again at once.
func (h *Host) release(commits []commit) {
	changes, bytes := 0, 0
	for i := range commits {
		if p := commits[i].proposal; p != nil {
			changes += len(p.waiting)
			for j := range p.waiting {
				bytes += p.waiting[j].bytes
			}
		}
	}
	h.queue.release(changes, bytes)
}

// appliedMarks carry the applied indexes from the applier to the loop; newer ones replace older ones.
type appliedMarks struct {
	mu struct {
		sync.Mutex
		index   []uint64 // by slot
		changed []int    // slots, each once
	}
}

func newAppliedMarks(slots int) *appliedMarks {
	m := &appliedMarks{}
	m.mu.index = make([]uint64, slots)
	return m
}

func (m *appliedMarks) add(commits []commit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range commits {
		slot := commits[i].slot
		if m.mu.index[slot] == 0 {
			m.mu.changed = append(m.mu.changed, slot)
		}
		m.mu.index[slot] = commits[i].Index
	}
}

// take calls f for every slot that changed since the last time.
func (m *appliedMarks) take(f func(slot int, index uint64)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, slot := range m.mu.changed {
		f(slot, m.mu.index[slot])
		m.mu.index[slot] = 0
	}
	m.mu.changed = m.mu.changed[:0]
}

// truncate is the truncator's goroutine: each time a segment was begun it drops what the state machine holds durably,
// and flushes the state machine when the log is too large even so.
func (h *Host) truncate(ctx context.Context) {
	for range h.truncates {
		if h.hasFailed() {
			continue
		}
		if err := h.shorten(); err != nil {
			h.fail(ctx, err)
		}
	}
}

func (h *Host) shorten() error {
	if err := h.dropDurable(); err != nil {
		return err
	}
	if err := h.log.prepare(); err != nil {
		return err
	}
	if _, tooLarge := h.log.size(); !tooLarge {
		return nil
	}
	start := time.Now()
	if err := h.opts.StateMachine.Flush(); err != nil {
		return fmt.Errorf("flush to shorten the log: %w: %w", ErrStateMachineFailed, err)
	}
	h.opts.Events.flushed(time.Since(start))
	return h.dropDurable()
}

// dropDurable drops the segments that the state machine does not need.
func (h *Host) dropDurable() error {
	durable := make([]uint64, len(h.partitions))
	for slot, p := range h.partitions {
		index, err := h.opts.StateMachine.Durable(p)
		if err != nil {
			return fmt.Errorf("durable index of partition %d: %w: %w", p, ErrStateMachineFailed, err)
		}
		durable[slot] = index
	}
	dropped, err := h.log.truncate(durable)
	h.opts.Events.truncated(dropped)
	return err
}
