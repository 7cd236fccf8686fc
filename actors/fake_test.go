package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// store is a journal and a storage in memory, which a test can hold up, fill, and break. It checks what real ones check.
type store struct {
	t    testing.TB
	wake chan struct{}

	mu       sync.Mutex
	epoch    persistence.Epoch
	entities map[persistence.Key]*stored
	queue    []queued
	barriers []func(error)

	held         bool // nothing is applied
	full         bool // Propose returns ErrQueueFull
	heldBarriers bool
	refuse       func(*persistence.Change) error // instead of applying
	loadFault    func(persistence.Key) error
	loads        int
	partFault    func(persistence.Part) error
	partLoads    int
	damagedPart  persistence.Part      // its newest snapshot does not verify
	damaged      bool                  // the newest snapshots do not verify
	changes      []*persistence.Change // applied
}

type queued struct {
	change *persistence.Change
	done   func(error)
}

// stored is an entity.
type stored struct {
	last      persistence.Seq
	entries   []persistence.Entry
	snapshots []persistence.Snapshot                      // newest first
	parts     map[persistence.Part][]persistence.Snapshot // the others, newest first
	trimmed   persistence.Seq
	pieces    map[string][][]byte // by part and seq
	marks     map[string]string
}

func pieceKey(part persistence.Part, seq persistence.Seq) string { return fmt.Sprint(part, "@", seq) }

func newStore(tb testing.TB) *store {
	tb.Helper()
	return &store{t: tb, wake: make(chan struct{}, 1), entities: map[persistence.Key]*stored{}, epoch: persistence.Epoch{Term: 1}}
}

// run applies what was proposed, until ctx ends. Then the outcome of the rest is unknown.
func (s *store) run(ctx context.Context) {
	for {
		for s.step() {
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			s.loseAll(persistence.ErrOutcomeUnknown)
			return
		}
	}
}

// step applies one change and reports whether there was one.
func (s *store) step() bool {
	s.mu.Lock()
	if s.held || len(s.queue) == 0 {
		s.mu.Unlock()
		return false
	}
	next := s.queue[0]
	s.queue = s.queue[1:]
	err := s.apply(next.change)
	s.mu.Unlock()
	next.done(err)
	return true
}

// set changes the store's behaviour under its lock.
func (s *store) set(change func()) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	s.poke()
}

func (s *store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// loseAll ends everything that waits.
func (s *store) loseAll(err error) {
	s.mu.Lock()
	queue, barriers := s.queue, s.barriers
	s.queue, s.barriers = nil, nil
	s.mu.Unlock()
	for _, q := range queue {
		q.done(err)
	}
	for _, done := range barriers {
		done(err)
	}
}

func (s *store) Propose(_ persistence.Partition, c *persistence.Change, done func(error)) error {
	if err := c.Validate(); err != nil {
		s.t.Errorf("proposed %+v: %v", c, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return persistence.ErrQueueFull
	}
	s.queue = append(s.queue, queued{c, done})
	s.poke()
	return nil
}

func (s *store) Barrier(_ persistence.Partition, _ persistence.Epoch, done func(error)) error {
	s.mu.Lock()
	if s.heldBarriers {
		s.barriers = append(s.barriers, done)
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	done(nil)
	return nil
}

// passBarriers lets the oldest n of the held barriers through.
func (s *store) passBarriers(n int) {
	s.mu.Lock()
	barriers := s.barriers[:n]
	s.barriers = s.barriers[n:]
	s.mu.Unlock()
	for _, done := range barriers {
		done(nil)
	}
}

func (s *store) apply(c *persistence.Change) error {
	if s.refuse != nil {
		if err := s.refuse(c); err != nil {
			return err
		}
	}
	if c.Epoch.Compare(s.epoch) < 0 {
		return persistence.ErrFenced
	}
	e := s.entities[c.Key]
	if e == nil {
		e = &stored{pieces: map[string][][]byte{}, marks: map[string]string{}, parts: map[persistence.Part][]persistence.Snapshot{}}
	}
	if len(c.Entries) > 0 {
		switch first := c.Entries[0].Seq; {
		case first <= e.last:
			return persistence.ErrDuplicate
		case first > e.last+1:
			return persistence.ErrGap
		}
	}
	last := e.last + persistence.Seq(len(c.Entries))
	if snapshot := c.Snapshot; snapshot != nil {
		kept := e.snapshots
		if snapshot.Part != "" {
			kept = e.parts[snapshot.Part]
		}
		switch {
		case snapshot.Seq > last:
			s.t.Errorf("snapshot of seq %d, the journal ends at %d", snapshot.Seq, last)
		case len(kept) > 0 && kept[0].Seq > snapshot.Seq:
			return persistence.ErrOldSnapshot
		case snapshot.Pieces > len(e.pieces[pieceKey(snapshot.Part, snapshot.Seq)]):
			return persistence.ErrIncomplete
		}
	}
	s.entities[c.Key] = e
	s.changes = append(s.changes, c)
	e.entries, e.last = append(e.entries, c.Entries...), last
	for _, m := range c.Marks {
		if m.Value == nil {
			delete(e.marks, m.Name)
		} else {
			e.marks[m.Name] = string(m.Value)
		}
	}
	if p := c.Piece; p != nil {
		key := pieceKey(p.Part, p.Seq)
		e.pieces[key] = append(e.pieces[key][:p.Index], p.Data)
	}
	if c.Snapshot != nil {
		snapshot := *c.Snapshot
		if snapshot.Pieces > 0 {
			snapshot.Data = slices.Concat(e.pieces[pieceKey(snapshot.Part, snapshot.Seq)][:snapshot.Pieces]...)
		}
		if snapshot.Part != "" {
			e.parts[snapshot.Part] = keep(e.parts[snapshot.Part], snapshot)
		} else if e.snapshots = keep(e.snapshots, snapshot); len(e.snapshots) == 2 && c.Key.Kind == persistence.KindWorld {
			e.trimmed = max(e.trimmed, min(c.TrimTo, e.snapshots[1].Seq))
		}
	}
	return nil
}

func (s *store) Load(_ context.Context, _ persistence.Partition, key persistence.Key) (*persistence.Loaded, error) {
	s.mu.Lock()
	s.loads++
	fault := s.loadFault
	s.mu.Unlock()
	if fault != nil { // outside the lock: it may wait
		if err := fault(key); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entities[key]
	if e == nil {
		return nil, persistence.ErrAbsent
	}
	found := &persistence.Loaded{Head: persistence.Head{Last: e.last, Trimmed: e.trimmed}}
	if len(e.snapshots) > 0 {
		found.Snapshot = e.snapshots[0]
		found.Head.Snapshots = slices.Clone(e.snapshots)
	}
	if s.damaged {
		found.Snapshot, found.Quarantined = persistence.Snapshot{}, 1
		if len(e.snapshots) == 2 {
			found.Snapshot = e.snapshots[1]
		}
	}
	from := found.Snapshot.Seq
	if key.Kind == persistence.KindWorld {
		from = e.trimmed
	}
	found.Entries = slices.Clone(e.entries[from:])
	return found, nil
}

// keep puts the newest of two kept snapshots first; one at the seq of the newest takes its place.
func keep(kept []persistence.Snapshot, newest persistence.Snapshot) []persistence.Snapshot {
	if len(kept) > 0 && kept[0].Seq == newest.Seq {
		kept = kept[1:]
	}
	return slices.Insert(slices.Clone(kept), 0, newest)[:min(2, len(kept)+1)]
}

// part finds the part's newest snapshot.
func (e *stored) part(name persistence.Part) *persistence.Snapshot {
	if e == nil || len(e.parts[name]) == 0 {
		return nil
	}
	return &e.parts[name][0]
}

func (s *store) LoadPart(_ context.Context, _ persistence.Partition, key persistence.Key, part persistence.Part) (persistence.Snapshot, int, error) {
	s.mu.Lock()
	s.partLoads++
	fault := s.partFault
	s.mu.Unlock()
	if fault != nil { // outside the lock: it may wait
		if err := fault(part); err != nil {
			return persistence.Snapshot{}, 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.entities[key].part(part)
	switch {
	case found != nil && part == s.damagedPart && len(s.entities[key].parts[part]) < 2:
		return persistence.Snapshot{}, 0, persistence.ErrCorrupt
	case found != nil && part == s.damagedPart:
		return s.entities[key].parts[part][1], 1, nil
	case found == nil:
		return persistence.Snapshot{}, 0, persistence.ErrAbsent
	case found.Gone:
		return *found, 0, persistence.ErrAbsent
	default:
		return *found, 0, nil
	}
}

func (s *store) Parts(_ context.Context, _ persistence.Partition, key persistence.Key, prefix, after string, limit int) ([]persistence.Part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entities[key]
	if e == nil {
		return nil, nil
	}
	var names []persistence.Part
	for name := range e.parts {
		if !e.part(name).Gone && strings.HasPrefix(string(name), prefix) && string(name) > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(limit, len(names))], nil
}

var errUnused = errors.New("not used by these tests")

func (s *store) Entities(context.Context, persistence.Partition, string, persistence.Kind, string, int) ([]string, error) {
	return nil, errUnused
}

func (s *store) Marks(context.Context, persistence.Partition, string, string, persistence.Key, int) ([]persistence.MarkOf, error) {
	return nil, errUnused
}

func (s *store) Spaces(context.Context, persistence.Partition) ([]string, error) {
	return nil, errUnused
}

func (s *store) Record(context.Context, string) ([]byte, error) { return nil, errUnused }

func (s *store) Records(context.Context, string, int) ([]persistence.Record, error) {
	return nil, errUnused
}

// head is the last seq and the newest snapshot's seq of an entity.
func (s *store) head(key persistence.Key) (last, snapshot persistence.Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entities[key]
	if e == nil {
		return 0, 0
	}
	if len(e.snapshots) > 0 {
		snapshot = e.snapshots[0].Seq
	}
	return e.last, snapshot
}

func (s *store) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d entities, %d changes applied, %d wait", len(s.entities), len(s.changes), len(s.queue))
}
