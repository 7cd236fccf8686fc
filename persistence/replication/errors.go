package replication

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrLogFailed means that the log could not be written or fsynced. What the disk holds is unknown, so the host has stopped and the
// process must end; the next start finds out. The wrapped error says why.
var ErrLogFailed = errors.New("log can no longer be written")

// ErrStateMachineFailed means that the state machine could not apply, flush or say what is durable. The process must end.
var ErrStateMachineFailed = errors.New("state machine failed")

// errMalformed: a record's bytes verify but do not decode.
var errMalformed = errors.New("malformed record")

// CorruptError says that bytes which were synced do not verify, or that log and state do not belong together. Nothing
// was changed, and opening again gives the same answer until the operator acts.
type CorruptError struct {
	// File and Offset name the place; Offset is -1 when it is about the file, or the log, as a whole.
	File   string
	Offset int64
	Reason string
	Advice string
}

// Error names the place, the reason and what to do.
func (e *CorruptError) Error() string {
	place := e.File
	if e.Offset >= 0 {
		place = fmt.Sprintf("%s at byte %d", e.File, e.Offset)
	}
	return fmt.Sprintf("log %s: %s; %s", place, e.Reason, e.Advice)
}

// What an operator can do about a CorruptError.
const (
	adviceRestore = "keep a copy of the data directory, check the disk, and restore this node from a backup or a replica"
	adviceBehind  = "state and log must come from the same moment: restore both from the same backup"
	adviceCount   = "start with the number of partitions that the store was made with"
)

// failed makes err, met while doing what, final.
func failed(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %s: the disk is full, free some space and start again: %w", ErrLogFailed, what, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrLogFailed, what, err)
}
