package actors

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// maxResuming is how many transfers that were found open are finished at a time.
	maxResuming = 64
	// maxTransferWaiters is how many calls may wait for the same transfer.
	maxTransferWaiters = 64
	// transferPause is the first pause after a step that failed; they double up to maxTransferPause.
	transferPause    = 50 * time.Millisecond
	maxTransferPause = 5 * time.Second
)

// transfers drives the transfers whose holders are in this node's partitions, step by step; package transfer draws them. What it
// has in memory is a hint: each step is in a journal, and whoever claims a holder's partition finds the open ones by their
// mark and goes on. It never decides: it carries one party's durable answer to the other.
//
// Its methods may be called from any goroutine and never block. No call, and no Reply, is made under the lock.
type transfers struct {
	host   *Host
	router Router
	wake   chan struct{} // a hint that there is work; holds 1

	mu struct {
		sync.Mutex
		running  map[transferName]*transferring // at most MaxCalls, and what was found open
		claims   []claim                        // partitions to be looked through
		found    []foundHolder                  // players who hold; bounded by the marks
		later    []*transferring                // whose next try is due at some time
		orphans  map[transferName]struct{}      // held just now, by whoever asked; bounded by the calls
		resuming int                            // of the running ones, those that were found open, and questions for such
		closed   bool                           // the loop has stopped
	}
}

// transferName is a transfer of a holder.
type transferName struct {
	holder persistence.Key
	seq    uint64 // of the hold
}

// transferring is a transfer that is held.
type transferring struct {
	name transferName // immutable, like the next three
	plan *transfer.Plan
	hold *storev1.Hold
	// resumed: it counts as resuming.
	resumed bool

	waiting []*Call // guarded by transfers.mu, like the others
	tries   int
	due     instant
	gone    bool // it is not running any more
}

// foundHolder is a player who has the mark of an open transfer.
type foundHolder struct {
	key persistence.Key
	due instant
	seq uint64 // of a hold that is of interest only as long as it is an orphan; 0: none is
}

func newTransfers(h *Host) *transfers {
	t := &transfers{host: h, router: h.opts.Router, wake: make(chan struct{}, 1)}
	if t.router == nil {
		t.router = h
	}
	t.mu.running = map[transferName]*transferring{}
	t.mu.orphans = map[transferName]struct{}{}
	return t
}

// hooks are those of others, with what transfers have to hear of.
func (t *transfers) hooks(others hooks) hooks {
	all := others
	all.intercept = func(call *Call) bool {
		if call.step == nil && call.Request.GetCreateTransfer() != nil {
			t.create(call)
			return true
		}
		return others.intercept(call)
	}
	all.effects = func(effects []turn.Effect, space string) {
		for i := range effects {
			if effects[i].Held != 0 {
				t.held(transferName{effects[i].Key, effects[i].Held})
				return
			}
		}
		others.effects(effects, space)
	}
	all.claimed = func(p persistence.Partition, epoch persistence.Epoch) {
		others.claimed(p, epoch)
		t.mu.Lock()
		t.mu.claims = append(t.mu.claims, claim{partition: p, epoch: epoch})
		t.mu.Unlock()
		t.poke()
	}
	all.lost = func(p persistence.Partition, epoch persistence.Epoch) {
		others.lost(p, epoch)
		t.abandonAll(func(r *transferring) bool { return t.host.partitionOf(r.name.holder) == p })
	}
	return all
}

// held notes a hold. Usually its answer is there in a moment; but when it was asked for long ago by a node that is gone, nobody
// else would go on with it.
func (t *transfers) held(name transferName) {
	t.mu.Lock()
	if t.mu.running[name] == nil {
		t.mu.orphans[name] = struct{}{}
		t.mu.found = append(t.mu.found, foundHolder{name.holder, t.host.now() + lookPause, name.seq})
	}
	t.mu.Unlock()
	t.poke()
}

// ask sends a step to a party.
func (t *transfers) ask(to persistence.Key, request *skerryv1.CreateTransferRequest, step *storev1.TransferStep, admin bool,
	then func(*skerryv1.Transfer, *storev1.TransferAnswer, error),
) {
	call := &Call{
		Key: to, Admin: admin, step: step,
		Request: &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: request}},
	}
	call.Reply = func(r *skerryv1.Response, err error) {
		if err == nil && call.answer == nil {
			err = persistence.ErrOutcomeUnknown
		}
		then(r.GetCreateTransfer().GetTransfer(), call.answer, err)
	}
	t.router.Do(call)
}

// create begins a transfer, or finds the one with the same id. Sessions are checked here and nowhere else: the other party's
// first, so that nothing is held in vain.
func (t *transfers) create(call *Call) {
	request := call.Request.GetCreateTransfer()
	plan, err := transfer.Parse(call.Key.Space, request)
	if err == nil && plan.Holder.Key != call.Key {
		err = transfer.Refuse(turn.ErrBadRequest, "legs", "are held by %s, not by %s", plan.Holder.Key, call.Key)
	}
	if err == nil {
		err = t.mayCreate()
	}
	if err != nil {
		call.Reply(nil, err)
		return
	}
	check := &storev1.TransferStep{Kind: storev1.TransferStepKind_CHECK}
	t.ask(plan.Other.Key, request, check, call.Admin, func(_ *skerryv1.Transfer, _ *storev1.TransferAnswer, refused error) {
		if refused == nil {
			t.ask(plan.Holder.Key, request, &storev1.TransferStep{}, call.Admin, func(known *skerryv1.Transfer, answer *storev1.TransferAnswer, err error) {
				t.created(call, plan, known, answer, err)
			})
			return
		}
		// It may be a repeat: what happened does not depend on who asks.
		t.ask(plan.Holder.Key, request, check, call.Admin, func(known *skerryv1.Transfer, answer *storev1.TransferAnswer, err error) {
			if err != nil && !errors.Is(err, turn.ErrIDReused) {
				err = refused
			}
			t.created(call, plan, known, answer, err)
		})
	})
}

func (t *transfers) mayCreate() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.mu.closed || t.host.draining.Load():
		return ErrDraining
	case len(t.mu.running) >= t.host.opts.MaxCalls:
		return ErrOverloaded
	}
	return nil
}

// created goes on with what the holder said of a transfer.
func (t *transfers) created(call *Call, plan *transfer.Plan, known *skerryv1.Transfer, answer *storev1.TransferAnswer, err error) {
	switch {
	case err != nil: // when it is not known whether it is held, its mark is found by whoever claims the partition next
		if errors.Is(err, persistence.ErrOutcomeUnknown) {
			t.foundLater(plan.Holder.Key)
		}
		call.Reply(nil, err)
	case len(answer.GetHolds()) == 0:
		call.Reply(transferred(known), nil)
	case known.GetStatus() != skerryv1.TransferStatus_TRANSFER_OPEN:
		call.Reply(transferred(known), nil)
		t.start(plan, answer.GetHolds()[0], nil)
	default:
		t.start(plan, answer.GetHolds()[0], call)
	}
}

func transferred(known *skerryv1.Transfer) *skerryv1.Response {
	return &skerryv1.Response{Response: &skerryv1.Response_CreateTransfer{CreateTransfer: &skerryv1.CreateTransferResponse{Transfer: known.CloneVT()}}}
}

// start drives a hold, unless that is being done. call, which may be nil, is answered when it has ended.
func (t *transfers) start(plan *transfer.Plan, hold *storev1.Hold, call *Call) {
	r := &transferring{name: transferName{plan.Holder.Key, hold.GetSeq()}, plan: plan, hold: hold, resumed: call == nil}
	var err error
	t.mu.Lock()
	known := t.mu.running[r.name]
	delete(t.mu.orphans, r.name)
	switch {
	case t.mu.closed:
		err = persistence.ErrOutcomeUnknown
	case known == nil:
		t.mu.running[r.name] = r
		if r.resumed {
			t.mu.resuming++
		}
	case call != nil && len(known.waiting) >= maxTransferWaiters:
		err = ErrMailboxFull
	}
	if of := t.mu.running[r.name]; err == nil && call != nil {
		of.waiting = append(of.waiting, call)
	}
	t.mu.Unlock()
	switch {
	case err != nil && call != nil:
		call.Reply(nil, err)
	case err == nil && known == nil:
		t.goOn(r)
	}
}

// goOn does the step that a hold is at.
func (t *transfers) goOn(r *transferring) {
	if r.hold.GetStatus() == skerryv1.TransferStatus_TRANSFER_OPEN {
		t.receive(r)
		return
	}
	t.close(r)
}

// step asks for a step and goes on with next when it was done; else it is tried again.
func (t *transfers) step(r *transferring, to persistence.Key, step *storev1.TransferStep, next func(*skerryv1.Transfer, *storev1.TransferAnswer)) {
	t.ask(to, r.plan.Request, step, false, func(known *skerryv1.Transfer, answer *storev1.TransferAnswer, err error) {
		t.mu.Lock()
		gone := r.gone
		t.mu.Unlock()
		switch {
		case gone: // whoever has the partition now goes on
		case err != nil:
			t.retry(r, step.GetKind(), err)
		default:
			next(known, answer)
		}
	})
}

func (t *transfers) receive(r *transferring) {
	step := &storev1.TransferStep{Kind: storev1.TransferStepKind_RECEIVE, Hold: r.hold}
	t.step(r, r.plan.Other.Key, step, func(_ *skerryv1.Transfer, answer *storev1.TransferAnswer) {
		t.end(r, answer.GetReceived())
	})
}

func (t *transfers) end(r *transferring, received *storev1.Received) {
	if received == nil {
		t.retry(r, storev1.TransferStepKind_RECEIVE, persistence.ErrOutcomeUnknown)
		return
	}
	step := &storev1.TransferStep{Kind: storev1.TransferStepKind_END, Hold: r.hold, Received: received}
	t.step(r, r.name.holder, step, func(known *skerryv1.Transfer, _ *storev1.TransferAnswer) {
		t.answer(r, known)
		t.close(r)
	})
}

func (t *transfers) close(r *transferring) {
	step := &storev1.TransferStep{Kind: storev1.TransferStepKind_CLOSE, Hold: r.hold}
	t.step(r, r.plan.Other.Key, step, func(*skerryv1.Transfer, *storev1.TransferAnswer) {
		drop := &storev1.TransferStep{Kind: storev1.TransferStepKind_DROP, Hold: r.hold}
		t.step(r, r.name.holder, drop, func(known *skerryv1.Transfer, _ *storev1.TransferAnswer) {
			t.finish(r, known)
		})
	})
}

// answer tells those who wait what became of a transfer.
func (t *transfers) answer(r *transferring, known *skerryv1.Transfer) {
	t.mu.Lock()
	calls := r.waiting
	r.waiting = nil
	t.mu.Unlock()
	for _, call := range calls {
		call.Reply(transferred(known), nil)
	}
}

// finish forgets a transfer whose last step is done.
func (t *transfers) finish(r *transferring, known *skerryv1.Transfer) {
	t.mu.Lock()
	t.removeLocked(r)
	t.mu.Unlock()
	t.answer(r, known)
	t.poke()
}

func (t *transfers) removeLocked(r *transferring) {
	if r.gone {
		return
	}
	r.gone = true
	delete(t.mu.running, r.name)
	if r.resumed {
		t.mu.resuming--
	}
}

// retry looks at the holder again after a pause, and goes on from there.
func (t *transfers) retry(r *transferring, kind storev1.TransferStepKind, err error) {
	if errors.Is(err, ErrDraining) || !t.owns(r.name.holder) {
		t.abandonAll(func(other *transferring) bool { return other == r })
		return
	}
	t.mu.Lock()
	pause := min(transferPause<<min(r.tries, 10), maxTransferPause)
	r.tries++
	r.due = t.host.now() + pause
	t.mu.later = append(t.mu.later, r)
	tries := r.tries
	t.mu.Unlock()
	t.host.log.LogAttrs(noContext, slog.LevelWarn, "step of a transfer failed", slog.String("entity", r.name.holder.String()),
		slog.String("transfer", r.plan.ID), slog.String("step", kind.String()), slog.Int("try", tries), slog.Any("err", err))
	t.poke()
}

func (t *transfers) owns(key persistence.Key) bool {
	return t.host.partitions[t.host.partitionOf(key)].epoch.Load() != nil
}

// again asks the holder where a transfer is.
func (t *transfers) again(r *transferring) {
	t.step(r, r.name.holder, &storev1.TransferStep{Kind: storev1.TransferStepKind_LIST}, func(_ *skerryv1.Transfer, answer *storev1.TransferAnswer) {
		for _, hold := range answer.GetHolds() {
			if hold.GetSeq() == r.name.seq {
				r.hold = hold
				if hold.GetStatus() != skerryv1.TransferStatus_TRANSFER_OPEN {
					t.answer(r, &skerryv1.Transfer{
						Id: hold.GetTransfer(), Status: hold.GetStatus(), Error: hold.GetError(), Legs: hold.GetRequest().GetLegs(),
					})
				}
				t.goOn(r)
				return
			}
		}
		// It is over, and nobody waits who was not answered; or the space was erased.
		t.abandonAll(func(other *transferring) bool { return other == r })
	})
}

// abandonAll forgets transfers: what becomes of them is for whoever goes on with them to say.
func (t *transfers) abandonAll(which func(*transferring) bool) {
	var calls []*Call
	t.mu.Lock()
	for _, r := range t.mu.running {
		if which(r) {
			calls = append(calls, r.waiting...)
			r.waiting = nil
			t.removeLocked(r)
		}
	}
	t.mu.Unlock()
	for _, call := range calls {
		call.Reply(nil, persistence.ErrOutcomeUnknown)
	}
	t.poke()
}
