package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

type batchStream = grpc.BidiStreamingClient[skerryv1.BatchRequest, skerryv1.BatchResponse]

// runStream keeps one stream to the node open until ctx ends. What was sent on a broken one is sent again on the next.
func (c *Client) runStream(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		heard, err := c.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			failures = 0
		}
		if hopeless(err) {
			c.failAll(err)
		} else {
			c.requeue()
		}
		if !wait(ctx, c.pause(failures)) {
			return
		}
		failures++
		if hopeless(err) && !c.awaitWork(ctx) {
			return
		}
	}
}

// runOnce opens a stream and serves it until it breaks; heard says that the node answered on it.
func (c *Client) runOnce(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := c.api.Stream(ctx)
	if err != nil {
		return false, fmt.Errorf("open stream: %w", err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		var err error
		heard, err = c.read(stream)
		cancel(err) // ends the writer's waiting, and its Send
	})
	sendErr := c.write(ctx, stream)
	if sendErr != nil && !errors.Is(sendErr, io.EOF) { // io.EOF: the reader gets the reason
		cancel(sendErr)
	}
	reader.Wait()
	return heard, context.Cause(ctx)
}

// write sends what is queued, everything that waits in one message, until ctx ends or the stream breaks.
func (c *Client) write(ctx context.Context, stream batchStream) error {
	var batch skerryv1.BatchRequest
	var calls []*call
	signal(c.wake) // there may be something from before
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		runtime.Gosched() // whoever is about to ask joins this message: no timer, no delay on an idle machine
		for ctx.Err() == nil {
			c.mu.Lock()
			calls = c.mu.take(calls[:0], time.Now())
			c.mu.Unlock()
			if len(calls) == 0 {
				break
			}
			for _, call := range calls {
				batch.Requests = append(batch.Requests, &call.req)
			}
			err := stream.Send(&batch)
			clear(calls)
			clear(batch.Requests)
			batch.Requests = batch.Requests[:0]
			if err != nil {
				return fmt.Errorf("send: %w", err)
			}
		}
	}
}

func (c *Client) read(stream batchStream) (heard bool, err error) {
	for {
		batch, err := stream.Recv()
		if err != nil {
			return heard, err //nolint:wrapcheck // converted by the interceptor
		}
		heard = true
		c.settle(batch.GetResponses())
	}
}

// requeue puts what was sent on the broken stream before what was not, in the order of the requests.
func (c *Client) requeue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var again []*call
	for _, call := range c.mu.pending {
		if call.sent {
			call.sent, call.doubt = false, true
			again = append(again, call)
		}
	}
	slices.SortFunc(again, byID)
	c.mu.queue = append(again, c.mu.queue...)
}

// failAll answers every call with an error that another stream would not mend.
func (c *Client) failAll(err error) {
	c.mu.Lock()
	all := c.mu.takeAll()
	c.mu.Unlock()
	for _, call := range all {
		e := &Error{}
		if !errors.As(err, &e) {
			e = &Error{Code: codec.CodeInternal, Message: err.Error()}
		}
		own := *e
		own.CommandIndex, own.Outcome, own.cause = -1, NotApplied, err
		if call.doubt || call.sent {
			own.Outcome = Unknown
		}
		own.CommandID = call.req.GetExecutePlayer().GetCommandId()
		call.finish(nil, &own)
	}
}

// awaitWork waits until a call is queued; it reports false when ctx ended.
func (c *Client) awaitWork(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c.wake:
		signal(c.wake) // for the writer
		return true
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
