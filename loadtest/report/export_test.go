package report

import (
	"io"
	"time"
)

// NewLiveTerminal is NewLive on a terminal of so many columns.
func NewLiveTerminal(w io.Writer, total time.Duration, columns int) *Live {
	l := NewLive(w, total)
	l.columns = func() int { return columns }
	return l
}
