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
	journal persistence.Journal
	owners  *owners
	stats   func() actors.Stats

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
	if h.stats().Critical {
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
		h.send()
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

// send proposes a canary, whose end reaches done in any case.
func (h *health) send() {
	epoch, err := h.owners.epoch(persistence.MetaPartition)
	if err == nil {
		err = h.journal.Propose(persistence.MetaPartition, &persistence.Change{Epoch: epoch}, h.done)
	}
	if err != nil {
		h.done(err)
	}
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
