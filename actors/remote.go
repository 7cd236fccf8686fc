package actors

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// RemoteError is an error that another node answered. errors.Is and errors.As find in it the sentinels and the refusal that the error
// had there.
type RemoteError struct {
	// Wire is what that node's Describe made of the error, read-only.
	Wire *skerryv1.Error

	causes []error
}

// Error is the code and the message.
func (e *RemoteError) Error() string { return e.Wire.GetCode() + ": " + e.Wire.GetMessage() }

// Unwrap returns what the error was.
func (e *RemoteError) Unwrap() []error { return e.causes }

// Owns reports whether this node owns the partition and takes calls for it: false while it hands it over. It may change at any time;
// [Host.Do] has the last word. The meta partition has no entities, and is not asked about here.
func (h *Host) Owns(p persistence.Partition) bool {
	if int(p) >= len(h.partitions) {
		return false
	}
	epoch := h.partitions[p].epoch.Load()
	return epoch != nil && !h.partitions[p].yields(*epoch)
}

// AppendCall returns the call as it goes to its owner's node. The message refers to the call's request. A step that is the host's own
// never leaves its node: it is [persistence.ErrNotOwner], since only the owner of its entity makes it.
func AppendCall(call *Call) (*peerv1.Call, error) {
	if call.claim != nil || call.silent {
		return nil, fmt.Errorf("%w: a step of this node's own for %s", persistence.ErrNotOwner, call.Key)
	}
	return &peerv1.Call{
		Space: call.Key.Space, Kind: uint32(call.Key.Kind), Entity: call.Key.ID,
		Admin: call.Admin, Request: call.Request, Reaps: call.reaps, Step: call.step,
	}, nil
}

// ParseCall returns the call that another node sent, without its Reply. It refers to the message. Errors: [persistence.ErrBadKey],
// [turn.ErrBadRequest]; nothing was applied.
func ParseCall(m *peerv1.Call) (*Call, error) {
	if m.GetKind() > math.MaxUint8 {
		return nil, fmt.Errorf("%w: unknown kind %d", persistence.ErrBadKey, m.GetKind())
	}
	key := persistence.Key{Space: m.GetSpace(), Kind: persistence.Kind(m.GetKind()), ID: m.GetEntity()} //nolint:gosec // just checked
	if err := key.Validate(); err != nil {
		return nil, err
	}
	if m.GetRequest().GetRequest() == nil {
		return nil, fmt.Errorf("%w: a call for %s without a request", turn.ErrBadRequest, key)
	}
	if m.GetStep() != nil && m.GetRequest().GetCreateTransfer() == nil {
		return nil, fmt.Errorf("%w: a step of a transfer for %s without one", turn.ErrBadRequest, key)
	}
	return &Call{Key: key, Request: m.GetRequest(), Admin: m.GetAdmin(), reaps: m.GetReaps(), step: m.GetStep()}, nil
}

// AnswerOf returns what goes back of a call's answer: what its Reply was given. describe is [Options.Describe]'s function. The message
// refers to the response.
func AnswerOf(call *Call, response *skerryv1.Response, err error, describe func(error) *skerryv1.Error) *peerv1.Answer {
	if err != nil {
		return FailureOf(err, describe)
	}
	return &peerv1.Answer{Response: response, Step: call.answer}
}

// FailureOf returns what goes back when something asked failed, a call or not.
func FailureOf(err error, describe func(error) *skerryv1.Error) *peerv1.Answer {
	return &peerv1.Answer{Error: describe(err), Reason: reasonOf(err)}
}

// FailureIn returns the error that another node answered, a [*RemoteError], or nil.
func FailureIn(a *peerv1.Answer) error {
	if a.GetError() == nil {
		return nil
	}
	return &RemoteError{Wire: a.GetError(), causes: causesOf(a)}
}

// ReadAnswer returns what the call's Reply is to be given, and keeps in the call what belongs to it. An answer that makes no sense is
// [persistence.ErrOutcomeUnknown].
func ReadAnswer(call *Call, a *peerv1.Answer) (*skerryv1.Response, error) {
	if err := FailureIn(a); err != nil {
		return nil, err
	}
	if a.GetResponse() != nil && (call.step == nil || a.GetStep() != nil) {
		call.answer = a.GetStep()
		return a.GetResponse(), nil
	}
	return nil, fmt.Errorf("%w: the owner's answer for %s is malformed", persistence.ErrOutcomeUnknown, call.Key)
}

// reasons are the words for errors, and never change their meaning: nodes of different builds talk in them. An error may be several.
var reasons = []struct { //nolint:gochecknoglobals // a table, never changed
	word string
	err  error
}{
	{"not_owner", persistence.ErrNotOwner},
	{"draining", ErrDraining},
	{"outcome_unknown", persistence.ErrOutcomeUnknown},
	{"mailbox_full", ErrMailboxFull},
	{"overloaded", ErrOverloaded},
	{"budget_exhausted", budget.ErrExhausted},
	{"no_budget", ErrNoBudget},
	{"stalled", ErrStalled},
	{"too_new", ErrTooNew},
	{"load", ErrLoad},
	{"save", ErrSave},
	{"panicked", ErrPanicked},

	{"not_found", turn.ErrNotFound},
	{"already_exists", turn.ErrAlreadyExists},
	{"no_session", turn.ErrNoSession},
	{"session_taken", turn.ErrSessionTaken},
	{"session_ended", turn.ErrSessionEnded},
	{"session_held", turn.ErrSessionHeld},
	{"id_reused", turn.ErrIDReused},
	{"command_too_old", turn.ErrCommandTooOld},
	{"too_many_transfers", turn.ErrTooManyTransfers},
	{"transfer_open", turn.ErrTransferOpen},
	{"bad_request", turn.ErrBadRequest},
	{"too_large", turn.ErrTooLarge},
	{"forbidden", turn.ErrForbidden},
	{"turn_unknown_event", turn.ErrUnknownEvent},

	{"unknown_server", server.ErrUnknownServer},
	{"stale_incarnation", server.ErrStaleIncarnation},
	{"server_bad_request", server.ErrBadRequest},
	{"server_unknown_event", server.ErrUnknownEvent},
	{"transfer_unknown_event", transfer.ErrUnknownEvent},

	{"items_bad_request", items.ErrBadRequest},
	{"bad_amount", items.ErrBadAmount},
	{"inventory_full", items.ErrInventoryFull},
	{"no_such_item", items.ErrNoSuchItem},
	{"bad_slot", items.ErrBadSlot},
	{"items_too_large", items.ErrTooLarge},
	{"overflow", player.ErrOverflow},
	{"player_out_of_range", player.ErrOutOfRange},
	{"insufficient_funds", player.ErrInsufficientFunds},
	{"already_claimed", player.ErrAlreadyClaimed},
	{"expectation", player.ErrExpectation},
	{"player_unknown_event", player.ErrUnknownEvent},
	{"forbidden_role", world.ErrForbiddenRole},
	{"already_owned", world.ErrAlreadyOwned},
	{"no_such_chest", world.ErrNoSuchChest},
	{"chest_exists", world.ErrChestExists},
	{"chest_not_empty", world.ErrChestNotEmpty},
	{"bad_block", world.ErrBadBlock},
	{"world_out_of_range", world.ErrOutOfRange},
	{"chunk_held", world.ErrChunkHeld},
	{"world_too_many", world.ErrTooMany},
	{"world_unknown_event", world.ErrUnknownEvent},
	{"other_base", world.ErrOtherBase},

	{"bad_key", persistence.ErrBadKey},
	{"absent", persistence.ErrAbsent},
	{"corrupt", persistence.ErrCorrupt},
	{"fenced", persistence.ErrFenced},
	{"duplicate", persistence.ErrDuplicate},
	{"gap", persistence.ErrGap},
	{"old_snapshot", persistence.ErrOldSnapshot},
	{"incomplete", persistence.ErrIncomplete},
	{"queue_full", persistence.ErrQueueFull},
	{"closed", persistence.ErrClosed},
	{"bad_copy", persistence.ErrBadCopy},
	{"old_copy", persistence.ErrOldCopy},
	{"malformed_proposal", persistence.ErrMalformedProposal},
	{"bad_change", persistence.ErrBadChange},
	{"malformed", codec.ErrMalformed},
	{"newer", codec.ErrNewer},
	{"value_too_large", codec.ErrTooLarge},
	{"bad_field", codec.ErrBadField},
}

// The words for what an error is beyond a sentinel.
const (
	wordRefusal    = "refusal"    // an [items.Refusal]
	wordRemembered = "remembered" // a [turn.RememberedError]
)

// reasonOf returns the words of an error, with spaces between; "" for one that has none.
func reasonOf(err error) string {
	var words []string
	if _, ok := errors.AsType[*items.Refusal](err); ok {
		words = append(words, wordRefusal)
	}
	if _, ok := errors.AsType[*turn.RememberedError](err); ok {
		words = append(words, wordRemembered)
	}
	for i := range reasons {
		if errors.Is(err, reasons[i].err) {
			words = append(words, reasons[i].word)
		}
	}
	return strings.Join(words, " ")
}

// causesOf returns what an answer's error was. Words that only newer builds know are left out; then at least what the public code
// says of the outcome is kept.
func causesOf(a *peerv1.Answer) []error {
	var causes []error
	refuses, remembers := false, false
	for word := range strings.FieldsSeq(a.GetReason()) {
		switch word {
		case wordRefusal:
			refuses = true
		case wordRemembered:
			remembers = true
		}
		for i := range reasons {
			if reasons[i].word == word && len(causes) < len(reasons) {
				causes = append(causes, reasons[i].err)
			}
		}
	}
	if len(causes) == 0 && a.GetError().GetCode() == string(codec.CodeOutcomeUnknown) {
		causes = append(causes, persistence.ErrOutcomeUnknown)
	}
	if refuses && len(causes) > 0 {
		wire := a.GetError()
		refusal := &items.Refusal{Err: causes[0], Field: wire.GetField(), CommandIndex: -1, Message: wire.GetMessage()}
		if wire.CommandIndex != nil {
			refusal.CommandIndex = int(wire.GetCommandIndex())
		}
		causes = append(causes, refusal)
	}
	if remembers {
		causes = append(causes, &turn.RememberedError{Refused: a.GetError()})
	}
	return causes
}
