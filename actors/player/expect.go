package player

import "github.com/skerry-dev/skerry/codec/skerryv1"

// expect refuses unless the value of p that e names is what e says.
func expect(_ *skerryv1.Player, e *skerryv1.Expect) error {
	return refuse(ErrBadRequest, "expect.path", "%.80q cannot be expected", e.GetPath())
}
