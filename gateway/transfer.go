package gateway

import (
	"context"

	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// maxTransferBytes bounds a request: 16 legs, each with two ids and two tokens.
const maxTransferBytes = 32 << 10

// CreateTransfer moves items and currency, all legs or none; it answers when the transfer has ended.
func (s *service) CreateTransfer(ctx context.Context, in *skerryv1.CreateTransferRequest) (*skerryv1.CreateTransferResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: in}})
	return r.GetCreateTransfer(), err
}

// GetTransfer says what became of a transfer.
func (s *service) GetTransfer(ctx context.Context, in *skerryv1.GetTransferRequest) (*skerryv1.GetTransferResponse, error) {
	r, err := s.one(ctx, &skerryv1.Request{Request: &skerryv1.Request_GetTransfer{GetTransfer: in}})
	return r.GetGetTransfer(), err
}

// routeTransfer is route for transfers: the entity is the player who holds, or the party that is asked.
func (c *caller) routeTransfer(r *skerryv1.Request) (target, error) {
	t := target{call: callNone, key: persistence.Key{Space: c.space, Kind: persistence.KindPlayer}}
	switch m := r.GetRequest().(type) {
	case *skerryv1.Request_CreateTransfer:
		t.call = callCreateTransfer
		if err := c.checkTransfer(m.CreateTransfer); err != nil {
			return t, err
		}
		plan, err := transfer.Parse(c.space, m.CreateTransfer)
		if err != nil {
			return t, err
		}
		t.key = plan.Holder.Key
	case *skerryv1.Request_GetTransfer:
		t.call = callGetTransfer
		if err := checkForm(m.GetTransfer, maxTransferBytes); err != nil {
			return t, err
		}
		switch of := m.GetTransfer.GetParty().GetParty().(type) {
		case *skerryv1.TransferParty_Player:
			t.key.ID = of.Player
		case *skerryv1.TransferParty_Chest:
			t.key.Kind, t.key.ID = persistence.KindWorld, of.Chest.GetWorld()
		default:
			return t, refuse(errBadRequest, "party", "names neither a player nor a chest")
		}
	}
	return t, nil
}

// checkTransfer checks the form, and gives the session that came with the call to the first leg's source, unless the request
// has one for it.
func (c *caller) checkTransfer(m *skerryv1.CreateTransferRequest) error {
	if err := checkForm(m, maxTransferBytes); err != nil {
		return err
	}
	if c.session == "" || len(m.GetLegs()) == 0 || m.GetLegs()[0].GetFrom() == nil {
		return nil
	}
	first := m.GetLegs()[0].GetFrom()
	for _, leg := range m.GetLegs() {
		for _, party := range []*skerryv1.TransferParty{leg.GetFrom(), leg.GetTo()} {
			if party.GetSession() != "" && party.GetPlayer() == first.GetPlayer() && party.GetChest().EqualVT(first.GetChest()) {
				return nil
			}
		}
	}
	first.Session = c.session
	return nil
}
