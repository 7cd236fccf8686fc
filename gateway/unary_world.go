package gateway

import (
	"context"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// The calls to a world, each on its own.

// OpenWorldSession opens a session, and makes the world that is proven absent when the request says how.
func (s *service) OpenWorldSession(ctx context.Context, in *skerryv1.OpenWorldSessionRequest) (*skerryv1.OpenWorldSessionResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: in}})
	return r.GetOpenWorldSession(), err
}

// GetWorldSession shows who holds a world.
func (s *service) GetWorldSession(ctx context.Context, in *skerryv1.GetWorldSessionRequest) (*skerryv1.GetWorldSessionResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetWorldSession{GetWorldSession: in}})
	return r.GetGetWorldSession(), err
}

// EndWorldSession saves and lets go.
func (s *service) EndWorldSession(ctx context.Context, in *skerryv1.EndWorldSessionRequest) (*skerryv1.EndWorldSessionResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_EndWorldSession{EndWorldSession: in}})
	return r.GetEndWorldSession(), err
}

// GetWorld reads a world's document.
func (s *service) GetWorld(ctx context.Context, in *skerryv1.GetWorldRequest) (*skerryv1.GetWorldResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetWorld{GetWorld: in}})
	return r.GetGetWorld(), err
}

// ExecuteWorld runs commands as one atomic turn.
func (s *service) ExecuteWorld(ctx context.Context, in *skerryv1.ExecuteWorldRequest) (*skerryv1.ExecuteWorldResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: in}})
	return r.GetExecuteWorld(), err
}

// GetWorldCommand tells the outcome of a command id.
func (s *service) GetWorldCommand(ctx context.Context, in *skerryv1.GetWorldCommandRequest) (*skerryv1.GetWorldCommandResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetWorldCommand{GetWorldCommand: in}})
	return r.GetGetWorldCommand(), err
}

// SaveWorld forces a snapshot of what is dirty.
func (s *service) SaveWorld(ctx context.Context, in *skerryv1.SaveWorldRequest) (*skerryv1.SaveWorldResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_SaveWorld{SaveWorld: in}})
	return r.GetSaveWorld(), err
}

// GetChunk reads a chunk. One that is asked for in bytes must have a column.
func (s *service) GetChunk(ctx context.Context, in *skerryv1.GetChunkRequest) (*skerryv1.GetChunkResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetChunk{GetChunk: in}})
	if err == nil && inOctets(ctx) {
		err = checkColumn(r.GetGetChunk().GetChunk())
	}
	return r.GetGetChunk(), err
}

// PutChunk replaces the blocks of a chunk.
func (s *service) PutChunk(ctx context.Context, in *skerryv1.PutChunkRequest) (*skerryv1.PutChunkResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_PutChunk{PutChunk: in}})
	return r.GetPutChunk(), err
}

// GetChunks reads several chunks.
func (s *service) GetChunks(ctx context.Context, in *skerryv1.GetChunksRequest) (*skerryv1.GetChunksResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetChunks{GetChunks: in}})
	return r.GetGetChunks(), err
}

// ListChunks lists the chunks of which something is stored.
func (s *service) ListChunks(ctx context.Context, in *skerryv1.ListChunksRequest) (*skerryv1.ListChunksResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_ListChunks{ListChunks: in}})
	return r.GetListChunks(), err
}

// ListChests lists a world's chests with what they hold.
func (s *service) ListChests(ctx context.Context, in *skerryv1.ListChestsRequest) (*skerryv1.ListChestsResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_ListChests{ListChests: in}})
	return r.GetListChests(), err
}
