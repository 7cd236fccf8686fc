package simulation

import (
	"math/rand/v2"
	"time"

	"github.com/skerry-dev/skerry/persistence/replication"
)

// Config is what a run is made of. [NewConfig] draws it from a seed.
type Config struct {
	Seed uint64
	// Ops is how many operations the clients begin in all.
	Ops int
	// Nodes are 3 to 5, of which the first Voters have every partition at first; Partitions is without the meta partition.
	Nodes, Voters, Partitions int
	// Store says that the nodes keep their state in the real store, on the disk that crashes, instead of in the model.
	Store bool
	// Copies lets every log forget what its own state holds: replicas that lag need copies.
	Copies bool
	// SegmentBytes of the log.
	SegmentBytes int64
	// Disaster is the mean time between two disasters; 0 means none. Disasters says which kinds happen.
	Disaster  time.Duration
	Disasters []disaster
	// Moves is the mean time between two changes of a partition's replicas; 0 means none.
	Moves time.Duration
	// ClientDrop is how many of a thousand messages of clients are lost.
	ClientDrop int
	// SlowApply is the most that applying a batch may take.
	SlowApply time.Duration

	// Padding is how many words the clients' entries are longer.
	Padding int
	// SaveChance is after how many of a thousand writes a snapshot is taken, SlowSave the most that one may take.
	SaveChance int
	SlowSave   time.Duration

	// Faults and Mutation switch off mechanisms, to see a checker find it. OnlyClients leaves out the checkers that look
	// inside, at what replicas and owners are told: what remains is what clients see and what is stored in the end.
	Faults      replication.Faults
	Mutation    Mutation
	OnlyClients bool
}

// Mutation switches off one mechanism outside of replication.
type Mutation uint8

// The mutations of the state machine.
const (
	NoMutation Mutation = iota
	// NoEpochCheck applies changes of every epoch.
	NoEpochCheck
	// DuplicateIsSuccess answers a change whose seq exists as if it had been applied.
	DuplicateIsSuccess
	// AnySnapshot stores snapshots without looking at their seq.
	AnySnapshot
)

// NewConfig draws a run from a seed. Each seed has its own kinds of disasters: all of them together hide each other.
func NewConfig(seed uint64, ops int) Config {
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a simulation is not a secret
	c := Config{Seed: seed, Ops: ops, Nodes: 3, Partitions: 1 + rng.IntN(3), SegmentBytes: 16 << 10}
	c.Nodes += max(0, rng.IntN(5)-2) // 3, 3, 3, 4 or 5
	if c.Voters = 3; rng.IntN(3) == 0 {
		c.Voters = c.Nodes
	}
	if rng.IntN(2) == 0 {
		c.Padding = rng.IntN(250)
	}
	if rng.IntN(3) == 0 {
		c.SegmentBytes = 64 << 10
	}
	if rng.IntN(12) == 0 {
		c.Store = true
	}
	if rng.IntN(2) == 0 {
		c.Moves = time.Duration(300+rng.IntN(3000)) * time.Millisecond
	}
	c.Copies = rng.IntN(4) > 0
	c.Disaster = time.Duration(1000+rng.IntN(5000)) * time.Millisecond
	for kind := range disasterKinds {
		if rng.IntN(2) == 0 && (kind != loseEverybodysPower || rng.IntN(2) == 0) {
			c.Disasters = append(c.Disasters, kind)
		}
	}
	if rng.IntN(2) == 0 {
		c.ClientDrop = rng.IntN(40)
	}
	c.SaveChance, c.SlowSave = 50+rng.IntN(300), time.Duration(rng.IntN(400))*time.Millisecond
	if rng.IntN(3) == 0 {
		c.SlowSave = time.Duration(rng.IntN(6000)) * time.Millisecond
	}
	if rng.IntN(2) == 0 {
		c.SlowApply = time.Duration(rng.IntN(300)) * time.Millisecond
	}
	if rng.IntN(20) == 0 {
		c.Disasters = nil // calm: what is seen here has no excuse
	}
	return c
}

// Counts is what a run did, so that one that does nothing is noticed.
type Counts struct {
	Events, Batches, Dropped, Duplicated, Full int
	Ops, Acked, Refused, Unknown               int
	Claims, Losses                             int
	Kills, PowerCuts, FailedSyncs, Freezes     int
	Cuts, Hints, HandOvers, Rots, RefusedOpen  int
	Applied, Snapshots, Rogue, RefusedLoad     int
	Copies, Changes                            int
}

// Add adds another run's.
func (c *Counts) Add(o *Counts) {
	for _, pair := range [][2]*int{
		{&c.Events, &o.Events},
		{&c.Batches, &o.Batches},
		{&c.Dropped, &o.Dropped},
		{&c.Duplicated, &o.Duplicated},
		{&c.Full, &o.Full},
		{&c.Ops, &o.Ops},
		{&c.Acked, &o.Acked},
		{&c.Refused, &o.Refused},
		{&c.Unknown, &o.Unknown},
		{&c.Claims, &o.Claims},
		{&c.Losses, &o.Losses},
		{&c.Kills, &o.Kills},
		{&c.PowerCuts, &o.PowerCuts},
		{&c.FailedSyncs, &o.FailedSyncs},
		{&c.Freezes, &o.Freezes},
		{&c.Cuts, &o.Cuts},
		{&c.Hints, &o.Hints},
		{&c.HandOvers, &o.HandOvers},
		{&c.Rots, &o.Rots},
		{&c.RefusedOpen, &o.RefusedOpen},
		{&c.Applied, &o.Applied},
		{&c.Snapshots, &o.Snapshots},
		{&c.Rogue, &o.Rogue},
		{&c.RefusedLoad, &o.RefusedLoad},
		{&c.Copies, &o.Copies},
		{&c.Changes, &o.Changes},
	} {
		*pair[0] += *pair[1]
	}
}
