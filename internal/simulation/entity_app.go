package simulation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// EntityMutation switches off one mechanism between the journal and the game server, to see a checker find it.
type EntityMutation uint8

// The mutations of entities.
const (
	NoEntityMutation EntityMutation = iota
	// NoDedupe takes every command id for a new one.
	NoDedupe
	// VolatileRefusals answers a refusal by the rules without journaling it.
	VolatileRefusals
	// ForgottenTransfers takes every transfer that is to be received for a new one.
	ForgottenTransfers
	// ForgottenMarks journals events without the marks of their turns.
	ForgottenMarks
	// GateOnPropose lets a durable reply go when its entry was handed to the journal.
	GateOnPropose
	// GateWithoutBarrier lets reads and MEMORY replies go at once.
	GateWithoutBarrier
	// ActivationTakesDuplicate takes a refusal as a duplicate for success. Alone it harms nobody: there are duplicates only
	// with NextDoesNotWait, which it does too.
	ActivationTakesDuplicate
	// NextDoesNotWait activates an entity again while changes of the last activation are on their way.
	NextDoesNotWait
	// DurableIsMemory answers DURABLE commands as if they were MEMORY ones.
	DurableIsMemory
	// LoadWithoutTail activates the snapshot without the journal after it.
	LoadWithoutTail
	// NoLossWindow leaves MEMORY events in memory, and takes further ones however long that lasts.
	NoLossWindow
)

// entityCounts is what a run of entities did.
type entityCounts struct {
	Activations, Passivations, Turns, Saves, SuddenStops, Refusals int
	Opens, Durable, Memory, Reads, Retries, Asked, Repeats         int
	Refused, Taken, MemoryLost, Abandoned                          int
	Transfers, Steps, Resumed                                      int
	RefusedLoads, Judged, NotJudged                                int
}

// add adds another run's.
func (c *entityCounts) add(o *entityCounts) {
	for _, pair := range [][2]*int{
		{&c.Activations, &o.Activations},
		{&c.Passivations, &o.Passivations},
		{&c.Turns, &o.Turns},
		{&c.Saves, &o.Saves},
		{&c.SuddenStops, &o.SuddenStops},
		{&c.Refusals, &o.Refusals},
		{&c.Opens, &o.Opens},
		{&c.Durable, &o.Durable},
		{&c.Memory, &o.Memory},
		{&c.Reads, &o.Reads},
		{&c.Retries, &o.Retries},
		{&c.Asked, &o.Asked},
		{&c.Repeats, &o.Repeats},
		{&c.Refused, &o.Refused},
		{&c.Taken, &o.Taken},
		{&c.MemoryLost, &o.MemoryLost},
		{&c.Abandoned, &o.Abandoned},
		{&c.Transfers, &o.Transfers},
		{&c.Steps, &o.Steps},
		{&c.Resumed, &o.Resumed},
		{&c.RefusedLoads, &o.RefusedLoads},
		{&c.Judged, &o.Judged},
		{&c.NotJudged, &o.NotJudged},
	} {
		*pair[0] += *pair[1]
	}
}

// entities is the [App] of activations and game servers.
type entities struct {
	w        *World
	mutation EntityMutation
	counts   entityCounts

	hosts    map[*Node]*entityHost // of the present lives
	records  map[persistence.Key]*entityRecord
	players  []*virtualPlayer
	servers  []*gameServer
	tokens   int
	begun    int // operations
	open     int // of those, not ended and not abandoned
	market   market
	healedAt time.Duration
	moment   int64 // rises with everything that clients see
}

func newEntities(mutation EntityMutation) *entities {
	return &entities{mutation: mutation, hosts: map[*Node]*entityHost{}, records: map[persistence.Key]*entityRecord{}}
}

// Begin implements [App].
func (e *entities) Begin(w *World) {
	e.w = w
	for i := range 3 + w.Rand.IntN(4) {
		e.players = append(e.players, &virtualPlayer{
			app: e, key: persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindPlayer, ID: fmt.Sprintf("p%d", i)},
			strict: i%2 == 0, durable: []int{1000, 300, 1000, 10}[i%4],
		})
	}
	for i := range 2 + w.Rand.IntN(2) {
		s := &gameServer{app: e, name: fmt.Sprintf("s%d", i), sessions: map[*virtualPlayer]*clientSession{}}
		e.servers = append(e.servers, s)
		w.After(w.Between(0, time.Second), s.act)
	}
	e.beginTransfers()
	w.After(w.Between(0, time.Second), e.stopSuddenly)
}

// Started implements [App].
func (e *entities) Started(n *Node) {
	e.hosts[n] = &entityHost{app: e, n: n, live: map[persistence.Key]*liveEntity{}, transfers: map[holdName]*transferring{}}
}

// Died implements [App].
func (e *entities) Died(n *Node) { delete(e.hosts, n) }

// Claimed implements [App].
func (e *entities) Claimed(n *Node, p persistence.Partition, epoch persistence.Epoch) {
	if h := e.hosts[n]; h != nil && p != persistence.MetaPartition {
		h.lookForTransfers(p, epoch)
	}
}

// Lost implements [App].
func (e *entities) Lost(n *Node, p persistence.Partition, _ persistence.Epoch) {
	if h := e.hosts[n]; h != nil && p != persistence.MetaPartition {
		h.lost(p)
	}
}

// Idle implements [App].
func (e *entities) Idle() bool { return e.begun >= e.w.Config.Ops }

// Healed implements [App].
func (e *entities) Healed() { e.healedAt = e.w.now }

// Settled implements [App].
func (e *entities) Settled() bool { return e.open == 0 && e.transfersEnded() && e.quiet() }

// quiet reports whether no activation has anything left that storage has not.
func (e *entities) quiet() bool {
	for _, h := range e.hosts {
		for _, a := range h.live {
			if a.mode == entityRunning && (a.proposed() != a.seq || !a.gate.Empty(false)) {
				return false
			}
		}
	}
	return true
}

func (e *entities) partitionOf(key persistence.Key) persistence.Partition {
	return persistence.PartitionOf(key, e.w.Config.Partitions)
}

func (e *entities) record(key persistence.Key) *entityRecord {
	if e.records[key] == nil {
		e.records[key] = &entityRecord{app: e, key: key, partition: e.partitionOf(key), chain: map[persistence.Seq]*happening{}}
	}
	return e.records[key]
}

// seen is the state as a turn sees it, with or without what it should remember.
func (e *entities) seen(state *storev1.Entity, step *storev1.TransferStep) *storev1.Entity {
	switch e.mutation {
	case NoDedupe:
		state = state.CloneVT()
		state.Outcomes, state.OutcomeCount = nil, 0
		for _, s := range state.GetSessions() {
			s.NewestId = 0
		}
	case ForgottenTransfers:
		if step.GetKind() == storev1.TransferStepKind_RECEIVE {
			state = state.CloneVT()
			state.Received = nil
		}
	default:
	}
	return state
}

// stopSuddenly ends an activation now and then without a reason, with changes of it on their way: what it said before must
// be true, and what it did not must not harm.
func (e *entities) stopSuddenly() {
	if e.w.healed {
		return
	}
	e.w.After(e.w.Between(0, 1500*time.Millisecond), e.stopSuddenly)
	n := e.w.nodes[e.w.Rand.IntN(len(e.w.nodes))]
	h := e.hosts[n]
	if h == nil || n.frozen || !n.up {
		return
	}
	var running []*liveEntity
	for _, a := range h.live {
		if a.mode == entityRunning {
			running = append(running, a)
		}
	}
	if len(running) == 0 {
		return
	}
	slices.SortFunc(running, func(a, b *liveEntity) int { return compareKeys(a.key, b.key) })
	a := slices.MaxFunc(running, func(a, b *liveEntity) int { // where the most is at stake
		return cmp.Or(cmp.Compare(a.flying, b.flying), cmp.Compare(a.seq-a.life.base, b.seq-b.life.base))
	})
	e.counts.SuddenStops++
	e.w.Tell(a.partition, "%v stops %s at %d without a reason", n, a.key.ID, a.seq)
	a.wrong(errSuddenStop)
}

var errSuddenStop = errors.New("stopped by the simulation")

// finalState is an entity as the first healthy replica has it.
func (e *entities) finalState(key persistence.Key) (*storev1.Entity, error) {
	for _, n := range e.w.members(e.partitionOf(key)) {
		if e.w.book.rotten[n.id] {
			continue
		}
		state, _, err := readEntity(n.Storage(), e.partitionOf(key), key, NoEntityMutation)
		return state, err
	}
	return nil, persistence.ErrAbsent
}

func coinsOf(p *skerryv1.Player) int64 { return p.GetProfile().GetCoins() }
