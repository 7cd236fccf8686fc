package persistencetest

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/skerry-dev/skerry/persistence"
)

// Model is one partition, kept in maps: the promises in their simplest form, to compare an engine with.
type Model struct {
	Epoch    persistence.Epoch
	Entities map[persistence.Key]*ModelEntity
	Marks    map[string]map[persistence.Key]string // by space/name
}

// ModelEntity is an entity in a Model.
type ModelEntity struct {
	Entries   map[persistence.Seq]string
	Last      persistence.Seq
	Trimmed   persistence.Seq
	Snapshots []persistence.Snapshot // newest first, at most two, with Data
	staged    map[int]string
	stagedSeq persistence.Seq
}

// NewModel returns an empty partition.
func NewModel() *Model {
	return &Model{Entities: map[persistence.Key]*ModelEntity{}, Marks: map[string]map[persistence.Key]string{}}
}

// Clone returns a model that shares nothing with m.
func (m *Model) Clone() *Model {
	c := NewModel()
	c.Epoch = m.Epoch
	for k := range m.Entities {
		c.Entities[k] = m.entity(k)
	}
	for name, marked := range m.Marks {
		c.Marks[name] = maps.Clone(marked)
	}
	return c
}

// Claim makes epoch the partition's when it is newer.
func (m *Model) Claim(epoch persistence.Epoch) {
	if epoch.Compare(m.Epoch) <= 0 {
		return
	}
	m.Epoch = epoch
	for _, e := range m.Entities {
		e.staged, e.stagedSeq = nil, 0
	}
}

// Change applies a valid change of a main part, or returns the class of its refusal.
func (m *Model) Change(c *persistence.Change) error {
	if c.Epoch != m.Epoch {
		return persistence.ErrFenced
	}
	if c.EraseSpace != "" {
		m.erase(c.EraseSpace)
		return nil
	}
	e := m.entity(c.Key)
	for _, entry := range c.Entries {
		if entry.Seq <= e.Last {
			return persistence.ErrDuplicate
		}
		if entry.Seq != e.Last+1 {
			return persistence.ErrGap
		}
		e.Last++
		e.Entries[e.Last] = string(entry.Data)
	}
	if p := c.Piece; p != nil {
		if err := e.piece(p); err != nil {
			return err
		}
	}
	if s := c.Snapshot; s != nil {
		trimTo := persistence.Seq(math.MaxUint64)
		if c.Key.Kind == persistence.KindWorld {
			trimTo = c.TrimTo
		}
		if err := e.snapshot(*s, c.Epoch, trimTo); err != nil {
			return err
		}
	}
	if e.Last > 0 { // accepted: only now it counts
		m.Entities[c.Key] = e
	}
	for _, mark := range c.Marks {
		m.mark(c.Key, mark)
	}
	return nil
}

// entity returns a copy of an entity, an empty one when there is none.
func (m *Model) entity(k persistence.Key) *ModelEntity {
	e, ok := m.Entities[k]
	if !ok {
		return &ModelEntity{Entries: map[persistence.Seq]string{}}
	}
	return &ModelEntity{
		Entries: maps.Clone(e.Entries), Last: e.Last, Snapshots: slices.Clone(e.Snapshots),
		staged: maps.Clone(e.staged), stagedSeq: e.stagedSeq, Trimmed: e.Trimmed,
	}
}

func (e *ModelEntity) newest() persistence.Seq {
	if len(e.Snapshots) == 0 {
		return 0
	}
	return e.Snapshots[0].Seq
}

func (e *ModelEntity) piece(p *persistence.Piece) error {
	switch {
	case p.Seq > e.Last:
		return persistence.ErrGap
	case p.Seq < e.newest(), p.Seq < e.stagedSeq:
		return persistence.ErrOldSnapshot
	}
	if p.Seq > e.stagedSeq {
		e.staged, e.stagedSeq = map[int]string{}, p.Seq
	}
	e.staged[p.Index] = string(p.Data)
	return nil
}

func (e *ModelEntity) snapshot(s persistence.Snapshot, epoch persistence.Epoch, trimTo persistence.Seq) error {
	switch {
	case s.Seq > e.Last:
		return persistence.ErrGap
	case s.Seq < e.newest():
		return persistence.ErrOldSnapshot
	case s.Seq == e.newest() && s.Pieces > 0 && e.stagedSeq != s.Seq:
		return nil // asked again
	}
	if s.Pieces > 0 {
		if e.stagedSeq != s.Seq || len(e.staged) != s.Pieces {
			return persistence.ErrIncomplete
		}
		for i := range s.Pieces {
			piece, ok := e.staged[i]
			if !ok {
				return persistence.ErrIncomplete
			}
			s.Data = append(s.Data, piece...)
		}
	}
	if s.Seq >= e.stagedSeq {
		e.staged, e.stagedSeq = nil, 0
	}
	s.Epoch = epoch
	if s.Seq == e.newest() {
		e.Snapshots = e.Snapshots[1:]
	}
	e.Snapshots = append([]persistence.Snapshot{s}, e.Snapshots...)
	if len(e.Snapshots) > 2 {
		e.Snapshots = e.Snapshots[:2]
	}
	if len(e.Snapshots) == 2 {
		e.Trimmed = max(e.Trimmed, min(trimTo, e.Snapshots[1].Seq))
		maps.DeleteFunc(e.Entries, func(seq persistence.Seq, _ string) bool { return seq <= e.Trimmed })
	}
	return nil
}

func (m *Model) mark(k persistence.Key, mark persistence.Mark) {
	name := k.Space + "/" + mark.Name
	if mark.Value == nil {
		delete(m.Marks[name], k)
		return
	}
	if m.Marks[name] == nil {
		m.Marks[name] = map[persistence.Key]string{}
	}
	m.Marks[name][k] = string(mark.Value)
}

func (m *Model) erase(space string) {
	for k := range m.Entities {
		if k.Space == space {
			delete(m.Entities, k)
		}
	}
	for _, marked := range m.Marks {
		for k := range marked {
			if k.Space == space {
				delete(marked, k)
			}
		}
	}
}

// Loaded is what a load of k must find, without the head's TailBytes; nil when it must be absent.
func (m *Model) Loaded(k persistence.Key) *persistence.Loaded {
	e, ok := m.Entities[k]
	if !ok {
		return nil
	}
	found := &persistence.Loaded{Head: persistence.Head{Last: e.Last, Trimmed: e.Trimmed}}
	for _, s := range e.Snapshots {
		s.Data = nil
		found.Head.Snapshots = append(found.Head.Snapshots, s)
	}
	if len(e.Snapshots) > 0 {
		found.Snapshot = e.Snapshots[0]
	}
	from := found.Snapshot.Seq
	if k.Kind == persistence.KindWorld {
		from = e.Trimmed
	}
	for seq := from + 1; seq <= e.Last; seq++ {
		found.Entries = append(found.Entries, persistence.Entry{Seq: seq, Data: []byte(e.Entries[seq])})
	}
	return found
}

// String says what the model has, for a failed comparison.
func (m *Model) String() string {
	return fmt.Sprintf("epoch %s, %d entities", m.Epoch, len(m.Entities))
}
