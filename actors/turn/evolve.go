package turn

import (
	"fmt"
	"slices"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Evolve applies entry, whose seq is the one after the state's, to state. It keeps no memory of entry. It returns an error
// that wraps [persistence.ErrGap] for another seq, [ErrUnknownEvent] or the rules' error of that name for an entry that
// this version does not know or that makes no sense for the state; then state is not to be used any more.
func Evolve(state *storev1.Entity, seq persistence.Seq, entry *storev1.Entry) error {
	if uint64(seq) != state.GetSeq()+1 {
		return fmt.Errorf("%w: entry %d on a state at %d", persistence.ErrGap, seq, state.GetSeq())
	}
	if entry == nil {
		return fmt.Errorf("%w: an entry that is not there", ErrUnknownEvent)
	}
	if err := evolveDocument(state, entry); err != nil {
		return err
	}
	if err := evolveSessions(state, entry); err != nil {
		return err
	}
	if err := evolveAnswers(state, uint64(seq), entry); err != nil {
		return err
	}
	state.Seq = uint64(seq)
	state.NewestTimeMs = max(state.GetNewestTimeMs(), entry.GetTimeMs())
	return nil
}

func evolveDocument(state *storev1.Entity, entry *storev1.Entry) error {
	for _, event := range entry.GetPlayerEvents() {
		p := state.GetPlayer()
		if p == nil {
			if state.GetDocument() != nil || event.GetCreated() == nil {
				return fmt.Errorf("%w: %T of what is no player", ErrUnknownEvent, event.GetEvent())
			}
			p = &skerryv1.Player{}
			state.Document = &storev1.Entity_Player{Player: p}
		}
		if err := player.Evolve(p, event); err != nil {
			return err
		}
	}
	if err := evolveWorld(state, entry); err != nil {
		return err
	}
	if err := evolveTransfers(state, entry); err != nil {
		return err
	}
	for _, change := range entry.GetServerChanges() {
		s := state.GetServer()
		if s == nil {
			if state.GetDocument() != nil || change.GetRegistered() == nil {
				return fmt.Errorf("%w: %T of what is no server", ErrUnknownEvent, change.GetEvent())
			}
			s = &storev1.Server{}
			state.Document = &storev1.Entity_Server{Server: s}
		}
		if err := server.Evolve(s, change); err != nil {
			return err
		}
	}
	return nil
}

func evolveTransfers(state *storev1.Entity, entry *storev1.Entry) error {
	for _, event := range entry.GetTransferEvents() {
		if err := transfer.BookOf(state).Evolve(event); err != nil {
			return err
		}
	}
	return nil
}

// evolveWorld applies what happened to a world's main part. What happened to its chunks is the shell's: they are parts.
func evolveWorld(state *storev1.Entity, entry *storev1.Entry) error {
	for _, event := range entry.GetWorldEvents() {
		w := state.GetWorld()
		if w == nil {
			if state.GetDocument() != nil || event.GetCreated() == nil {
				return fmt.Errorf("%w: %T of what is no world", ErrUnknownEvent, event.GetEvent())
			}
			w = &skerryv1.World{}
			state.Document = &storev1.Entity_World{World: w}
		}
		if _, ofChunk := world.ChunkOf(event); ofChunk {
			continue
		}
		if err := world.Evolve(w, event); err != nil {
			return err
		}
	}
	return nil
}

func evolveSessions(state *storev1.Entity, entry *storev1.Entry) error {
	if number := entry.GetEndedSession(); number != 0 {
		newest := newestSession(state)
		if newest.GetNumber() != number {
			return fmt.Errorf("%w: the end of session %d, the newest is %d", ErrUnknownEvent, number, newest.GetNumber())
		}
		newest.Ended = true
	}
	opened := entry.GetOpened()
	if opened == nil {
		return nil
	}
	newest := newestSession(state)
	if opened.GetNumber() <= newest.GetNumber() || newest != nil && !newest.GetEnded() {
		return fmt.Errorf("%w: session %d after session %d", ErrUnknownEvent, opened.GetNumber(), newest.GetNumber())
	}
	if newest.GetOpenId() != "" {
		past := append(state.GetPastOpenings(), openingHash(newest.GetServer(), newest.GetOpenId()))
		state.PastOpenings = slices.Clone(past[max(0, len(past)-MaxPastOpenings):])
	}
	if newest != nil && newest.GetNewestId() == 0 { // no answer refers to it
		state.Sessions = state.Sessions[:len(state.Sessions)-1]
	}
	state.Sessions = append(state.Sessions, opened.CloneVT())
	return forgetSessions(state)
}

func evolveAnswers(state *storev1.Entity, seq uint64, entry *storev1.Entry) error {
	outcome := entry.GetOutcome()
	if outcome == nil {
		if entry.GetReceipt() != "" {
			return fmt.Errorf("%w: a receipt without an outcome", ErrUnknownEvent)
		}
		return nil
	}
	if outcome.GetSessionNumber() != 0 {
		if err := addOutcome(state, seq, outcome); err != nil {
			return err
		}
	}
	if entry.GetReceipt() != "" {
		return addReceipt(state, seq, entry.GetReceipt(), outcome)
	}
	return nil
}

func addOutcome(state *storev1.Entity, seq uint64, outcome *storev1.Outcome) error {
	session := sessionNumbered(state, outcome.GetSessionNumber())
	if session == nil || outcome.GetCommandId() < 1 {
		return fmt.Errorf("%w: the outcome of command %d of session %d", ErrUnknownEvent, outcome.GetCommandId(), outcome.GetSessionNumber())
	}
	table, err := appendRecord(state.GetOutcomes(), outcome, 4, seq)
	if err != nil {
		return err
	}
	state.Outcomes = table
	state.OutcomeCount++
	session.NewestId = max(session.GetNewestId(), outcome.GetCommandId())
	if state.GetOutcomeCount() <= MaxOutcomes {
		return nil
	}
	for ; state.OutcomeCount > MaxOutcomes; state.OutcomeCount-- {
		record, rest, err := first(state.Outcomes)
		if err != nil {
			return err
		}
		number, id, err := outcomeID(record)
		if err != nil {
			return err
		}
		if of := sessionNumbered(state, number); of != nil {
			of.ForgottenId = max(of.GetForgottenId(), id)
		}
		state.Outcomes = rest
	}
	if len(state.Sessions) == 1 {
		return nil
	}
	return forgetSessions(state)
}

func addReceipt(state *storev1.Entity, seq uint64, receipt string, outcome *storev1.Outcome) error {
	table, err := appendRecord(state.GetReceipts(), &storev1.Receipt{
		Receipt: receipt, PayloadHash: outcome.GetPayloadHash(), Replies: outcome.GetReplies(),
		Refused: outcome.GetRefused(), ReplyDropped: outcome.GetReplyDropped(),
	}, 3, seq)
	if err != nil {
		return err
	}
	state.Receipts = table
	for state.ReceiptCount++; state.ReceiptCount > MaxReceipts; state.ReceiptCount-- {
		_, rest, err := first(state.Receipts)
		if err != nil {
			return err
		}
		state.Receipts = rest
	}
	return nil
}

// forgetSessions drops the sessions, other than the newest, that no kept outcome refers to: those before the oldest
// outcome's, since only the newest session gets new outcomes.
func forgetSessions(state *storev1.Entity) error {
	newest := len(state.Sessions) - 1
	oldest := state.Sessions[newest].GetNumber()
	if len(state.GetOutcomes()) > 0 {
		record, _, err := first(state.Outcomes)
		if err != nil {
			return err
		}
		if oldest, _, err = outcomeID(record); err != nil {
			return err
		}
	}
	drop := 0
	for drop < newest && state.Sessions[drop].GetNumber() < oldest {
		drop++
	}
	if drop > 0 {
		state.Sessions = append([]*storev1.Session(nil), state.Sessions[drop:]...)
	}
	return nil
}

// newestSession is the session opened last, ended or not; nil when there never was one.
func newestSession(state *storev1.Entity) *storev1.Session {
	sessions := state.GetSessions()
	if len(sessions) == 0 {
		return nil
	}
	return sessions[len(sessions)-1]
}

// holder is the open session; nil when nobody holds the entity.
func holder(state *storev1.Entity) *storev1.Session {
	if newest := newestSession(state); newest != nil && !newest.GetEnded() {
		return newest
	}
	return nil
}

// sessionNumbered is the session with a number, looked for from the newest; nil when it is forgotten.
func sessionNumbered(state *storev1.Entity, number uint64) *storev1.Session {
	for _, session := range slices.Backward(state.GetSessions()) {
		if session.GetNumber() == number {
			return session
		}
	}
	return nil
}

// sessionOf is the session with a token, looked for from the newest; nil when it is unknown or forgotten.
func sessionOf(state *storev1.Entity, token string) *storev1.Session {
	if token == "" {
		return nil
	}
	for _, session := range slices.Backward(state.GetSessions()) {
		if session.GetToken() == token {
			return session
		}
	}
	return nil
}
