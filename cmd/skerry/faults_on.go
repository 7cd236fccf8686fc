//go:build faults

package main

import (
	"time"

	"github.com/skerry-dev/skerry/persistence/replication"
)

// faults reads SKERRY_FAULT: a build with the tag "faults" breaks one promise, so that the crash loop is seen to notice.
func (a *app) faults() replication.Faults {
	switch a.env("SKERRY_FAULT", "") {
	case "answer-before-append":
		return replication.Faults{AnswerBeforeAppend: true, SlowWrite: 5 * time.Millisecond}
	case "slow-write": // breaks nothing: what the one above is compared with
		return replication.Faults{SlowWrite: 5 * time.Millisecond}
	case "slow-saves": // breaks nothing: a handover does not wait for a save
		return replication.Faults{SlowSave: 1500 * time.Millisecond}
	case "skip-sync":
		return replication.Faults{SkipSync: true}
	case "fail-sync": // breaks nothing: the node must end, and lose nothing
		return replication.Faults{FailSyncAfter: 500}
	case "no-barrier":
		return replication.Faults{NoBarrier: true}
	default:
		return replication.Faults{}
	}
}
