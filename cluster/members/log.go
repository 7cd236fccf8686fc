package members

import (
	"context"
	"log"
	"log/slog"
	"strings"
)

// libraryLog brings memberlist's lines to a [slog.Logger].
type libraryLog struct{ to *slog.Logger }

func newLibraryLog(to *slog.Logger) *log.Logger { return log.New(libraryLog{to}, "", 0) }

// Write implements [io.Writer], for one line. What memberlist calls an error is trouble with one other node, and heals.
func (l libraryLog) Write(line []byte) (int, error) {
	said := strings.TrimSpace(string(line))
	level := slog.LevelWarn
	if strings.HasPrefix(said, "[") {
		word, rest, _ := strings.Cut(said[1:], "]")
		said = rest
		switch word {
		case "DEBUG":
			level = slog.LevelDebug
		case "INFO":
			level = slog.LevelInfo
		}
	}
	said = strings.TrimPrefix(strings.TrimSpace(said), "memberlist: ")
	l.to.LogAttrs(context.Background(), level, "gossip", slog.String("said", said))
	return len(line), nil
}
