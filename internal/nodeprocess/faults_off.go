//go:build !faults

package nodeprocess

import (
	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// Faults is what a build with the tag "faults" would break; this build breaks nothing.
func Faults(string) replication.Faults { return replication.Faults{} }

// ActorFaults is the same for what the actors can break.
func ActorFaults(string) actors.Faults { return actors.Faults{} }
