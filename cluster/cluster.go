package cluster

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/routing"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
)

// ReplicasOf asks a node how many replicas it has.
type ReplicasOf func(ctx context.Context, node persistence.NodeID) (int, error)

// Cluster is this node's part of the cluster's work. Its methods may be called from any goroutine, Run once.
type Cluster struct {
	opts Options
	log  *slog.Logger

	known  atomic.Pointer[known]
	move   chan struct{} // 1: the mover has something to look at
	plan   chan struct{} // 1: the planner has
	tell   chan struct{} // 1: the teller has
	moving sync.WaitGroup

	planning planning   // the planner's alone
	writing  sync.Mutex // held while a node's record is read and written again

	claims, handedOver, kept atomic.Int64 // since the start

	mu struct {
		sync.Mutex
		self         members.Member
		owned        map[persistence.Partition]persistence.Epoch
		untold       []*peerv1.Place                         // own claims that the members were not told of
		heard        []*peerv1.Place                         // claims to be written into the history; at most maxHeard
		applications []application                           // at most maxApplications
		handing      map[persistence.Partition]chan struct{} // closed at Lost
		why          map[persistence.Partition]string        // what is on its way, for humans
		pause        map[persistence.Partition]time.Time     // no step before
		addresses    map[persistence.NodeID]string           // what Connect was told
		missing      map[persistence.NodeID]time.Time        // since when a node is not seen, by this node's clock
		there        map[persistence.NodeID]presence         // since when a node is there, and connected
		draining     bool
	}
}

// presence is since when a life of a node is there, and connected.
type presence struct {
	life  uint64
	since time.Time
}

// application is a node's wish to be admitted.
type application struct {
	from  string
	apply *peerv1.Apply
}

// New checks the options. Nothing runs before Run.
func New(o Options) (*Cluster, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	c := &Cluster{
		opts: o, log: o.Logger,
		move: make(chan struct{}, 1), plan: make(chan struct{}, 1), tell: make(chan struct{}, 1),
	}
	c.mu.self = o.Self
	c.mu.owned = map[persistence.Partition]persistence.Epoch{}
	c.mu.handing = map[persistence.Partition]chan struct{}{}
	c.mu.why = map[persistence.Partition]string{}
	c.mu.pause = map[persistence.Partition]time.Time{}
	c.mu.missing = map[persistence.NodeID]time.Time{}
	c.mu.there = map[persistence.NodeID]presence{}
	return c, nil
}

// Run does the cluster's work until ctx ends, and returns nil when everything that it began has ended. It returns [ErrRemoved]
// when this node was removed, [ErrFenced] when the cluster was recovered without it: the process must end.
func (c *Cluster) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.opts.Ears.heard(c)
	defer c.opts.Ears.heard(nil)
	var running sync.WaitGroup
	running.Go(func() { c.repeat(ctx, c.tell, c.tellAll) })
	running.Go(func() { c.repeat(ctx, c.plan, c.planAll) })
	var removed error
	running.Go(func() {
		c.repeat(ctx, c.move, func(ctx context.Context) (busy bool) {
			if busy, removed = c.moveAll(ctx); removed != nil {
				cancel(removed)
			}
			return busy
		})
	})
	running.Wait()
	c.moving.Wait()
	return removed
}

// repeat calls do when it is woken, and from time to time, until ctx ends: every lookEvery while do says that something is on its
// way and for lookFor after it was woken, else every restEvery.
func (c *Cluster) repeat(ctx context.Context, wake <-chan struct{}, do func(context.Context) (busy bool)) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for woken := time.Now(); ctx.Err() == nil; {
		next := restEvery
		if do(ctx) || time.Since(woken) < lookFor {
			next = lookEvery
		}
		timer.Reset(next)
		select {
		case <-wake:
			woken = time.Now()
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// poke has everything looked at again.
func (c *Cluster) poke() {
	signal(c.move)
	signal(c.plan)
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// Claimed notes that this node owns p, and tells everybody. It never blocks.
func (c *Cluster) Claimed(p persistence.Partition, epoch persistence.Epoch) {
	c.claims.Add(1)
	before, known := c.opts.Table.Owner(p)
	c.opts.Table.Learn(p, routing.Place{Node: c.opts.Self.Node, Epoch: epoch})
	for _, m := range c.opts.Gossip.List() {
		if m.Node != 0 && m.Node != c.opts.Self.Node {
			c.opts.Announce(m.Node, p, epoch)
		}
	}
	why := "started"
	if known && before.Node != c.opts.Self.Node {
		why = "handed over by " + c.NameOf(before.Node)
		if !c.seen(before.Node) {
			why = c.NameOf(before.Node) + " was gone"
		}
	}
	c.mu.Lock()
	c.mu.owned[p] = epoch
	c.mu.untold = append(c.mu.untold, &peerv1.Place{
		Partition: uint32(p), Node: uint32(c.opts.Self.Node), Generation: epoch.Generation, Term: epoch.Term,
		SinceMs: time.Now().UnixMilli(), Why: why,
	})
	c.mu.Unlock()
	signal(c.tell)
	c.poke()
}

// Lost notes that this node does not own p any more. It never blocks.
func (c *Cluster) Lost(p persistence.Partition, epoch persistence.Epoch) {
	c.mu.Lock()
	if c.mu.owned[p] == epoch {
		delete(c.mu.owned, p)
		delete(c.mu.why, p)
	}
	if lost := c.mu.handing[p]; lost != nil {
		delete(c.mu.handing, p)
		close(lost)
	}
	c.mu.Unlock()
	c.poke()
}

// Activate says that this node has joined and has the cluster's records: it may be given partitions.
func (c *Cluster) Activate() error {
	c.mu.Lock()
	c.mu.self.State = members.Active
	if c.mu.draining {
		c.mu.self.State = members.Draining
	}
	self := c.mu.self
	c.mu.Unlock()
	return c.opts.Gossip.Set(self)
}

// message takes what a member sent to this node.
func (c *Cluster) message(from string, m *peerv1.Gossip) {
	c.learn(m.GetPlaces())
	if apply := m.GetApply(); apply != nil {
		c.mu.Lock()
		if len(c.mu.applications) < maxApplications {
			c.mu.applications = append(c.mu.applications, application{from, apply})
		}
		c.mu.Unlock()
		signal(c.plan)
	}
}

// learn takes ownerships that somebody saw.
func (c *Cluster) learn(places []*peerv1.Place) {
	news := false
	for _, place := range places {
		p := persistence.Partition(place.GetPartition()) //nolint:gosec // checked next
		if place.GetPartition() > uint32(persistence.MetaPartition) || int(p) >= c.opts.Partitions && p != persistence.MetaPartition {
			continue
		}
		owner := persistence.NodeID(place.GetNode())
		news = c.opts.Table.Learn(p, routing.Place{Node: owner, Epoch: persistence.Epoch{Generation: place.GetGeneration(), Term: place.GetTerm()}}) || news
		if place.GetSinceMs() > 0 {
			c.note(place)
		}
	}
	if news {
		signal(c.plan)
	}
}

// left takes the hint that a member is gone: who follows it stands for election now.
func (c *Cluster) left(m members.Member, died bool) {
	if m.Node == 0 || m.Node == c.opts.Self.Node {
		return
	}
	level := slog.LevelInfo
	if died {
		level = slog.LevelWarn
	}
	c.log.LogAttrs(context.Background(), level, "node is gone", slog.String("name", m.Name), slog.Uint64("id", uint64(m.Node)),
		slog.Bool("said_so", !died))
	c.opts.Log.Suspect(m.Node)
	c.poke()
}

// tellTimeout bounds telling one member.
const tellTimeout = 2 * time.Second

// tellAll tells every member what this node owns since it told them last. Nothing is left to be done.
func (c *Cluster) tellAll(ctx context.Context) (busy bool) {
	c.mu.Lock()
	untold := c.mu.untold
	c.mu.untold = nil
	c.mu.Unlock()
	if len(untold) == 0 {
		return false
	}
	for _, place := range untold {
		c.note(place)
	}
	payload, err := proto.Marshal(&peerv1.Gossip{Places: untold})
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelError, "what this node owns could not be told", slog.Any("err", err))
		return false
	}
	var telling sync.WaitGroup
	for _, m := range c.members() {
		if m.Node == 0 || m.Node == c.opts.Self.Node {
			continue
		}
		telling.Go(func() {
			telling, cancel := context.WithTimeout(ctx, tellTimeout)
			defer cancel()
			_ = c.opts.Gossip.Send(telling, m.Name, payload) // who was not reached hears it with the next exchange, or when it asks wrongly
		})
	}
	telling.Wait()
	return false
}

// seen reports whether a node is among the members.
func (c *Cluster) seen(id persistence.NodeID) bool {
	for _, m := range c.members() {
		if m.Node == id {
			return true
		}
	}
	return false
}

// ownedBy counts what a node is known to own, the meta partition apart.
func (c *Cluster) ownedBy(id persistence.NodeID) int {
	n := 0
	for p := range c.opts.Partitions {
		if place, known := c.opts.Table.Owner(persistence.Partition(p)); known && place.Node == id { //nolint:gosec // at most 4096
			n++
		}
	}
	return n
}

// NameOf returns a node's name, for humans.
func (c *Cluster) NameOf(id persistence.NodeID) string {
	if k := c.known.Load(); k != nil {
		return k.name(id)
	}
	return (&known{}).name(id)
}
