package pebblestore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// heads keeps the heads that Apply works on. It is a cache in front of the database plus, during one Apply, the only
// place where the changes of the batch are seen: nothing is evicted before the batch is committed. It belongs to the
// goroutine that calls Apply.
//
// Two generations make it bounded without a list: a head that is used moves to young; when young is full it becomes old,
// and what was old and unused is forgotten.
type heads struct {
	db         *pebble.DB
	limit      int // of each generation
	young, old map[string]*cachedHead
	dirty      []*cachedHead
	erased     []string // prefixes that the batch deletes: what the database still has there counts no more
	value      []byte
}

type cachedHead struct {
	key string
	head
	stored head // as it is in the database, or will be with the batch
	dirty  bool
}

func newHeads(db *pebble.DB, limit int) *heads {
	return &heads{db: db, limit: max(limit/2, 1), young: map[string]*cachedHead{}}
}

// get returns the head at key, a zero one when there is none. journal is the prefix of the entity's entries, nil for the
// head of a part. It keeps neither.
func (c *heads) get(key, journal []byte) (*cachedHead, error) {
	if h, ok := c.young[string(key)]; ok {
		return h, nil
	}
	h, ok := c.old[string(key)]
	if !ok {
		h = &cachedHead{key: string(key)}
		if !slices.ContainsFunc(c.erased, func(prefix string) bool { return strings.HasPrefix(h.key, prefix) }) {
			var err error
			if h.head, _, err = readHead(c.db, key); err != nil {
				return nil, err
			}
			h.stored = h.head
			if err = h.follow(c.db, journal); err != nil {
				return nil, err
			}
		}
	}
	c.young[h.key] = h
	return h, nil
}

// set changes a head that get returned. It is written with the batch, unless only entries were added to a tail that the
// stored head says is open, and they are few: then whoever reads the head finds them in the journal. What is stored is
// decided by each change, not by where batches end: replicas stay equal to the byte.
func (c *heads) set(h *cachedHead, to *head) {
	h.head = *to
	if h.stored.tailIsOpen() && h.stored.sameButTail(to) && to.last-h.stored.last < headLag {
		return
	}
	h.stored = *to
	if !h.dirty {
		h.dirty = true
		c.dirty = append(c.dirty, h)
	}
}

// write puts what was set into the batch, each head once however often it changed.
func (c *heads) write(batch *pebble.Batch) error {
	for _, h := range c.dirty {
		c.value = appendHeadValue(c.value[:0], &h.stored)
		op := batch.SetDeferred(len(h.key), len(c.value))
		copy(op.Key, h.key)
		copy(op.Value, c.value)
		if err := op.Finish(); err != nil {
			return fmt.Errorf("write head: %w", err)
		}
		h.dirty = false
	}
	clear(c.dirty)
	c.dirty = c.dirty[:0]
	return nil
}

// committed is called when the batch is in the database: now heads may be forgotten.
func (c *heads) committed() {
	c.erased = nil
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[string]*cachedHead, c.limit)
	}
}

// erase makes the heads whose keys begin with prefix absent; none of them is dirty, and the batch deletes them.
func (c *heads) erase(prefix []byte) {
	c.erased = append(c.erased, string(prefix))
	c.forget(prefix)
}

// forget forgets the heads whose keys begin with prefix; none of them is dirty.
func (c *heads) forget(prefix []byte) {
	for _, generation := range []map[string]*cachedHead{c.young, c.old} {
		for key := range generation {
			if strings.HasPrefix(key, string(prefix)) {
				delete(generation, key)
			}
		}
	}
}

// readHead returns the head at key, and whether there is one. Only pebble's own word makes it absent: every other
// failure is an error.
func readHead(r pebble.Reader, key []byte) (h head, found bool, err error) {
	value, closer, err := r.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return head{}, false, nil
	case err != nil:
		return head{}, false, fmt.Errorf("read head: %w", readError(err))
	}
	h, err = decodeHead(value)
	if closeErr := closer.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("read head: %w", closeErr)
	}
	return h, true, err
}

// readEntity returns an entity's head, counting the entries that follow the stored one.
func readEntity(r pebble.Reader, p persistence.Partition, k persistence.Key) (h head, found bool, err error) {
	if h, found, err = readHead(r, appendHead(nil, p, k)); err == nil && found {
		err = h.follow(r, appendJournal(nil, p, k))
	}
	return h, found, err
}
