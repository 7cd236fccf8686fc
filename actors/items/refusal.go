package items

import (
	"errors"
	"fmt"
	"strconv"
)

// Why the rules of any kind say no; each kind has more of its own. A [*Refusal] wraps exactly one; compare with errors.Is.
var (
	// ErrBadRequest: the command is malformed: empty, unknown, or a field is not what it may be.
	ErrBadRequest = errors.New("malformed command")
	// ErrBadAmount: an amount or count is not positive, or beyond what one command may ask.
	ErrBadAmount = errors.New("amount is not allowed")
	// ErrInventoryFull: the items do not fit.
	ErrInventoryFull = errors.New("inventory is full")
	// ErrNoSuchItem: the slot is empty, or there are fewer of the item.
	ErrNoSuchItem = errors.New("no such item")
	// ErrBadSlot: the slot does not exist, holds something else, or is reserved.
	ErrBadSlot = errors.New("slot is not allowed")
	// ErrTooLarge: a text, metadata, a document or the list of commands is over its limit.
	ErrTooLarge = errors.New("too large")
)

// Refusal is the rules' no: nothing was changed.
type Refusal struct { //nolint:errname // a refusal is the rules' answer, not a failure
	// Err is a sentinel of this package, or of the kind that refused.
	Err error
	// Field is the JSON path of what was wrong in the request, such as commands[0].spend.amount.
	Field string
	// CommandIndex is the refused command's place; -1 when no command is to blame.
	CommandIndex int
	// Message says what was wrong, for people.
	Message string
}

// Error is the sentinel's text, the field and the message.
func (r *Refusal) Error() string { return r.Err.Error() + ": " + r.Field + ": " + r.Message }

// Unwrap returns the sentinel.
func (r *Refusal) Unwrap() error { return r.Err }

// Refuse makes a refusal whose field is a path within the command.
func Refuse(sentinel error, field, format string, args ...any) error {
	return &Refusal{Err: sentinel, Field: field, Message: fmt.Sprintf(format, args...)}
}

// At makes a refusal's field a path within the request; index -1 blames no command.
func At(err error, index int) error {
	refusal, ok := err.(*Refusal) //nolint:errorlint // made by Refuse, never wrapped
	if !ok {
		return err
	}
	refusal.CommandIndex = index
	prefix := "commands"
	if index >= 0 {
		prefix += "[" + strconv.Itoa(index) + "]"
	}
	if refusal.Field != "" {
		prefix += "."
	}
	refusal.Field = prefix + refusal.Field
	return refusal
}
