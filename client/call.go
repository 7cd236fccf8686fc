package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// call is a request on its way. Its fields belong to Client.mu until it is finished; the writer reads req without the
// lock while the call is sent, and nobody changes req then.
type call struct {
	req      skerryv1.Request
	size     int // of req, encoded
	deadline time.Time
	attempts int
	due      time.Time // of the next attempt, while it waits among the retries
	lane     *lane
	at       *node // in whose queue it is, or where it was sent; nil while it waits
	sent     bool  // on the present stream
	over     bool  // taken out of the table; a queue may still hold it
	shared   bool  // it was sent to two nodes: nobody changes req any more
	// doubt: an attempt may have been applied without an answer.
	doubt bool
	last  *Error // the newest refusal that may pass

	// done is called once, without the lock, and must not block.
	done func(*skerryv1.Response, error)
	// ready is set instead of done for a caller that waits.
	ready  chan struct{}
	answer *skerryv1.Response
	err    error
}

// finish hands the answer to the caller; the call is out of the table.
func (c *call) finish(answer *skerryv1.Response, err error) {
	if c.done != nil {
		c.done(answer, err)
		return
	}
	c.answer, c.err = answer, err
	close(c.ready)
}

// commandID is the id of a turn, 0 when the call is none.
func (c *call) commandID() int64 {
	if world := c.req.GetExecuteWorld(); world != nil {
		return world.GetCommandId()
	}
	return c.req.GetExecutePlayer().GetCommandId()
}

// unanswered is the error of a call that ends for this side's reason.
func (c *call) unanswered(cause error) *Error {
	e := &Error{
		Code: codec.CodeUnavailable, Message: "nothing was applied: " + cause.Error(), CommandIndex: -1,
		CommandID: c.commandID(), Retryable: true, Outcome: NotApplied, cause: cause,
	}
	if c.sent || c.doubt {
		e.Code, e.Outcome, e.Message = codec.CodeOutcomeUnknown, Unknown, "no answer came: "+cause.Error()
	} else if c.last != nil {
		e.Code, e.Message, e.RetryAfter = c.last.Code, c.last.Message, c.last.RetryAfter
	}
	return e
}

// refused is the error of an answer that says no for good.
func (c *call) refused(e *Error) *Error {
	e.CommandID = c.commandID()
	if c.doubt && e.Outcome == NotApplied && !ofTheRules(e.Code) {
		e.Outcome = Unknown // this attempt changed nothing; an earlier one may have
	}
	return e
}

// ofTheRules reports whether only the rules refuse with code: then the node has looked for the outcome of an earlier
// attempt before, and found none.
func ofTheRules(code codec.Code) bool {
	switch code {
	case codec.CodeInsufficientFunds, codec.CodeInventoryFull, codec.CodeNoSuchItem, codec.CodeAlreadyClaimed,
		codec.CodeBadSlot, codec.CodeBadAmount, codec.CodeLimitExceeded, codec.CodeExpectationFailed,
		codec.CodeForbiddenRole, codec.CodeAlreadyOwned, codec.CodeNoSuchChest, codec.CodeChestExists,
		codec.CodeChestNotEmpty, codec.CodeBadBlock, codec.CodeOutOfRange, codec.CodeChunkHeld:
		return true
	default:
		return false
	}
}

// table holds the calls that are not finished. Its methods need the lock of Client.mu.
type table struct {
	nextID  uint64
	pending map[uint64]*call // at most Options.MaxPending; all others are among them
	waiting []*call          // for a node to be connected
	retries []*call          // to be assigned when due
	parked  bool             // the keeper sleeps until it is roused

	nodes  []*node // the seeds first
	lanes  []*lane // by partition; one while no routes are known
	moving int     // lanes that are
}

func newTable() table { return table{pending: make(map[uint64]*call), lanes: newLanes(1)} }

// take moves calls from the queue of a node to batch until it is full.
func (n *node) take(batch []*call, now time.Time) []*call {
	bytes, taken := 0, 0
	for _, call := range n.queue {
		if !call.over && !call.sent && call.at == n {
			if len(batch) == maxBatchCalls || len(batch) > 0 && bytes+call.size > maxBatchBytes {
				break
			}
			bytes += call.size
			call.sent = true
			if !call.shared {
				call.req.TimeoutMs = milliseconds(call.deadline.Sub(now))
			}
			batch = append(batch, call)
		}
		taken++
	}
	clear(n.queue[:taken])
	if taken == len(n.queue) {
		n.queue = n.queue[:0]
	} else {
		n.queue = n.queue[taken:]
	}
	return batch
}

const (
	// maxBatchCalls and maxBatchBytes bound a message to the node, so that the first answers come while the rest is sent.
	maxBatchCalls = 512
	maxBatchBytes = 256 << 10
)

func milliseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Milliseconds(), 1), 1<<31)) //nolint:gosec // bounded on the same line
}

// removeLocked takes a call out; it reports false when somebody else did.
func (c *Client) removeLocked(call *call) bool {
	if call.over {
		return false
	}
	call.over = true
	delete(c.mu.pending, call.req.GetId())
	c.leftLocked(call)
	return true
}

// takeAll removes every call and returns them in the order of their ids.
func (t *table) takeAll() []*call {
	all := make([]*call, 0, len(t.pending))
	for _, call := range t.pending {
		call.over, call.at = true, nil
		all = append(all, call)
	}
	clear(t.pending)
	t.waiting, t.retries = nil, nil
	for _, n := range t.nodes {
		n.queue, n.onWay = nil, 0
	}
	for _, l := range t.lanes {
		l.held, l.onWay, l.moving = nil, 0, false
	}
	t.moving = 0
	slices.SortFunc(all, byID)
	return all
}

func byID(a, b *call) int { return int(a.req.GetId()) - int(b.req.GetId()) } //nolint:gosec // ids are counted from 1

// start puts a call in the table and wakes the writer. An error (closed, too many, too large) means that the call was
// not taken; then done is not called.
func (c *Client) start(call *call) error {
	call.size = call.req.SizeVT() + batchOverheadBytes
	if call.size > maxRequestBytes {
		return call.refuse(codec.CodeTooLarge, false, fmt.Sprintf("the request has %d bytes, at most %d fit", call.size, maxRequestBytes))
	}
	c.mu.Lock()
	if c.mu.closed {
		c.mu.Unlock()
		return call.unanswered(ErrClosed)
	}
	if len(c.mu.pending) >= c.opts.MaxPending {
		c.mu.Unlock()
		return call.refuse(codec.CodeOverloaded, true, fmt.Sprintf("%d calls wait already", c.opts.MaxPending))
	}
	c.mu.nextID++
	call.req.Id = c.mu.nextID
	c.mu.pending[call.req.Id] = call
	call.lane = c.laneLocked(&call.req)
	to := c.assignLocked(call)
	parked := c.mu.parked
	c.mu.parked = false
	c.mu.Unlock()
	if to != nil {
		signal(to.wake)
	}
	if parked {
		signal(c.rouse)
	}
	return nil
}

// refuse is the error of a call that was not even started.
func (c *call) refuse(code codec.Code, retryable bool, message string) *Error {
	return &Error{
		Code: code, Message: message, CommandIndex: -1, CommandID: c.commandID(),
		Retryable: retryable, Outcome: NotApplied,
	}
}

// maxRequestBytes bounds one request: a message that the node refuses as too large would break the stream of all.
const maxRequestBytes = 1 << 20

// batchOverheadBytes is about what a request adds to a batch beyond its own bytes.
const batchOverheadBytes = 16

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is signalled already
	}
}

// do sends a request and waits for its answer.
func (c *Client) do(ctx context.Context, call *call) (*skerryv1.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, call.unanswered(err)
	}
	call.ready = make(chan struct{})
	var deadlines bool
	if call.deadline, deadlines = ctx.Deadline(); !deadlines {
		call.deadline = time.Now().Add(c.opts.Timeout)
	}
	if err := c.start(call); err != nil {
		return nil, err
	}
	select {
	case <-call.ready:
		return call.answer, call.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	mine := c.removeLocked(call)
	c.mu.Unlock()
	if mine {
		return nil, call.unanswered(ctx.Err())
	}
	<-call.ready
	return call.answer, call.err
}

// settle finishes the calls that a message from a node answers, and plans the retries of refusals that may pass.
func (c *Client) settle(from *node, responses []*skerryv1.Response) {
	type answered struct {
		call     *call
		response *skerryv1.Response
		err      error
	}
	var few [64]answered
	finished := few[:0]
	rouse := false
	c.mu.Lock()
	for _, response := range responses {
		call := c.mu.pending[response.GetId()]
		if call == nil || call.at != from {
			continue // it gave up waiting, or was sent elsewhere since: then that node's word counts
		}
		if response.GetError() == nil {
			c.removeLocked(call)
			finished = append(finished, answered{call: call, response: response})
			continue
		}
		e := fromWire(response.GetError())
		if owner := response.GetError().GetOwner(); owner != "" && len(c.mu.lanes) > 1 && isReachable(owner) {
			c.ownLocked(call.lane, owner, call.lane.epoch)
		}
		if e.Retryable && c.retryLocked(call, e) {
			rouse = true
			continue
		}
		c.removeLocked(call)
		finished = append(finished, answered{call: call, err: call.refused(e)})
	}
	c.mu.Unlock()
	if rouse {
		signal(c.rouse)
	}
	for _, f := range finished {
		f.call.finish(f.response, f.err)
	}
}

// retryLocked plans another attempt; it reports false when none fits before the deadline.
func (c *Client) retryLocked(call *call, e *Error) bool {
	call.sent = false
	c.leftLocked(call)
	call.doubt = call.doubt || e.Outcome == Unknown
	call.last = e
	pause := max(c.pause(call.attempts), e.RetryAfter)
	call.attempts++
	call.due = time.Now().Add(pause)
	if call.due.After(call.deadline) {
		return false
	}
	c.mu.retries = append(c.mu.retries, call)
	return true
}

// pause is how long to wait after so many attempts: doubling, with chance.
func (c *Client) pause(attempts int) time.Duration {
	pause := c.opts.RetryMax
	if attempts < 30 && c.opts.RetryBase<<attempts < pause {
		pause = c.opts.RetryBase << attempts
	}
	return pause/2 + rand.N(pause/2+1) //nolint:gosec // chance spreads retries; nothing secret
}

// keep ends calls at their deadlines and queues retries when they are due, until ctx ends.
func (c *Client) keep(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(c.tend(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-c.rouse:
		case <-timer.C:
		}
	}
}

// deadlineTick is how late a deadline may be kept: a caller with a context of its own is not held up by it.
const deadlineTick = 50 * time.Millisecond

// tend does what is due now, and returns how long there is nothing to do.
func (c *Client) tend(now time.Time) time.Duration {
	var overdue []*call
	c.mu.Lock()
	for _, call := range c.mu.pending {
		if now.After(call.deadline) {
			c.removeLocked(call)
			overdue = append(overdue, call)
		}
	}
	next := c.queueDueLocked(now)
	c.expireLocked(now)
	if len(c.mu.pending) == 0 {
		c.mu.parked, next = true, time.Hour
	}
	c.mu.Unlock()
	for _, call := range overdue {
		call.finish(nil, call.unanswered(context.DeadlineExceeded))
	}
	return next
}

// queueDueLocked assigns the retries that are due; next is when others are.
func (c *Client) queueDueLocked(now time.Time) (next time.Duration) {
	next = deadlineTick
	c.mu.retries = slices.DeleteFunc(c.mu.retries, func(call *call) bool {
		switch wait := call.due.Sub(now); {
		case call.over:
			return true
		case wait > 0:
			next = min(next, wait)
			return false
		default:
			if to := c.assignLocked(call); to != nil {
				signal(to.wake)
			}
			return true
		}
	})
	return next
}
