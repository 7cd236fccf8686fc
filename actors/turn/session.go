package turn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

var errNoToken = errors.New("the shell gave no session token")

// openPlayerSession gives the player to a game server at once, ending the session of whoever had it, and makes the player
// when it is absent.
func (a *asked) openPlayerSession(req *skerryv1.OpenPlayerSessionRequest) Result {
	if err := a.checkOpening(req); err != nil {
		return refuse(err)
	}
	retried, err := retriedOpening(a.state, req)
	held := holder(a.state)
	switch {
	case err != nil:
		return refuse(err)
	case retried != nil:
		return a.opened(retried, a.state.GetPlayer(), Result{After: a.env.Seq}, a.env.Seq)
	case held != nil && req.GetIfTaken() == skerryv1.IfTaken_REFUSE:
		return refuse(fmt.Errorf("%w by server %s", ErrSessionHeld, held.GetServer()))
	}
	events, document, err := a.logIn(req)
	if err != nil {
		return refuse(err)
	}
	result, session := a.take(req, held)
	result.Entry.PlayerEvents = events
	return a.opened(session, document, result, a.next())
}

// take makes the session of an opening, which ends held, the one before it; that may be nil.
func (a *asked) take(req *skerryv1.OpenPlayerSessionRequest, held *storev1.Session) (Result, *storev1.Session) {
	session := &storev1.Session{
		Token: a.env.Token, Server: strings.Clone(req.GetServer()), Incarnation: a.env.Incarnation, OpenedMs: a.ms,
		OpenId: strings.Clone(req.GetOpenId()), Number: newestSession(a.state).GetNumber() + 1, IsNew: a.state.GetDocument() == nil,
	}
	result := Result{
		Entry:   &storev1.Entry{TimeMs: a.ms, Opened: session},
		Durable: true,
		Marks:   []persistence.Mark{sessionMark(session)},
		Effects: []Effect{{
			Server: session.GetServer(), Opened: true, Key: a.key, Token: session.GetToken(), Incarnation: session.GetIncarnation(),
		}},
	}
	if held != nil {
		result.Entry.EndedSession = held.GetNumber()
		if held.GetServer() != session.GetServer() {
			result.Marks = append(result.Marks, persistence.Mark{Name: SessionMark(held.GetServer())})
		}
		ended := a.ended(held)
		ended.Event = a.event(EventSessionTaken, held.GetToken())
		ended.Event.Detail = "taken by " + session.GetServer()
		result.Effects = append(result.Effects, ended)
	}
	return result, session
}

// retriedOpening returns the open session that an earlier try of req opened, nil when there was none, or why a retry comes
// too late: it must not take the session back.
func retriedOpening(state *storev1.Entity, req *skerryv1.OpenPlayerSessionRequest) (*storev1.Session, error) {
	newest := newestSession(state)
	switch {
	case req.GetOpenId() == "" || newest == nil:
		return nil, nil
	case newest.GetOpenId() == req.GetOpenId() && newest.GetServer() == req.GetServer() && newest.GetEnded():
		return nil, ErrSessionEnded
	case newest.GetOpenId() == req.GetOpenId() && newest.GetServer() == req.GetServer():
		return newest, nil
	case slices.Contains(state.GetPastOpenings(), openingHash(req.GetServer(), req.GetOpenId())):
		return nil, ErrSessionTaken
	}
	return nil, nil
}

// openingHash stands for an opening among the past ones. It is stored.
func openingHash(server, openID string) uint64 {
	return xxh3.HashString(server + "\x00" + openID)
}

func (a *asked) checkOpening(req *skerryv1.OpenPlayerSessionRequest) error {
	id := persistence.Key{Space: a.key.Space, Kind: persistence.KindServer, ID: req.GetServer()}
	if err := id.Validate(); err != nil {
		return badRequest("server", "%s", err)
	}
	if len(req.GetOpenId()) > MaxReceiptBytes {
		return &RequestError{ErrTooLarge, "openId", fmt.Sprintf("has %d bytes, at most %d are allowed", len(req.GetOpenId()), MaxReceiptBytes)}
	}
	switch req.GetIfTaken() {
	case skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED, skerryv1.IfTaken_TAKE, skerryv1.IfTaken_REFUSE:
	default:
		return badRequest("ifTaken", "is %d, which is neither TAKE nor REFUSE", req.GetIfTaken())
	}
	if a.env.Token == "" {
		return errNoToken
	}
	return nil
}

// logIn returns the events of an opening and the document after them, which is the caller's own.
func (a *asked) logIn(req *skerryv1.OpenPlayerSessionRequest) ([]*storev1.PlayerEvent, *skerryv1.Player, error) {
	document := a.state.GetPlayer().CloneVT()
	var events []*storev1.PlayerEvent
	if document == nil {
		document = player.New(a.env.Rules, strings.Clone(req.GetName()), a.turn())
		if req.GetInitial() != nil {
			var err error
			if document, err = a.fromOriginal(req.GetInitial(), "initial"); err != nil {
				return nil, nil, err
			}
		}
		events = append(events, &storev1.PlayerEvent{Event: &storev1.PlayerEvent_Created{Created: document.CloneVT()}})
	}
	login, err := player.LogIn(a.env.Rules, document, req.GetName(), a.turn())
	if err != nil {
		return nil, nil, err
	}
	if err := player.Evolve(document, login); err != nil {
		return nil, nil, err
	}
	return append(events, login), document, nil
}

// opened completes the answer to an opening: session is the open one, document its player at seq, not yet copied when it
// is the state's.
func (a *asked) opened(session *storev1.Session, document *skerryv1.Player, result Result, seq persistence.Seq) Result {
	result.Response = &skerryv1.Response{Response: &skerryv1.Response_OpenPlayerSession{OpenPlayerSession: &skerryv1.OpenPlayerSessionResponse{
		Session: session.GetToken(), IsNew: session.GetIsNew(), Player: a.shown(document), Seq: int64(seq), //nolint:gosec // far below 2^63
	}}}
	return result
}

// endPlayerSession saves the player and lets it go. It ends the session that it names and no other, so that somebody who
// is late cannot end a newer one. Ending it again is no error.
func (a *asked) endPlayerSession(req *skerryv1.EndPlayerSessionRequest) Result {
	result, seq := a.end(req.GetSession())
	if result.Err == nil {
		result.Response = &skerryv1.Response{Response: &skerryv1.Response_EndPlayerSession{
			EndPlayerSession: &skerryv1.EndPlayerSessionResponse{Seq: int64(seq)}, //nolint:gosec // far below 2^63
		}}
	}
	return result
}

// end ends the session with this token, at seq; the response is left to the caller.
func (a *asked) end(token string) (result Result, seq persistence.Seq) {
	switch {
	case token == "":
		return refuse(missingSession("")), 0
	case a.state.GetDocument() == nil:
		return refuse(ErrNotFound), 0
	}
	session := sessionOf(a.state, token)
	result, seq = Result{Save: true, After: a.env.Seq}, a.env.Seq
	if session == nil || session != newestSession(a.state) || !session.GetEnded() {
		if err := a.checkOpen(session); err != nil {
			return refuse(err), 0
		}
		seq = a.next()
		ended := a.ended(session)
		if a.env.Reaps { // not its own doing
			ended.Event = a.event(EventSessionEnded, session.GetToken())
		}
		result = Result{
			Entry:   &storev1.Entry{TimeMs: a.ms, EndedSession: session.GetNumber()},
			Marks:   []persistence.Mark{{Name: SessionMark(session.GetServer())}},
			Durable: true, Save: true, Effects: []Effect{ended},
		}
	}
	return result, seq
}

// ended tells the server of session that it lost it.
func (a *asked) ended(session *storev1.Session) Effect {
	return Effect{
		Server: session.GetServer(), Ended: true, Key: a.key, Token: session.GetToken(), Incarnation: session.GetIncarnation(),
	}
}

// getPlayerSession says who holds the player, and never with which token.
func (a *asked) getPlayerSession() Result {
	if a.state.GetPlayer() == nil {
		return refuse(ErrNotFound)
	}
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_GetPlayerSession{GetPlayerSession: a.holding()}}}
}

// holding says who holds the entity, in the words of a player's.
func (a *asked) holding() *skerryv1.GetPlayerSessionResponse {
	response := &skerryv1.GetPlayerSessionResponse{Seq: int64(a.env.Seq)} //nolint:gosec // far below 2^63
	if held := holder(a.state); held != nil {
		response.Server, response.OpenedAt = held.GetServer(), timestamp(held.GetOpenedMs())
	}
	if !a.env.DirtySince.IsZero() {
		response.DirtySeconds = max(0, a.env.Now.Sub(a.env.DirtySince)).Seconds()
	}
	response.LastSave = stamp(a.env.LastSave)
	return response
}

// stamp is nil for no time.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}
