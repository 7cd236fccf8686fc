package actors

import (
	"context"
	"sync"
	"time"
)

// alarms wake activations at set times. An activation has at most one alarm of each kind, so their number is bounded.
type alarms struct {
	mu   sync.Mutex
	heap []alarm       // the earliest first, see up and down
	wake chan struct{} // holds 1: the earliest alarm is another one now
}

// alarm is a message for later.
type alarm struct {
	at instant
	a  *activation
	m  message
}

// set sends m to a at the instant at.
func (s *alarms) set(at instant, a *activation, m message) {
	s.mu.Lock()
	s.heap = append(s.heap, alarm{at, a, m})
	first := s.up(len(s.heap)-1) == 0
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// due takes an alarm whose time has come; else it says how long that takes, with ok false.
func (s *alarms) due(now instant) (next alarm, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heap) == 0 {
		return alarm{}, time.Hour, false
	}
	if next = s.heap[0]; next.at > now {
		return alarm{}, next.at - now, false
	}
	last := len(s.heap) - 1
	s.heap[0], s.heap[last] = s.heap[last], alarm{}
	s.heap = s.heap[:last]
	s.down()
	if last == 0 && cap(s.heap) > 1024 {
		s.heap = nil // after a burst
	}
	return next, 0, true
}

func (s *alarms) up(i int) int {
	for i > 0 {
		parent := (i - 1) / 2
		if s.heap[parent].at <= s.heap[i].at {
			break
		}
		s.heap[parent], s.heap[i] = s.heap[i], s.heap[parent]
		i = parent
	}
	return i
}

func (s *alarms) down() {
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(s.heap) {
			return
		}
		if child+1 < len(s.heap) && s.heap[child+1].at < s.heap[child].at {
			child++
		}
		if s.heap[i].at <= s.heap[child].at {
			return
		}
		s.heap[i], s.heap[child] = s.heap[child], s.heap[i]
		i = child
	}
}

// runAlarms wakes activations until ctx ends.
func (h *Host) runAlarms(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next, wait, ok := h.alarms.due(h.now())
		if ok {
			if next.m == reload {
				h.reload(next.a)
			} else {
				h.tell(next.a, next.m)
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-h.alarms.wake:
		case <-ctx.Done():
			return
		}
	}
}
