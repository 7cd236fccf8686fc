package simulation

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Check implements [App].
func (e *entities) Check() error {
	for _, p := range e.players {
		e.checkPlayer(p)
		if e.w.failed != nil {
			return e.w.failed
		}
	}
	e.checkTransfers()
	return e.w.failed
}

// checkHistory holds what is stored of an entity in the end against what its activations did and said, and returns it.
func (e *entities) checkHistory(key persistence.Key) *storev1.Entity {
	part := e.partitionOf(key)
	state, err := e.finalState(key)
	if err != nil {
		e.w.Fail("load", part, "in the end %s: %v", key.ID, err)
		return nil
	}
	r := e.record(key)
	seq := persistence.Seq(state.GetSeq())
	if err := r.confirm(seq, digestOf(state)); err != nil {
		e.w.Fail("history", part, "in the end of %s: %v", key.ID, err)
		return nil
	}
	if seq < r.acked {
		e.w.Fail("acknowledged is durable", part, "%s ends at %d, and %d were acknowledged", key.ID, seq, r.acked)
		return nil
	}
	r.judge()
	return state
}

// checkPlayer holds what clients were told of a player against what is there in the end.
func (e *entities) checkPlayer(p *virtualPlayer) {
	part, r := e.partitionOf(p.key), e.record(p.key)
	state := e.checkHistory(p.key)
	if e.w.failed != nil {
		return
	}
	seq := persistence.Seq(state.GetSeq())
	done := map[*clientOp]int{}
	for _, event := range r.chain {
		if event.seq <= seq && event.op != nil && event.applied {
			done[event.op]++
		}
	}
	coins := int64(0)
	if state.GetPlayer() != nil {
		coins = startCoins
	}
	for _, o := range p.ops {
		e.checkOp(o, done[o])
		coins += o.amount * int64(done[o])
	}
	if got := coinsOf(state.GetPlayer()); got != coins && e.w.failed == nil {
		e.w.Fail("coins", part, "%s has %d coins in the end, what was done makes %d", p.key.ID, got, coins)
	}
	if e.w.failed != nil {
		return
	}
	e.checkSessions(p)
	if p.strict {
		e.checkLinearizable(p)
	}
}

// startCoins is what a new player has.
const startCoins = 100

// checkOp holds what a client was told of an operation against how often it is in the history.
func (e *entities) checkOp(o *clientOp, times int) {
	part := e.partitionOf(o.player.key)
	if o.kind != opEarn && o.kind != opOpen {
		return
	}
	switch {
	case times > 1:
		e.w.Fail("exactly once", part, "%v took effect %d times", o, times)
	case times > 0 && (o.outcome == opRefused || o.outcome == opTaken && o.kind == opEarn):
		e.w.Fail("exactly once", part, "%v was refused (%s), and took effect", o, o.message)
	case times == 0 && o.outcome == opApplied && o.durable:
		e.w.Fail("exactly once", part, "%v was acknowledged, and is not there", o)
	}
}

// checkSessions: what a session did is after its opening and before the next one.
func (e *entities) checkSessions(p *virtualPlayer) {
	var opened []*clientOp
	for _, o := range p.ops {
		if o.kind == opOpen && o.outcome == opApplied && !o.delayed {
			opened = append(opened, o)
		}
	}
	for _, o := range p.ops {
		if o.kind != opEarn || o.outcome != opApplied || !o.durable {
			continue
		}
		for _, next := range opened {
			if next.session != o.session && next.seq > o.session.seq && o.seq > next.seq && !o.sessionSeqUnknown() {
				e.w.Fail("session", e.partitionOf(p.key), "%v took effect at %d, after session %d was opened at %d", o, o.seq, next.session.number, next.seq)
				return
			}
		}
	}
}

// sessionSeqUnknown: the opening was answered by a later try, with the seq of then.
func (o *clientOp) sessionSeqUnknown() bool {
	for _, open := range o.player.ops {
		if open.kind == opOpen && open.session == o.session {
			return open.delayed
		}
	}
	return true
}

// coinsModel is a player as clients see one: who holds it, and the coins.
type coinsModel struct {
	session int // 0: the player does not exist
	coins   int64
}

// maxLinearizeTime bounds the search for one player; a history that takes longer is not judged.
const maxLinearizeTime = 5 * time.Second

func (e *entities) checkLinearizable(p *virtualPlayer) {
	var history []porcupine.Operation
	for i, o := range p.ops {
		if o.kind == opSave || o.kind == opRead && o.outcome == opPending {
			continue
		}
		end := o.done
		if o.outcome == opPending {
			end = math.MaxInt64
		}
		history = append(history, porcupine.Operation{ClientId: i, Input: o, Call: o.began, Output: o, Return: end})
	}
	model := porcupine.Model{
		Init: func() any { return coinsModel{} },
		Step: func(state, input, _ any) (bool, any) {
			before, _ := state.(coinsModel)
			o, _ := input.(*clientOp)
			return o.step(before)
		},
		Equal: func(a, b any) bool { return a == b },
	}
	switch porcupine.CheckOperationsTimeout(model, history, maxLinearizeTime) {
	case porcupine.Illegal:
		var told strings.Builder
		for _, o := range p.ops {
			fmt.Fprintf(&told, "\n    %6d to %6d: %v: outcome %d, seq %d, %d coins, %d tries", o.began, o.done, o, o.outcome, o.seq, o.coins, o.tries)
		}
		e.w.Fail("linearizable", e.partitionOf(p.key), "what was said of %s fits no order:%s", p.key.ID, told.String())
	case porcupine.Unknown:
		e.counts.NotJudged++
	case porcupine.Ok:
		e.counts.Judged++
	}
}

// step reports whether the operation may have happened to a player who was as before, and how it is after.
func (o *clientOp) step(before coinsModel) (bool, coinsModel) {
	after := before
	switch o.kind {
	case opOpen:
		after.session = o.session.number
		if before.session == 0 {
			after.coins = startCoins
		}
		return o.outcome != opApplied || o.delayed || after.coins == o.coins, after
	case opRead:
		if o.outcome == opAbsent {
			return before.session == 0, before
		}
		return before.session != 0 && before.coins == o.coins, before
	case opEarn:
		holds := before.session == o.session.number
		enough := before.coins+o.amount >= 0
		switch o.outcome {
		case opApplied:
			after.coins += o.amount
			return holds && enough && after.coins == o.coins, after
		case opRefused:
			return holds && !enough, before
		case opTaken:
			return !holds, before
		default: // not known
			if holds && enough {
				after.coins += o.amount
			}
			return true, after
		}
	default:
		return true, before
	}
}
