package node

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
)

// admin does what addresses no single entity: it is gateway's Admin. Safe for many goroutines.
type admin struct {
	node    *Node
	started time.Time
}

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
			ids, err := a.node.store.Entities(ctx, c.partition, space, kind, c.after, page)
			if err != nil {
				return fmt.Errorf("list %ss of partition %d: %w", kind, c.partition, err)
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

// countPage is how many ids are read at a time where all are.
const countPage = 1000

// each calls visit for every entity of a kind in a space, partition by partition.
func (a *admin) each(ctx context.Context, space string, kind persistence.Kind, visit func(persistence.Partition, string) error) error {
	return a.partitions(func(p persistence.Partition) error {
		for after := ""; ; {
			ids, err := a.node.store.Entities(ctx, p, space, kind, after, countPage)
			if err != nil {
				return fmt.Errorf("list the %ss of %s in partition %d: %w", kind, space, p, err)
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
		some, err := a.node.store.Spaces(ctx, p)
		if err != nil {
			return fmt.Errorf("list the spaces of partition %d: %w", p, err)
		}
		names = append(names, some...)
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

// propose hands a change of partition p to the log and waits for it, or for ctx; then the change may yet be applied.
func (a *admin) propose(ctx context.Context, p persistence.Partition, change *persistence.Change) error {
	epoch, err := a.node.owners.epoch(p)
	if err != nil {
		return err
	}
	change.Epoch = epoch
	done := make(chan error, 1)
	if err := a.node.journal.Propose(p, change, func(err error) { done <- err }); err != nil {
		return fmt.Errorf("propose: %w", err)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", persistence.ErrOutcomeUnknown, ctx.Err())
	}
}

// PutRecord stores a record of the meta partition.
func (a *admin) PutRecord(ctx context.Context, name string, value []byte) error {
	return a.propose(ctx, persistence.MetaPartition, &persistence.Change{Record: &persistence.Record{Name: name, Value: value}})
}

// Records reads records of the meta partition.
func (a *admin) Records(ctx context.Context, prefix string, limit int) ([]persistence.Record, error) {
	records, err := a.node.store.Records(ctx, prefix, limit)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	return records, nil
}

// errAlone says that what the operator asks for needs another node.
func errAlone(what string) error {
	return fmt.Errorf("%w: this cluster has one node: nobody else could own %s", gateway.ErrNotPossible, what)
}

// Partitions is how many the store was made with.
func (a *admin) Partitions() int { return a.node.store.Partitions() }

// known returns nil when a node has this name.
func (a *admin) known(node string) error {
	if node != a.node.config.Name {
		return fmt.Errorf("node %s: %w", node, persistence.ErrAbsent)
	}
	return nil
}

// Drain refuses: this node is the only one.
func (a *admin) Drain(_ context.Context, node string) error {
	return cmp.Or(a.known(node), errAlone("what it owns"))
}

// Remove refuses: this node is the only one.
func (a *admin) Remove(_ context.Context, node string, _ bool) error {
	return cmp.Or(a.known(node), errAlone("what it owns"))
}

// HandOver refuses, unless there is nothing to do: this node is the only one.
func (a *admin) HandOver(_ context.Context, _ persistence.Partition, to string) error {
	return a.known(to)
}

// Owners says that this node, the only one, owns p since it started.
func (a *admin) Owners(_ context.Context, p persistence.Partition) ([]*skerryv1.OwnershipChange, error) {
	for _, s := range a.node.journal.Status() {
		if s.Partition == p && s.Owner {
			return []*skerryv1.OwnershipChange{{
				Node: a.node.config.Name, Epoch: s.Epoch.String(), Since: timestamppb.New(a.started), Why: "started",
			}}, nil
		}
	}
	return nil, nil
}

// Cluster says what this node, the only one, owns.
func (a *admin) Cluster(context.Context) (*skerryv1.GetClusterResponse, error) {
	ready := a.node.Ready()
	self := &skerryv1.ClusterNode{
		Name: ready.Name, State: "alive", Grpc: ready.GRPC, Http: ready.HTTP,
		Version: a.node.opts.Version + " " + runtime.Version(), Active: a.node.actors.Stats().Activations,
	}
	cluster := &skerryv1.GetClusterResponse{Nodes: []*skerryv1.ClusterNode{self}}
	for _, s := range a.node.journal.Status() {
		if s.Partition == persistence.MetaPartition {
			continue
		}
		partition := &skerryv1.ClusterPartition{Partition: int32(s.Partition), Epoch: s.Epoch.String(), Replicas: []string{ready.Name}}
		if s.Owner {
			partition.Owner = ready.Name
			self.Owned++
		}
		cluster.Partitions = append(cluster.Partitions, partition)
	}
	return cluster, nil
}
