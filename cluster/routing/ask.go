package routing

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Ask asks the owner of partition p, here or at another node, and sets the ask's partition. While the owner is not known or is changing it
// waits, at most [Options.Patience]. The errors are those of [Router.Do], the owner's own, and ctx's cause, after which the outcome is
// unknown. The answer is read-only.
func (r *Router) Ask(ctx context.Context, p persistence.Partition, ask *peerv1.Ask) (*peerv1.Answer, error) {
	ask.Partition = uint32(p)
	deadline := time.Now().Add(r.opts.Patience)
	for tries := 1; ; tries++ {
		changed := r.opts.Table.Changed()
		place, known := r.opts.Table.Owner(p)
		err := persistence.ErrNotOwner
		var a *peerv1.Answer
		switch {
		case r.opts.Local.Owns(p):
			a, err = r.askSelf(ctx, ask)
		case known && place.Node != r.opts.Self:
			a, err = r.askPeer(ctx, &request{partition: p, ask: ask, place: place}, place.Node)
		}
		if err == nil || !notApplied(err) || r.isClosed() {
			return a, err
		}
		if now, ok := r.opts.Table.Owner(p); ok && now != place { // the answer said so
			if time.Now().Before(deadline) {
				continue
			}
			return nil, err
		}
		if !r.pause(ctx, changed, min(pauseOf(tries), time.Until(deadline))) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, err
		}
	}
}

// AskNode asks a node, whatever it owns. Errors as of [Router.Ask], without waiting for owners: [persistence.ErrNotOwner] means that
// the node is not there.
func (r *Router) AskNode(ctx context.Context, node persistence.NodeID, ask *peerv1.Ask) (*peerv1.Answer, error) {
	if node == r.opts.Self {
		return r.askSelf(ctx, ask)
	}
	return r.askPeer(ctx, &request{partition: persistence.Partition(ask.GetPartition()), ask: ask, anyOwner: true}, node) //nolint:gosec // ours
}

// Tell passes notes to the owner of partition p, in order while the owner stays, and does not wait: they may be lost. It sets the ask's
// partition. It returns [persistence.ErrNotOwner] when no owner is known; then they are lost. Safe for many goroutines.
func (r *Router) Tell(p persistence.Partition, ask *peerv1.Ask) error {
	ask.Partition = uint32(p)
	if r.opts.Local.Owns(p) {
		return actors.FailureIn(r.answerTo(noContext, r.opts.Self, ask))
	}
	place, known := r.opts.Table.Owner(p)
	if !known || place.Node == r.opts.Self {
		return persistence.ErrNotOwner
	}
	frame, err := encodeFrame(&peerv1.Frame{Frame: &peerv1.Frame_Ask{Ask: ask}})
	if err != nil {
		return err
	}
	to := r.peer(place.Node)
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.closed {
		return actors.ErrDraining
	}
	if len(to.asking) > maxTelling {
		return actors.ErrOverloaded
	}
	to.asking = push(to.asking, frame, 0)
	notify(r.sendWake)
	return nil
}

// maxTelling is how many messages may wait to be sent before nothing more is told.
const maxTelling = 64

func (r *Router) askSelf(ctx context.Context, ask *peerv1.Ask) (*peerv1.Answer, error) {
	a := r.answerTo(ctx, r.opts.Self, ask)
	if err := actors.FailureIn(a); err != nil {
		return nil, err
	}
	return a, nil
}

// askPeer sends an ask and waits for its answer.
func (r *Router) askPeer(ctx context.Context, q *request, to persistence.NodeID) (*peerv1.Answer, error) {
	type outcome struct {
		a   *peerv1.Answer
		err error
	}
	done := make(chan outcome, 1)
	q.router, q.sequence = r, r.sequence.Add(1)
	q.answered = func(a *peerv1.Answer, err error) { done <- outcome{a, err} }
	r.send(q, to)
	select {
	case got := <-done:
		if got.err != nil {
			return nil, got.err
		}
		return got.a, nil
	case <-ctx.Done():
		if r.peer(to).takeOne(q.id) != nil {
			r.waiting.Add(-1)
		}
		return nil, context.Cause(ctx)
	}
}

func (r *Router) isClosed() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.mu.closed
}

// pause waits until something changed or the time is over; false when there is no time, or ctx ended.
func (r *Router) pause(ctx context.Context, changed <-chan struct{}, length time.Duration) bool {
	if length <= 0 {
		return false
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// Announce says to a node that this one owns p: at once, and without knowing whether it arrived. It does not block.
func (r *Router) Announce(to persistence.NodeID, p persistence.Partition, epoch persistence.Epoch) {
	places := &peerv1.Places{Places: []*peerv1.Place{encodePlace(p, Place{Node: r.opts.Self, Epoch: epoch})}}
	frame, err := encodeFrame(&peerv1.Frame{Frame: &peerv1.Frame_Places{Places: places}})
	if err != nil {
		return // it is numbers alone, which do encode
	}
	peer := r.peer(to)
	peer.mu.Lock()
	if !peer.closed && len(peer.asking) <= maxTelling {
		peer.asking = push(peer.asking, frame, 0)
	}
	peer.mu.Unlock()
	notify(r.sendWake)
}
