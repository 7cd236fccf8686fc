package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// WorldOptions say how a world's session is opened. The zero value opens a world that exists.
type WorldOptions struct {
	// Server is the id of the game server that holds the session. [Server.OpenWorld] sets it.
	Server string
	// IfTaken left out means Refuse while players are on the server that holds the world, else Take.
	IfTaken IfTaken
	// Create says how the world begins when it is proven absent; without it, opening such a world fails with [ErrNotFound].
	Create *skerryv1.Create
}

// World is an open session of one world. Its methods may be called from any goroutine. A call that returned took effect
// before one that is made after it; of the order of [World.DoAsync] see there.
type World struct {
	session

	mu struct {
		sync.Mutex
		document *skerryv1.World
		seq      int64
	}
}

// OpenWorld opens a session for a world and returns its document. What it returns is durable. A world that cannot be loaded
// is an error ([ErrUnavailable], [ErrCorrupt], [ErrNewerVersion]), never a new world. opts.Server must name the game
// server; use [Server.OpenWorld] for one that this process registered.
func (c *Client) OpenWorld(ctx context.Context, id string, opts WorldOptions) (*World, error) {
	return c.openWorld(ctx, id, opts, "")
}

// openWorld opens a session under a registration of opts.Server; "" stands for whichever is alive, or a new one.
func (c *Client) openWorld(ctx context.Context, id string, opts WorldOptions, incarnation string) (*World, error) {
	answer, err := c.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{
		OpenWorldSession: &skerryv1.OpenWorldSessionRequest{
			World: id, Server: opts.Server, IfTaken: opts.IfTaken, Create: opts.Create, OpenId: rand.Text(), Incarnation: incarnation,
		},
	}}})
	if err != nil {
		return nil, fmt.Errorf("open world %s: %w", id, err)
	}
	opened := answer.GetOpenWorldSession()
	w := &World{}
	w.begin(c, "world", id, opened.GetSession(), opened.GetIsNew())
	w.mu.document, w.mu.seq = opened.GetWorld(), opened.GetSeq()
	return w, nil
}

// Document is the world's document as it was when the session was opened, or at the last [World.Refresh]. It is shared: do
// not change it.
func (w *World) Document() *skerryv1.World {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.document
}

// Seq is the number of the newest change that Document includes.
func (w *World) Seq() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.seq
}

// Refresh reads the document as it is now, every acknowledged command included, and keeps it for [World.Document].
func (w *World) Refresh(ctx context.Context) (*skerryv1.World, error) {
	read, err := w.client.getWorld(ctx, w.id)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if read.GetSeq() >= w.mu.seq {
		w.mu.document, w.mu.seq = read.GetWorld(), read.GetSeq()
	}
	return read.GetWorld(), nil
}

// Save asks for a snapshot of everything that is dirty and returns when it is durable, with the seq it covers.
func (w *World) Save(ctx context.Context) (seq int64, err error) {
	answer, err := w.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_SaveWorld{
		SaveWorld: &skerryv1.SaveWorldRequest{World: w.id, Session: w.token},
	}}})
	if err != nil {
		return 0, w.failed("save", err)
	}
	return answer.GetSaveWorld().GetSeq(), nil
}

// Leave saves the world and ends this session; a newer session is never ended. On [ErrSessionTaken] another server has the
// world already, and nothing is lost.
func (w *World) Leave(ctx context.Context) error {
	_, err := w.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_EndWorldSession{
		EndWorldSession: &skerryv1.EndWorldSessionRequest{World: w.id, Session: w.token},
	}}})
	if err != nil {
		return w.failed("leave", err)
	}
	w.end(ErrSessionEnded)
	return nil
}

// Outcome asks what became of the turn with this command id, after a call ended with [ErrOutcomeUnknown].
func (w *World) Outcome(ctx context.Context, commandID int64) (CommandStatus, error) {
	answer, err := w.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_GetWorldCommand{
		GetWorldCommand: &skerryv1.GetWorldCommandRequest{World: w.id, CommandId: commandID, Session: w.token},
	}}})
	if err != nil {
		return CommandStatus{}, w.failed(fmt.Sprintf("ask for command %d of", commandID), err)
	}
	got := answer.GetGetWorldCommand()
	status := statusOf(commandID, got.GetStatus(), got.GetError())
	if got.GetReply() != nil {
		status.World = worldResultOf(commandID, got.GetReply())
	}
	return status, nil
}
