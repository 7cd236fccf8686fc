package routing

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication/peers"
)

const (
	// chunkBytes is about the most that is sent as one message; a longer frame goes alone.
	chunkBytes = 256 << 10
	// sendPause is the time before answers are sent again that the full line to their node did not take.
	sendPause = 10 * time.Millisecond
	// framesTag begins each entry of peerv1.Frames.frames: field 1, with a length.
	framesTag = 1<<3 | 2
)

// peer is another node: what is on its way to it and what is to be sent.
type peer struct {
	id persistence.NodeID

	mu      sync.Mutex
	waiting map[uint64]*request // asked of it, by id; bounded by MaxWaiting
	asking  []chunk             // to be sent; its requests are in waiting, or were given up
	answers []chunk             // to be sent; bounded by MaxServing, and what was refused above it
	closed  bool
}

// chunk is one message to be, of whole frames.
type chunk struct {
	buf []byte
	ids []uint64 // of the frames in it
}

// push adds a frame to the last chunk, or to a new one.
func push(chunks []chunk, frame []byte, id uint64) []chunk {
	if n := len(chunks); n == 0 || len(chunks[n-1].buf)+len(frame) > chunkBytes {
		chunks = append(chunks, chunk{})
	}
	last := &chunks[len(chunks)-1]
	last.buf = append(last.buf, frame...)
	last.ids = append(last.ids, id)
	return chunks
}

// encodeFrame returns a frame as an entry of a peerv1.Frames, so that those that are put together are one.
func encodeFrame(frame *peerv1.Frame) ([]byte, error) {
	size := frame.SizeVT()
	head := 1 + (bits.Len64(uint64(size)|1)+6)/7 //nolint:gosec // a size
	b := make([]byte, head, head+size)
	b[0] = framesTag
	binary.PutUvarint(b[1:], uint64(size)) //nolint:gosec // a size
	n, err := frame.MarshalToSizedBufferVT(b[head : head+size])
	if err != nil || n != size {
		return nil, fmt.Errorf("%w: a frame of %d bytes became %d: %w", codec.ErrMalformed, size, n, err)
	}
	return b[:head+size], nil
}

// peer returns what is kept of a node.
func (r *Router) peer(id persistence.NodeID) *peer {
	r.mu.RLock()
	p := r.mu.peers[id]
	r.mu.RUnlock()
	if p != nil {
		return p
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p = r.mu.peers[id]; p == nil {
		p = &peer{id: id, waiting: map[uint64]*request{}, closed: r.mu.closed}
		r.mu.peers[id] = p
	}
	return p
}

// allPeers returns the peers so far.
func (r *Router) allPeers() []*peer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*peer, 0, len(r.mu.peers))
	for _, p := range r.mu.peers {
		all = append(all, p)
	}
	return all
}

// send asks a node; the request is the peer's from now on, unless it failed.
func (r *Router) send(q *request, to persistence.NodeID) {
	q.node, q.sent, q.stale = to, false, time.Time{}
	for q.id = r.ids.Add(1); q.id == 0; { // which wants no answer
		q.id = r.ids.Add(1)
	}
	frame, err := q.encode()
	if err != nil {
		q.fail(err)
		return
	}
	if r.waiting.Add(1) > int64(r.opts.MaxWaiting) {
		r.waiting.Add(-1)
		q.fail(actors.ErrOverloaded)
		return
	}
	p := r.peer(to)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		r.waiting.Add(-1)
		q.fail(actors.ErrDraining)
		return
	}
	r.passed.Add(1)
	p.waiting[q.id] = q
	p.asking = push(p.asking, frame, q.id)
	p.mu.Unlock()
	notify(r.sendWake)
}

// encode returns the frame of a request.
func (q *request) encode() ([]byte, error) {
	frame := &peerv1.Frame{Id: q.id, Frame: &peerv1.Frame_Ask{Ask: q.ask}}
	if q.call != nil {
		m, err := actors.AppendCall(q.call)
		if err != nil {
			return nil, err
		}
		frame.Frame = &peerv1.Frame_Call{Call: m}
	}
	return encodeFrame(frame)
}

// runSender sends what there is to send, all that came meanwhile in one message, until ctx ends.
func (r *Router) runSender(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.sendWake:
		case <-timer.C:
		}
		runtime.Gosched() // whoever is about to ask or answer joins this message: no timer, no delay on an idle machine
		full := false
		for _, p := range r.allPeers() {
			r.sendAsking(p)
			full = !r.sendAnswers(p) || full //nolint:contextcheck // it waits for nothing
		}
		if full {
			timer.Reset(sendPause)
		}
	}
}

// sendAsking sends what is asked of a peer. Only the sender calls it.
func (r *Router) sendAsking(p *peer) {
	for {
		p.mu.Lock()
		if len(p.asking) == 0 {
			p.asking = nil
			p.mu.Unlock()
			return
		}
		c := p.asking[0]
		p.asking[0] = chunk{}
		p.asking = p.asking[1:]
		for _, id := range c.ids {
			if q := p.waiting[id]; q != nil {
				q.sent = true // before it is, so that a loss that is told meanwhile means it
			}
		}
		p.mu.Unlock()
		if err := r.opts.Send(p.id, c.buf); err != nil {
			r.unsent(p, c.ids, err)
		}
	}
}

// unsent goes on with requests that were not sent.
func (r *Router) unsent(p *peer, ids []uint64, err error) {
	for _, id := range ids {
		q := p.takeOne(id)
		if q == nil {
			continue // it wants no answer, or was given up
		}
		r.waiting.Add(-1)
		switch {
		case errors.Is(err, peers.ErrQueueFull):
			q.fail(fmt.Errorf("%w: %w", actors.ErrOverloaded, err))
		case errors.Is(err, peers.ErrTooLarge):
			q.fail(fmt.Errorf("%w: %w", codec.ErrTooLarge, err))
		default: // that node is not there, or this one ends
			q.again(fmt.Errorf("%w: %w", persistence.ErrNotOwner, err))
		}
	}
}

// takeOne takes a request out of what waits for a peer; nil when it is not there.
func (p *peer) takeOne(id uint64) *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.waiting[id]
	delete(p.waiting, id)
	return q
}

// take takes the requests of which which is true out of what waits for a peer, in the order in which they were asked.
func (p *peer) take(which func(*request) bool) []*request {
	var taken []*request
	p.mu.Lock()
	for id, q := range p.waiting {
		if which(q) {
			delete(p.waiting, id)
			taken = append(taken, q)
		}
	}
	p.mu.Unlock()
	slices.SortFunc(taken, func(a, b *request) int { return int(int64(a.sequence - b.sequence)) }) //nolint:gosec // near each other
	return taken
}

// close ends a peer and returns what waits for it.
func (p *peer) close() []*request {
	p.mu.Lock()
	p.closed = true
	p.asking, p.answers = nil, nil
	p.mu.Unlock()
	return p.take(func(*request) bool { return true })
}

// sendAnswers sends the answers to a peer; false when its line is full. Only the sender calls it.
func (r *Router) sendAnswers(p *peer) bool {
	for {
		p.mu.Lock()
		if len(p.answers) == 0 {
			p.answers = nil
			p.mu.Unlock()
			return true
		}
		c := p.answers[0]
		p.answers[0] = chunk{}
		p.answers = p.answers[1:]
		p.mu.Unlock()
		err := r.opts.Send(p.id, c.buf)
		switch {
		case errors.Is(err, peers.ErrQueueFull):
			p.mu.Lock()
			p.answers = slices.Insert(p.answers, 0, c)
			p.mu.Unlock()
			return false
		case errors.Is(err, peers.ErrTooLarge) && len(c.ids) == 1:
			r.answer(p.id, c.ids[0], actors.FailureOf(fmt.Errorf("%w: an answer of %d bytes", codec.ErrTooLarge, len(c.buf)), r.opts.Describe))
			continue
		case err != nil: // who asked is told by the loss of its connection
			r.opts.Logger.LogAttrs(noContext, slog.LevelDebug, "answers not sent", slog.Uint64("node", uint64(p.id)), slog.Any("err", err))
		}
		r.serving.Add(-int64(len(c.ids)))
	}
}

// CallsLost tells that a connection of calls to or from the node broke: of what was sent to it the outcome is unknown. It is the
// peers.Handler's.
func (r *Router) CallsLost(node persistence.NodeID) {
	r.mu.RLock()
	p := r.mu.peers[node]
	r.mu.RUnlock()
	if p == nil {
		return
	}
	for _, q := range p.take(func(q *request) bool { return q.sent }) {
		r.waiting.Add(-1)
		q.fail(q.lost())
	}
}

// expireStale gives up what was asked of nodes that are said to own the partition no more, StalePatience after that was seen. It
// returns when it wants to be called again, zero for when the table changes. Only the loop of lines calls it.
func (r *Router) expireStale(now time.Time) time.Time {
	var next time.Time
	for _, p := range r.allPeers() {
		expired := p.take(func(q *request) bool {
			place, known := r.opts.Table.Owner(q.partition)
			switch {
			case q.anyOwner || !known || place.Node == p.id:
				q.stale = time.Time{}
				return false
			case q.stale.IsZero():
				q.stale = now.Add(r.opts.StalePatience)
			case !q.stale.After(now):
				return true
			}
			next = earlier(next, q.stale)
			return false
		})
		for _, q := range expired {
			r.waiting.Add(-1)
			q.fail(q.lost())
		}
	}
	return next
}
