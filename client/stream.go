package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

type batchStream = grpc.BidiStreamingClient[skerryv1.BatchRequest, skerryv1.BatchResponse]

// runStream keeps one stream to a node open until ctx ends. What was sent on a broken one is sent again, to another node at
// once, else on the next stream.
func (c *Client) runStream(ctx context.Context, n *node) {
	failures := 0
	for ctx.Err() == nil {
		heard, err := c.runOnce(ctx, n)
		if ctx.Err() != nil {
			return
		}
		if heard {
			failures = 0
		}
		rest := time.Duration(0) // before a node is asked again that refused: for ever, unless others do the work meanwhile
		others := c.lost(n)
		switch {
		case !hopeless(err):
		case others:
			rest = refusedRest * c.opts.RetryMax
		default:
			c.failAll(err)
		}
		if !wait(ctx, c.pause(failures)) {
			return
		}
		failures++
		if hopeless(err) && !c.awaitWork(ctx, n, rest) {
			return
		}
	}
}

// runOnce opens a stream and serves it until it breaks; heard says that the node answered on it.
func (c *Client) runOnce(ctx context.Context, n *node) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := skerryv1.NewSkerryClient(n.conn).Stream(metadata.AppendToOutgoingContext(ctx, "skerry-routes", "1"))
	if err != nil {
		return false, fmt.Errorf("open stream: %w", err)
	}
	if n.seed { // what routes name must answer first
		c.connected(n)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		var err error
		heard, err = c.read(stream, n)
		cancel(err) // ends the writer's waiting, and its Send
	})
	sendErr := c.write(ctx, stream, n)
	if sendErr != nil && !errors.Is(sendErr, io.EOF) { // io.EOF: the reader gets the reason
		cancel(sendErr)
	}
	reader.Wait()
	return heard, context.Cause(ctx)
}

// write sends what is queued for n, everything that waits in one message, until ctx ends or the stream breaks.
func (c *Client) write(ctx context.Context, stream batchStream, n *node) error {
	var batch skerryv1.BatchRequest
	var calls []*call
	signal(n.wake) // there may be something from before
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		}
		runtime.Gosched() // whoever is about to ask joins this message: no timer, no delay on an idle machine
		for ctx.Err() == nil {
			c.mu.Lock()
			calls = n.take(calls[:0], time.Now())
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

func (c *Client) read(stream batchStream, n *node) (heard bool, err error) {
	for {
		batch, err := stream.Recv()
		if err != nil {
			return heard, err //nolint:wrapcheck // converted by the interceptor
		}
		if !heard {
			heard = true
			c.connected(n)
		}
		if routes := batch.GetRoutes(); routes != nil {
			c.learn(routes)
		}
		c.settle(n, batch.GetResponses())
	}
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

// refusedRest is for how many of the greatest pauses a node is left alone that refused the stream: keys that it does not know
// yet it will know then.
const refusedRest = 10

// awaitWork waits until there is a call for n, or one that no other node takes, or, if rest is not 0, for so long; it reports
// false when ctx ended.
func (c *Client) awaitWork(ctx context.Context, n *node, rest time.Duration) bool {
	var rested <-chan time.Time
	if rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		rested = timer.C
	}
	for {
		c.mu.Lock()
		work := len(c.mu.waiting) > 0 || len(n.queue) > 0
		c.mu.Unlock()
		if work {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-rested:
			return true
		case <-n.wake:
		}
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
