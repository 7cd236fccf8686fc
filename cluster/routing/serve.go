package routing

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// Receive takes a frame of calls, asks and answers from another node; it is the peers.Handler's Calls. What is malformed is not looked
// at. What came from a node is served here or refused, never passed on.
func (r *Router) Receive(from persistence.NodeID, frame []byte) {
	frames := &peerv1.Frames{}
	if err := frames.UnmarshalVT(frame); err != nil {
		r.opts.Logger.LogAttrs(noContext, slog.LevelWarn, "malformed calls from a node", slog.Uint64("node", uint64(from)),
			slog.Int("bytes", len(frame)), slog.Any("err", err))
		return
	}
	for _, f := range frames.GetFrames() {
		switch asked := f.GetFrame().(type) {
		case *peerv1.Frame_Answer:
			r.settle(from, f.GetId(), asked.Answer)
		case *peerv1.Frame_Call:
			r.serving.Add(1)
			r.serveCall(from, f.GetId(), asked.Call)
		case *peerv1.Frame_Ask:
			r.serving.Add(1)
			r.serveAsk(from, f.GetId(), asked.Ask)
		case *peerv1.Frame_Places:
			r.announced(from, asked.Places)
		default: // of a newer build
			r.serving.Add(1)
			r.refuse(from, f.GetId(), fmt.Errorf("%w: this node does not know what it is", turn.ErrBadRequest))
		}
	}
}

// announced learns what a node says that it owns itself.
func (r *Router) announced(from persistence.NodeID, places *peerv1.Places) {
	for _, m := range places.GetPlaces() {
		if p, place, ok := decodePlace(m); ok && place.Node == from {
			r.opts.Table.Learn(p, place)
		}
	}
}

// serveCall passes a call of another node to its entity, if it is here.
func (r *Router) serveCall(from persistence.NodeID, id uint64, m *peerv1.Call) {
	if r.serving.Load() > int64(r.opts.MaxServing) {
		r.refuse(from, id, actors.ErrOverloaded)
		return
	}
	call, err := actors.ParseCall(m)
	if err != nil {
		r.refuse(from, id, err)
		return
	}
	p := persistence.PartitionOf(call.Key, r.opts.Partitions)
	reply := func(response *skerryv1.Response, err error) {
		a := actors.AnswerOf(call, response, err, r.opts.Describe)
		if err != nil && notApplied(err) {
			a.Owner = r.hint(p)
		}
		r.answer(from, id, a)
	}
	if !r.opts.Local.Owns(p) {
		reply(nil, persistence.ErrNotOwner)
		return
	}
	call.Reply = reply
	r.opts.Local.Do(call)
}

// serveAsk has an ask of another node answered, notes here and in order, the others by a goroutine each.
func (r *Router) serveAsk(from persistence.NodeID, id uint64, ask *peerv1.Ask) {
	p := persistence.Partition(ask.GetPartition()) //nolint:gosec // compared below
	switch {
	case ask.GetPartition() > uint32(persistence.MetaPartition):
		r.refuse(from, id, fmt.Errorf("%w: partition %d", turn.ErrBadRequest, ask.GetPartition()))
		return
	case ask.GetOwn() == nil && !r.opts.Local.Owns(p):
		a := actors.FailureOf(persistence.ErrNotOwner, r.opts.Describe)
		a.Owner = r.hint(p)
		r.answer(from, id, a)
		return
	case ask.GetNotes() != nil:
		r.answer(from, id, r.answerTo(noContext, from, ask))
		return
	}
	started := false
	asks, most := &r.asks, r.opts.MaxAsks
	if ask.GetLease() != nil { // it may wait for long: others have places of their own
		asks, most = &r.leases, r.opts.MaxLeases
	}
	if asks.Add(1) <= int64(most) && r.serving.Load() <= int64(r.opts.MaxServing) {
		started = r.start(func(ctx context.Context) {
			a := r.answerTo(ctx, from, ask)
			asks.Add(-1)
			r.answer(from, id, a) //nolint:contextcheck // it waits for nothing
		})
	}
	if !started {
		asks.Add(-1)
		r.refuse(from, id, actors.ErrOverloaded)
	}
}

// answerTo asks this node; an answer that is none has an unknown outcome.
func (r *Router) answerTo(ctx context.Context, from persistence.NodeID, ask *peerv1.Ask) *peerv1.Answer {
	a := r.opts.Answer(ctx, from, ask)
	if a == nil {
		return actors.FailureOf(persistence.ErrOutcomeUnknown, r.opts.Describe)
	}
	if err := actors.FailureIn(a); a.GetOwner() == nil && err != nil && notApplied(err) {
		a.Owner = r.hint(persistence.Partition(ask.GetPartition())) //nolint:gosec // checked by who calls
	}
	return a
}

// hint is who else owns a partition, nil when that is not known.
func (r *Router) hint(p persistence.Partition) *peerv1.Place {
	if place, known := r.opts.Table.Owner(p); known && place.Node != r.opts.Self {
		return encodePlace(p, place)
	}
	return nil
}

func (r *Router) refuse(to persistence.NodeID, id uint64, err error) {
	r.answer(to, id, actors.FailureOf(err, r.opts.Describe))
}

// answer sends an answer, unless none is wanted. What it answers is served from now on, or when it was sent.
func (r *Router) answer(to persistence.NodeID, id uint64, a *peerv1.Answer) {
	if id == 0 {
		r.serving.Add(-1)
		return
	}
	frame, err := encodeFrame(&peerv1.Frame{Id: id, Frame: &peerv1.Frame_Answer{Answer: a}})
	if err != nil { // such as a text that is no text
		r.opts.Logger.LogAttrs(noContext, slog.LevelError, "answer cannot be sent", slog.Any("err", err))
		unknown := actors.FailureOf(persistence.ErrOutcomeUnknown, r.opts.Describe)
		if frame, err = encodeFrame(&peerv1.Frame{Id: id, Frame: &peerv1.Frame_Answer{Answer: unknown}}); err != nil {
			r.serving.Add(-1)
			return
		}
	}
	p := r.peer(to)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		r.serving.Add(-1)
		return
	}
	p.answers = push(p.answers, frame, id)
	p.mu.Unlock()
	notify(r.sendWake)
}

// settle goes on with what another node answered. An answer to nothing that was asked of it, or that was given up, is not looked at.
func (r *Router) settle(from persistence.NodeID, id uint64, a *peerv1.Answer) {
	r.mu.RLock()
	p := r.mu.peers[from]
	r.mu.RUnlock()
	if p == nil {
		return
	}
	q := p.takeOne(id)
	if q == nil {
		return
	}
	r.waiting.Add(-1)
	hinted, place, ok := decodePlace(a.GetOwner())
	ok = ok && hinted == q.partition && !q.anyOwner
	if q.call == nil {
		if ok {
			r.opts.Table.Learn(hinted, place)
		}
		q.answered(a, actors.FailureIn(a))
		return
	}
	response, err := actors.ReadAnswer(q.call, a)
	if err != nil && notApplied(err) {
		q.again(err)
	} else {
		q.end(response, err)
	}
	if ok { // after it is in line: those behind it there are not to come before it
		r.opts.Table.Learn(hinted, place)
	}
}
