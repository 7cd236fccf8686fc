package player

import (
	"errors"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func testTurn() Turn { return Turn{Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Seed: 1} }

func earnCommand(currency skerryv1.Currency, amount int64) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: currency, Amount: amount}}}
}

func TestEarnRefusesOverflow(t *testing.T) {
	p := New(nil, "Ann", testTurn())
	_, _, err := Decide(nil, p, earnCommand(skerryv1.Currency_COINS, MaxExact), testTurn())
	if !errors.Is(err, ErrOverflow) {
		t.Fatalf("err = %v, want ErrOverflow", err)
	}
}

func BenchmarkEarn(b *testing.B) {
	p := New(nil, "Ann", testTurn())
	cmd, turn := earnCommand(skerryv1.Currency_COINS, 1), testTurn()
	b.ReportAllocs()
	for b.Loop() {
		events, _, err := Decide(nil, p, cmd, turn)
		if err != nil {
			b.Fatal(err)
		}
		if err := Evolve(p, events[0]); err != nil {
			b.Fatal(err)
		}
	}
}
