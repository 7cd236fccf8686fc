package gateway

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// sweepEvery is how often unanswered requests are held against their deadlines: the grain of timeout_ms.
const sweepEvery = 20 * time.Millisecond

// stream is one client connection's requests and their answers: a reader that hands requests to the entities, a writer
// that packs every answer that waits into one message, and between them the list of what is not answered yet. No request
// has a goroutine or a timer of its own.
type stream struct {
	service *service
	conn    grpc.BidiStreamingServer[skerryv1.BatchRequest, skerryv1.BatchResponse]
	wake    chan struct{} // capacity 1: the writer has something to look at
	room    chan struct{} // capacity 1: the reader may go on

	caller  *caller                // the reader's alone
	message skerryv1.BatchResponse // the writer's alone

	mu struct {
		sync.Mutex
		first    *pending      // asked and not answered, newest first
		outbox   []answered    // answered and not taken by the writer; at most MaxInFlight
		unsent   int           // asked, answered and being sent together; at most MaxInFlight
		earliest time.Duration // no deadline in the list is before it
		draining bool          // nothing more is asked
		readErr  error         // why reading ended; io.EOF: the client has no more requests
		ended    bool          // nobody listens any more: answers are dropped
	}
}

// pending is a request that is not answered yet. Its list fields belong to the stream's lock.
type pending struct {
	asked actors.Call // kept by the entity until it replies

	stream         *stream
	id             uint64
	call           call
	isPoll         bool // a long poll
	began          time.Duration
	deadline       time.Duration
	previous, next *pending
	done           bool
}

// answered is a response on its way out.
type answered struct {
	response *skerryv1.Response
	began    time.Duration
	call     call
	code     codec.Code // "" for success
}

// Stream serves one stream until the client has no more requests and all are answered, the client is gone, or the service
// drains. This goroutine is the writer; the reader ends when it returns.
func (s *service) Stream(conn grpc.BidiStreamingServer[skerryv1.BatchRequest, skerryv1.BatchResponse]) error {
	c, err := s.admit(conn.Context())
	if err != nil {
		return asStatus(err)
	}
	st := &stream{service: s, conn: conn, caller: c, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	st.mu.earliest = never
	s.mu.Lock()
	s.mu.streams[st] = struct{}{}
	s.mu.Unlock()
	signal(s.opened)
	s.metrics.streams.Inc()
	s.readers.Go(st.read)

	feed := s.newRoutesFeed(conn.Context(), c)
	err = st.write(&feed)
	feed.stop()
	s.mu.Lock()
	delete(s.mu.streams, st)
	s.mu.Unlock()
	s.metrics.streams.Dec()
	st.end()
	return err
}

// never is after every deadline.
const never = time.Duration(1<<63 - 1)

// pendingSlab is how many requests share one allocation: fewer allocations, while one slow request keeps little alive.
const pendingSlab = 16

// read hands the client's requests to the entities, until there are no more.
func (st *stream) read() {
	for {
		message, err := st.conn.Recv()
		if err == nil {
			err = checkFrame(message)
		}
		if err == nil {
			err = st.refresh()
		}
		if err != nil {
			st.finish(err)
			return
		}
		now := st.service.now()
		var slab []pending
		requests := message.GetRequests()
		for i, r := range requests {
			if len(slab) == 0 {
				slab = make([]pending, min(len(requests)-i, pendingSlab))
			}
			if err := st.dispatch(&slab[0], r, now); err != nil {
				st.finish(err)
				return
			}
			slab = slab[1:]
		}
	}
}

// refresh holds the caller against the keys again: a revoked key ends its streams.
func (st *stream) refresh() (err error) {
	st.caller, err = st.service.again(st.conn.Context(), st.caller)
	return err
}

// dispatch asks an entity, once there is room for one more answer. It returns an error only when the stream is over.
func (st *stream) dispatch(p *pending, r *skerryv1.Request, now time.Duration) error {
	t, refused := st.service.start(st.caller, r)
	p.stream, p.id, p.call, p.isPoll, p.began = st, r.GetId(), t.call, t.wait > 0, now
	p.asked = actors.Call{Key: t.key, Request: r, Admin: st.caller.scopes.has(scopeAdmin), Reply: p.reply}
	p.deadline = now + st.service.timeout(r, t)
	if err := st.admit(p); err != nil {
		return err
	}
	if refused != nil {
		p.reply(nil, refused)
		return nil
	}
	st.service.opts.Entities.Do(&p.asked)
	return nil
}

// admit puts p in the list, when there is room.
func (st *stream) admit(p *pending) error {
	for {
		st.mu.Lock()
		if st.mu.unsent < st.service.opts.MaxInFlight {
			break
		}
		st.mu.Unlock()
		select {
		case <-st.room:
		case <-st.conn.Context().Done():
			return st.conn.Context().Err()
		}
	}
	defer st.mu.Unlock()
	if st.mu.draining {
		return io.EOF
	}
	st.mu.unsent++
	st.mu.earliest = min(st.mu.earliest, p.deadline)
	p.next = st.mu.first
	if p.next != nil {
		p.next.previous = p
	}
	st.mu.first = p
	return nil
}

// reply is the entity's answer. It never blocks; an answer that comes too late is dropped.
func (p *pending) reply(response *skerryv1.Response, err error) {
	out := answered{response: response, began: p.began, call: p.call}
	if err != nil {
		out.response = &skerryv1.Response{Error: p.stream.service.describe(p.stream.conn.Context(), p.call, p.asked.Key, err)}
		out.code = codec.Code(out.response.GetError().GetCode())
	}
	out.response.Id = p.id
	st := p.stream
	st.mu.Lock()
	if p.done || st.mu.ended {
		st.mu.Unlock()
		return
	}
	st.unlinkLocked(p)
	st.mu.outbox = append(st.mu.outbox, out)
	isFirst := len(st.mu.outbox) == 1
	st.mu.Unlock()
	if isFirst {
		signal(st.wake)
	}
}

// unlinkLocked takes p out of the list.
func (st *stream) unlinkLocked(p *pending) {
	p.done = true
	if p.previous != nil {
		p.previous.next = p.next
	} else {
		st.mu.first = p.next
	}
	if p.next != nil {
		p.next.previous = p.previous
	}
	p.previous, p.next = nil, nil
}

// expire answers what is over its deadline, and, when the service drains, every long poll.
func (st *stream) expire(now time.Duration) {
	draining := st.service.isDraining()
	var late []*pending
	st.mu.Lock()
	if now >= st.mu.earliest || draining {
		st.mu.earliest = never
		for p := st.mu.first; p != nil; p = p.next {
			if p.deadline <= now || draining && p.isPoll {
				late = append(late, p)
			} else {
				st.mu.earliest = min(st.mu.earliest, p.deadline)
			}
		}
	}
	st.mu.Unlock()
	for _, p := range late {
		if p.deadline <= now {
			p.reply(nil, errTimeout)
		} else {
			p.reply(nil, actors.ErrDraining)
		}
	}
}

// finish notes why reading ended, and has the writer look.
func (st *stream) finish(err error) {
	st.mu.Lock()
	st.mu.readErr = err
	st.mu.Unlock()
	signal(st.wake)
}

// end drops what is not answered: nobody listens any more. Replies that come later find it out.
func (st *stream) end() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.mu.ended = true
	st.mu.first, st.mu.outbox = nil, nil
}

// write sends answers, and the routes as they change, until the stream is over, and returns the status to end it with.
func (st *stream) write(feed *routesFeed) error {
	if err := st.sendRoutes(feed); err != nil {
		return err
	}
	var spare []answered
	draining := st.service.draining
	for {
		taken, over, status := st.take(spare[:0])
		if len(taken) > 0 {
			if err := st.send(taken); err != nil {
				return err
			}
			spare = taken
			continue
		}
		if over {
			return status
		}
		changed, rested := feed.due()
		select {
		case <-st.wake:
		case <-rested:
			feed.paused = false
		case <-changed:
			if err := st.sendRoutes(feed); err != nil {
				return err
			}
		case <-draining:
			draining = nil
			st.mu.Lock()
			st.mu.draining = true
			st.mu.Unlock()
		case <-st.conn.Context().Done():
			return streamStatus(st.conn.Context().Err())
		}
	}
}

// take swaps the outbox for an empty one. With nothing in it, over says that nothing will come any more, and why.
func (st *stream) take(empty []answered) (taken []answered, over bool, why error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.mu.outbox) > 0 {
		taken, st.mu.outbox = st.mu.outbox, empty
		return taken, false, nil
	}
	switch {
	case st.mu.first != nil:
		return nil, false, nil // waits for its answers, whatever else
	case st.mu.draining:
		return nil, true, asStatus(actors.ErrDraining)
	case errors.Is(st.mu.readErr, io.EOF):
		return nil, true, nil
	case st.mu.readErr != nil:
		return nil, true, streamStatus(st.mu.readErr)
	default:
		return nil, false, nil
	}
}

// send sends responses in messages of bounded size, and makes room for as many requests.
func (st *stream) send(out []answered) error {
	for len(out) > 0 {
		size := 0
		st.message.Responses = st.message.Responses[:0] // encoded by Send, which keeps nothing
		for i := range out {
			size += out[i].response.SizeVT() + 8 // tag and length
			if i > 0 && size > maxResponsesBytes {
				break
			}
			st.message.Responses = append(st.message.Responses, out[i].response)
		}
		if err := st.conn.Send(&st.message); err != nil {
			return err
		}
		count := len(st.message.GetResponses())
		st.sent(out[:count])
		out = out[count:]
	}
	return nil
}

// sent counts what went out and lets the reader go on.
func (st *stream) sent(out []answered) {
	st.mu.Lock()
	st.mu.unsent -= len(out)
	st.mu.Unlock()
	signal(st.room)
	now := st.service.now()
	st.service.metrics.perSend.Observe(float64(len(out)))
	for i := range out {
		st.service.metrics.answered(out[i].call, out[i].code, now-out[i].began)
	}
	clear(out)
}

// streamStatus is how a stream ends that gRPC, or the door, ended with err.
func streamStatus(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	if status.Code(err) == codes.Unknown {
		return asStatus(err) // not gRPC's: the door's own
	}
	return err
}

// signal puts a token in c unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sweep holds all streams against their deadlines until ctx ends.
func (s *service) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	var open []*stream
	for {
		due := ticker.C
		if len(open) == 0 { // nothing is held against anything: no need to wake up
			due = nil
			ticker.Stop()
		}
		select {
		case <-due:
		case <-s.opened:
			ticker.Reset(sweepEvery)
		case <-ctx.Done():
			return
		}
		clear(open)
		open = open[:0]
		s.mu.Lock()
		for st := range s.mu.streams {
			open = append(open, st)
		}
		s.mu.Unlock()
		now := s.now()
		for _, st := range open {
			st.expire(now) //nolint:contextcheck // the answers are the stream's
		}
	}
}

// unsent is how many requests are not answered, or their answers not sent.
func (s *service) unsent() float64 {
	total := s.waiting.Load() + s.polls.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.mu.streams {
		st.mu.Lock()
		total += int64(st.mu.unsent)
		st.mu.Unlock()
	}
	return float64(total)
}
