package gateway

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimiters bounds how many callers are counted at once.
const maxLimiters = 16384

// limiters counts the requests of each caller. Its methods may be called from any goroutine.
type limiters struct {
	perSecond rate.Limit // 0: nobody is limited
	burst     int

	mu struct {
		sync.Mutex
		of map[string]*rate.Limiter
	}
}

// of returns the limiter of a caller, nil when nobody is limited. At the bound, those who have all their tokens are
// forgotten, which changes nothing for them; if that frees nothing, all are, in favour of serving.
func (l *limiters) of(name string) *rate.Limiter {
	if l.perSecond == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if limiter := l.mu.of[name]; limiter != nil {
		return limiter
	}
	if len(l.mu.of) >= maxLimiters {
		for other, limiter := range l.mu.of {
			if limiter.Tokens() >= float64(l.burst) {
				delete(l.mu.of, other)
			}
		}
	}
	if l.mu.of == nil || len(l.mu.of) >= maxLimiters {
		l.mu.of = map[string]*rate.Limiter{}
	}
	limiter := rate.NewLimiter(l.perSecond, l.burst)
	l.mu.of[name] = limiter
	return limiter
}

// spend takes one request from the caller's limit, or refuses and says when to come back.
func (c *caller) spend() error {
	if c.limiter == nil {
		return nil
	}
	now := time.Now()
	reservation := c.limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	reservation.CancelAt(now)
	return &refusal{err: errTooMany, message: "over the limit of requests per second", retryAfter: wait}
}
