package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/persistence"
)

// errCritical says that loads or saves keep failing.
var errCritical = errors.New("critical state: loads or saves keep failing, see the log")

// health answers /healthz: a canary entry goes through the log, when none did within the last second.
type health struct {
	node *Node

	mu struct {
		sync.Mutex
		committed time.Time     // of the newest canary
		waiting   chan struct{} // closed when the canary on its way is done; nil: none is
		err       error         // of the newest canary
	}
}

const (
	// canaryAge is how old a canary may be that still shows health.
	canaryAge = time.Second
	// canaryTimeout is how long a healthy log takes at most.
	canaryTimeout = 5 * time.Second
)

// check returns nil when an entry was committed within the last second, or is now, and saves and loads work.
func (h *health) check(ctx context.Context) error {
	if h.node.actors.Stats().Critical {
		return errCritical
	}
	h.mu.Lock()
	if time.Since(h.mu.committed) < canaryAge {
		h.mu.Unlock()
		return nil
	}
	waiting, first := h.mu.waiting, h.mu.waiting == nil
	if first {
		waiting = make(chan struct{})
		h.mu.waiting = waiting
	}
	h.mu.Unlock()
	if first {
		h.send() //nolint:contextcheck // others wait for it too
	}
	ctx, cancel := context.WithTimeout(ctx, canaryTimeout)
	defer cancel()
	select {
	case <-waiting:
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.mu.err
	case <-ctx.Done():
		return fmt.Errorf("canary: no entry was committed in time: %w", ctx.Err())
	}
}

// readyTimeout is how long a look into the cluster's records takes at most.
const readyTimeout = time.Second

// ready answers /readyz: nil, or why requests should go elsewhere. What comes all the same is passed on.
func (h *health) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if h.node.cluster.Leaving(ctx) {
		return fmt.Errorf("%w: what this node owned goes to others", actors.ErrDraining)
	}
	return nil
}

// send proposes a canary in a partition that this node owns, or asks the meta partition's owner to; its end reaches done in
// any case.
func (h *health) send() {
	n := h.node
	for p := range n.store.Partitions() + 1 {
		partition := persistence.Partition(p - 1) //nolint:gosec // at most 4096
		if p == 0 {
			partition = persistence.MetaPartition
		}
		epoch, err := n.owners.epoch(partition)
		if err != nil {
			continue
		}
		if err = n.journal.Propose(partition, &persistence.Change{Epoch: epoch}, h.done); err != nil {
			h.done(err)
		}
		return
	}
	n.asking.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), canaryTimeout)
		defer cancel()
		h.done(n.proposeAt(ctx, persistence.MetaPartition, &persistence.Change{}))
	})
}

func (h *health) done(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.err = nil
	if err != nil {
		h.mu.err = fmt.Errorf("canary: %w", err)
	} else {
		h.mu.committed = time.Now()
	}
	close(h.mu.waiting)
	h.mu.waiting = nil
}
