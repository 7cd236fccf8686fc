package actors

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// criticalFailures within criticalWindow are a critical state.
	criticalFailures = 5
	criticalWindow   = 120 * time.Second
)

// health remembers when the newest loads and saves failed.
type health struct {
	mu     sync.Mutex
	n      int                       // of failures, ever
	recent [criticalFailures]instant // a ring: the n-th is at n % criticalFailures
	alarm  bool                      // Events.Critical(true) was said
}

func (s *health) criticalLocked(now instant) bool {
	return s.n >= criticalFailures && now-s.recent[s.n%criticalFailures] <= criticalWindow
}

// critical reports whether too many loads and saves failed lately.
func (s *health) critical(now instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.criticalLocked(now)
}

// fail notes a failure and reports whether the state became critical.
func (s *health) fail(now instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent[s.n%criticalFailures] = now
	s.n++
	became := !s.alarm && s.criticalLocked(now)
	s.alarm = s.alarm || became
	return became
}

// recovered reports, once, that the critical state is over.
func (s *health) recovered(now instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.alarm || s.criticalLocked(now) {
		return false
	}
	s.alarm = false
	return true
}

// failed notes that a load or a save failed.
func (h *Host) failed(ctx context.Context) {
	if !h.health.fail(h.now()) {
		return
	}
	h.log.LogAttrs(ctx, slog.LevelError, "critical state: loads or saves keep failing",
		slog.Int("failures", criticalFailures), slog.Duration("window", criticalWindow))
	if h.opts.Events.Critical != nil {
		h.opts.Events.Critical(true)
	}
}
