package client

import (
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// entityOf is the entity that a request addresses, as the node sees it too. It is a hint: a wrong one costs a hop.
func entityOf(req *skerryv1.Request) (kind uint8, id string) {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_ExecutePlayer:
		return codec.KindPlayer, r.ExecutePlayer.GetPlayer()
	case *skerryv1.Request_OpenPlayerSession:
		return codec.KindPlayer, r.OpenPlayerSession.GetPlayer()
	case *skerryv1.Request_GetPlayerSession:
		return codec.KindPlayer, r.GetPlayerSession.GetPlayer()
	case *skerryv1.Request_EndPlayerSession:
		return codec.KindPlayer, r.EndPlayerSession.GetPlayer()
	case *skerryv1.Request_GetPlayer:
		return codec.KindPlayer, r.GetPlayer.GetPlayer()
	case *skerryv1.Request_GetPlayerCommand:
		return codec.KindPlayer, r.GetPlayerCommand.GetPlayer()
	case *skerryv1.Request_SavePlayer:
		return codec.KindPlayer, r.SavePlayer.GetPlayer()
	case *skerryv1.Request_ImportPlayer:
		return codec.KindPlayer, r.ImportPlayer.GetPlayer()
	case *skerryv1.Request_CreateTransfer:
		return holderOf(r.CreateTransfer)
	case *skerryv1.Request_GetTransfer:
		return partyOf(r.GetTransfer.GetParty())
	}
	if world, ok := worldOf(req); ok {
		return codec.KindWorld, world
	}
	return codec.KindServer, serverOf(req)
}

// worldOf is the world that a request addresses.
func worldOf(req *skerryv1.Request) (id string, ok bool) {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_ExecuteWorld:
		return r.ExecuteWorld.GetWorld(), true
	case *skerryv1.Request_OpenWorldSession:
		return r.OpenWorldSession.GetWorld(), true
	case *skerryv1.Request_GetWorldSession:
		return r.GetWorldSession.GetWorld(), true
	case *skerryv1.Request_EndWorldSession:
		return r.EndWorldSession.GetWorld(), true
	case *skerryv1.Request_GetWorld:
		return r.GetWorld.GetWorld(), true
	case *skerryv1.Request_GetWorldCommand:
		return r.GetWorldCommand.GetWorld(), true
	case *skerryv1.Request_SaveWorld:
		return r.SaveWorld.GetWorld(), true
	case *skerryv1.Request_GetChunk:
		return r.GetChunk.GetWorld(), true
	case *skerryv1.Request_PutChunk:
		return r.PutChunk.GetWorld(), true
	case *skerryv1.Request_GetChunks:
		return r.GetChunks.GetWorld(), true
	case *skerryv1.Request_ListChunks:
		return r.ListChunks.GetWorld(), true
	case *skerryv1.Request_ListChests:
		return r.ListChests.GetWorld(), true
	default:
		return "", false
	}
}

// serverOf is the game server that a request addresses, "" when it addresses none.
func serverOf(req *skerryv1.Request) string {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_RegisterServer:
		return r.RegisterServer.GetServer()
	case *skerryv1.Request_HeartbeatServer:
		return r.HeartbeatServer.GetServer()
	case *skerryv1.Request_GetServer:
		return r.GetServer.GetServer()
	case *skerryv1.Request_CloseServer:
		return r.CloseServer.GetServer()
	case *skerryv1.Request_GetServerEvents:
		return r.GetServerEvents.GetServer()
	default:
		return ""
	}
}

// holderOf is the player who holds what a transfer moves: the one with a chest, the first leg's source of two.
func holderOf(req *skerryv1.CreateTransferRequest) (kind uint8, id string) {
	if len(req.GetLegs()) == 0 {
		return codec.KindPlayer, ""
	}
	leg := req.GetLegs()[0]
	if from := leg.GetFrom().GetPlayer(); from != "" {
		return codec.KindPlayer, from
	}
	return codec.KindPlayer, leg.GetTo().GetPlayer()
}

func partyOf(party *skerryv1.TransferParty) (kind uint8, id string) {
	if chest := party.GetChest(); chest != nil {
		return codec.KindWorld, chest.GetWorld()
	}
	return codec.KindPlayer, party.GetPlayer()
}
