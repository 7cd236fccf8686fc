package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// liveNodes are hosts that run, with stores and with goroutines of their own, on a network inside of the process.
type liveNodes struct {
	t     *testing.T
	ctx   context.Context // of what the network does
	nodes map[persistence.NodeID]*liveNode
	loads sync.WaitGroup
	// served counts the copies that were sent whole.
	served atomic.Int64
}

type liveNode struct {
	*Host
	w     *liveNodes
	id    persistence.NodeID
	store *pebblestore.Store
	run   chan error
	mail  chan liveMail
	read  chan struct{} // closed when nobody reads mail any more
	once  sync.Once

	mu    sync.Mutex
	owned map[persistence.Partition]persistence.Epoch
	gone  bool
}

type liveMail struct {
	from  persistence.NodeID
	batch []byte
}

func (n *liveNode) Claimed(p persistence.Partition, e persistence.Epoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.owned[p]; ok {
		n.w.t.Errorf("node %d claims partition %d under %v, and owns it under %v", n.id, p, e, old)
	}
	n.owned[p] = e
}

func (n *liveNode) Lost(p persistence.Partition, e persistence.Epoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.owned[p] != e {
		n.w.t.Errorf("node %d loses partition %d under %v, and owns it under %v", n.id, p, e, n.owned[p])
	}
	delete(n.owned, p)
}

func (n *liveNode) epoch(p persistence.Partition) (persistence.Epoch, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.owned[p]
	return e, ok
}

// Send implements [Transport]: what does not fit is lost.
func (n *liveNode) Send(to persistence.NodeID, batch []byte) {
	select {
	case n.w.nodes[to].mail <- liveMail{n.id, batch}:
	default:
	}
}

// Fetch implements [Fetcher].
func (n *liveNode) Fetch(ctx context.Context, from persistence.NodeID, request []byte, take func(frame []byte) error) error {
	source := n.w.nodes[from]
	source.mu.Lock()
	gone := source.gone
	source.mu.Unlock()
	if gone {
		return errors.New("it is not there")
	}
	err := source.Serve(ctx, request, func(frame []byte) error { return take(bytes.Clone(frame)) })
	if err == nil {
		n.w.served.Add(1)
	}
	return err
}

func newLiveNodes(t *testing.T, count persistence.NodeID, first ...persistence.NodeID) *liveNodes {
	t.Helper()
	w := &liveNodes{t: t, ctx: t.Context(), nodes: map[persistence.NodeID]*liveNode{}}
	for id := persistence.NodeID(1); id <= count; id++ {
		n := &liveNode{
			w: w, id: id, owned: map[persistence.Partition]persistence.Epoch{}, run: make(chan error, 1),
			mail: make(chan liveMail, 256), read: make(chan struct{}),
		}
		fs := vfs.NewMem()
		var err error
		n.store, err = pebblestore.Open(pebblestore.Options{FS: fs, Dir: "data/state", Partitions: testPartitions, MemTableBytes: 256 << 10, CacheBytes: 1 << 20})
		w.must(err)
		opts := testOptions(fs, nil)
		opts.StateMachine, opts.Ownership, opts.Node, opts.Voters, opts.Transport, opts.Fetcher = n.store, n, id, first, n, n
		opts.TickInterval = 20 * time.Millisecond
		n.Host, err = Open(opts)
		w.must(err)
		w.nodes[id] = n
	}
	for _, n := range w.nodes {
		go func() {
			defer close(n.read)
			for m := range n.mail {
				if err := n.Receive(m.from, m.batch); err != nil && !errors.Is(err, persistence.ErrQueueFull) {
					t.Errorf("node %d: %v", n.id, err)
				}
			}
		}()
		go func() { n.run <- n.Run(t.Context()) }()
	}
	return w
}

// end closes a node that others may go on sending to.
func (n *liveNode) end() {
	n.once.Do(func() {
		n.mu.Lock()
		n.gone = true
		n.mu.Unlock()
		if err := errors.Join(n.Close(), <-n.run, n.store.Close()); err != nil {
			n.w.t.Errorf("node %d ends with %v", n.id, err)
		}
	})
}

func (w *liveNodes) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// until looks again and again for what must come to hold.
func (w *liveNodes) until(what string, holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(60 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			for id, n := range w.nodes {
				w.t.Logf("node %d: %+v", id, n.Status())
			}
			w.t.Fatalf("%s: not after a minute", what)
		}
	}
}

// owner is p's with the greatest epoch, nil when there is none.
func (w *liveNodes) owner(p persistence.Partition) (owner *liveNode, under persistence.Epoch) {
	for _, n := range w.nodes {
		if e, ok := n.epoch(p); ok && (owner == nil || e.Compare(under) > 0) {
			owner, under = n, e
		}
	}
	return owner, under
}

// change asks until p's replicas are as wanted and caught up.
func (w *liveNodes) change(p persistence.Partition, changes ...ReplicaChange) {
	w.t.Helper()
	w.until(fmt.Sprint("replicas of partition ", p, ": ", changes), func() bool {
		n, _ := w.owner(p)
		if n == nil {
			return false
		}
		status := n.Status()[p]
		left := 0
		for _, c := range changes {
			role := NoReplica
			behind := false
			for _, r := range status.Replicas {
				if r.Node == c.Node {
					role, behind = r.Role, r.Match+1000 < status.Last
				}
			}
			if role != c.Role || behind {
				left++
			}
		}
		if left == 0 {
			return true
		}
		if err := n.ChangeReplicas(p, changes, func(error) {}); err != nil && !errors.Is(err, persistence.ErrNotOwner) {
			w.t.Fatal(err)
		}
		return false
	})
}

// handOver asks until another node owns p.
func (w *liveNodes) handOver(p persistence.Partition, to persistence.NodeID) {
	w.t.Helper()
	w.until(fmt.Sprint("node ", to, " owns partition ", p), func() bool {
		n, _ := w.owner(p)
		if n != nil && n.id != to {
			_ = n.HandOver(p, to)
		}
		return n != nil && n.id == to
	})
}

// liveWriter is an entity's one writer, wherever its partition's owner is.
type liveWriter struct {
	w     *liveNodes
	p     persistence.Partition
	key   persistence.Key
	acked atomic.Uint64
}

// write appends until ctx ends. After everything that is not a plain yes it loads the entity again.
func (l *liveWriter) write(ctx context.Context) {
	var seq persistence.Seq
	var n *liveNode
	var under persistence.Epoch
	for ctx.Err() == nil {
		if n == nil {
			if n, under = l.w.owner(l.p); n != nil {
				seq = l.load(ctx, n, under, &n)
			}
			if n == nil {
				select {
				case <-ctx.Done():
				case <-time.After(time.Millisecond):
				}
			}
			continue
		}
		data, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, make([]byte, 200))
		if err != nil {
			l.w.t.Error(err)
			return
		}
		outcome := make(chan error, 1)
		err = n.Propose(l.p, &persistence.Change{Key: l.key, Epoch: under, Entries: []persistence.Entry{{Seq: seq + 1, Data: data}}}, func(err error) { outcome <- err })
		if err == nil {
			err = <-outcome
		}
		switch {
		case err == nil:
			seq++
			l.acked.Store(uint64(seq))
		case errors.Is(err, persistence.ErrNotOwner), errors.Is(err, persistence.ErrOutcomeUnknown), errors.Is(err, persistence.ErrFenced), errors.Is(err, persistence.ErrClosed):
			n = nil
		case !errors.Is(err, persistence.ErrQueueFull):
			l.w.t.Errorf("%v: seq %d: %v", l.key, seq+1, err)
			return
		}
	}
}

// load reads behind a barrier, and clears keep when n does not own the partition any more.
func (l *liveWriter) load(ctx context.Context, n *liveNode, under persistence.Epoch, keep **liveNode) persistence.Seq {
	acked := persistence.Seq(l.acked.Load())
	owns := make(chan error, 1)
	err := n.Barrier(l.p, under, func(err error) { owns <- err })
	if err == nil {
		err = <-owns
	}
	if err != nil {
		*keep = nil
		return 0
	}
	loaded, err := n.store.Load(ctx, l.p, l.key)
	switch {
	case errors.Is(err, persistence.ErrAbsent) && acked == 0:
		return 0
	case ctx.Err() != nil, errors.Is(err, persistence.ErrClosed):
		*keep = nil
		return 0
	case err != nil:
		l.w.t.Errorf("node %d under %v: load %v: %v", n.id, under, l.key, err)
		return 0
	case loaded.Head.Last < acked:
		l.w.t.Errorf("node %d under %v has seq %d, %d was acknowledged before", n.id, under, loaded.Head.Last, acked)
	}
	return loaded.Head.Last
}

// Goal: hosts that run, with real stores, grow, hand over, shrink and take a node back under load; nothing that was acknowledged is
// lost, no read behind a barrier is stale, each ends when it is told to, and nothing stays behind.
func TestRunningHosts(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	w := newLiveNodes(t, 3, 1)
	defer func() {
		for _, n := range w.nodes {
			n.end()
		}
		for _, n := range w.nodes {
			close(n.mail)
			<-n.read
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	defer w.loads.Wait()
	defer stop()
	var writers []*liveWriter
	for i := range 8 {
		l := &liveWriter{w: w, p: persistence.Partition(i % 2), key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: fmt.Sprint("p", i)}}
		writers = append(writers, l)
		w.loads.Go(func() { l.write(ctx) })
		w.loads.Go(func() { l.check(ctx) })
	}
	for p := range persistence.Partition(2) {
		w.change(p, ReplicaChange{2, Learner}, ReplicaChange{3, Learner})
		w.change(p, ReplicaChange{2, Voter}, ReplicaChange{3, Voter})
	}
	if w.served.Load() == 0 {
		t.Error("no copy was fetched")
	}
	w.handOver(0, 2)
	w.handOver(1, 3)
	w.change(0, ReplicaChange{1, NoReplica})
	w.until("node 1 gave up partition 0", func() bool { return w.nodes[1].Status()[0].Applied == 0 })
	w.change(0, ReplicaChange{1, Learner})
	w.change(0, ReplicaChange{1, Voter})
	for _, l := range writers {
		before := l.acked.Load()
		w.until("writing goes on", func() bool { return l.acked.Load() > before+10 })
	}
	w.nodes[2].end() // under load: the others go on
	w.nodes[1].Suspect(2)
	w.nodes[3].Suspect(2)
	for _, l := range writers {
		before := l.acked.Load()
		w.until("writing goes on without node 2", func() bool { return l.acked.Load() > before+10 })
	}
	stop()
	w.loads.Wait()
	for _, l := range writers {
		for _, id := range []persistence.NodeID{1, 3} {
			w.until("every replica has what was acknowledged", func() bool {
				loaded, err := w.nodes[id].store.Load(t.Context(), l.p, l.key)
				return err == nil && uint64(loaded.Head.Last) >= l.acked.Load()
			})
		}
	}
}

// check reads behind barriers, at every node that believes to own the partition.
func (l *liveWriter) check(ctx context.Context) {
	for ctx.Err() == nil {
		for _, n := range l.w.nodes {
			if under, ok := n.epoch(l.p); ok {
				l.load(ctx, n, under, &n)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}
