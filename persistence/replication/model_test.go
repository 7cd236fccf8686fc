package replication

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
)

// model is the simplest correct state machine: what was applied is in memory, and a crash keeps what was flushed.
type model struct {
	mu       sync.Mutex
	live     map[persistence.Partition]*modelPartition
	flushed  map[persistence.Partition]*modelPartition
	rng      *rand.Rand
	failNext error                               // Apply answers this
	failCopy error                               // CopyOut answers this
	blocked  chan struct{}                       // Apply waits for it to be closed
	onApply  func(batch []persistence.Committed) // called with every batch
}

type modelPartition struct {
	index, term uint64
	epoch       persistence.Epoch
	entities    map[string]persistence.Seq
	data        map[string][]byte // of the newest entry
	conf        []byte
}

func (p *modelPartition) clone() *modelPartition {
	c := *p
	c.entities, c.data = maps.Clone(p.entities), maps.Clone(p.data)
	return &c
}

func clonePartitions(m map[persistence.Partition]*modelPartition) map[persistence.Partition]*modelPartition {
	c := make(map[persistence.Partition]*modelPartition, len(m))
	for p, state := range m {
		c[p] = state.clone()
	}
	return c
}

func newModel(seed uint64) *model {
	return &model{
		live: map[persistence.Partition]*modelPartition{}, flushed: map[persistence.Partition]*modelPartition{},
		rng: rand.New(rand.NewPCG(seed, 1)),
	}
}

// crashed returns what is left after a power cut. The caller holds mu.
func (m *model) crashedLocked(seed uint64) *model {
	c := newModel(seed)
	c.live, c.flushed = clonePartitions(m.flushed), clonePartitions(m.flushed)
	return c
}

func (m *model) at(p persistence.Partition) *modelPartition {
	if m.live[p] == nil {
		m.live[p] = &modelPartition{entities: map[string]persistence.Seq{}, data: map[string][]byte{}}
	}
	return m.live[p]
}

func (m *model) Apply(batch []persistence.Committed) ([][]error, error) {
	if m.blocked != nil {
		<-m.blocked
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failNext != nil {
		return nil, m.failNext
	}
	results := make([][]error, len(batch))
	for i, c := range batch {
		p := m.at(c.Partition)
		if c.Index <= p.index {
			continue
		}
		if c.Index != p.index+1 {
			return nil, fmt.Errorf("partition %d: index %d after %d", c.Partition, c.Index, p.index)
		}
		p.index, p.term = c.Index, c.Term
		if len(c.Conf) > 0 {
			p.conf = bytes.Clone(c.Conf)
		}
		if len(c.Data) == 0 {
			continue
		}
		proposal, err := persistence.DecodeProposal(c.Data)
		if err != nil {
			return nil, err
		}
		if proposal.Claim {
			p.epoch = persistence.Epoch{Generation: proposal.Generation, Term: c.Term}
		}
		for _, change := range proposal.Changes {
			results[i] = append(results[i], p.apply(change))
		}
	}
	if m.onApply != nil {
		m.onApply(batch)
	}
	if m.rng.IntN(100) == 0 {
		m.flushed = clonePartitions(m.live)
	}
	return results, nil
}

func (p *modelPartition) apply(c *persistence.Change) error {
	if c.Epoch != p.epoch {
		return persistence.ErrFenced
	}
	for _, e := range c.Entries {
		switch last := p.entities[c.Key.ID]; {
		case e.Seq <= last:
			return persistence.ErrDuplicate
		case e.Seq != last+1:
			return persistence.ErrGap
		}
		p.entities[c.Key.ID] = e.Seq
		p.data[c.Key.ID] = bytes.Clone(e.Data)
	}
	return nil
}

func (m *model) Applied(p persistence.Partition) (index, term uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at(p).index, m.at(p).term, nil
}

func (m *model) Durable(p persistence.Partition) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.flushed[p] == nil {
		return 0, nil
	}
	return m.flushed[p].index, nil
}

func (m *model) Conf(p persistence.Partition) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.at(p).conf), nil
}

func (m *model) Flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushed = clonePartitions(m.live)
	return nil
}

// last is the newest entry of an entity that was applied.
func (m *model) last(p persistence.Partition, id string) persistence.Seq {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at(p).entities[id]
}

// owners records what the log says of ownership.
type owners struct {
	mu      sync.Mutex
	epochs  map[persistence.Partition]persistence.Epoch
	history []string
	want    int
	all     chan struct{} // closed when want partitions are owned
}

func newOwners(want int) *owners {
	return &owners{epochs: map[persistence.Partition]persistence.Epoch{}, want: want, all: make(chan struct{})}
}

func (o *owners) Claimed(p persistence.Partition, e persistence.Epoch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.history = append(o.history, fmt.Sprintf("%d claimed %v", p, e))
	o.epochs[p] = e
	if len(o.epochs) == o.want {
		close(o.all)
	}
}

func (o *owners) Lost(p persistence.Partition, e persistence.Epoch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.history = append(o.history, fmt.Sprintf("%d lost %v", p, e))
	delete(o.epochs, p)
	o.want = -1
}

func (o *owners) epoch(p persistence.Partition) persistence.Epoch {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epochs[p]
}

func (o *owners) said() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.history)
}

// node is a running host with what it drives.
type node struct {
	*Host
	model  *model
	owners *owners
	run    chan error
	stop   context.CancelFunc
}

// testPartitions keeps the tests small; the meta partition comes on top.
const testPartitions = 3

// testOptions are small enough to meet every bound often.
func testOptions(fs vfs.FS, m *model) Options {
	return Options{
		FS: fs, Dir: "data/log", Partitions: testPartitions, StateMachine: m, Ownership: newOwners(testPartitions + 1),
		SegmentBytes: 16 << 10, MaxLogBytes: 64 << 10, TickInterval: 5 * time.Millisecond,
	}
}

// open opens and runs a host, and waits until it owns every partition or has failed.
func open(tb testing.TB, opts Options) (*node, error) {
	tb.Helper()
	h, err := Open(opts)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(tb.Context())
	n := &node{Host: h, run: make(chan error, 1), stop: stop}
	n.model, _ = opts.StateMachine.(*model)
	n.owners, _ = opts.Ownership.(*owners)
	go func() { n.run <- h.Run(ctx) }()
	tb.Cleanup(func() { stop(); <-h.ended })
	select {
	case <-n.owners.all:
	case <-h.ended:
	case <-time.After(20 * time.Second):
		tb.Fatal("partitions were not claimed")
	}
	return n, nil
}

// mustOpen is open for a host that is expected to come up.
func mustOpen(tb testing.TB, opts Options) *node {
	tb.Helper()
	n, err := open(tb, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// end waits for Run.
func (n *node) end(tb testing.TB) error {
	tb.Helper()
	select {
	case err := <-n.run:
		return err
	case <-time.After(20 * time.Second):
		tb.Fatal("Run did not return")
		return nil
	}
}

// change is an entity's next entry.
func (n *node) change(p persistence.Partition, id string, seq persistence.Seq, data []byte) *persistence.Change {
	return &persistence.Change{
		Key:   persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: id},
		Epoch: n.owners.epoch(p), Entries: []persistence.Entry{{Seq: seq, Data: data}},
	}
}

// do proposes a change and waits for its outcome.
func (n *node) do(tb testing.TB, p persistence.Partition, c *persistence.Change) error {
	tb.Helper()
	outcome := make(chan error, 1)
	if err := n.Propose(p, c, func(err error) { outcome <- err }); err != nil {
		return err
	}
	select {
	case err := <-outcome:
		return err
	case <-time.After(20 * time.Second):
		tb.Fatal("a change was never done")
		return nil
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
