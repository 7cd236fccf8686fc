package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"testing"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/skerrytest"
)

// exampleTB lets an example have a node in memory; a program of your own dials a real one.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (e *exampleTB) Helper()                           {}
func (e *exampleTB) Cleanup(f func())                  { e.cleanups = append(e.cleanups, f) }
func (e *exampleTB) Log(args ...any)                   { fmt.Fprintln(os.Stderr, args...) }
func (e *exampleTB) Errorf(format string, args ...any) { log.Panicf(format, args...) }
func (e *exampleTB) Fatalf(format string, args ...any) { log.Panicf(format, args...) }

func (e *exampleTB) end() {
	for _, f := range slices.Backward(e.cleanups) {
		f()
	}
}

// startNode returns the gRPC address of a node, as `skerry node` prints it.
func startNode() (addr string, stop func()) {
	tb := &exampleTB{}
	return skerrytest.Start(tb).GRPC(), tb.end
}

func Example() {
	addr, stop := startNode()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Panic(err)
	}
	defer func() { _ = c.Close() }()
	server, err := c.RegisterServer(ctx, "s1", client.ServerOptions{})
	if err != nil {
		log.Panic(err)
	}
	defer func() { _ = server.Close(ctx) }()

	ann, err := server.OpenPlayer(ctx, "1001", client.OpenOptions{Name: "Ann"})
	if err != nil {
		log.Panic(err)
	}
	balance, err := ann.Earn(ctx, client.Coins, 50)
	fmt.Println(ann.IsNew(), balance, err)
	_, err = ann.Spend(ctx, client.Coins, 1000)
	fmt.Println(errors.Is(err, client.ErrInsufficientFunds))
	// Output:
	// true 150 <nil>
	// true
}

// Several commands are one turn: all take effect, or none.
func ExamplePlayer_Do() {
	addr, stop := startNode()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Panic(err)
	}
	defer func() { _ = c.Close() }()
	ann, err := c.OpenPlayer(ctx, "1001", client.OpenOptions{Server: "s1"})
	if err != nil {
		log.Panic(err)
	}

	buy := func(price int64) error {
		_, refused := ann.Do(ctx, client.DoOptions{},
			&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Give{Give: &skerryv1.Give{ItemId: 7, Count: 1}}},
			&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Spend{Spend: &skerryv1.Spend{Currency: client.Coins, Amount: price}}},
		)
		return refused
	}
	fmt.Println(buy(60))
	if refused, ok := errors.AsType[*client.Error](buy(60)); ok {
		fmt.Println(refused.Code, refused.Field, refused.Outcome)
	}
	document, err := ann.Refresh(ctx)
	fmt.Println(document.GetProfile().GetCoins(), document.GetInventory().GetHotbar()[0].GetCount(), err)
	// Output:
	// <nil>
	// INSUFFICIENT_FUNDS commands[1].spend.amount NOT_APPLIED
	// 40 1 <nil>
}

// What comes often and matters little is answered from memory; a crash may lose about its last second.
func ExamplePlayer_AddExperience() {
	addr, stop := startNode()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Panic(err)
	}
	defer func() { _ = c.Close() }()
	ann, err := c.OpenPlayer(ctx, "1001", client.OpenOptions{Server: "s1"})
	if err != nil {
		log.Panic(err)
	}

	gained, err := ann.AddExperience(ctx, 250, client.Memory)
	fmt.Println(gained.GetLevel(), gained.GetLevelsGained(), err)
	// Output: 2 1 <nil>
}
