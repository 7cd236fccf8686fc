package turn

import (
	"errors"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// The ways in which a turn refuses, beside the rules' own ([player.Refusal], [server.Refusal]). Compare with errors.Is. None
// of them changed anything, and none is journaled.
var (
	// ErrBadRequest: the request is malformed, or one that an entity of this kind does not take. A [RequestError] names
	// the field.
	ErrBadRequest = errors.New("malformed request")
	// ErrTooLarge: a field of the request is over its limit. A [RequestError] names it.
	ErrTooLarge = errors.New("too large")
	// ErrForbidden: the request needs scope admin.
	ErrForbidden = errors.New("scope admin is needed")
	// ErrNotFound: the entity is proven absent.
	ErrNotFound = errors.New("not found")
	// ErrAlreadyExists: the entity exists, and the request does not say to overwrite it.
	ErrAlreadyExists = errors.New("exists already")
	// ErrNoSession: the entity has no session. A [RequestError] says when the request names none.
	ErrNoSession = errors.New("no such session")
	// ErrSessionTaken: the newest session is another. The token was taken over from, or never was this entity's.
	ErrSessionTaken = errors.New("this token does not hold the session: another server took it over, or the token is wrong")
	// ErrSessionEnded: the session was ended, and nobody has opened another.
	ErrSessionEnded = errors.New("session was ended")
	// ErrSessionHeld: another session is open, and the request asks not to take it.
	ErrSessionHeld = errors.New("session is held")
	// ErrIDReused: the command id, or the receipt, was used for other commands.
	ErrIDReused = errors.New("id was used for other commands")
	// ErrCommandTooOld: the command id is below those whose outcomes are remembered. This request applied nothing; whether
	// an earlier one did is not known any more.
	ErrCommandTooOld = errors.New("command id is older than the remembered ones")
	// ErrTooManyTransfers: too many transfers of the entity are open. Nothing was changed; the same request may succeed later.
	ErrTooManyTransfers = errors.New("too many open transfers")
	// ErrTransferOpen: an open transfer holds something of the player. Nothing was changed; the same request may succeed later.
	ErrTransferOpen = errors.New("a transfer of the player is open")
	// ErrUnknownEvent, of [Evolve] only: an entry holds something that this version does not know, or that makes no sense
	// for the state. A load that meets it has failed.
	ErrUnknownEvent = errors.New("unknown event")
)

// RequestError is a refusal that names a field of the request.
type RequestError struct {
	// Err is one of this package's sentinels.
	Err error
	// Field is the JSON path of what was wrong, such as commandId.
	Field string
	// Message says what was wrong, for people.
	Message string
}

// Error is the sentinel's text, the field and the message.
func (e *RequestError) Error() string { return e.Err.Error() + ": " + e.Field + ": " + e.Message }

// Unwrap returns the sentinel.
func (e *RequestError) Unwrap() error { return e.Err }

// RememberedError is the rules' refusal of an earlier try of the same command: what the wire showed then.
type RememberedError struct {
	// Refused is read-only.
	Refused *skerryv1.Error
}

// Error is the code and the message of the refusal.
func (e *RememberedError) Error() string { return e.Refused.GetCode() + ": " + e.Refused.GetMessage() }
