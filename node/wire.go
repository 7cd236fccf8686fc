package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// wire hands what other nodes send to whom it is for.
type wire struct{ node *Node }

// Receive gives the log's messages to the log. What it does not take is lost, as it may be.
func (w *wire) Receive(from persistence.NodeID, batch []byte) {
	if err := w.node.journal.Receive(from, batch); err != nil {
		w.node.log.LogAttrs(context.Background(), slog.LevelDebug, "batch dropped", slog.Any("err", err))
	}
}

// Serve sends copies of partitions.
func (w *wire) Serve(ctx context.Context, _ persistence.NodeID, request []byte, send func([]byte) error) error {
	return w.node.journal.Serve(ctx, request, send)
}

// Up is nothing to do.
func (w *wire) Up(persistence.NodeID) {}

// Down is a hint that the peer's process is gone.
func (w *wire) Down(peer persistence.NodeID) { w.node.journal.Suspect(peer) }

// Calls are requests passed on, and answers to such.
func (w *wire) Calls(from persistence.NodeID, frame []byte) { w.node.router.Receive(from, frame) }

// CallsLost says that answers of the peer may not come.
func (w *wire) CallsLost(peer persistence.NodeID) { w.node.router.CallsLost(peer) }

// local is this node, for the router.
type local struct{ node *Node }

// Do passes a call to the actors.
func (l *local) Do(call *actors.Call) { l.node.actors.Do(call) }

// Owns reports whether this node owns p, and is not about to hand it over.
func (l *local) Owns(p persistence.Partition) bool {
	if p == persistence.MetaPartition { // it has no entities
		return l.node.owners.owns(p)
	}
	return l.node.actors.Owns(p)
}

// Watch watches a server here.
func (l *local) Watch(ctx context.Context, key persistence.Key, after int64, push func(*skerryv1.ServerEvent) error) error {
	return l.node.actors.Watch(ctx, key, after, push)
}

// routed passes the actors' own calls on. The actors are made before the router.
type routed struct{ node *Node }

// Do implements [actors.Router].
func (r *routed) Do(call *actors.Call) { r.node.router.Do(call) }

// askTimeout bounds one question to another node.
const askTimeout = 5 * time.Second
