package turn

import (
	"fmt"

	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Evolve applies entry, which has seq, to state. It keeps no memory of entry that either may change, and returns an error
// that wraps [ErrUnknownEvent] when entry holds what this version does not know.
func Evolve(_ *storev1.Entity, seq persistence.Seq, _ *storev1.Entry) error {
	return fmt.Errorf("%w: entry %d", ErrUnknownEvent, seq)
}
