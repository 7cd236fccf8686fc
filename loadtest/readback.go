package loadtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// found is what the final reading came to.
type found struct {
	entities int
	wrong    []string // what does not fit the ledger, by entity
	taken    int      // MEMORY turns that crashes took, as they may
	made     []string // items that came out of nothing, or went
}

// readers is how many entities are read at the same time.
const readers = 32

// readBack reads every entity of the ledger through the front door, and holds it against what was acknowledged.
func (e *engine) readBack(ctx context.Context) (found, error) {
	all := e.ledger.all()
	read := make([]*stored, len(all))
	next := make(chan int)
	failed := make(chan error, readers)
	var reading sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range readers {
		c := e.clients[i%len(e.clients)]
		reading.Go(func() {
			for at := range next {
				got, err := readWithin(ctx, c, all[at])
				if err != nil {
					failed <- err // one each: there is room
					cancel()
					return
				}
				read[at] = got
			}
		})
	}
	for at, a := range all {
		if !a.begun() {
			continue // nobody ever saw it: its opening failed
		}
		select {
		case next <- at:
		case <-ctx.Done():
		}
	}
	close(next)
	reading.Wait()
	select {
	case err := <-failed:
		return found{}, err
	default:
	}
	if ctx.Err() != nil {
		return found{}, fmt.Errorf("read everything back: %w", context.Cause(ctx))
	}
	return compare(all, read), nil
}

// compare holds what was read against the accounts; nil was not read.
func compare(all []*account, read []*stored) found {
	var f found
	var sum conservation
	for i, got := range read {
		if got == nil {
			continue
		}
		f.entities++
		sum.add(all[i], got)
		wrong, taken := all[i].check(*got)
		f.wrong = append(f.wrong, wrong...)
		f.taken += taken
	}
	f.made = sum.wrong()
	return f
}

// begun reports whether it is known what the entity had at first.
func (a *account) begun() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// readTries bounds how often one entity is asked for.
const readTries = 20

// readWithin reads one entity, and tries again while the cluster does not answer.
func readWithin(ctx context.Context, c *client.Client, a *account) (got *stored, err error) {
	for try := range readTries {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		got, err = readOne(asking, c, a)
		cancel()
		if err == nil {
			return got, nil
		}
		if isCode(err, client.ErrNotFound) {
			return &stored{block: func(place) uint16 { return 0 }}, nil // everything is lost: the ledger says so
		}
		if !pause(ctx, time.Duration(try+1)*50*time.Millisecond) {
			break
		}
	}
	return nil, fmt.Errorf("read %s back: %w", a.name, err)
}

func readOne(ctx context.Context, c *client.Client, a *account) (*stored, error) {
	kind, id, _ := strings.Cut(a.name, "/")
	if kind == "player" {
		p, err := c.Player(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		return &stored{has: countsOf(p)}, nil
	}
	has, err := chestItems(ctx, c, id)
	if err != nil {
		return nil, err
	}
	blocks := map[place]uint16{}
	var refs []*client.ChunkRef
	for ref, err := range c.ListChunks(ctx, id) {
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		refs = append(refs, ref)
	}
	for chunk, err := range c.Chunks(ctx, id, refs, client.Runs) {
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		addBlocks(blocks, chunk)
	}
	return &stored{has: has, block: func(at place) uint16 { return blocks[at] }}, nil
}

// addBlocks notes the blocks of an edited chunk. The scenarios never fill one.
func addBlocks(blocks map[place]uint16, chunk *skerryv1.ChunkData) {
	for i := 0; i+3 < len(chunk.GetEdits()); i += 4 {
		edit := chunk.GetEdits()[i:]
		blocks[place{edit[0], edit[1], edit[2]}] = uint16(edit[3]) //nolint:gosec // block ids are 16 bits
	}
}
