package peers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// logPause is the shortest time between two lines of one kind; a peer that is gone tries again each second.
const logPause = 10 * time.Second

// logKey is a kind of line.
type logKey struct {
	what    string
	peer    persistence.NodeID
	refusal Refusal
}

// logLimit keeps what repeats from filling the log. Its methods may be called from any goroutine.
type logLimit struct {
	logger *slog.Logger

	mu struct {
		sync.Mutex
		kinds map[logKey]*logKind // a few for each peer, and one for each refusal
	}
}

type logKind struct {
	last    time.Time
	skipped int
}

func newLogLimit(logger *slog.Logger) *logLimit {
	l := &logLimit{logger: logger}
	l.mu.kinds = map[logKey]*logKind{}
	return l
}

// warn writes a line, or counts it if one of its kind was written a moment ago.
func (l *logLimit) warn(ctx context.Context, key logKey, message string, attrs ...slog.Attr) {
	l.mu.Lock()
	k := l.mu.kinds[key]
	if k == nil {
		k = &logKind{}
		l.mu.kinds[key] = k
	}
	now := time.Now()
	due := k.last.IsZero() || now.Sub(k.last) >= logPause
	skipped := k.skipped
	if due {
		k.last, k.skipped = now, 0
	} else {
		k.skipped++
	}
	l.mu.Unlock()
	if !due {
		return
	}
	if skipped > 0 {
		attrs = append(attrs, slog.Int("skipped", skipped))
	}
	l.logger.LogAttrs(ctx, slog.LevelWarn, message, attrs...) //nolint:sloglint // every caller passes a constant
}
