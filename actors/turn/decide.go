package turn

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Decide says what req does to the entity key, whose state is state: an entry to journal, an answer, or both. It changes
// neither state nor req, and keeps no changeable memory of them. The state of an entity that is proven absent is empty.
//
// Its refusals are this package's errors and those of the kind's rules; of the former none is journaled, so the caller may
// try again with the same command id. An error that wraps [codec.ErrMalformed] says that the state itself is damaged.
func Decide(state *storev1.Entity, key persistence.Key, req *skerryv1.Request, env Env) Result {
	a := asked{state: state, key: key, env: env, ms: max(env.Now.UnixMilli(), state.GetNewestTimeMs())}
	switch key.Kind {
	case persistence.KindPlayer:
		return a.player(req)
	case persistence.KindServer:
		return a.server(req)
	case persistence.KindWorld:
		return a.world(req)
	default:
		return refuse(badRequest("", "entities of kind %s take no requests", key.Kind))
	}
}

// asked is a turn that is being decided.
type asked struct {
	state *storev1.Entity // read-only
	key   persistence.Key
	env   Env
	ms    int64 // the turn's time, Unix milliseconds
}

func (a *asked) player(req *skerryv1.Request) Result {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_ExecutePlayer:
		return a.executePlayer(r.ExecutePlayer)
	case *skerryv1.Request_OpenPlayerSession:
		return a.openPlayerSession(r.OpenPlayerSession)
	case *skerryv1.Request_EndPlayerSession:
		return a.endPlayerSession(r.EndPlayerSession)
	case *skerryv1.Request_GetPlayerSession:
		return a.getPlayerSession()
	case *skerryv1.Request_GetPlayer:
		return a.getPlayer()
	case *skerryv1.Request_GetPlayerCommand:
		return a.getPlayerCommand(r.GetPlayerCommand)
	case *skerryv1.Request_SavePlayer:
		return a.savePlayer(r.SavePlayer)
	case *skerryv1.Request_ImportPlayer:
		return a.importPlayer(r.ImportPlayer)
	case *skerryv1.Request_CreateTransfer:
		return a.transferRequest(r.CreateTransfer)
	case *skerryv1.Request_GetTransfer:
		return a.getTransfer(r.GetTransfer)
	default:
		return refuse(badRequest("", "a player takes no %T", r))
	}
}

func (a *asked) server(req *skerryv1.Request) Result {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_RegisterServer:
		return a.registerServer(r.RegisterServer)
	case *skerryv1.Request_HeartbeatServer:
		return a.heartbeatServer(r.HeartbeatServer)
	case *skerryv1.Request_GetServer:
		if a.env.Claim != nil {
			return a.claimWorld(a.env.Claim)
		}
		return a.getServer()
	case *skerryv1.Request_CloseServer:
		return a.closeServer(r.CloseServer)
	default:
		return refuse(badRequest("", "a server takes no %T", r))
	}
}

// turn is what the rules may know of the moment.
func (a *asked) turn() player.Turn {
	return player.Turn{Now: time.UnixMilli(a.ms).UTC(), Seed: a.env.Seed, Holds: a.state.GetHolds()}
}

// next is the seq of this turn's entry.
func (a *asked) next() persistence.Seq { return a.env.Seq + 1 }

// event is news for a game server about this entity.
func (a *asked) event(kind, token string) *skerryv1.ServerEvent {
	return &skerryv1.ServerEvent{
		Type: kind, Kind: a.key.Kind.String(), Entity: a.key.ID, Session: token, At: timestamp(a.ms),
	}
}

// changed tells the holder of a session that an admin changed the entity.
func (a *asked) changed() []Effect {
	held := holder(a.state)
	if held == nil {
		return nil
	}
	return []Effect{{
		Server: held.GetServer(), Key: a.key, Token: held.GetToken(), Incarnation: held.GetIncarnation(),
		Event: a.event(EventChanged, held.GetToken()),
	}}
}

func refuse(err error) Result { return Result{Err: err} }

func badRequest(field, format string, args ...any) error {
	return &RequestError{ErrBadRequest, field, fmt.Sprintf(format, args...)}
}

// timestamp is nil for 0.
func timestamp(ms int64) *timestamppb.Timestamp {
	if ms == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMilli(ms))
}
