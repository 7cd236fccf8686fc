package actors

import (
	"github.com/skerry-dev/skerry/actors/gate"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

var _ gate.Owner[reply] = (*activation)(nil)

// reply is a turn's answer, which the gate holds until it may leave.
type reply struct {
	call     *Call // nil: only effects wait
	response *skerryv1.Response
	err      error
	effects  []turn.Effect
}

// unsaved is a reply that waits for a snapshot of its seq, outside of the gate.
type unsaved struct {
	reply
	seq persistence.Seq
}

// awaitBarrier holds a reply until a barrier passed that begins now; see [gate.Gate.HoldBarrier].
func (a *activation) awaitBarrier(r reply, seq persistence.Seq, ordered bool) {
	if !a.gate.HoldBarrier(a, r, seq, ordered) {
		return
	}
	if err := a.host.opts.Journal.Barrier(a.partition, a.epoch, a.barrierDone); err != nil {
		a.wrong(err)
	}
}

func (a *activation) barrierDone(err error) {
	if err != nil {
		a.wrong(err)
		return
	}
	a.gate.Passed(a)
}

// LetGo implements [gate.Owner].
func (a *activation) LetGo(r reply, failed error) {
	if failed != nil {
		r.err, r.effects = failed, nil
	}
	if len(r.effects) > 0 && a.host.hooks.effects != nil {
		a.host.hooks.effects(r.effects, a.key.Space)
	}
	if r.call != nil {
		a.host.answer(a, r.call, r.response, r.err)
	}
}

// Emptied implements [gate.Owner].
func (a *activation) Emptied() { a.host.tell(a, drained) }
