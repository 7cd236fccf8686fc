package pebblestore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerry-dev/skerry/persistence"
)

// heads keeps the heads that Apply works on. It is a cache in front of the database plus the only place where the changes of
// the batch, and of the backlog, are seen: nothing is evicted before they are committed. It belongs to the applier.
//
// Two generations make it bounded without a list: a head that is used moves to young; when young is full it becomes old,
// and what was old and unused is forgotten.
type heads struct {
	db         *pebble.DB
	limit      int // of each generation
	young, old map[string]*cachedHead
	erased     []string // prefixes that the batch deletes: what the database still has there counts no more
	value      []byte
}

type cachedHead struct {
	key string
	head
	stored  head     // as it is in the database, or will be once it is settled
	entries [][]byte // the last ones up to head.last, in the backlog
	dirty   bool     // stored is not in the database yet
	late    bool     // it is in the backlog, for its entries or for itself
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

// set changes a head that get returned. It is to be written, unless only entries were added to a tail that the
// stored head says is open, and they are few: then whoever reads the head finds them in the journal. What is stored is
// decided by each change, not by where batches end: replicas stay equal to the byte.
func (c *heads) set(h *cachedHead, to *head) {
	h.head = *to
	if h.stored.tailIsOpen() && h.stored.sameButTail(to) && to.last-h.stored.last < headLag {
		return
	}
	h.stored, h.dirty = *to, true
}

// write puts what was set into the batch, once however often it changed.
func (c *heads) write(batch *pebble.Batch, h *cachedHead) error {
	if !h.dirty {
		return nil
	}
	c.value = appendHeadValue(c.value[:0], &h.stored)
	op := batch.SetDeferred(len(h.key), len(c.value))
	copy(op.Key, h.key)
	copy(op.Value, c.value)
	if err := op.Finish(); err != nil {
		return fmt.Errorf("write head: %w", err)
	}
	h.dirty = false
	return nil
}

// full reports whether heads will be forgotten after this batch: nothing may be late then.
func (c *heads) full() bool { return len(c.young) >= c.limit }

// committed is called when the batch is in the database: now heads may be forgotten.
func (c *heads) committed() {
	c.erased = nil
	if c.full() {
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
