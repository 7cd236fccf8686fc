package actors

import (
	"context"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// scanSteps is how many steps a scan of all activations has, so that none holds a lock for long.
const scanSteps = 16

// runScan encodes and passivates what is idle, and keeps the memory limit, until ctx ends. The host looks itself:
// protoactor's receive time-out is racy and costs memory.
func (h *Host) runScan(ctx context.Context) {
	ticker := time.NewTicker(max(h.ScanInterval()/scanSteps, time.Millisecond))
	defer ticker.Stop()
	before := int64(0) // chunks were dropped when so much was held
	for step := 0; ; step = (step + 1) % scanSteps {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for i := step; i < len(h.shards); i += scanSteps {
			h.scan(h.shards[i])
		}
		switch limit, held := h.opts.MemoryLimitBytes, h.heldSize.Load(); {
		case limit == 0 || held <= limit:
			before = 0
		case (before == 0 || held < before) && h.dropParts(): // chunks go before entities do, for as long as that helps
			before = held
		default:
			h.evict(limit - limit/20)
			before = 0
		}
		if h.health.recovered(h.now()) && h.opts.Events.Critical != nil {
			h.opts.Events.Critical(false)
		}
	}
}

// scan tells the idle activations of s so.
func (h *Host) scan(s *shard) {
	var toPack, toLeave []*activation
	now := h.now()
	s.mu.Lock()
	for _, a := range s.activations {
		if a.state != active || a.queued.Load() != 0 {
			continue
		}
		switch idle := now - instant(a.lastUsed.Load()); {
		case idle >= h.opts.PassivateAfter:
			toLeave = append(toLeave, a)
		case idle >= h.opts.EncodeIdleAfter && !a.isPacked.Load():
			toPack = append(toPack, a)
		}
	}
	s.mu.Unlock()
	for _, a := range toLeave {
		h.tell(a, leaveIdle)
	}
	for _, a := range toPack {
		h.tell(a, pack)
	}
}

// dropParts tells all worlds to forget chunks, and reports whether there are worlds.
func (h *Host) dropParts() bool {
	told := false
	for _, s := range h.shards {
		for _, a := range s.list(func(a *activation) bool { return a.state == active && a.key.Kind == persistence.KindWorld }) {
			told = h.tell(a, dropParts) || told
		}
	}
	return told
}

// evict passivates the least recently used activations until those that stay hold at most target bytes.
func (h *Host) evict(target int64) {
	type candidate struct {
		a        *activation
		lastUsed int64
		bytes    int64
	}
	var candidates []candidate
	held := int64(0) // by those that are not on their way out
	for _, s := range h.shards {
		s.mu.Lock()
		for _, a := range s.activations {
			if a.state == active {
				held += a.size.Load()
				candidates = append(candidates, candidate{a, a.lastUsed.Load(), a.size.Load()})
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(candidates, func(x, y candidate) int { return int(x.lastUsed - y.lastUsed) })
	for _, c := range candidates {
		if held <= target {
			return
		}
		if h.tell(c.a, leaveMemory) {
			held -= c.bytes
		}
	}
}
