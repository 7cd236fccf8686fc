package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// holdName is a transfer of a holder.
type holdName struct {
	holder persistence.Key
	seq    uint64
}

// transferring is a transfer that a node drives; see actors/transfers.go, whose steps these are.
type transferring struct {
	name  holdName
	plan  *transfer.Plan
	hold  *storev1.Hold
	tries int
}

// The pauses of a coordinator.
const (
	stepTimeout  = 1500 * time.Millisecond
	stepPause    = 60 * time.Millisecond
	maxStepPause = 2 * time.Second
	orphanPause  = time.Second
)

// ask sends a step to a party, over the network, and hears of it once, in this life; after a while it is unknown.
func (h *entityHost) ask(to persistence.Key, request *skerryv1.CreateTransferRequest, step *storev1.TransferStep, then func(entityAnswer)) {
	e, heard := h.app, false
	e.counts.Steps++
	h.asking++
	once := func(a entityAnswer) {
		if !heard && e.hosts[h.n] == h {
			heard = true
			h.asking--
			h.n.After(0, func() { then(a) })
		}
	}
	wrapped := &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: request}}
	e.w.Ask(e.guess(e.partitionOf(to)).id, func(n *Node) {
		if there := e.hosts[n]; there != nil {
			there.do(&entityCall{key: to, request: wrapped, step: step, reply: func(a entityAnswer) { n.Answer(func() { once(a) }) }})
		}
	})
	h.n.After(stepTimeout, func() { once(entityAnswer{err: persistence.ErrOutcomeUnknown}) })
}

// create begins a transfer for a client, or finds the one with the same id; done hears whether it is known to be held.
func (h *entityHost) create(plan *transfer.Plan, request *skerryv1.CreateTransferRequest, done func(error)) {
	if _, ok := h.n.Owns(h.app.partitionOf(plan.Holder.Key)); !ok {
		done(persistence.ErrNotOwner)
		return
	}
	h.ask(plan.Holder.Key, request, &storev1.TransferStep{}, func(a entityAnswer) {
		if a.err == nil {
			for _, hold := range a.transfer.GetHolds() {
				h.drive(plan, hold)
			}
		} else if errors.Is(a.err, persistence.ErrOutcomeUnknown) {
			h.after(orphanPause, func() { h.resume(plan.Holder.Key) })
		}
		done(a.err)
	})
}

// drive goes on with a hold, unless that is being done.
func (h *entityHost) drive(plan *transfer.Plan, hold *storev1.Hold) {
	name := holdName{plan.Holder.Key, hold.GetSeq()}
	if h.transfers[name] == nil {
		h.transfers[name] = &transferring{name: name, plan: plan, hold: hold}
		h.goOn(h.transfers[name])
	}
}

// step asks for a step and goes on with next when it was done; else the holder is looked at again.
func (h *entityHost) step(t *transferring, to persistence.Key, step *storev1.TransferStep, next func(entityAnswer)) {
	h.ask(to, t.plan.Request, step, func(a entityAnswer) {
		switch {
		case h.transfers[t.name] != t: // the partition was lost
		case a.err == nil:
			next(a)
		default:
			t.tries++
			h.after(min(stepPause<<min(t.tries, 8), maxStepPause), func() { h.again(t) })
		}
	})
}

// again asks the holder where a transfer is.
func (h *entityHost) again(t *transferring) {
	if h.transfers[t.name] != t {
		return
	}
	h.step(t, t.name.holder, &storev1.TransferStep{Kind: storev1.TransferStepKind_LIST}, func(a entityAnswer) {
		for _, hold := range a.transfer.GetHolds() {
			if hold.GetSeq() == t.name.seq {
				t.hold = hold
				h.goOn(t)
				return
			}
		}
		delete(h.transfers, t.name)
	})
}

func (h *entityHost) goOn(t *transferring) {
	if t.hold.GetStatus() != skerryv1.TransferStatus_TRANSFER_OPEN {
		h.closeTransfer(t)
		return
	}
	receive := &storev1.TransferStep{Kind: storev1.TransferStepKind_RECEIVE, Hold: t.hold}
	h.step(t, t.plan.Other.Key, receive, func(a entityAnswer) {
		end := &storev1.TransferStep{Kind: storev1.TransferStepKind_END, Hold: t.hold, Received: a.transfer.GetReceived()}
		h.step(t, t.name.holder, end, func(entityAnswer) { h.closeTransfer(t) })
	})
}

func (h *entityHost) closeTransfer(t *transferring) {
	forget := &storev1.TransferStep{Kind: storev1.TransferStepKind_CLOSE, Hold: t.hold}
	h.step(t, t.plan.Other.Key, forget, func(entityAnswer) {
		drop := &storev1.TransferStep{Kind: storev1.TransferStepKind_DROP, Hold: t.hold}
		h.step(t, t.name.holder, drop, func(entityAnswer) { delete(h.transfers, t.name) })
	})
}

// abandonTransfers forgets those whose holders are in p: whoever claims it goes on.
func (h *entityHost) abandonTransfers(p persistence.Partition) {
	for name := range h.transfers {
		if h.app.partitionOf(name.holder) == p {
			delete(h.transfers, name)
		}
	}
}

// lookForTransfers finds the holders of open transfers in a partition that was claimed.
func (h *entityHost) lookForTransfers(p persistence.Partition, epoch persistence.Epoch) {
	h.asking++
	h.n.After(h.app.w.Between(0, 20*time.Millisecond), func() {
		h.asking--
		if now, ok := h.n.Owns(p); !ok || now != epoch {
			return
		}
		found, err := h.n.Storage().Marks(context.Background(), p, persistence.DefaultSpace, transfer.OpenMark, persistence.Key{}, 1<<10)
		if err != nil {
			h.app.w.Fail("load", p, "%v finds no marks: %v", h.n, err)
			return
		}
		for _, m := range found {
			h.app.counts.Resumed++
			h.resume(m.Key)
		}
	})
}

// resume goes on with all that a player holds.
func (h *entityHost) resume(key persistence.Key) {
	list := &storev1.TransferStep{Kind: storev1.TransferStepKind_LIST}
	h.ask(key, &skerryv1.CreateTransferRequest{}, list, func(a entityAnswer) {
		if _, ok := h.n.Owns(h.app.partitionOf(key)); !ok {
			return
		}
		if a.err != nil {
			h.asking++
			h.after(orphanPause, func() {
				h.asking--
				h.resume(key)
			})
			return
		}
		for _, hold := range a.transfer.GetHolds() {
			plan, err := transfer.Parse(key.Space, hold.GetRequest())
			if err != nil {
				h.app.w.Fail("rules", h.app.partitionOf(key), "a hold of %s cannot be read: %v", key.ID, err)
				return
			}
			h.drive(plan, hold)
		}
	})
}

// market is the clients' side of transfers: players who have nothing but what they had at first, and what they move.
type market struct {
	traders []persistence.Key
	ready   int
	begun   int
	open    int
}

// The start of a trader.
const (
	maxTransfers = 40
	itemOfTrade  = 7
	startItems   = 20
)

func (e *entities) beginTransfers() {
	for i := range 3 {
		key := persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindPlayer, ID: fmt.Sprintf("t%d", i)}
		e.market.traders = append(e.market.traders, key)
		open := &skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: &skerryv1.OpenPlayerSessionRequest{
			Server: "s9", Name: "Bob", OpenId: "first",
		}}}
		e.insist(key, open, func(r *skerryv1.Response) {
			give := &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Give{Give: &skerryv1.Give{ItemId: itemOfTrade, Count: startItems}}}
			e.insist(key, &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: &skerryv1.ExecutePlayerRequest{
				Session: r.GetOpenPlayerSession().GetSession(), CommandId: 1, Commands: []*skerryv1.PlayerCommand{give},
			}}}, func(*skerryv1.Response) { e.market.ready++ })
		})
	}
	e.w.After(e.w.Between(0, time.Second), e.trade)
}

// insist sends a request until it is answered with success.
func (e *entities) insist(key persistence.Key, request *skerryv1.Request, then func(*skerryv1.Response)) {
	heard := false
	e.send(key, request, nil, func(a entityAnswer) {
		if !heard && a.err == nil {
			heard = true
			then(a.response)
		}
	})
	e.w.After(stepTimeout, func() {
		if !heard {
			heard = true
			e.insist(key, request, then)
		}
	})
}

// trade begins a transfer now and then.
func (e *entities) trade() {
	m := &e.market
	if e.w.healed || m.begun >= maxTransfers {
		return
	}
	e.w.After(e.w.Between(0, 800*time.Millisecond), e.trade)
	if m.ready < len(m.traders) {
		return
	}
	from := e.w.Rand.IntN(len(m.traders))
	to := (from + 1 + e.w.Rand.IntN(len(m.traders)-1)) % len(m.traders)
	a, b := traderParty(m.traders[from]), traderParty(m.traders[to])
	m.begun++
	request := &skerryv1.CreateTransferRequest{Id: fmt.Sprintf("x%d", m.begun), Legs: []*skerryv1.TransferLeg{
		{From: a, To: b, What: &skerryv1.TransferLeg_Currency{Currency: &skerryv1.TransferCurrency{
			Currency: skerryv1.Currency_COINS, Amount: 1 + e.w.Rand.Int64N(70),
		}}},
	}}
	if e.w.Chance(500) {
		request.Legs = append(request.Legs, &skerryv1.TransferLeg{From: b, To: a, What: &skerryv1.TransferLeg_Item{Item: &skerryv1.TransferItem{
			ItemId: itemOfTrade, Count: 1 + e.w.Rand.Int32N(15),
		}}})
	}
	plan, err := transfer.Parse(persistence.DefaultSpace, request)
	if err != nil {
		e.w.Fail("rules", everyPartition, "%v: %v", request, err)
		return
	}
	m.open++
	e.counts.Transfers++
	e.ask(plan, request)
}

func traderParty(key persistence.Key) *skerryv1.TransferParty {
	return &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Player{Player: key.ID}}
}

// ask asks for a transfer until it is held or refused; some clients give up, and do not know.
func (e *entities) ask(plan *transfer.Plan, request *skerryv1.CreateTransferRequest) {
	heard := false
	hear := func(err error) {
		switch {
		case heard:
		case err == nil || !errors.Is(err, persistence.ErrOutcomeUnknown) && !retryable(err) || e.w.Chance(300):
			heard = true
			e.market.open--
		default:
			heard = true
			e.w.After(e.w.Between(10*time.Millisecond, 300*time.Millisecond), func() { e.ask(plan, request) })
		}
	}
	e.w.Ask(e.guess(e.partitionOf(plan.Holder.Key)).id, func(n *Node) {
		if h := e.hosts[n]; h != nil {
			h.create(plan, request, func(err error) { n.Answer(func() { hear(err) }) })
		}
	})
	e.w.After(2*stepTimeout, func() { hear(persistence.ErrOutcomeUnknown) })
}

// retryable reports whether nothing was done, and may be later.
func retryable(err error) bool {
	for _, other := range []error{
		persistence.ErrNotOwner, persistence.ErrQueueFull, errEntityBusy, errEntityStalled, errEntityLoad, turn.ErrTooManyTransfers,
	} {
		if errors.Is(err, other) {
			return true
		}
	}
	return false
}

// transfersEnded reports whether nobody drives a transfer, or looks for one, any more.
func (e *entities) transfersEnded() bool {
	if e.market.open > 0 || e.market.ready < len(e.market.traders) || e.w.now < e.healedAt+3*orphanPause {
		return false
	}
	for _, h := range e.hosts {
		if len(h.transfers) > 0 || h.asking > 0 {
			return false
		}
	}
	return true
}

// checkTransfers: every transfer has ended, and nothing was made or lost by one.
func (e *entities) checkTransfers() {
	coins, items := int64(0), int32(0)
	for _, key := range e.market.traders {
		part := e.partitionOf(key)
		state := e.checkHistory(key)
		if e.w.failed != nil {
			return
		}
		for _, hold := range state.GetHolds() {
			e.w.Fail("transfers end", part, "%s still holds %s, which is %v", key.ID, hold.GetTransfer(), hold.GetStatus())
		}
		for _, r := range state.GetReceived() {
			if r.GetTransfer() != "" && !r.GetClosed() {
				e.w.Fail("transfers end", part, "%s was never told that %s of %s is over", key.ID, r.GetTransfer(), r.GetFrom())
			}
		}
		coins += coinsOf(state.GetPlayer())
		inventory := state.GetPlayer().GetInventory()
		for _, slot := range append(inventory.GetHotbar(), inventory.GetInventory()...) {
			if slot.GetItemId() == itemOfTrade {
				items += slot.GetCount()
			}
		}
	}
	n := len(e.market.traders)
	if coins != int64(n)*startCoins || int(items) != n*startItems {
		e.w.Fail("conserved", e.partitionOf(e.market.traders[0]), "%d coins and %d items in the end, %d and %d at first", coins, items, n*startCoins, n*startItems)
	}
}
