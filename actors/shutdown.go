package actors

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// maxEndings is how many activations are told to save and stop at a time: enough to keep the journal busy, and less than
// its queue holds.
const maxEndings = 512

// progressInterval is the time between two log lines of a shutdown.
const progressInterval = time.Second

// ending is what a shutdown knows.
type ending struct {
	begun     atomic.Bool
	abandoned atomic.Bool // nothing is activated any more
	saved     atomic.Int64
	journaled atomic.Int64
	failed    atomic.Int64
	ended     atomic.Int64
	wake      chan struct{} // nil until begun; holds 1
}

// Report says what a shutdown did with the activations.
type Report struct {
	// Saved were dirty, and their snapshots were accepted. Journaled were dirty, and only their journals are whole.
	// Failed lost what only memory had, if anything: the deadline came first, or the partition was lost.
	Saved, Journaled, Failed int64
	// Clean had nothing to save.
	Clean int64
}

// Drain makes the host accept nothing new: calls get [ErrDraining]. What was accepted goes on.
func (h *Host) Drain() {
	h.draining.Store(true)
	h.budgets.drain(ErrDraining)
}

// Shutdown accepts nothing new, finishes what was accepted, saves everything that is dirty, many at a time, and stops all
// activations. It returns when that is done, or with ctx's error when ctx ended first: what was not saved by then is
// stopped as it is. Call it once, while Run is running; end Run afterwards.
func (h *Host) Shutdown(ctx context.Context) (Report, error) {
	began := h.now()
	h.ending.wake = make(chan struct{}, 1)
	h.ending.begun.Store(true)
	h.Drain()
	h.log.LogAttrs(ctx, slog.LevelInfo, "shutdown begun", slog.Int64("activations", h.live.Load()), slog.Int64("calls", h.calls.Load()))
	progress := time.NewTicker(progressInterval)
	defer progress.Stop()

	err := h.until(ctx, progress, func() bool { return h.calls.Load() == 0 })
	if err == nil {
		err = h.endAll(ctx, progress)
	}
	if err != nil {
		h.abandon()
	}
	report := Report{Saved: h.ending.saved.Load(), Journaled: h.ending.journaled.Load(), Failed: h.ending.failed.Load()}
	report.Clean = h.ending.ended.Load() - report.Saved - report.Journaled - report.Failed
	attrs := []slog.Attr{
		slog.Int64("saved", report.Saved), slog.Int64("journaled", report.Journaled),
		slog.Int64("failed", report.Failed), slog.Int64("clean", report.Clean), slog.Duration("duration", h.now()-began),
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	h.log.LogAttrs(ctx, slog.LevelInfo, "shutdown done", attrs...)
	return report, err
}

// endAll tells all activations to save and stop, some at a time, and waits for them. No calls are left, so no activation
// comes after those that it finds.
func (h *Host) endAll(ctx context.Context, progress *time.Ticker) error {
	told, most := int64(0), int64(maxEndings)
	if h.opts.Naive {
		most = 1
	}
	for _, s := range h.shards {
		for _, a := range s.list(func(*activation) bool { return true }) {
			if err := h.until(ctx, progress, func() bool { return told-h.ending.ended.Load() < most }); err != nil {
				return err
			}
			if h.tell(a, shutDown) {
				told++
			}
		}
	}
	return h.until(ctx, progress, func() bool { return h.live.Load() == 0 })
}

// until waits until done reports true. It looks whenever a counter changes.
func (h *Host) until(ctx context.Context, progress *time.Ticker, done func() bool) error {
	for !done() {
		select {
		case <-h.changed:
		case <-h.ending.wake:
		case <-progress.C:
			h.log.LogAttrs(ctx, slog.LevelInfo, "shutdown goes on", slog.Int64("calls", h.calls.Load()),
				slog.Int64("activations", h.live.Load()), slog.Int64("saved", h.ending.saved.Load()))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	h.hint() // Run may wait for the same
	return nil
}

// ended counts an activation's end for the report.
func (h *Host) ended(a *activation) {
	e := &h.ending
	if !e.begun.Load() {
		return
	}
	switch {
	case a.mode == dropping || a.proposed() < a.seq:
		e.failed.Add(1)
	case a.dirty():
		e.journaled.Add(1)
	case a.wasDirty:
		e.saved.Add(1)
	}
	e.ended.Add(1)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// abandon stops everything as it is, answers what waits, and returns when nothing of the host runs any more.
func (h *Host) abandon() {
	h.ending.abandoned.Store(true)
	h.Drain()
	for _, s := range h.shards {
		for _, a := range s.list(func(*activation) bool { return true }) {
			h.giveUp(a, ErrDraining)
			a.wrong(ErrDraining)
			h.tell(a, drop) // one that was wrong before may still wait for its changes
		}
	}
	for h.live.Load() > 0 { // soon: nothing waits for a disk
		<-h.changed
	}
	h.hint() // Run and Shutdown may both wait
}
