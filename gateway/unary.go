package gateway

import (
	"context"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// The calls that address one entity, each on its own. They are what a batch or a stream carries, one at a time.

// RegisterServer begins an incarnation of a game server.
func (s *service) RegisterServer(ctx context.Context, in *skerryv1.RegisterServerRequest) (*skerryv1.RegisterServerResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_RegisterServer{RegisterServer: in}})
	return r.GetRegisterServer(), err
}

// HeartbeatServer says that the game server lives.
func (s *service) HeartbeatServer(ctx context.Context, in *skerryv1.HeartbeatServerRequest) (*skerryv1.HeartbeatServerResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_HeartbeatServer{HeartbeatServer: in}})
	return r.GetHeartbeatServer(), err
}

// GetServer shows a game server and its sessions.
func (s *service) GetServer(ctx context.Context, in *skerryv1.GetServerRequest) (*skerryv1.GetServerResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetServer{GetServer: in}})
	return r.GetGetServer(), err
}

// CloseServer ends all sessions of a game server, with a save.
func (s *service) CloseServer(ctx context.Context, in *skerryv1.CloseServerRequest) (*skerryv1.CloseServerResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_CloseServer{CloseServer: in}})
	return r.GetCloseServer(), err
}

// GetServerEvents is the long poll.
func (s *service) GetServerEvents(ctx context.Context, in *skerryv1.GetServerEventsRequest) (*skerryv1.GetServerEventsResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetServerEvents{GetServerEvents: in}})
	return r.GetGetServerEvents(), err
}

// OpenPlayerSession opens a session.
func (s *service) OpenPlayerSession(ctx context.Context, in *skerryv1.OpenPlayerSessionRequest) (*skerryv1.OpenPlayerSessionResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: in}})
	return r.GetOpenPlayerSession(), err
}

// GetPlayerSession shows who holds a player.
func (s *service) GetPlayerSession(ctx context.Context, in *skerryv1.GetPlayerSessionRequest) (*skerryv1.GetPlayerSessionResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetPlayerSession{GetPlayerSession: in}})
	return r.GetGetPlayerSession(), err
}

// EndPlayerSession saves and lets go.
func (s *service) EndPlayerSession(ctx context.Context, in *skerryv1.EndPlayerSessionRequest) (*skerryv1.EndPlayerSessionResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_EndPlayerSession{EndPlayerSession: in}})
	return r.GetEndPlayerSession(), err
}

// GetPlayer reads a player's document.
func (s *service) GetPlayer(ctx context.Context, in *skerryv1.GetPlayerRequest) (*skerryv1.GetPlayerResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{GetPlayer: in}})
	return r.GetGetPlayer(), err
}

// ExecutePlayer runs commands as one atomic turn.
func (s *service) ExecutePlayer(ctx context.Context, in *skerryv1.ExecutePlayerRequest) (*skerryv1.ExecutePlayerResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: in}})
	return r.GetExecutePlayer(), err
}

// GetPlayerCommand tells the outcome of a command id.
func (s *service) GetPlayerCommand(ctx context.Context, in *skerryv1.GetPlayerCommandRequest) (*skerryv1.GetPlayerCommandResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetPlayerCommand{GetPlayerCommand: in}})
	return r.GetGetPlayerCommand(), err
}

// SavePlayer forces a snapshot.
func (s *service) SavePlayer(ctx context.Context, in *skerryv1.SavePlayerRequest) (*skerryv1.SavePlayerResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_SavePlayer{SavePlayer: in}})
	return r.GetSavePlayer(), err
}

// ImportPlayer puts a whole document in place.
func (s *service) ImportPlayer(ctx context.Context, in *skerryv1.ImportPlayerRequest) (*skerryv1.ImportPlayerResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_ImportPlayer{ImportPlayer: in}})
	return r.GetImportPlayer(), err
}
