package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// Why the door itself refuses, before an entity is asked.
var (
	errBadRequest      = errors.New("malformed request")
	errTooLarge        = errors.New("too large")
	errUnauthenticated = errors.New("unauthenticated")
	errForbidden       = errors.New("permission denied")
	errNotFound        = errors.New("not found")
	errTooMany         = errors.New("too many requests")
	errNoSuchCall      = errors.New("no such call")
	errTimeout         = errors.New("no answer in time")
)

// refusal is the door's no: which sentinel, which field, and why, for people.
type refusal struct {
	err        error
	field      string
	message    string
	retryAfter time.Duration
	outcome    skerryv1.Outcome // when it is not what the code says
}

func (r *refusal) Error() string {
	if r.field == "" {
		return r.err.Error() + ": " + r.message
	}
	return r.err.Error() + ": " + r.field + ": " + r.message
}

func (r *refusal) Unwrap() error { return r.err }

func refuse(err error, field, message string) error {
	return &refusal{err: err, field: field, message: message}
}

// sentinels is the only place where an error becomes a code; first match wins, so what is wrapped comes before its wrapping.
var sentinels = []struct { //nolint:gochecknoglobals // a table, never changed
	err  error
	code codec.Code
}{
	{actors.ErrSave, codec.CodeOutcomeUnknown}, // before what it wraps: the request itself was applied, the snapshot not
	// The rules say no.
	{player.ErrInsufficientFunds, codec.CodeInsufficientFunds},
	{player.ErrInventoryFull, codec.CodeInventoryFull},
	{player.ErrNoSuchItem, codec.CodeNoSuchItem},
	{player.ErrAlreadyClaimed, codec.CodeAlreadyClaimed},
	{player.ErrBadSlot, codec.CodeBadSlot},
	{player.ErrBadAmount, codec.CodeBadAmount},
	{player.ErrOverflow, codec.CodeLimitExceeded},
	{player.ErrOutOfRange, codec.CodeLimitExceeded},
	{player.ErrExpectation, codec.CodeExpectationFailed},
	{world.ErrForbiddenRole, codec.CodeForbiddenRole},
	{world.ErrAlreadyOwned, codec.CodeAlreadyOwned},
	{world.ErrNoSuchChest, codec.CodeNoSuchChest},
	{world.ErrChestExists, codec.CodeChestExists},
	{world.ErrChestNotEmpty, codec.CodeChestNotEmpty},
	{world.ErrBadBlock, codec.CodeBadBlock},
	{world.ErrOutOfRange, codec.CodeOutOfRange},
	{world.ErrChunkHeld, codec.CodeChunkHeld},
	{world.ErrTooMany, codec.CodeLimitExceeded},
	// The request is wrong.
	{player.ErrBadRequest, codec.CodeBadRequest},
	{player.ErrTooLarge, codec.CodeTooLarge},
	{server.ErrBadRequest, codec.CodeBadRequest},
	{turn.ErrBadRequest, codec.CodeBadRequest},
	{turn.ErrTooLarge, codec.CodeTooLarge},
	{persistence.ErrBadKey, codec.CodeBadRequest},
	{codec.ErrBadField, codec.CodeBadRequest},
	{errBadRequest, codec.CodeBadRequest},
	{errTooLarge, codec.CodeTooLarge},
	{errUnauthenticated, codec.CodeUnauthenticated},
	{errForbidden, codec.CodePermissionDenied},
	{turn.ErrForbidden, codec.CodePermissionDenied},
	{errNotFound, codec.CodeNotFound},
	{turn.ErrNotFound, codec.CodeNotFound},
	{turn.ErrAlreadyExists, codec.CodeAlreadyExists},
	{ErrNotPossible, codec.CodeNotPossible},
	{errNoSuchCall, codec.CodeUnimplemented},
	// Sessions and command ids.
	{turn.ErrNoSession, codec.CodeNoSession},
	{turn.ErrSessionTaken, codec.CodeSessionTaken},
	{turn.ErrSessionEnded, codec.CodeSessionEnded},
	{turn.ErrSessionHeld, codec.CodeSessionHeld},
	{turn.ErrIDReused, codec.CodeIDReused},
	{turn.ErrCommandTooOld, codec.CodeCommandTooOld},
	{server.ErrUnknownServer, codec.CodeUnknownServer},
	{server.ErrStaleIncarnation, codec.CodeStaleIncarnation},
	// Somebody has to look: these come wrapped in actors.ErrLoad.
	{persistence.ErrCorrupt, codec.CodeCorrupt},
	{codec.ErrMalformed, codec.CodeCorrupt},
	{codec.ErrNewer, codec.CodeNewerVersion}, // persistence.ErrNewer is the same value
	{player.ErrUnknownEvent, codec.CodeNewerVersion},
	{server.ErrUnknownEvent, codec.CodeNewerVersion},
	{world.ErrUnknownEvent, codec.CodeNewerVersion},
	{world.ErrOtherBase, codec.CodeCorrupt},
	{turn.ErrUnknownEvent, codec.CodeNewerVersion},
	{transfer.ErrUnknownEvent, codec.CodeNewerVersion},
	// Try again.
	{errTooMany, codec.CodeOverloaded},
	{turn.ErrTooManyTransfers, codec.CodeOverloaded},
	{turn.ErrTransferOpen, codec.CodeUnavailable},
	{budget.ErrExhausted, codec.CodeBudgetExhausted},
	{actors.ErrNoBudget, codec.CodeUnavailable},
	{actors.ErrMailboxFull, codec.CodeOverloaded},
	{actors.ErrOverloaded, codec.CodeOverloaded},
	{persistence.ErrQueueFull, codec.CodeOverloaded},
	{persistence.ErrNotOwner, codec.CodeNotOwner},
	{persistence.ErrOutcomeUnknown, codec.CodeOutcomeUnknown},
	{errTimeout, codec.CodeOutcomeUnknown},
	{context.DeadlineExceeded, codec.CodeOutcomeUnknown},
	{context.Canceled, codec.CodeOutcomeUnknown},
	{actors.ErrStalled, codec.CodeUnavailable},
	{actors.ErrTooNew, codec.CodeUnavailable},
	{actors.ErrDraining, codec.CodeUnavailable},
	{persistence.ErrFenced, codec.CodeUnavailable},
	{persistence.ErrClosed, codec.CodeUnavailable},
	{actors.ErrLoad, codec.CodeUnavailable},
	// A caller asked for what cannot be kept, or a broken invariant: the log has it.
	{codec.ErrTooLarge, codec.CodeTooLarge},
	{persistence.ErrAbsent, codec.CodeNotFound},
	{actors.ErrPanicked, codec.CodeInternal},
	{persistence.ErrBadChange, codec.CodeInternal},
	{persistence.ErrDuplicate, codec.CodeInternal},
	{persistence.ErrGap, codec.CodeInternal},
	{persistence.ErrOldSnapshot, codec.CodeInternal},
	{persistence.ErrIncomplete, codec.CodeInternal},
	{persistence.ErrBadCopy, codec.CodeInternal}, // between nodes; no caller of the front door sees it
	{persistence.ErrOldCopy, codec.CodeInternal},
	{persistence.ErrMalformedProposal, codec.CodeInternal},
}

// meaning is what a code is on each wire, and what it tells the caller to do.
type meaning struct {
	code       codec.Code
	grpc       codes.Code
	http       int
	retryable  bool
	outcome    skerryv1.Outcome
	retryAfter time.Duration
}

const (
	notApplied = skerryv1.Outcome_NOT_APPLIED
	unknown    = skerryv1.Outcome_UNKNOWN
)

// meanings says it of every code.
var meanings = []meaning{ //nolint:gochecknoglobals // a table, never changed
	{codec.CodeInsufficientFunds, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeInventoryFull, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeNoSuchItem, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeAlreadyClaimed, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeBadSlot, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeBadAmount, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeLimitExceeded, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeExpectationFailed, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeForbiddenRole, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeAlreadyOwned, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeNoSuchChest, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeChestExists, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeChestNotEmpty, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeBadBlock, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeOutOfRange, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeChunkHeld, codes.FailedPrecondition, http.StatusUnprocessableEntity, false, notApplied, 0},
	{codec.CodeBadRequest, codes.InvalidArgument, http.StatusBadRequest, false, notApplied, 0},
	{codec.CodeTooLarge, codes.InvalidArgument, http.StatusRequestEntityTooLarge, false, notApplied, 0},
	{codec.CodeUnauthenticated, codes.Unauthenticated, http.StatusUnauthorized, false, notApplied, 0},
	{codec.CodePermissionDenied, codes.PermissionDenied, http.StatusForbidden, false, notApplied, 0},
	{codec.CodeNotFound, codes.NotFound, http.StatusNotFound, false, notApplied, 0},
	{codec.CodeAlreadyExists, codes.AlreadyExists, http.StatusConflict, false, notApplied, 0},
	{codec.CodeNotPossible, codes.FailedPrecondition, http.StatusConflict, false, notApplied, 0},
	{codec.CodeNoSession, codes.Aborted, http.StatusConflict, false, notApplied, 0},
	{codec.CodeSessionTaken, codes.Aborted, http.StatusConflict, false, notApplied, 0},
	{codec.CodeSessionEnded, codes.Aborted, http.StatusConflict, false, notApplied, 0},
	{codec.CodeSessionHeld, codes.Aborted, http.StatusConflict, false, notApplied, 0},
	{codec.CodeUnknownServer, codes.NotFound, http.StatusNotFound, false, notApplied, 0},
	{codec.CodeStaleIncarnation, codes.Aborted, http.StatusConflict, false, notApplied, 0},
	{codec.CodeIDReused, codes.Aborted, http.StatusConflict, false, notApplied, 0},
	{codec.CodeCommandTooOld, codes.Aborted, http.StatusConflict, false, unknown, 0}, // an earlier try may have been applied
	{codec.CodeBudgetExhausted, codes.ResourceExhausted, http.StatusTooManyRequests, true, notApplied, time.Second},
	{codec.CodeOverloaded, codes.ResourceExhausted, http.StatusTooManyRequests, true, notApplied, 100 * time.Millisecond},
	{codec.CodeNotOwner, codes.Unavailable, http.StatusServiceUnavailable, true, notApplied, 0},
	{codec.CodeUnavailable, codes.Unavailable, http.StatusServiceUnavailable, true, notApplied, 200 * time.Millisecond},
	{codec.CodeOutcomeUnknown, codes.DeadlineExceeded, http.StatusGatewayTimeout, true, unknown, 0},
	{codec.CodeCorrupt, codes.DataLoss, http.StatusInternalServerError, false, notApplied, 0},
	{codec.CodeNewerVersion, codes.FailedPrecondition, http.StatusInternalServerError, false, notApplied, 0},
	{codec.CodeUnimplemented, codes.Unimplemented, http.StatusNotImplemented, false, notApplied, 0},
	internal,
}

// internal stands for every error that has no better word.
var internal = meaning{codec.CodeInternal, codes.Internal, http.StatusInternalServerError, false, unknown, 0} //nolint:gochecknoglobals // never changed

// meaningOf returns what code means; of a code that this build does not know, what internal does.
func meaningOf(code codec.Code) meaning {
	for i := range meanings {
		if meanings[i].code == code {
			return meanings[i]
		}
	}
	return internal
}

// codeOf returns the code of err; of an error that no table knows, [codec.CodeInternal].
func codeOf(err error) codec.Code {
	for i := range sentinels {
		if errors.Is(err, sentinels[i].err) {
			return sentinels[i].code
		}
	}
	return codec.CodeInternal
}

// Describe returns what the wire shows of err: its code, what was wrong, and what the caller may do. What an internal
// error says stays inside; whoever calls Describe with one logs it. The result is read-only; err must not be nil.
func Describe(err error) *skerryv1.Error {
	if known, ok := errors.AsType[*statusError](err); ok {
		return known.wire
	}
	if remote, ok := errors.AsType[*actors.RemoteError](err); ok {
		return remote.Wire
	}
	if remembered, ok := errors.AsType[*turn.RememberedError](err); ok {
		return remembered.Refused
	}
	m := meaningOf(codeOf(err))
	wire := &skerryv1.Error{
		Code: string(m.code), Message: err.Error(), Retryable: m.retryable, Outcome: m.outcome,
		RetryAfterMs: int32(m.retryAfter.Milliseconds()), //nolint:gosec // at most a second
	}
	fillDetails(wire, err)
	if m.code == codec.CodeInternal {
		wire.Message = "an internal error; the node's log has it"
	}
	return wire
}

// fillDetails takes from err what its type says beyond its sentinel.
func fillDetails(wire *skerryv1.Error, err error) {
	if no, ok := errors.AsType[*player.Refusal](err); ok {
		wire.Field, wire.Message = no.Field, no.Message
		if no.CommandIndex >= 0 {
			index := int32(no.CommandIndex) //nolint:gosec // at most player.MaxCommands
			wire.CommandIndex = &index
		}
	}
	if no, ok := errors.AsType[*turn.RequestError](err); ok {
		wire.Field, wire.Message = no.Field, no.Message
	}
	if no, ok := errors.AsType[*server.Refusal](err); ok {
		wire.Field, wire.Message = no.Field, no.Message
	}
	if no, ok := errors.AsType[*codec.FieldError](err); ok {
		wire.Field, wire.Message = no.Field, no.Reason
	}
	if no, ok := errors.AsType[*actors.BudgetError](err); ok {
		wire.RetryAfterMs = int32(min(no.RetryAfter, time.Hour).Milliseconds()) + 1 //nolint:gosec // at most an hour
	}
	if no, ok := errors.AsType[*refusal](err); ok {
		wire.Field, wire.Message = no.field, no.message
		if no.outcome != skerryv1.Outcome_OUTCOME_UNSPECIFIED {
			wire.Outcome = no.outcome
		}
		if no.retryAfter > 0 {
			wire.RetryAfterMs = int32(min(no.retryAfter, time.Minute).Milliseconds()) + 1 //nolint:gosec // at most a minute
		}
	}
}

// statusError is an error as the wire shows it. gRPC makes a status with a detail of it, JSON a body.
type statusError struct{ wire *skerryv1.Error }

// asStatus returns err as gRPC and JSON answer it.
func asStatus(err error) error { return &statusError{wire: Describe(err)} }

func (e *statusError) Error() string { return e.wire.GetCode() + ": " + e.wire.GetMessage() }

// GRPCStatus is what grpc asks an error for.
func (e *statusError) GRPCStatus() *status.Status {
	st := status.New(meaningOf(codec.Code(e.wire.GetCode())).grpc, e.wire.GetMessage())
	detailed, err := st.WithDetails(e.wire)
	if err != nil {
		return st
	}
	return detailed
}
