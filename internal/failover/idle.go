package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/skerry-dev/skerry/client"
)

const (
	// idleSettle is how long the cluster is left alone before it is measured: what follows a start is over then.
	idleSettle = 20 * time.Second
	// idleWindow is how long one round measures.
	idleWindow = 20 * time.Second
	// idleBound is the share of one core that three idle nodes may take together (N9).
	idleBound = 0.05
	// clockTicks is the unit of the kernel's account of a process's time, 1/s: the same on every Linux.
	clockTicks = 100
)

// idle leaves three nodes alone and measures, in each round, what share of one core they take together. It fails when the median is
// above the bound.
func (c *cluster) idle(ctx context.Context) error {
	for range 3 {
		if _, err := c.Add(ctx); err != nil {
			return err
		}
	}
	var err error
	if c.client, err = client.Dial(ctx, c.Addrs(), client.Options{}); err != nil {
		return err
	}
	err = errors.Join(c.settled(ctx, 3), c.client.Close()) // a client is not idle
	c.client = nil
	if err != nil {
		return err
	}
	if err = pause(ctx, idleSettle); err != nil {
		return err
	}
	var shares []float64
	for round := range c.rounds {
		before, err := c.spent()
		if err != nil {
			return err
		}
		began := time.Now()
		if err = pause(ctx, idleWindow); err != nil {
			return err
		}
		after, err := c.spent()
		if err != nil {
			return err
		}
		user, system := share(after.user-before.user, began), share(after.system-before.system, began)
		shares = append(shares, user+system)
		fmt.Printf("round %d: %.2f %% of one core, of which %.2f %% in the kernel\n", round+1, 100*(user+system), 100*system)
	}
	slices.Sort(shares)
	median := shares[len(shares)/2]
	fmt.Printf("three idle nodes: %.2f %% of one core (median of %d times %v; least %.2f %%, most %.2f %%)\n",
		100*median, len(shares), idleWindow, 100*shares[0], 100*shares[len(shares)-1])
	if median > idleBound {
		return fmt.Errorf("three idle nodes take %.2f %% of one core, more than %.0f %%", 100*median, 100*idleBound)
	}
	return nil
}

// share is what part of the time since began some clock ticks are.
func share(ticks int64, began time.Time) float64 {
	return float64(ticks) / clockTicks / time.Since(began).Seconds()
}

// spent is processor time, in clock ticks.
type spent struct{ user, system int64 }

// spent adds up what all nodes have used since they started.
func (c *cluster) spent() (sum spent, err error) {
	for _, node := range c.Nodes() {
		name := fmt.Sprintf("/proc/%d/stat", node.Pid())
		stat, err := os.ReadFile(name)
		if err != nil {
			return sum, fmt.Errorf("processor time of %s: %w", node.Name, err)
		}
		// The second field is the program's name in brackets; the 14th and 15th are the times.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 13 {
			return sum, fmt.Errorf("processor time of %s: %s has %d fields", node.Name, name, len(fields)+2)
		}
		user, errUser := strconv.ParseInt(string(fields[11]), 10, 64)
		system, errSystem := strconv.ParseInt(string(fields[12]), 10, 64)
		if err := errors.Join(errUser, errSystem); err != nil {
			return sum, fmt.Errorf("processor time of %s: %w", node.Name, err)
		}
		sum.user += user
		sum.system += system
	}
	return sum, nil
}
