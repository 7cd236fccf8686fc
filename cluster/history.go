package cluster

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// maxHeard is how many claims may wait to be written into the history; of more the oldest are not in it.
	maxHeard = 4096
	// maxHistory is how many changes of a partition's owner are kept.
	maxHistory = 64
	// maxWhy is how many bytes of a reason are kept.
	maxWhy = 128
)

// note remembers a claim for the history. Every node hears of each; the one that owns the meta partition writes it.
func (c *Cluster) note(place *peerv1.Place) {
	c.keep(place)
	signal(c.plan)
}

// keep remembers claims without having them written at once.
func (c *Cluster) keep(places ...*peerv1.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, place := range places {
		if len(place.GetWhy()) > maxWhy { // no node of ours says so much
			place = &peerv1.Place{
				Partition: place.GetPartition(), Node: place.GetNode(), Generation: place.GetGeneration(), Term: place.GetTerm(), SinceMs: place.GetSinceMs(),
			}
		}
		c.mu.heard = append(c.mu.heard, place)
	}
	c.mu.heard = c.mu.heard[max(0, len(c.mu.heard)-maxHeard):]
}

// forgetHeard keeps the newest claims alone: whoever owns the meta partition writes them, and might not this moment.
func (c *Cluster) forgetHeard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if keep := 2 * (c.opts.Partitions + 1); len(c.mu.heard) > keep {
		c.mu.heard = slices.Clone(c.mu.heard[len(c.mu.heard)-keep:])
	}
}

// writeHistory writes what was heard.
func (c *Cluster) writeHistory(ctx context.Context) error {
	c.mu.Lock()
	heard := c.mu.heard
	c.mu.heard = nil
	c.mu.Unlock()
	byPartition := map[uint32][]*peerv1.Place{}
	for _, place := range heard {
		byPartition[place.GetPartition()] = append(byPartition[place.GetPartition()], place)
	}
	for p, places := range byPartition {
		before, err := c.History(ctx, persistence.Partition(p)) //nolint:gosec // checked by learn
		if err != nil {
			c.keep(heard...)
			return err
		}
		after := addHistory(before, places)
		if len(after) == len(before) && slices.EqualFunc(before, after, func(a, b *storev1.Ownership) bool { return proto.Equal(a, b) }) {
			continue
		}
		if err := c.put(ctx, recordName(ownerRecords, p), &storev1.Ownerships{Changes: after}); err != nil {
			c.keep(heard...) // for the next look
			return err
		}
	}
	return nil
}

// addHistory adds claims in the order of their epochs; one that is known is not added again.
func addHistory(changes []*storev1.Ownership, places []*peerv1.Place) []*storev1.Ownership {
	changes = slices.Clone(changes)
	for _, place := range places {
		o := &storev1.Ownership{
			Node: place.GetNode(), Generation: place.GetGeneration(), Term: place.GetTerm(), SinceMs: place.GetSinceMs(), Why: place.GetWhy(),
		}
		at, found := slices.BinarySearchFunc(changes, o, func(a, b *storev1.Ownership) int { return epochOf(a).Compare(epochOf(b)) })
		if !found {
			changes = slices.Insert(changes, at, o)
		}
	}
	return changes[max(0, len(changes)-maxHistory):]
}

func epochOf(o *storev1.Ownership) persistence.Epoch {
	return persistence.Epoch{Generation: o.GetGeneration(), Term: o.GetTerm()}
}

// History returns the newest changes of a partition's owner, oldest first, as far as this node has heard. Claims of the last
// moments may be missing.
func (c *Cluster) History(ctx context.Context, p persistence.Partition) ([]*storev1.Ownership, error) {
	name := recordName(ownerRecords, uint32(p))
	records, err := c.opts.Records.Records(ctx, name, 1)
	if err != nil {
		return nil, fmt.Errorf("read the history of partition %d: %w", p, err)
	}
	stored := &storev1.Ownerships{}
	if len(records) > 0 && records[0].Name == name {
		if err := proto.Unmarshal(records[0].Value, stored); err != nil {
			return nil, fmt.Errorf("record %q: %w", name, err)
		}
	}
	var heard []*peerv1.Place
	c.mu.Lock()
	for _, place := range c.mu.heard {
		if place.GetPartition() == uint32(p) {
			heard = append(heard, place)
		}
	}
	c.mu.Unlock()
	return addHistory(stored.GetChanges(), heard), nil
}
