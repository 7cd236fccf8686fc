package replication

import (
	"context"
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: who asks for a copy and goes away does not make the source keep entries for ever, also while many hints wait.
func TestHoldEndsWithoutItsAsker(t *testing.T) {
	for name, flood := range map[string]bool{"gave up before it began": false, "the hints were full": true} {
		t.Run(name, func(t *testing.T) {
			w := newVoters(t)
			p := persistence.Partition(0)
			v := w.owner(p)
			ctx, cancel := context.WithCancel(t.Context())
			if flood {
				served := make(chan error, 1)
				sent := make(chan struct{})
				go func() {
					served <- v.step.Host().Serve(ctx, copyRequest(p, 1), func([]byte) error {
						for v.step.Host().hints.add(hint{suspected: 99}) == nil { // until there is no room
						}
						close(sent)
						return nil
					})
				}()
				for done := false; !done; {
					_, err := v.step.Begin()
					w.must(err)
					w.must(v.step.Finish())
					select {
					case <-sent:
						done = true
					default:
					}
				}
				w.must(<-served)
				cancel()
			} else {
				cancel()
				if err := v.step.Host().Serve(ctx, copyRequest(p, 1), nil); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			w.run(2*heldTicks + 5)
			if held := v.step.h.core.groups[p].tail.held; held != 0 {
				t.Fatalf("entries are held from index %d on", held)
			}
		})
	}
}
