package peers

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Callers has inflight goroutines ask, each for its answer before it asks again, until the duration has passed: how a game
// server's handlers use a client. caller makes what one of them calls; it is called by each, with a number of its own.
func Callers(
	ctx context.Context, inflight int, duration time.Duration, caller func(number int) func(context.Context) error,
) (Window, error) {
	ctx, cancel := context.WithTimeout(ctx, duration+30*time.Second)
	defer cancel()
	took, errs := make([][]int64, inflight), make([]error, inflight)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range inflight {
		all.Go(func() {
			ask := caller(i)
			for from := begin; ; {
				if errs[i] = ask(ctx); errs[i] != nil {
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(from).Microseconds())
				if now.Sub(begin) > duration {
					return
				}
				from = now
			}
		})
	}
	all.Wait()
	sum := Window{Elapsed: time.Since(begin), Latency: newHistogram()}
	for i := range took {
		if errs[i] != nil {
			return Window{}, fmt.Errorf("caller %d: %w", i, errs[i])
		}
		sum.Operations += int64(len(took[i]))
		for _, t := range took[i] {
			_ = sum.Latency.RecordValue(max(1, t)) // a minute is the most it records
		}
	}
	return sum, ctx.Err()
}

// alike is Callers' argument when they all do the same.
func alike(ask func(context.Context) error) func(int) func(context.Context) error {
	return func(int) func(context.Context) error { return ask }
}
