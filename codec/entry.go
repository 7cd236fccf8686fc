package codec

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/storev1"
)

// EncodeEntry returns e framed, plain: an entry is small and waits for nothing. The result is new memory of its own. It
// returns [ErrTooLarge] when e is over [MaxValueBytes]. Safe for many goroutines, while nobody changes e.
func EncodeEntry(e *storev1.Entry) ([]byte, error) { return encodeFramed(FormatEntry, Plain, e) }

// DecodeEntry returns the entry in framed, sharing no memory with it. It returns [ErrMalformed] for bytes that are
// damaged or of another format, and [ErrNewer] when anything in it is unknown to this build: an event, a field of an
// event, or a field of the entry. What cannot be replayed whole must not be replayed: the load has failed.
func DecodeEntry(framed []byte) (*storev1.Entry, error) {
	e := &storev1.Entry{}
	if err := decodeFramed(FormatEntry, framed, e); err != nil {
		return nil, err
	}
	if len(e.ProtoReflect().GetUnknown()) > 0 {
		return nil, fmt.Errorf("%w: an entry with an unknown field", ErrNewer)
	}
	for i, event := range e.GetPlayerEvents() {
		if err := checkPlayerEvent(event); err != nil {
			return nil, fmt.Errorf("player event %d of %d: %w", i, len(e.GetPlayerEvents()), err)
		}
	}
	for i, event := range e.GetTransferEvents() {
		if unknownTransfer(event) {
			return nil, fmt.Errorf("transfer event %d of %d: %w", i, len(e.GetTransferEvents()), ErrNewer)
		}
	}
	for i, change := range e.GetServerChanges() {
		if change.GetEvent() == nil || unknown(change) || unknown(change.GetRegistered()) {
			return nil, fmt.Errorf("server change %d of %d: %w", i, len(e.GetServerChanges()), ErrNewer)
		}
	}
	for i, event := range e.GetWorldEvents() {
		if err := checkWorldEvent(event); err != nil {
			return nil, fmt.Errorf("world event %d of %d: %w", i, len(e.GetWorldEvents()), err)
		}
	}
	return e, nil
}

// checkPlayerEvent returns ErrNewer unless e is an event whose every field this build knows. The documents inside events
// may have unknown fields: they are kept, as they are in a document at rest.
func checkPlayerEvent(e *storev1.PlayerEvent) error {
	if unknown(e) {
		return ErrNewer
	}
	newer := false
	switch ev := e.GetEvent().(type) {
	case nil:
		newer = true
	case *storev1.PlayerEvent_Created:
		return checkPlayerVersion(ev.Created)
	case *storev1.PlayerEvent_DocumentReplaced:
		return checkPlayerVersion(ev.DocumentReplaced)
	case *storev1.PlayerEvent_BalanceChanged:
		newer = unknown(ev.BalanceChanged)
	case *storev1.PlayerEvent_ExperienceChanged:
		newer = unknown(ev.ExperienceChanged)
	case *storev1.PlayerEvent_StatisticsChanged:
		newer = unknown(ev.StatisticsChanged)
	case *storev1.PlayerEvent_SlotsChanged:
		newer = unknown(ev.SlotsChanged)
	case *storev1.PlayerEvent_DailyRewardClaimed:
		newer = unknown(ev.DailyRewardClaimed)
	case *storev1.PlayerEvent_SettingsChanged:
		newer = unknown(ev.SettingsChanged)
	case *storev1.PlayerEvent_SpawnerSlotSet:
		newer = unknown(ev.SpawnerSlotSet)
	case *storev1.PlayerEvent_SpawnerSlotCleared:
		newer = unknown(ev.SpawnerSlotCleared)
	case *storev1.PlayerEvent_AttributeSet:
		newer = unknown(ev.AttributeSet)
	case *storev1.PlayerEvent_AttributeRemoved:
		newer = unknown(ev.AttributeRemoved)
	case *storev1.PlayerEvent_Renamed:
		newer = unknown(ev.Renamed)
	case *storev1.PlayerEvent_LoggedIn:
		newer = unknown(ev.LoggedIn)
	default:
		newer = true // generated here and forgotten in this switch: a test goes over all of them
	}
	if newer {
		return ErrNewer
	}
	return nil
}

// checkWorldEvent is [checkPlayerEvent] for a world's.
func checkWorldEvent(e *storev1.WorldEvent) error {
	if unknown(e) {
		return ErrNewer
	}
	newer := false
	switch ev := e.GetEvent().(type) {
	case nil:
		newer = true
	case *storev1.WorldEvent_Created:
		return checkWorldVersion(ev.Created)
	case *storev1.WorldEvent_OwnerChanged:
		newer = unknown(ev.OwnerChanged)
	case *storev1.WorldEvent_RoleChanged:
		newer = unknown(ev.RoleChanged)
	case *storev1.WorldEvent_Renamed:
		newer = unknown(ev.Renamed)
	case *storev1.WorldEvent_Described:
		newer = unknown(ev.Described)
	case *storev1.WorldEvent_BlocksEdited:
		newer = unknown(ev.BlocksEdited)
	case *storev1.WorldEvent_ChunkReplaced:
		newer = unknown(ev.ChunkReplaced) || ev.ChunkReplaced.GetBlocks() == nil
	case *storev1.WorldEvent_ChunkCleared:
		newer = unknown(ev.ChunkCleared)
	case *storev1.WorldEvent_ChestPlaced:
		newer = unknown(ev.ChestPlaced)
	case *storev1.WorldEvent_ChestRemoved:
		newer = unknown(ev.ChestRemoved)
	case *storev1.WorldEvent_Transfer:
		newer = unknownTransfer(ev.Transfer)
	case *storev1.WorldEvent_ChestSlotsSet:
		newer = unknown(ev.ChestSlotsSet) || slices.ContainsFunc(ev.ChestSlotsSet.GetSlots(), func(s *storev1.StackAt) bool { return unknown(s) })
	default:
		newer = true // generated here and forgotten in this switch: a test goes over all of them
	}
	if newer {
		return ErrNewer
	}
	return nil
}

// unknownTransfer reports whether a step of a transfer has anything that this build does not know. The request within a hold
// may: it is kept.
func unknownTransfer(e *storev1.TransferEvent) bool {
	if e == nil || unknown(e) {
		return true
	}
	switch ev := e.GetEvent().(type) {
	case *storev1.TransferEvent_Held:
		return unknown(ev.Held) || slices.ContainsFunc(ev.Held.GetLegs(), func(l *storev1.HeldLeg) bool { return unknown(l) })
	case *storev1.TransferEvent_Ended:
		return unknown(ev.Ended)
	case *storev1.TransferEvent_Dropped:
		return unknown(ev.Dropped)
	case *storev1.TransferEvent_Received:
		return unknown(ev.Received) || slices.ContainsFunc(ev.Received.GetLegs(), func(l *storev1.HeldLeg) bool { return unknown(l) })
	case *storev1.TransferEvent_Closed:
		return unknown(ev.Closed)
	default:
		return true // generated here and forgotten in this switch: a test goes over all of them
	}
}

func unknown(m proto.Message) bool { return len(m.ProtoReflect().GetUnknown()) > 0 }
