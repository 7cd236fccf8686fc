package player

import (
	"errors"
	"fmt"
	"strconv"
)

// Why the rules say no. A [*Refusal] wraps exactly one of them; compare with errors.Is.
var (
	// ErrBadRequest: the command is malformed: empty, unknown, or a field is not what it may be.
	ErrBadRequest = errors.New("malformed command")
	// ErrBadAmount: an amount or count is not positive, or beyond what one command may ask.
	ErrBadAmount = errors.New("amount is not allowed")
	// ErrOverflow: the result would be greater than the greatest balance, experience or statistic.
	ErrOverflow = errors.New("result is too great")
	// ErrOutOfRange: the result would be outside the min and max of the command.
	ErrOutOfRange = errors.New("result is out of range")
	// ErrInsufficientFunds: the balance is smaller than what is to be spent.
	ErrInsufficientFunds = errors.New("insufficient funds")
	// ErrInventoryFull: the items do not fit.
	ErrInventoryFull = errors.New("inventory is full")
	// ErrNoSuchItem: the slot is empty, or the player has fewer of the item.
	ErrNoSuchItem = errors.New("no such item")
	// ErrBadSlot: the slot does not exist, or holds something else.
	ErrBadSlot = errors.New("slot is not allowed")
	// ErrAlreadyClaimed: the daily reward of this day, or of a later one, was claimed.
	ErrAlreadyClaimed = errors.New("already claimed")
	// ErrExpectation: the value that the command expects is another.
	ErrExpectation = errors.New("expectation failed")
	// ErrTooLarge: a name, metadata, the attributes or the list of commands is over its limit.
	ErrTooLarge = errors.New("too large")
)

// Refusal is the rules' no: nothing was changed.
type Refusal struct { //nolint:errname // a refusal is the rules' answer, not a failure
	// Err is one of this package's sentinels.
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

// refuse makes a refusal whose field is a path within the command.
func refuse(sentinel error, field, format string, args ...any) error {
	return &Refusal{Err: sentinel, Field: field, Message: fmt.Sprintf(format, args...)}
}

// at makes a refusal's field a path within the request; index -1 blames no command.
func at(err error, index int) error {
	refusal, ok := err.(*Refusal) //nolint:errorlint // made by refuse, never wrapped
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
