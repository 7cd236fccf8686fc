package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
)

// errBadAsk: another node asked for what this build does not know.
var errBadAsk = errors.New("a question that this build does not know")

// answer answers a node that asks the owner of a partition, or this node itself.
func (n *Node) answer(ctx context.Context, _ persistence.NodeID, ask *peerv1.Ask) *peerv1.Answer {
	answer, err := n.answerOr(ctx, ask)
	if err != nil {
		return actors.FailureOf(err, gateway.Describe)
	}
	return answer
}

func (n *Node) answerOr(ctx context.Context, ask *peerv1.Ask) (*peerv1.Answer, error) {
	p := persistence.Partition(ask.GetPartition()) //nolint:gosec // checked next
	if ask.GetPartition() > uint32(persistence.MetaPartition) {
		return nil, fmt.Errorf("partition %d: %w", ask.GetPartition(), errBadAsk)
	}
	switch a := ask.GetAsk().(type) {
	case *peerv1.Ask_Own:
		return n.answerOwn(), nil
	case *peerv1.Ask_Change:
		return &peerv1.Answer{}, n.answerChange(ctx, p, a.Change)
	case *peerv1.Ask_Notes:
		if !n.owners.owns(p) {
			return nil, persistence.ErrNotOwner
		}
		n.actors.Hear(a.Notes.GetNotes()) //nolint:contextcheck // it does not wait
		return &peerv1.Answer{}, nil
	case *peerv1.Ask_Lease:
		server := persistence.Key{Space: a.Lease.GetSpace(), Kind: persistence.KindServer, ID: a.Lease.GetServer()}
		lease, err := n.actors.Lease(ctx, server, a.Lease)
		return &peerv1.Answer{Lease: lease}, err
	case *peerv1.Ask_Operate:
		return n.answerOperate(ctx, a.Operate)
	case *peerv1.Ask_Marks, *peerv1.Ask_Entities, *peerv1.Ask_Spaces, *peerv1.Ask_Copy:
		return n.answerList(ctx, p, ask)
	default:
		return nil, errBadAsk
	}
}

// answerOperate does what an operator wants, as the meta partition's owner.
func (n *Node) answerOperate(ctx context.Context, o *peerv1.Operate) (*peerv1.Answer, error) {
	if err := n.barrier(ctx, persistence.MetaPartition); err != nil {
		return nil, err
	}
	var err error
	var id persistence.NodeID
	switch {
	case o.GetDrain() != "":
		err = n.cluster.DrainNode(ctx, o.GetDrain(), !o.GetUndo())
	case o.GetRemove() != "":
		err = n.cluster.RemoveNode(ctx, o.GetRemove(), o.GetForce())
	case o.GetHandTo() != "" && o.GetHandPartition() <= uint32(persistence.MetaPartition):
		id, err = n.cluster.HandOver(ctx, persistence.Partition(o.GetHandPartition()), o.GetHandTo()) //nolint:gosec // just checked
	default:
		err = errBadAsk
	}
	return &peerv1.Answer{Node: uint32(id)}, asPossible(err)
}

// operate has the meta partition's owner do what an operator wants.
func (n *Node) operate(ctx context.Context, o *peerv1.Operate) (persistence.NodeID, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := n.router.Ask(ctx, persistence.MetaPartition, &peerv1.Ask{Ask: &peerv1.Ask_Operate{Operate: o}})
	return persistence.NodeID(answer.GetNode()), err
}

// answerOwn says what this node has.
func (n *Node) answerOwn() *peerv1.Answer {
	own := &peerv1.OwnAnswer{Activations: n.actors.Stats().Activations}
	for _, s := range n.journal.Status() {
		for _, r := range s.Replicas {
			if r.Node == n.id() {
				own.Replicas++
			}
		}
	}
	return &peerv1.Answer{Own: own}
}

// answerChange proposes what another node wants changed in a partition that this one owns.
func (n *Node) answerChange(ctx context.Context, p persistence.Partition, encoded []byte) error {
	proposal, err := persistence.DecodeProposal(encoded)
	if err != nil {
		return err
	}
	if len(proposal.Changes) != 1 {
		return fmt.Errorf("%d changes: %w", len(proposal.Changes), errBadAsk)
	}
	return n.propose(ctx, p, proposal.Changes[0])
}

// answerList reads what this node holds of a partition, after it was seen to own it.
func (n *Node) answerList(ctx context.Context, p persistence.Partition, ask *peerv1.Ask) (*peerv1.Answer, error) {
	if err := n.barrier(ctx, p); err != nil {
		return nil, err
	}
	answer := &peerv1.Answer{}
	var err error
	switch a := ask.GetAsk().(type) {
	case *peerv1.Ask_Marks:
		m := a.Marks
		after := persistence.Key{Space: m.GetSpace(), Kind: persistence.Kind(m.GetAfterKind()), ID: m.GetAfter()} //nolint:gosec // a kind that is none finds nothing
		if after.ID == "" {
			after = persistence.Key{}
		}
		marks, marksErr := n.store.Marks(ctx, p, m.GetSpace(), m.GetName(), after, listLimit(m.GetLimit()))
		for _, mark := range marks {
			answer.Marks = append(answer.Marks, &peerv1.Mark{Kind: uint32(mark.Key.Kind), Entity: mark.Key.ID, Value: mark.Value})
		}
		err = marksErr
	case *peerv1.Ask_Entities:
		e := a.Entities
		answer.Names, err = n.store.Entities(ctx, p, e.GetSpace(), persistence.Kind(e.GetKind()), e.GetAfter(), listLimit(e.GetLimit())) //nolint:gosec // as above
	case *peerv1.Ask_Spaces:
		answer.Names, err = n.store.Spaces(ctx, p)
	case *peerv1.Ask_Copy:
		answer.Names, err = (&admin{n}).copyPlayers(ctx, p, a.Copy)
	}
	if err != nil {
		return nil, fmt.Errorf("list partition %d: %w", p, err)
	}
	return answer, nil
}

// maxListed is how many lines one answer has at most.
const maxListed = 10_000

func listLimit(asked uint32) int { return int(min(asked, maxListed)) }

// barrier waits until this node was seen to own p, after the call.
func (n *Node) barrier(ctx context.Context, p persistence.Partition) error {
	epoch, err := n.owners.epoch(p)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	if err := n.journal.Barrier(p, epoch, func(err error) { done <- err }); err != nil {
		return fmt.Errorf("confirm the ownership of partition %d: %w", p, err)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("confirm the ownership of partition %d: %w", p, context.Cause(ctx))
	}
}

// propose hands a change of a partition that this node owns to the log and waits for it, or for ctx; then the change may yet
// be applied.
func (n *Node) propose(ctx context.Context, p persistence.Partition, change *persistence.Change) error {
	epoch, err := n.owners.epoch(p)
	if err != nil {
		return err
	}
	change.Epoch = epoch
	done := make(chan error, 1)
	if err = n.journal.Propose(p, change, func(err error) { done <- err }); err != nil {
		return fmt.Errorf("propose: %w", err)
	}
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", persistence.ErrOutcomeUnknown, ctx.Err())
	}
	if change.EraseSpace != "" && err == nil { // what is in memory of it is here, whoever asked
		n.actors.ForgetIn(ctx, p, change.EraseSpace)
	}
	return err
}

// proposeAt has a partition's owner propose a change, wherever it is.
func (n *Node) proposeAt(ctx context.Context, p persistence.Partition, change *persistence.Change) error {
	if n.owners.owns(p) {
		if err := n.propose(ctx, p, change); !errors.Is(err, persistence.ErrNotOwner) {
			return err
		}
	}
	encoded, err := persistence.AppendProposal(nil, &persistence.Proposal{Changes: []*persistence.Change{change}})
	if err != nil {
		return fmt.Errorf("encode a change: %w", err)
	}
	_, err = n.router.Ask(ctx, p, &peerv1.Ask{Partition: uint32(p), Ask: &peerv1.Ask_Change{Change: encoded}})
	return err
}

// list reads what the owner of a partition holds.
func (n *Node) list(ctx context.Context, p persistence.Partition, ask *peerv1.Ask) (*peerv1.Answer, error) {
	ask.Partition = uint32(p)
	if n.owners.owns(p) {
		answer, err := n.answerList(ctx, p, ask)
		if !errors.Is(err, persistence.ErrNotOwner) {
			return answer, err
		}
	}
	return n.router.Ask(ctx, p, ask)
}
