package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/placement"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// The names of the meta partition's records are a prefix and a number of ten digits, so that they are in order.
const (
	nodeRecords   = "node/"
	placeRecords  = "place/"
	absentRecords = "absent/"
	ownerRecords  = "owners/"

	maxRecords = 1 << 16 // nodes that ever were, or partitions
)

func recordName(prefix string, n uint32) string { return fmt.Sprintf("%s%010d", prefix, n) }

// firstNode makes the cluster: it has every partition before any record says so.
const firstNode persistence.NodeID = 1

// known is what the records said at one moment. It is never changed.
type known struct {
	at      uint64 // applied index of the meta partition, when it began to be read
	nodes   map[persistence.NodeID]*storev1.Node
	absent  map[persistence.NodeID]time.Time
	targets []placement.Target // by partition; zero where no record says anything
	meta    placement.Target

	features map[persistence.NodeID]uint32 // as last seen; without a record 0
	level    uint32                        // of the cluster; without a record 0
	// generation is that of the nodes in the records.
	generation uint32
}

// target returns who is to have p.
func (k *known) target(p persistence.Partition) placement.Target {
	switch {
	case p == persistence.MetaPartition:
		return k.meta
	case int(p) < len(k.targets):
		return k.targets[p]
	default:
		return placement.Target{}
	}
}

// byName returns a node that was not removed.
func (k *known) byName(name string) *storev1.Node {
	for _, n := range k.nodes {
		if n.GetName() == name && !n.GetRemoved() {
			return n
		}
	}
	return nil
}

// name of a node, for humans.
func (k *known) name(id persistence.NodeID) string {
	if n := k.nodes[id]; n != nil {
		return n.GetName()
	}
	return fmt.Sprintf("node %d", id)
}

// read returns what the records say now, from memory while nothing was applied since it was read.
func (c *Cluster) read(ctx context.Context) (*known, error) {
	status := c.opts.Log.Status()
	at := status[len(status)-1].Applied
	if before := c.known.Load(); before != nil && before.at == at {
		return before, nil
	}
	k := &known{
		at: at, nodes: map[persistence.NodeID]*storev1.Node{}, absent: map[persistence.NodeID]time.Time{},
		features: map[persistence.NodeID]uint32{}, targets: make([]placement.Target, c.opts.Partitions),
	}
	for prefix, add := range map[string]func(uint32, []byte) error{
		nodeRecords: k.addNode, absentRecords: k.addAbsence, placeRecords: k.addPlace, featureRecords: k.addFeature,
	} {
		if err := c.each(ctx, prefix, add); err != nil {
			return nil, fmt.Errorf("read the cluster's records: %w", err)
		}
	}
	var err error
	if k.generation, err = c.readGeneration(ctx); err != nil {
		return nil, fmt.Errorf("read the cluster's records: %w", err)
	}
	if k.level, err = c.readLevel(ctx); err != nil {
		return nil, fmt.Errorf("read the cluster's records: %w", err)
	}
	c.known.Store(k)
	return k, nil
}

func (k *known) addNode(n uint32, value []byte) error {
	node := &storev1.Node{}
	if err := proto.Unmarshal(value, node); err != nil {
		return err
	}
	if node.GetId() != n {
		return fmt.Errorf("is of node %d", node.GetId())
	}
	k.nodes[persistence.NodeID(n)] = node
	return nil
}

func (k *known) addAbsence(n uint32, value []byte) error {
	absence := &storev1.Absence{}
	if err := proto.Unmarshal(value, absence); err != nil {
		return err
	}
	k.absent[persistence.NodeID(n)] = time.UnixMilli(absence.GetSinceMs())
	return nil
}

func (k *known) addPlace(n uint32, value []byte) error {
	place := &storev1.Placement{}
	if err := proto.Unmarshal(value, place); err != nil {
		return err
	}
	target := targetOf(place)
	switch {
	case n == uint32(persistence.MetaPartition):
		k.meta = target
	case int(n) < len(k.targets):
		k.targets[n] = target
	}
	return nil
}

// each calls visit for the records of a prefix.
func (c *Cluster) each(ctx context.Context, prefix string, visit func(n uint32, value []byte) error) error {
	records, err := c.opts.Records.Records(ctx, prefix, maxRecords)
	if err != nil {
		return err
	}
	for _, r := range records {
		n, err := strconv.ParseUint(strings.TrimPrefix(r.Name, prefix), 10, 32)
		if err == nil {
			err = visit(uint32(n), r.Value)
		}
		if err != nil {
			return fmt.Errorf("record %q: %w", r.Name, err)
		}
	}
	return nil
}

// put proposes a record, as the meta partition's owner.
func (c *Cluster) put(ctx context.Context, name string, value proto.Message) error {
	return c.putWith(ctx, c.opts.Records.Put, name, value)
}

// putter is how a record gets into the meta partition.
type putter func(ctx context.Context, name string, value []byte) error

func (c *Cluster) putWith(ctx context.Context, put putter, name string, value proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	var encoded []byte
	if value != nil {
		var err error
		encoded, err = proto.MarshalOptions{Deterministic: true}.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode record %q: %w", name, err)
		}
	}
	if err := put(ctx, name, encoded); err != nil {
		return fmt.Errorf("write record %q: %w", name, err)
	}
	return nil
}

// putNode writes a node's record and says so.
func (c *Cluster) putNode(ctx context.Context, put putter, n *storev1.Node, what string) error {
	if err := c.putWith(ctx, put, recordName(nodeRecords, n.GetId()), n); err != nil {
		return err
	}
	c.log.LogAttrs(ctx, slog.LevelInfo, "node "+what, slog.String("name", n.GetName()), slog.Uint64("id", uint64(n.GetId()))) //nolint:sloglint // one of a few words
	return nil
}

func targetOf(p *storev1.Placement) placement.Target {
	return placement.Target{Voters: ids(p.GetVoters()), Learners: ids(p.GetLearners()), Owner: persistence.NodeID(p.GetOwner())}
}

func placementOf(t placement.Target) *storev1.Placement {
	return &storev1.Placement{Voters: numbers(t.Voters), Learners: numbers(t.Learners), Owner: uint32(t.Owner)}
}

func ids(numbers []uint32) []persistence.NodeID {
	list := make([]persistence.NodeID, len(numbers))
	for i, n := range numbers {
		list[i] = persistence.NodeID(n)
	}
	return list
}

func numbers(ids []persistence.NodeID) []uint32 {
	list := make([]uint32, len(ids))
	for i, id := range ids {
		list[i] = uint32(id)
	}
	return list
}

func sameTarget(a, b placement.Target) bool {
	return a.Owner == b.Owner && slices.Equal(a.Voters, b.Voters) && slices.Equal(a.Learners, b.Learners)
}
