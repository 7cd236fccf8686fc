//go:build !faults

package main

import "github.com/skerry-dev/skerry/persistence/replication"

// faults is what a build with the tag "faults" would break; this build breaks nothing.
func (*app) faults() replication.Faults { return replication.Faults{} }
