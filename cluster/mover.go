package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/placement"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// moveAll looks at every partition that this node owns, and takes its next step. It also says whom this node talks with. It is
// busy while a partition is not where it should be. An error means that this node was removed, or is fenced.
func (c *Cluster) moveAll(ctx context.Context) (busy bool, err error) {
	if err = Fenced(c.opts.Self, c.opts.Gossip.List()); err != nil {
		return false, err
	}
	k, err := c.read(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.log.LogAttrs(ctx, slog.LevelWarn, "who is to have what could not be read; it is tried again", slog.Any("err", err))
		}
		return true, nil
	}
	if self := k.nodes[c.opts.Self.Node]; self.GetRemoved() {
		return false, fmt.Errorf("%w: %s is node %d no more; a node with an empty data directory can join under the same name",
			ErrRemoved, self.GetName(), self.GetId())
	}
	if why := k.tooOld(c.opts.Self.Feature); why != "" {
		return false, fmt.Errorf("%w: %s", ErrTooOld, why)
	}
	list := c.members()
	c.connect(k, list)
	c.notePresent(list)
	active := c.active(k, list)
	for _, s := range c.opts.Log.Status() {
		if s.Owner {
			c.moveOne(ctx, k, s, active)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.draining || len(c.mu.why) > 0 || len(c.mu.handing) > 0, nil
}

// connect says whom to talk with: everybody who was admitted and not removed, where it was seen last.
func (c *Cluster) connect(k *known, list []members.Member) {
	addresses := map[persistence.NodeID]string{}
	c.mu.Lock()
	maps.Copy(addresses, c.mu.addresses) // who is not seen may only not be seen
	c.mu.Unlock()
	for _, m := range list {
		if m.Node != 0 && m.Node != c.opts.Self.Node && m.Cluster == c.opts.Self.Cluster && m.Peer != "" {
			addresses[m.Node] = m.Peer
		}
	}
	for id, n := range k.nodes {
		if n.GetRemoved() {
			delete(addresses, id)
		}
	}
	c.mu.Lock()
	same := c.mu.addresses != nil && sameAddresses(c.mu.addresses, addresses)
	c.mu.addresses = addresses
	c.mu.Unlock()
	if !same {
		c.opts.Connect(addresses)
	}
}

func sameAddresses(a, b map[persistence.NodeID]string) bool {
	if len(a) != len(b) {
		return false
	}
	for id, address := range a {
		if b[id] != address {
			return false
		}
	}
	return true
}

// active returns who can own and vote: seen, active, and not on its way out.
func (c *Cluster) active(k *known, list []members.Member) func(persistence.NodeID) bool {
	set := map[persistence.NodeID]bool{}
	for _, m := range list {
		n := k.nodes[m.Node]
		if n != nil && m.State == members.Active && !n.GetDraining() && !n.GetRemoving() && !n.GetRemoved() {
			set[m.Node] = true
		}
	}
	return func(id persistence.NodeID) bool { return set[id] }
}

// moveOne takes the next step of one partition.
func (c *Cluster) moveOne(ctx context.Context, k *known, s replication.PartitionStatus, active func(persistence.NodeID) bool) {
	p := s.Partition
	target := orFirst(k.target(p))
	step, why := placement.Next(target, c.opts.Self.Node, s, active)
	c.mu.Lock()
	if epoch, owned := c.mu.owned[p]; !owned || epoch != s.Epoch { // it was lost since the status was taken
		c.mu.Unlock()
		return
	}
	draining := c.mu.draining
	if draining && (step.HandTo == 0 || !c.opts.Connected(step.HandTo)) {
		to := c.successorLocked(target, s, active)
		switch {
		case to != 0:
			step, why = placement.Step{HandTo: to}, "hands over to "+k.name(to)
		case step.HandTo != 0: // its entities would wait for nothing
			step, why = placement.Step{}, "waits for "+k.name(step.HandTo)
		}
	}
	before := c.mu.why[p]
	c.mu.why[p] = why
	if why == "" {
		delete(c.mu.why, p)
	}
	_, handing := c.mu.handing[p]
	now := time.Now()
	wait := handing || now.Before(c.mu.pause[p]) || step.HandTo != 0 && !draining && !c.steadyLocked(step.HandTo, now)
	room := len(c.mu.handing) < maxHandOvers
	c.mu.Unlock()
	if why != before && why != "" {
		c.log.LogAttrs(ctx, slog.LevelInfo, "partition moves", slog.Int("partition", int(p)), slog.String("step", why))
	}
	switch {
	case wait:
	case step.HandTo != 0 && room:
		c.handOver(ctx, p, s.Epoch, step.HandTo)
	case step.HandTo == 0 && len(step.Changes) > 0:
		c.change(ctx, p, step.Changes)
	}
}

// change asks the log for a change of replicas. What holds is seen in the next status.
func (c *Cluster) change(ctx context.Context, p persistence.Partition, changes []replication.ReplicaChange) {
	c.mu.Lock()
	c.mu.pause[p] = time.Now().Add(changePause)
	c.mu.Unlock()
	err := c.opts.Log.ChangeReplicas(p, changes, func(err error) {
		if err != nil {
			c.log.LogAttrs(context.WithoutCancel(ctx), slog.LevelDebug, "replicas not changed", slog.Int("partition", int(p)), slog.Any("err", err))
		}
	})
	if err != nil && !errors.Is(err, persistence.ErrNotOwner) {
		c.log.LogAttrs(ctx, slog.LevelDebug, "replicas not changed", slog.Int("partition", int(p)), slog.Any("err", err))
	}
}

// notePresent notes since when each node is there.
func (c *Cluster) notePresent(list []members.Member) {
	now := time.Now()
	there := map[persistence.NodeID]presence{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range list {
		if m.Node == 0 || !c.opts.Connected(m.Node) {
			continue
		}
		there[m.Node] = c.mu.there[m.Node]
		if there[m.Node].life != m.Life {
			there[m.Node] = presence{life: m.Life, since: now}
		}
	}
	c.mu.there = there
}

// steadyLocked reports whether a node is there for long enough to be given something that is served well where it is.
func (c *Cluster) steadyLocked(id persistence.NodeID, now time.Time) bool {
	p, there := c.mu.there[id]
	return there && now.Sub(p.since) >= steadyFor
}

// successorLocked is who takes over from a node that drains: the one that is planned, or the one with the fewest partitions
// of those that have everything.
func (c *Cluster) successorLocked(target placement.Target, s replication.PartitionStatus, active func(persistence.NodeID) bool) persistence.NodeID {
	can := func(id persistence.NodeID) bool {
		return id != c.opts.Self.Node && active(id) && c.opts.Connected(id) && slices.ContainsFunc(s.Replicas, func(r replication.Replica) bool {
			return r.Node == id && r.Role == replication.Voter && r.Active && r.Match+maxBehind >= s.Last
		})
	}
	if can(target.Owner) {
		return target.Owner
	}
	best, fewest := persistence.NodeID(0), 0
	for _, r := range s.Replicas {
		if owned := c.ownedBy(r.Node); can(r.Node) && (best == 0 || owned < fewest) {
			best, fewest = r.Node, owned
		}
	}
	return best
}

// maxBehind is how many entries a successor may lack: it gets them before it is elected.
const maxBehind = 1000

// handOver gives a partition to another node. It returns at once.
func (c *Cluster) handOver(ctx context.Context, p persistence.Partition, epoch persistence.Epoch, to persistence.NodeID) {
	lost := make(chan struct{})
	c.mu.Lock()
	if c.mu.owned[p] != epoch {
		c.mu.Unlock()
		return
	}
	c.mu.handing[p] = lost
	c.mu.Unlock()
	c.moving.Go(func() {
		began := time.Now()
		err := c.handOverNow(ctx, p, to, lost)
		c.mu.Lock()
		if c.mu.handing[p] == lost {
			delete(c.mu.handing, p)
		}
		if err != nil {
			c.mu.pause[p] = time.Now().Add(time.Second)
			c.kept.Add(1)
		} else {
			c.handedOver.Add(1)
		}
		c.mu.Unlock()
		level := slog.LevelInfo
		attrs := []slog.Attr{slog.Int("partition", int(p)), slog.String("to", c.NameOf(to)), slog.Duration("took", time.Since(began).Round(time.Microsecond))}
		if err != nil {
			level = slog.LevelWarn
			attrs = append(attrs, slog.Any("err", err))
		}
		c.log.LogAttrs(ctx, level, "handed over", attrs...)
		c.poke()
	})
}

// errKept: nobody took the partition over.
var errKept = errors.New("the other node did not take over in time")

func (c *Cluster) handOverNow(ctx context.Context, p persistence.Partition, to persistence.NodeID, lost <-chan struct{}) error {
	if p != persistence.MetaPartition { // it has no entities
		preparing, prepared := context.WithTimeout(ctx, c.opts.PrepareTimeout)
		c.opts.Entities.Prepare(preparing, p)
		prepared()
		yielding, cancel := context.WithTimeout(ctx, c.opts.YieldTimeout)
		err := c.opts.Entities.Yield(yielding, p)
		cancel()
		if err != nil {
			c.opts.Entities.Resume(p)
			return fmt.Errorf("let go: %w", err)
		}
	}
	err := c.opts.Log.HandOver(p, to)
	if err == nil {
		timer := time.NewTimer(c.opts.TakeOverTimeout)
		defer timer.Stop()
		select {
		case <-lost:
			return nil
		case <-timer.C:
			err = errKept
		}
	}
	if p != persistence.MetaPartition {
		c.opts.Entities.Resume(p)
	}
	return err
}
