package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/persistence"
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
	rooms := []*room{ // in the order of their start
		enter(ctx, "peers", n.peers.Run),
		enter(ctx, "log", n.journal.Run),
		enter(ctx, "actors", n.actors.Run),
		enter(ctx, "notes to other nodes", n.partners.run),
		enter(ctx, "routing", n.router.Run),
		enter(ctx, "cluster", n.cluster.Run),
		enter(ctx, "gossip", n.keepJoined),
		enter(ctx, "front door", n.serve),
	}
	door := rooms[len(rooms)-1]

	err := n.watch(ctx, rooms)
	graceful := err == nil
	if graceful {
		n.log.LogAttrs(ctx, slog.LevelInfo, "stopping", slog.Duration("timeout", n.config.ShutdownTimeout), slog.Duration("uptime", elapsed(began)))
	} else {
		n.log.LogAttrs(ctx, slog.LevelError, "stopping: the node cannot go on", slog.Any("err", err))
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.config.ShutdownTimeout)
	defer cancel()
	if graceful {
		n.drain(deadline)
	}
	err = join(err, door.leave())
	if graceful {
		err = join(err, n.saveAll(deadline))
		n.sayGoodbye(deadline)
	}
	n.asking.Wait()
	for i := len(rooms) - 2; i >= 0; i-- {
		err = join(err, rooms[i].leave())
	}
	err = join(err, n.closeAll())
	n.log.LogAttrs(ctx, slog.LevelInfo, "stopped", failure(err)...)
	return err
}

// drain hands what this node owns to others, while requests still come and are passed on.
func (n *Node) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.config.ShutdownTimeout/2) // the rest is for answering and saving
	defer cancel()
	began := time.Now()
	before := len(n.journal.Status())
	if left := n.cluster.Drain(ctx); left < before {
		n.log.LogAttrs(ctx, slog.LevelInfo, "handed over to other nodes", slog.Int("kept", left), slog.Duration("took", elapsed(began)))
	}
}

// sayGoodbye tells the members that this node leaves: nobody has to find out.
func (n *Node) sayGoodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	if err := n.members.Leave(ctx); err != nil {
		n.log.LogAttrs(ctx, slog.LevelDebug, "members were not told", slog.Any("err", err))
	}
}

const (
	goodbyeTimeout = time.Second
	// slowStart is after how long a node that does not serve yet says what it waits for.
	slowStart = 5 * time.Second
)

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
func (n *Node) watch(ctx context.Context, rooms []*room) error {
	ended := make(chan *room, len(rooms))
	for _, r := range rooms {
		go func() { // ends with its room, which Run waits for
			<-r.ended
			ended <- r
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.fatal:
		return err
	case failed := <-ended:
		if failed.err != nil {
			return fmt.Errorf("%s: %w", failed.name, failed.err)
		}
		return fmt.Errorf("%s: %w", failed.name, errEnded)
	}
}

// awaitCluster waits until this node has the cluster's records and knows an owner of every partition.
func (n *Node) awaitCluster(ctx context.Context) error {
	if err := n.cluster.Activate(); err != nil {
		return err
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	told := time.Now()
	for {
		missing, err := n.missing(ctx)
		if err != nil || missing == "" {
			return err
		}
		if time.Since(told) > slowStart {
			told = time.Now()
			n.log.LogAttrs(ctx, slog.LevelWarn, "does not serve yet", slog.String("waits_for", missing))
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// missing says what this node waits for before it serves; "" for nothing.
func (n *Node) missing(ctx context.Context) (string, error) {
	unowned := 0
	for p := range n.store.Partitions() {
		if _, known := n.table.Owner(persistence.Partition(p)); !known { //nolint:gosec // at most 4096
			unowned++
		}
	}
	if _, known := n.table.Owner(persistence.MetaPartition); !known {
		unowned++
	}
	if unowned > 0 {
		return fmt.Sprintf("owners of %d partitions: a majority of their voters must be there", unowned), nil
	}
	entered, err := n.cluster.Entered(ctx)
	if err != nil || entered {
		return "", err
	}
	return "a copy of the cluster's records", nil
}

// serve opens the front door once the cluster is there.
func (n *Node) serve(ctx context.Context) error {
	if err := n.awaitCluster(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to stop
		}
		return err
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
	return n.gateway.Serve(ctx, n.listeners.Listeners)
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
