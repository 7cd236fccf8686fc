package turn

import (
	"fmt"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// MaxDocumentBytes is how large commands may make a player's document, encoded. What is kept beside it (outcomes, receipts,
// sessions) is at most 1.3 MiB, so that every entity fits into [codec.MaxValueBytes] and can be saved.
const MaxDocumentBytes = 5 << 19

const (
	// growthFactor and growthBytes bound how much larger an event makes the document than it is itself: a name in the path
	// of an attribute becomes a message in a map in a message.
	growthFactor = 8
	growthBytes  = 64
)

// Room keeps beside an entity how large its document is at most, so that not every turn has to measure it. The zero value
// has not measured yet.
type Room struct{ atMost int } // bytes, 0: not known

// Check returns a [RequestError] of [ErrTooLarge] when entry, which is about to be applied to state, makes the document larger
// than [MaxDocumentBytes], or larger still. Openings of players who exist are never refused, nor is what makes it smaller. It
// changes neither.
func (r *Room) Check(state *storev1.Entity, entry *storev1.Entry) error {
	switch {
	case len(entry.GetPlayerEvents()) == 0:
		return nil
	case len(entry.GetTransferEvents()) > 0: // the step has looked itself: what it refuses has to be remembered
		r.atMost = 0
		return nil
	}
	growth := growthFactor*entry.SizeVT() + growthBytes
	before := 0
	if r.atMost == 0 || r.atMost+growth > MaxDocumentBytes {
		before = state.GetPlayer().SizeVT()
		r.atMost = before
	}
	if r.atMost+growth <= MaxDocumentBytes || entry.GetOpened() != nil && state.GetPlayer() != nil {
		r.atMost += growth
		return nil
	}
	after := documentAfter(state, entry)
	if after > MaxDocumentBytes && after > before {
		return &RequestError{
			ErrTooLarge, grownBy(entry), fmt.Sprintf("would make the player %d bytes, at most %d are allowed", after, MaxDocumentBytes),
		}
	}
	r.atMost = after
	return nil
}

// documentAfter is the size of the document with the entry's events; 0 when they make no sense, which Evolve says.
func documentAfter(state *storev1.Entity, entry *storev1.Entry) int {
	document := state.GetPlayer().CloneVT()
	if document == nil {
		document = &skerryv1.Player{}
	}
	for _, event := range entry.GetPlayerEvents() {
		if player.Evolve(document, event) != nil {
			return 0
		}
	}
	return document.SizeVT()
}

// grownBy is the field of the request that made the entry.
func grownBy(entry *storev1.Entry) string {
	switch {
	case entry.GetOpened() != nil:
		return "initial"
	case entry.GetOutcome() == nil:
		return "document"
	default:
		return "commands"
	}
}
