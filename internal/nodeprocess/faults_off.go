//go:build !faults

package nodeprocess

import "github.com/skerry-dev/skerry/persistence/replication"

// Faults is what a build with the tag "faults" would break; this build breaks nothing.
func Faults(string) replication.Faults { return replication.Faults{} }
