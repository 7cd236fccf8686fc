package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// The operator's calls for the cluster.

// ErrNotPossible is what an [Admin] wraps when the cluster as it is cannot do what the operator asks for; its text says
// why, and what would help.
var ErrNotPossible = errors.New("not possible")

// GetCluster says who is there and who owns what.
func (s *service) GetCluster(ctx context.Context, _ *skerryv1.GetClusterRequest) (*skerryv1.GetClusterResponse, error) {
	var out *skerryv1.GetClusterResponse
	err := s.run(ctx, callGetCluster, func(ctx context.Context, _ *caller) (err error) {
		out, err = s.opts.Admin.Cluster(ctx)
		return err
	})
	return out, err
}

// DrainNode has a node hand over what it owns, and own nothing more, or lets it own again.
func (s *service) DrainNode(ctx context.Context, in *skerryv1.DrainNodeRequest) (*skerryv1.DrainNodeResponse, error) {
	return &skerryv1.DrainNodeResponse{}, s.operate(ctx, callDrainNode, func(ctx context.Context, _ *caller) error {
		if err := checkNode("node", in.GetNode()); err != nil {
			return err
		}
		return absentNode("node", s.opts.Admin.Drain(ctx, in.GetNode(), in.GetUndo()))
	})
}

// RemoveNode shuts a node out of the cluster for ever.
func (s *service) RemoveNode(ctx context.Context, in *skerryv1.RemoveNodeRequest) (*skerryv1.RemoveNodeResponse, error) {
	return &skerryv1.RemoveNodeResponse{}, s.operate(ctx, callRemoveNode, func(ctx context.Context, _ *caller) error {
		if err := checkNode("node", in.GetNode()); err != nil {
			return err
		}
		return absentNode("node", s.opts.Admin.Remove(ctx, in.GetNode(), in.GetForce()))
	})
}

// HandOverPartition makes another node the owner of a partition.
func (s *service) HandOverPartition(ctx context.Context, in *skerryv1.HandOverPartitionRequest) (*skerryv1.HandOverPartitionResponse, error) {
	return &skerryv1.HandOverPartitionResponse{}, s.operate(ctx, callHandOverPartition, func(ctx context.Context, _ *caller) error {
		p, err := s.checkPartition(in.GetPartition())
		if err != nil {
			return err
		}
		if err := checkNode("to", in.GetTo()); err != nil {
			return err
		}
		return absentNode("to", s.opts.Admin.HandOver(ctx, p, in.GetTo()))
	})
}

// GetOwnership says who owned a partition, or what an entity is in, and why it moved.
func (s *service) GetOwnership(ctx context.Context, in *skerryv1.GetOwnershipRequest) (*skerryv1.GetOwnershipResponse, error) {
	out := &skerryv1.GetOwnershipResponse{}
	return out, s.operate(ctx, callGetOwnership, func(ctx context.Context, c *caller) error {
		p, err := s.partitionAsked(c, in)
		if err != nil {
			return err
		}
		if at := in.GetAt(); at != nil && at.CheckValid() != nil {
			return refuse(errBadRequest, "at", "is no time")
		}
		owners, err := s.opts.Admin.Owners(ctx, p)
		if err != nil {
			return err
		}
		out.Partition, out.Owners = int32(p), owners
		if at := in.GetAt(); at != nil {
			out.Owners = ownerAt(owners, at.AsTime())
		}
		return nil
	})
}

// operate is run for a call that waits for the cluster, bounded.
func (s *service) operate(ctx context.Context, which call, do func(context.Context, *caller) error) error {
	return s.run(ctx, which, func(ctx context.Context, c *caller) error {
		ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
		defer cancel()
		return do(ctx, c)
	})
}

// partitionAsked is the partition that a request for ownerships names, or that has the entity which it names.
func (s *service) partitionAsked(c *caller, in *skerryv1.GetOwnershipRequest) (persistence.Partition, error) {
	key, field := persistence.Key{Space: c.space}, ""
	switch of := in.GetOf().(type) {
	case *skerryv1.GetOwnershipRequest_Partition:
		return s.checkPartition(of.Partition)
	case *skerryv1.GetOwnershipRequest_Player:
		key.Kind, key.ID, field = persistence.KindPlayer, of.Player, "player"
	case *skerryv1.GetOwnershipRequest_World:
		key.Kind, key.ID, field = persistence.KindWorld, of.World, "world"
	case *skerryv1.GetOwnershipRequest_Server:
		key.Kind, key.ID, field = persistence.KindServer, of.Server, "server"
	default:
		return 0, refuse(errBadRequest, "", "one of player, world, server and partition is needed")
	}
	if err := key.Validate(); err != nil {
		return 0, refuse(errBadRequest, field, err.Error())
	}
	return persistence.PartitionOf(key, s.opts.Admin.Partitions()), nil
}

// checkPartition refuses a number that no partition has.
func (s *service) checkPartition(number int32) (persistence.Partition, error) {
	if count := s.opts.Admin.Partitions(); number < 0 || int(number) >= count {
		return 0, refuse(errBadRequest, "partition", fmt.Sprintf("is %d, not 0 to %d", number, count-1))
	}
	return persistence.Partition(number), nil //nolint:gosec // checked above
}

// checkNode refuses what no node is named.
func checkNode(field, name string) error {
	if (persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindServer, ID: name}).Validate() != nil {
		return refuse(errBadRequest, field, fmt.Sprintf("%.80q is no node's name", name))
	}
	return nil
}

// absentNode names the field when err says that there is no such node.
func absentNode(field string, err error) error {
	if errors.Is(err, persistence.ErrAbsent) {
		return refuse(errNotFound, field, "no node of this cluster has this name")
	}
	return err
}

// ownerAt cuts the one of owners that was it at a moment; none when that is before all that is remembered.
func ownerAt(owners []*skerryv1.OwnershipChange, at time.Time) []*skerryv1.OwnershipChange {
	for i, owner := range slices.Backward(owners) {
		if !owner.GetSince().AsTime().After(at) {
			return owners[i : i+1]
		}
	}
	return nil
}
