package gateway

import (
	"fmt"
	"strings"
)

// scopes is a set of what a key may do.
type scopes uint8

// The scopes. A greater one of read, play, admin has the smaller ones in it; operate stands beside them.
const (
	scopeRead scopes = 1 << iota
	scopePlay
	scopeAdmin
	scopeOperate

	allScopes = scopeRead | scopePlay | scopeAdmin | scopeOperate
)

// has reports whether s allows what needs need.
func (s scopes) has(need scopes) bool { return s&need == need }

// parseScopes returns the set that names say, with what they include, or says which name is none.
func parseScopes(names []string) (scopes, error) {
	var s scopes
	for _, name := range names {
		switch name {
		case "read":
			s |= scopeRead
		case "play":
			s |= scopePlay | scopeRead
		case "admin":
			s |= scopeAdmin | scopePlay | scopeRead
		case "operate":
			s |= scopeOperate
		default:
			return 0, fmt.Errorf("%.40q is no scope; there are read, play, admin and operate", name)
		}
	}
	return s, nil
}

// String names the scopes in s.
func (s scopes) String() string {
	var names []string
	for i, name := range []string{"read", "play", "admin", "operate"} {
		if s.has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// call is one call of the API: a bounded word for scopes and metrics.
type call uint8

// The calls. The ones before callListPlayers address one entity and may be in a batch or a stream.
const (
	callExecutePlayer call = iota
	callOpenPlayerSession
	callGetPlayerSession
	callEndPlayerSession
	callGetPlayer
	callGetPlayerCommand
	callSavePlayer
	callImportPlayer
	callExecuteWorld
	callOpenWorldSession
	callGetWorldSession
	callEndWorldSession
	callGetWorld
	callGetWorldCommand
	callSaveWorld
	callGetChunk
	callPutChunk
	callGetChunks
	callListChunks
	callListChests
	callCreateTransfer
	callGetTransfer
	callRegisterServer
	callHeartbeatServer
	callGetServer
	callCloseServer
	callGetServerEvents
	callListPlayers
	callListWorlds
	callWatchServer
	callStream
	callBatch
	callGetCluster
	callDrainNode
	callRemoveNode
	callHandOverPartition
	callGetOwnership
	callListSpaces
	callCopySpace
	callEraseSpace
	callCreateKey
	callListKeys
	callRevokeKey
	callNone // a request that is none of these

	callCount
)

// changes reports whether an answered call may have changed something.
func (c call) changes() bool {
	switch c {
	case callGetPlayerCommand, callGetWorldCommand, callGetServerEvents:
		return false
	default:
		return calls[c].need != scopeRead
	}
}

// calls says of every call its name and the scope that it needs in the space of the request.
var calls = [callCount]struct { //nolint:gochecknoglobals // a table, never changed
	name string
	need scopes
}{
	callExecutePlayer:     {"ExecutePlayer", scopePlay}, // without a session also admin: the turn says so
	callOpenPlayerSession: {"OpenPlayerSession", scopePlay},
	callGetPlayerSession:  {"GetPlayerSession", scopeRead},
	callEndPlayerSession:  {"EndPlayerSession", scopePlay},
	callGetPlayer:         {"GetPlayer", scopeRead},
	callGetPlayerCommand:  {"GetPlayerCommand", scopePlay},
	callSavePlayer:        {"SavePlayer", scopePlay},
	callImportPlayer:      {"ImportPlayer", scopeAdmin},
	callExecuteWorld:      {"ExecuteWorld", scopePlay}, // without a session also admin: the turn says so
	callOpenWorldSession:  {"OpenWorldSession", scopePlay},
	callGetWorldSession:   {"GetWorldSession", scopeRead},
	callEndWorldSession:   {"EndWorldSession", scopePlay},
	callGetWorld:          {"GetWorld", scopeRead},
	callGetWorldCommand:   {"GetWorldCommand", scopePlay},
	callSaveWorld:         {"SaveWorld", scopePlay},
	callGetChunk:          {"GetChunk", scopeRead},
	callPutChunk:          {"PutChunk", scopePlay}, // without a session also admin
	callGetChunks:         {"GetChunks", scopeRead},
	callListChunks:        {"ListChunks", scopeRead},
	callListChests:        {"ListChests", scopeRead},
	callCreateTransfer:    {"CreateTransfer", scopePlay}, // without a session of each party also admin
	callGetTransfer:       {"GetTransfer", scopeRead},
	callRegisterServer:    {"RegisterServer", scopePlay},
	callHeartbeatServer:   {"HeartbeatServer", scopePlay},
	callGetServer:         {"GetServer", scopeRead},
	callCloseServer:       {"CloseServer", scopePlay},
	callGetServerEvents:   {"GetServerEvents", scopePlay}, // events carry session tokens
	callListPlayers:       {"ListPlayers", scopeRead},
	callListWorlds:        {"ListWorlds", scopeRead},
	callWatchServer:       {"WatchServer", scopePlay},
	callStream:            {"Stream", 0}, // each request in it needs its own
	callBatch:             {"Batch", 0},
	callGetCluster:        {"GetCluster", scopeRead},
	callDrainNode:         {"DrainNode", scopeOperate},
	callRemoveNode:        {"RemoveNode", scopeOperate},
	callHandOverPartition: {"HandOverPartition", scopeOperate},
	callGetOwnership:      {"GetOwnership", scopeOperate},
	callListSpaces:        {"ListSpaces", scopeOperate},
	callCopySpace:         {"CopySpace", scopeOperate},
	callEraseSpace:        {"EraseSpace", scopeOperate},
	callCreateKey:         {"CreateKey", scopeOperate},
	callListKeys:          {"ListKeys", scopeOperate},
	callRevokeKey:         {"RevokeKey", scopeOperate},
	callNone:              {"none", 0},
}
