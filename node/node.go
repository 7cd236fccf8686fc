package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// ErrOpenDoor says that the node would listen beyond this machine while no API key exists.
var ErrOpenDoor = errors.New("everybody who reaches this machine could do everything")

// Options are what a node is made of beside its [Config]. The zero value is right for production.
type Options struct {
	// Logger gets everything that the node says. Default: silence.
	Logger *slog.Logger
	// Version is shown in the cluster's status. Default: "dev".
	Version string
	// FS holds the data directory. Default: the machine's.
	FS pebblestore.FS
	// OnReady is called once, when the node serves.
	OnReady func(Ready)
	// Faults switch off what a test wants to see missed. Never set them elsewhere.
	Faults replication.Faults
}

// Ready is what the ready line says: where the node serves.
type Ready struct {
	Ready  bool   `json:"ready"`
	Name   string `json:"name"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
	Peer   string `json:"peer"`   // "" while a cluster is one node
	Gossip string `json:"gossip"` // "" while a cluster is one node
	Admin  string `json:"admin"`
	Data   string `json:"data"`
}

// Node is one running Skerry. Make it with [Open], then call Run.
type Node struct {
	config Config // immutable after Open
	opts   Options
	log    *slog.Logger

	store     *pebblestore.Store
	journal   *replication.Host
	actors    *actors.Host
	gateway   *gateway.Server
	owners    *owners
	health    *health
	listeners gateway.Listeners

	fatal chan error // 1: the store's disk failed in the background
}

// Open reads the store and the log of the data directory, or makes them, and listens on every port; nothing is served
// before Run. It returns every problem of the configuration at once, an error that wraps [pebblestore.ErrLocked] when
// another process has the directory, and [persistence.ErrNewer] when a newer Skerry wrote it. A Node that was opened must
// be run.
func Open(config Config, opts Options) (_ *Node, err error) {
	if err = config.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.FS == nil {
		opts.FS = pebblestore.DiskFS()
	}
	if opts.Version == "" {
		opts.Version = "dev"
	}
	n := &Node{
		config: config, opts: opts, log: opts.Logger.With(slog.String("node", config.Name)),
		owners: newOwners(), fatal: make(chan error, 1),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.closeAll())
		}
	}()
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	if err = n.openStorage(m); err != nil {
		return nil, err
	}
	if err = n.openActors(m); err != nil {
		return nil, err
	}
	n.health = &health{journal: n.journal, owners: n.owners, stats: n.actors.Stats}
	if err = m.watch(n); err != nil {
		return nil, err
	}
	if err = n.openGateway(registry); err != nil {
		return nil, err
	}
	return n, n.listen()
}

// The directories in the data directory.
const (
	storeDir = "store"
	logDir   = "log"
)

func (n *Node) openStorage(m *metrics) (err error) {
	n.store, err = pebblestore.Open(pebblestore.Options{
		FS: n.opts.FS, Dir: filepath.Join(n.config.Data, storeDir), Partitions: n.config.Partitions,
		CacheBytes: int64(n.config.StoreCache), MemTableBytes: uint64(n.config.StoreMemTable), //nolint:gosec // validated: positive
		Logger: n.log,
		OnFatal: func(err error) {
			select {
			case n.fatal <- err:
			default: // the first one ends the process already
			}
		},
	})
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.config.Data, err)
	}
	if got := n.store.Partitions(); got != n.config.Partitions {
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "the store keeps its number of partitions",
			slog.Int("partitions", got), slog.Int("asked", n.config.Partitions))
	}
	n.owners.expect(n.store.Partitions())
	n.journal, err = replication.Open(replication.Options{
		FS: n.opts.FS, Dir: filepath.Join(n.config.Data, logDir), Partitions: n.store.Partitions(),
		StateMachine: n.store, Ownership: n.owners, Logger: n.log, Events: m.logEvents(),
		SegmentBytes: int64(n.config.LogSegment), MaxLogBytes: int64(n.config.LogMax), Faults: n.opts.Faults,
	})
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.config.Data, err)
	}
	return nil
}

func (n *Node) openActors(m *metrics) (err error) {
	n.actors, err = actors.New(actors.Options{
		Journal: n.journal, Storage: n.store, Partitions: n.store.Partitions(), Rules: n.config.rulesOf,
		Describe: gateway.Describe, Logger: n.log, Events: m.actorEvents(),
		AutosaveInterval: n.config.AutosaveAfter, JournalInterval: n.config.JournalAfter,
		PassivateAfter: n.config.PassivateAfter, EncodeIdleAfter: n.config.EncodeIdleAfter,
		MemoryLimitBytes: int64(n.config.MemoryLimit), MailboxSize: n.config.MailboxSize, MaxCalls: n.config.MaxCalls,
		MaxLoads: n.config.MaxLoads, ServerTimeout: n.config.ServerTimeout,
	})
	if err != nil {
		return fmt.Errorf("start actors: %w", err)
	}
	n.owners.follow(n.actors)
	return nil
}

func (n *Node) openGateway(registry *prometheus.Registry) (err error) {
	n.gateway, err = gateway.New(gateway.Options{
		Entities: n.actors, Admin: &admin{node: n},
		AllowAnonymous: n.config.Insecure || n.private(),
		Certificate:    n.config.TLSCert, PrivateKey: n.config.TLSKey,
		Health: n.health.check, Registry: registry, Logger: n.log,
		MaxInFlight: n.config.StreamInFlight, MaxConnections: n.config.MaxConnections, MaxCalls: n.config.MaxCalls,
		RequestsPerSecond: n.config.RequestsPerSecond, Burst: n.config.RequestBurst, Timeout: n.config.RequestTimeout,
		DrainTimeout: n.config.ShutdownTimeout / 4, // the rest is for saving
	})
	if err != nil {
		return fmt.Errorf("start the front door: %w", err)
	}
	return nil
}

// private reports whether only this machine reaches the API.
func (n *Node) private() bool { return onLoopback(n.config.HTTP) && onLoopback(n.config.GRPC) }

func (n *Node) listen() error {
	for _, l := range []struct {
		name, addr string
		at         *net.Listener
	}{
		{"http", n.config.HTTP, &n.listeners.HTTP},
		{"grpc", n.config.GRPC, &n.listeners.GRPC},
		{"admin", n.config.Admin, &n.listeners.Admin},
	} {
		listener, err := net.Listen("tcp", l.addr)
		if err != nil {
			return fmt.Errorf("listen for %s (another address: --%s HOST:PORT, port 0 picks a free one): %w", l.name, l.name, err)
		}
		*l.at = listener
	}
	return nil
}

// Ready says where the node listens.
func (n *Node) Ready() Ready {
	data, err := filepath.Abs(n.config.Data)
	if err != nil {
		data = n.config.Data
	}
	return Ready{
		Ready: true, Name: n.config.Name, Data: data, HTTP: n.listeners.HTTP.Addr().String(),
		GRPC: n.listeners.GRPC.Addr().String(), Admin: n.listeners.Admin.Addr().String(),
	}
}

// closeAll gives back what Open took, in the reverse order.
func (n *Node) closeAll() error {
	var problems []error
	for _, l := range []net.Listener{n.listeners.HTTP, n.listeners.GRPC, n.listeners.Admin} {
		if l != nil {
			_ = l.Close() // the front door may have closed it
		}
	}
	for _, c := range []io.Closer{n.journal, n.store} {
		switch c := c.(type) {
		case *replication.Host:
			if c != nil {
				problems = append(problems, c.Close())
			}
		case *pebblestore.Store:
			if c != nil {
				problems = append(problems, c.Close())
			}
		}
	}
	return errors.Join(problems...)
}

// owners passes ownership on to the actors, and knows the epochs. The log is opened before the actors, which need it.
type owners struct {
	mu struct {
		sync.Mutex
		epochs   map[persistence.Partition]persistence.Epoch
		expected int
		next     persistence.Ownership
	}
	all chan struct{} // closed when every partition was claimed once
}

func newOwners() *owners {
	o := &owners{all: make(chan struct{})}
	o.mu.epochs = make(map[persistence.Partition]persistence.Epoch)
	return o
}

// expect says how many partitions there are beside the meta partition.
func (o *owners) expect(partitions int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.expected = partitions + 1
}

// follow says who hears of ownership; to be called before the log runs.
func (o *owners) follow(next persistence.Ownership) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.next = next
}

// Claimed implements [persistence.Ownership].
func (o *owners) Claimed(p persistence.Partition, epoch persistence.Epoch) {
	o.next().Claimed(p, epoch)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.epochs[p] = epoch
	if len(o.mu.epochs) == o.mu.expected {
		select {
		case <-o.all:
		default:
			close(o.all)
		}
	}
}

// Lost implements [persistence.Ownership].
func (o *owners) Lost(p persistence.Partition, epoch persistence.Epoch) {
	o.mu.Lock()
	if o.mu.epochs[p] == epoch {
		delete(o.mu.epochs, p)
	}
	o.mu.Unlock()
	o.next().Lost(p, epoch)
}

func (o *owners) next() persistence.Ownership {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.next
}

// epoch returns the ownership under which to propose in p, or persistence.ErrNotOwner.
func (o *owners) epoch(p persistence.Partition) (persistence.Epoch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	epoch, ok := o.mu.epochs[p]
	if !ok {
		return epoch, fmt.Errorf("partition %d: %w", p, persistence.ErrNotOwner)
	}
	return epoch, nil
}

// elapsed is for logs: whole milliseconds.
func elapsed(since time.Time) time.Duration { return time.Since(since).Round(time.Millisecond) }
