package turn

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

func (a *asked) world(req *skerryv1.Request) Result {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_ExecuteWorld:
		return a.executeWorld(r.ExecuteWorld)
	case *skerryv1.Request_PutChunk:
		return a.putChunk(r.PutChunk)
	case *skerryv1.Request_GetChunk:
		return a.getChunk(r.GetChunk)
	case *skerryv1.Request_GetChunks:
		return a.getChunks(r.GetChunks)
	case *skerryv1.Request_ListChunks:
		return a.listChunks(r.ListChunks)
	case *skerryv1.Request_ListChests:
		return a.listChests(r.ListChests)
	case *skerryv1.Request_OpenWorldSession:
		return a.openWorldSession(r.OpenWorldSession)
	case *skerryv1.Request_EndWorldSession:
		return a.endWorldSession(r.EndWorldSession)
	case *skerryv1.Request_GetWorldSession:
		return a.getWorldSession()
	case *skerryv1.Request_GetWorld:
		return a.getWorld()
	case *skerryv1.Request_GetWorldCommand:
		return a.getWorldCommand(r.GetWorldCommand)
	case *skerryv1.Request_SaveWorld:
		return a.saveWorld(r.SaveWorld)
	case *skerryv1.Request_CreateTransfer:
		return a.transferRequest(r.CreateTransfer)
	case *skerryv1.Request_GetTransfer:
		return a.getTransfer(r.GetTransfer)
	default:
		return refuse(badRequest("", "a world takes no %T", r))
	}
}

// worldTurn is what the rules may know of the moment.
func (a *asked) worldTurn() world.Turn {
	return world.Turn{Now: time.UnixMilli(a.ms).UTC(), Seed: a.env.Seed}
}

func (a *asked) executeWorld(req *skerryv1.ExecuteWorldRequest) Result {
	if err := a.checkExecute(req, len(req.GetCommands()), world.MaxCommands); err != nil {
		return refuse(err)
	}
	if a.state.GetWorld() == nil {
		return refuse(ErrNotFound)
	}
	hash, err := payloadHash(req.GetCommands(), worldMayHoldMap, req.GetReceipt())
	if err != nil {
		return refuse(err)
	}
	return a.execute(req, hash, func(entry *storev1.Entry, outcome *storev1.Outcome) (err error) {
		entry.WorldEvents, outcome.WorldReplies, err = world.DecideAll(a.env.WorldRules, a.state.GetWorld(), a.env.Parts, req.GetCommands(), a.worldTurn())
		return err
	})
}

// worldMayHoldMap is false for the commands that have no JSON value in them; see mayHoldMap.
func worldMayHoldMap(cmd *skerryv1.WorldCommand) bool {
	holds := func(metadata *structpb.Struct) bool { return len(metadata.GetFields()) > 0 }
	return holds(cmd.GetChestPut().GetMetadata()) || holds(cmd.GetSetChestSlot().GetStack().GetMetadata())
}

// putChunk is the command on its own: putting the same chunk again changes nothing, so there is nothing to remember.
func (a *asked) putChunk(req *skerryv1.PutChunkRequest) Result {
	if err := checkDurability(req.GetDurability()); err != nil {
		return refuse(err)
	}
	data := req.GetChunk()
	switch {
	case data == nil:
		return refuse(badRequest("chunk", "is missing"))
	case data.GetX() != 0 && data.GetX() != req.GetX():
		return refuse(badRequest("chunk.x", "is %d, not %d", data.GetX(), req.GetX()))
	case data.GetZ() != 0 && data.GetZ() != req.GetZ():
		return refuse(badRequest("chunk.z", "is %d, not %d", data.GetZ(), req.GetZ()))
	}
	if err := a.checkHolder(req.GetSession()); err != nil {
		return refuse(err)
	}
	placed := &skerryv1.ChunkData{
		X: req.GetX(), Z: req.GetZ(), State: data.GetState(), Palette: data.GetPalette(), Runs: data.GetRuns(),
		Edits: data.GetEdits(), Encoded: data.GetEncoded(), HeightMap: data.GetHeightMap(),
	}
	cmd := &skerryv1.WorldCommand{
		As:      req.GetAs(),
		Command: &skerryv1.WorldCommand_PutChunk{PutChunk: &skerryv1.PutChunk{Chunk: placed}},
	}
	events, _, err := world.Decide(a.env.WorldRules, a.state.GetWorld(), a.env.Parts, cmd, a.worldTurn())
	if err != nil {
		return refuse(onItsOwn(err, "commands[0].", "putChunk."))
	}
	result := Result{
		Entry:   &storev1.Entry{TimeMs: a.ms, WorldEvents: events},
		Durable: durable(req),
		Response: &skerryv1.Response{Response: &skerryv1.Response_PutChunk{PutChunk: &skerryv1.PutChunkResponse{
			Seq: int64(a.next()), Durable: durable(req), //nolint:gosec // far below 2^63
		}}},
	}
	if req.GetSession() == "" {
		result.Effects = a.changed()
	}
	return result
}

// onItsOwn makes a refusal of the only command name its field in a request that is no list of commands.
func onItsOwn(err error, prefixes ...string) error {
	refusal, ok := errors.AsType[*items.Refusal](err)
	if !ok {
		return err
	}
	within := *refusal
	within.CommandIndex = -1
	for _, prefix := range prefixes {
		within.Field = strings.TrimPrefix(within.Field, prefix)
	}
	return &within
}

// openWorldSession gives the world to a game server, and makes the world when it is absent and the request says how. By
// default it does not take it from another server that has players.
func (a *asked) openWorldSession(req *skerryv1.OpenWorldSessionRequest) Result {
	opening := &skerryv1.OpenPlayerSessionRequest{Server: req.GetServer(), IfTaken: req.GetIfTaken(), OpenId: req.GetOpenId()}
	if err := a.checkOpening(opening); err != nil {
		return refuse(err)
	}
	retried, err := retriedOpening(a.state, opening)
	held := holder(a.state)
	switch {
	case err != nil:
		return refuse(err)
	case retried != nil:
		return a.openedWorld(retried, a.state.GetWorld(), Result{After: a.env.Seq}, a.env.Seq)
	case held != nil && a.keepsWorld(held, req):
		return refuse(fmt.Errorf("%w by server %s", ErrSessionHeld, held.GetServer()))
	}
	document := a.state.GetWorld()
	var events []*storev1.WorldEvent
	if document == nil {
		if req.GetCreate() == nil {
			return refuse(fmt.Errorf("%w: opening a world that is absent needs create", ErrNotFound))
		}
		if document, err = world.New(a.env.WorldRules, a.key.ID, req.GetCreate(), a.worldTurn()); err != nil {
			return refuse(inField(err, "create"))
		}
		events = []*storev1.WorldEvent{{Event: &storev1.WorldEvent_Created{Created: document}}}
	}
	result, session := a.take(opening, held)
	result.Entry.WorldEvents = events
	return a.openedWorld(session, document, result, a.next())
}

// keepsWorld reports whether the holder's session is not to be taken.
func (a *asked) keepsWorld(held *storev1.Session, req *skerryv1.OpenWorldSessionRequest) bool {
	if req.GetIfTaken() == skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED {
		return a.env.HolderPresent && held.GetServer() != req.GetServer()
	}
	return req.GetIfTaken() == skerryv1.IfTaken_REFUSE
}

func (a *asked) openedWorld(session *storev1.Session, document *skerryv1.World, result Result, seq persistence.Seq) Result {
	result.Response = &skerryv1.Response{Response: &skerryv1.Response_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionResponse{
		Session: session.GetToken(), IsNew: session.GetIsNew(), World: a.shownWorld(document), Seq: int64(seq), //nolint:gosec // far below 2^63
	}}}
	return result
}

// shownWorld is a copy of a document for a reader, with the time of the newest save.
func (a *asked) shownWorld(document *skerryv1.World) *skerryv1.World {
	document = document.CloneVT()
	document.LastSaved = stamp(a.env.LastSave)
	return document
}

func (a *asked) endWorldSession(req *skerryv1.EndWorldSessionRequest) Result {
	result, seq := a.end(req.GetSession())
	if result.Err == nil {
		result.Response = &skerryv1.Response{Response: &skerryv1.Response_EndWorldSession{
			EndWorldSession: &skerryv1.EndWorldSessionResponse{Seq: int64(seq)}, //nolint:gosec // far below 2^63
		}}
	}
	return result
}

func (a *asked) getWorldSession() Result {
	if a.state.GetWorld() == nil {
		return refuse(ErrNotFound)
	}
	held := a.holding()
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_GetWorldSession{GetWorldSession: &skerryv1.GetWorldSessionResponse{
		Server: held.GetServer(), Seq: held.GetSeq(), DirtySeconds: held.GetDirtySeconds(),
		LastSave: held.GetLastSave(), OpenedAt: held.GetOpenedAt(),
	}}}}
}

func (a *asked) getWorld() Result {
	if a.state.GetWorld() == nil {
		return refuse(ErrNotFound)
	}
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_GetWorld{GetWorld: &skerryv1.GetWorldResponse{
		World: a.shownWorld(a.state.GetWorld()), Seq: int64(a.env.Seq), //nolint:gosec // far below 2^63
	}}}}
}

func (a *asked) getWorldCommand(req *skerryv1.GetWorldCommandRequest) Result {
	response := &skerryv1.GetWorldCommandResponse{}
	status, outcome, err := a.fate(req.GetSession(), req.GetCommandId())
	if err != nil {
		return refuse(err)
	}
	response.Status, response.Error = status, outcome.GetRefused()
	if status == statusApplied {
		said := answer{worldReplies: outcome.GetWorldReplies()}
		response.Reply = a.executed(persistence.Seq(outcome.GetSeq()), true, &said).GetExecuteWorld()
	}
	return Result{
		After:    persistence.Seq(outcome.GetSeq()),
		Response: &skerryv1.Response{Response: &skerryv1.Response_GetWorldCommand{GetWorldCommand: response}},
	}
}

func (a *asked) saveWorld(req *skerryv1.SaveWorldRequest) Result {
	if err := a.checkHolder(req.GetSession()); err != nil {
		return refuse(err)
	}
	return Result{Save: true, Response: &skerryv1.Response{Response: &skerryv1.Response_SaveWorld{
		SaveWorld: &skerryv1.SaveWorldResponse{Seq: int64(a.env.Seq)}, //nolint:gosec // far below 2^63
	}}}
}
