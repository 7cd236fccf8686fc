package nodeprocess

import (
	"context"
	"fmt"
	"sync"

	"github.com/skerry-dev/skerry/node"
)

// Run opens a node and runs it until ctx ends and it has shut down, with the collector tuned to it. fault is what [Faults] and
// [ActorFaults] break.
func Run(ctx context.Context, config node.Config, options node.Options, fault string) error {
	options.Faults, options.ActorFaults = Faults(fault), ActorFaults(fault)
	n, err := node.Open(ctx, config, options)
	if err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	var collector sync.WaitGroup
	defer collector.Wait()
	tuning, cancel := context.WithCancel(ctx)
	defer cancel()
	collector.Go(func() { TuneCollector(tuning, int64(config.GCGarbage)) })
	if err := n.Run(ctx); err != nil {
		return fmt.Errorf("run the node: %w", err)
	}
	return nil
}
