package client

import (
	"context"
	"fmt"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Party is one of a transfer's two: a player or a chest.
type Party = skerryv1.TransferParty

// Leg is something that a transfer moves. A transfer's legs go either way between the same two parties.
type Leg = skerryv1.TransferLeg

// Transferred is what became of a transfer.
type Transferred = skerryv1.Transfer

// PlayerParty is a player whom another session holds, or none: then it needs scope admin.
func PlayerParty(player string) *Party {
	return &Party{Party: &skerryv1.TransferParty_Player{Player: player}}
}

// Party is the player as a party of a transfer, with the session that holds it.
func (p *Player) Party() *Party {
	party := PlayerParty(p.ID())
	party.Session = p.Token()
	return party
}

// ChestParty is the chest at a place of the world, as a party of a transfer, with the session that holds the world.
func (w *World) ChestParty(x, y, z int32) *Party {
	return &Party{
		Party:   &skerryv1.TransferParty_Chest{Chest: &skerryv1.ChestRef{World: w.ID(), X: x, Y: y, Z: z}},
		Session: w.Token(),
	}
}

// MoveItems is a leg of count items wherever they lie.
func MoveItems(from, to *Party, item, count int32) *Leg {
	return &Leg{From: from, To: to, What: &skerryv1.TransferLeg_Item{Item: &skerryv1.TransferItem{ItemId: item, Count: count}}}
}

// MoveSlot is a leg of count items in a player's slot, such as [Hotbar](2); count 0 means all of it.
func MoveSlot(from, to *Party, slot *SlotRef, count int32) *Leg {
	return &Leg{From: from, To: to, What: &skerryv1.TransferLeg_Item{Item: &skerryv1.TransferItem{Slot: slot, Count: count}}}
}

// MoveChestSlot is a leg of count items in a chest's slot; count 0 means all of it.
func MoveChestSlot(from, to *Party, index, count int32) *Leg {
	return &Leg{From: from, To: to, What: &skerryv1.TransferLeg_Item{Item: &skerryv1.TransferItem{ChestSlot: &index, Count: count}}}
}

// MoveCurrency is a leg of a currency, between players.
func MoveCurrency(from, to *Party, currency Currency, amount int64) *Leg {
	return &Leg{From: from, To: to, What: &skerryv1.TransferLeg_Currency{
		Currency: &skerryv1.TransferCurrency{Currency: currency, Amount: amount},
	}}
}

// Transfer moves 1 to 16 legs, all or none, and returns when they have arrived. id is the caller's own, at most 64 bytes: the
// same id with the same legs is the same transfer, so Transfer retries until ctx ends, and may be called again. An [Error]
// says why nothing moved. On [ErrOutcomeUnknown] the transfer may have begun, and then it ends without anybody's help: ask
// with [Client.TransferStatus], or call Transfer again. The legs must not be changed before ctx ends or Transfer returns.
func (c *Client) Transfer(ctx context.Context, id string, legs ...*Leg) (*Transferred, error) {
	answer, err := c.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{
		CreateTransfer: &skerryv1.CreateTransferRequest{Id: id, Legs: legs},
	}}})
	if err != nil {
		return nil, fmt.Errorf("transfer %s: %w", id, err)
	}
	made := answer.GetCreateTransfer().GetTransfer()
	if made.GetStatus() == skerryv1.TransferStatus_TRANSFER_DONE {
		return made, nil
	}
	refused := made.GetError()
	return made, fmt.Errorf("transfer %s: %w", id, &Error{
		Code: codec.Code(refused.GetCode()), Message: refused.GetMessage(), Field: refused.GetField(), CommandIndex: -1, Outcome: NotApplied,
	})
}

// TransferStatus says what became of a transfer, as a party knows it: the player of one with a chest, the first leg's source of
// one between players. [ErrNotFound] means that it never began, or ended long ago.
func (c *Client) TransferStatus(ctx context.Context, id string, party *Party) (*Transferred, error) {
	answer, err := c.do(ctx, &call{req: skerryv1.Request{Request: &skerryv1.Request_GetTransfer{
		GetTransfer: &skerryv1.GetTransferRequest{Id: id, Party: party},
	}}})
	if err != nil {
		return nil, fmt.Errorf("read transfer %s: %w", id, err)
	}
	return answer.GetGetTransfer().GetTransfer(), nil
}
