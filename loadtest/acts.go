package loadtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// act begins an action of a player.
func (e *engine) act(ctx context.Context, m *moment) {
	v := e.virtual(m.player)
	p, s := v.current(m.session)
	if p == nil { // it is being opened, or was refused: nobody can play
		e.skipped.Add(1)
		return
	}
	if int(e.inFlight.Add(1)) > e.opts.MaxInFlight {
		e.inFlight.Add(-1)
		e.busy(m)
		return
	}
	switch m.act {
	case actTrade:
		e.trade(ctx, m, v, p, s)
	case actChest:
		e.chest(ctx, m, v, p, s)
	case actBuild:
		e.build(ctx, m, s)
	case actSave:
		e.save(ctx, m, p, s)
	default:
		e.turn(ctx, m, v, p, s)
	}
}

// durable and memory turns.
func (e *engine) turn(ctx context.Context, m *moment, v *virtual, p *client.Player, s *gameServer) {
	o := e.op(m, s, v.account)
	opts := client.DoOptions{}
	d, item := m.draw, int(m.draw>>20%gameItems) //nolint:gosec // small
	count := int(d >> 30 % itemsAtOnce)          //nolint:gosec // small
	var list []*skerryv1.PlayerCommand
	c := e.commands
	switch m.act {
	case actEarn:
		list, o.effect.changes[0] = c.earn[d%amountsOfCoins:][:1:1], change{qCoins, int64(d%amountsOfCoins) + 1}
		if d>>50%32 == 0 {
			e.repeat(ctx, o, v, p, list)
			return
		}
	case actSpend:
		list, o.effect.changes[0] = c.spend[d%amountsOfCoins:][:1:1], change{qCoins, -int64(d%amountsOfCoins) - 1}
	case actBuy:
		e.buy(o, p, item)
		return
	case actGive:
		list, o.effect.changes[0] = c.give[item][count:][:1:1], change{qItem + quantity(item), int64(count) + 1}
	case actTake:
		list, o.effect.changes[0] = c.take[item][count:][:1:1], change{qItem + quantity(item), -int64(count) - 1}
	case actFight:
		list, o.effect.changes[0] = []*skerryv1.PlayerCommand{c.fight[d%fights], c.enemy}, change{qEnemies, 1}
		o.memory = true
	case actWalk:
		list, o.effect.changes[0] = c.walk[d%walkSeconds:][:1:1], change{qPlayTime, int64(d%walkSeconds) + 1}
		o.memory = true
	case actDaily:
		list, o.effect.changes[0], o.reward = []*skerryv1.PlayerCommand{c.daily}, change{qCoins, greatestReward}, true
	default:
		list = c.move[d%hotbarSlots:][:1:1]
		o.memory = true
	}
	if o.memory {
		opts.Durability = client.Memory
	}
	if err := p.DoAsync(opts, o.player, list...); err != nil {
		o.player(nil, err)
	}
}

// repeat sends a turn twice with one command id, the second time around the client, as a broken connection makes one do: it must be
// answered alike and take effect once.
func (e *engine) repeat(ctx context.Context, o *op, v *virtual, p *client.Player, list []*skerryv1.PlayerCommand) {
	began := e.blocking(func() {
		asking, cancel := patience(ctx)
		defer cancel()
		result, err := p.Do(asking, client.DoOptions{}, list...)
		if err == nil {
			_, again := o.server.client.Service().ExecutePlayer(asking, &skerryv1.ExecutePlayerRequest{
				Player: v.id, Session: p.Token(), CommandId: result.CommandID, Commands: list,
			})
			if again != nil && !isCode(again, client.ErrSessionTaken) && !isCode(again, client.ErrSessionEnded) {
				e.opts.Logger.LogAttrs(asking, slog.LevelWarn, "a repeated command was refused", slog.String("entity", v.id), slog.Any("err", again))
			}
		}
		o.player(result, err)
	})
	if !began {
		o.player(nil, errBusy())
	}
}

// errBusy is the error of what could not begin.
func errBusy() error { return &client.Error{Code: "TOOL_BUSY", Outcome: client.NotApplied} }

// buy pays for an item with a receipt; one in four is sent again, as games do that crashed before they wrote it down.
func (e *engine) buy(o *op, p *client.Player, item int) {
	receipt := fmt.Sprintf("%s%d-%d", e.prefix, e.opts.Seed, e.nextNumber())
	list := []*skerryv1.PlayerCommand{e.commands.price, e.commands.give[item][0]}
	o.effect.changes = [2]change{{qCoins, -itemPrice}, {qItem + quantity(item), 1}} //nolint:gosec // small
	if e.nextNumber()%4 == 0 {
		o.onDone = func(applied, sure bool) {
			if applied || !sure {
				e.buyAgain(p, receipt, list)
			}
		}
	}
	if err := p.DoAsync(client.DoOptions{Receipt: receipt}, o.player, list...); err != nil {
		o.player(nil, err)
	}
}

// buyAgain sends a purchase again. Whether the first was applied is known, or in doubt: either way at most one is.
func (e *engine) buyAgain(p *client.Player, receipt string, list []*skerryv1.PlayerCommand) {
	e.inFlight.Add(1)
	err := p.DoAsync(client.DoOptions{Receipt: receipt}, func(*client.Result, error) { e.inFlight.Add(-1) }, list...)
	if err != nil {
		e.inFlight.Add(-1)
	}
}

func (e *engine) build(ctx context.Context, m *moment, s *gameServer) {
	if len(s.worlds) == 0 {
		e.inFlight.Add(-1)
		e.skipped.Add(1)
		return
	}
	w := s.worlds[int(m.draw>>4%uint64(len(s.worlds)))] //nolint:gosec // small
	world := w.session()
	if world == nil {
		e.inFlight.Add(-1)
		e.skipped.Add(1)
		e.reopen(ctx, s, w)
		return
	}
	o := e.op(m, s, w.account)
	o.memory = true
	o.effect.blocks = blocksOf(m.draw>>8, e.s.Blocks)
	err := world.DoAsync(client.DoOptions{Durability: client.Memory}, o.world, &skerryv1.WorldCommand{
		Command: &skerryv1.WorldCommand_SetBlocks{SetBlocks: &skerryv1.SetBlocks{Blocks: o.effect.blocks}},
	})
	if err != nil {
		o.world(nil, err)
	}
}

func (e *engine) save(ctx context.Context, m *moment, p *client.Player, s *gameServer) {
	o := e.op(m, s, e.virtual(m.player).account)
	if !e.blocking(func() {
		asking, cancel := patience(ctx)
		defer cancel()
		_, err := p.Save(asking)
		o.player(nil, err)
	}) {
		o.player(nil, errBusy())
	}
}

// transfer moves items between two accounts.
type transfer struct {
	id       string
	from, to *account
	asked    *client.Party // whom to ask what became of it
	client   *client.Client
	item     int32
	count    int32
}

func (t *transfer) out() effect {
	return effect{changes: [2]change{{itemQuantity(t.item), -int64(t.count)}}}
}

func (t *transfer) in() effect {
	return effect{changes: [2]change{{itemQuantity(t.item), int64(t.count)}}}
}

// applied counts it on both sides.
func (t *transfer) applied() {
	t.from.durable(0, t.out())
	t.to.durable(0, t.in())
}

// perhaps leaves it open on both sides; the sum of all is not touched.
func (t *transfer) perhaps() {
	t.from.perhapsMoved(t.out())
	t.to.perhapsMoved(t.in())
}

func (e *engine) trade(ctx context.Context, m *moment, v *virtual, p *client.Player, s *gameServer) {
	other := e.virtual(m.other)
	to := other.any()
	if to == nil || other == v {
		e.inFlight.Add(-1)
		e.skipped.Add(1)
		return
	}
	t := e.newTransfer(m, s)
	t.from, t.to, t.asked = v.account, other.account, p.Party()
	e.begin(ctx, m, s, t, client.MoveItems(p.Party(), to.Party(), t.item, t.count))
}

func (e *engine) chest(ctx context.Context, m *moment, v *virtual, p *client.Player, s *gameServer) {
	w := s.worlds[int(m.draw>>4%uint64(len(s.worlds)))] //nolint:gosec // small
	world := w.session()
	if world == nil {
		e.inFlight.Add(-1)
		e.skipped.Add(1)
		e.reopen(ctx, s, w)
		return
	}
	at := chestAt(int(m.draw >> 12 % uint64(e.s.Chests))) //nolint:gosec // small
	box := world.ChestParty(at.X, at.Y, at.Z)
	t := e.newTransfer(m, s)
	t.asked = p.Party()
	if m.draw>>60&1 == 0 {
		t.from, t.to = v.account, w.account
		e.begin(ctx, m, s, t, client.MoveItems(p.Party(), box, t.item, t.count))
		return
	}
	t.from, t.to = w.account, v.account
	e.begin(ctx, m, s, t, client.MoveItems(box, p.Party(), t.item, t.count))
}

func (e *engine) newTransfer(m *moment, s *gameServer) *transfer {
	return &transfer{
		id:     fmt.Sprintf("%s%d-t%d", e.prefix, e.opts.Seed, e.nextNumber()),
		client: s.client, item: int32(m.draw>>20%gameItems) + 1, count: int32(m.draw>>30%itemsAtOnce) + 1, //nolint:gosec // small
	}
}

// begin carries a transfer out.
func (e *engine) begin(ctx context.Context, m *moment, s *gameServer, t *transfer, leg *client.Leg) {
	act, intended := m.act, e.timeOf(m.at)
	began := e.blocking(func() {
		defer e.inFlight.Add(-1)
		asking, cancel := patience(ctx)
		defer cancel()
		_, err := t.client.Transfer(asking, t.id, leg)
		v := verdict{act: act, server: s.number, latency: time.Since(intended), durable: true}
		sure := true
		if err != nil {
			v.refused, v.failed, sure = judge(err)
		}
		switch {
		case err == nil:
			t.applied()
		case !sure:
			e.mu.Lock()
			e.mu.transfers = append(e.mu.transfers, t)
			e.mu.Unlock()
		}
		e.rec.add(&v)
	})
	if !began {
		e.inFlight.Add(-1)
		e.busy(m)
	}
}

// resolve asks what became of the transfers without a known outcome.
func (e *engine) resolve(ctx context.Context) {
	e.mu.Lock()
	open := e.mu.transfers
	e.mu.Unlock()
	for _, t := range open {
		asking, cancel := patience(ctx)
		got, err := t.client.TransferStatus(asking, t.id, t.asked)
		cancel()
		switch {
		case err == nil && got.GetStatus() == skerryv1.TransferStatus_TRANSFER_DONE:
			t.applied()
		case err == nil && got.GetError() != nil: // it was refused: nothing moved
		default: // also NOT_FOUND: it never began, or ended long ago
			t.perhaps()
		}
		if err != nil && !errors.Is(err, client.ErrNotFound) {
			e.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "nobody knows what became of a transfer", slog.String("transfer", t.id), slog.Any("err", err))
		}
	}
}
