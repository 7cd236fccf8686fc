package player

import (
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// holding is r for a player whose open transfers hold these.
func (r *Rules) holding(holds []*storev1.Hold) *Rules {
	if len(holds) == 0 {
		return r
	}
	with := *r
	with.holds = holds
	return &with
}

// reserved reports whether an open transfer has reserved a slot: nothing is put into it and nothing is taken out.
func (r *Rules) reserved(container skerryv1.Container, index int) bool {
	return len(r.holds) > 0 && transfer.Reserved(r.holds, container, index)
}

// pockets are a player while a step of a transfer is decided.
type pockets struct {
	rules    *Rules
	p        *skerryv1.Player
	refs     []*skerryv1.SlotRef // of the shelf's slots
	shelf    *transfer.Shelf
	balances map[skerryv1.Currency]int64 // those that changed
}

// openPockets makes what a step works on. Slots reserved by holds stay as they are.
func openPockets(rules *Rules, p *skerryv1.Player, holds []*storev1.Hold) *pockets {
	k := &pockets{rules: rules.orDefault().holding(holds), p: p, balances: map[skerryv1.Currency]int64{}}
	var stacks []*skerryv1.ItemStack
	for _, container := range containers() {
		for index := range k.rules.slotCount(p, container) {
			k.refs = append(k.refs, &skerryv1.SlotRef{Container: container, Index: int32(index)})
			stacks = append(stacks, stackAt(p, container, index))
		}
	}
	k.shelf = transfer.NewShelf(stacks, func(i int) bool {
		return k.rules.reserved(k.refs[i].GetContainer(), int(k.refs[i].GetIndex()))
	})
	return k
}

// index is a slot's place on the shelf; more than there are for one that does not exist, -1 for none.
func (k *pockets) index(ref *skerryv1.SlotRef) int {
	if ref == nil {
		return -1
	}
	for i, known := range k.refs {
		if known.GetContainer() == ref.GetContainer() && known.GetIndex() == ref.GetIndex() {
			return i
		}
	}
	return len(k.refs)
}

func (k *pockets) balance(currency skerryv1.Currency) int64 {
	if changed, ok := k.balances[currency]; ok {
		return changed
	}
	balance, _ := balanceOf(k.p, currency)
	return balance
}

func (k *pockets) spend(leg transfer.Leg) error {
	currency, amount := leg.Currency.GetCurrency(), leg.Currency.GetAmount()
	balance := k.balance(currency)
	if amount > balance {
		return transfer.Refuse(ErrInsufficientFunds, leg.Field+".amount", "is %d, the balance is %d", amount, balance)
	}
	k.balances[currency] = balance - amount
	return nil
}

// room is how much more of a currency there may be.
func (k *pockets) room(currency skerryv1.Currency) int64 {
	return k.rules.greatestBalance() - transfer.ReservedBalance(k.rules.holds, currency) - k.balance(currency)
}

func (k *pockets) earn(leg transfer.Leg) error {
	currency, amount := leg.Currency.GetCurrency(), leg.Currency.GetAmount()
	if amount > k.room(currency) {
		return transfer.Refuse(ErrOverflow, leg.Field+".amount", "%d more than the balance of %d is too much", amount, k.balance(currency))
	}
	k.balances[currency] = k.balance(currency) + amount
	return nil
}

// events are what was done, as results.
func (k *pockets) events() []*storev1.PlayerEvent {
	var events []*storev1.PlayerEvent
	var changed []*skerryv1.Slot
	k.shelf.Changed(func(index int, stack *skerryv1.ItemStack) {
		changed = append(changed, refWith(k.refs[index], stack))
	})
	if len(changed) > 0 {
		events = append(events, &storev1.PlayerEvent{Event: &storev1.PlayerEvent_SlotsChanged{
			SlotsChanged: &storev1.SlotsChanged{Slots: changed},
		}})
	}
	for _, currency := range []skerryv1.Currency{skerryv1.Currency_COINS, skerryv1.Currency_GEMS, skerryv1.Currency_MANA_CRYSTALS} {
		if balance, ok := k.balances[currency]; ok {
			event, _ := balanceChanged(currency, balance, 0)
			events = append(events, event)
		}
	}
	return events
}

// Hold decides the first step of a transfer, at its holder: it takes what leaves, and reserves room for what comes. It
// returns what is held and the events that take it. It changes nothing; holds are those that are open. For what comes of an
// item wherever it lies, as many slots are reserved as it takes by the rules' maxStack.
func Hold(rules *Rules, p *skerryv1.Player, holds []*storev1.Hold, plan *transfer.Plan) ([]*storev1.HeldLeg, []*storev1.PlayerEvent, error) {
	k := openPockets(rules, p, holds)
	var held []*storev1.HeldLeg
	for i, leg := range plan.Legs {
		if !leg.Out {
			continue
		}
		taken, err := k.out(uint32(i), leg) //nolint:gosec // at most MaxLegs
		if err != nil {
			return nil, nil, err
		}
		held = append(held, taken...)
	}
	used := map[int]bool{}
	for i, leg := range plan.Legs {
		if leg.Out {
			continue
		}
		kept, err := k.reserve(uint32(i), leg, used) //nolint:gosec // at most MaxLegs
		if err != nil {
			return nil, nil, err
		}
		held = append(held, kept...)
	}
	return held, k.events(), k.checkReturns(held, plan)
}

// checkReturns refuses when a currency, that comes or comes back, would have no room.
func (k *pockets) checkReturns(held []*storev1.HeldLeg, plan *transfer.Plan) error {
	this := []*storev1.Hold{{Legs: held}}
	for _, leg := range plan.Legs {
		currency := leg.Currency.GetCurrency()
		if leg.Currency != nil && transfer.ReservedBalance(this, currency) > k.room(currency) {
			return transfer.Refuse(ErrOverflow, leg.Field+".amount", "is more than there is room for beside the balance of %d", k.balance(currency))
		}
	}
	return nil
}

// out takes a leg.
func (k *pockets) out(number uint32, leg transfer.Leg) ([]*storev1.HeldLeg, error) {
	if leg.Currency != nil {
		if err := k.spend(leg); err != nil {
			return nil, err
		}
		return []*storev1.HeldLeg{{Leg: number, Currency: leg.Currency.GetCurrency(), Amount: leg.Currency.GetAmount()}}, nil
	}
	taken, err := k.shelf.Take(leg, k.index(leg.Item.GetSlot()))
	if err != nil {
		return nil, err
	}
	var held []*storev1.HeldLeg
	for _, t := range taken {
		held = append(held, &storev1.HeldLeg{Leg: number, Slot: k.refs[t.Index].CloneVT(), Stack: t.Stack})
	}
	return held, nil
}

// reserve keeps room for a leg that comes.
func (k *pockets) reserve(number uint32, leg transfer.Leg, used map[int]bool) ([]*storev1.HeldLeg, error) {
	if leg.Currency != nil {
		return []*storev1.HeldLeg{{Leg: number, Currency: leg.Currency.GetCurrency(), Amount: leg.Currency.GetAmount(), Incoming: true}}, nil
	}
	slots := 1
	if leg.Item.GetSlot() == nil && leg.Item.ChestSlot == nil {
		most := k.rules.Stacks().MaxStackOf(leg.Item.GetItemId())
		slots = (int(leg.Item.GetCount()) + int(most) - 1) / int(most)
	}
	found, enough := k.shelf.Empty(slots, used)
	if !enough {
		return nil, transfer.Refuse(ErrInventoryFull, leg.Field, "needs %d empty slots, there are %d", slots, len(found))
	}
	var held []*storev1.HeldLeg
	for _, index := range found {
		used[index] = true
		held = append(held, &storev1.HeldLeg{Leg: number, Slot: k.refs[index].CloneVT(), Incoming: true})
	}
	return held, nil
}

// Receive decides the second step at a player: it takes what the other legs ask for, and gives what the holder holds. It
// returns what goes back to the holder. All happens, or a refusal says why nothing does. It changes nothing.
func Receive(rules *Rules, p *skerryv1.Player, holds []*storev1.Hold, plan *transfer.Plan, held []*storev1.HeldLeg) ([]*storev1.HeldLeg, []*storev1.PlayerEvent, error) {
	k := openPockets(rules, p, holds)
	var back []*storev1.HeldLeg
	for i, leg := range plan.Legs {
		if leg.Out {
			continue
		}
		taken, err := k.out(uint32(i), leg) //nolint:gosec // at most MaxLegs
		if err != nil {
			return nil, nil, err
		}
		if taken, err = transfer.Fitting(taken, held, leg); err != nil {
			return nil, nil, err
		}
		back = append(back, taken...)
	}
	for _, h := range held {
		leg := plan.Legs[h.GetLeg()]
		var err error
		switch {
		case h.GetIncoming():
		case h.GetStack() != nil:
			err = k.shelf.Put(h.GetStack(), leg.Field)
		default:
			err = k.earn(leg)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return back, k.events(), nil
}

// Close decides the end of a hold whose transfer was received: back, what the other party gave, goes into what was reserved
// for it. others are the player's other holds. It changes nothing, and refuses only what cannot be: there was room.
func Close(rules *Rules, p *skerryv1.Player, others []*storev1.Hold, hold *storev1.Hold, back []*storev1.HeldLeg) ([]*storev1.PlayerEvent, error) {
	k := openPockets(rules, p, others)
	var kept []*storev1.HeldLeg
	for _, leg := range hold.GetLegs() {
		if leg.GetIncoming() && leg.GetSlot() != nil {
			kept = append(kept, leg)
		}
	}
	for _, leg := range back {
		if leg.GetStack() == nil {
			k.balances[leg.GetCurrency()] = k.balance(leg.GetCurrency()) + leg.GetAmount()
			continue
		}
		index := -1
		for i, room := range kept {
			if room.GetLeg() == leg.GetLeg() {
				index = k.index(room.GetSlot())
				kept = append(kept[:i:i], kept[i+1:]...)
				break
			}
		}
		if err := k.shelf.PutBack(index, leg.GetStack(), ""); err != nil {
			return nil, err
		}
	}
	return k.events(), nil
}

// Return decides the end of a hold whose transfer was refused: what it has taken goes back to where it was. others are the
// player's other holds. It changes nothing, and refuses only what cannot be: the slots stood still.
func Return(rules *Rules, p *skerryv1.Player, others []*storev1.Hold, hold *storev1.Hold) ([]*storev1.PlayerEvent, error) {
	k := openPockets(rules, p, others)
	for _, leg := range hold.GetLegs() {
		switch {
		case leg.GetIncoming():
		case leg.GetStack() == nil:
			k.balances[leg.GetCurrency()] = k.balance(leg.GetCurrency()) + leg.GetAmount()
		default:
			if err := k.shelf.PutBack(k.index(leg.GetSlot()), leg.GetStack(), ""); err != nil {
				return nil, err
			}
		}
	}
	return k.events(), nil
}
