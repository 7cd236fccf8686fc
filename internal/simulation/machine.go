package simulation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// Machine is what a node keeps its state in: the model, or the real store.
type Machine interface {
	persistence.StateMachine
	persistence.Storage
	persistence.Copier
}

// model is the simplest correct machine: what was applied is in memory, and a crash keeps what was flushed.
type model struct {
	mutation      Mutation
	rng           *rand.Rand // when to flush
	live, flushed map[persistence.Partition]*replica
	copies        *copies
}

// replica is one partition in a model.
type replica struct {
	index, term uint64
	conf        []byte
	state       *persistencetest.Model
}

func (r *replica) clone() *replica {
	return &replica{index: r.index, term: r.term, conf: r.conf, state: r.state.Clone()}
}

// newModel returns a model of what was flushed before; nil is a new one.
func newModel(flushed map[persistence.Partition]*replica, copies *copies, rng *rand.Rand, mutation Mutation) *model {
	return &model{mutation: mutation, rng: rng, live: cloneReplicas(flushed), flushed: cloneReplicas(flushed), copies: copies}
}

func cloneReplicas(from map[persistence.Partition]*replica) map[persistence.Partition]*replica {
	to := make(map[persistence.Partition]*replica, len(from))
	for p, r := range from {
		to[p] = r.clone()
	}
	return to
}

func (m *model) at(p persistence.Partition) *replica {
	if m.live[p] == nil {
		m.live[p] = &replica{state: persistencetest.NewModel()}
	}
	return m.live[p]
}

// flushChance is after how many batches, about, a model flushes by itself, as a store does when its memory is full.
const flushChance = 40

// Apply implements [persistence.StateMachine].
func (m *model) Apply(batch []persistence.Committed) ([][]error, error) {
	results := make([][]error, len(batch))
	for i := range batch {
		c, r := &batch[i], m.at(batch[i].Partition)
		if c.Index <= r.index {
			continue
		}
		if c.Index != r.index+1 {
			return nil, fmt.Errorf("partition %d: index %d after %d", c.Partition, c.Index, r.index)
		}
		r.index, r.term = c.Index, c.Term
		if len(c.Conf) > 0 {
			r.conf = bytes.Clone(c.Conf)
		}
		if len(c.Data) == 0 {
			continue
		}
		proposal, err := persistence.DecodeProposal(c.Data)
		if err != nil {
			return nil, err
		}
		results[i] = applyProposal(r.state, c.Term, proposal, m.mutation)
	}
	if m.rng.IntN(flushChance) == 0 {
		m.flushed = cloneReplicas(m.live)
	}
	return results, nil
}

// applyProposal applies a proposal of a term and returns the refusals of its changes.
func applyProposal(state *persistencetest.Model, term uint64, proposal *persistence.Proposal, mutation Mutation) []error {
	if proposal.Claim {
		state.Claim(persistence.Epoch{Generation: proposal.Generation, Term: term})
	}
	var refusals []error
	for _, change := range proposal.Changes {
		refusals = append(refusals, applyChange(state, change, mutation))
	}
	return refusals
}

// applyChange applies a change as mutation would.
func applyChange(state *persistencetest.Model, change *persistence.Change, mutation Mutation) error {
	if mutation == NoEpochCheck {
		unchecked := *change
		unchecked.Epoch = state.Epoch
		change = &unchecked
	}
	err := state.Change(change)
	switch {
	case mutation == DuplicateIsSuccess && errors.Is(err, persistence.ErrDuplicate):
		return nil
	case mutation == AnySnapshot && errors.Is(err, persistence.ErrOldSnapshot) && change.Snapshot != nil:
		e := state.Entities[change.Key]
		s := *change.Snapshot
		s.Epoch = change.Epoch
		e.Snapshots = append([]persistence.Snapshot{s}, e.Snapshots[0])
		return nil
	default:
		return err
	}
}

// Applied implements [persistence.StateMachine].
func (m *model) Applied(p persistence.Partition) (index, term uint64, err error) {
	r := m.at(p)
	return r.index, r.term, nil
}

// Durable implements [persistence.StateMachine].
func (m *model) Durable(p persistence.Partition) (uint64, error) {
	if r := m.flushed[p]; r != nil {
		return r.index, nil
	}
	return 0, nil
}

// Conf implements [persistence.StateMachine].
func (m *model) Conf(p persistence.Partition) ([]byte, error) { return bytes.Clone(m.at(p).conf), nil }

// Flush implements [persistence.StateMachine].
func (m *model) Flush() error {
	m.flushed = cloneReplicas(m.live)
	return nil
}

// Load implements [persistence.Storage].
func (m *model) Load(_ context.Context, p persistence.Partition, key persistence.Key) (*persistence.Loaded, error) {
	if found := m.at(p).state.Loaded(key); found != nil {
		return found, nil
	}
	return nil, persistence.ErrAbsent
}

// LoadPart implements [persistence.Storage]; a model keeps main parts only.
func (m *model) LoadPart(context.Context, persistence.Partition, persistence.Key, persistence.Part) (persistence.Snapshot, int, error) {
	return persistence.Snapshot{}, 0, persistence.ErrAbsent
}

// Parts implements [persistence.Storage].
func (m *model) Parts(context.Context, persistence.Partition, persistence.Key, string, string, int) ([]persistence.Part, error) {
	return nil, nil
}

// Entities implements [persistence.Storage].
func (m *model) Entities(_ context.Context, p persistence.Partition, space string, kind persistence.Kind, after string, limit int) ([]string, error) {
	var ids []string
	for key := range m.at(p).state.Entities {
		if key.Space == space && key.Kind == kind && key.ID > after {
			ids = append(ids, key.ID)
		}
	}
	slices.Sort(ids)
	return ids[:min(limit, len(ids))], nil
}

// Marks implements [persistence.Storage].
func (m *model) Marks(_ context.Context, p persistence.Partition, space, name string, after persistence.Key, limit int) ([]persistence.MarkOf, error) {
	var found []persistence.MarkOf
	for key, value := range m.at(p).state.Marks[space+"/"+name] {
		if key.Space == space && compareKeys(key, after) > 0 {
			found = append(found, persistence.MarkOf{Key: key, Value: []byte(value)})
		}
	}
	slices.SortFunc(found, func(a, b persistence.MarkOf) int { return compareKeys(a.Key, b.Key) })
	return found[:min(limit, len(found))], nil
}

func compareKeys(a, b persistence.Key) int {
	return cmp.Or(strings.Compare(a.Space, b.Space), cmp.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
}

// Spaces implements [persistence.Storage].
func (m *model) Spaces(_ context.Context, p persistence.Partition) ([]string, error) {
	spaces := map[string]bool{}
	for key := range m.at(p).state.Entities {
		spaces[key.Space] = true
	}
	return slices.Sorted(maps.Keys(spaces)), nil
}

// Record implements [persistence.Storage]; a model keeps no records.
func (m *model) Record(context.Context, string) ([]byte, error) { return nil, persistence.ErrAbsent }

// Records implements [persistence.Storage].
func (m *model) Records(context.Context, string, int) ([]persistence.Record, error) { return nil, nil }
