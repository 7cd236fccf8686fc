package client_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// BenchmarkAsync is one command of 512 in flight, with a node that does nothing, in the same process.
func BenchmarkAsync(b *testing.B) {
	c := dial(b, startFake(b, echo), client.Options{})
	const inFlight, players = 512, 64
	var open [players]*client.Player
	for i := range open {
		open[i] = openPlayer(b, c, fmt.Sprint(i))
	}
	b.ReportAllocs()
	slots := make(chan struct{}, inFlight)
	var answers sync.WaitGroup
	done := func(_ *client.Result, err error) {
		if err != nil {
			b.Error(err)
		}
		<-slots
		answers.Done()
	}
	for i := 0; b.Loop(); i++ {
		slots <- struct{}{}
		answers.Add(1)
		if err := open[i%players].DoAsync(client.DoOptions{}, done, earn(1)); err != nil {
			b.Fatal(err)
		}
	}
	answers.Wait()
}

// BenchmarkDo is the same with a waiting goroutine for each of 512 callers.
func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 512} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			c := dial(b, startFake(b, echo), client.Options{})
			work := make(chan struct{}, callers)
			var running sync.WaitGroup
			for i := range callers {
				p := openPlayer(b, c, fmt.Sprint(i))
				running.Go(func() {
					for range work {
						if _, err := p.Earn(b.Context(), client.Coins, 1); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			running.Wait()
		})
	}
}

// BenchmarkBareStream is 512 requests in one message and back, without the client: what the wire itself costs.
func BenchmarkBareStream(b *testing.B) {
	c := dial(b, startFake(b, echo), client.Options{})
	stream, err := c.Service().Stream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n < 512 {
			continue
		}
		n = 0
		batch := &skerryv1.BatchRequest{}
		for range 512 {
			batch.Requests = append(batch.Requests, &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{
				ExecutePlayer: &skerryv1.ExecutePlayerRequest{
					Player: "1001", Session: "token-1001", CommandId: 1, Commands: []*skerryv1.PlayerCommand{earn(1)},
				},
			}})
		}
		if err := stream.Send(batch); err != nil {
			b.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			b.Fatal(err)
		}
	}
	_ = stream.CloseSend()
}
