package transfer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// The bounds of what a party remembers. With them an entity still fits into what storage takes.
const (
	// MaxOpen is how many transfers a player may hold, and how many a party may have received that are not closed.
	MaxOpen = 64
	// MaxOpenBytes is how large those may be, encoded, of each sort.
	MaxOpenBytes = 64 << 10
	// MaxEnded is how many transfers are remembered after they ended, of each sort.
	MaxEnded = 256
)

// ErrUnknownEvent means that the event is of a newer version, or makes no sense here. A load that meets it has failed.
var ErrUnknownEvent = errors.New("unknown transfer event")

// Book is what a party remembers of transfers: lists that belong to it. Of a chest's, Holds and Ended are nil.
type Book struct {
	Holds    *[]*storev1.Hold
	Received *[]*storev1.Received
	Ended    *[]*storev1.EndedTransfer
}

// BookOf is a player's.
func BookOf(state *storev1.Entity) Book {
	return Book{Holds: &state.Holds, Received: &state.Received, Ended: &state.EndedTransfers}
}

// Evolve applies a step. It keeps no memory of e, puts new records in place of old ones, and changes nothing when it returns
// an error, which wraps [ErrUnknownEvent].
func (b Book) Evolve(e *storev1.TransferEvent) error {
	switch event := e.GetEvent().(type) {
	case *storev1.TransferEvent_Received:
		*b.Received = append(slices.Clip(*b.Received), event.Received.CloneVT())
		return nil
	case *storev1.TransferEvent_Closed:
		return b.closeReceived(event.Closed)
	}
	if b.Holds == nil {
		return fmt.Errorf("%w: %T of a chest", ErrUnknownEvent, e.GetEvent())
	}
	switch event := e.GetEvent().(type) {
	case *storev1.TransferEvent_Held:
		*b.Holds = append(slices.Clip(*b.Holds), event.Held.CloneVT())
	case *storev1.TransferEvent_Ended:
		i := b.holdAt(event.Ended.GetSeq())
		if i < 0 {
			return fmt.Errorf("%w: the end of hold %d, which is not there", ErrUnknownEvent, event.Ended.GetSeq())
		}
		old := (*b.Holds)[i]
		(*b.Holds)[i] = &storev1.Hold{
			Transfer: old.GetTransfer(), SinceMs: old.GetSinceMs(), Request: old.GetRequest(), Seq: old.GetSeq(),
			Status: event.Ended.GetStatus(), Error: event.Ended.GetError().CloneVT(),
		}
	case *storev1.TransferEvent_Dropped:
		return b.drop(event.Dropped.GetSeq())
	default:
		return fmt.Errorf("%w: %T", ErrUnknownEvent, event)
	}
	return nil
}

// drop moves an ended hold to what is remembered for a while.
func (b Book) drop(seq uint64) error {
	i := b.holdAt(seq)
	if i < 0 {
		return fmt.Errorf("%w: hold %d is dropped and not there", ErrUnknownEvent, seq)
	}
	hold := (*b.Holds)[i]
	*b.Holds = slices.Delete(*b.Holds, i, i+1)
	ended := append(slices.Clip(*b.Ended), &storev1.EndedTransfer{
		Transfer: hold.GetTransfer(), RequestHash: Hash(hold.GetRequest()), Status: hold.GetStatus(), Error: hold.GetError(), SinceMs: hold.GetSinceMs(),
	})
	*b.Ended = ended[max(0, len(ended)-MaxEnded):]
	return nil
}

// closeReceived marks what the holder has closed, and forgets the oldest such records beyond the bound: of them only the
// greatest time is kept, so that a repeat that comes later still is not taken for something new.
func (b Book) closeReceived(e *storev1.ReceivedClosed) error {
	i := slices.IndexFunc(*b.Received, func(r *storev1.Received) bool {
		return r.GetTransfer() != "" && r.GetFrom() == e.GetFrom() && r.GetHoldSeq() == e.GetHoldSeq()
	})
	if i < 0 {
		return fmt.Errorf("%w: hold %d of %s is closed and was not received", ErrUnknownEvent, e.GetHoldSeq(), e.GetFrom())
	}
	all := slices.Clone(*b.Received)
	closed := all[i].CloneVT()
	closed.Closed, closed.Legs = true, nil
	all = append(slices.Delete(all, i, i+1), closed)
	count, before := 0, int64(0)
	for _, r := range all {
		if r.GetTransfer() == "" {
			before = max(before, r.GetSinceMs())
		} else if r.GetClosed() {
			count++
		}
	}
	kept := all[:0]
	for _, r := range all {
		switch {
		case r.GetTransfer() == "":
		case r.GetClosed() && count > MaxEnded:
			count--
			before = max(before, r.GetSinceMs())
		default:
			kept = append(kept, r)
		}
	}
	if before > 0 {
		kept = slices.Insert(kept, 0, &storev1.Received{SinceMs: before})
	}
	*b.Received = kept
	return nil
}

func (b Book) holdAt(seq uint64) int {
	return slices.IndexFunc(*b.Holds, func(h *storev1.Hold) bool { return h.GetSeq() == seq })
}

// HoldWith returns the hold that a seq names; nil when it is not there.
func (b Book) HoldWith(seq uint64) *storev1.Hold {
	if i := b.holdAt(seq); i >= 0 {
		return (*b.Holds)[i]
	}
	return nil
}

// HoldOf returns the hold of a transfer, the newest when there are several; nil when there is none.
func (b Book) HoldOf(id string) *storev1.Hold {
	if b.Holds == nil {
		return nil
	}
	for _, hold := range slices.Backward(*b.Holds) {
		if hold.GetTransfer() == id {
			return hold
		}
	}
	return nil
}

// EndedOf returns what became of a transfer, the newest when there are several; nil when it is not known any more.
func (b Book) EndedOf(id string) *storev1.EndedTransfer {
	if b.Ended == nil {
		return nil
	}
	for _, ended := range slices.Backward(*b.Ended) {
		if ended.GetTransfer() == id {
			return ended
		}
	}
	return nil
}

// ReceivedOf returns what arrived, or was refused, of a transfer, whoever held it; the newest when there are several.
func (b Book) ReceivedOf(id string) *storev1.Received {
	for _, received := range slices.Backward(*b.Received) {
		if received.GetTransfer() == id {
			return received
		}
	}
	return nil
}

// Answered returns what was answered to a hold of the player from; nil when it was not. forgotten says that it may have
// been, so long ago that it is not known any more: then the holder has closed it, or has to take it back.
func (b Book) Answered(from string, hold *storev1.Hold) (received *storev1.Received, forgotten bool) {
	for _, r := range *b.Received {
		switch {
		case r.GetTransfer() == "":
			forgotten = hold.GetSinceMs() <= r.GetSinceMs()
		case r.GetFrom() == from && r.GetHoldSeq() == hold.GetSeq():
			return r, false
		}
	}
	return nil, forgotten
}

// RoomToHold reports whether one more hold may be remembered.
func (b Book) RoomToHold(hold *storev1.Hold) bool {
	size := hold.SizeVT()
	for _, h := range *b.Holds {
		size += h.SizeVT()
	}
	return len(*b.Holds) < MaxOpen && (size <= MaxOpenBytes || len(*b.Holds) == 0)
}

// RoomToReceive is [Book.RoomToHold] for what arrives.
func (b Book) RoomToReceive(received *storev1.Received) bool {
	count, size := 0, received.SizeVT()
	for _, r := range *b.Received {
		if r.GetTransfer() != "" && !r.GetClosed() {
			count++
			size += r.SizeVT()
		}
	}
	return count < MaxOpen && (size <= MaxOpenBytes || count == 0)
}

// Reserved reports whether an open hold has something to do with a player's slot, which stays as it is until it has ended.
func Reserved(holds []*storev1.Hold, container skerryv1.Container, index int) bool {
	for _, hold := range holds {
		for _, leg := range hold.GetLegs() {
			if leg.GetSlot() != nil && leg.GetSlot().GetContainer() == container && int(leg.GetSlot().GetIndex()) == index {
				return true
			}
		}
	}
	return false
}

// ReservedBalance is how much of a currency open holds may bring: what each has taken, or what it is to bring, whichever is more.
func ReservedBalance(holds []*storev1.Hold, currency skerryv1.Currency) int64 {
	sum := int64(0)
	for _, hold := range holds {
		out, in := int64(0), int64(0)
		for _, leg := range hold.GetLegs() {
			switch {
			case leg.GetCurrency() != currency:
			case leg.GetIncoming():
				in += leg.GetAmount()
			default:
				out += leg.GetAmount()
			}
		}
		sum += max(out, in)
	}
	return sum
}
