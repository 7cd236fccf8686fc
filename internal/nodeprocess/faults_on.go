//go:build faults

package nodeprocess

import (
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// Faults is what a name stands for, such as the value of SKERRY_FAULT: a build with the tag "faults" breaks one promise, so that
// those who look are seen to notice.
func Faults(name string) replication.Faults {
	switch name {
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

// ActorFaults is the same for what the actors can break.
func ActorFaults(name string) actors.Faults {
	return actors.Faults{NoLimiter: name == "no-limiter", NoDedupe: name == "no-dedupe"}
}
