package turn

import (
	"fmt"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// executing is a request to run commands, of whatever kind.
type executing interface {
	GetSession() string
	GetCommandId() int64
	GetDurability() skerryv1.Durability
	GetReceipt() string
}

func (a *asked) executePlayer(req *skerryv1.ExecutePlayerRequest) Result {
	if err := a.checkExecute(req, len(req.GetCommands()), player.MaxCommands); err != nil {
		return refuse(err)
	}
	if a.state.GetPlayer() == nil {
		return refuse(ErrNotFound)
	}
	hash, err := payloadHash(req.GetCommands(), mayHoldMap, req.GetReceipt())
	if err != nil {
		return refuse(err)
	}
	return a.execute(req, hash, func(entry *storev1.Entry, outcome *storev1.Outcome) (err error) {
		entry.PlayerEvents, outcome.Replies, err = player.DecideAll(a.env.Rules, a.state.GetPlayer(), req.GetCommands(), a.turn())
		return err
	})
}

// execute runs commands: dedupe, then the session, then the rules, which decide puts into entry and outcome. A retry gets
// its answer even when the session is gone since: what happened does not depend on who asks.
func (a *asked) execute(req executing, hash uint64, decide func(*storev1.Entry, *storev1.Outcome) error) Result {
	session := sessionOf(a.state, req.GetSession())
	kept, err := a.remembered(req, session, hash)
	switch {
	case err != nil:
		return refuse(err)
	case kept != nil:
		return a.again(req, kept)
	}
	if req.GetSession() != "" {
		if err = a.checkOpen(session); err != nil {
			return refuse(err)
		}
	}

	entry, outcome := newEntry(a.ms)
	err = decide(entry, outcome)
	outcome.PayloadHash = hash
	outcome.SessionNumber = session.GetNumber()
	if session != nil {
		outcome.CommandId = req.GetCommandId()
	}
	result := Result{Entry: entry, Durable: durable(req)}
	if err != nil {
		entry.PlayerEvents, entry.WorldEvents, outcome.Replies, outcome.WorldReplies = nil, nil, nil, nil
		outcome.Refused = a.describe(err)
		if session == nil { // nothing else names it; in a session, a refused purchase may be tried again as a new command
			entry.Receipt = req.GetReceipt()
		}
		result.Err = err
		return result
	}
	entry.Receipt = req.GetReceipt()
	replies := answer{replies: outcome.Replies, worldReplies: outcome.WorldReplies}
	if outcome.SizeVT() > MaxOutcomeBytes {
		outcome.Replies, outcome.WorldReplies, outcome.ReplyDropped = nil, nil, true
	}
	result.Response = a.executed(a.next(), durable(req), &replies)
	if session == nil {
		result.Effects = a.changed()
	}
	return result
}

// checkExecute refuses what no entity could be asked, whatever its state.
func (a *asked) checkExecute(req executing, commands, most int) error {
	switch {
	case commands == 0:
		return badRequest("commands", "are missing")
	case commands > most:
		return &RequestError{ErrTooLarge, "commands", fmt.Sprintf("are %d, at most %d are allowed", commands, most)}
	case len(req.GetReceipt()) > MaxReceiptBytes:
		return &RequestError{ErrTooLarge, "receipt", fmt.Sprintf("has %d bytes, at most %d are allowed", len(req.GetReceipt()), MaxReceiptBytes)}
	}
	if err := checkDurability(req.GetDurability()); err != nil {
		return err
	}
	switch {
	case req.GetSession() != "" && req.GetCommandId() < 1:
		return badRequest("commandId", "is %d, it must be 1 or greater", req.GetCommandId())
	case req.GetSession() == "" && !a.env.Admin:
		return missingSession("; without one the call needs scope admin and a receipt")
	case req.GetSession() == "" && req.GetReceipt() == "":
		return badRequest("receipt", "is missing: without a session nothing else tells a retry from a new command")
	}
	return nil
}

func checkDurability(d skerryv1.Durability) error {
	switch d {
	case skerryv1.Durability_DURABILITY_UNSPECIFIED, skerryv1.Durability_DURABLE, skerryv1.Durability_MEMORY:
		return nil
	default:
		return badRequest("durability", "is %d, which is neither DURABLE nor MEMORY", d)
	}
}

// answer is what is remembered of a command, whichever table it is from.
type answer struct {
	seq          uint64
	replies      []*skerryv1.PlayerReply
	worldReplies []*skerryv1.WorldReply
	refused      *skerryv1.Error
}

// remembered returns the answer to an earlier try, nil when there was none, or the refusal of an id that was used for
// something else or may have been. session is nil when the request has none that is known.
func (a *asked) remembered(req executing, session *storev1.Session, hash uint64) (*answer, error) {
	if a.env.Forgets {
		return nil, nil
	}
	if session != nil && req.GetCommandId() <= session.GetNewestId() { // a greater one is new without looking
		outcome, err := findOutcome(a.state, session.GetNumber(), req.GetCommandId())
		switch {
		case err != nil:
			return nil, err
		case outcome != nil && outcome.GetPayloadHash() != hash:
			return nil, &RequestError{ErrIDReused, "commandId", fmt.Sprintf("%d had other commands before; a changed or corrected request needs a new id", req.GetCommandId())}
		case outcome != nil:
			return &answer{outcome.GetSeq(), outcome.GetReplies(), outcome.GetWorldReplies(), outcome.GetRefused()}, nil
		case req.GetCommandId() <= session.GetForgottenId():
			return nil, &RequestError{
				ErrCommandTooOld, "commandId",
				fmt.Sprintf("%d is not above %d, the greatest one forgotten", req.GetCommandId(), session.GetForgottenId()),
			}
		}
	}
	if req.GetReceipt() == "" {
		return nil, nil
	}
	receipt, err := findReceipt(a.state, req.GetReceipt())
	switch {
	case err != nil:
		return nil, err
	case receipt == nil:
		return nil, nil
	case receipt.GetPayloadHash() != hash:
		return nil, &RequestError{ErrIDReused, "receipt", "had other commands before; a changed or corrected request needs a new receipt"}
	}
	return &answer{receipt.GetSeq(), receipt.GetReplies(), receipt.GetWorldReplies(), receipt.GetRefused()}, nil
}

// again answers a retry as the first try was answered.
func (a *asked) again(req executing, kept *answer) Result {
	var result Result
	if durable(req) {
		result.After = persistence.Seq(kept.seq)
	}
	if kept.refused != nil {
		result.Err = &RememberedError{Refused: kept.refused}
		return result
	}
	result.Response = a.executed(persistence.Seq(kept.seq), durable(req), kept)
	return result
}

// missingSession is ErrNoSession for a request that names none.
func missingSession(more string) error {
	return &RequestError{
		ErrNoSession, "session",
		"no session: send the header Skerry-Session (field session) with the token that opening the session gave" + more,
	}
}

// checkOpen returns nil when session is the one that holds the entity, else why it does not.
func (a *asked) checkOpen(session *storev1.Session) error {
	switch newest := newestSession(a.state); {
	case newest == nil:
		return ErrNoSession
	case newest.GetEnded():
		return ErrSessionEnded
	case newest != session:
		return ErrSessionTaken
	}
	return nil
}

// describe is what the wire shows of a refusal, small enough to be kept.
func (a *asked) describe(err error) *skerryv1.Error {
	refused := &skerryv1.Error{Message: err.Error()}
	if a.env.Describe != nil {
		refused = a.env.Describe(err)
	}
	if refused.SizeVT() > MaxOutcomeBytes/2 {
		refused = refused.CloneVT()
		refused.Message, refused.Field = "", ""
	}
	return refused
}

func durable(req interface{ GetDurability() skerryv1.Durability }) bool {
	return req.GetDurability() != skerryv1.Durability_MEMORY
}

// newEntry makes an entry and its outcome in one allocation: every command needs both.
func newEntry(ms int64) (*storev1.Entry, *storev1.Outcome) {
	made := &struct {
		entry   storev1.Entry
		outcome storev1.Outcome
	}{}
	made.entry.TimeMs = ms
	made.entry.Outcome = &made.outcome
	return &made.entry, &made.outcome
}

// executed is the response of the entity's kind.
func (a *asked) executed(seq persistence.Seq, durable bool, said *answer) *skerryv1.Response {
	if a.key.Kind != persistence.KindWorld {
		return executed(seq, durable, said.replies)
	}
	return &skerryv1.Response{Response: &skerryv1.Response_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldResponse{
		Seq: int64(seq), Durable: durable, Replies: said.worldReplies, //nolint:gosec // far below 2^63
	}}}
}

// executed makes the response in one allocation.
func executed(seq persistence.Seq, durable bool, replies []*skerryv1.PlayerReply) *skerryv1.Response {
	made := &struct {
		response skerryv1.Response
		kind     skerryv1.Response_ExecutePlayer
		body     skerryv1.ExecutePlayerResponse
	}{}
	made.body.Seq, made.body.Durable, made.body.Replies = int64(seq), durable, replies //nolint:gosec // far below 2^63
	made.kind.ExecutePlayer = &made.body
	made.response.Response = &made.kind
	return &made.response
}
