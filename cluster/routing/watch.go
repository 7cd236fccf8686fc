package routing

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// watchWait is how long another node's owner holds an empty answer to a watcher.
const watchWait = 10 * time.Second

// Watch calls push with the events of the server key that come after the given id, old ones first, also when the server is another
// node's or moves. It returns when ctx ended, with its cause; when push failed, with its error; when nothing came of it for
// [Options.Patience], with the last error; or with the owner's refusal. push is called by this goroutine.
func (r *Router) Watch(ctx context.Context, key persistence.Key, after int64, push func(*skerryv1.ServerEvent) error) error {
	w := &watching{router: r, key: key, after: after, push: push}
	p := persistence.PartitionOf(key, r.opts.Partitions)
	heard := time.Now()
	for tries := 0; ; {
		changed := r.opts.Table.Changed()
		began := time.Now()
		var err error
		here := r.opts.Local.Owns(p)
		if here {
			err = r.opts.Local.Watch(ctx, key, w.after, w.pass)
		} else {
			err = w.poll(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case w.failed != nil:
			return w.failed
		case err == nil || time.Since(began) >= maxPause && (here || !errors.Is(err, persistence.ErrNotOwner)):
			heard, tries = time.Now(), 0 // it was watched meanwhile; a poll without an owner only waited
		}
		if err == nil {
			continue
		}
		tries++
		left := r.opts.Patience - time.Since(heard)
		if !passes(err) || r.isClosed() || !r.pause(ctx, changed, min(pauseOf(tries), left)) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

// passes reports whether a watcher may try again after err.
func passes(err error) bool {
	for _, passing := range []error{
		persistence.ErrNotOwner, persistence.ErrOutcomeUnknown, actors.ErrDraining, actors.ErrMailboxFull, actors.ErrOverloaded,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// watching is a Watch. It belongs to its goroutine.
type watching struct {
	router *Router
	key    persistence.Key
	after  int64
	push   func(*skerryv1.ServerEvent) error
	failed error // of push
}

// pass hands an event on.
func (w *watching) pass(event *skerryv1.ServerEvent) error {
	if w.failed = w.push(event); w.failed == nil {
		w.after = event.GetId()
	}
	return w.failed
}

// poll asks the owner once for events.
func (w *watching) poll(ctx context.Context) error {
	type outcome struct {
		response *skerryv1.Response
		err      error
	}
	done := make(chan outcome, 1)
	w.router.Do(&actors.Call{
		Key: w.key,
		Request: &skerryv1.Request{Request: &skerryv1.Request_GetServerEvents{GetServerEvents: &skerryv1.GetServerEventsRequest{
			Server: w.key.ID, After: w.after, Wait: watchWait.String(),
		}}},
		Reply: func(response *skerryv1.Response, err error) { done <- outcome{response, err} },
	})
	select {
	case got := <-done:
		if got.err != nil {
			return got.err
		}
		for _, event := range got.response.GetGetServerEvents().GetEvents() {
			if err := w.pass(event); err != nil {
				return err
			}
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
