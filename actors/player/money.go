package player

import (
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

func earn(rules *Rules, p *skerryv1.Player, cmd *skerryv1.Earn) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	balance, known := balanceOf(p, cmd.GetCurrency())
	amount := cmd.GetAmount()
	switch greatest := rules.greatestBalance() - transfer.ReservedBalance(rules.holds, cmd.GetCurrency()); {
	case !known:
		return nil, nil, refuse(ErrBadRequest, "earn.currency", "is none of COINS, GEMS, MANA_CRYSTALS")
	case amount <= 0 || amount > rules.greatestAmount():
		return nil, nil, refuse(ErrBadAmount, "earn.amount", "is %d, not within 1..%d", amount, rules.greatestAmount())
	case balance > greatest-amount:
		return nil, nil, refuse(ErrOverflow, "earn.amount", "%d more than the balance of %d is over %d", amount, balance, greatest)
	}
	var earned int64
	if cmd.GetCurrency() == skerryv1.Currency_COINS {
		earned = countable(p.GetStatistics().GetCoinsEarned(), amount)
	}
	event, reply := balanceChanged(cmd.GetCurrency(), balance+amount, earned)
	return event, reply, nil
}

func spend(rules *Rules, p *skerryv1.Player, cmd *skerryv1.Spend) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	balance, known := balanceOf(p, cmd.GetCurrency())
	amount := cmd.GetAmount()
	switch {
	case !known:
		return nil, nil, refuse(ErrBadRequest, "spend.currency", "is none of COINS, GEMS, MANA_CRYSTALS")
	case amount <= 0 || amount > rules.greatestAmount():
		return nil, nil, refuse(ErrBadAmount, "spend.amount", "is %d, not within 1..%d", amount, rules.greatestAmount())
	case amount > balance:
		return nil, nil, refuse(ErrInsufficientFunds, "spend.amount", "is %d, the balance is %d", amount, balance)
	}
	event, reply := balanceChanged(cmd.GetCurrency(), balance-amount, 0)
	return event, reply, nil
}

// balanceOf returns a balance, and whether there is such a currency.
func balanceOf(p *skerryv1.Player, currency skerryv1.Currency) (int64, bool) {
	switch profile := p.GetProfile(); currency {
	case skerryv1.Currency_COINS:
		return profile.GetCoins(), true
	case skerryv1.Currency_GEMS:
		return profile.GetGems(), true
	case skerryv1.Currency_MANA_CRYSTALS:
		return profile.GetManaCrystals(), true
	default:
		return 0, false
	}
}

// countable is how much of amount a statistic still counts: statistics that follow other commands stop at MaxExact
// rather than refuse them.
func countable(statistic, amount int64) int64 {
	return max(0, min(amount, MaxExact-statistic))
}

// balanceChanged makes the event and the reply of the hottest commands, each with what it points to in one allocation.
func balanceChanged(currency skerryv1.Currency, balance, earned int64) (*storev1.PlayerEvent, *skerryv1.PlayerReply) {
	event := &struct {
		event storev1.PlayerEvent
		kind  storev1.PlayerEvent_BalanceChanged
		body  storev1.BalanceChanged
	}{}
	event.body.Currency, event.body.Balance, event.body.CoinsEarned = currency, balance, earned
	event.kind.BalanceChanged = &event.body
	event.event.Event = &event.kind

	reply := &struct {
		reply skerryv1.PlayerReply
		kind  skerryv1.PlayerReply_Balance
		body  skerryv1.Balance
	}{}
	reply.body.Currency, reply.body.Balance = currency, balance
	reply.kind.Balance = &reply.body
	reply.reply.Reply = &reply.kind
	return &event.event, &reply.reply
}
