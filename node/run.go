package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// room is something that runs until it is told to stop.
type room struct {
	name  string
	stop  context.CancelFunc
	ended chan struct{}
	err   error // of its Run; read after ended
}

// enter starts a room. Its context is its own: the rooms are stopped one by one, in order.
func enter(ctx context.Context, name string, run func(context.Context) error) *room {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &room{name: name, stop: stop, ended: make(chan struct{})}
	go func() { // leave, and run's watch, wait for it
		defer close(r.ended)
		r.err = run(ctx)
	}()
	return r
}

// leave stops a room and waits for it.
func (r *room) leave() error {
	r.stop()
	<-r.ended
	if r.err != nil {
		return fmt.Errorf("%s: %w", r.name, r.err)
	}
	return nil
}

// errEnded: a room ended that nobody stopped.
var errEnded = errors.New("ended by itself")

// Run serves until ctx ends, then stops gracefully: nothing new is accepted, what was accepted is answered, what is dirty
// is saved, within the shutdown time-out. It returns nil after that. When the disk fails it stops at once and returns why;
// the process must end with a failure. It is called once.
func (n *Node) Run(ctx context.Context) error {
	began := time.Now()
	journal := enter(ctx, "log", n.journal.Run)
	host := enter(ctx, "actors", n.actors.Run)
	door := enter(ctx, "front door", n.serve)

	err := n.watch(ctx, journal, host, door)
	graceful := err == nil
	if graceful {
		n.log.LogAttrs(ctx, slog.LevelInfo, "stopping", slog.Duration("timeout", n.config.ShutdownTimeout), slog.Duration("uptime", elapsed(began)))
	} else {
		n.log.LogAttrs(ctx, slog.LevelError, "stopping: the node cannot go on", slog.Any("err", err))
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.config.ShutdownTimeout)
	defer cancel()
	err = join(err, door.leave())
	if graceful {
		err = join(err, n.saveAll(deadline))
	}
	err = join(err, host.leave())
	err = join(err, journal.leave())
	err = join(err, n.closeAll())
	n.log.LogAttrs(ctx, slog.LevelInfo, "stopped", failure(err)...)
	return err
}

// failure is err as an attribute, none for nil.
func failure(err error) []slog.Attr {
	if err == nil {
		return nil
	}
	return []slog.Attr{slog.Any("err", err)}
}

// join adds what a later step says to what is known, unless it says the same.
func join(known, later error) error {
	if known != nil && later != nil && strings.Contains(known.Error(), later.Error()) {
		return known
	}
	return errors.Join(known, later)
}

// watch waits for the end: nil when it was asked for.
func (n *Node) watch(ctx context.Context, rooms ...*room) error {
	journal, host, door := rooms[0], rooms[1], rooms[2]
	var failed *room
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.fatal:
		return err
	case <-journal.ended:
		failed = journal
	case <-host.ended:
		failed = host
	case <-door.ended:
		failed = door
	}
	if failed.err != nil {
		return fmt.Errorf("%s: %w", failed.name, failed.err)
	}
	return fmt.Errorf("%s: %w", failed.name, errEnded)
}

// serve opens the front door once every partition was claimed.
func (n *Node) serve(ctx context.Context) error {
	select {
	case <-n.owners.all:
	case <-ctx.Done():
		return nil
	}
	if err := n.requireKey(ctx); err != nil { // only now is a key certainly seen that a crash left in the log
		return err
	}
	n.warn(ctx)
	ready := n.Ready()
	n.log.LogAttrs(ctx, slog.LevelInfo, "ready", slog.String("http", ready.HTTP), slog.String("grpc", ready.GRPC),
		slog.String("admin", ready.Admin), slog.String("data", ready.Data), slog.Int("partitions", n.store.Partitions()),
		slog.String("version", n.opts.Version))
	if n.opts.OnReady != nil {
		n.opts.OnReady(ready) // the ports listen since Open; who connects now is served in a moment
	}
	return n.gateway.Serve(ctx, n.listeners)
}

// saveAll saves what is dirty and says so.
func (n *Node) saveAll(ctx context.Context) error {
	report, err := n.actors.Shutdown(ctx)
	level := slog.LevelInfo
	if err != nil || report.Failed > 0 {
		level = slog.LevelError
	}
	n.log.LogAttrs(ctx, level, "entities saved", append([]slog.Attr{
		slog.Int64("saved", report.Saved), slog.Int64("journaled", report.Journaled),
		slog.Int64("clean", report.Clean), slog.Int64("failed", report.Failed),
	}, failure(err)...)...)
	if err != nil {
		return fmt.Errorf("%d of what was in memory was not saved within %s: %w", report.Failed, n.config.ShutdownTimeout, err)
	}
	return nil
}
