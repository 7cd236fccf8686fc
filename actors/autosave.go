package actors

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// autosaveTicks is how many steps the autosave interval has.
const autosaveTicks = 256

// autosave is the list of activations that are dirty and not being saved, oldest first, and the pace of saving them.
type autosave struct {
	mu         sync.Mutex
	head, last *activation
	n          int64
	credit     float64 // of saves before their time
	naive      bool    // immutable: all at once

	saved, failed atomic.Int64 // since the last round was logged
}

// listed is an activation's place in the list.
type listed struct {
	prev, next *activation
	since      instant
	in         bool
}

// push adds a at the end: since is when its oldest unsaved event happened, hardly ever before the last one's.
func (s *autosave) push(a *activation, since instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.listed.in {
		return
	}
	a.listed = listed{prev: s.last, since: since, in: true}
	if s.last != nil {
		s.last.listed.next = a
	} else {
		s.head = a
	}
	s.last = a
	s.n++
}

// remove takes a out of the list, if it is there.
func (s *autosave) remove(a *activation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(a)
}

func (s *autosave) removeLocked(a *activation) {
	l := &a.listed
	if !l.in {
		return
	}
	if l.prev != nil {
		l.prev.listed.next = l.next
	} else {
		s.head = l.next
	}
	if l.next != nil {
		l.next.listed.prev = l.prev
	} else {
		s.last = l.prev
	}
	*l = listed{}
	s.n--
}

func (s *autosave) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// oldest is since when the oldest change has no snapshot; false: there is none.
func (s *autosave) oldest() (since instant, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		return 0, false
	}
	return s.head.listed.since, true
}

// pick takes the activations to save in this step. Each is saved before its oldest event is an interval old; when many
// became dirty at once, some of them are taken from half the interval on, so that the saves are spread over the rest.
func (s *autosave) pick(now instant, interval, step time.Duration, picked []*activation) []*activation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.naive {
		for s.head != nil {
			picked = append(picked, s.head)
			s.removeLocked(s.head)
		}
		return picked
	}
	if s.head == nil || now-s.head.listed.since < interval/2 {
		s.credit = 0
		return picked
	}
	left := max((interval-(now-s.head.listed.since))/step, 1) // steps until the oldest is due
	s.credit += float64(s.n-1) / float64(left)
	for s.head != nil {
		a := s.head
		age := now - a.listed.since
		if due := age+step >= interval; !due && (s.credit < 1 || age < interval/2) {
			break
		}
		s.credit = max(0, s.credit-1)
		s.removeLocked(a)
		picked = append(picked, a)
	}
	return picked
}

// runAutosave saves what is dirty, until ctx ends.
func (h *Host) runAutosave(ctx context.Context) {
	step, round := max(h.opts.AutosaveInterval/autosaveTicks, time.Millisecond), autosaveTicks
	first := step
	if h.opts.Naive { // at the same moment on all nodes: a server saves all of its players at once, wherever they are
		step, round = h.opts.AutosaveInterval, 1
		first = step - time.Duration(time.Now().UnixNano())%step
	}
	ticker := time.NewTicker(first)
	defer ticker.Stop()
	var picked []*activation
	for tick := 1; ; tick++ {
		select {
		case <-ticker.C:
			if tick == 1 {
				ticker.Reset(step)
			}
		case <-ctx.Done():
			return
		}
		picked = h.autosave.pick(h.now(), h.opts.AutosaveInterval, step, picked[:0])
		for _, a := range picked {
			h.tell(a, beginSave)
		}
		clear(picked)
		if tick%round == 0 {
			h.logRound(ctx)
		}
	}
}

// logRound says once in an interval what was saved.
func (h *Host) logRound(ctx context.Context) {
	saved, failed := h.autosave.saved.Swap(0), h.autosave.failed.Swap(0)
	if saved+failed > 0 {
		h.log.LogAttrs(ctx, slog.LevelInfo, "autosave round", slog.Int64("saved", saved), slog.Int64("failed", failed),
			slog.Int64("dirty", h.autosave.count()))
	}
}
