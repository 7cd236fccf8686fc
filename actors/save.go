package actors

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// saving is a snapshot on its way, through all of its tries.
type saving struct {
	upload      // of the main part, in this try
	began       instant
	tries       int   // that failed
	bytes       int64 // of the journal that it covers
	parts       *partsSave
	mainChanges uint64          // of a world's main part, that this try covers
	target      persistence.Seq // of a world: what the save covers; the main part may be newer
	trimTo      persistence.Seq // of a world

	permit         // what it was granted, and has used up when it is stored
	stored   int64 // bytes, of all its tries
	inFlight bool  // the main part
	// edited: events came after this try's state, the first at editedAt. They stay dirty.
	edited   bool
	editedAt instant
}

// saveResult is the journal's word on a snapshot or a piece of one.
type saveResult struct {
	err error
	p   *proposal
}

// journalIsLong reports whether the entries since the newest snapshot are more than an activation should replay. After a
// save that failed for good, that is left to autosave until as many came again.
func (a *activation) journalIsLong() bool {
	if a.gaveUp > a.saved {
		return a.seq-a.gaveUp > maxJournalEntries
	}
	return a.sinceSaved > maxJournalBytes || a.seq-a.saved > maxJournalEntries
}

// trySave takes the state as it is now and sends it, whole or in pieces, after everything that it covers.
func (a *activation) trySave() {
	s := a.save
	if s == nil || s.inFlight || a.mode > finishing {
		return
	}
	if !a.flush() { // before it, not with it: what was answered does not wait for a slow save
		a.saveLater(proposePause)
		return
	}
	if a.parts == nil {
		s.target, s.bytes, s.edited = a.seq, a.sinceSaved, false
	} else {
		if !a.saveParts() {
			return
		}
		if a.mainMayWait() {
			a.parts.sinceMain += s.bytes
			s.at = time.Now().Truncate(time.Millisecond)
			a.saved, a.savedAt = s.target, s.at.UnixMilli()
			a.endSave(s)
			return
		}
		s.mainChanges = a.parts.mainChanges
		covered := a.parts.covered(a.seq)
		a.entity.PartsSeq, s.trimTo = uint64(covered), a.parts.trimTo(a.seq, covered)
	}
	s.seq, s.at, s.pieces = a.seq, time.Now().Truncate(time.Millisecond), 0
	var err error
	if s.data = a.packed; a.entity != nil {
		s.data, err = codec.EncodeEntity(a.entity)
	}
	if err != nil {
		a.saveFailed(err)
		return
	}
	a.resize(len(s.data))
	s.inFlight = true
	if len(s.data) > persistence.MaxPieceBytes {
		a.requestPiece()
		return
	}
	a.proposeSnapshot()
}

// proposeSnapshot sends what makes the snapshot visible: its data, or the number of its pieces.
func (a *activation) proposeSnapshot() {
	s := a.save
	p := &proposal{a: a, kind: withSnapshot, began: s.began}
	p.change.Key, p.change.Epoch = a.key, a.epoch
	p.change.Snapshot, p.change.TrimTo = s.snapshot(a.epoch), s.trimTo
	if !a.propose(p) {
		s.inFlight = false
		a.saveLater(proposePause)
	}
}

// receiveSaveResult goes on after a piece, or ends the save.
func (a *activation) receiveSaveResult(r saveResult) {
	a.queued.Add(-1)
	defer a.afterMessage()
	s := a.save
	switch {
	case s == nil || a.mode > finishing:
	case r.p.part != nil:
		a.receivePartResult(r)
	case r.err != nil:
		s.inFlight = false
		a.saveFailed(r.err)
	case r.p.kind == pieceOnly && s.pieces*persistence.MaxPieceBytes < len(s.data):
		a.requestPiece()
	case r.p.kind == pieceOnly:
		a.proposeSnapshot()
	default:
		s.stored += int64(len(s.data))
		a.saved, a.savedAt = s.target, s.at.UnixMilli()
		if a.parts != nil {
			a.parts.savedMain(s.seq, s.trimTo)
			a.parts.mainSaved = s.mainChanges
		}
		a.endSave(s)
	}
}

// endSave notes an accepted snapshot. Events that came after it stay dirty.
func (a *activation) endSave(s *saving) {
	a.save = nil
	a.pay(s)
	a.sinceSaved -= s.bytes
	a.host.autosave.saved.Add(1)
	if a.host.opts.Events.Saved != nil {
		a.host.opts.Events.Saved(a.key, s.size(), a.host.now()-s.began)
	}
	waiting := a.saveWaiters[:0]
	for _, w := range a.saveWaiters {
		if w.seq > a.saved {
			waiting = append(waiting, w)
			continue
		}
		a.host.answer(a, w.call, w.response, w.err)
	}
	clear(a.saveWaiters[len(waiting):])
	a.saveWaiters = waiting
	if a.parts != nil {
		a.limitParts()
	}
	if !a.dirty() || a.save != nil {
		return
	}
	a.dirtySince = s.editedAt
	if len(waiting) > 0 {
		if a.beginSave(byRequest); a.save != nil || !a.dirty() {
			return
		}
	}
	if a.importance >= budget.Shutdown {
		a.beginSave(byInterval)
		return
	}
	a.host.autosave.push(a, a.dirtySince)
}

// saveFailed tries again after a pause, or leaves it to the next interval.
func (a *activation) saveFailed(err error) {
	s, h := a.save, a.host
	s.tries++
	final := s.tries >= h.opts.Tries || errors.Is(err, codec.ErrTooLarge)
	h.log.LogAttrs(noContext, slog.LevelError, "save failed", slog.String("entity", a.key.String()), slog.Uint64("seq", uint64(s.seq)),
		slog.Int("try", s.tries), slog.Bool("final", final), slog.Any("err", err))
	if h.opts.Events.SaveFailed != nil {
		h.opts.Events.SaveFailed(a.key, err, final)
	}
	h.failed(noContext)
	if !final {
		a.saveLater(h.backoff(s.tries))
		return
	}
	a.tellHolder(err)
	h.autosave.failed.Add(1)
	a.dropPartSaves()
	a.pay(s)
	a.save, a.gaveUp = nil, a.seq
	for _, w := range a.saveWaiters {
		a.answerUnsaved(w, err)
	}
	a.saveWaiters = nil
	if a.mode == finishing {
		a.skipSave = true // the journal has everything
		return
	}
	h.autosave.push(a, h.now())
}

// tellHolder tells the server that has the session of the entity that its snapshot failed.
func (a *activation) tellHolder(failed error) {
	if a.host.hooks.effects == nil || a.unpack() != nil || len(a.entity.GetSessions()) == 0 {
		return
	}
	last := a.entity.GetSessions()[len(a.entity.GetSessions())-1]
	if last.GetEnded() {
		return
	}
	a.host.hooks.effects([]turn.Effect{{
		Server: last.GetServer(), Key: a.key, Token: last.GetToken(), Incarnation: last.GetIncarnation(),
		Event: &skerryv1.ServerEvent{
			Type: turn.EventSaveFailed, Kind: a.key.Kind.String(), Entity: a.key.ID, Session: last.GetToken(),
			At: timestamppb.Now(), Detail: failed.Error(),
		},
	}}, a.key.Space)
}

// answerUnsaved answers a call whose snapshot failed for good. When trying again is of no use, one that asked for nothing else is
// refused, and the others are answered: what they did is in the journal.
func (a *activation) answerUnsaved(w unsaved, err error) {
	switch {
	case !errors.Is(err, codec.ErrTooLarge):
		a.host.answer(a, w.call, nil, fmt.Errorf("%w: %w", ErrSave, err))
	case w.call.Request.GetSavePlayer() != nil || w.call.Request.GetSaveWorld() != nil:
		a.host.answer(a, w.call, nil, err)
	default:
		a.host.answer(a, w.call, w.response, w.err)
	}
}

// saveLater sets the next try of the save.
func (a *activation) saveLater(pause time.Duration) {
	a.host.alarms.set(a.host.now()+pause, a, retrySave)
}

// failSaves answers the replies that wait for a snapshot which will not come.
func (a *activation) failSaves() {
	for _, w := range a.saveWaiters {
		a.host.answer(a, w.call, nil, persistence.ErrOutcomeUnknown)
	}
	a.saveWaiters = nil
}

// backoff is the pause after so many failed tries: exponential, with jitter of a quarter up or down.
func (h *Host) backoff(tries int) time.Duration {
	pause := h.opts.RetryBase << min(tries-1, 10)
	return pause*3/4 + rand.N(pause/2+1)
}
