package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/routing"
	"github.com/skerry-dev/skerry/persistence"
)

// Options are what a [Cluster] is made of. Everything without a default must be given.
type Options struct {
	// Self is what this node says of itself; Node, Name and Cluster are set.
	Self       members.Member
	Partitions int
	Generation uint32
	Ears       *Ears
	Gossip     Gossip
	Log        Log
	Entities   Entities
	Records    Records
	Table      *routing.Table
	// Connect says which nodes this one talks with, and where. It is called again when that changes.
	Connect func(map[persistence.NodeID]string)
	// Connected reports whether the log's messages flow to and from a node now.
	Connected func(persistence.NodeID) bool
	// Announce says to a node that this one owns a partition, faster than gossip, which says it too. It must not block.
	Announce func(to persistence.NodeID, p persistence.Partition, epoch persistence.Epoch)
	// Replicas asks a node how many replicas it has. It may take long.
	Replicas ReplicasOf
	Logger   *slog.Logger

	// AbsentAfter is how long a node may not be seen before its copies are made elsewhere. Default: 10 minutes.
	AbsentAfter time.Duration
	// PrepareTimeout is how long a partition that is to be handed over may be saved before, while it is served. Default: 500 ms.
	PrepareTimeout time.Duration
	// YieldTimeout is how long the entities of a partition may take to bring everything to the journal. Default: 3 s.
	YieldTimeout time.Duration
	// TakeOverTimeout is how long the next owner may take, before this one goes on: longer than the log tries. Default: 1.2 s.
	TakeOverTimeout time.Duration
}

// The pace of the cluster's own work.
const (
	// lookEvery is how often this node looks at what it owns without being told of a change, while something is on its way and
	// for lookFor after the last change that it was told of; restEvery is how often it looks else.
	lookEvery = 250 * time.Millisecond
	lookFor   = 10 * time.Second
	restEvery = time.Second
	// settleFor is how long the members must be the same before anything is planned: nodes that come together are
	// planned for together.
	settleFor = time.Second
	// absentFor is how long a node must not be seen before that is written down.
	absentFor = 5 * time.Second
	// putTimeout bounds one record.
	putTimeout = 5 * time.Second
	// steadyFor is how long a node must be there, and connected, before it gets back what it should own: a node that comes
	// and goes would take it along each time.
	steadyFor = 2 * time.Second
	// changePause is the time between two changes of one partition's replicas: Raft drops one that comes too early.
	changePause = 300 * time.Millisecond
	// maxHandOvers is how many partitions are handed over at a time.
	maxHandOvers = 8
	// maxApplications is how many nodes may wait to be admitted.
	maxApplications = 64
)

func (o *Options) validate() error {
	var problems []error
	complain := func(wrong bool, what string) {
		if wrong {
			problems = append(problems, errors.New(what+" is missing"))
		}
	}
	complain(o.Self.Node == 0, "Self.Node")
	complain(o.Self.Name == "", "Self.Name")
	complain(o.Self.Cluster == "", "Self.Cluster")
	complain(o.Partitions < 1, "Partitions")
	complain(o.Ears == nil, "Ears")
	complain(o.Gossip == nil, "Gossip")
	complain(o.Log == nil, "Log")
	complain(o.Entities == nil, "Entities")
	complain(o.Records == nil, "Records")
	complain(o.Table == nil, "Table")
	complain(o.Connect == nil, "Connect")
	complain(o.Announce == nil, "Announce")
	complain(o.Replicas == nil, "Replicas")
	complain(o.Connected == nil, "Connected")
	if len(problems) > 0 {
		return fmt.Errorf("cluster: %w", errors.Join(problems...))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.AbsentAfter == 0 {
		o.AbsentAfter = 10 * time.Minute
	}
	if o.PrepareTimeout == 0 {
		o.PrepareTimeout = 500 * time.Millisecond
	}
	if o.YieldTimeout == 0 {
		o.YieldTimeout = 3 * time.Second
	}
	if o.TakeOverTimeout == 0 {
		o.TakeOverTimeout = 1200 * time.Millisecond
	}
	return nil
}
