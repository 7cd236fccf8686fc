package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// IfTaken says what opening does when another game server holds the session.
type IfTaken = skerryv1.IfTaken

// What opening does when another game server holds the session.
const (
	// Take takes the session over at once; the other server's calls are answered SESSION_TAKEN from then on. The default.
	Take = skerryv1.IfTaken_TAKE
	// Refuse leaves it, and the opening fails with [ErrSessionHeld].
	Refuse = skerryv1.IfTaken_REFUSE
)

// OpenOptions say how a player's session is opened. The zero value is right for most.
type OpenOptions struct {
	// Server is the id of the game server that holds the session. [Server.OpenPlayer] sets it.
	Server string
	// Name is the player's name as shown to others. Default: the stored one stays.
	Name string
	// IfTaken is Take by default.
	IfTaken IfTaken
	// Initial is a document in the original's JSON (as decoded by encoding/json), migrated in only when the player is
	// proven absent. Default: a new player gets the defaults of the space's rules.
	Initial map[string]any
}

// Player is an open session of one player. Its methods may be called from any goroutine. A call that returned took effect
// before one that is made after it; of the order of [Player.DoAsync] see there.
type Player struct {
	session

	mu struct {
		sync.Mutex
		document *skerryv1.Player
		seq      int64
	}
}

// OpenPlayer opens a session for a player and returns its document. What it returns is durable: a crash of the node loses
// neither the session nor a new player. A player who cannot be loaded is an error ([ErrUnavailable], [ErrCorrupt],
// [ErrNewerVersion]), never a new player. opts.Server must name the game server; use [Server.OpenPlayer] for one that
// this process registered.
func (c *Client) OpenPlayer(ctx context.Context, id string, opts OpenOptions) (*Player, error) {
	return c.openPlayer(ctx, id, opts, "")
}

// openPlayer opens a session under a registration of opts.Server; "" stands for whichever is alive, or a new one.
func (c *Client) openPlayer(ctx context.Context, id string, opts OpenOptions, incarnation string) (*Player, error) {
	open := &skerryv1.OpenPlayerSessionRequest{
		Player: id, Server: opts.Server, Name: opts.Name, IfTaken: opts.IfTaken, OpenId: rand.Text(), Incarnation: incarnation,
	}
	if opts.Initial != nil {
		initial, err := structpb.NewStruct(opts.Initial)
		if err != nil {
			return nil, &Error{
				Code: codec.CodeBadRequest, Message: err.Error(), Field: "initial", CommandIndex: -1, Outcome: NotApplied, cause: err,
			}
		}
		open.Initial = initial
	}
	answer, err := c.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: open}}})
	if err != nil {
		return nil, fmt.Errorf("open player %s: %w", id, err)
	}
	opened := answer.GetOpenPlayerSession()
	p := &Player{}
	p.begin(c, "player", id, opened.GetSession(), opened.GetIsNew())
	p.mu.document, p.mu.seq = opened.GetPlayer(), opened.GetSeq()
	return p, nil
}

// Document is the player's document as it was when the session was opened, or at the last [Player.Refresh]. It is shared:
// do not change it.
func (p *Player) Document() *skerryv1.Player {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.document
}

// Seq is the number of the newest change that Document includes.
func (p *Player) Seq() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.seq
}

// Refresh reads the document as it is now, every acknowledged command included, and keeps it for [Player.Document].
func (p *Player) Refresh(ctx context.Context) (*skerryv1.Player, error) {
	answer, err := p.client.do(ctx, &call{req: skerryv1.Request{
		Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{Player: p.id}},
	}})
	if err != nil {
		return nil, fmt.Errorf("read player %s: %w", p.id, err)
	}
	read := answer.GetGetPlayer()
	p.mu.Lock()
	defer p.mu.Unlock()
	if read.GetSeq() >= p.mu.seq {
		p.mu.document, p.mu.seq = read.GetPlayer(), read.GetSeq()
	}
	return read.GetPlayer(), nil
}

// Save asks for a snapshot now and returns when it is durable, with the seq it covers. Autosave makes this unnecessary
// but for moments that the game announces, such as "your game is saved".
func (p *Player) Save(ctx context.Context) (seq int64, err error) {
	answer, err := p.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_SavePlayer{
		SavePlayer: &skerryv1.SavePlayerRequest{Player: p.id, Session: p.token},
	}}})
	if err != nil {
		return 0, fmt.Errorf("save player %s: %w", p.id, p.note(err))
	}
	return answer.GetSavePlayer().GetSeq(), nil
}

// Leave saves the player and ends this session; a newer session is never ended. On [ErrSessionTaken] another server has
// the player already, and nothing is lost.
func (p *Player) Leave(ctx context.Context) error {
	_, err := p.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_EndPlayerSession{
		EndPlayerSession: &skerryv1.EndPlayerSessionRequest{Player: p.id, Session: p.token},
	}}})
	if err != nil {
		return fmt.Errorf("leave player %s: %w", p.id, p.note(err))
	}
	p.end(ErrSessionEnded)
	return nil
}

// Outcome asks what became of the turn with this command id, after a call ended with [ErrOutcomeUnknown].
func (p *Player) Outcome(ctx context.Context, commandID int64) (CommandStatus, error) {
	answer, err := p.client.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_GetPlayerCommand{
		GetPlayerCommand: &skerryv1.GetPlayerCommandRequest{Player: p.id, CommandId: commandID, Session: p.token},
	}}})
	if err != nil {
		return CommandStatus{}, fmt.Errorf("ask for command %d of player %s: %w", commandID, p.id, p.note(err))
	}
	got := answer.GetGetPlayerCommand()
	status := statusOf(commandID, got.GetStatus(), got.GetError())
	if got.GetReply() != nil {
		status.Result = resultOf(commandID, got.GetReply())
	}
	return status, nil
}

// turn builds the call of a turn, whose id must be reserved.
func (p *Player) turn(id int64, opts DoOptions, commands []*skerryv1.PlayerCommand) *call {
	type execute struct { // one allocation instead of three
		call
		wrap skerryv1.Request_ExecutePlayer
		req  skerryv1.ExecutePlayerRequest
	}
	e := &execute{}
	e.req.Player, e.req.Session, e.req.CommandId = p.id, p.token, id
	e.req.Durability, e.req.Commands, e.req.Receipt = opts.Durability, commands, opts.Receipt
	e.wrap.ExecutePlayer = &e.req
	e.call.req.Request = &e.wrap
	e.deadline = p.deadline(opts)
	return &e.call
}
