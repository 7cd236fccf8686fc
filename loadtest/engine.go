package loadtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/loadtest/report"
)

// engine plays a scenario: one goroutine takes moments from the model and begins what is due, answers come on the client's. What may
// wait (opening, leaving, transfers) has a goroutine of its own, of a bounded number.
type engine struct {
	s        *Scenario
	opts     *Options
	target   *target
	clients  []*client.Client
	servers  []*gameServer
	players  []*virtual // by the model's number; the driver's alone
	ledger   *ledger
	rec      *recorder
	commands *commands
	prefix   string
	window   time.Duration // in which a crash may take MEMORY turns

	began    atomic.Int64 // Unix nanoseconds: the clock of the scenario
	inFlight atomic.Int64
	waiting  sync.WaitGroup // for blocking operations
	blocked  atomic.Int64
	skipped  atomic.Int64 // actions of players who are not there

	pool sync.Pool // of *op

	dirtySeen bool // the sampler's while it runs: the nodes tell how old the oldest change is

	mu struct {
		sync.Mutex
		marks     []report.Mark
		transfers []*transfer // without a known outcome
		closeTook time.Duration
		// serialTook is how long others took in the original's way. Set when nothing plays any more.
		serialTook time.Duration
		errs       []error // of events: a node that cannot be started again
		number     int     // of transfers and receipts
	}
}

// maxBlocked bounds the operations that have goroutines of their own.
const maxBlocked = 4096

// op is one turn on its way.
type op struct {
	e        *engine
	act      action
	server   *gameServer
	intended time.Time
	account  *account
	effect   effect
	memory   bool
	onDone   func(applied bool, sure bool) // after the answer, before the operation counts as done; nil: nothing
	reward   bool                          // the effect is in the reply

	player func(*client.Result, error) // bound once
	world  func(*client.WorldResult, error)
}

func (e *engine) op(m *moment, s *gameServer, a *account) *op {
	o := e.pool.Get().(*op) //nolint:forcetypeassert // the pool makes only these
	o.e, o.act, o.server, o.intended, o.account = e, m.act, s, e.timeOf(m.at), a
	return o
}

func newOp() any {
	o := &op{}
	o.player = func(r *client.Result, err error) {
		seq := int64(0)
		if r != nil {
			seq = r.Seq
			if o.reward && len(r.Replies) > 0 {
				o.effect.changes[0] = change{qCoins, r.Replies[0].GetDailyReward().GetCoins()}
			}
		}
		o.done(seq, err)
	}
	o.world = func(r *client.WorldResult, err error) {
		seq := int64(0)
		if r != nil {
			seq = r.Seq
		}
		o.done(seq, err)
	}
	return o
}

// done is the answer to a turn.
func (o *op) done(seq int64, err error) {
	e, now := o.e, time.Now()
	v := verdict{act: o.act, server: o.server.number, latency: now.Sub(o.intended), durable: !o.memory}
	applied, sure := err == nil, true
	switch {
	case err == nil && o.memory:
		o.account.memory(seq, now, e.window, o.effect)
	case err == nil:
		o.account.durable(seq, o.effect)
	default:
		v.refused, v.failed, sure = judge(err)
		if !sure {
			o.account.perhaps(o.effect)
		}
	}
	e.rec.add(&v)
	if o.onDone != nil {
		o.onDone(applied, sure)
	}
	e.inFlight.Add(-1)
	if err == nil { // else its parts may still be on their way
		*o = op{player: o.player, world: o.world}
		e.pool.Put(o)
	}
}

// judge says what an error is: a refusal by the rules, or a failure of some code; and whether it is sure that nothing was applied.
func judge(err error) (refused bool, failed string, sure bool) {
	e := &client.Error{}
	if !errors.As(err, &e) {
		return false, "INTERNAL", false
	}
	sure = e.Outcome == client.NotApplied
	if sure && slices.ContainsFunc(refusals(), func(code error) bool { return errors.Is(e, code) }) {
		return true, "", true
	}
	return false, string(e.Code), sure
}

// refusals are answers like any other: the rules say no, or the player is on another server by now.
func refusals() []error {
	return []error{
		client.ErrInsufficientFunds, client.ErrInventoryFull, client.ErrNoSuchItem, client.ErrAlreadyClaimed, client.ErrBadSlot,
		client.ErrLimitExceeded, client.ErrSessionTaken, client.ErrSessionEnded, client.ErrNoSession, client.ErrNoSuchChest,
	}
}

func isCode(err error, code error) bool { return errors.Is(err, code) }

// timeOf is when a moment of the scenario should be.
func (e *engine) timeOf(at time.Duration) time.Time {
	return time.Unix(0, e.began.Load()).Add(scale(at, e.opts.Minute))
}

// sinceBegan is how long the run's clock has gone; negative before it.
func (e *engine) sinceBegan() time.Duration {
	if e.began.Load() == 0 {
		return -time.Second
	}
	return time.Since(time.Unix(0, e.began.Load()))
}

// blocking runs f on a goroutine of its own, unless too many do already.
func (e *engine) blocking(f func()) bool {
	if e.blocked.Add(1) > maxBlocked {
		e.blocked.Add(-1)
		return false
	}
	e.waiting.Go(func() {
		defer e.blocked.Add(-1)
		f()
	})
	return true
}

// drive plays the model until it ends, or ctx does.
func (e *engine) drive(ctx context.Context, m *model) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for next, ok := m.next(); ok; next, ok = m.next() {
		due := e.timeOf(next.at)
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if next.kind != momentEvent {
			e.rec.late(time.Since(due))
		}
		e.do(ctx, &next)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// do begins what a moment asks for.
func (e *engine) do(ctx context.Context, m *moment) {
	switch m.kind {
	case momentJoin, momentHop:
		e.join(ctx, m)
	case momentLeave:
		e.leave(ctx, m)
	case momentAct:
		e.act(ctx, m)
	case momentEvent:
		e.event(ctx, m)
	}
}

// busy counts an operation that could not begin because too many are on their way.
func (e *engine) busy(m *moment) {
	e.rec.add(&verdict{act: m.act, server: m.server, failed: "TOOL_BUSY"})
}

func (e *engine) join(ctx context.Context, m *moment) {
	v := e.virtual(m.player)
	s, session, intended := e.servers[m.server], m.session, e.timeOf(m.at)
	began := v.queue(e, func() {
		asking, cancel := patience(ctx)
		defer cancel()
		p, err := s.server.OpenPlayer(asking, v.id, client.OpenOptions{Name: "Player"})
		came := verdict{act: actOpen, server: s.number, latency: time.Since(intended), durable: true}
		if err != nil {
			came.refused, came.failed, _ = judge(err)
			v.set(session, nil, nil, e)
		} else {
			v.account.begin(countsOf(p.Document()))
			v.set(session, p, s, e)
		}
		e.rec.add(&came)
	})
	if !began {
		e.busy(m)
	}
}

func (e *engine) leave(ctx context.Context, m *moment) {
	v := e.virtual(m.player)
	s, session, intended := e.servers[m.server], m.session, e.timeOf(m.at)
	began := v.queue(e, func() {
		p, _ := v.current(session)
		if p == nil {
			e.skipped.Add(1)
			return
		}
		asking, cancel := patience(ctx)
		defer cancel()
		err := p.Leave(asking)
		came := verdict{act: actLeave, server: s.number, latency: time.Since(intended), durable: true}
		if err != nil {
			came.refused, came.failed, _ = judge(err)
		}
		v.set(session, nil, nil, e)
		e.rec.add(&came)
	})
	if !began {
		e.busy(m)
	}
}

// patience is the context of what may wait: it ends after the client's own time-out, or when the connections are closed, so that
// what is on its way when a run is given up is answered and counted.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
}

// virtual is the player of a number.
func (e *engine) virtual(number uint32) *virtual {
	for len(e.players) <= int(number) {
		id := fmt.Sprintf("%sp%d", e.prefix, len(e.players))
		e.players = append(e.players, &virtual{id: id, account: e.ledger.of("player/" + id)})
	}
	return e.players[number]
}

// mark notes something worth a line in the plots.
func (e *engine) mark(text string) {
	mark := report.Mark{At: e.sinceBegan().Seconds(), Text: text}
	e.mu.Lock()
	e.mu.marks = append(e.mu.marks, mark)
	e.mu.Unlock()
	if e.opts.Watch != nil {
		e.opts.Watch.Mark(mark)
	}
}

// nextNumber numbers receipts and transfers.
func (e *engine) nextNumber() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.number++
	return e.mu.number
}

// settle waits until everything that began has its answer.
func (e *engine) settle(ctx context.Context) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for e.inFlight.Load() > 0 || e.blocked.Load() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("%d operations have no answer: %w", e.inFlight.Load()+e.blocked.Load(), context.Cause(ctx))
		}
	}
	e.waiting.Wait()
	return nil
}
