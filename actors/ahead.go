package actors

import (
	"runtime"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// together is how many mailboxes a worker takes at most when more wait: what it then reads ahead stays in the nearest caches
// until their turns come, and no mailbox waits long for the others.
const together = 8

// readAhead reads what the next turns of these mailboxes will read. Of thousands of live entities each is cold when its
// command comes: a third of a turn was waiting for memory, one line after the other. Here the lines of all are on their way at once
// (see DESIGN.md). The caller is the worker that runs them next, so what it reads of an activation is its own.
func readAhead(mailboxes []*mailbox) {
	if len(mailboxes) < 2 {
		return // there is nothing to overlap
	}
	var activations [together]*activation
	var states [together]*storev1.Entity
	var sum uint64
	found := activations[:0]
	for _, m := range mailboxes {
		if a := m.activation.Load(); a != nil {
			found = append(found, a)
		}
	}
	for _, m := range mailboxes {
		if m.invoker.Self() != nil { // of the actor's context
			sum++
		}
	}
	for _, a := range found { // one field of each line
		sum += uint64(a.partition) + uint64(a.queued.Load()) + uint64(a.lastUsed.Load()) + uint64(a.seq) + //nolint:gosec // a sum that means nothing
			uint64(a.sinceSaved) + uint64(a.tailSize) + uint64(len(a.saveWaiters)) //nolint:gosec // the same
	}
	live := states[:0]
	for _, a := range found {
		if a.entity != nil {
			live = append(live, a.entity)
		}
		if cap(a.tail) > 0 {
			sum += uint64(a.tail[:1][0].entry.Seq)
		}
	}
	runtime.KeepAlive(sum + turn.ReadAhead(live))
}
