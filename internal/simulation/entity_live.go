package simulation

import (
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/actors/gate"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// liveEntity is an activation. What it does when is what actors does; see load.go, turns.go, journal.go and save.go there.
type liveEntity struct {
	h         *entityHost
	key       persistence.Key
	partition persistence.Partition
	epoch     persistence.Epoch

	mode     entityMode
	waiting  []*entityCall // for the load, or for the next activation
	state    *storev1.Entity
	seq      persistence.Seq // of the newest event
	saved    persistence.Seq // of the newest accepted snapshot
	savedAt  time.Time
	lastUsed time.Duration

	tail      []tailLine // not proposed yet
	tailSince time.Duration
	flushDue  bool // an alarm for the journal interval is set
	retryDue  bool // one for another try of the tail is
	flying    int  // changes that were proposed and not answered
	saving    bool // a snapshot is on its way
	unsaved   []unsavedReply

	gate gate.Gate[*entityReply]
	life *entityLife // what the checkers know of it
}

type entityMode uint8

const (
	entityLoading entityMode = iota
	entityRunning
	entityFinishing // runs nothing new, appends, saves, waits for its gate
	entityDropping  // waits for what it has proposed
	entityGone
)

// tailLine is an entry that was not proposed yet, with the marks of its turn.
type tailLine struct {
	entry persistence.Entry
	marks []persistence.Mark
}

// entityReply is a turn's answer, in the gate.
type entityReply struct {
	call    *entityCall
	answer  entityAnswer
	seq     persistence.Seq // what it shows is this far
	durable bool            // it says that everything up to seq is durable
	held    bool            // a transfer has to go on
	claims  bool            // it says that its own event happened, durably or not
}

// unsavedReply waits for a snapshot of its seq.
type unsavedReply struct {
	*entityReply
	seq persistence.Seq
}

// The ways in which a host refuses without having done anything.
var (
	errEntityBusy    = errors.New("too many calls wait for the entity")
	errEntityStalled = errors.New("the journal is stalled")
	errEntityLoad    = errors.New("the entity could not be loaded")
)

// dirty reports whether there are events that no snapshot covers.
func (a *liveEntity) dirty() bool { return a.seq > a.saved }

// proposed is the seq of the newest entry that was handed to the journal.
func (a *liveEntity) proposed() persistence.Seq { return a.seq - persistence.Seq(len(a.tail)) }

// turn runs one call.
func (a *liveEntity) turn(c *entityCall) {
	now := a.h.now()
	a.lastUsed = now
	env := turn.Env{
		Now: a.h.n.Clock(), Seed: a.h.app.w.Rand.Uint64(), Admin: true, Seq: a.seq, LastSave: a.savedAt, Describe: describeRefusal, Step: c.step,
	}
	if c.request.GetOpenPlayerSession() != nil {
		a.h.app.tokens++
		env.Token = fmt.Sprintf("token-%d", a.h.app.tokens)
	}
	r := turn.Decide(a.h.app.seen(a.state, c.step), a.key, c.request, env)
	a.h.app.counts.Turns++
	if r.Entry != nil && (r.Err == nil || a.h.app.mutation != VolatileRefusals) {
		a.commit(c, &r, now)
		return
	}
	a.replyUnchanged(c, &r)
}

func describeRefusal(err error) *skerryv1.Error { return &skerryv1.Error{Message: err.Error()} }

// commit evolves the state by the turn's entry and sends the entry, and the answer, on their ways.
func (a *liveEntity) commit(c *entityCall, r *turn.Result, now time.Duration) {
	durable := r.Durable || r.Save || len(r.Marks) > 0
	if !durable && a.stalled(now) {
		c.reply(entityAnswer{err: errEntityStalled})
		return
	}
	data, err := codec.EncodeEntry(r.Entry)
	if err == nil {
		err = turn.Evolve(a.state, a.seq+1, r.Entry)
	}
	if err != nil {
		a.h.app.w.Fail("rules", a.partition, "%s at %d: %v", a.key, a.seq+1, err)
		return
	}
	if len(a.tail) == 0 {
		a.tailSince = now
	}
	a.seq++
	a.tail = append(a.tail, tailLine{persistence.Entry{Seq: a.seq, Data: data}, r.Marks})
	a.life.happened(a, c.op, r, now)

	reply := &entityReply{call: c, answer: entityAnswer{r.Response, r.Answer, r.Err}, seq: a.seq, durable: durable, claims: true}
	for i := range r.Effects {
		reply.held = reply.held || r.Effects[i].Held != 0
	}
	switch {
	case r.Save:
		a.unsaved = append(a.unsaved, unsavedReply{reply, a.seq})
		a.save()
	case durable && a.h.app.mutation != DurableIsMemory:
		a.gate.Hold(a, reply, a.seq)
		a.flush()
	default:
		a.flushLater()
		a.awaitBarrier(reply, 0, false)
	}
}

// replyUnchanged answers a turn without an entry: it waits for what it may have seen, and for the barrier.
func (a *liveEntity) replyUnchanged(c *entityCall, r *turn.Result) {
	reply := &entityReply{call: c, answer: entityAnswer{r.Response, r.Answer, r.Err}}
	if r.Save && a.dirty() {
		a.unsaved = append(a.unsaved, unsavedReply{reply, a.seq})
		a.save()
		return
	}
	seq := max(r.After, a.proposed())
	reply.seq, reply.durable = seq, seq > 0
	if seq > a.proposed() {
		a.flush()
	}
	a.awaitBarrier(reply, seq, true)
}

func (a *liveEntity) awaitBarrier(reply *entityReply, seq persistence.Seq, ordered bool) {
	if !a.gate.HoldBarrier(a, reply, seq, ordered) {
		return
	}
	if a.h.app.mutation == GateWithoutBarrier {
		a.gate.Passed(a)
		return
	}
	err := a.h.n.Barrier(a.partition, a.epoch, func(err error) {
		if err != nil {
			a.wrong(err)
			return
		}
		a.gate.Passed(a)
	})
	if err != nil {
		a.wrong(err)
	}
}

// LetGo implements [gate.Owner].
func (a *liveEntity) LetGo(reply *entityReply, failed error) {
	if failed != nil {
		reply.call.reply(entityAnswer{err: failed})
		return
	}
	a.life.answered(reply)
	if reply.held { // when nobody goes on with it who asked for it
		a.h.after(orphanPause, func() { a.h.resume(a.key) })
	}
	reply.call.reply(reply.answer)
}

// Emptied implements [gate.Owner].
func (a *liveEntity) Emptied() { a.h.n.After(0, a.settle) }

// wrong ends the activation: what it has in memory is not the truth, or not any more. Calls that had no turn go to the next,
// which must find in storage what becomes of the changes on their way: it is not loaded before they are answered.
func (a *liveEntity) wrong(err error) {
	if !a.gate.Fail(a, err) {
		return
	}
	a.mode, a.tail = entityDropping, nil
	a.dropped()
	unsaved := a.unsaved
	a.unsaved = nil
	for _, u := range unsaved {
		u.call.reply(entityAnswer{err: persistence.ErrOutcomeUnknown})
	}
}

// dropped departs when nothing that was proposed under this epoch can be applied any more.
func (a *liveEntity) dropped() {
	epoch, owned := a.h.n.Owns(a.partition)
	if a.mode == entityDropping && (a.flying == 0 || !owned || epoch != a.epoch || a.h.app.mutation == NextDoesNotWait ||
		a.h.app.mutation == ActivationTakesDuplicate) {
		a.depart()
	}
}

// depart makes room for the next activation, and gives it the calls that wait.
func (a *liveEntity) depart() {
	a.mode = entityGone
	if a.h.live[a.key] == a {
		delete(a.h.live, a.key)
	}
	if a.life != nil {
		a.life.ended = true
	}
	waiting := a.waiting
	a.waiting = nil
	for _, c := range waiting {
		a.h.n.After(0, func() { a.h.do(c) })
	}
}

// idle begins to leave when nobody has called for a while.
func (a *liveEntity) idle() {
	if a.mode >= entityDropping {
		return
	}
	if a.mode == entityRunning && a.h.now()-a.lastUsed >= passivateAfter && a.gate.Empty(false) && len(a.unsaved) == 0 {
		a.mode = entityFinishing
		a.h.app.counts.Passivations++
		a.settle()
		return
	}
	a.h.after(passivateAfter/2, a.idle)
}

// settle goes on with leaving.
func (a *liveEntity) settle() {
	if a.mode != entityFinishing {
		return
	}
	if a.dirty() && !a.saving {
		a.save()
	}
	if a.saving || !a.flush() || !a.gate.Empty(true) || a.mode != entityFinishing {
		return
	}
	a.depart()
}
