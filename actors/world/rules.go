package world

import (
	"cmp"
	"errors"

	"github.com/skerry-dev/skerry/actors/items"
)

// Bounds of the rules themselves, so that no rules make a document that storage refuses.
const (
	maxChestSlots        = 1024
	maxWorldNameLength   = 128
	maxDescriptionLength = 1000
	maxGeneratorLength   = 64
	maxBlockNames        = 1 << 16
	maxBlockNameBytes    = 256
	maxBlockNamesBytes   = 1 << 20
	minHeight            = 16
	maxHeight            = 1024
	defaultHeight        = 256
	maxAbsY              = 1 << 15
)

// Rules is what a space may choose of a world's rules. The zero value, and nil, is right: each field says its default,
// which 0 stands for. Only [Decide] and what makes or checks documents read it. Immutable while in use.
type Rules struct {
	// ChestSlots is the number of slots of a chest, 1 to 1024. Default: 27. Fewer later take no slot from a chest that has
	// more; more are there at once.
	ChestSlots int
	// NameLength is the greatest number of characters of a player's name, 1 to 256. Default: 64.
	NameLength int
	// Stacks are the limits of what a slot holds.
	Stacks items.Limits
}

// orDefault lets nil stand for the zero rules.
func (r *Rules) orDefault() *Rules {
	if r == nil {
		return &Rules{}
	}
	return r
}

func (r *Rules) chestSlots() int { return cmp.Or(r.ChestSlots, 27) }
func (r *Rules) nameLength() int { return cmp.Or(r.NameLength, 64) }

// Why the rules of a world say no, beside what they share with a player's. A [*items.Refusal] wraps exactly one of them;
// compare with errors.Is.
var (
	// ErrForbiddenRole: the player as whom the command is asked does not have the role for it.
	ErrForbiddenRole = errors.New("role does not allow this")
	// ErrAlreadyOwned: the world has an owner.
	ErrAlreadyOwned = errors.New("world is owned")
	// ErrNoSuchChest: there is no chest at this place.
	ErrNoSuchChest = errors.New("no such chest")
	// ErrChestExists: there is a chest at this place already.
	ErrChestExists = errors.New("chest exists")
	// ErrChestNotEmpty: the chest, or one in the chunk, holds items.
	ErrChestNotEmpty = errors.New("chest is not empty")
	// ErrBadBlock: the block id or name is none of the world's.
	ErrBadBlock = errors.New("no such block")
	// ErrOutOfRange: the place is outside the world, or outside the chunk.
	ErrOutOfRange = errors.New("place is out of range")
	// ErrChunkHeld: an open transfer holds items of the chunk, or of the chest.
	ErrChunkHeld = errors.New("chunk is held by a transfer")
	// ErrTooMany: the chunk has as many chests, or the world as many roles, as it may have.
	ErrTooMany = errors.New("too many")

	// ErrUnknownEvent, of Evolve and EvolveChunk: the event is of a newer version, or makes no sense for the state. A load
	// that meets it has failed.
	ErrUnknownEvent = errors.New("unknown world event")
)

// What the rules of all kinds share.
var (
	ErrBadRequest    = items.ErrBadRequest
	ErrBadAmount     = items.ErrBadAmount
	ErrInventoryFull = items.ErrInventoryFull
	ErrNoSuchItem    = items.ErrNoSuchItem
	ErrBadSlot       = items.ErrBadSlot
	ErrTooLarge      = items.ErrTooLarge
)

// refuse makes a refusal whose field is a path within the command.
func refuse(sentinel error, field, format string, args ...any) error {
	return items.Refuse(sentinel, field, format, args...)
}

// asRefusal is err as a refusal of this package, which is never wrapped.
func asRefusal(err error) (*items.Refusal, bool) {
	refusal, ok := err.(*items.Refusal) //nolint:errorlint // made by refuse, never wrapped
	return refusal, ok
}
