package player

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// ErrUnknownEvent: the event is of a newer version, or makes no sense for the document. A load that meets it has failed.
var ErrUnknownEvent = errors.New("unknown player event")

// Evolve applies what happened to p. It applies results, never rules, keeps no memory of e, and changes nothing when it
// returns an error, which wraps [ErrUnknownEvent]. p belongs to the caller and is not nil; a new player's is empty.
func Evolve(p *skerryv1.Player, e *storev1.PlayerEvent) error {
	switch event := e.GetEvent().(type) {
	case *storev1.PlayerEvent_Created:
		return replace(p, event.Created)
	case *storev1.PlayerEvent_DocumentReplaced:
		return replace(p, event.DocumentReplaced)
	case *storev1.PlayerEvent_BalanceChanged:
		return evolveBalance(p, event.BalanceChanged)
	default:
		return fmt.Errorf("%w: %T", ErrUnknownEvent, event)
	}
}

// replace makes p a copy of document, unknown fields included.
func replace(p, document *skerryv1.Player) error {
	if document == nil {
		return fmt.Errorf("%w: a document that is not there", ErrUnknownEvent)
	}
	proto.Reset(p)
	proto.Merge(p, document)
	return nil
}

func evolveBalance(p *skerryv1.Player, e *storev1.BalanceChanged) error {
	if p.Profile == nil {
		p.Profile = &skerryv1.Profile{}
	}
	switch e.GetCurrency() {
	case skerryv1.Currency_COINS:
		p.Profile.Coins = e.GetBalance()
	case skerryv1.Currency_GEMS:
		p.Profile.Gems = e.GetBalance()
	case skerryv1.Currency_MANA_CRYSTALS:
		p.Profile.ManaCrystals = e.GetBalance()
	default:
		return fmt.Errorf("%w: a balance of currency %d", ErrUnknownEvent, e.GetCurrency())
	}
	if earned := e.GetCoinsEarned(); earned != 0 {
		statistics(p).CoinsEarned += earned
	}
	return nil
}

// statistics returns p's statistics, made when missing.
func statistics(p *skerryv1.Player) *skerryv1.Statistics {
	if p.Statistics == nil {
		p.Statistics = &skerryv1.Statistics{}
	}
	return p.Statistics
}

// draft is a copy of p for a turn of several commands, as deep as Evolve changes things in place: it puts new stacks,
// rewards and settings in place of the old ones, so those may be shared. Fields that this version does not know stay behind.
func draft(p *skerryv1.Player, cmds []*skerryv1.PlayerCommand) *skerryv1.Player {
	return p.CloneVT()
}
