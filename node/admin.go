package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/cluster"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
)

// admin does what addresses no single entity: it is gateway's Admin. Safe for many goroutines.
type admin struct{ node *Node }

// partitions calls visit for each partition, in order, until an error.
func (a *admin) partitions(visit func(persistence.Partition) error) error {
	for p := range a.node.store.Partitions() {
		if err := visit(persistence.Partition(p)); err != nil { //nolint:gosec // at most 4096
			return err
		}
	}
	return nil
}

// cursor walks the ids of one partition.
type cursor struct {
	partition persistence.Partition
	ids       []string
	after     string
	done      bool
}

// ListPlayers lists the players of every partition.
func (a *admin) ListPlayers(ctx context.Context, space, after string, limit int) ([]string, error) {
	return a.list(ctx, space, persistence.KindPlayer, after, limit)
}

// ListWorlds lists the worlds of every partition, of one owner or all.
func (a *admin) ListWorlds(ctx context.Context, space, owner, after string, limit int) ([]string, error) {
	if owner == "" {
		return a.list(ctx, space, persistence.KindWorld, after, limit)
	}
	var worlds []string
	if after < owner {
		first, err := a.list(ctx, space, persistence.KindWorld, before(owner), 1)
		if err != nil {
			return nil, err
		}
		if len(first) == 1 && first[0] == owner && limit > 0 {
			worlds = first
		}
	}
	prefix := owner + "~"
	more, err := a.list(ctx, space, persistence.KindWorld, max(after, prefix), limit-len(worlds))
	if end := slices.IndexFunc(more, func(id string) bool { return !strings.HasPrefix(id, prefix) }); end >= 0 {
		more = more[:end]
	}
	return append(worlds, more...), err
}

// before is less than id, and not less than any id that is: no id has a byte as great as those that it ends with.
func before(id string) string {
	last := len(id) - 1
	return id[:last] + string(rune(id[last]-1)) + strings.Repeat("\x7f", 128)
}

// list merges the partitions' lists, which are in order each.
func (a *admin) list(ctx context.Context, space string, kind persistence.Kind, after string, limit int) ([]string, error) {
	page := max(16, 2*limit/a.node.store.Partitions())
	fill := func(c *cursor) error {
		for len(c.ids) == 0 && !c.done {
			ids, err := a.entities(ctx, c.partition, space, kind, c.after, page)
			if err != nil {
				return err
			}
			if c.ids, c.done = ids, len(ids) < page; len(ids) > 0 {
				c.after = ids[len(ids)-1]
			}
		}
		return nil
	}
	var cursors []*cursor
	err := a.partitions(func(p persistence.Partition) error {
		c := &cursor{partition: p, after: after}
		cursors = append(cursors, c)
		return fill(c)
	})
	var ids []string
	for err == nil && len(ids) < limit {
		cursors = slices.DeleteFunc(cursors, func(c *cursor) bool { return len(c.ids) == 0 })
		if len(cursors) == 0 {
			break
		}
		least := slices.MinFunc(cursors, func(x, y *cursor) int {
			if x.ids[0] < y.ids[0] {
				return -1
			}
			return 1
		})
		ids = append(ids, least.ids[0])
		least.ids = least.ids[1:]
		err = fill(least)
	}
	return ids, err
}

// entities lists ids as the partition's owner has them.
func (a *admin) entities(
	ctx context.Context, p persistence.Partition, space string, kind persistence.Kind, after string, limit int,
) ([]string, error) {
	answer, err := a.node.list(ctx, p, &peerv1.Ask{Ask: &peerv1.Ask_Entities{Entities: &peerv1.Entities{
		Space: space, Kind: uint32(kind), After: after, Limit: uint32(limit), //nolint:gosec // positive
	}}})
	if err != nil {
		return nil, fmt.Errorf("list the %ss of %s in partition %d: %w", kind, space, p, err)
	}
	return answer.GetNames(), nil
}

// countPage is how many ids are read at a time where all are.
const countPage = 1000

// each calls visit for every entity of a kind in a space, partition by partition.
func (a *admin) each(ctx context.Context, space string, kind persistence.Kind, visit func(persistence.Partition, string) error) error {
	return a.partitions(func(p persistence.Partition) error {
		for after := ""; ; {
			ids, err := a.entities(ctx, p, space, kind, after, countPage)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := visit(p, id); err != nil {
					return err
				}
				after = id
			}
			if len(ids) < countPage {
				return nil
			}
		}
	})
}

func (a *admin) count(ctx context.Context, space string, kind persistence.Kind) (n int64, err error) {
	err = a.each(ctx, space, kind, func(persistence.Partition, string) error { n++; return nil })
	return n, err
}

// Spaces counts what each space has.
func (a *admin) Spaces(ctx context.Context) ([]*skerryv1.Space, error) {
	var names []string
	err := a.partitions(func(p persistence.Partition) error {
		answer, err := a.node.list(ctx, p, &peerv1.Ask{Ask: &peerv1.Ask_Spaces{Spaces: &peerv1.Spaces{}}})
		if err != nil {
			return fmt.Errorf("list the spaces of partition %d: %w", p, err)
		}
		names = append(names, answer.GetNames()...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var spaces []*skerryv1.Space
	for _, name := range slices.Compact(names) {
		players, err := a.count(ctx, name, persistence.KindPlayer)
		if err != nil {
			return nil, err
		}
		worlds, err := a.count(ctx, name, persistence.KindWorld)
		if err != nil {
			return nil, err
		}
		spaces = append(spaces, &skerryv1.Space{Name: name, Players: players, Worlds: worlds})
	}
	return spaces, nil
}

// PutRecord stores a record of the meta partition.
func (a *admin) PutRecord(ctx context.Context, name string, value []byte) error {
	return a.node.proposeAt(ctx, persistence.MetaPartition, &persistence.Change{Record: &persistence.Record{Name: name, Value: value}})
}

// Records reads records of the meta partition.
func (a *admin) Records(ctx context.Context, prefix string, limit int) ([]persistence.Record, error) {
	records, err := a.node.store.Records(ctx, prefix, limit)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	return records, nil
}

// Partitions is how many the store was made with.
func (a *admin) Partitions() int { return a.node.store.Partitions() }

// Drain has a node own nothing, or again what it should.
func (a *admin) Drain(ctx context.Context, node string, undo bool) error {
	_, err := a.node.operate(ctx, &peerv1.Operate{Drain: node, Undo: undo})
	return err
}

// Remove has a node have nothing, then ends its id.
func (a *admin) Remove(ctx context.Context, node string, force bool) error {
	_, err := a.node.operate(ctx, &peerv1.Operate{Remove: node, Force: force})
	return err
}

// asPossible says of the cluster's refusals what the front door knows.
func asPossible(err error) error {
	switch {
	case errors.Is(err, cluster.ErrUnknownNode):
		return fmt.Errorf("%w: %w", persistence.ErrAbsent, err)
	case errors.Is(err, cluster.ErrLastNode), errors.Is(err, cluster.ErrNotVoter), errors.Is(err, cluster.ErrStillThere),
		errors.Is(err, cluster.ErrNotSeen):
		return fmt.Errorf("%w: %w", gateway.ErrNotPossible, err)
	default:
		return err
	}
}

// HandOver makes a node the owner of p, and waits until it is.
func (a *admin) HandOver(ctx context.Context, p persistence.Partition, to string) error {
	id, err := a.node.operate(ctx, &peerv1.Operate{HandTo: to, HandPartition: uint32(p)})
	if err != nil {
		return err
	}
	for {
		changed := a.node.table.Changed()
		if owner, ok := a.node.table.Owner(p); ok && owner.Node == id {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("hand partition %d over to %s: it is written down and goes on: %w", p, to, ctx.Err())
		}
	}
}

// Owners returns the newest changes of p's owner.
func (a *admin) Owners(ctx context.Context, p persistence.Partition) ([]*skerryv1.OwnershipChange, error) {
	changes, err := a.node.cluster.History(ctx, p)
	if err != nil {
		return nil, err
	}
	list := make([]*skerryv1.OwnershipChange, len(changes))
	for i, c := range changes {
		list[i] = &skerryv1.OwnershipChange{
			Node: a.node.cluster.NameOf(persistence.NodeID(c.GetNode())), Epoch: persistence.Epoch{Generation: c.GetGeneration(), Term: c.GetTerm()}.String(),
			Since: timestamppb.New(time.UnixMilli(c.GetSinceMs())), Why: c.GetWhy(),
		}
	}
	return list, nil
}

// Cluster says who is there and who owns what, as this node knows it.
func (a *admin) Cluster(ctx context.Context) (*skerryv1.GetClusterResponse, error) {
	view, err := a.node.cluster.View(ctx)
	if err != nil {
		return nil, err
	}
	out := &skerryv1.GetClusterResponse{FeatureLevel: view.FeatureLevel}
	names := map[persistence.NodeID]string{}
	for _, n := range view.Nodes {
		names[n.ID] = n.Name
		out.Nodes = append(out.Nodes, &skerryv1.ClusterNode{
			Name: n.Name, State: n.State, Grpc: n.Member.GRPC, Http: n.Member.HTTP, Version: n.Member.Version, Owned: int32(n.Owned), //nolint:gosec // at most 4096
			Id: uint32(n.ID), Peer: n.Member.Peer, Gossip: n.Member.Gossip, Feature: n.Feature,
		})
	}
	a.countActive(ctx, out.GetNodes())
	for p := range a.node.store.Partitions() {
		partition := persistence.Partition(p)                                                   //nolint:gosec // at most 4096
		line := &skerryv1.ClusterPartition{Partition: int32(p), Moving: view.Moving[partition]} //nolint:gosec // as above
		if owner, ok := a.node.table.Owner(partition); ok {
			line.Owner, line.Epoch = names[owner.Node], owner.Epoch.String()
		}
		line.Replicas, line.Learners = view.Has(partition)
		out.Partitions = append(out.Partitions, line)
	}
	return out, nil
}

// countActive asks every node how many entities are live on it, for a moment; who does not answer shows none.
func (a *admin) countActive(ctx context.Context, nodes []*skerryv1.ClusterNode) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	var asking sync.WaitGroup
	for _, n := range nodes {
		if persistence.NodeID(n.GetId()) == a.node.id() {
			n.Active = a.node.actors.Stats().Activations
			continue
		}
		if n.GetPeer() == "" {
			continue
		}
		asking.Go(func() {
			answer, err := a.node.router.AskNode(ctx, persistence.NodeID(n.GetId()), &peerv1.Ask{Ask: &peerv1.Ask_Own{Own: &peerv1.Own{}}})
			if err == nil {
				n.Active = answer.GetOwn().GetActivations()
			}
		})
	}
	asking.Wait()
}

// countTimeout bounds countActive.
const countTimeout = 500 * time.Millisecond
