package client

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Durability says when a command is answered.
type Durability = skerryv1.Durability

// When a command is answered.
const (
	// Durable: after it is safe from a crash and a power cut. The default.
	Durable = skerryv1.Durability_DURABLE
	// Memory: at once. A crash may lose it, together with everything of this player that came after it: at most about the
	// last second (the node's journal interval and one append). For what comes often and matters little: positions, experience, play time.
	Memory = skerryv1.Durability_MEMORY
)

// DoOptions say how a turn is done. The zero value is a durable turn.
type DoOptions struct {
	// Durability is Durable by default.
	Durability Durability
	// Receipt makes the turn take effect once for ever, also in other sessions: the id of a purchase, at most 64 bytes.
	Receipt string
	// Timeout ends a [Player.DoAsync]. Default: Options.Timeout. [Player.Do] keeps its context's deadline instead.
	Timeout time.Duration
}

// Result is the answer to a turn.
type Result struct {
	// CommandID is the turn's id in its session.
	CommandID int64
	// Seq is the number of the entity's change; what was refused or changed nothing has the seq of what it saw.
	Seq int64
	// Durable says that the turn is safe from a crash.
	Durable bool
	// Replies are one for each command, in order; none when a retry's remembered reply was too large to keep.
	Replies []*skerryv1.PlayerReply
}

func resultOf(id int64, reply *skerryv1.ExecutePlayerResponse) *Result {
	return &Result{CommandID: id, Seq: reply.GetSeq(), Durable: reply.GetDurable(), Replies: reply.GetReplies()}
}

// Do runs 1 to 100 commands as one atomic turn: all take effect, or none and the [Error] says which was refused. It
// retries until ctx ends, with one command id, so the turn takes effect at most once. On [ErrOutcomeUnknown] it may or
// may not have; ask with [Player.Outcome]. When ctx ends Do returns at once, and the commands may still be being sent:
// do not change them after a context's error.
func (p *Player) Do(ctx context.Context, opts DoOptions, commands ...*skerryv1.PlayerCommand) (*Result, error) {
	id, err := p.reserve(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := p.client.do(ctx, p.turn(id, opts, commands))
	return p.finished(id, answer, err)
}

// DoAsync is Do without a waiting goroutine: done is called exactly once with the outcome, from the goroutine that reads
// the connection, and must not block. On a non-nil return nothing was sent and done is not called: [ErrOverloaded] when
// more than 100 turns of this player, or Options.MaxPending of all, wait for their answers. The commands must not be
// changed after that: not even once done has a time-out, when they may still be being sent.
//
// Turns that wait for their answers at the same time usually take effect in the order of the calls, but one that is tried
// again (the node was overloaded, or could not say) takes effect after others that were sent behind it. Where the order
// matters put the commands in one turn, or wait for done; [Result].Seq says what the order was.
func (p *Player) DoAsync(opts DoOptions, done func(*Result, error), commands ...*skerryv1.PlayerCommand) error {
	id, err := p.reserveNow()
	if err != nil {
		return err
	}
	return p.startTurn(id, p.turn(id, opts, commands), func(answer *skerryv1.Response, err error) { done(p.result(id, answer, err)) })
}

// finished is the result of a turn that has its answer, or err.
func (p *Player) finished(id int64, answer *skerryv1.Response, err error) (*Result, error) {
	return p.result(id, answer, p.settle(id, err))
}

func (p *Player) result(id int64, answer *skerryv1.Response, err error) (*Result, error) {
	if err != nil {
		return nil, err
	}
	return resultOf(id, answer.GetExecutePlayer()), nil
}
