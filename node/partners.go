package node

import (
	"context"
	"sync"

	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/persistence"
)

// partners are the other nodes, for the actors: who watches over a game server hears of its sessions on every node.
type partners struct {
	node *Node
	wake chan struct{} // 1

	mu struct {
		sync.Mutex
		notes []*peerv1.Note // in order; at most maxNotes, of more the newest are dropped
	}
}

// maxNotes is how many notes may wait to be told.
const maxNotes = 65536

func newPartners(n *Node) *partners { return &partners{node: n, wake: make(chan struct{}, 1)} }

// Tell implements [actors.Partners].
func (p *partners) Tell(notes []*peerv1.Note) {
	p.mu.Lock()
	if room := maxNotes - len(p.mu.notes); room < len(notes) {
		notes = notes[:room]
	}
	p.mu.notes = append(p.mu.notes, notes...)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run tells what waits until ctx ends, the notes of each partition's servers together.
func (p *partners) run(ctx context.Context) error {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return nil
		}
		p.mu.Lock()
		notes := p.mu.notes
		p.mu.notes = nil
		p.mu.Unlock()
		byPartition := map[persistence.Partition][]*peerv1.Note{}
		for _, note := range notes {
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
				// What is not heard is found when the server's state is made anew, or is a RESYNC.
				_, _ = p.node.router.Ask(asking, of, &peerv1.Ask{Partition: uint32(of), Ask: &peerv1.Ask_Notes{Notes: &peerv1.Notes{Notes: notes}}})
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
