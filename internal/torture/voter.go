package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
	"github.com/skerry-dev/skerry/persistence/replication/peers"
)

// voterOptions are the command line of a voter: one node, without a front door and without members.
type voterOptions struct {
	node       uint
	dir        string
	commands   string // where the driver connects
	addresses  string // of all voters' peer ports, in the order of their ids
	partitions int
	small      bool // small segments and memtables, so that minutes see many flushes and truncations
	fault      string
}

// ready is what a voter prints, on a line of its own, when the driver may connect.
const ready = "ready"

// voter is the assembly of one node: state machine, log, peers, and a server for the driver.
type voter struct {
	opts   voterOptions
	store  *pebblestore.Store
	host   *replication.Host
	peers  *peers.Peers
	owners *owners
	logger *slog.Logger
}

// runVoter serves until standard input ends, which it does when the driver does. An error means that the process must end.
func runVoter(ctx context.Context, o voterOptions) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With(slog.Uint64("node", uint64(o.node)))
	v := &voter{opts: o, logger: logger, owners: newOwners(o.partitions)}
	commands, err := net.Listen("tcp", o.commands)
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	defer commands.Close()
	broken := make(chan error, 1)
	if err := v.open(broken); err != nil { //nolint:contextcheck // opening is not interrupted
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	serve := func(what string, run func() error) {
		running.Go(func() {
			if err := run(); err != nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	serve("log", func() error { return v.host.Run(ctx) })
	serve("peers", func() error { return v.peers.Run(ctx) })
	serve("commands", func() error { return v.serve(ctx, commands) })
	go func() { // ends with the process, at the latest
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel(nil)
	}()
	fmt.Println(ready)
	select {
	case <-ctx.Done():
	case err := <-broken:
		cancel(fmt.Errorf("store: %w", err))
	}
	running.Wait()
	err = context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, v.store.Close())
}

func (v *voter) open(broken chan<- error) (err error) {
	options := pebblestore.Options{
		Dir: filepath.Join(v.opts.dir, "state"), Partitions: v.opts.partitions, Logger: v.logger.With(slog.String("room", "store")),
		OnFatal: func(err error) { broken <- err },
	}
	logOptions := replication.Options{
		FS: vfs.Default, Dir: filepath.Join(v.opts.dir, "log"), Partitions: v.opts.partitions, Ownership: v.owners,
		Node: persistence.NodeID(v.opts.node), Logger: v.logger.With(slog.String("room", "log")),
	}
	if v.opts.small {
		options.MemTableBytes, options.CacheBytes = 1<<20, 8<<20
		logOptions.SegmentBytes, logOptions.MaxLogBytes = 1<<20, 8<<20
	}
	if logOptions.Faults, err = faultsOf(v.opts.fault); err != nil {
		return err
	}
	if v.store, err = pebblestore.Open(options); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.store.Close())
		}
	}()
	addresses := map[persistence.NodeID]string{}
	for i, address := range strings.Split(v.opts.addresses, ",") {
		id := persistence.NodeID(i + 1) //nolint:gosec // a handful
		addresses[id] = address
		logOptions.Voters = append(logOptions.Voters, id)
	}
	listener, err := net.Listen("tcp", addresses[logOptions.Node])
	if err != nil {
		return fmt.Errorf("listen for peers: %w", err)
	}
	hears := &handler{logger: v.logger}
	v.peers, err = peers.New(peers.Options{
		Node: logOptions.Node, Cluster: "torture", Listener: listener, Handler: hears, Insecure: true,
		Logger: v.logger.With(slog.String("room", "peers")),
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	v.peers.SetAddresses(addresses)
	logOptions.StateMachine, logOptions.Transport = v.store, v.peers
	if v.host, err = replication.Open(logOptions); err != nil {
		return errors.Join(err, listener.Close())
	}
	hears.host = v.host
	return nil
}

// faultsOf names what a mutation switches off. All but none must make the driver fail, or cannot be seen by a kill; docs/testing.md
// says which.
func faultsOf(name string) (replication.Faults, error) {
	switch name {
	case "":
		return replication.Faults{}, nil
	case "no-barrier":
		return replication.Faults{NoBarrier: true}, nil
	case "answer-before-append":
		return replication.Faults{AnswerBeforeAppend: true, SlowWrite: 2 * time.Millisecond}, nil
	case "answer-before-apply":
		return replication.Faults{AnswerBeforeApply: true}, nil
	case "truncate-too-far":
		return replication.Faults{TruncateTooFar: true}, nil
	case "skip-sync":
		return replication.Faults{SkipSync: true}, nil
	default:
		return replication.Faults{}, fmt.Errorf("no such fault: %q", name)
	}
}

// handler hands what peers say to the log. host is set before anything runs.
type handler struct {
	host    *replication.Host
	logger  *slog.Logger
	dropped atomic.Int64
}

func (h *handler) Receive(from persistence.NodeID, batch []byte) {
	if err := h.host.Receive(from, batch); err != nil && h.dropped.Add(1)%1000 == 1 {
		h.logger.LogAttrs(context.Background(), slog.LevelWarn, "batch dropped", slog.Any("err", err))
	}
}

func (h *handler) Serve(context.Context, persistence.NodeID, []byte, func([]byte) error) error {
	return errors.New("nothing is served here")
}

func (h *handler) Up(persistence.NodeID) {}

func (h *handler) Down(peer persistence.NodeID) { h.host.Suspect(peer) }

// Calls and CallsLost implement [peers.Handler]: there are none here.
func (h *handler) Calls(persistence.NodeID, []byte) {}

// CallsLost implements [peers.Handler].
func (h *handler) CallsLost(persistence.NodeID) {}

// owners are the partitions that this node owns, for the goroutines that serve the driver.
type owners struct {
	epochs []atomic.Pointer[persistence.Epoch] // by partition; nil when it is not owned here
}

func newOwners(partitions int) *owners {
	return &owners{epochs: make([]atomic.Pointer[persistence.Epoch], partitions)}
}

func (o *owners) Claimed(p persistence.Partition, epoch persistence.Epoch) { o.set(p, &epoch) }

func (o *owners) Lost(p persistence.Partition, _ persistence.Epoch) { o.set(p, nil) }

func (o *owners) set(p persistence.Partition, epoch *persistence.Epoch) {
	if int(p) < len(o.epochs) { // not the meta partition
		o.epochs[p].Store(epoch)
	}
}

func (o *owners) epoch(p persistence.Partition) (persistence.Epoch, bool) {
	if epoch := o.epochs[p].Load(); epoch != nil {
		return *epoch, true
	}
	return persistence.Epoch{}, false
}
