package actors

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// noContext is for log lines: nothing here waits.
var noContext = context.Background() //nolint:gochecknoglobals // immutable

// receiveCall runs one turn.
func (a *activation) receiveCall(c *Call) {
	a.queued.Add(-1)
	a.current = c
	defer a.afterMessage()
	if a.mode == flushing || a.mode == dropping { // nothing was done for it: the next activation may
		a.current = nil
		a.handOver(c)
		return
	}
	if a.lineUp(c) {
		return
	}
	a.runTurn(c)
}

// refuse answers the present call without the gate: nothing was done for it.
func (a *activation) refuse(err error) {
	c := a.current
	a.current = nil
	a.host.answer(a, c, nil, err)
}

func (a *activation) runTurn(c *Call) {
	h := a.host
	clock := time.Now()
	now := clock.Sub(h.start)
	a.lastUsed.Store(int64(now))
	if err := a.unpack(); err != nil {
		a.refuse(fmt.Errorf("%w: %w", ErrLoad, err))
		a.breakOff()
		return
	}
	result := h.decide(a.entity, a.key, c.Request, a.env(c, clock))
	h.turns.Add(1)
	c.answer = result.Answer
	a.touch(c.Request) // now: after its reply the request is the caller's again
	if result.Entry != nil {
		a.commit(&result, now)
	} else {
		a.replyUnchanged(&result)
	}
	if a.parts != nil {
		a.limitParts()
	}
}

func (a *activation) env(c *Call, clock time.Time) turn.Env {
	env := turn.Env{
		Now: clock, Seed: rand.Uint64(), Admin: c.Admin, Silent: c.silent, Reaps: c.reaps, Claim: c.claim, Seq: a.seq, Incarnation: c.incarnation,
		Rules: a.host.opts.Rules(a.key.Space), Describe: a.host.opts.Describe, Step: c.step, Level: a.host.opts.FeatureLevel(),
		Forgets: a.host.opts.Faults.NoDedupe,
	}
	if a.savedAt != 0 {
		env.LastSave = time.UnixMilli(a.savedAt)
	}
	if a.dirty() {
		env.DirtySince = a.wallTime(a.dirtySince)
	}
	switch c.Request.GetRequest().(type) {
	case *skerryv1.Request_OpenPlayerSession, *skerryv1.Request_RegisterServer, *skerryv1.Request_OpenWorldSession:
		env.Token = crand.Text() // 130 bits
	}
	if a.parts != nil {
		a.worldEnv(&env)
	}
	return env
}

// commit evolves the state by the turn's entry and sends the entry, and the reply, on their ways.
func (a *activation) commit(r *turn.Result, now instant) {
	durable := r.Durable || r.Save || len(r.Marks) > 0
	if !durable && a.stalled(now) {
		a.refuse(ErrStalled)
		return
	}
	if err := a.room.Check(a.entity, r.Entry); err != nil {
		a.refuse(err)
		return
	}
	if a.host.opts.Forms.Level(r.Entry) > max(a.host.opts.FeatureLevel(), 1) {
		a.refuse(ErrTooNew)
		return
	}
	data, err := codec.EncodeEntry(r.Entry) // before the state changes: what cannot be stored must not happen
	if err != nil {
		a.refuse(err)
		return
	}
	err = a.host.evolve(a.entity, a.seq+1, r.Entry)
	if err == nil {
		err = a.evolveParts(r.Entry)
	}
	if err != nil {
		a.refuse(fmt.Errorf("%w: evolve %s: %w", ErrPanicked, a.key, err))
		a.breakOff()
		return
	}
	a.append(persistence.Entry{Seq: a.seq + 1, Data: data}, r.Marks, now)
	a.markParts(r.Entry)
	a.weighEntry(r.Entry)

	w := reply{call: a.current, response: r.Response, err: r.Err, effects: r.Effects}
	a.current = nil
	onItsWay := a.save
	switch {
	case r.Save && a.leaves(w.call, true):
		a.gate.Hold(a, reply{effects: w.effects}, a.seq)
		w.effects = nil
		a.saveWaiters = append(a.saveWaiters, unsaved{w, a.seq})
		if a.save != onItsWay {
			a.trySave()
		}
	case durable:
		a.gate.Hold(a, w, a.seq)
		a.flush()
	default:
		if len(w.effects) > 0 {
			a.gate.Hold(a, reply{effects: w.effects}, a.seq)
		}
		w.effects = nil
		a.flushLater(now)
		a.awaitBarrier(w, 0, false)
	}
	if a.journalIsLong() {
		a.beginSave(byNeed)
	}
}

// weighEntry notes what an entry makes of the next save.
func (a *activation) weighEntry(entry *storev1.Entry) {
	if entry.GetReceipt() != "" {
		a.importance = max(a.importance, budget.Purchase)
		a.host.budgets.raise(a, a.importance)
	}
}

// replyUnchanged answers a turn without an entry: it waits for what it may have seen, and for the barrier.
func (a *activation) replyUnchanged(r *turn.Result) {
	w := reply{call: a.current, response: r.Response, err: r.Err}
	a.current = nil
	if len(r.Effects) > 0 && a.host.hooks.effects != nil {
		a.host.hooks.effects(r.Effects, a.key.Space)
	}
	if r.Save && a.dirty() {
		onItsWay := a.save
		if asksForSave(w.call) {
			a.saveWaiters = append(a.saveWaiters, unsaved{w, a.seq})
			a.beginSave(byRequest)
			return
		}
		if a.leaves(w.call, false) {
			a.saveWaiters = append(a.saveWaiters, unsaved{w, a.seq})
			if a.save != onItsWay {
				a.trySave()
			}
			return
		}
	}
	seq := max(r.After, a.proposed())
	if seq > a.proposed() {
		a.flush() // a remembered outcome that is still in memory only
	}
	a.awaitBarrier(w, seq, true)
}

// touch tells the server life-cycle that a session's holder was here.
func (a *activation) touch(request *skerryv1.Request) {
	if a.host.hooks.seen == nil {
		return
	}
	sessions := a.entity.GetSessions()
	if len(sessions) == 0 {
		return
	}
	last := sessions[len(sessions)-1]
	if !last.GetEnded() && (last.GetToken() == sessionOf(request) || transferWith(request.GetCreateTransfer(), last.GetToken())) {
		a.host.hooks.seen(a.key.Space, last.GetServer())
	}
}

// transferWith reports whether a transfer is asked for with a token.
func transferWith(request *skerryv1.CreateTransferRequest, token string) bool {
	for _, leg := range request.GetLegs() {
		if leg.GetFrom().GetSession() == token || leg.GetTo().GetSession() == token {
			return true
		}
	}
	return false
}

// sessionOf is the token that a request carries.
func sessionOf(request *skerryv1.Request) string {
	switch r := request.GetRequest().(type) {
	case *skerryv1.Request_ExecutePlayer:
		return r.ExecutePlayer.GetSession()
	case *skerryv1.Request_EndPlayerSession:
		return r.EndPlayerSession.GetSession()
	case *skerryv1.Request_SavePlayer:
		return r.SavePlayer.GetSession()
	case *skerryv1.Request_GetPlayerCommand:
		return r.GetPlayerCommand.GetSession()
	case *skerryv1.Request_ExecuteWorld:
		return r.ExecuteWorld.GetSession()
	case *skerryv1.Request_PutChunk:
		return r.PutChunk.GetSession()
	case *skerryv1.Request_EndWorldSession:
		return r.EndWorldSession.GetSession()
	case *skerryv1.Request_SaveWorld:
		return r.SaveWorld.GetSession()
	case *skerryv1.Request_GetWorldCommand:
		return r.GetWorldCommand.GetSession()
	default:
		return ""
	}
}
