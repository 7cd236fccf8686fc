package skerrytest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/skerrytest"
)

// Goal: a trade between players, and one with a chest, as a game server does them.
func TestTransfersWithClient(t *testing.T) {
	n := skerrytest.Start(t)
	c := n.Client(t)
	s1 := register(t, c, "s1", nil)
	var players []*client.Player
	for i := range 2 {
		p, err := s1.OpenPlayer(t.Context(), fmt.Sprint(i), client.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		players = append(players, p)
	}
	ann, bob := players[0], players[1]
	if _, err := ann.Give(t.Context(), 7, 70); err != nil {
		t.Fatal(err)
	}
	home, err := s1.OpenWorld(t.Context(), "0", client.WorldOptions{Create: &skerryv1.Create{}})
	if err != nil {
		t.Fatal(err)
	}
	if err = home.PlaceChest(t.Context(), client.Place{X: 1, Y: 2, Z: 3}); err != nil {
		t.Fatal(err)
	}
	chest := home.ChestParty(1, 2, 3)
	for id, legs := range map[string][]*client.Leg{
		"trade": {client.MoveSlot(ann.Party(), bob.Party(), client.Hotbar(0), 0), client.MoveCurrency(bob.Party(), ann.Party(), client.Coins, 40)},
		"store": {client.MoveItems(ann.Party(), chest, 7, 6)},
	} {
		for range 2 {
			made, failed := c.Transfer(t.Context(), id, legs...)
			if failed != nil || made.GetStatus() != skerryv1.TransferStatus_TRANSFER_DONE {
				t.Errorf("%s: %v, %v", id, made, failed)
			}
		}
	}
	_, err = c.Transfer(t.Context(), "poor", client.MoveCurrency(bob.Party(), ann.Party(), client.Coins, 61))
	if !errors.Is(err, client.ErrInsufficientFunds) {
		t.Errorf("of what is not there: %v", err)
	}
	_, err = c.Transfer(t.Context(), "empty", client.MoveChestSlot(chest, bob.Party(), 9, 0)) // the chest refuses, and the player has held
	if !errors.Is(err, client.ErrNoSuchItem) {
		t.Errorf("of an empty slot of a chest: %v", err)
	}
	n.Restart(t)
	doc, err := c.Player(t.Context(), "1")
	if err != nil || doc.GetProfile().GetCoins() != 60 || doc.GetInventory().GetHotbar()[0].GetCount() != 64 {
		t.Errorf("bob has %v (%v)", doc, err)
	}
	status, err := c.TransferStatus(t.Context(), "trade", ann.Party())
	if err != nil || status.GetStatus() != skerryv1.TransferStatus_TRANSFER_DONE {
		t.Errorf("the trade is %v (%v)", status, err)
	}
}
