package actors

import (
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/actors/gate"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// activation is one entity live in memory. Its unmarked fields belong to its actor: to the goroutine that runs its present
// message (before the first message, to its loader). Its size counts: see DESIGN.md.
type activation struct {
	host      *Host  // immutable, like the next four
	shard     *shard // which also guards the slot
	key       persistence.Key
	epoch     persistence.Epoch
	partition persistence.Partition

	mode       mode
	reason     reason            // for which it ends
	flushAlarm bool              // a flushTail is set
	proposes   bool              // a retryPropose is set
	skipSave   bool              // it ends without a snapshot: the journal has everything
	wasDirty   bool              // when it was told to shut down
	damaged    bool              // stored values were stepped around: a save at once makes two whole copies again
	loadTries  uint8             // that failed
	asking     bool              // a save that somebody asked for waits in its server's account
	importance budget.Importance // of the next save
	isPacked   atomic.Bool

	slot // guarded by shard.mu

	queued   atomic.Int32 // messages on their way to the actor; raised under shard.mu
	pending  atomic.Int32 // calls that were not answered yet; bounded by MailboxSize
	lastUsed atomic.Int64 // an instant
	size     atomic.Int64 // of the entity, encoded, about

	entity  *storev1.Entity // nil while packed
	packed  []byte          // the entity as a snapshot has it, while nobody uses it
	current *Call           // in the present message, until it was answered or waits in the gate

	room turn.Room // what is known of the document's size

	seq        persistence.Seq // of the newest event
	saved      persistence.Seq // of the newest accepted snapshot; dirty while it is less than seq
	gaveUp     persistence.Seq // when the newest save failed for good, 0: it did not
	savedAt    int64           // Unix milliseconds of it, 0: there is none
	dirtySince instant         // while dirty: the oldest event that no snapshot covers
	sinceSaved int64           // bytes of the entries after saved

	tail       []tailEntry // not proposed yet, in order; bounded by maxTailEntries and the calls
	tailSize   int         // bytes of it
	tailSince  instant     // when its oldest event happened
	handedOver *[]*Call    // calls for the next activation, or nil; bounded by MailboxSize
	save       *saving     // the snapshot on its way, or nil
	parts      *parts      // a world's chunks; nil for other kinds

	saveWaiters []unsaved // replies that wait for a snapshot of their seq
	gate        gate.Gate[reply]
	listed      listed // guarded by host.autosave
}

// message is what an activation hears from its host, or from itself. It has no pointers.
type message uint8

const (
	flushTail    message = iota // the journal interval is over
	retryPropose                // the journal's queue was full
	beginSave                   // autosave
	shorten                     // autosave, if the next owner would have much to replay
	retrySave                   // the pause after a failed try is over
	pieceGranted                // a piece of the snapshot may go
	pack                        // nobody has called for a while
	leaveIdle                   // nobody has called for long
	leaveMemory                 // memory is short
	drained                     // the gate is empty
	shutDown                    // finish, save, stop
	drop                        // stop: what is in memory is not the truth any more
	reload                      // for the host: try the load again
	retryParts                  // the pause after failed loads of chunks is over
	dropParts                   // memory is short: forget chunks first
	handOver                    // the partition is handed over: finish, append, stop
)

// mode is how far an activation is on its way out.
type mode uint8

const (
	running   mode = iota
	finishing      // runs what was accepted, appends, saves, stops
	yielding       // the same without saving: the next owner goes on
	flushing       // the state is broken, the entries are not: hands calls over, appends, stops
	dropping       // hands calls over, stops
)

// reason is why an activation ended: a word for metrics.
type reason uint8

const (
	byIdleness reason = iota
	byMemory
	byAbsence
	byShutdown
	byHandover
	byLoss
	byPanic
)

// String is the word.
func (r reason) String() string {
	return [...]string{"idle", "memory", "absent", "shutdown", "handover", "lost", "panic"}[r]
}

// begin takes over the loaded state; the first message.
func (a *activation) begin() {
	a.queued.Add(-1)
	a.host.heldSize.Add(a.size.Load())
	a.gate.Start(a.seq)
	if a.dirty() {
		a.host.autosave.push(a, a.dirtySince)
	}
	a.lastUsed.Store(int64(a.host.now()))
	if a.damaged {
		a.beginSave(byNeed)
	}
	a.settle()
}

func (a *activation) dirty() bool {
	return a.seq > a.saved || a.parts != nil && a.parts.dirty > 0
}

// receive takes one of the host's messages.
func (a *activation) receive(m message) {
	a.queued.Add(-1)
	defer a.afterMessage()
	switch m {
	case flushTail:
		a.flushAlarm = false
		a.flush()
	case retryPropose:
		a.proposes = false
		a.flush()
	case beginSave:
		a.beginSave(byInterval)
		if a.host.opts.Naive && a.save == nil && a.dirty() { // it queues
			a.host.autosave.push(a, a.dirtySince)
		}
	case shorten:
		if a.seq-a.saved > shortJournalEntries || a.sinceSaved > shortJournalBytes {
			a.beginSave(byEnd)
		}
	case retrySave:
		a.trySave()
	case pieceGranted:
		a.proposePiece()
	case pack:
		a.pack()
	case leaveIdle, leaveMemory:
		a.passivate(m)
	case drained: // settle looks
	case shutDown:
		a.wasDirty = a.dirty()
		a.leaveBy(finishing, byShutdown)
	case drop:
		a.leaveBy(dropping, byLoss)
	case handOver:
		a.yield()
	case retryParts:
		a.retryLoads()
	case dropParts:
		a.evictParts(a.parts.bytes / 2)
	case reload:
	}
}

// afterMessage ends every message; it is what a deferred call of it recovers for.
func (a *activation) afterMessage() {
	if r := recover(); r != nil {
		a.panicked(r)
	}
	a.settle()
}

// panicked gives the state up: what it was in the middle of is not known. The entries before are good.
func (a *activation) panicked(r any) {
	a.host.log.LogAttrs(noContext, slog.LevelError, "turn panicked", slog.String("entity", a.key.String()),
		slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
	if a.current != nil {
		a.refuse(ErrPanicked)
	}
	a.breakOff()
}

// breakOff ends the activation after its entries are in the journal; calls go to the next one.
func (a *activation) breakOff() {
	a.entity, a.packed = nil, nil
	a.unroute()
	a.leaveBy(flushing, byPanic)
}

// leaveBy goes on with m, unless a stricter way out was begun.
func (a *activation) leaveBy(m mode, r reason) {
	if m > a.mode {
		a.mode, a.reason = m, r
	}
}

// settle goes on with leaving; called after every message.
func (a *activation) settle() {
	if a.mode == running && a.seq == 0 && a.unrouteIf(func() bool { return a.queued.Load() == 0 }) {
		a.leaveBy(finishing, byAbsence) // it stayed absent: nothing to remember
	}
	switch a.mode {
	case running:
		return
	case finishing:
		if a.queued.Load() != 0 || a.parts != nil && len(a.parts.waiting) > 0 || a.stillSaving() || !a.flush() || !a.gate.Empty(true) {
			return
		}
	case yielding:
		if a.queued.Load() != 0 || a.parts != nil && len(a.parts.waiting) > 0 || !a.flush() || !a.gate.Empty(true) {
			return
		}
		a.answerUnsavedByHandover()
	case flushing:
		a.handOver()
		if !a.flush() || !a.gate.Empty(true) {
			return
		}
	case dropping:
		a.handOver()
		if a.mayBeApplied() && !a.gate.Empty(true) {
			return
		}
	}
	a.failSaves()
	a.depart()
}

// mayBeApplied reports whether changes that are on their way may still be accepted. The next activation must not be loaded
// before they are: it would number its own from the same seq, and of several the first would be refused and a later one
// accepted, on top of what it does not know.
func (a *activation) mayBeApplied() bool {
	epoch := a.host.partitions[a.partition].epoch.Load()
	return epoch != nil && *epoch == a.epoch && !a.host.ending.abandoned.Load()
}

// stillSaving begins the snapshot that must come before the end, when one is missing, and reports whether one is on its way.
func (a *activation) stillSaving() bool {
	if a.save == nil && a.dirty() && !a.skipSave {
		a.beginSave(byEnd)
		a.skipSave = a.save == nil && a.dirty() && !a.asking // without tokens: the journal has everything
	}
	return a.save != nil || a.asking
}

// passivate begins to leave when nobody has a use for the activation.
func (a *activation) passivate(m message) {
	limit := a.host.opts.PassivateAfter
	unused := func() bool {
		return a.pending.Load() == 0 && (m == leaveMemory || a.host.now()-instant(a.lastUsed.Load()) >= limit)
	}
	if a.mode != running || !a.unrouteIf(unused) {
		return
	}
	a.leaveBy(finishing, byIdleness)
	if m == leaveMemory {
		a.reason = byMemory
	}
}

// pack holds the entity encoded, in one piece of memory, until the next call.
func (a *activation) pack() {
	if a.mode != running || a.entity == nil || a.seq == 0 || a.save != nil || len(a.tail) > 0 || !a.gate.Empty(false) {
		return
	}
	if a.parts != nil && (a.parts.dirty > 0 || len(a.parts.waiting) > 0) {
		return
	}
	data, err := codec.EncodeEntity(a.entity)
	if err != nil {
		return // its save says so
	}
	a.entity, a.packed, a.tail, a.saveWaiters = nil, data, nil, nil
	a.gate.Shrink()
	a.resize(len(data))
	a.isPacked.Store(true)
}

// unpack makes the entity usable. An error means that the activation is broken.
func (a *activation) unpack() error {
	if a.entity != nil {
		return nil
	}
	entity, err := codec.DecodeEntity(a.packed)
	if err != nil {
		return err
	}
	a.entity, a.packed = entity, nil
	a.isPacked.Store(false)
	return nil
}

// resize notes the encoded size of the entity's main part. A world's chunks are added.
func (a *activation) resize(bytes int) {
	if a.parts != nil {
		a.parts.main = bytes
		bytes += int(a.parts.bytes)
	}
	a.host.heldSize.Add(int64(bytes) - a.size.Swap(int64(bytes)))
}

// wrong stops the activation: what it has in memory is not what storage has, or will have. Everything that waits is
// answered at once; the next call activates from storage, when it is known what became of the changes on their way. Called
// from any goroutine.
func (a *activation) wrong(err error) {
	if !a.gate.Fail(a, err) {
		return
	}
	a.unroute()
	a.host.tell(a, drop)
}

func (a *activation) wallTime(at instant) time.Time { return a.host.start.Add(at) }
