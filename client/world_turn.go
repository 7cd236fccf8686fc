package client

import (
	"context"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// WorldResult is the answer to a turn of a world; see [Result].
type WorldResult struct {
	CommandID int64
	Seq       int64
	Durable   bool
	// Replies are one for each command, in order; none when a retry's remembered reply was too large to keep.
	Replies []*skerryv1.WorldReply
}

func worldResultOf(id int64, reply *skerryv1.ExecuteWorldResponse) *WorldResult {
	return &WorldResult{CommandID: id, Seq: reply.GetSeq(), Durable: reply.GetDurable(), Replies: reply.GetReplies()}
}

// Do runs 1 to 100 commands over at most 64 chunks as one atomic turn; all else is as for [Player.Do].
func (w *World) Do(ctx context.Context, opts DoOptions, commands ...*skerryv1.WorldCommand) (*WorldResult, error) {
	id, err := w.reserve(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := w.client.do(ctx, w.turn(id, opts, commands))
	return w.result(id, answer, w.settle(id, err))
}

// DoAsync is Do without a waiting goroutine. What done may do, what is refused, and in which order turns take effect that
// wait for their answers at the same time, is as for [Player.DoAsync].
func (w *World) DoAsync(opts DoOptions, done func(*WorldResult, error), commands ...*skerryv1.WorldCommand) error {
	id, err := w.reserveNow()
	if err != nil {
		return err
	}
	return w.startTurn(id, w.turn(id, opts, commands), func(answer *skerryv1.Response, err error) { done(w.result(id, answer, err)) })
}

func (w *World) result(id int64, answer *skerryv1.Response, err error) (*WorldResult, error) {
	if err != nil {
		return nil, err
	}
	return worldResultOf(id, answer.GetExecuteWorld()), nil
}

// turn builds the call of a turn, whose id must be reserved.
func (w *World) turn(id int64, opts DoOptions, commands []*skerryv1.WorldCommand) *call {
	return &call{
		deadline: w.deadline(opts),
		req: skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldRequest{
			World: w.id, Session: w.token, CommandId: id, Durability: opts.Durability, Commands: commands, Receipt: opts.Receipt,
		}}},
	}
}
