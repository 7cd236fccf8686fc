package turn

import (
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Decide says what req does to the entity key in state.
func Decide(_ *storev1.Entity, _ persistence.Key, _ *skerryv1.Request, _ Env) Result {
	return Result{Err: &RequestError{ErrBadRequest, "request", "is none that an entity takes"}}
}
