package player

import (
	"errors"

	"github.com/skerry-dev/skerry/actors/items"
)

// Why the rules say no. A [*Refusal] wraps exactly one of them; compare with errors.Is.
var (
	// ErrBadRequest: the command is malformed: empty, unknown, or a field is not what it may be.
	ErrBadRequest = items.ErrBadRequest
	// ErrBadAmount: an amount or count is not positive, or beyond what one command may ask.
	ErrBadAmount = items.ErrBadAmount
	// ErrOverflow: the result would be greater than the greatest balance, experience or statistic.
	ErrOverflow = errors.New("result is too great")
	// ErrOutOfRange: the result would be outside the min and max of the command.
	ErrOutOfRange = errors.New("result is out of range")
	// ErrInsufficientFunds: the balance is smaller than what is to be spent.
	ErrInsufficientFunds = errors.New("insufficient funds")
	// ErrInventoryFull: the items do not fit.
	ErrInventoryFull = items.ErrInventoryFull
	// ErrNoSuchItem: the slot is empty, or the player has fewer of the item.
	ErrNoSuchItem = items.ErrNoSuchItem
	// ErrBadSlot: the slot does not exist, or holds something else.
	ErrBadSlot = items.ErrBadSlot
	// ErrAlreadyClaimed: the daily reward of this day, or of a later one, was claimed.
	ErrAlreadyClaimed = errors.New("already claimed")
	// ErrExpectation: the value that the command expects is another.
	ErrExpectation = errors.New("expectation failed")
	// ErrTooLarge: a name, metadata, the attributes or the list of commands is over its limit.
	ErrTooLarge = items.ErrTooLarge
)

// Refusal is the rules' no: nothing was changed.
type Refusal = items.Refusal //nolint:errname // a refusal is the rules' answer, not a failure

// refuse makes a refusal whose field is a path within the command.
func refuse(sentinel error, field, format string, args ...any) error {
	return items.Refuse(sentinel, field, format, args...)
}
