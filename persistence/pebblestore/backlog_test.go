// Goal: what Pebble does not have yet is seen by everybody who reads, and is never half there.
// Method: the database beside the store; a reader of every kind after each plain change; loads that race with Apply.
package pebblestore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// has reports whether the database itself has the first entry of the player.
func has(t *testing.T, db *pebble.DB, key persistence.Key) bool {
	t.Helper()
	return hasIn(t, db, 0, key)
}

// hasIn reports the same of another partition.
func hasIn(t *testing.T, db *pebble.DB, p persistence.Partition, key persistence.Key) bool {
	t.Helper()
	_, closer, err := db.Get(pebblestore.EntryKey(p, key, 1))
	if errors.Is(err, pebble.ErrNotFound) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if err = closer.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestBacklogIsSeenByEveryReader(t *testing.T) {
	key := persistencetest.Player("1")
	for name, read := range map[string]func(s *pebblestore.Store) error{
		"load": func(s *pebblestore.Store) error {
			loaded, err := s.Load(t.Context(), 0, key)
			if err == nil && len(loaded.Entries) != 2 {
				err = fmt.Errorf("%d entries", len(loaded.Entries))
			}
			return err
		},
		"list": func(s *pebblestore.Store) error {
			ids, err := s.Entities(t.Context(), 0, key.Space, key.Kind, "", 10)
			if err == nil && !slices.Equal(ids, []string{"1"}) {
				err = fmt.Errorf("%q", ids)
			}
			return err
		},
		"spaces": func(s *pebblestore.Store) error {
			spaces, err := s.Spaces(t.Context(), 0)
			if err == nil && len(spaces) != 1 {
				err = fmt.Errorf("%q", spaces)
			}
			return err
		},
		"applied index": func(s *pebblestore.Store) error {
			index, _, err := s.Applied(0)
			if err == nil && index < 2 {
				err = fmt.Errorf("%d", index)
			}
			return err
		},
		"digest": func(s *pebblestore.Store) error { _, err := s.Digest(t.Context(), 0); return err },
		"flush":  func(s *pebblestore.Store) error { return s.Flush() },
		"copy": func(s *pebblestore.Store) error {
			_, err := s.CopyOut(t.Context(), 0, func([]byte) error { return nil })
			return err
		},
		"damage": func(s *pebblestore.Store) error {
			_, err := s.Damaged(t.Context(), 0, key, "", 1)
			return err
		},
		"a change of another kind": func(s *pebblestore.Store) error {
			index, term, err := s.Applied(1) // of another partition: settles nothing here
			if err != nil || index != 0 || term != 0 {
				return fmt.Errorf("%d %d %w", index, term, err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			d := persistencetest.NewDriver(t, s, 0)
			db := s.DB()
			for seq := range persistence.Seq(2) {
				d.Must(persistence.Change{Key: key, Entries: persistencetest.Entries(t, seq+1, seq+1)})
			}
			if has(t, db, key) {
				t.Error("nothing asked for the entry, and the database has it: there is no backlog")
			}
			if err = read(s); err != nil {
				t.Error(err)
			}
			if name == "a change of another kind" {
				d.Must(persistence.Change{Key: key, Marks: []persistence.Mark{{Name: "m", Value: []byte("v")}}})
			}
			if !has(t, db, key) {
				t.Error("the backlog is not in the database")
			}
			if err = s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBacklogIsBounded applies more than it may have.
func TestBacklogIsBounded(t *testing.T) {
	s, err := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // nothing of it is looked at
	d := persistencetest.NewDriver(t, s, 0)
	db, key := s.DB(), persistencetest.Player("1")
	entry := persistencetest.Entries(t, 1, 1)
	entry[0].Data = persistencetest.Frame(t, strings.Repeat("x", 60<<10))
	n := 0
	for !has(t, db, key) {
		if n++; n > 400 {
			t.Fatal("24 MB were applied, and none of it is in the database")
		}
		entry[0].Seq = persistence.Seq(n)
		d.Must(persistence.Change{Key: key, Entries: entry})
	}
	if n < 200 {
		t.Errorf("settled after %d entries of 60 KiB: there is hardly a backlog", n)
	}
}

// TestBacklogSettlesTheOldestFirst fills the backlog by one partition while another has an entry that waits since before:
// else the log could not be cut behind that entry for as long as nobody asks for it.
func TestBacklogSettlesTheOldestFirst(t *testing.T) {
	s, err := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // nothing of it is looked at
	db := s.DB()
	waits, busy := persistencetest.NewDriver(t, s, 0), persistencetest.NewDriver(t, s, 1)
	old, filling := persistencetest.Player("1"), persistencetest.Player("2")
	waits.Must(persistence.Change{Key: old, Entries: persistencetest.Entries(t, 1, 1)})
	entry := persistencetest.Entries(t, 1, 1)
	entry[0].Data = persistencetest.Frame(t, strings.Repeat("x", 60<<10))
	for n := 1; !hasIn(t, db, 0, old); n++ {
		if n > 400 {
			t.Fatal("24 MB were applied, and the oldest entry still waits")
		}
		if hasIn(t, db, 1, filling) {
			t.Fatalf("after %d entries the newer backlog is in the database, the older one waits", n)
		}
		entry[0].Seq = persistence.Seq(n)
		busy.Must(persistence.Change{Key: filling, Entries: entry})
	}
}

// TestBacklogSettlesOneAtATime fills the backlog by two partitions alike: when it is full, one of them is in the database.
func TestBacklogSettlesOneAtATime(t *testing.T) {
	s, err := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // nothing of it is looked at
	db, key := s.DB(), persistencetest.Player("1")
	drivers := [2]*persistencetest.Driver{persistencetest.NewDriver(t, s, 0), persistencetest.NewDriver(t, s, 1)}
	entry := persistencetest.Entries(t, 1, 1)
	entry[0].Data = persistencetest.Frame(t, strings.Repeat("x", 60<<10))
	for n := 1; !hasIn(t, db, 0, key); n++ {
		if n > 200 {
			t.Fatal("24 MB were applied, and none of it is in the database")
		}
		entry[0].Seq = persistence.Seq(n)
		for _, d := range drivers {
			d.Must(persistence.Change{Key: key, Entries: entry})
		}
	}
	if hasIn(t, db, 1, key) {
		t.Error("both partitions were settled at once")
	}
}

// TestBacklogTakesAlongWhoHasNone gives a partition nothing but what leaves no entries, and another more than the backlog
// holds: the applied index of the first gets into the database, too, or the log would keep everything after it.
func TestBacklogTakesAlongWhoHasNone(t *testing.T) {
	for name, quiet := range map[string]func(*persistencetest.Driver){
		"a canary": func(d *persistencetest.Driver) { d.Must(persistence.Change{}) },
		"a refusal": func(d *persistencetest.Driver) { // of entries after a gap
			_ = d.Change(persistence.Change{Key: persistencetest.Player("1"), Entries: persistencetest.Entries(t, 7, 7)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }() // nothing of it is looked at
			waits, busy := persistencetest.NewDriver(t, s, 0), persistencetest.NewDriver(t, s, 1)
			db := s.DB()
			quiet(waits)
			entry := persistencetest.Entries(t, 1, 1)
			entry[0].Data = persistencetest.Frame(t, strings.Repeat("x", 60<<10))
			for n := 1; n <= 400; n++ { // 24 MB
				entry[0].Seq = persistence.Seq(n)
				busy.Must(persistence.Change{Key: persistencetest.Player("2"), Entries: entry})
			}
			if err = db.Flush(); err != nil {
				t.Fatal(err)
			}
			index, err := s.Durable(0)
			if err != nil {
				t.Fatal(err)
			}
			if index != waits.Index {
				t.Errorf("index %d of the quiet partition is durable, %d was applied long before", index, waits.Index)
			}
		})
	}
}

// TestBacklogOfManyPartitions has a little wait in each of thousands of partitions, then more than may wait, each in one batch.
func TestBacklogOfManyPartitions(t *testing.T) {
	const partitions = 4000
	s, openErr := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20, Partitions: partitions})
	if openErr != nil {
		t.Fatal(openErr)
	}
	defer func() { _ = s.Close() }() // nothing of it is looked at
	db, key := s.DB(), persistencetest.Player("1")
	drivers := make([]*persistencetest.Driver, partitions)
	for p := range drivers {
		drivers[p] = persistencetest.NewDriver(t, s, persistence.Partition(p))
	}
	apply := func(entries []persistence.Entry) {
		t.Helper()
		batch := make([]persistence.Committed, partitions)
		for p, d := range drivers {
			data, err := persistence.AppendProposal(nil, &persistence.Proposal{Generation: d.Epoch.Generation, Changes: []*persistence.Change{
				{Key: key, Epoch: d.Epoch, Entries: entries},
			}})
			if err != nil {
				t.Fatal(err)
			}
			d.Index++
			batch[p] = persistence.Committed{Partition: persistence.Partition(p), Index: d.Index, Term: d.Epoch.Term, Data: data}
		}
		if _, err := s.Apply(batch); err != nil {
			t.Fatal(err)
		}
	}
	apply(persistencetest.Entries(t, 1, 1))
	if hasIn(t, db, 0, key) {
		t.Errorf("one small entry waited in each of %d partitions, and the first was settled", partitions)
	}
	more := persistencetest.Entries(t, 2, 7)
	for i := range more {
		more[i].Data = persistencetest.Frame(t, strings.Repeat("x", 900))
	}
	apply(more) // in two blocks each
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if held := s.BacklogMemory(); held > 16<<20 {
		t.Errorf("nothing waits, and %d bytes are held for it", held)
	}
}

// TestBacklogUsesItsMemoryAgain settles one partition all the time while the other has a little that waits.
func TestBacklogUsesItsMemoryAgain(t *testing.T) {
	s, err := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // nothing of it is looked at
	waits, busy := persistencetest.NewDriver(t, s, 0), persistencetest.NewDriver(t, s, 1)
	waits.Must(persistence.Change{Key: persistencetest.Player("1"), Entries: persistencetest.Entries(t, 1, 1)})
	entry := persistencetest.Entries(t, 1, 1)
	entry[0].Data = persistencetest.Frame(t, strings.Repeat("x", 10<<10))
	for seq := persistence.Seq(1); seq <= 1000; seq++ {
		entry[0].Seq = seq
		busy.Must(persistence.Change{Key: persistencetest.Player("2"), Entries: entry})
		if _, _, err = s.Applied(1); err != nil {
			t.Fatal(err)
		}
		if held := s.BacklogMemory(); held > 1<<20 {
			t.Fatalf("%d bytes are held for a backlog of one entry", held)
		}
	}
}

// TestBacklogRacesWithReaders applies plain changes while others load and list.
func TestBacklogRacesWithReaders(t *testing.T) {
	s, err := pebblestore.Open(pebblestore.Options{FS: vfs.NewMem(), Dir: "data", MemTableBytes: 1 << 20, CacheBytes: 1 << 20, CachedHeads: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // nothing of it is looked at
	d := persistencetest.NewDriver(t, s, 0)
	key := persistencetest.Player("1")
	d.Must(persistence.Change{Key: key, Entries: persistencetest.Entries(t, 1, 1)})
	stop := make(chan struct{})
	var applied atomic.Uint64
	applied.Store(1)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := persistence.Seq(applied.Load())
				loaded, err := s.Load(t.Context(), 0, key)
				if err != nil {
					t.Error(err)
					return
				}
				if loaded.Head.Last < before {
					t.Errorf("%d entries, %d were applied before", loaded.Head.Last, before)
					return
				}
				if _, err = s.Digest(t.Context(), 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for seq := persistence.Seq(2); seq <= 500; seq++ {
		d.Must(persistence.Change{Key: key, Entries: persistencetest.Entries(t, seq, seq)})
		applied.Store(uint64(seq))
		other := persistencetest.Player(fmt.Sprint(seq))
		d.Must(persistence.Change{Key: other, Entries: persistencetest.Entries(t, 1, 1)})
	}
	close(stop)
	readers.Wait()
}
