package gateway

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// service is the calls of skerry.v1, for gRPC and JSON alike. Its methods may be called from any goroutine.
type service struct {
	skerryv1.UnimplementedSkerryServer

	opts     Options   // complete, immutable
	started  time.Time // instants are counted from here
	keys     keyring
	limiters limiters
	metrics  *metrics

	draining chan struct{} // closed when nothing new is accepted
	waiting  atomic.Int64  // unary calls that are not answered, long polls apart
	polls    atomic.Int64  // long polls that are not answered

	mu struct {
		sync.Mutex
		streams map[*stream]struct{}
	}
	opened  chan struct{}  // capacity 1: there are streams to be swept
	readers sync.WaitGroup // one for each stream's reader, which ends after its stream
}

// now is the time since the service began: monotonic, and cheaper to keep than a time.Time.
func (s *service) now() time.Duration { return time.Since(s.started) }

func (s *service) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// start is what every request passes before an entity is asked: the caller's limit, its form, its scope.
func (s *service) start(c *caller, r *skerryv1.Request) (target, error) {
	if s.isDraining() {
		return target{call: callNone}, actors.ErrDraining
	}
	if err := c.spend(); err != nil {
		return target{call: callNone}, err
	}
	return c.route(r)
}

// timeout is how long a request waits for its answer.
func (s *service) timeout(r *skerryv1.Request, t target) time.Duration {
	if ms := r.GetTimeoutMs(); ms > 0 {
		return min(time.Duration(ms)*time.Millisecond, MaxTimeout)
	}
	return s.opts.Timeout + t.wait
}

// describe is [Describe], and tells the log of what only a human can mend. It is where errors stop.
func (s *service) describe(ctx context.Context, which call, key persistence.Key, err error) *skerryv1.Error {
	wire := s.addOwner(Describe(err), key)
	switch code := codec.Code(wire.GetCode()); code {
	case codec.CodeInternal, codec.CodeCorrupt, codec.CodeNewerVersion:
		s.opts.Logger.LogAttrs(ctx, slog.LevelError, "request failed", slog.String("command", calls[which].name),
			slog.String("entity", key.String()), slog.String("code", string(code)), slog.Any("err", err))
	default:
	}
	return wire
}

// reserve counts one more in n, unless the bound is reached. The caller gives it back with n.Add(-1).
func reserve(n *atomic.Int64, bound int) error {
	if n.Add(1) > int64(bound) {
		n.Add(-1)
		return refuse(errTooMany, "", "too many calls wait for their answers")
	}
	return nil
}

// answer is what an entity said.
type answer struct {
	index    int // of the request in its batch
	response *skerryv1.Response
	err      error
}

// one runs a call that addresses one entity. Its errors are statuses.
func (s *service) one(ctx context.Context, r *skerryv1.Request) (*skerryv1.Response, error) {
	began := s.now()
	t, response, err := s.ask(ctx, r)
	if err != nil {
		wire := s.describe(ctx, t.call, t.key, err)
		s.metrics.answered(t.call, codec.Code(wire.GetCode()), s.now()-began)
		return nil, &statusError{wire: wire}
	}
	s.metrics.answered(t.call, "", s.now()-began)
	return response, nil
}

func (s *service) ask(ctx context.Context, r *skerryv1.Request) (target, *skerryv1.Response, error) {
	t := target{call: callNone}
	c, err := s.admit(ctx)
	if err != nil {
		return t, nil, err
	}
	if t, err = s.start(c, r); err != nil {
		return t, nil, err
	}
	counter := &s.waiting
	var draining <-chan struct{} // ends the wait of a long poll only
	if t.wait > 0 {
		counter, draining = &s.polls, s.draining
	}
	if err := reserve(counter, s.opts.MaxCalls); err != nil {
		return t, nil, err
	}
	defer counter.Add(-1)

	ctx, cancel := context.WithTimeout(ctx, s.timeout(r, t))
	defer cancel()
	answers := make(chan answer, 1) // one call, one answer
	s.opts.Entities.Do(&actors.Call{Key: t.key, Request: r, Admin: c.scopes.has(scopeAdmin), Reply: func(response *skerryv1.Response, err error) {
		answers <- answer{response: response, err: err}
	}})
	select {
	case a := <-answers:
		return t, a.response, a.err
	case <-draining:
		return t, nil, actors.ErrDraining
	case <-ctx.Done():
		return t, nil, errTimeout
	}
}

// Batch runs up to MaxBatch requests. It waits for all of them, as long as the most patient one does.
func (s *service) Batch(ctx context.Context, in *skerryv1.BatchRequest) (*skerryv1.BatchResponse, error) {
	began := s.now()
	out, err := s.batch(ctx, in)
	if err != nil {
		wire := s.describe(ctx, callBatch, persistence.Key{}, err)
		s.metrics.answered(callBatch, codec.Code(wire.GetCode()), s.now()-began)
		return nil, &statusError{wire: wire}
	}
	s.metrics.answered(callBatch, "", s.now()-began)
	return out, nil
}

func (s *service) batch(ctx context.Context, in *skerryv1.BatchRequest) (*skerryv1.BatchResponse, error) {
	c, err := s.admit(ctx)
	if err != nil {
		return nil, err
	}
	count := len(in.GetRequests())
	if count == 0 || count > MaxBatch {
		return nil, refuse(errBadRequest, "requests", "a batch has 1 to 100 requests")
	}
	if size := in.SizeVT(); size > MaxBodyBytes {
		return nil, refuse(errTooLarge, "requests", "a batch has at most 1 MiB")
	}
	if err = reserve(&s.waiting, s.opts.MaxCalls); err != nil {
		return nil, err
	}
	defer s.waiting.Add(-1)

	asked := make([]target, count)
	answers := make(chan answer, count) // an answer for each request
	patience := time.Duration(0)
	for i, r := range in.GetRequests() {
		asked[i], err = s.start(c, r)
		if err == nil && asked[i].wait > 0 {
			err = refuse(errBadRequest, "wait", "a batch does not wait: ask for the events with a call of their own")
		}
		if err != nil {
			answers <- answer{index: i, err: err}
			continue
		}
		patience = max(patience, s.timeout(r, asked[i]))
		s.opts.Entities.Do(&actors.Call{Key: asked[i].key, Request: r, Admin: c.scopes.has(scopeAdmin), Reply: func(response *skerryv1.Response, err error) {
			answers <- answer{index: i, response: response, err: err}
		}})
	}
	return s.collect(ctx, in, asked, answers, patience), nil
}

// collect waits for the answers of a batch; those that do not come in time are unknown. When they are too many bytes
// together some are left out, the reads' first: room is kept for what the others usually answer.
func (s *service) collect(ctx context.Context, in *skerryv1.BatchRequest, asked []target, answers <-chan answer, patience time.Duration) *skerryv1.BatchResponse {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out := &skerryv1.BatchResponse{Responses: make([]*skerryv1.Response, len(asked))}
	began, room := s.now(), maxBatchResponseBytes
	for i := range asked {
		if asked[i].call.changes() {
			room -= keptForChange
		}
	}
	for range asked {
		a, inTime := next(ctx, answers)
		if !inTime {
			break
		}
		if a.err == nil {
			if asked[a.index].call.changes() {
				room += keptForChange
			}
			if size := a.response.SizeVT(); size <= room {
				room -= size
			} else {
				a.err = leftOut(asked[a.index].call)
			}
		}
		out.Responses[a.index] = s.respond(ctx, asked[a.index], a, s.now()-began)
	}
	for i, r := range in.GetRequests() {
		if out.Responses[i] == nil {
			out.Responses[i] = s.respond(ctx, asked[i], answer{err: errTimeout}, s.now()-began)
		}
		out.Responses[i].Id = r.GetId()
	}
	return out
}

// leftOut is the error of a request that was done, and whose answer has no room.
func leftOut(which call) error {
	no := &refusal{err: errTooLarge, message: "the batch's answers are over 8 MiB together; this one was left out, ask for it alone"}
	if which.changes() {
		no.outcome = skerryv1.Outcome_APPLIED
		no.message = "this was done, but the batch's answers are over 8 MiB together, and this one was left out"
	}
	return no
}

// next waits for an answer until ctx ends; an answer that is there wins.
func next(ctx context.Context, answers <-chan answer) (answer, bool) {
	select {
	case a := <-answers:
		return a, true
	default:
	}
	select {
	case a := <-answers:
		return a, true
	case <-ctx.Done():
		return answer{}, false
	}
}

// respond makes the response of one request of many, and counts it.
func (s *service) respond(ctx context.Context, t target, a answer, took time.Duration) *skerryv1.Response {
	if a.err != nil {
		wire := s.describe(ctx, t.call, t.key, a.err)
		s.metrics.answered(t.call, codec.Code(wire.GetCode()), took)
		return &skerryv1.Response{Error: wire}
	}
	s.metrics.answered(t.call, "", took)
	return a.response
}
