package turn

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// shown is a copy of a document for a reader, with the time of the newest save.
func (a *asked) shown(document *skerryv1.Player) *skerryv1.Player {
	if document == a.state.GetPlayer() {
		document = document.CloneVT()
	}
	document.LastSave = stamp(a.env.LastSave)
	return document
}

func (a *asked) getPlayer() Result {
	if a.state.GetPlayer() == nil {
		return refuse(ErrNotFound)
	}
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_GetPlayer{GetPlayer: &skerryv1.GetPlayerResponse{
		Player: a.shown(a.state.GetPlayer()), Seq: int64(a.env.Seq), //nolint:gosec // far below 2^63
	}}}}
}

// checkHolder refuses who is neither the holder of the entity, which exists, nor an admin without a session.
func (a *asked) checkHolder(token string) error {
	switch {
	case token == "" && !a.env.Admin:
		return missingSession("")
	case a.state.GetDocument() == nil:
		return ErrNotFound
	case token == "":
		return nil
	default:
		return a.checkOpen(sessionOf(a.state, token))
	}
}

// savePlayer forces a snapshot, for the holder or an admin.
func (a *asked) savePlayer(req *skerryv1.SavePlayerRequest) Result {
	if err := a.checkHolder(req.GetSession()); err != nil {
		return refuse(err)
	}
	return Result{Save: true, Response: &skerryv1.Response{Response: &skerryv1.Response_SavePlayer{
		SavePlayer: &skerryv1.SavePlayerResponse{Seq: int64(a.env.Seq)}, //nolint:gosec // far below 2^63
	}}}
}

// The words of a GetPlayerCommandResponse's status.
const (
	statusApplied   = "APPLIED"
	statusRefused   = "REFUSED"
	statusNotSeen   = "NOT_SEEN"
	statusForgotten = "FORGOTTEN"
)

// getPlayerCommand says what became of a command, once that is sure: it waits until a remembered outcome was applied.
func (a *asked) getPlayerCommand(req *skerryv1.GetPlayerCommandRequest) Result {
	response := &skerryv1.GetPlayerCommandResponse{}
	status, outcome, err := a.fate(req.GetSession(), req.GetCommandId())
	if err != nil {
		return refuse(err)
	}
	response.Status, response.Error = status, outcome.GetRefused()
	if status == statusApplied {
		response.Reply = executed(persistence.Seq(outcome.GetSeq()), true, outcome.GetReplies()).GetExecutePlayer()
	}
	return Result{
		After:    persistence.Seq(outcome.GetSeq()),
		Response: &skerryv1.Response{Response: &skerryv1.Response_GetPlayerCommand{GetPlayerCommand: response}},
	}
}

// fate is what is remembered of a command of a session; outcome is nil when nothing is.
func (a *asked) fate(token string, command int64) (status string, outcome *storev1.Outcome, err error) {
	switch {
	case token == "":
		return "", nil, missingSession("")
	case command < 1:
		return "", nil, badRequest("commandId", "is %d, it must be 1 or greater", command)
	case a.state.GetDocument() == nil:
		return "", nil, ErrNotFound
	}
	session := sessionOf(a.state, token)
	if session == nil {
		return statusForgotten, nil, nil
	}
	outcome, err = findOutcome(a.state, session.GetNumber(), command)
	switch {
	case err != nil:
		return "", nil, err
	case outcome == nil && command > session.GetForgottenId():
		return statusNotSeen, nil, nil
	case outcome == nil:
		return statusForgotten, nil, nil
	case outcome.GetRefused() != nil:
		return statusRefused, outcome, nil
	default:
		return statusApplied, outcome, nil
	}
}

// importPlayer puts a document in place of the player's, or makes the player.
func (a *asked) importPlayer(req *skerryv1.ImportPlayerRequest) Result {
	existing := a.state.GetPlayer()
	switch {
	case !a.env.Admin:
		return refuse(ErrForbidden)
	case existing != nil && !req.GetOverwrite():
		return refuse(ErrAlreadyExists)
	case len(a.state.GetHolds()) > 0:
		return refuse(ErrTransferOpen) // what is held has to find its slots as they were
	}
	var document *skerryv1.Player
	var err error
	switch d := req.GetDocument().(type) {
	case *skerryv1.ImportPlayerRequest_DocumentV1:
		document, err = a.checked(d.DocumentV1.CloneVT(), "documentV1")
	case *skerryv1.ImportPlayerRequest_Original:
		document, err = a.fromOriginal(d.Original, "original")
	default:
		err = badRequest("document", "is missing: give documentV1 or original")
	}
	if err != nil {
		return refuse(err)
	}
	event := &storev1.PlayerEvent{Event: &storev1.PlayerEvent_Created{Created: document}}
	if existing != nil {
		event.Event = &storev1.PlayerEvent_DocumentReplaced{DocumentReplaced: document}
	}
	return Result{
		Entry:   &storev1.Entry{TimeMs: a.ms, PlayerEvents: []*storev1.PlayerEvent{event}},
		Durable: true,
		Effects: a.changed(),
		Response: &skerryv1.Response{Response: &skerryv1.Response_ImportPlayer{ImportPlayer: &skerryv1.ImportPlayerResponse{
			Seq: int64(a.next()), IsNew: existing == nil, //nolint:gosec // far below 2^63
		}}},
	}
}

// fromOriginal reads a document in the original's JSON, which is the request's field.
func (a *asked) fromOriginal(original *structpb.Struct, field string) (*skerryv1.Player, error) {
	document, err := codec.PlayerFromOriginal(original, a.env.Rules.Defaults())
	if err != nil {
		return nil, inField(err, field)
	}
	return a.checked(document, field)
}

// checked brings a document from outside to the present version and checks it. The document is the caller's own.
func (a *asked) checked(document *skerryv1.Player, field string) (*skerryv1.Player, error) {
	if document == nil {
		return nil, badRequest(field, "is missing")
	}
	if err := codec.Migrate(document, a.env.Rules.Defaults()); err != nil {
		return nil, badRequest(field+".version", "%s", err)
	}
	if err := player.Check(a.env.Rules, document); err != nil {
		return nil, inField(err, field)
	}
	document.LastSave = nil // overlaid when it is read
	if document.GetCreatedAt() == nil {
		document.CreatedAt = timestamp(a.ms)
	}
	return document, nil
}

// inField makes a refusal of a document name its field within the request.
func inField(err error, field string) error {
	if refusal, ok := errors.AsType[*player.Refusal](err); ok {
		within := *refusal
		within.Field = path(field, refusal.Field)
		return &within
	}
	if wrong, ok := errors.AsType[*codec.FieldError](err); ok {
		return &RequestError{ErrBadRequest, path(field, wrong.Field), wrong.Reason}
	}
	return &RequestError{ErrBadRequest, field, fmt.Sprint(err)}
}

func path(field, within string) string {
	if within == "" {
		return field
	}
	return field + "." + within
}
