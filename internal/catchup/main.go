// Catchup measures how a replica that lost everything comes back while its partition is used: three nodes in one process,
// each with its own directory and real connections over loopback, a partition of so many bytes, durable appends all the
// time, and the disk of a follower wiped. The node comes back under a new id, learns by a partition copy, and votes again.
// It prints how long that took and what the owner's callers saw before, while and after.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

type options struct {
	megabytes, inflight, rate int
	around                    time.Duration
	dir                       string
}

func main() {
	var o options
	flag.IntVar(&o.megabytes, "mb", 1024, "size of the partition, in MiB")
	flag.IntVar(&o.inflight, "inflight", 16, "durable appends on their way at any time")
	flag.IntVar(&o.rate, "rate", 64, "limit of the copy, in MiB a second")
	flag.DurationVar(&o.around, "around", 10*time.Second, "how long to measure before and after")
	flag.StringVar(&o.dir, "dir", "", "where to put the nodes; default: a directory that is removed afterwards")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "catchup:", err)
		os.Exit(1)
	}
}

// cluster is the nodes that are there.
type cluster struct {
	o         options
	nodes     map[persistence.NodeID]*node
	addresses map[persistence.NodeID]string
}

func run(ctx context.Context, o options) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "skerry-catchup-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	c := &cluster{o: o, nodes: map[persistence.NodeID]*node{}, addresses: map[persistence.NodeID]string{}}
	defer func() {
		for _, n := range c.nodes {
			err = errors.Join(err, n.close())
		}
	}()
	if err := c.begin(1, 2, 3); err != nil { //nolint:contextcheck // nodes live until they are closed, not until ctx ends
		return err
	}
	owner, err := c.owner(ctx)
	if err != nil {
		return err
	}
	if err := c.fill(ctx, owner); err != nil {
		return err
	}
	return c.measure(ctx, owner)
}

// begin makes the first nodes, which all vote.
func (c *cluster) begin(ids ...persistence.NodeID) error {
	for _, id := range ids {
		if err := c.add(id, ids); err != nil {
			return err
		}
	}
	return nil
}

// add starts a node on an empty directory and tells everybody where it is.
func (c *cluster) add(id persistence.NodeID, voters []persistence.NodeID) error {
	listener, err := listen()
	if err != nil {
		return err
	}
	n := &node{id: id, dir: filepath.Join(c.o.dir, fmt.Sprint("node", id)), address: listener.Addr().String()}
	if err := os.MkdirAll(n.dir, 0o750); err != nil {
		return err
	}
	c.addresses[id] = n.address
	if err := n.start(listener, c.addresses, voters, c.o.rate<<20); err != nil {
		return err
	}
	c.nodes[id] = n
	for _, other := range c.nodes {
		other.peers.SetAddresses(c.addresses)
	}
	return nil
}

// owner waits for the partition's.
func (c *cluster) owner(ctx context.Context) (*node, error) {
	var found *node
	err := poll(ctx, 30*time.Second, func() bool {
		for _, n := range c.nodes {
			if _, ok := n.epoch(0); ok {
				found = n
				return true
			}
		}
		return false
	})
	return found, err
}

// poll waits until ok, with a deadline.
func poll(ctx context.Context, limit time.Duration, ok func() bool) error {
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("nothing came of it in %v", limit)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// valueBytes is the payload of one entry while the partition is filled; random, so that nothing is compressed away.
const valueBytes = 60 << 10

// fill writes the partition up to its size, and prints how far it is.
func (c *cluster) fill(ctx context.Context, owner *node) error {
	rng := rand.NewChaCha8([32]byte{1})
	value := make([]byte, valueBytes)
	count := c.o.megabytes << 20 / valueBytes
	slots := make(chan struct{}, 32)
	failed := make(chan error, 1)
	begun := time.Now()
	for i := range count {
		if _, err := rng.Read(value); err != nil {
			return err
		}
		framed, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, value)
		if err != nil {
			return err
		}
		select {
		case slots <- struct{}{}:
		case err = <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		epoch, _ := owner.epoch(0)
		err = owner.host.Propose(0, entry(fmt.Sprint("fill", i), 1, epoch, framed), func(err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
			<-slots
		})
		if err != nil {
			return err
		}
		if i%1000 == 999 {
			fmt.Fprintf(os.Stderr, "\rfilling: %d of %d MiB", (i+1)*valueBytes>>20, c.o.megabytes)
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	fmt.Fprintf(os.Stderr, "\rfilled %d MiB on three voters in %v\n", c.o.megabytes, time.Since(begun).Round(time.Second))
	return nil
}

func entry(id string, seq persistence.Seq, epoch persistence.Epoch, data []byte) *persistence.Change {
	return &persistence.Change{
		Key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: id}, Epoch: epoch,
		Entries: []persistence.Entry{{Seq: seq, Data: data}},
	}
}

// phases are what the callers' latencies are told apart by.
const (
	before = iota
	while
	after
	phases
)

// load is callers that append 50 bytes durably, one after another each.
type load struct {
	owner *node
	phase atomic.Int32
	stop  chan struct{}
	wait  sync.WaitGroup

	mu     sync.Mutex
	took   [phases]*hdrhistogram.Histogram
	since  [phases + 1]time.Time
	failed error
}

func startLoad(owner *node, inflight int) (*load, error) {
	l := &load{owner: owner, stop: make(chan struct{})}
	for i := range l.took {
		l.took[i] = hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	}
	framed, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, make([]byte, 50))
	if err != nil {
		return nil, err
	}
	l.since[before] = time.Now()
	for i := range inflight {
		l.wait.Go(func() { l.call(fmt.Sprint("caller", i), framed) })
	}
	return l, nil
}

// call is one caller.
func (l *load) call(id string, framed []byte) {
	done := make(chan error, 1)
	for seq := persistence.Seq(1); ; seq++ {
		select {
		case <-l.stop:
			return
		default:
		}
		epoch, _ := l.owner.epoch(0)
		begun := time.Now()
		err := l.owner.host.Propose(0, entry(id, seq, epoch, framed), func(err error) { done <- err })
		if err == nil {
			err = <-done
		}
		l.mu.Lock()
		if err != nil {
			l.failed = cmp.Or(l.failed, fmt.Errorf("%s seq %d: %w", id, seq, err))
			l.mu.Unlock()
			return
		}
		_ = l.took[l.phase.Load()].RecordValue(time.Since(begun).Microseconds()) // a minute is its limit
		l.mu.Unlock()
	}
}

func (l *load) enter(phase int32) {
	l.phase.Store(phase)
	l.since[phase] = time.Now()
}

// measure wipes a follower under load and waits for it to vote again.
func (c *cluster) measure(ctx context.Context, owner *node) error {
	l, err := startLoad(owner, c.o.inflight)
	if err != nil {
		return err
	}
	defer l.wait.Wait()
	ended := sync.OnceFunc(func() { close(l.stop) })
	defer ended()
	if err := pause(ctx, c.o.around); err != nil {
		return err
	}
	wiped := owner.id%3 + 1
	if err := errors.Join(c.nodes[wiped].close(), os.RemoveAll(c.nodes[wiped].dir)); err != nil {
		return err
	}
	delete(c.nodes, wiped)
	delete(c.addresses, wiped)
	const fresh = 4
	if err := c.add(fresh, []persistence.NodeID{1, 2, 3}); err != nil { //nolint:contextcheck // as in begin
		return err
	}
	l.enter(while)
	if err := c.change(ctx, owner, replication.ReplicaChange{Node: fresh, Role: replication.Learner}, replication.ReplicaChange{Node: wiped}); err != nil {
		return fmt.Errorf("a learner in the place of node %d: %w", wiped, err)
	}
	if err := poll(ctx, time.Hour, func() bool { return caughtUp(owner, fresh) }); err != nil {
		return err
	}
	copied := time.Since(l.since[while])
	l.enter(after)
	if err := c.change(ctx, owner, replication.ReplicaChange{Node: fresh, Role: replication.Voter}); err != nil {
		return err
	}
	if err := pause(ctx, c.o.around); err != nil {
		return err
	}
	ended()
	l.wait.Wait()
	l.since[phases] = time.Now()
	if l.failed != nil {
		return l.failed
	}
	c.report(l, copied)
	return c.compare(ctx, owner, c.nodes[fresh])
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change asks until the changes hold.
func (c *cluster) change(ctx context.Context, owner *node, changes ...replication.ReplicaChange) error {
	var last error
	err := poll(ctx, time.Minute, func() bool {
		if holds(owner, changes) {
			return true
		}
		decided := make(chan error, 1)
		if last = owner.host.ChangeReplicas(0, changes, func(err error) { decided <- err }); last == nil {
			last = <-decided
		}
		return false
	})
	return errors.Join(err, last)
}

func holds(owner *node, changes []replication.ReplicaChange) bool {
	replicas := owner.host.Status()[0].Replicas
	for _, c := range changes {
		i := slices.IndexFunc(replicas, func(r replication.Replica) bool { return r.Node == c.Node })
		if i < 0 != (c.Role == replication.NoReplica) || i >= 0 && replicas[i].Role != c.Role {
			return false
		}
	}
	return true
}

// caughtUp reports whether a replica has what the owner had a second ago.
func caughtUp(owner *node, id persistence.NodeID) bool {
	s := owner.host.Status()[0]
	i := slices.IndexFunc(s.Replicas, func(r replication.Replica) bool { return r.Node == id })
	own := slices.IndexFunc(s.Replicas, func(r replication.Replica) bool { return r.Node == owner.id })
	return i >= 0 && own >= 0 && s.Replicas[i].Match > 0 && s.Replicas[i].Match+100 >= s.Replicas[own].Match
}

func (c *cluster) report(l *load, copied time.Duration) {
	fmt.Printf("a follower of %d MiB was wiped: caught up by a copy in %.1f s (%.0f MiB/s; limit %d)\n",
		c.o.megabytes, copied.Seconds(), float64(c.o.megabytes)/copied.Seconds(), c.o.rate)
	fmt.Printf("| durable appends, %d in flight | a second | p50 | p99 | slowest |\n|---|---|---|---|---|\n", c.o.inflight)
	for phase, name := range []string{"before", "while it is copied", "after"} {
		h := l.took[phase]
		ms := func(us int64) string { return fmt.Sprintf("%.2f ms", float64(us)/1000) }
		fmt.Printf("| %s | %.0f | %s | %s | %s |\n", name, float64(h.TotalCount())/l.since[phase+1].Sub(l.since[phase]).Seconds(),
			ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(99)), ms(h.Max()))
	}
}

// compare fails unless the new replica has every entity as the owner has it.
func (c *cluster) compare(ctx context.Context, owner, fresh *node) error {
	last := owner.host.Status()[0].Applied
	if err := poll(ctx, 30*time.Second, func() bool { return fresh.host.Status()[0].Applied >= last }); err != nil {
		return err
	}
	count := 0
	for after := ""; ; {
		ids, err := owner.store.Entities(ctx, 0, "main", persistence.KindPlayer, after, 1000)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			break
		}
		for _, id := range ids {
			key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: id}
			want, err := owner.store.Load(ctx, 0, key)
			if err != nil {
				return err
			}
			got, err := fresh.store.Load(ctx, 0, key)
			if err != nil {
				return fmt.Errorf("%s on the new replica: %w", id, err)
			}
			same := func(a, b persistence.Entry) bool { return a.Seq == b.Seq && string(a.Data) == string(b.Data) }
			if !slices.EqualFunc(want.Entries, got.Entries, same) {
				return fmt.Errorf("%s: %d entries on the owner, %d on the new replica, or they differ", id, len(want.Entries), len(got.Entries))
			}
			count++
		}
		after = ids[len(ids)-1]
	}
	fmt.Printf("all %d entities are alike on the owner and on the new replica\n", count)
	return nil
}
