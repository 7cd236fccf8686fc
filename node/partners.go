package node

import (
	"context"
	"errors"
	"sync"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
)

// partners are the other nodes, for the actors: who watches over a game server hears of its sessions on every node.
type partners struct {
	node *Node
	wake chan struct{} // 1

	mu struct {
		sync.Mutex
		notes []*peerv1.Note        // in order; at most maxNotes, of more the newest are dropped
		lost  map[serverOf]struct{} // of whom some were dropped
	}
}

// serverOf names a game server.
type serverOf struct{ space, id string }

// maxNotes is how many notes may wait to be told.
const maxNotes = 65536

func newPartners(n *Node) *partners { return &partners{node: n, wake: make(chan struct{}, 1)} }

// Tell implements [actors.Partners].
func (p *partners) Tell(notes []*peerv1.Note) {
	p.mu.Lock()
	if room := maxNotes - len(p.mu.notes); room < len(notes) {
		p.dropLocked(notes[room:])
		notes = notes[:room]
	}
	p.mu.notes = append(p.mu.notes, notes...)
	p.mu.Unlock()
	p.poke()
}

// dropLocked notes whose notes were dropped: who watches over the server looks for its sessions again, and says RESYNC.
func (p *partners) dropLocked(notes []*peerv1.Note) {
	for _, note := range notes {
		if p.mu.lost == nil {
			p.mu.lost = map[serverOf]struct{}{}
		}
		p.mu.lost[serverOf{note.GetSpace(), note.GetServer()}] = struct{}{}
	}
}

func (p *partners) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be told now.
func (p *partners) take() []*peerv1.Note {
	p.mu.Lock()
	defer p.mu.Unlock()
	notes := p.mu.notes
	for server := range p.mu.lost {
		notes = append(notes, actors.ResyncNote(server.space, server.id))
	}
	p.mu.notes, p.mu.lost = nil, nil
	return notes
}

// run tells what waits until ctx ends, the notes of each partition's servers together.
func (p *partners) run(ctx context.Context) error {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return nil
		}
		byPartition := map[persistence.Partition][]*peerv1.Note{}
		for _, note := range p.take() {
			key := persistence.Key{Space: note.GetSpace(), Kind: persistence.KindServer, ID: note.GetServer()}
			of := persistence.PartitionOf(key, p.node.store.Partitions())
			byPartition[of] = append(byPartition[of], note)
		}
		var telling sync.WaitGroup
		for of, notes := range byPartition {
			telling.Go(func() {
				asking, cancel := context.WithTimeout(ctx, askTimeout)
				defer cancel()
				if p.node.owners.owns(of) {
					p.node.actors.Hear(notes) //nolint:contextcheck // it does not wait
					return
				}
				ask := &peerv1.Ask{Partition: uint32(of), Ask: &peerv1.Ask_Notes{Notes: &peerv1.Notes{Notes: notes}}}
				if _, err := p.node.router.Ask(asking, of, ask); err != nil && ctx.Err() == nil {
					p.mu.Lock()
					p.dropLocked(notes)
					p.mu.Unlock()
					p.poke()
				}
			})
		}
		telling.Wait()
	}
}

// Marks implements [actors.Partners].
func (p *partners) Marks(
	ctx context.Context, of persistence.Partition, space, name string, after persistence.Key, limit int,
) ([]persistence.MarkOf, error) {
	answer, err := p.node.list(ctx, of, &peerv1.Ask{Ask: &peerv1.Ask_Marks{Marks: &peerv1.Marks{
		Space: space, Name: name, AfterKind: uint32(after.Kind), After: after.ID, Limit: uint32(limit), //nolint:gosec // positive
	}}})
	if err != nil {
		return nil, err
	}
	marks := make([]persistence.MarkOf, len(answer.GetMarks()))
	for i, m := range answer.GetMarks() {
		marks[i] = persistence.MarkOf{
			Key: persistence.Key{Space: space, Kind: persistence.Kind(m.GetKind()), ID: m.GetEntity()}, Value: m.GetValue(), //nolint:gosec // as the owner has it
		}
	}
	return marks, nil
}

// Lease implements [actors.Partners].
func (p *partners) Lease(ctx context.Context, server persistence.Key, asked *peerv1.Lease) (*peerv1.LeaseAnswer, error) {
	of := persistence.PartitionOf(server, p.node.store.Partitions())
	if p.node.owners.owns(of) {
		answer, err := p.node.actors.Lease(ctx, server, asked)
		if !errors.Is(err, persistence.ErrNotOwner) {
			return answer, err
		}
	}
	answer, err := p.node.router.Ask(ctx, of, &peerv1.Ask{Ask: &peerv1.Ask_Lease{Lease: asked}})
	return answer.GetLease(), err
}
