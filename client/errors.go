package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Outcome says what became of a command whose call failed.
type Outcome = skerryv1.Outcome

// The outcomes.
const (
	// NotApplied: certainly nothing changed.
	NotApplied = skerryv1.Outcome_NOT_APPLIED
	// Applied: the command took effect.
	Applied = skerryv1.Outcome_APPLIED
	// Unknown: the command may or may not have taken effect, or may yet; ask with [Player.Outcome].
	Unknown = skerryv1.Outcome_UNKNOWN
)

// Error is why a call was refused or failed. Compare its code with errors.Is(err, [ErrSessionTaken]) and the like, or get
// it whole with errors.As.
type Error struct {
	// Code is the word of the table in docs/api.md.
	Code codec.Code
	// Message says it for a human.
	Message string
	// Field is the JSON path of what was wrong in the request, "" when nothing in it was.
	Field string
	// CommandIndex is the refused command's place in the turn, -1 when no command is to blame.
	CommandIndex int
	// CommandID is the id of the turn, for [Player.Outcome]; 0 when the call was no turn.
	CommandID int64
	// Retryable: the same request may succeed later. The client has retried until the deadline already.
	Retryable bool
	// Outcome says whether the command took effect.
	Outcome Outcome
	// RetryAfter is how long the node asked to wait; 0 when it did not say.
	RetryAfter time.Duration

	cause error
}

// Error is "CODE: message", with the field when there is one.
func (e *Error) Error() string {
	text := string(e.Code)
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Field != "" {
		text += " (" + e.Field + ")"
	}
	return text
}

// Is reports whether target is the sentinel of e's code.
func (e *Error) Is(target error) bool {
	word, ok := target.(codeError)
	return ok && codec.Code(word) == e.Code
}

// Unwrap returns what ended the call on this side: a context's error, [ErrClosed], or a broken connection's.
func (e *Error) Unwrap() error { return e.cause }

// codeError is the sentinel of a code.
type codeError codec.Code

func (e codeError) Error() string { return string(e) }

// What errors.Is compares with, one for each code. codec.Codes says what each means.
const (
	ErrInsufficientFunds = codeError(codec.CodeInsufficientFunds)
	ErrInventoryFull     = codeError(codec.CodeInventoryFull)
	ErrNoSuchItem        = codeError(codec.CodeNoSuchItem)
	ErrAlreadyClaimed    = codeError(codec.CodeAlreadyClaimed)
	ErrBadSlot           = codeError(codec.CodeBadSlot)
	ErrBadAmount         = codeError(codec.CodeBadAmount)
	ErrLimitExceeded     = codeError(codec.CodeLimitExceeded)
	ErrExpectationFailed = codeError(codec.CodeExpectationFailed)
	ErrForbiddenRole     = codeError(codec.CodeForbiddenRole)
	ErrAlreadyOwned      = codeError(codec.CodeAlreadyOwned)
	ErrNoSuchChest       = codeError(codec.CodeNoSuchChest)
	ErrChestExists       = codeError(codec.CodeChestExists)
	ErrChestNotEmpty     = codeError(codec.CodeChestNotEmpty)
	ErrBadBlock          = codeError(codec.CodeBadBlock)
	ErrOutOfRange        = codeError(codec.CodeOutOfRange)
	ErrChunkHeld         = codeError(codec.CodeChunkHeld)
	ErrBadRequest        = codeError(codec.CodeBadRequest)
	ErrTooLarge          = codeError(codec.CodeTooLarge)
	ErrUnauthenticated   = codeError(codec.CodeUnauthenticated)
	ErrPermissionDenied  = codeError(codec.CodePermissionDenied)
	ErrNotFound          = codeError(codec.CodeNotFound)
	ErrAlreadyExists     = codeError(codec.CodeAlreadyExists)
	ErrNotPossible       = codeError(codec.CodeNotPossible)
	ErrNoSession         = codeError(codec.CodeNoSession)
	ErrSessionTaken      = codeError(codec.CodeSessionTaken)
	ErrSessionEnded      = codeError(codec.CodeSessionEnded)
	ErrSessionHeld       = codeError(codec.CodeSessionHeld)
	ErrUnknownServer     = codeError(codec.CodeUnknownServer)
	ErrStaleIncarnation  = codeError(codec.CodeStaleIncarnation)
	ErrIDReused          = codeError(codec.CodeIDReused)
	ErrCommandTooOld     = codeError(codec.CodeCommandTooOld)
	ErrBudgetExhausted   = codeError(codec.CodeBudgetExhausted)
	ErrOverloaded        = codeError(codec.CodeOverloaded)
	ErrNotOwner          = codeError(codec.CodeNotOwner)
	ErrUnavailable       = codeError(codec.CodeUnavailable)
	ErrOutcomeUnknown    = codeError(codec.CodeOutcomeUnknown)
	ErrCorrupt           = codeError(codec.CodeCorrupt)
	ErrNewerVersion      = codeError(codec.CodeNewerVersion)
	ErrUnimplemented     = codeError(codec.CodeUnimplemented)
	ErrInternal          = codeError(codec.CodeInternal)
)

// ErrClosed says that [Client.Close] was called.
var ErrClosed = errors.New("client is closed")

// fromWire converts what a node answered.
func fromWire(e *skerryv1.Error) *Error {
	index := -1
	if e.CommandIndex != nil {
		index = int(e.GetCommandIndex())
	}
	return &Error{
		Code: codec.Code(e.GetCode()), Message: e.GetMessage(), Field: e.GetField(), CommandIndex: index,
		Retryable: e.GetRetryable(), Outcome: e.GetOutcome(),
		RetryAfter: time.Duration(e.GetRetryAfterMs()) * time.Millisecond,
	}
}

// fromStatus converts an error of gRPC into an *Error: the node's own when the status carries one, else what its code says.
func fromStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if already := (*Error)(nil); errors.As(err, &already) {
		return err
	}
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if wire, ok := detail.(*skerryv1.Error); ok {
			e := fromWire(wire)
			e.cause = err
			return e
		}
	}
	e := &Error{Message: s.Message(), CommandIndex: -1, Outcome: Unknown, cause: err}
	switch s.Code() {
	case codes.Unauthenticated:
		e.Code, e.Outcome = codec.CodeUnauthenticated, NotApplied
	case codes.PermissionDenied:
		e.Code, e.Outcome = codec.CodePermissionDenied, NotApplied
	case codes.Unimplemented:
		e.Code, e.Outcome = codec.CodeUnimplemented, NotApplied
	case codes.InvalidArgument:
		e.Code, e.Outcome = codec.CodeBadRequest, NotApplied
	case codes.ResourceExhausted:
		e.Code, e.Retryable = codec.CodeOverloaded, true
	case codes.Unavailable:
		e.Code, e.Retryable = codec.CodeUnavailable, true
	case codes.DeadlineExceeded:
		e.Code, e.Retryable, e.cause = codec.CodeOutcomeUnknown, true, fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	case codes.Canceled:
		e.Code, e.Retryable, e.cause = codec.CodeOutcomeUnknown, true, fmt.Errorf("%w: %w", context.Canceled, err)
	default:
		e.Code = codec.CodeInternal
	}
	return e
}

// hopeless reports whether opening the stream again would fail alike.
func hopeless(err error) bool {
	return errors.Is(err, ErrUnauthenticated) || errors.Is(err, ErrPermissionDenied) || errors.Is(err, ErrUnimplemented) ||
		errors.Is(err, ErrBadRequest)
}
