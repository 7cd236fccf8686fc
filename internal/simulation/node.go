package simulation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// tickInterval is Raft's unit of time on a clock that is right.
const tickInterval = 100 * time.Millisecond

// Node is one of the world's nodes: a process that lives, dies and lives again, and the disk that stays.
type Node struct {
	w  *World
	id persistence.NodeID

	// What survives the process.
	disk    *vfs.MemFS
	flushed map[persistence.Partition]*replica // of a model
	durable map[persistence.Partition]uint64   // the greatest durable index ever seen
	rate    float64                            // how fast its clock goes
	offset  time.Duration                      // by how much its clock is wrong
	refused bool                               // its disk is rotten, and it said so: it does not come back
	lives   uint64

	// The process. It is of the life lives while up.
	up         bool
	frozen     bool
	machine    Machine
	step       *replication.Stepper
	owned      map[persistence.Partition]persistence.Epoch
	stalled    []func() // what waits for it to thaw
	failing    atomic.Bool
	slowSync   time.Duration // the most that a sync may take longer
	turning    bool          // a turn is on its way
	applying   bool          // so is an apply
	tickDue    bool
	dropDue    bool // the log is to be shortened
	unanswered map[*answer]struct{}
}

// answer is somebody who waits for a host's.
type answer struct {
	partition persistence.Partition
	what      string
	at        time.Duration
	done      bool
}

func newNode(w *World, id persistence.NodeID) *Node {
	return &Node{
		w: w, id: id, disk: vfs.NewCrashableMem(), durable: map[persistence.Partition]uint64{},
		rate: 0.5 + 1.5*w.Rand.Float64(), offset: w.Between(-time.Minute, time.Minute),
	}
}

// ID is the node's.
func (n *Node) ID() persistence.NodeID { return n.id }

// String is "node 1".
func (n *Node) String() string { return fmt.Sprintf("node %d", n.id) }

// World is the one that the node is in.
func (n *Node) World() *World { return n.w }

// Up reports whether the process runs; a frozen one does.
func (n *Node) Up() bool { return n.up }

// Life numbers the node's processes: 1, 2, and so on.
func (n *Node) Life() uint64 { return n.lives }

// Clock is the node's own wall clock, which is wrong and goes at a rate of its own.
func (n *Node) Clock() time.Time {
	return time.Unix(1_700_000_000, 0).Add(n.offset + time.Duration(float64(n.w.now)/n.rate))
}

// Storage reads what was applied here. It is valid for this life.
func (n *Node) Storage() persistence.Storage { return n.machine }

// Owns reports whether the node owns p, and under which epoch, as far as it knows.
func (n *Node) Owns(p persistence.Partition) (persistence.Epoch, bool) {
	if !n.up {
		return persistence.Epoch{}, false
	}
	e, ok := n.owned[p]
	return e, ok
}

// After calls f when d has passed, if the process still lives then, and when it has thawed.
func (n *Node) After(d time.Duration, f func()) {
	life := n.lives
	n.w.After(d, func() {
		switch {
		case !n.up || n.lives != life:
		case n.frozen:
			n.stalled = append(n.stalled, f)
		default:
			f()
		}
	})
}

// Propose is [persistence.Journal]'s.
func (n *Node) Propose(p persistence.Partition, c *persistence.Change, done func(error)) error {
	a := n.expect(p, "a change")
	err := n.step.Host().Propose(p, c, n.once(a, done))
	if err != nil {
		delete(n.unanswered, a)
	}
	n.wake()
	return err
}

// Barrier is [persistence.Journal]'s.
func (n *Node) Barrier(p persistence.Partition, epoch persistence.Epoch, done func(error)) error {
	a := n.expect(p, "a barrier")
	err := n.step.Host().Barrier(p, epoch, n.once(a, done))
	if err != nil {
		delete(n.unanswered, a)
	}
	n.wake()
	return err
}

func (n *Node) expect(p persistence.Partition, what string) *answer {
	a := &answer{partition: p, what: what, at: n.w.now}
	n.unanswered[a] = struct{}{}
	return a
}

// once sees to it that done is called once, and by a process that lives.
func (n *Node) once(a *answer, done func(error)) func(error) {
	life := n.lives
	return func(err error) {
		if !n.up || n.lives != life {
			return
		}
		if a.done {
			n.w.Fail("answers", a.partition, "%v answered %s twice, the second time with %v", n, a.what, err)
		}
		a.done = true
		delete(n.unanswered, a)
		done(err)
	}
}

// Suspect and HandOver are the host's.
func (n *Node) Suspect(other persistence.NodeID) {
	n.step.Host().Suspect(other)
	n.wake()
}

// HandOver is the host's.
func (n *Node) HandOver(p persistence.Partition, to persistence.NodeID) error {
	defer n.wake()
	return n.step.Host().HandOver(p, to)
}

// start begins the next life.
func (n *Node) start() {
	if n.up || n.refused {
		return
	}
	n.lives++
	n.failing.Store(false)
	n.frozen, n.stalled, n.slowSync = false, nil, 0
	n.turning, n.applying, n.tickDue, n.dropDue = false, false, false, false
	n.owned, n.unanswered = map[persistence.Partition]persistence.Epoch{}, map[*answer]struct{}{}
	if err := n.open(); err != nil {
		n.refuse(err)
		return
	}
	n.up = true
	n.w.TellAll("%v starts, life %d", n, n.lives)
	n.w.app.Started(n)
	n.After(n.w.Between(0, tickInterval), n.tick)
	n.After(n.w.Between(0, time.Second), n.shorten)
	n.wake()
}

// open opens the state and the log on the node's disk.
func (n *Node) open() error {
	c := &n.w.Config
	rng := rand.New(rand.NewPCG(c.Seed, uint64(n.id)<<32|n.lives)) //nolint:gosec // a simulation is not a secret
	if c.Store {
		store, err := pebblestore.Open(pebblestore.Options{
			FS: n.disk, Dir: "data/state", Partitions: c.Partitions, MemTableBytes: 256 << 10, CacheBytes: 1 << 20,
			Now: n.Clock,
		})
		if err != nil {
			return err
		}
		n.machine = store
	} else {
		n.machine = newModel(n.flushed, &n.w.copies, rng, c.Mutation)
	}
	voters := make([]persistence.NodeID, c.Voters)
	for i := range voters {
		voters[i] = persistence.NodeID(i + 1) //nolint:gosec // few
	}
	var err error
	n.step, err = replication.NewStepper(replication.Options{
		FS: faulty(n.disk, &n.failing), Dir: "data/log", Partitions: c.Partitions, Node: n.id, Voters: voters,
		StateMachine: &watched{Machine: n.machine, n: n}, Ownership: &owner{n, n.lives}, Transport: &sender{n, n.lives},
		SegmentBytes: c.SegmentBytes, MaxLogBytes: 4 * c.SegmentBytes, Random: rng.Uint32, Faults: c.Faults,
		Fetcher: noFetcher{},
	})
	if err != nil {
		return errors.Join(err, n.closeMachine())
	}
	return nil
}

func (n *Node) closeMachine() error {
	switch m := n.machine.(type) {
	case *model:
		n.flushed = m.flushed
	case *pebblestore.Store:
		return m.Close()
	}
	return nil
}

// refuse: the node does not open what is on its disk, which is right only when the disk is rotten.
func (n *Node) refuse(err error) {
	if n.refused = true; n.w.book.rotten[n.id] && isCorrupt(err) {
		n.w.Counts.RefusedOpen++
		n.w.TellAll("%v refuses its rotten disk: %v", n, err)
		return
	}
	n.w.Fail("start", everyPartition, "%v does not start: %v", n, err)
}

// isCorrupt reports whether err is an honest word about a rotten disk.
func isCorrupt(err error) bool {
	_, log := errors.AsType[*replication.CorruptError](err)
	return log || errors.Is(err, persistence.ErrCorrupt)
}

// die ends the process. Cut says that the power went, not only the process.
func (n *Node) die(cut bool) {
	if !n.up {
		return
	}
	n.up = false
	disk := n.disk
	var err error
	switch {
	case cut:
		percent := []int{0, 100, n.w.Rand.IntN(101)}[n.w.Rand.IntN(3)]
		disk, err = powerCut(n.disk, percent, rand.New(rand.NewPCG(n.w.Rand.Uint64(), 0))) //nolint:gosec // a simulation is not a secret
		n.w.TellAll("%v loses power, %d %% of what was not synced stays", n, percent)
	case n.w.Config.Store: // its store is still open, and may write while it is closed
		disk, err = powerCut(n.disk, 100, rand.New(rand.NewPCG(0, 0))) //nolint:gosec // draws nothing
		n.w.TellAll("%v is killed", n)
	default:
		n.w.TellAll("%v is killed", n)
	}
	n.end(err)
	n.disk = disk
	n.w.app.Died(n)
}

// end lets go of what the process had open.
func (n *Node) end(err error) {
	if err = errors.Join(err, n.step.Stop(), n.closeMachine()); err != nil && (!n.w.book.rotten[n.id] || !isCorrupt(err)) {
		n.w.Fail("world", everyPartition, "end %v: %v", n, err)
	}
}

// stop ends the process for good, at the end of the world.
func (n *Node) stop() {
	if n.up {
		n.up = false
		n.end(nil)
	}
}

// broke: the host says that the process must end. Its disk has no excuse but one.
func (n *Node) broke(err error) {
	if n.w.book.rotten[n.id] && isCorrupt(err) {
		n.die(true)
		n.refuse(err)
		return
	}
	if !n.failing.Load() {
		n.w.Fail("host", everyPartition, "%v broke: %v", n, err)
		return
	}
	n.w.TellAll("%v: %v", n, err)
	n.die(true)
	n.restartIn(n.w.Between(10*time.Millisecond, 3*time.Second))
}

// restartIn starts the next life after a while.
func (n *Node) restartIn(d time.Duration) { n.w.After(d, n.start) }

func (n *Node) freeze() {
	n.frozen = true
	n.w.TellAll("%v freezes", n)
}

func (n *Node) thaw() {
	if !n.frozen || !n.up {
		return
	}
	n.w.TellAll("%v thaws", n)
	n.frozen = false
	stalled := n.stalled
	n.stalled = nil
	for _, f := range stalled {
		n.After(0, f)
	}
}

// The loop of the host, in turns.

// wake sees to it that the loop has a turn soon.
func (n *Node) wake() {
	if !n.turning {
		n.turning = true
		n.After(n.w.Between(0, 100*time.Microsecond), n.turn)
	}
}

func (n *Node) tick() {
	n.tickDue = true
	n.After(time.Duration(float64(tickInterval)*n.rate), n.tick)
	n.wake()
}

func (n *Node) shorten() {
	n.dropDue = true
	n.After(n.w.Between(100*time.Millisecond, 2*time.Second), n.shorten)
	n.wake()
}

func (n *Node) turn() {
	n.turning = false
	if n.step.Writing() {
		return // finish wakes it
	}
	if n.tickDue {
		n.tickDue = false
		if err := n.step.Tick(); err != nil {
			n.broke(err)
			return
		}
	}
	if n.dropDue {
		n.dropDue = false
		if err := n.drop(); err != nil {
			n.broke(err)
			return
		}
	}
	worked, err := n.step.Begin()
	switch {
	case err != nil:
		n.broke(err)
	case worked:
		n.After(n.w.Between(50*time.Microsecond, time.Millisecond+n.slowSync), n.finish)
	}
	n.apply()
}

// drop shortens the log, sometimes after a flush, as a store makes one when its memory is full.
func (n *Node) drop() error {
	if n.w.Chance(300) {
		if err := n.machine.Flush(); err != nil {
			return err
		}
	}
	return n.step.Truncate()
}

func (n *Node) finish() {
	if err := n.step.Finish(); err != nil {
		n.broke(err)
		return
	}
	n.apply()
	n.wake()
}

// apply fetches the copies that the host needs, and sees to it that what is committed is applied, a batch at a time.
func (n *Node) apply() {
	if n.up {
		n.fetch()
	}
	if !n.up || n.applying || n.step.Waiting() == 0 {
		return
	}
	n.applying = true
	n.After(n.w.Between(10*time.Microsecond, 200*time.Microsecond+n.w.Config.SlowApply), func() {
		n.applying = false
		if err := n.step.Apply(); err != nil {
			n.broke(err)
			return
		}
		n.apply()
		n.wake()
	})
}

// sender is the host's transport, of one life.
type sender struct {
	n    *Node
	life uint64
}

// Send implements [replication.Transport].
func (s *sender) Send(to persistence.NodeID, batch []byte) {
	if s.n.up && s.n.lives == s.life {
		s.n.w.carry(s.n.id, to, batch)
	}
}

// owner hears of the host's partitions, in one life.
type owner struct {
	n    *Node
	life uint64
}

// Claimed implements [persistence.Ownership].
func (o *owner) Claimed(p persistence.Partition, e persistence.Epoch) {
	n := o.n
	if !n.up || n.lives != o.life {
		return
	}
	n.w.Counts.Claims++
	n.w.Tell(p, "%v owns partition %d under %v", n, p, e)
	n.w.book.claimed(n, p, e)
	n.owned[p] = e
	n.w.app.Claimed(n, p, e)
}

// Lost implements [persistence.Ownership].
func (o *owner) Lost(p persistence.Partition, e persistence.Epoch) {
	n := o.n
	if !n.up || n.lives != o.life {
		return
	}
	n.w.Counts.Losses++
	n.w.Tell(p, "%v lost partition %d under %v", n, p, e)
	delete(n.owned, p)
	n.w.app.Lost(n, p, e)
}
